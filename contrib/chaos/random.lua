-- A random number generator of one's own (splitmix64), so that what one client asks
-- does not depend on when another did: the same seed and name give the same numbers.
local M = {}

local methods = {}
local metatable = { __index = methods }

local function mixed(z)
  z = (z ~ (z >> 30)) * 0xbf58476d1ce4e5b9
  z = (z ~ (z >> 27)) * 0x94d049bb133111eb
  return z ~ (z >> 31)
end

function M.new(seed, name)
  local state = mixed(seed)
  for i = 1, #name do state = mixed(state + name:byte(i)) end
  return setmetatable({ state = state }, metatable)
end

-- An integer from..to, both included.
function methods:int(from, to)
  self.state = self.state + 0x9e3779b97f4a7c15
  return from + ((mixed(self.state) >> 1) % (to - from + 1))
end

-- A number in [from, to).
function methods:real(from, to)
  return from + (to - from) * self:int(0, (1 << 52) - 1) / (1 << 52)
end

function methods:chance(p) return self:real(0, 1) < p end

function methods:pick(list) return list[self:int(1, #list)] end

-- An entry of a list of { weight =, ... }, each as often as it weighs.
function methods:weighed(list)
  local sum = 0
  for _, entry in ipairs(list) do sum = sum + entry.weight end
  local at = self:real(0, sum)
  for _, entry in ipairs(list) do
    at = at - entry.weight
    if at < 0 then return entry end
  end
  return list[#list]
end

-- Bytes of any value.
function methods:bytes(n)
  local words = {}
  for i = 1, (n + 7) // 8 do
    words[i] = ("i8"):pack(self:int(0, math.maxinteger - 1))
  end
  return table.concat(words):sub(1, n)
end

return M
