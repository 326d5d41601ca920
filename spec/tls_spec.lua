-- TLS on the sockets of atoll.net: among themselves, and with the openssl program.
local atoll = require "atoll"
local certs = require "support.certs"
local host = require "support.host"
local net = require "atoll.net"
local whole = require "support.whole"

local files, closing

-- Closes it when the test ends.
local function keep(thing)
  closing[#closing + 1] = thing
  return thing
end

-- A listener that serves in a fiber; its address.
local function serve(fn, tls)
  tls = tls or {}
  tls.cert, tls.key = tls.cert or files.server, tls.key or files.key
  local listener = keep(assert(net.listen("127.0.0.1:0", { tls = tls })))
  atoll.spawn(listener.serve, listener, fn)
  return listener:name()
end

local function echo(socket)
  repeat
    local data = socket:read "some"
    if data then socket:write(data) end
  until not data
end

local function connect(address, tls)
  tls = tls or {}
  if tls.ca == nil then tls.ca = files.ca end
  if tls.name == nil then tls.name = "server.test" end
  local socket, message, code = net.connect(address, { tls = tls, timeout = 60 })
  return socket and keep(socket), message, code
end

-- A plain proxy to that address which does with the bytes of each way what fn does.
local function proxy(address, fn)
  local listener = keep(assert(net.listen "127.0.0.1:0"))
  atoll.spawn(listener.serve, listener, function(client)
    local server <close> = assert(net.connect(address))
    local up = atoll.spawn(fn, client, server)
    fn(server, client)
    up:join()
  end)
  return listener:name()
end

setup(function() files = certs.make() end)
teardown(certs.remove)

before_each(function() closing = {} end)

after_each(function()
  for i = #closing, 1, -1 do closing[i]:close() end
  certs.finish()
end)

setup(whole.begin)
teardown(whole.over)

describe("a TLS connection", function()
  it("carries bytes both ways", function()
    local socket = assert(connect(serve(echo)))
    assert.is_true(socket:write("hello\n", "there\n"))
    assert.equal("hello", socket:read "line")
    assert.equal("there", socket:read "line")
    local facts = socket:tls()
    assert.equal("TLSv1.3", facts.version)
    assert.is_false(facts.resumed)
    assert.is_nil(facts.alpn)
  end)

  it("carries a MiB both ways at once", function()
    local piece = ("0123456789abcdef"):rep(4096)
    local function pour(socket)
      local writer = atoll.spawn(function()
        for _ = 1, 16 do assert(socket:write(piece)) end
        assert(socket:flush())
        return socket:shutdown "write"
      end)
      local got = socket:read "all"
      return writer:join() and got
    end
    local there
    local socket = assert(connect(serve(function(s) there = pour(s) end)))
    assert.is_true(pour(socket) == piece:rep(16))
    certs.wait("the other end", function() return there end)
    assert.is_true(there == piece:rep(16))
  end)

  it("carries on when bytes come one by one", function()
    local address = proxy(serve(echo), function(from, to)
      repeat
        local data = from:read "some"
        for byte in (data or ""):gmatch "." do
          to:write(byte)
          to:flush()
        end
      until not data
      to:shutdown "write"
    end)
    local socket = assert(connect(address))
    socket:write "bit by bit\n"
    assert.equal("bit by bit", socket:read "line")
    socket:shutdown "write"
    assert.equal("", socket:read "all")
  end)

  it("goes on reading after a timeout", function()
    local address = serve(function(s)
      assert(s:read "line")
      s:write "late\n"
    end)
    local socket = assert(connect(address))
    assert.same({ nil, "timed out", "ETIMEDOUT" }, { socket:read("line", 0.02) })
    socket:write "go\n"
    assert.equal("late", socket:read "line")
  end)

  it("may be closed in one direction", function()
    local address = serve(function(s)
      local all = s:read "all"
      s:write(#all, " bytes\n")
    end)
    local socket = assert(connect(address))
    socket:write "12345"
    socket:shutdown "write"
    assert.equal("5 bytes", socket:read "line")
    assert.is_nil(socket:read "line")
    assert.same({ nil, "closed", "ECLOSED" }, { socket:write "x" })
  end)

  it("that is cut off is told from one that ends", function()
    local ends = {}
    local address = proxy(serve(function(s) s:write "some" s:flush() s:read() end),
      function(from, to)
        ends[#ends + 1] = to
        repeat
          local data = from:read "some"
          if data then to:write(data) end
        until not data
      end)
    local socket = assert(connect(address))
    assert.equal("some", socket:read(4))
    for _, s in ipairs(ends) do s:close() end
    local got, message, code = socket:read "all"
    assert.is_nil(got)
    assert.equal("ETRUNCATED", code)
    assert.equal("the connection was cut off: TLS has not been ended", message)
    assert.same({ nil, message, code }, { socket:read "all" })
  end)

  it("tells the end that came with the last bytes", function()
    local over
    -- TLS ends, TCP does not: nothing more will make the socket readable.
    local address = proxy(serve(function(s) s:write "end" end), function(from, to)
      repeat
        local data = from:read "some"
        if data then to:write(data) end
      until not data
      while not over do atoll.sleep(0.002) end
    end)
    local socket = assert(connect(address))
    assert.equal("end", socket:read "all")
    over = true
  end)

  it("sends what is queued before it closes", function()
    local size = 3 * 1024 * 1024
    local address = serve(function(s) s:write(("x"):rep(size)) end)
    local socket = assert(connect(address))
    atoll.sleep(0.02)
    local all, message = socket:read "all"
    assert.is_nil(message)
    assert.equal(size, #all)
  end)

  -- Tickets that the client has not read would make the kernel reset the connection.
  it("loses nothing when the client closes at once", function()
    local size, got = 3 * 1024 * 1024
    local address = serve(function(s)
      atoll.sleep(0.02) -- meanwhile the client closes
      local all, message = s:read "all"
      got = all and #all or message
    end)
    local socket = assert(connect(address))
    socket:write(("x"):rep(size))
    socket:close()
    certs.wait("the other end", function() return got end)
    assert.equal(size, got)
  end)

  it("reads what the peer has said before it went away", function()
    local address = serve(function(s)
      s:read(1)
      s:write "enough"
      s:flush()
    end)
    local socket = assert(connect(address))
    local good
    repeat good = socket:write(("x"):rep(100000)) and socket:flush() until not good
    assert.equal("enough", socket:read(6))
  end)

  it("takes up its session again", function()
    local address = serve(echo, { alpn = "x" })
    local resumed = {}
    for i = 1, 3 do
      local socket = assert(connect(address, { alpn = "x" }))
      socket:write "x"
      assert.equal("x", socket:read(1))
      resumed[i] = socket:tls().resumed
      socket:close()
    end
    assert.same({ false, true, true }, resumed)
  end)

  it("reads by one fiber while another writes", function()
    local socket = assert(connect(serve(echo)))
    local reader = atoll.spawn(function() return socket:read(1000) end)
    for _ = 1, 100 do
      socket:write(("y"):rep(10))
      socket:flush()
    end
    assert.equal(("y"):rep(1000), reader:join())
    local task = atoll.spawn(function() return socket:read(1) end)
    atoll.sleep(0)
    assert.error_matches(function() socket:read(1) end, "another fiber is already")
    task:cancel()
  end)
end)

describe("a TLS client", function()
  it("refuses a name that is not the certificate's", function()
    local address = serve(echo)
    for _, name in ipairs { "wrong.test", "x.server.test", "test" } do
      local socket, message, code = connect(address, { name = name })
      assert.is_nil(socket)
      assert.equal("cannot connect to " .. address
        .. ": certificate verify failed: hostname mismatch", message)
      assert.equal("ETLS", code)
    end
    local _, message = connect(address, { name = "127.0.0.2" })
    assert.match("IP address mismatch", message, 1, true)
  end)

  it("knows a name with the root's dot", function()
    local socket = assert(connect(serve(echo), { name = "server.test." }))
    socket:write "x"
    assert.equal("x", socket:read(1))
  end)

  it("takes the host that it connects to for the name", function()
    local address = serve(echo)
    local tls = { ca = files.ca }
    assert(net.connect(address, { tls = tls })):close()
    local port = address:match "%d+$"
    local _, message = net.connect("localhost", port, { tls = tls })
    assert.match("hostname mismatch", message, 1, true)
  end)

  it("refuses an authority that it does not know", function()
    local address = serve(echo)
    local _, message, code = connect(address, { ca = files.other })
    assert.match("certificate verify failed: unable to get local issuer certificate",
      message, 1, true)
    assert.equal("ETLS", code)
    _, message = net.connect(address, { tls = true }) -- the system's
    assert.match("certificate verify failed: ", message, 1, true)
  end)

  it("refuses a certificate that has expired", function()
    local _, message, code = connect(serve(echo, { cert = files.expired }))
    assert.match("certificate verify failed: certificate has expired", message, 1, true)
    assert.equal("ETLS", code)
  end)

  it("takes any certificate when it is told so", function()
    local address = serve(echo, { cert = files.expired })
    local socket = assert(net.connect(address, { tls = { verify = false } }))
    socket:write "x"
    assert.equal("x", socket:read(1))
    socket:close()
  end)

  it("tells the server the name", function()
    local name
    local address = serve(function(s)
      s:read(1)
      name = s:tls().name or "none"
    end)
    assert(connect(address)):write "x"
    certs.wait("the name", function() return name end)
    assert.equal("server.test", name)
    name = nil
    assert(connect(address, { name = "127.0.0.1" })):write "x"
    certs.wait("the name", function() return name end)
    assert.equal("none", name)
  end)

  it("agrees with the server on a protocol", function()
    local address = serve(echo, { alpn = { "h2", "http/1.1" } })
    local function agreed(alpn)
      local socket, message, code = connect(address, { alpn = alpn })
      return socket and socket:tls().alpn, message, code
    end
    assert.equal("http/1.1", agreed "http/1.1")
    assert.equal("h2", agreed { "http/1.1", "h2" })
    assert.is_nil(agreed(nil))
    local _, message, code = agreed "gopher"
    assert.match("no application protocol", message, 1, true)
    assert.equal("ETLS", code)
  end)

  it("shows a certificate to a server that wants one", function()
    local address = serve(echo, { ca = files.ca })
    local socket = assert(connect(address, { cert = files.client, key = files.key }))
    socket:write "x"
    assert.equal("x", socket:read(1))
    local without = assert(connect(address)) -- TLS 1.3 tells later
    without:write "x"
    local _, message, code = without:read(1)
    assert.match("certificate required", message, 1, true)
    assert.equal("ETLS", code)
  end)

  it("says that the peer speaks no TLS", function()
    local listener = keep(assert(net.listen "127.0.0.1:0"))
    atoll.spawn(listener.serve, listener, function(s)
      s:read "some"
      s:write "HTTP/1.1 400 Bad Request\r\n\r\n"
    end)
    local _, message, code = connect(listener:name())
    assert.match("wrong version number", message, 1, true)
    assert.equal("ETLS", code)
  end)

  it("says that the peer went away", function()
    local listener = keep(assert(net.listen "127.0.0.1:0"))
    atoll.spawn(listener.serve, listener, function(s) s:read "some" end)
    local _, message, code = connect(listener:name())
    assert.match("the peer has ended the connection during the handshake", message, 1,
      true)
    assert.equal("ETLS", code)
  end)

  it("has one time limit for all of it", function()
    local listener = keep(assert(net.listen "127.0.0.1:0"))
    local _, message, code = net.connect(listener:name(),
      { tls = { ca = files.ca }, timeout = 0.05 })
    assert.match("timed out", message, 1, true)
    assert.equal("ETIMEDOUT", code)
  end)

  it("that is cancelled in the handshake leaves no descriptor", function()
    local listener = keep(assert(net.listen "127.0.0.1:0"))
    local task = atoll.spawn(function() return connect(listener:name()) end)
    local peer = keep(assert(listener:accept(10)))
    assert.is_truthy(peer:read("some", nil, 10)) -- the first bytes of the handshake
    task:cancel()
    task:join()
    assert.is_nil((peer:read("some", nil, 10)))
    -- Where the machine stands still, the time may be over before the handshake begins.
    local limit, begun = 0.02
    repeat
      task = atoll.spawn(function() atoll.timeout(limit, connect, listener:name()) end)
      peer = listener:accept(2 * limit + 1)
      begun = peer and keep(peer):read("some", nil, 60)
      task:join()
      limit = limit * 4
    until begun or limit > 60
    assert.is_truthy(begun)
    assert.is_nil((peer:read("some", nil, 60)))
  end)

  it("refuses what makes no sense", function()
    local function refuses(text, tls)
      assert.error_matches(function() net.connect("127.0.0.1:1", { tls = tls }) end,
        text)
    end
    refuses("tls must be true or a table", 1)
    refuses("tls must be true or a table", "yes")
    refuses("unknown TLS option 'verfy'", { verfy = false })
    refuses("unknown TLS option 'server'", { server = true })
    refuses("TLS option ca must be text", { ca = 1 })
    refuses("TLS option ca must be text", { ca = "a\0b" })
    refuses("TLS option key goes with cert", { key = "x" })
    refuses("alpn must be a text or a list", { alpn = 1 })
    refuses("alpn must be a text or a list", { alpn = { "" } })
    refuses("alpn is too long", { alpn = ("x"):rep(300) })
    assert.error_matches(function() net.connect("unix:/x", { tls = true }) end,
      "TLS needs the option name")
    assert.error_matches(function() net.listen("127.0.0.1:0", { tls = true }) end,
      "tls must be a table")
    assert.error_matches(function() net.listen("127.0.0.1:0", { tls = {} }) end,
      "a TLS server needs the option cert")
    assert.error_matches(function() net.listen("127.0.0.1:0", { tls = { name = "x" } })
    end, "unknown TLS option 'name'")
  end)

  it("names the file that cannot be read", function()
    for _, tls in ipairs { { ca = "/none" }, { cert = "/none" },
      { cert = files.ca, key = "/none" }, { ca = files.key } } do
      local _, message, code = net.connect("127.0.0.1:1", { tls = tls })
      assert.match("'" .. (tls.key or tls.ca or tls.cert) .. "': ", message, 1, true)
      assert.equal("ETLS", code)
    end
    local _, message = net.listen("127.0.0.1:0", { tls = { cert = files.server,
      key = files.dir .. "/ca.key" } })
    assert.match("key '.*ca.key': key values mismatch", message)
  end)
end)

-- All of a host's isolates share what the system trusts.
describe("a host", function()
  local APP = [[
local net = require "atoll.net"
app:get("/ask/:port", function(req)
  local tasks, good = {}, 0
  for i = 1, 8 do
    tasks[i] = atoll.spawn(function()
      local s <close> = assert(net.connect("127.0.0.1", req.params.port,
        { tls = true, timeout = 20 }))
      s:write "hello\n"
      return s:read "line" == "hello" and 1
    end)
  end
  for i = 1, 8 do good = good + assert(tasks[i]:join()) end
  return good .. ""
end)
]]

  after_each(host.finish)

  it("trusts whom SSL_CERT_FILE names, in all isolates", function()
    local address = serve(echo)
    local h = host.start { app = APP, set = { isolates = 3 },
      env = { SSL_CERT_FILE = files.ca } }
    local tasks = {}
    for i = 1, 6 do
      tasks[i] = atoll.spawn(function()
        return assert(atoll.http.get(("http://127.0.0.1:%d/ask/%s"):format(h.port,
          address:match "%d+$"))).body
      end)
    end
    for i = 1, 6 do assert.equal("8", tasks[i]:join()) end
  end)
end)

describe("starttls", function()
  -- The server answers STARTTLS in clear and turns to TLS then.
  local function start_server(say)
    local listener = keep(assert(net.listen "127.0.0.1:0"))
    atoll.spawn(listener.serve, listener, function(s)
      assert(s:read "line" == "STARTTLS")
      s:write(say or "go\n")
      if s:starttls { server = true, cert = files.server, key = files.key } then
        echo(s)
      end
    end)
    local socket = keep(assert(net.connect(listener:name())))
    socket:write "STARTTLS\n"
    assert.equal("go", socket:read "line")
    return socket
  end

  it("turns a connection into TLS", function()
    local socket = start_server()
    assert.is_nil(socket:tls())
    assert.is_true(socket:starttls { ca = files.ca })
    assert.equal("TLSv1.3", socket:tls().version)
    socket:write "secret\n"
    assert.equal("secret", socket:read "line")
    assert.error_matches(function() socket:starttls() end, "speaks TLS already")
  end)

  it("lets another fiber write meanwhile", function()
    local socket = start_server()
    local task = atoll.spawn(socket.starttls, socket, { ca = files.ca })
    atoll.sleep(0)
    socket:write "in between\n"
    assert.is_true(task:join())
    assert.equal("in between", socket:read "line")
  end)

  it("verifies the server, and closes", function()
    local socket = start_server()
    local good, message, code = socket:starttls { ca = files.ca, name = "other.test" }
    assert.same({ nil, "certificate verify failed: hostname mismatch", "ETLS" },
      { good, message, code })
    assert.same({ nil, "closed", "ECLOSED" }, { socket:read(1) })
  end)

  -- What came in clear would pass for what came through TLS (CVE-2011-0411).
  it("refuses bytes that have come in clear before", function()
    local socket = start_server "go\nand more\n"
    assert.same({ nil, "bytes have come in clear before TLS", "ETLS" },
      { socket:starttls { ca = files.ca } })
    assert.same({ nil, "closed", "ECLOSED" }, { socket:write "x" })
  end)

  it("keeps its time limit", function()
    local listener = keep(assert(net.listen "127.0.0.1:0"))
    local socket = keep(assert(net.connect(listener:name())))
    assert.same({ nil, "timed out", "ETIMEDOUT" },
      { socket:starttls { ca = files.ca, timeout = 0.02 } })
    assert.same({ nil, "closed", "ECLOSED" },
      { socket:starttls { ca = files.ca } })
  end)
end)

describe("the openssl program", function()
  it("is served", function()
    local address = serve(function(s)
      for line in s:lines() do s:write(line:upper(), "\n") end
    end, { alpn = "echo" })
    for _, version in ipairs { "-tls1_2", "-tls1_3" } do
      local p = certs.openssl("s_client -connect " .. address .. " -CAfile " .. files.ca
        .. " -verify_return_error -verify_hostname server.test -alpn echo " .. version)
      p:wait "Verify return code: 0 %(ok%)"
      p:wait "ALPN protocol: echo"
      p:send "hello\n"
      p:wait "HELLO"
      p:finish()
      assert.equal(0, p:ended())
    end
  end)

  it("is refused with versions that are too old", function()
    local address = serve(echo)
    local p = certs.openssl("s_client -connect " .. address
      .. " -tls1_1 -cipher ALL:@SECLEVEL=0")
    p:wait "alert protocol version"
    assert.equal(1, p:ended())
  end)

  it("serves", function()
    for _, version in ipairs { "-tls1_2", "-tls1_3" } do
      local p = certs.openssl("s_server -accept 127.0.0.1:0 -rev -cert " .. files.server
        .. " -key " .. files.key .. " " .. version)
      local socket = assert(connect(p:wait "ACCEPT (%S+)"))
      socket:write "hello\n"
      assert.equal("olleh", socket:read "line")
      assert.equal(version:sub(-1), socket:tls().version:sub(-1))
      socket:close()
    end
  end)

  it("changes its keys in between", function()
    local p = certs.openssl("s_server -accept 127.0.0.1:0 -cert " .. files.server
      .. " -key " .. files.key)
    local socket = assert(connect(p:wait "ACCEPT (%S+)"))
    -- Words with a space, which is in no session that it prints.
    socket:write "the one\n"
    p:wait "the one"
    p:send "K\n" -- and wants ours changed
    socket:write "and then\n"
    p:wait "and then" -- it looks at its input first
    p:send "two\n"
    assert.equal("two", socket:read "line")
    socket:write "the three\n"
    p:wait "the three"
    p:send "Q\n"
    assert.is_nil(socket:read "line")
  end)
end)
