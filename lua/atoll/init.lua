-- What require "atoll" returns.
local app = require "atoll.app"
local events = require "atoll.events"
local files = require "atoll.files"
local host = require "atoll.core.host"
local json = require "atoll.json"
local misuse = require "atoll.misuse"
local response = require "atoll.response"
local task = require "atoll.core.task"
require "atoll.request"

local atoll = {
  version = host.version,
  app = app.new,
  text = response.text,
  html = response.html,
  json = json,
  redirect = response.redirect,
  stream = response.stream,
  halt = response.halt,
  file = files.file,
  events = events.events,
  now = task.now,
  sleep = task.sleep,
  spawn = task.spawn,
  timeout = task.timeout,
  after = task.after,
  log = {},
}

-- atoll.json(value) answers with JSON; the table holds encode, decode, null and array.
local json_meta = getmetatable(json) or {}
function json_meta.__call(_, ...)
  return response.json(...)
end
setmetatable(json, json_meta)

-- atoll.log.info("user %s", name): one argument is text as it is, more are formatted.
for _, level in ipairs { "debug", "info", "warn", "error" } do
  atoll.log[level] = function(format, ...)
    local text = tostring(format)
    if select("#", ...) > 0 then
      local ok, result = pcall(string.format, text, ...)
      if not ok then misuse.raise("atoll.log.%s(): %s", level, result) end
      text = result
    end
    host.log(level, text)
  end
end

-- Loaded when they are first used, for the sake of those who never do: the module; if
-- it is not the module itself, the name in it; and whether that makes it.
local late = {
  all = { "atoll.gather", "all" },
  any = { "atoll.gather", "any" },
  blocking = { "atoll.blocking", "blocking" },
  channel = { "atoll.core.channel" },
  every = { "atoll.timers", "every" },
  exit = { "atoll.core.script", "exit" },
  fs = { "atoll.fs" },
  http = { "atoll.http" },
  isolate = { "atoll.isolate" },
  net = { "atoll.net" },
  port = { "atoll.core.port", "port" },
  semaphore = { "atoll.core.semaphore" },
  shared = { "atoll.shared" },
  signal = { "atoll.signals", "signal" },
  signals = { "atoll.signals", "signals" },
  stderr = { "atoll.core.stdio", "stderr", true },
  stdin = { "atoll.core.stdio", "stdin", true },
  stdout = { "atoll.core.stdio", "stdout", true },
}

local function late_value(self, name)
  local from = late[name]
  if not from then return nil end
  local value = require(from[1])
  if from[2] then value = value[from[2]] end
  if from[3] then value = value() end
  self[name] = value
  return value
end

return setmetatable(atoll, {
  __index = late_value,
  __pairs = function(self)
    for name in next, late do
      if rawget(self, name) == nil then late_value(self, name) end
    end
    return next, self
  end,
})
