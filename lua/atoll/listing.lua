-- The page that shows a directory, for app:static with listing = true: what can be
-- asked for, directories first, with size and date.
local fs = require "atoll.fs"
local host = require "atoll.core.host"
local response = require "atoll.core.response"

local M = {}

local page = [[
<!doctype html>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>%s</title>
<style>
body { font: 16px/1.5 system-ui, sans-serif; margin: 2em auto; max-width: 50em;
  padding: 0 1em }
table { border-spacing: 0; width: 100%% }
td { border-top: 1px solid #8884; padding: .3em .5em; overflow-wrap: anywhere }
td + td { color: #888; text-align: right; white-space: nowrap }
</style>
<h1>%s</h1>
<table>
%s</table>
]]

local entities = {
  ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;", ['"'] = "&quot;", ["'"] = "&#39;",
}

local function escape(text) return (text:gsub("[&<>\"']", entities)) end

local function size_of(bytes)
  local unit = 1
  while bytes >= 1024 and unit < 5 do bytes, unit = bytes / 1024, unit + 1 end
  return (unit == 1 and "%d B" or "%.1f " .. ("BKMGT"):sub(unit, unit)):format(bytes)
end

local function row(name, is_directory, size, time)
  local shown = is_directory and name .. "/" or name
  local href = name == ".." and ".." or "./" .. host.percent_encode(name)
  return ("<tr><td><a href=\"%s%s\">%s</a><td>%s<td>%s\n"):format(href,
    is_directory and "/" or "", escape(shown), is_directory and "" or size_of(size),
    time and os.date("!%Y-%m-%d %H:%M", math.floor(time)) or "")
end

-- The rows of what is in the directory and may be asked for.
local function rows_of(directory, list)
  local first, second = {}, {}
  for _, name in ipairs(list) do
    local stat = not name:find("^%.") and not name:find("\\", 1, true)
      and fs.stat(directory .. "/" .. name)
    if stat and stat.type == "directory" then
      first[#first + 1] = row(name, true, nil, stat.mtime)
    elseif stat and stat.type == "file" then
      second[#second + 1] = row(name, false, stat.size, stat.mtime)
    end
  end
  return table.concat(first) .. table.concat(second)
end

-- Where the path leads, when that is inside of the root as the rule has it.
local function inside(root, path, links)
  local base, real = host.real_path(root), host.real_path(root .. path)
  if not base or not real then return nil end
  if links == "anywhere" then return real end
  if base == "/" then base = "" end
  local straight = real == (base .. path):gsub("(.)/+$", "%1")
  if links == "none" and not straight then return nil end
  return (real == base or real:sub(1, #base + 1) == base .. "/") and real or nil
end

-- The answer for the directory that a path, which ends with "/", stands for below the
-- root; nil when it is none.
function M.answer(req, root, path, links)
  local directory = inside(root, path, links)
  local list = directory and fs.list(directory)
  if not list then return nil end
  local title = escape(req.path)
  local up = path ~= "/" and row("..", true) or ""
  return setmetatable({
    type = "text/html; charset=utf-8",
    headers = { ["Cache-Control"] = "no-cache" },
    body = page:format(title, title, up .. rows_of(directory, list)),
  }, response.metatable)
end

return M
