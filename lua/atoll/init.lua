-- What require "atoll" returns.
local host = require "atoll.core.host"
local misuse = require "atoll.misuse"
local task = require "atoll.core.task"

local atoll = {
  version = host.version,
  now = task.now,
  sleep = task.sleep,
  spawn = task.spawn,
  timeout = task.timeout,
  after = task.after,
  log = {},
}

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
  app = { "atoll.app", "new" },
  blocking = { "atoll.blocking", "blocking" },
  buffer = { "atoll.core.buffer" },
  channel = { "atoll.core.channel" },
  cookie = { "atoll.cookie", "format" },
  events = { "atoll.events", "events" },
  every = { "atoll.timers", "every" },
  exit = { "atoll.core.script", "exit" },
  file = { "atoll.files", "file" },
  fs = { "atoll.fs" },
  halt = { "atoll.response", "halt" },
  html = { "atoll.response", "html" },
  http = { "atoll.http" },
  isolate = { "atoll.isolate" },
  json = { "atoll.response", "values" },
  lag = { "atoll.core.host", "lag" },
  memory = { "atoll.core.host", "memory" },
  lookup = { "atoll.core.port", "lookup" },
  net = { "atoll.net" },
  password = { "atoll.password" },
  pool = { "atoll.pool", "new" },
  port = { "atoll.core.port", "port" },
  random = { "atoll.secret", "random" },
  register = { "atoll.core.port", "register" },
  redirect = { "atoll.response", "redirect" },
  render = { "atoll.response", "render" },
  semaphore = { "atoll.core.semaphore" },
  slow = { "atoll.core.host", "slow" },
  shared = { "atoll.shared" },
  sign = { "atoll.secret", "sign" },
  signal = { "atoll.signals", "signal" },
  signals = { "atoll.signals", "signals" },
  stderr = { "atoll.core.stdio", "stderr", true },
  stdin = { "atoll.core.stdio", "stdin", true },
  stdout = { "atoll.core.stdio", "stdout", true },
  stream = { "atoll.response", "stream" },
  template = { "atoll.template" },
  text = { "atoll.response", "text" },
  topic = { "atoll.core.topic", "topic" },
  verify = { "atoll.secret", "verify" },
  websocket = { "atoll.websocket" },
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
