-- atoll.shared: dictionaries that every isolate sees.
local core = require "atoll.core.shared"
local misuse = require "atoll.misuse"

local TRIES = 100

local units = { [""] = 1, K = 1 << 10, M = 1 << 20, G = 1 << 30 }

-- 8388608 or "8M".
local function bytes(value)
  local digits, unit = tostring(value):match "^(%d+)([KMG]?)$"
  local n = digits and #digits <= (unit == "" and 15 or 9)
    and math.tointeger(digits) * units[unit]
  if not n then
    misuse.raise("capacity is %s, not a size such as \"8M\"",
      tostring(value))
  end
  if n < core.capacity_min then
    misuse.raise("capacity is %s, less than %dK", tostring(value),
      core.capacity_min // 1024)
  end
  return n
end

local capacity = core.methods.capacity

function core.methods:capacity(size)
  return capacity(self, size ~= nil and bytes(size) or nil)
end

-- Gives the value to fn and puts what it returns in its place, unless somebody else has
-- changed it meanwhile: then again, with the new one.
function core.methods:update(key, fn, ttl)
  for _ = 1, TRIES do
    local old, version, code = self:get_versioned(key)
    if code then return nil, version, code end
    local new = fn(old)
    local done, message
    done, message, code = self:cas(key, version, new, ttl)
    if done then return new end
    if code ~= "ESTALE" then return nil, message, code end
  end
  return nil, "changed meanwhile", "ESTALE"
end

return function(name, options)
  misuse.expect("string", name, "the name given to atoll.shared()")
  if #name < 1 or #name > 255 then
    misuse.raise "a name given to atoll.shared() has 1 to 255 bytes"
  end
  if options == nil then return core.open(name) end
  misuse.expect("table", options, "the second argument of atoll.shared")
  for key in pairs(options) do
    if key ~= "capacity" then
      misuse.raise("atoll.shared(): %s is no option; capacity is", tostring(key))
    end
  end
  return core.open(name, options.capacity ~= nil and bytes(options.capacity) or nil)
end
