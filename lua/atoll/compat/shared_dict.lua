-- ngx.shared: atoll.shared under OpenResty's names, with its results and texts. Every
-- name is a dictionary, of the usual capacity unless the app opened it with another.
-- What has ended is gone, so get_stale finds nothing stale and flush_expired nothing to
-- do; `forcible` is never true, evictions are counted elsewhere.
local shared = require "atoll.shared"

local KEY_MAX = 65535
local NAME_MAX = 255
-- Of an entry, beside its key and its value.
local OVERHEAD = 120
local LISTED = 1024

local texts = { EEXIST = "exists", ENOENT = "not found", ENOMEM = "no memory" }

-- A value with flags is this table of the two, for nobody else to see.
local function unwrap(value)
  if type(value) == "table" and value.ngx_flags then
    return value.value, value.ngx_flags
  end
  return value
end

local function check_key(key)
  if key == nil then return nil, "nil key" end
  key = tostring(key)
  if key == "" then return nil, "empty key" end
  if #key > KEY_MAX then return nil, "key too long" end
  return key
end

-- Seconds; 0 is no end, which is nil here.
local function check_end(seconds, name)
  if seconds == nil then return nil end
  local n = tonumber(seconds)
  if not n or n < 0 or n ~= n then error('bad "' .. name .. '" argument', 3) end
  return n > 0 and n or nil
end

local storable = { string = true, number = true, boolean = true, ["nil"] = true }

local dict = {}
dict.__index = dict

-- ---- values ----

function dict:get(key)
  local problem
  key, problem = check_key(key)
  if not key then return nil, problem end
  local value, _, code = self.entries:get(key)
  if code then return nil, "value is a list" end
  return unwrap(value)
end

function dict:get_stale(key)
  local value, flags = self:get(key)
  return value, flags, false
end

local function store(self, method, key, value, seconds, flags, room)
  local ends = check_end(seconds, "exptime")
  local problem
  key, problem = check_key(key)
  if not key then return nil, problem end
  if not storable[type(value)] then return nil, "bad value type" end
  if value == nil and (room or method == "add") then
    return false, "attempt to add or safe_set nil values", false
  end
  local size = type(value) == "string" and #value or 0
  if flags and flags ~= 0 and value ~= nil then
    value = { value = value, ngx_flags = flags }
  end
  local entries = self.entries
  if room and self:free_space() < OVERHEAD + #key + size then
    return false, "no memory", false
  end
  local done, message, code = entries[method](entries, key, value, ends)
  if done then return true, nil, false end
  return false, texts[code] or message, false
end

function dict:set(key, value, seconds, flags)
  return store(self, "set", key, value, seconds, flags)
end

function dict:add(key, value, seconds, flags)
  return store(self, "add", key, value, seconds, flags)
end

function dict:replace(key, value, seconds, flags)
  return store(self, "replace", key, value, seconds, flags)
end

function dict:safe_set(key, value, seconds, flags)
  return store(self, "set", key, value, seconds, flags, true)
end

function dict:safe_add(key, value, seconds, flags)
  return store(self, "add", key, value, seconds, flags, true)
end

function dict:delete(key)
  return self:set(key, nil)
end

local function check_number(value, what, level)
  return tonumber(value) or error("bad " .. what .. " arg: number expected, got "
    .. type(value), level)
end

function dict:incr(key, by, initial, seconds)
  by = check_number(by, "value", 3)
  initial = initial and check_number(initial, "init", 3)
  local ends = check_end(seconds, "init_ttl")
  if seconds ~= nil and not initial then
    error('must provide "init" when providing "init_ttl"', 2)
  end
  local problem
  key, problem = check_key(key)
  if not key then return nil, problem end
  local entries = self.entries
  local sum, message, code = entries:incr(key, by, initial, ends)
  if sum and not initial then return sum end
  if sum then return sum, nil, false end
  if code ~= "EWRONGTYPE" then return nil, texts[code] or message end
  local flagged = false
  local new = entries:update(key, function(old)
    flagged = select(2, unwrap(old)) and type(old.value) == "number"
    return flagged and { value = old.value + by, ngx_flags = old.ngx_flags } or old
  end)
  if flagged and new then return new.value end
  return nil, "not a number"
end

function dict:ttl(key)
  local problem
  key, problem = check_key(key)
  if not key then return nil, problem end
  local left, message, code = self.entries:ttl(key)
  if not left then return nil, texts[code] or message end
  return left < math.huge and left or 0
end

function dict:expire(key, seconds)
  if seconds == nil then error('bad "exptime" argument', 2) end
  local ends = check_end(seconds, "exptime")
  local problem
  key, problem = check_key(key)
  if not key then return nil, problem end
  local done, message, code = self.entries:expire(key, ends)
  if not done then return nil, texts[code] or message end
  return true
end

-- ---- lists ----

local function in_list(self, method, key, ...)
  local problem
  key, problem = check_key(key)
  if not key then return nil, problem end
  local entries = self.entries
  local result, message, code = entries[method](entries, key, ...)
  if code == "EWRONGTYPE" then return nil, "value not a list" end
  return result, texts[code] or message
end

local function push(self, method, key, value)
  local kind = type(value)
  if kind ~= "string" and kind ~= "number" then return nil, "bad value type" end
  return in_list(self, method, key, value)
end

function dict:lpush(key, value) return push(self, "lpush", key, value) end

function dict:rpush(key, value) return push(self, "rpush", key, value) end

function dict:lpop(key) return in_list(self, "lpop", key) end

function dict:rpop(key) return in_list(self, "rpop", key) end

function dict:llen(key) return in_list(self, "llen", key) end

-- ---- all of it ----

function dict:flush_all() self.entries:flush() end

function dict.flush_expired() return 0 end

-- 1024 of them; 0 is all.
function dict:get_keys(most)
  most = most or LISTED
  return most > 0 and self.entries:keys(most) or self.entries:keys()
end

function dict:capacity() return self.entries:capacity().limit end

function dict:free_space()
  local c = self.entries:capacity()
  return math.max(c.limit - c.used, 0)
end

return setmetatable({}, {
  __index = function(dicts, name)
    if type(name) ~= "string" or name == "" or #name > NAME_MAX then return nil end
    local new = setmetatable({ entries = shared(name) }, dict)
    rawset(dicts, name, new)
    return new
  end,
})
