-- The routes/ directory: the path of a file is its route. index.lua is its directory,
-- [id].lua is /:id, [...path].lua is /*path; names that begin with _ or . are none.
local app = require "atoll.app"
local host = require "atoll.core.host"

local M = {}

local DEPTH = 32 -- directories inside each other; links may go in circles

local function fail(path, ...)
  error(path .. ": " .. string.format(...), 0)
end

-- The segment that a name stands for.
local function segment_of(name, path)
  local rest, param = name:match("^%[%.%.%.(.*)%]$"), name:match("^%[(.*)%]$")
  if rest then return "*" .. rest end
  if param then return ":" .. param end
  if name:find("[%[%]]") then
    fail(path, "a name in brackets is a whole segment: [id] or [...path]")
  end
  if name:find("^[:*]") then fail(path, "a param is written [id] or [...path]") end
  return (name:gsub("%%", "%%25"))
end

-- The entries that the file's result stands for.
local function add_file(list, path, pattern)
  local chunk, message = loadfile(path, "t")
  if not chunk then error(message, 0) end
  local value = chunk()
  if type(value) ~= "function" and type(value) ~= "table" then
    fail(path, "returned %s; a route file returns a function, or a table of methods",
      value == nil and "nothing" or "a " .. type(value))
  end
  if type(value) == "function" then value = { ["*"] = value } end
  local methods = {}
  for method in pairs(value) do methods[#methods + 1] = method end
  table.sort(methods, function(a, b) return tostring(a) < tostring(b) end)
  if #methods == 0 then fail(path, "the table of methods is empty") end
  local file = app.new()
  for _, method in ipairs(methods) do
    app.add_route(file, { method }, pattern, value[method], path)
  end
  table.move(file.entries, 1, #file.entries, #list + 1, list)
end

local function walk(list, directory, pattern, depth)
  if depth > DEPTH then fail(directory, "more than %d directories deep", DEPTH) end
  local names, message = host.list(directory)
  if not names then fail(directory, "%s", message) end
  for _, item in ipairs(names) do
    local path = directory .. "/" .. item.name
    local stem = item.name:match("^(.+)%.lua$")
    if not item.name:find("^[_.]") then
      if item.kind == "directory" then
        walk(list, path, pattern .. "/" .. segment_of(item.name, path), depth + 1)
      elseif stem == "index" then
        add_file(list, path, pattern == "" and "/" or pattern)
      elseif stem then
        add_file(list, path, pattern .. "/" .. segment_of(stem, path))
      end
    end
  end
end

-- The entries of all files below the directory.
function M.read(directory)
  local list = {}
  walk(list, directory, "", 1)
  return list
end

return M
