-- WebSockets that stay open while their code is replaced: each of many clients echoes
-- and hears a topic's numbers; in between the host is told to reload, ten times. Prints
-- how long the slowest round took until all have heard both, and how many are not open
-- any more or have missed one.
--
--   atoll run contrib/bench/reloads.lua [SOCKETS [RELOADS]]
local atoll = require "atoll"
local testing = require "atoll.testing"

local sockets, reloads = tonumber(arg[1] or 10000), tonumber(arg[2] or 10)
local options = { compress = false, ping = false, timeout = 60 }

local APP = [[
local atoll = require "atoll"
local app = atoll.app()
app:websocket("/", function(ws)
  ws:on("reload", function() return true end)
  if not ws.resumed then ws:subscribe "numbers" ws:send "ready" end
  for message in ws:messages() do ws:send("echo " .. message) end
end)
app:post("/publish", function(req)
  atoll.topic("numbers"):publish(req:text())
end)
return app
]]

local directory = os.tmpname()
os.remove(directory)
assert(atoll.fs.mkdir(directory))
assert(atoll.fs.write(directory .. "/app.lua", APP))

local host <close> = assert(testing.start(directory, { isolates = 2, access_log = "off",
  connections_max = sockets + 100, drain_timeout = 60 }))
local url = host.url:gsub("^http", "ws")

local clients, opened = {}, 0

local function open(i)
  local ws = assert(atoll.websocket.connect(url .. "/", options))
  assert(ws:receive() == "ready")
  clients[i] = ws
  opened = opened + 1
end

for i = 1, sockets do
  atoll.spawn(open, i)
  if i % 100 == 0 or i == sockets then
    while opened < i do atoll.sleep(0.001) end
  end
end

-- What each must hear in one round: the number, and its own echo.
local function round(n)
  local left, done, slowest = sockets, atoll.channel(1), 0
  local began = atoll.now()
  for i = 1, sockets do
    atoll.spawn(function()
      local ws = clients[i]
      if ws then
        ws:send(i .. ":" .. n)
        local number, echo
        for _ = 1, 2 do
          local message = ws:receive(60)
          if message == "number " .. n then number = true end
          if message == ("echo %d:%d"):format(i, n) then echo = true end
        end
        if not (number and echo) then clients[i] = nil end
      end
      slowest = math.max(slowest, atoll.now() - began)
      left = left - 1
      if left == 0 then done:send(true) end
    end)
  end
  assert(atoll.http.post(host.url .. "/publish", "number " .. n))
  done:receive()
  return slowest
end

local slowest = round(0)
for n = 1, reloads do
  host:reload()
  slowest = math.max(slowest, round(n))
end
local whole = 0
for i = 1, sockets do if clients[i] then whole = whole + 1 end end
atoll.fs.remove(directory .. "/app.lua")
atoll.fs.remove(directory)
print(("slowest %.0f ms"):format(slowest * 1000))
print(("lost %d sockets"):format(sockets - whole))
atoll.exit(whole == sockets and 0 or 1)
