-- A route for each kind of thing that a handler may do, for spec/support/sweep.lua: it
-- is done with an answer of 200, or fails with an error that says why. CERTS names a
-- directory with certificates.
local atoll = require "atoll"
local core = require "atoll.core.testing"
local session = require "atoll.session"
local fs, http, net = atoll.fs, atoll.http, atoll.net

local app = atoll.app()
local certs = os.getenv "CERTS"
local text = ("all work and no play makes "):rep(4000)
local hands

-- What has come, or an error: the end is one, too, as the other side may have failed.
local function got(value, message, code)
  if value ~= nil then return value end
  error(("failed: %s (%s)"):format(message or "the end", code or "EOF"), 2)
end

-- Runs ask while serve runs in a fiber of its own, which ends with it.
local function between(serve, ask)
  local other
  local task = atoll.spawn(function()
    local ok, why = pcall(serve)
    if not ok then other = why end
  end)
  task:quiet()
  local ok, why = pcall(ask)
  task:join(ok and 1 or 0.05)
  task:cancel()
  -- The one may fail since the other has.
  if not ok then error(other and ("%s; %s"):format(why, other) or why, 0) end
end

-- ---- answers ----

-- Who takes things; another one when that has ended.
local function taker()
  if not hands or hands:status() ~= "running" then
    hands = got(atoll.isolate.spawn "hands")
  end
  return hands
end

app:on("start", function() taker() end)
app:every(3600, function() end, { once = "host" })

app:get("/", function() return "hello" end)
app:get("/gc", function()
  collectgarbage()
  collectgarbage()
  return tostring(core.fibers())
end)
app:get("/mark", function(req)
  atoll.log.info("mark %s", req.query.n)
  return "marked"
end)
app:get("/big", function() return text end)
app:post("/echo", function(req) return req:text() end)
app:post("/drip", function(req)
  return atoll.stream(function(write)
    for piece in req:chunks() do write(piece) end
  end, 200, nil, { ["X-Sum"] = function() return "1" end })
end)
app:get("/json", function(req) return { list = { 1, "two" }, query = req.query } end)
app:get("/view", function() return atoll.render("page", { rows = { 1, 2, "<3>" } }) end)
app:get("/cookie", function(_, res)
  res:cookie("id", "1")
  return 200, "hello", { ["X-More"] = { "a", "b" } }
end)
app:post("/form", function(req)
  local size = 0
  for part in req:parts { max_memory = 1000 } do
    if part.filename then
      got(part:save())
      size = size + part.size
    else
      size = size + #got(part:text())
    end
  end
  return { size = size }
end)
app:get("/stream", function()
  return atoll.stream(function(write)
    for _ = 1, 5 do write(text) end
  end)
end)
app:events("/events", function(send)
  send { event = "tick", id = 1, data = { n = 1 } }
  send:subscribe(atoll.topic "events")
end)
app:get("/publish", function()
  atoll.topic("events"):publish("news " .. text)
  return "published"
end)
app:get("/move", function(req)
  got(req:transfer(taker(), 1))
end)
app:post("/moved", function(req)
  got(req:transfer(taker(), 1))
end)

app:websocket("/ws", function(ws)
  ws:subscribe("ws")
  for message, kind in ws:messages() do got(ws:send(message, kind)) end
end)
app:websocket("/wsmove", function(ws)
  assert(got(ws:receive() or nil, ws.reason) == "go")
  got(ws:transfer(taker(), 1))
end)
app:websocket("/wskeep", function(ws)
  local n = ws.resumed and ws.state or 0
  ws:on("reload", function() return n end)
  for _ in ws:messages() do
    n = n + 1
    got(ws:send(tostring(n)))
  end
end)
app:get("/wspublish", function()
  atoll.topic("ws"):publish(text)
  return "published"
end)

local function count(req)
  req.session.count = (req.session.count or 0) + 1
  return tostring(req.session.count)
end
app:group("/session", function(group)
  group:use(session { secret = ("secret"):rep(6) })
  group:get("/cookie", count)
end)
app:group("/stored", function(group)
  group:use(session { secret = ("secret"):rep(6), store = "shared", name = "s" })
  group:get("/x", count)
end)

