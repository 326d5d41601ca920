-- atoll.isolate: isolates beside those that serve.
local core = require "atoll.core.isolate"
local is_file = require("atoll.core.host").is_file
local loading = require "atoll.loading"
local misuse = require "atoll.misuse"
local size = require "atoll.size"

local M = { name = core.name, memory_least = core.memory_least }

-- In a spawned isolate its inbox: what handle:send and handle:call write to.
M.port = core.inbox()

local OPTIONS = {
  name = "string", detached = "boolean", inbox = "number", memory = true,
}
local INBOX_MOST = 1 << 24

-- Runs a module, or a script (its name has a / or ends in .lua; relative to the app, or
-- else, like arg[0], to where the program was started), in an isolate of its own: a
-- thread, a loop, a Lua state. It gets the argument as `...`, and ends when its chunk
-- returns.
function M.spawn(module, argument, options)
  misuse.expect("string", module, "the module of atoll.isolate.spawn()")
  options = options or {}
  misuse.expect("table", options, "the options of atoll.isolate.spawn()")
  for key, value in pairs(options) do
    if not OPTIONS[key] then
      misuse.raise("atoll.isolate.spawn() has no option '%s'; it has name, detached, "
        .. "inbox and memory", tostring(key))
    end
    if OPTIONS[key] ~= true then
      misuse.expect(OPTIONS[key], value, ("the option %s"):format(key))
    end
  end
  local name, inbox = options.name, options.inbox
  if name and (#name < 1 or #name > 255 or name:find "\0") then
    misuse.raise "the option name of atoll.isolate.spawn() has 1 to 255 bytes"
  end
  if inbox and not (math.tointeger(inbox) and inbox >= 1 and inbox <= INBOX_MOST) then
    misuse.raise("the option inbox of atoll.isolate.spawn() is a number of messages, "
      .. "at least 1")
  end
  local memory = options.memory ~= nil
    and size(options.memory, "the option memory of atoll.isolate.spawn()",
      core.memory_least) or nil
  local ok, handle, text, code = pcall(core.spawn, module, argument, options.name,
    options.detached, options.inbox, memory)
  if not ok then misuse.raise("%s", handle) end
  return handle, text, code
end

-- The chunk of a module or script.
function M.find(name)
  local path = name
  if name:sub(-4) == ".lua" or name:find("/", 1, true) then
    local there = loading.directory .. "/" .. name
    local relative = name:sub(1, 1) ~= "/"
    if relative and (is_file(there) or not is_file(name)) then path = there end
  else
    local found, tried = package.searchpath(name, package.path)
    local own = not found and name:find "^atoll%." and package.searchers[1](name)
    if type(own) == "function" then return own end
    local problem = not found and loading.problem(name, package.path)
    if problem then
      error(("module '%s' cannot be loaded: %s"):format(name, problem), 0)
    end
    path = found or error(("module '%s' not found:%s"):format(name, tried), 0)
  end
  local chunk, message = loadfile(path, "t")
  if not chunk then error(message, 0) end
  return chunk
end

return M
