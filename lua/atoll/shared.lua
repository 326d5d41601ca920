-- atoll.shared: dictionaries that every isolate sees.
local core = require "atoll.core.shared"
local misuse = require "atoll.misuse"
local size = require "atoll.size"

local TRIES = 100

local function bytes(value) return size(value, "capacity", core.capacity_min) end

local capacity = core.methods.capacity

function core.methods:capacity(limit)
  return capacity(self, limit ~= nil and bytes(limit) or nil)
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
