-- How long a request waits beside endless loops in its isolate: one, then a hundred. It
-- is asked at moments that have nothing to do with the slices. For the bench: atoll run
-- neighbours.lua
local atoll = require "atoll"
local net = require "atoll.net"

local parent = ...

if parent then -- the isolate that is measured
  local listener = assert(net.listen "127.0.0.1:0")
  parent:send(listener:name())
  local app = atoll.app()
  app:get("/", function() return "Hello, world\n" end)
  app:get("/loop", function()
    atoll.spawn(function() while true do end end) -- luacheck: ignore
    return "begun\n"
  end)
  atoll.http.serve(listener, app)
  return
end

local ROUNDS = 500

local port = atoll.port()
local isolate = assert(atoll.isolate.spawn(arg[0], port:sender()))
local socket = assert(net.connect((port:receive())))

local function ask(path)
  socket:write("GET " .. path .. " HTTP/1.1\r\nHost: a\r\n\r\n")
  assert(socket:read_until "\r\n\r\n")
end

local function measure()
  local times = {}
  for i = 1, ROUNDS do
    atoll.sleep(math.random() / 100)
    local began = atoll.now()
    ask "/"
    socket:read("some")
    times[i] = (atoll.now() - began) * 1000
  end
  table.sort(times)
  return times[ROUNDS // 2], times[ROUNDS * 99 // 100]
end

ask "/loop"
socket:read("some")
local p50, p99 = measure()
print(("p50 %.1f ms"):format(p50))
print(("p99 %.1f ms"):format(p99))
for _ = 1, 99 do
  ask "/loop"
  socket:read("some")
end
print(("hundred %.1f ms"):format((select(2, measure()))))
isolate:kill()
