-- More routes of the app: LuaSocket, and what of files, sockets and TLS is seldom used.
local atoll = require "atoll"
local deeds = require "deeds"
local socket = require "socket"
local unix = require "socket.unix"
local fs, http, net = atoll.fs, atoll.http, atoll.net

local certs = os.getenv "CERTS"
local text = ("all work and no play makes "):rep(4000)

-- Runs fn, in whatever way of failing LuaSocket's code has, as one of ours.
local function as_ours(fn)
  local ok, why = pcall(fn)
  if ok then return end
  if getmetatable(why) == deeds.failure then
    error(("failed: %s (%s)"):format(why.message, why.code), 0)
  end
  error(why, 0)
end

local function luasocket(dir, got)
  assert(socket.dns.gethostname())
  local tcp <const> = got(socket.tcp())
  got(tcp:bind("127.0.0.1", 0))
  got(tcp:setoption("reuseaddr", true))
  got(tcp:getoption("reuseaddr"))
  got(tcp:listen(5))
  tcp:settimeout(0.01)
  tcp:accept()
  tcp:close()
  local another <const> = got(socket.tcp())
  local ok, why = another:bind("127.0.0.1", 0)
  if ok then ok, why = another:listen(-1) end -- of as many as it likes
  another:close()
  got(ok, why)
  socket.dns.getnameinfo("127.0.0.1")
  local udp = got(socket.udp())
  got(udp:setpeername("127.0.0.1", 9))
  got(udp:send "x")
  udp:setpeername "*"
  udp:close()
  local datagrams = got(unix.dgram())
  os.remove(dir .. "/d")
  got(datagrams:bind(dir .. "/d"))
  got(datagrams:getsockname())
  datagrams:close()
  local six = got(socket.tcp6())
  six:connect("::1", 1)
  six:close()
end

-- LuaSec's, one end of which does not read any more.
local function luasec(got)
  local ssl = require "ssl"
  local l <const> = got(socket.bind("127.0.0.1", 0))
  local _, port = l:getsockname()
  local function wrap(c, mode)
    local conn = got(ssl.wrap(c, { mode = mode, protocol = "any", verify = "none",
      key = certs .. "/key", certificate = certs .. "/server" }))
    conn:settimeout(1)
    local ok, why = conn:dohandshake()
    if not ok then conn:close() end
    return got(ok and conn or nil, why)
  end
  local far
  local task = atoll.spawn(function()
    l:settimeout(1)
    far = wrap(got(l:accept()), "server")
  end)
  task:quiet()
  local ok, why = pcall(function()
    local near <const> = wrap(got(socket.connect("127.0.0.1", port)), "client")
    near:settimeout(0.01)
    local sent
    repeat sent = near:send(text) until not sent
    near:close()
  end)
  task:join(ok and 1 or 0.05)
  task:cancel()
  if far then far:close() end
  l:close()
  if not ok then error(why, 0) end
end

local function files(dir, got)
  local base = dir .. "/tree"
  local _, message, code = fs.remove(base, { recursive = true })
  if code ~= "ENOENT" then got(not code or nil, message, code) end
  got(fs.mkdir(base .. "/a/b", { parents = true }))
  got(fs.mkdir(base .. "/a/b", { parents = true }))
  got(fs.mkdir(base .. "/c"))
  for _, how in ipairs { { exclusive = true }, { atomic = true }, { sync = true },
    { append = true }, { atomic = true, mode = "0600" } } do
    got(fs.write(base .. "/a/file", text, how))
  end
  got(fs.write(base .. "/new", text, { atomic = true, exclusive = true }))
  got(fs.rename(base .. "/new", base .. "/a/b/new"))
  assert(got(fs.exists(base .. "/a/b/new")))
  got(fs.realpath(base .. "/a/../c"))
  got(fs.stat(base .. "/a", { follow = false }))
  got(fs.list(base, { types = true }))
  local f = got(fs.open(base .. "/a/file", "a+"))
  got(f:write "more")
  got(f:truncate(10))
  got(f:stat())
  got(f:sync())
  got(f:close())
  local fifo = base .. "/fifo"
  got(os.execute("mkfifo " .. fifo))
  local pipe = got(fs.open(fifo, "r+"))
  got(pipe:write "text\n")
  got(pipe:read "line")
  got(pipe:close())
  local temporary = got(fs.tempdir(base))
  got(fs.remove(temporary))
  temporary = got(fs.tempfile(base))
  got(temporary:write(text))
  got(temporary:close())
  got(fs.remove(base, { recursive = true }))
end

