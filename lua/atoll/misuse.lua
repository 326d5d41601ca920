-- Names the line of the program that called the API wrongly, however deep in here the
-- mistake was noticed.
local M = {
  loading = nil, -- the file that is being loaded: a tail call leaves no line behind
}

local own = debug.getinfo(1, "S").source:match("^(.*/)") or "@"

-- "apps/hello/app.lua:7": the innermost running line that is not in this directory.
function M.where()
  local level = 2
  while true do
    local info = debug.getinfo(level, "Sl")
    if not info then return M.loading or "?" end
    local source = info.source
    if info.what ~= "C" and source:sub(1, #own) ~= own then
      local file = source:sub(1, 1) == "@" and source:sub(2) or info.short_src
      return file .. ":" .. info.currentline
    end
    level = level + 1
  end
end

-- Raises the formatted text with that place in front of it.
function M.raise(...)
  error(M.where() .. ": " .. string.format(...), 0)
end

-- Raises unless value, which the text calls `what`, has the wanted type.
function M.expect(wanted, value, what)
  if type(value) == wanted then return value end
  M.raise("%s is a %s, not %s", what, wanted, type(value))
end

return M
