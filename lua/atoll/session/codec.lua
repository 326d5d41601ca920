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

local encoders = {}

local function encode(out, value, path)
  local encoder = encoders[type(value)]
  if not encoder then
    error(("session%s is a %s, which a session cannot hold"):format(path_of(path),
      type(value)), 0)
  end
  encoder(out, value, path)
end

function encoders.boolean(out, value) out[#out + 1] = value and "t" or "f" end

function encoders.number(out, value)
  if math.type(value) == "float" then
    out[#out + 1] = pack("<c1d", "d", value)
  elseif value >= -128 and value <= 127 then
    out[#out + 1] = pack("<c1i1", "b", value)
  elseif value >= -2147483648 and value <= 2147483647 then
    out[#out + 1] = pack("<c1i4", "i", value)
  else
    out[#out + 1] = pack("<c1i8", "j", value)
  end
end

function encoders.string(out, value)
  local short = #value < 256
  out[#out + 1] = pack(short and "<c1s1" or "<c1s4", short and "s" or "S", value)
end

function encoders.table(out, value, path)
  if #path >= DEPTH then
    error("session" .. path_of(path) .. " is nested too deep, or holds itself", 0)
  end
  local keys = {}
  for key in next, value do
    if not ranks[type(key)] then
      error(("session%s has a key that is a %s, which a session cannot hold"):format(
        path_of(path), type(key)), 0)
    end
    keys[#keys + 1] = key
  end
  table.sort(keys, before)
  out[#out + 1] = "{"
  for _, key in ipairs(keys) do
    encode(out, key, path)
    path[#path + 1] = key
    encode(out, rawget(value, key), path)
    path[#path] = nil
  end
  out[#out + 1] = "}"
end

-- Raises what cannot be held, and where it is.
function M.encode(value)
  local out = {}
  encode(out, value, {})
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
  return nil
end

return M