return function(app, got, between)
  app:get("/deed/:name", function(req)
    deeds.within(req.query.dir)
    as_ours(deeds[req.params.name])
    return "ok"
  end)
  app:get("/luasocket", function(req)
    luasocket(req.query.dir, got)
    return "ok"
  end)
  app:get("/fs2", function(req)
    files(req.query.dir, got)
    return "ok"
  end)
  app:get("/luasec", function()
    luasec(got)
    return "ok"
  end)
  app:get("/bind", function()
    local l <close> = got(net.listen("127.0.0.1:0", { reuseport = true }))
    local c <close> = got(net.connect(got(l:name()),
      { timeout = 1, bind = "127.0.0.1:0", keepalive = true }))
    got(c:peer())
    got(c:setoption("sndbuf", 65536))
    got(net.resolve "localhost")
    local six = net.listen "[::]:0"
    if six then six:close() end
    return "ok"
  end)
  -- A server of ours that is told who the client is, with and without TLS.
  app:get("/proxied", function()
    local inner = atoll.app()
    inner:get("/", function(req) return req.remote end)
    for _, tls in ipairs { false,
      { cert = certs .. "/server", key = certs .. "/key" } } do
      local l <close> = got(net.listen("127.0.0.1:0", { tls = tls or nil }))
      between(function()
        local _ <close> = l -- nobody need wait
        got(http.serve(l, inner, { proxy = true, trusted_proxies = "127.0.0.1" }))
      end, function()
        local s <close> = got(net.connect(got(l:name()), { timeout = 1 }))
        s:settimeout(1)
        got(s:write "PROXY TCP4 192.0.2.1 192.0.2.80 4000 80\r\n")
        if tls then got(s:starttls { ca = certs .. "/ca", name = "server.test" }) end
        got(s:write "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        if not got(s:read "all"):find "192.0.2.1" then
          error("failed: cut off (ECONNRESET)", 0)
        end
        l:close()
      end)
    end
    return "ok"
  end)
  -- A client that leaves without having heard anything.
  app:get("/leave", function()
    local l <close> = got(net.listen("127.0.0.1:0",
      { tls = { cert = certs .. "/server", key = certs .. "/key" } }))
    between(function()
      local s <close> = got(l:accept(1))
      s:settimeout(1)
      s:read "all"
    end, function()
      got(net.connect(got(l:name()),
        { timeout = 1, tls = { ca = certs .. "/ca", name = "server.test" } })):close()
    end)
    return "ok"
  end)
  -- An answer that fails in its middle.
  app:get("/broken", function()
    return atoll.stream(function(write)
      write(text)
      error "broken as it is to be"
    end)
  end)
  -- More than a client takes that does not read; whether it has ended.
  local flooded = true
  app:get("/flood", function()
    flooded = false
    return atoll.stream(function(write)
      local _ <close> = setmetatable({}, { __close = function() flooded = true end })
      for _ = 1, 300 do
        if not write(text) then break end
      end
    end)
  end)
  app:get("/flooded", function() return tostring(flooded) end)
  -- A body that is not read, of a client that leaves; how many there are.
  local unheard = 0
  app:post("/unheard", function(req)
    unheard = unheard + 1
    local _ <close> = setmetatable({}, { __close = function()
      unheard = unheard - 1
    end })
    req:on_abort()
    atoll.sleep(10)
  end)
  app:get("/unheard", function() return tostring(unheard) end)
  -- What is freed with the code.
  local ballast
  app:get("/ballast", function()
    ballast = text:rep(100)
    return tostring(#ballast)
  end)
  -- Whom the system trusts.
  app:get("/tlstrust", function()
    local l <close> = got(net.listen "127.0.0.1:0")
    for _, ca in ipairs { false, certs } do
      local s <close> = got(net.connect(got(l:name()), { timeout = 1 }))
      local other <close> = got(l:accept(1))
      other:write "this is not TLS\n"
      s:settimeout(1)
      s:starttls { ca = ca or nil, name = "server.test" }
    end
    return "ok"
  end)
  -- What is seldom needed, each once.
  app:get("/seldom", function(req)
    local n = req.query.n
    local u <close> = got(net.udp())
    got(u:send("x", "127.0.0.1:9"))
    local child = got(atoll.isolate.spawn("one", { 1 }, { name = "seldom" .. n }))
    got(child:join(2))
    local port <close> = atoll.port(1)
    got(port:sender():send(1))
    port:sender():send(2, 0.01) -- waits for room
    local function deeper(depth)
      if depth == 0 then return atoll.sleep(0.001) end
      coroutine.wrap(deeper)(depth - 1)
    end
    deeper(6)
    local topic = atoll.topic("seldom" .. n, { history = 50 })
    local s <close> = topic:subscribe()
    for i = 1, 20 do topic:publish(i) end
    for _ = 1, 20 do got(s:receive(1)) end
    return "ok"
  end)
  app:get("/cargo", function(req)
    local topic = atoll.topic("c" .. req.query.n)
    local port <close> = atoll.port()
    local s <close> = topic:subscribe()
    topic:publish { atoll.buffer(text), port:sender() }
    assert(#got(s:receive(1))[1] == #text)
    return "ok"
  end)
end
