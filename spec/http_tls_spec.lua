-- atoll.http and TLS.
local atoll = require "atoll"
local certs = require "support.certs"
local http = require "atoll.http"
local raw = require "support.raw"

describe("https", function()
  local c, trust, server

  before_each(function()
    c = certs.make()
    trust = { tls = { ca = c.ca } }
    server = raw.answer(function(request) return raw.ok(request.line) end, nil,
      { tls = { cert = c.server, key = c.key } })
  end)

  after_each(raw.finish)

  teardown(certs.finish)

  it("is spoken, over connections that are kept", function()
    for i = 1, 3 do
      local res = assert(http.get(server.url .. "/" .. i, trust))
      assert.equal(("GET /%d HTTP/1.1"):format(i), res.body)
      assert.equal(server.url .. "/" .. i, res.url)
    end
    assert.equal(1, server.count)
    local body = ("x"):rep(1000000)
    assert.equal("POST / HTTP/1.1", http.post(server.url, body, trust).body)
  end)

  it("verifies the server, and its name", function()
    for _, options in ipairs { {}, { tls = { ca = c.other } },
      { tls = { ca = c.ca, name = "other.test" } } } do
      local none, message, code = http.get(server.url, options)
      assert.is_nil(none)
      assert.match("cannot connect to " .. server.address .. ": certificate verify "
        .. "failed: ", message, 1, true)
      assert.equal("ETLS", code)
    end
    assert.equal(200, http.get(server.url,
      { tls = { ca = c.ca, name = "server.test" } }).status)
    assert.equal(200, http.get(server.url, { tls = { verify = false } }).status)
  end)

  it("shares no connection between those who trust others", function()
    assert.equal(200, http.get(server.url, { tls = { verify = false } }).status)
    assert.equal("ETLS", (select(3, http.get(server.url))))
    assert.equal(200, http.get(server.url, trust).status)
    assert.equal(200, http.get(server.url, { tls = { ca = c.ca } }).status)
    assert.equal(200, http.get(server.url, { tls = { verify = false } }).status)
    assert.equal(3, server.count)
  end)

  it("goes through the tunnel of a proxy", function()
    local asked = {}
    local proxy = raw.serve(function(socket)
      local line, fields = raw.head(socket)
      asked[#asked + 1] = { line, fields["proxy-authorization"] }
      local to <close> = assert(atoll.net.connect(line:match "^CONNECT (%S+)"))
      socket:write "HTTP/1.1 200 Connected\r\n\r\n"
      local back = atoll.spawn(function()
        for bytes in function() return to:read "some" end do socket:write(bytes) end
      end)
      for bytes in function() return socket:read "some" end do to:write(bytes) end
      back:cancel()
    end)
    local options = { proxy = proxy.url:gsub("//", "//u:p@"), tls = trust.tls }
    for _ = 1, 2 do
      assert.equal("GET /x HTTP/1.1", http.get(server.url .. "/x", options).body)
    end
    assert.same({ { ("CONNECT %s HTTP/1.1"):format(server.address), "Basic dTpw" } },
      asked)
    assert.equal(1, server.count)
  end)

  it("does not take what a proxy says in clear for the server's word", function()
    local proxy = raw.serve(function(socket)
      raw.head(socket)
      socket:write("HTTP/1.1 200 Connected\r\n\r\n", raw.ok "false")
      socket:read(1)
    end)
    local none, _, code = http.get(server.url, { proxy = proxy.url, tls = trust.tls })
    assert.is_nil(none)
    assert.equal("ETLS", code)
  end)

  it("has a time limit for the handshake", function()
    local deaf = raw.serve(function(socket) socket:read "all" end)
    local none, message, code = http.get((deaf.url:gsub("http:", "https:")),
      { tls_timeout = 0.02 })
    assert.same({ nil, "timed out in the TLS handshake", "ETIMEDOUT" },
      { none, message, code })
  end)

  it("is left by a redirect, and nothing that was secret goes along", function()
    local seen
    local plain = raw.answer(function(request)
      seen = request.fields
      return raw.ok "plain"
    end)
    local away = raw.answer(function()
      return "HTTP/1.1 307 x\r\nContent-Length: 0\r\nLocation: " .. plain.url
        .. "\r\n\r\n"
    end, nil, { tls = { cert = c.server, key = c.key } })
    assert.equal("plain", http.get(away.url,
      { tls = trust.tls, headers = { Authorization = "x" } }).body)
    assert.is_nil(seen.authorization)
  end)
end)

describe("http.serve with TLS", function()
  local c, trust, listener, url, task

  local function echo(req)
    return req.scheme .. " " .. req.path .. " " .. #(req:text() or "")
  end

  local function serve(app)
    c = certs.make()
    trust = { tls = { ca = c.ca } }
    listener = assert(atoll.net.listen("127.0.0.1:0",
      { tls = { cert = c.server, key = c.key } }))
    url = "https://" .. listener:name()
    task = atoll.spawn(http.serve, listener, app)
  end

  local function connect()
    return assert(atoll.net.connect(listener:name(), trust))
  end

  after_each(function()
    listener:close()
    assert.is_true(task:join(20))
  end)

  teardown(certs.finish)

  it("answers over connections that are kept", function()
    serve(echo)
    for i = 1, 3 do
      assert.equal(("https /%d 0"):format(i), http.get(url .. "/" .. i, trust).body)
    end
    local body = ("x"):rep(3000000)
    assert.equal("https / 3000000", http.post(url .. "/", body, trust).body)
  end)

  it("sends much, and ends TLS before the connection", function()
    serve(function() return ("0123456789abcdef"):rep(200000) end)
    local socket <close> = connect()
    socket:write "GET / HTTP/1.0\r\n\r\n"
    local all = assert(socket:read "all") -- not ETRUNCATED
    assert.equal(3200000, #all:match "\r\n\r\n(.*)")
  end)

  it("reads all requests that have come at once", function()
    serve(echo)
    local socket <close> = connect()
    local request = "GET /" .. ("y"):rep(2000) .. " HTTP/1.1\r\nHost: a\r\n\r\n"
    local writer = atoll.spawn(socket.write, socket, request:rep(200))
    for _ = 1, 200 do
      assert.equal("HTTP/1.1 200 OK", socket:read "line")
      local length
      repeat
        local line = socket:read "line"
        length = tonumber(line:match "^[Cc]ontent%-[Ll]ength: (%d+)") or length
      until line == ""
      assert.equal("https /" .. ("y"):rep(2000) .. " 0", socket:read(length))
    end
    writer:join()
  end)

  it("streams both ways", function()
    serve(function(req)
      local chunks = {}
      for chunk in req:chunks() do chunks[#chunks + 1] = chunk:upper() end
      return atoll.stream(function(write)
        for _, chunk in ipairs(chunks) do write(chunk) end
      end)
    end)
    local n = 0
    local res = assert(http.post(url, function()
      n = n + 1
      return n <= 100 and ("ab"):rep(5000) or nil
    end, trust))
    assert.equal(("AB"):rep(500000), res.body)
  end)

  it("closes on those who speak no TLS, and serves the others", function()
    serve(echo)
    local plain <close> = assert(atoll.net.connect(listener:name()))
    plain:write "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
    local answer = plain:read "all" or "" -- an alert, or a reset
    assert.is_nil(answer:find("HTTP", 1, true))
    assert.equal("https / 0", http.get(url, trust).body)
  end)

  it("tells a client that is idle, when it closes, that this is the end", function()
    serve(echo)
    local socket <close> = connect()
    socket:write "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
    repeat local line = socket:read "line" until line == ""
    assert.equal("https / 0", socket:read(9))
    listener:close()
    assert.equal("", socket:read "all")
  end)
end)