-- ---- sockets ----

local function echo(address, listen, connect)
  local l <close> = got(net.listen(address, listen))
  between(function()
    local s <close> = got(l:accept(1))
    s:settimeout(1)
    got(s:write(got(s:read "line"), "\n"))
    got(s:flush())
    got(s:write(got(s:read "all")))
    got(s:flush())
  end, function()
    local c <close> = got(net.connect(got(l:name()), connect or { timeout = 1 }))
    c:settimeout(1)
    got(c:write "hello\n")
    if got(c:read "line") ~= "hello" then error("failed: cut off (ECONNRESET)", 0) end
    got(c:write(text))
    got(c:shutdown "write")
    if got(c:read "all") ~= text then error("failed: cut off (ECONNRESET)", 0) end
  end)
end

app:get("/tcp", function()
  echo("127.0.0.1:0", { backlog = 5 }, { timeout = 1, nodelay = true })
  return "ok"
end)
app:get("/unix", function(req)
  os.remove(req.query.dir .. "/s")
  echo("unix:" .. req.query.dir .. "/s")
  return "ok"
end)
app:get("/tls", function()
  echo("127.0.0.1:0", { tls = { cert = certs .. "/server", key = certs .. "/key" } },
    { timeout = 1, tls = { ca = certs .. "/ca", name = "server.test" } })
  return "ok"
end)
app:get("/udp", function()
  local a <close> = got(net.udp "127.0.0.1:0")
  local b <close> = got(net.udp "127.0.0.1:0")
  a:settimeout(0.1)
  b:settimeout(0.1)
  got(b:connect(got(a:name())))
  got(b:send "hello")
  local _, from = a:receive()
  got(from)
  got(a:send("back", from))
  got(b:receive())
  return "ok"
end)
app:get("/names", function(req)
  return { got(net.resolve("localhost")), got(net.resolve(req.query.n .. ".test")) }
end)
app:get("/give", function()
  local l <close> = got(net.listen "127.0.0.1:0")
  local c <close> = got(net.connect(got(l:name()), { timeout = 1 }))
  local s <close> = got(l:accept(1))
  got(s:transfer(taker(), 1))
  local other <close> = got(net.listener(got(l:reference())))
  assert(other:name() == l:name())
  c:settimeout(1)
  got(c:write "hello\n")
  if got(c:read "line") ~= "hello" then error("failed: cut off (ECONNRESET)", 0) end
  return "ok"
end)

-- ---- HTTP out of it ----

local inner = atoll.app()
inner:get("/", function() return "hello" end)
inner:post("/echo", function(req) return req:text() end)
inner:get("/file", function() return atoll.file "public/long.txt" end)
inner:get("/stream", function()
  return atoll.stream(function(write)
    for _ = 1, 3 do write(text) end
  end)
end)
inner:websocket("/ws", function(ws)
  for message in ws:messages() do got(ws:send(message)) end
end, { protocols = { "echo" } })

local function serve(tls, ask)
  local l <close> = got(net.listen("127.0.0.1:0", { tls = tls }))
  local address = got(l:name())
  between(function()
    local _ <close> = l -- nobody need wait
    got(http.serve(l, inner))
  end, function()
    ask(address)
    l:close()
  end)
end

local function ask_all(url, tls)
  for _ = 1, 2 do
    local res = got(http.get(url .. "/", { timeout = 1, tls = tls }))
    if res.status ~= 200 then error("status " .. res.status) end
  end
  local res = got(http.post(url .. "/echo", text, { timeout = 1, tls = tls }))
  if res.body ~= text then error("status " .. res.status) end
  res = got(http.get(url .. "/file",
    { timeout = 1, tls = tls, headers = { ["Accept-Encoding"] = "identity" } }))
  if res.status ~= 200 then
    error(("failed: status %d (%s)"):format(res.status,
      res.status == 403 and "EACCES" or "EAGAIN"))
  end
  if not res.body:find "^line 1 .*line 1500 " then error "not the file" end
  local stream <close> = got(http.get(url .. "/stream",
    { timeout = 1, tls = tls, stream = true, headers = { Connection = "close" } }))
  local size = 0
  for piece in function() return stream:read() end do size = size + #piece end
  if size ~= 3 * #text then error("failed: cut off (ECONNRESET)", 0) end
