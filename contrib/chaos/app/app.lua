-- What the chaos run asks: an app with something of everything. Each answer says which
-- process gave it and by which code, and no request is answered twice.
local atoll = require "atoll"
local doubling = require "doubling"
local version = require "version"

local app = atoll.app()
local stat = assert(io.open "/proc/self/stat")
local pid = stat:read "n"
stat:close()

local seen = atoll.shared("seen", { capacity = "8M" })
local counts = atoll.shared "counts"
local worker, pool
local kept = {}

app:use(function(req, next, res)
  res.headers["X-Host"] = tostring(pid)
  res.headers["X-Code"] = tostring(version.number)
  local id = req.headers["x-id"]
  if id and not seen:add(id, true, 30) then return 409, "answered before\n" end
  return next(req)
end)

-- Plain ones.
app:get("/hello/:n", function(req) return "hello " .. req.params.n .. "\n" end)
app:get("/count/:key", function(req)
  return counts:incr(req.params.key, 1, 0) .. "\n"
end)
app:get("/json/:n", function(req)
  return { n = math.tointeger(req.params.n), list = { 1, 2, 3 } }
end)
app:get("/sleep/:n", function(req)
  atoll.sleep(tonumber(req.params.n) / 1000)
  return "slept " .. req.params.n .. "\n"
end)
app:get("/compute/:n", function(req)
  local n, sum = math.tointeger(req.params.n), 0
  for i = 1, n do sum = sum + i end
  return sum .. "\n"
end)

-- Bodies.
app:post("/echo", function(req) return req:text() end)
app:post("/copy", function(req)
  return atoll.stream(function(write)
    for chunk in req:chunks() do write(chunk) end
  end)
end)
app:post("/sum", function(req)
  local size, sum = 0, 0
  for chunk in function() return req:read(4001) end do
    for i = 1, #chunk do sum = (sum * 31 + chunk:byte(i)) & 0xffffffff end
    size = size + #chunk
  end
  return { size = size, sum = sum }
end)
app:get("/stream/:n", function(req)
  local n = math.tointeger(req.params.n)
  return atoll.stream(function(write)
    for i = 1, n do
      write(("line %d of %d\n"):format(i, n))
      if i % 10 == 0 then atoll.sleep(0.005) end
    end
  end)
end)

-- Other isolates and threads.
local function answer(form, value, message)
  if value == nil then return 503, message .. "\n" end
  return form:format(value)
end
app:get("/moved/:n", function(req)
  if not worker then return 503, "no worker\n" end
  local ok, message = req:transfer(worker)
  if not ok then return 503, message .. "\n" end
end)
app:get("/called/:n", function(req)
  if not worker then return 503, "no worker\n" end
  return answer("called %s\n", worker:call(req.params.n))
end)
app:get("/pooled/:n", function(req)
  return answer("%d\n", pool:call("double", math.tointeger(req.params.n)))
end)
app:get("/spawned/:n", function(req)
  local n = math.tointeger(req.params.n)
  local spawned, message = atoll.isolate.spawn("spawned", n)
  if not spawned then return 503, message .. "\n" end
  return answer("%d\n", spawned:join())
end)
app:get("/blocking/:n", function(req)
  local n = math.tointeger(req.params.n)
  return answer("%d\n", atoll.blocking(doubling.double, n))
end)

-- Those that last.
local function ticks() return atoll.topic("ticks", { history = 200 }) end
app:events("/ticks", function(send) send:subscribe(ticks()) end)
app:websocket("/talk", function(ws)
  local said = ws.resumed and ws.state or 0
  ws:on("reload", function() return said end)
  if not ws.resumed then
    ws:send("host " .. pid)
    ws:subscribe(ticks())
  end
  for message, kind in ws:messages() do
    said = said + 1
    ws:send(said .. " " .. message, kind)
  end
end)
app:every(0.1, function()
  local n = (counts:get "tick" or 0) + 1
  ticks():publish(("tick %d:%d"):format(pid, n))
  counts:set("tick", n)
end, { once = "host" })

-- Those that misbehave.
app:get("/error", function() error "on purpose" end)
app:get("/loop", function() while true do end end) -- luacheck: ignore
app:get("/catch", function()
  while true do pcall(function() while true do end end) end -- luacheck: ignore
end)
app:get("/hog", function()
  local hoard = {}
  for i = 1, math.huge do hoard[i] = ("x"):rep(100000) .. i end
  return #hoard .. "\n"
end)
app:get("/leak", function()
  for _ = 1, 20 do kept[#kept + 1] = ("x"):rep(500000) .. #kept end
  return #kept .. "\n"
end)
app:get("/crash/:how", function(req)
  local crash = assert(package.loadlib(os.getenv "CHAOS_CRASH", "luaopen_crash"))()
  return tostring(crash[req.params.how]())
end)
app:get("/inside", function()
  local used, limit = atoll.memory()
  return { pid = pid, name = atoll.isolate.name(), used = used, limit = limit,
    lag = atoll.lag() }
end)

-- A worker that ends, as it does when no descriptor is left to load it, is replaced.
local function hire()
  local hired, message = atoll.isolate.spawn("worker", tostring(pid))
  if hired then
    worker = hired
    worker:on_exit(function() atoll.after(0.1, hire) end)
  else
    atoll.log.warn("no worker: %s", message)
    atoll.after(0.1, hire)
  end
end

app:on("start", function()
  hire()
  pool = atoll.pool { module = "doubling", size = 2 }
  if version.start then version.start() end
end)

return app
