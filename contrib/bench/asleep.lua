-- Fibers that do nothing but sleep, and then says so; for the bench.
local atoll = require "atoll"

for _ = 1, tonumber(arg[1]) do atoll.spawn(atoll.sleep, 1e6) end
atoll.sleep(0)
collectgarbage()
collectgarbage()
print "asleep"
io.stdout:flush()
atoll.sleep(1e6)