end

app:get("/http", function()
  serve(nil, function(address) ask_all("http://" .. address) end)
  return "ok"
end)
app:get("/https", function()
  serve({ cert = certs .. "/server", key = certs .. "/key" }, function(address)
    ask_all("https://" .. address, { ca = certs .. "/ca" })
  end)
  return "ok"
end)
app:get("/wsclient", function()
  serve(nil, function(address)
    local url = "ws://" .. address .. "/ws"
    local ws <close> = got(atoll.websocket.connect(url,
      { timeout = 1, protocols = "echo" }))
    got(ws:send(text))
    if got(ws:receive(1), ws.reason) ~= text then error "not what was sent" end
  end)
  return "ok"
end)

-- ---- isolates, threads and what they share ----

app:get("/spawn", function()
  local handle = got(atoll.isolate.spawn("one", { 1, "two" }))
  got(handle:join(2))
  return "ok"
end)
app:get("/ports", function()
  local port <close> = atoll.port()
  local sender = port:sender()
  got(sender:send { 1, { ("x"):rep(1000) }, atoll.buffer(text), sender })
  assert(#got(port:receive(1))[3] == #text)
  assert(got(taker():call({ "question" }, 1)) == "answer")
  return "ok"
end)
app:get("/topics", function(req)
  local name = "t" .. req.query.n
  local topic = atoll.topic(name, { history = 3 })
  local s <close> = topic:subscribe(10, "")
  topic:publish { "news" }
  got(s:receive(1))
  atoll.topic(name, { history = 10 })
  return "ok"
end)
app:get("/shared", function(req)
  local d = atoll.shared("d" .. req.query.n % 5)
  got(d:set("a" .. req.query.n, { 1, { 2 } }, 1))
  got(d:incr("n", 1, 0))
  got(d:rpush("l", text))
  got(d:lpop "l")
  assert(d:get("a" .. req.query.n))
  for i = 1, 800 do got(d:set(i, i)) end -- more than it has buckets
  for i = 1, 800 do d:delete(i) end
  return "ok"
end)
app:get("/pool", function()
  local pool <close> = atoll.pool { module = "sums", size = 1, timeout = 1 }
  assert(got(pool:call("sum", 1, 2)) == 3)
  return "ok"
end)
app:get("/blocking", function()
  assert(got(atoll.blocking(function(a, b) return a + b end, 1, 2)) == 3)
  return "ok"
end)
app:get("/password", function()
  local text_of = got(atoll.password.hash("secret", { ln = 10 }))
  assert(atoll.password.verify("secret", text_of))
  return "ok"
end)
app:get("/fs", function(req)
  local path = req.query.dir .. "/file"
  got(fs.write(path, text))
  assert(got(fs.read(path)) == text)
  got(fs.append(path, "y"))
  got(fs.stat(path))
  got(fs.copy(path, path .. "2"))
  local f <close> = got(fs.open(path .. "2", "r+"))
  got(f:read(1000))
  got(f:seek("set", 0))
  got(f:write "abc\n")
  got(f:sync())
  got(fs.list(req.query.dir))
  got(fs.remove(path .. "2"))
  return "ok"
end)
app:get("/popen", function()
  assert(type(os.execute()) == "boolean")
  local pipe = got(io.popen "echo hello")
  local line = pipe:read "l"
  pipe:close()
  assert(got(line) == "hello")
  return "ok"
end)
app:get("/tasks", function()
  local both = got(atoll.all {
    function() atoll.sleep(0.001) return 1 end, function() return 2 end,
  })
  got(atoll.timeout(1, function() return both[1] end))
  local co = coroutine.wrap(function() coroutine.yield(1) end)
  co()
  return "ok"
end)
local kept = {}
app:get("/hog", function()
  while true do kept[#kept + 1] = ("x"):rep(100000) .. #kept end
end)
app:websocket("/wsend", function(ws)
  for message in ws:messages() do
    if message == "end" then break end
    got(ws:send(message))
  end
  ws:close(4000, "as you like")
end, { protocols = { "chat" } })
require "more"(app, got, between)

return app
