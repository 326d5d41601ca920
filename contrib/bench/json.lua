-- Writes a value as JSON: a table with items, or an empty one, is an array.
local M = {}

local function encode(value, out, indent)
  local kind = type(value)
  if kind == "table" and (#value > 0 or next(value) == nil) then
    out[#out + 1] = "["
    for i, item in ipairs(value) do
      if i > 1 then out[#out + 1] = ", " end
      encode(item, out, indent)
    end
    out[#out + 1] = "]"
  elseif kind == "table" then
    local names = {}
    for name in pairs(value) do names[#names + 1] = name end
    table.sort(names)
    local inner = indent .. "  "
    for i, name in ipairs(names) do
      out[#out + 1] = (i == 1 and "{\n" or ",\n") .. inner
      encode(name, out, inner)
      out[#out + 1] = ": "
      encode(value[name], out, inner)
    end
    out[#out + 1] = "\n" .. indent .. "}"
  elseif kind == "string" then
    out[#out + 1] = '"' .. value:gsub('[%c"\\]', function(c)
      return ("\\u%04x"):format(c:byte())
    end) .. '"'
  elseif kind == "number" then
    local finite = value == value and math.abs(value) ~= math.huge
    out[#out + 1] = finite and ("%.6g"):format(value) or "null"
  else
    out[#out + 1] = tostring(value)
  end
end

function M.encode(value)
  local out = {}
  encode(value, out, "")
  return table.concat(out) .. "\n"
end

return M
