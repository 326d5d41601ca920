-- One text of 1 KB published to a topic that many WebSockets of apps/bench are
-- subscribed to: the milliseconds until the last client has read it, the median of some
-- rounds. The clients are here, and share the machine with the server.
--
--   atoll run contrib/bench/broadcast.lua URL [SOCKETS [ROUNDS]]
local atoll = require "atoll"

local url = arg[1]
local sockets, rounds = tonumber(arg[2] or 10000), tonumber(arg[3] or 15)
local options = { compress = false, ping = false, timeout = 60 }

local opened, left, all = 0, 0, atoll.channel(1)

local function client()
  local ws = assert(atoll.websocket.connect(url, options))
  assert(ws:receive() == "subscribed")
  opened = opened + 1
  for _ in ws:messages() do
    left = left - 1
    if left == 0 then all:send(true) end
  end
end

for i = 1, sockets do
  atoll.spawn(client)
  if i % 100 == 0 or i == sockets then
    while opened < i do atoll.sleep(0.001) end
  end
end

local publisher = assert(atoll.websocket.connect(url, options))
assert(publisher:receive() == "subscribed")
local times = {}
for i = 1, rounds do
  left = sockets
  local began = atoll.now()
  publisher:send "publish"
  all:receive()
  times[i] = (atoll.now() - began) * 1000
  assert(#publisher:receive() == 1024)
end
table.sort(times)
print(("websockets %.1f ms"):format(times[(#times + 1) // 2]))
atoll.exit(0)
