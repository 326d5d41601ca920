-- Twenty sleepers, of up to ten seconds: by how much are they late?
--
--   atoll run contrib/examples/sleepers.lua [SLEEPERS [SECONDS]]
local atoll = require "atoll"

local count, longest = tonumber(arg[1]) or 20, tonumber(arg[2]) or 10

local function sleeper(seconds)
  local due = atoll.now() + seconds
  atoll.sleep(seconds)
  return (atoll.now() - due) * 1e6
end

local sleepers, late = {}, {}
for i = 1, count do sleepers[i] = atoll.spawn(sleeper, longest * i / count) end
for i, task in ipairs(sleepers) do
  late[i] = task:join()
  print(("%6.2f s and %.0f µs"):format(longest * i / count, late[i]))
end

table.sort(late)
print(("late by %.0f µs in the median, %.0f µs at most"):format(
  late[(count + 1) // 2], late[count]))
