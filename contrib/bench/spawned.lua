-- Isolates that are spawned one after the other, each of which says a word and stays:
-- how soon it comes, in the median; for the bench.
local atoll = require "atoll"

local parent = ...
if type(parent) == "userdata" then
  parent:send "here"
  atoll.sleep(1e6)
end

local port, took = atoll.port(), {}
for i = 1, tonumber(arg[1]) do
  local began = atoll.now()
  assert(atoll.isolate.spawn(arg[0], port:sender()))
  port:receive()
  took[i] = atoll.now() - began
end
table.sort(took)
print(("%.0f us"):format((took[#took // 2 + 1] or 0) * 1e6))
io.stdout:flush()
atoll.sleep(1e6)
