-- Sizes as people write them.
local misuse = require "atoll.misuse"

local units = { [""] = 1, K = 1 << 10, M = 1 << 20, G = 1 << 30 }

local function text(bytes)
  for _, unit in ipairs { "G", "M", "K" } do
    if bytes % units[unit] == 0 then return bytes // units[unit] .. unit end
  end
  return tostring(bytes)
end

-- 8388608 or "8M" as a number of bytes; what it is for is named if it is something else
-- or less than `least`.
return function(value, what, least)
  local digits, unit = tostring(value):match "^(%d+)([KMG]?)$"
  local n = digits and #digits <= (unit == "" and 15 or 9)
    and math.tointeger(digits) * units[unit]
  if not n then
    misuse.raise("%s is %s, not a size such as \"8M\"", what, tostring(value))
  end
  if n < least then
    misuse.raise("%s is %s, less than %s", what, tostring(value), text(least))
  end
  return n
end
