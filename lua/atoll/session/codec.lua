-- The content of a session as bytes and back: booleans, numbers, strings, and tables of
-- them. The same content gives the same bytes, which is how a change is noticed.
local M = {}

local DEPTH = 32

local pack, unpack = string.pack, string.unpack

-- The first key says only whether it is data or a flash.
local function path_of(path)
  local text = ""
  for i = 2, #path do
    local key = path[i]
    local plain = type(key) == "string" and key:find("^[%a_][%w_]*$")
    text = text .. (plain and "." .. key or ("[%s]"):format(tostring(key)))
  end
  return text
end

local ranks = { boolean = 1, number = 2, string = 3 }

local function before(a, b)
  local rank_a, rank_b = ranks[type(a)], ranks[type(b)]
  if rank_a ~= rank_b then return rank_a < rank_b end
  if rank_a == 1 then return not a and b end
  return a < b
end

local function number(value)
  if math.type(value) == "float" then return pack("<c1d", "d", value) end
  if value >= -128 and value <= 127 then return pack("<c1i1", "b", value) end
  if value >= -2147483648 and value <= 2147483647 then
    return pack("<c1i4", "i", value)
  end
  return pack("<c1i8", "j", value)
end

-- The keys of a table in their order.
local function keys_of(value, path)
  local keys, n, strings = {}, 0, true
  for key in next, value do
    local rank = ranks[type(key)]
    if not rank then
      error(("session%s has a key that is a %s, which a session cannot hold"):format(
        path_of(path), type(key)), 0)
    end
    n = n + 1
    keys[n] = key
    strings = strings and rank == 3
  end
  if n > 1 then
    if strings then table.sort(keys) else table.sort(keys, before) end
  end
  return keys, n
end

-- Puts the bytes of the value behind those that are there; how many pieces there are.
local function put(out, n, value, path, depth)
  local kind = type(value)
  n = n + 1
  if kind == "string" then
    out[n] = pack(#value < 256 and "<c1s1" or "<c1s4", #value < 256 and "s" or "S",
      value)
  elseif kind == "number" then
    out[n] = number(value)
  elseif kind == "boolean" then
    out[n] = value and "t" or "f"
  elseif kind ~= "table" then
    error(("session%s is a %s, which a session cannot hold"):format(path_of(path),
      kind), 0)
  else
    if depth > DEPTH then
      error("session" .. path_of(path) .. " is nested too deep, or holds itself", 0)
    end
    out[n] = "{"
    local keys, count = keys_of(value, path)
    for i = 1, count do
      local key = keys[i]
      path[depth] = key
      n = put(out, n, key, path, depth)
      n = put(out, n, rawget(value, key), path, depth + 1)
    end
    path[depth] = nil
    n = n + 1
    out[n] = "}"
  end
  return n
end

-- Raises what cannot be held, and where it is.
function M.encode(value)
  local out = {}
  put(out, 0, value, {}, 1)
  return table.concat(out)
end

local formats = { d = "<d", b = "<i1", i = "<i4", j = "<i8", s = "<s1", S = "<s4" }

local function decode(bytes, at)
  local tag = bytes:sub(at, at)
  at = at + 1
  if tag == "t" then return true, at end
  if tag == "f" then return false, at end
  if formats[tag] then return unpack(formats[tag], bytes, at) end
  if tag ~= "{" then error("no session", 0) end
  local value = {}
  while bytes:sub(at, at) ~= "}" do
    local key
    key, at = decode(bytes, at)
    value[key], at = decode(bytes, at)
  end
  return value, at + 1
end

-- The value; nil when these are no bytes of encode.
function M.decode(bytes)
  local ok, value, at = pcall(decode, bytes, 1)
  if ok and at == #bytes + 1 then return value end
  if not ok and value == "not enough memory" then error(value, 0) end
  return nil
end

return M
