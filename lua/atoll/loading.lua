-- `require` through which a module may wait while it loads. It does what Lua's own
-- does, with the same texts; being Lua it can be suspended. A fiber that needs a module
-- which another fiber is still loading waits for it, so that nobody sees half a module.
local M = {}

local library = package
local loaded = package.loaded
-- Modules of others that are taught to wait: what is called with them when they load.
local adapters = { ["ssl.core"] = "atoll.compat.ssl" }
local active = {} -- name -> { name =, by = coroutine, fiber = } of what loads now
local active_count = 0

-- Modules that load at this moment.
function M.count()
  return active_count
end

-- The text with which a file that is there cannot be opened, for one of the places
-- where the module is looked for; nil when that is not what is wrong. A place that
-- cannot be looked at has none, as for Lua.
function M.problem(name, path)
  local is_file = require("atoll.core.host").is_file
  local inside = name:gsub("%.", "/"):gsub("%%", "%%%%")
  for template in path:gmatch "[^;]+" do
    local file = template:gsub("%?", inside)
    local ok, there = pcall(is_file, file)
    if ok and there then
      local opened, message = io.open(file)
      if not opened then return message end
      opened:close()
    end
  end
end

-- Searchers say that there is no such file when there are no descriptors for it.
local function unopened(name)
  local path, cpath = library.path, library.cpath
  return type(path) == "string" and M.problem(name, path)
    or type(cpath) == "string" and M.problem(name, cpath) or nil
end

local function find(name)
  local searchers = library.searchers
  if type(searchers) ~= "table" then error("'package.searchers' must be a table", 3) end
  local messages = {}
  for i = 1, math.huge do
    local searcher = rawget(searchers, i)
    if searcher == nil then break end
    local loader, data = searcher(name)
    if type(loader) == "function" then return loader, data end
    if type(loader) == "string" or type(loader) == "number" then
      messages[#messages + 1] = "\n\t" .. loader
    end
  end
  local problem = unopened(name)
  if problem then
    error(("module '%s' cannot be loaded: %s"):format(name, problem), 3)
  end
  error(("module '%s' not found:%s"):format(name, table.concat(messages)), 3)
end

local function finish(load)
  if active[load.name] == load then
    active[load.name] = nil
    active_count = active_count - 1
  end
end

local function this_fiber()
  local task = loaded["atoll.core.task"]
  return task and task.fiber()
end

-- Whether a load that is not over goes on without this coroutine: it has yielded, or is
-- another fiber's, which waits or had to let others have their turn.
local function is_elsewhere(load, status)
  if status == "suspended" then return true end
  local fiber = this_fiber()
  return fiber and load.fiber and fiber ~= load.fiber
end

-- Returns when the load is over or was given up; raises when it is this very coroutine,
-- or one that resumed it, that loads.
local function await(name, load)
  local sleep = require("atoll.core.task").sleep
  local pause = 0.001
  while active[name] == load do
    local status = coroutine.status(load.by)
    if status == "dead" then
      finish(load)
    elseif is_elsewhere(load, status) then
      sleep(pause)
      pause = math.min(2 * pause, 0.05)
    else
      error(("module '%s' requires itself while it loads"):format(name), 3)
    end
  end
end

local load_meta = { __close = finish }

function M.require(...)
  local name = ...
  if type(name) == "number" then name = tostring(name) end
  if type(name) ~= "string" then
    error(("bad argument #1 to 'require' (string expected, got %s)"):format(
      select("#", ...) == 0 and "no value" or type(name)), 2)
  end
  local value = loaded[name]
  if value then return value end
  while active[name] do
    await(name, active[name])
    if loaded[name] then return loaded[name] end
  end
  local load <close> = setmetatable({
    name = name, by = coroutine.running(), fiber = this_fiber(),
  }, load_meta)
  active[name] = load
  active_count = active_count + 1
  local loader, data = find(name) -- which may take a while, and wait
  value = loader(name, data)
  if adapters[name] then require(adapters[name])(value) end
  if value ~= nil then loaded[name] = value end
  if loaded[name] == nil then loaded[name] = true end
  return loaded[name], data
end

return M
