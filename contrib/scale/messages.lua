-- messages.lua N SENDERS BATCH: N messages to this isolate from others, each of which
-- waits for a word after every BATCH.
local atoll = require "atoll"

if atoll.isolate.port then
  local to, count, batch = table.unpack((...))
  local back = atoll.isolate.port:sender()
  for i = 1, count do
    local asks = i % batch == 0 or i == count
    assert(to:send(asks and back or i))
    if asks then atoll.isolate.port:receive() end
  end
  return
end

local n, senders, batch = tonumber(arg[1]), tonumber(arg[2]), tonumber(arg[3])
local port, each, spawned = atoll.port(), n // senders, {}
for i = 1, senders do
  spawned[i] = assert(atoll.isolate.spawn(arg[0], { port:sender(), each, batch }))
end
for _ = 1, each * senders do
  local value = port:receive()
  if type(value) ~= "number" then value:send(true) end
end
for _, isolate in ipairs(spawned) do isolate:join() end
