-- What the lints share: finding files and complaining.
local M = {}

-- The paths that the shell pattern matches, sorted; none when it matches nothing.
function M.glob(pattern)
  local paths = {}
  local pipe = assert(io.popen("ls -d " .. pattern .. " 2>/dev/null"))
  for path in pipe:lines() do paths[#paths + 1] = path end
  pipe:close()
  return paths
end

function M.read(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read("a")
  file:close()
  return text
end

function M.exists(path)
  local file = io.open(path, "rb")
  if file then file:close() end
  return file ~= nil
end

-- C source with comments, strings and character constants blanked; lines stay lines.
function M.blank(source)
  local out, at = {}, 1
  local function blanked(text) return (text:gsub("[^\n]", " ")) end
  while at <= #source do
    local start = source:find("[\"'/]", at)
    if not start then break end
    out[#out + 1] = source:sub(at, start - 1)
    local two, stop = source:sub(start, start + 1), start
    if two == "/*" then
      stop = select(2, source:find("*/", start + 2, true)) or #source
      out[#out + 1] = blanked(source:sub(start, stop))
    elseif two == "//" then
      stop = (source:find("\n", start, true) or #source + 1) - 1
      out[#out + 1] = blanked(source:sub(start, stop))
    elseif two:sub(1, 1) == "/" then
      out[#out + 1] = "/"
    else
      local quote = two:sub(1, 1)
      stop = start + 1
      while stop <= #source and source:sub(stop, stop) ~= quote do
        stop = stop + (source:sub(stop, stop) == "\\" and 2 or 1)
      end
      out[#out + 1] = quote .. blanked(source:sub(start + 1, stop - 1)) .. quote
    end
    at = stop + 1
  end
  out[#out + 1] = source:sub(at)
  return table.concat(out)
end

local complaints = 0

function M.complain(path, line, ...)
  complaints = complaints + 1
  io.stderr:write(("%s:%d: %s\n"):format(path, line, string.format(...)))
end

function M.finish() os.exit(complaints == 0) end

return M
