-- Counts, in a local variable: each dispatcher has one isolate of this servlet.
local atoll = require "atoll"
local servlet = atoll.app()

local count = 0

servlet:get("/", function()
  count = count + 1
  return count .. "\n"
end)

return servlet
