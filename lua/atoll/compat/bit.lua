-- The module `bit` of LuaJIT: operations on 32 bits, whose results are signed.
local M = {}

local function signed(x)
  x = x & 0xffffffff
  return x < 0x80000000 and x or x - 0x100000000
end

-- Any number, as the bits of the whole number next to it.
local function bits(x)
  local whole = math.tointeger(x)
  if not whole then
    if type(x) ~= "number" then x = tonumber(x) or error("number expected", 3) end
    whole = math.tointeger(x - x % 1) or 0
    local rest = x - whole
    if rest > 0.5 or (rest == 0.5 and whole % 2 == 1) then whole = whole + 1 end
  end
  return whole & 0xffffffff
end

function M.tobit(x) return signed(bits(x)) end

function M.bnot(x) return signed(~bits(x)) end

function M.band(x, ...)
  local result = bits(x)
  for _, y in ipairs { ... } do result = result & bits(y) end
  return signed(result)
end

function M.bor(x, ...)
  local result = bits(x)
  for _, y in ipairs { ... } do result = result | bits(y) end
  return signed(result)
end

function M.bxor(x, ...)
  local result = bits(x)
  for _, y in ipairs { ... } do result = result ~ bits(y) end
  return signed(result)
end

function M.lshift(x, n) return signed(bits(x) << (bits(n) & 31)) end

function M.rshift(x, n) return signed(bits(x) >> (bits(n) & 31)) end

function M.arshift(x, n) return signed(signed(bits(x)) // (1 << (bits(n) & 31))) end

function M.rol(x, n)
  x, n = bits(x), bits(n) & 31
  return signed(x << n | x >> (32 - n))
end

function M.ror(x, n) return M.rol(x, -n) end

function M.bswap(x)
  return signed((string.unpack(">I4", string.pack("<I4", bits(x)))))
end

-- n hex digits, lower case; upper case when n is negative.
function M.tohex(x, n)
  n = n or 8
  local digits = ("%08x"):format(bits(x)):sub(-math.min(math.abs(n), 8))
  if n == 0 then return "" end
  return n < 0 and digits:upper() or digits
end

return M
