-- App directories that live as long as a spec.
local file = require "support.file"
local testing = require "atoll.testing"

local M = {}

local made = {}

local function quoted(path) return "'" .. path:gsub("'", "'\\''") .. "'" end

-- Makes a directory with these files, name -> content, and returns its path.
function M.directory(files)
  local directory = os.tmpname()
  os.remove(directory)
  made[#made + 1] = directory
  assert(os.execute("mkdir " .. quoted(directory)))
  for name, content in pairs(files) do
    local parent = (directory .. "/" .. name):match("^(.*)/")
    assert(os.execute("mkdir -p " .. quoted(parent)))
    file.write(directory .. "/" .. name, content)
  end
  return directory
end

-- Loads an app whose app.lua is this text (or that has these files). The text begins
-- behind `local atoll, app = ...` and ends before `return app`, unless it is files.
function M.load(source)
  local files = source
  if type(source) == "string" then
    files = {
      ["app.lua"] = "local atoll = require \"atoll\" local app = atoll.app()"
        .. source .. "\nreturn app\n",
    }
  end
  local directory = M.directory(files)
  return testing.load(directory), directory
end

-- The message with which loading fails, without the directory in front of it and the
-- traceback behind it.
function M.problem(source)
  local ok, message = pcall(M.load, source)
  assert(not ok, "the app loads")
  message = message:gsub("\nstack traceback:.*$", "")
  local directory = made[#made]
  if message:sub(1, #directory + 1) == directory .. "/" then
    message = message:sub(#directory + 2)
  end
  return message
end

-- Removes all directories.
function M.clean()
  for _, directory in ipairs(made) do os.execute("rm -rf " .. quoted(directory)) end
  made = {}
end

return M
