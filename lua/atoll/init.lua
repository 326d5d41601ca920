-- What require "atoll" returns.
local app = require "atoll.app"
local blocking = require "atoll.blocking"
local events = require "atoll.events"
local files = require "atoll.files"
local fs = require "atoll.fs"
local gather = require "atoll.gather"
local host = require "atoll.core.host"
local isolate = require "atoll.isolate"
local json = require "atoll.json"
local misuse = require "atoll.misuse"
local net = require "atoll.net"
local response = require "atoll.response"
local script = require "atoll.core.script"
local signals = require "atoll.signals"
local task = require "atoll.core.task"
local timers = require "atoll.timers"
require "atoll.request"

local atoll = {
  version = host.version,
  app = app.new,
  text = response.text,
  html = response.html,
  isolate = isolate,
  json = json,
  fs = fs,
  net = net,
  redirect = response.redirect,
  stream = response.stream,
  halt = response.halt,
  file = files.file,
  events = events.events,
  now = task.now,
  sleep = task.sleep,
  spawn = task.spawn,
  timeout = task.timeout,
  blocking = blocking.blocking,
  all = gather.all,
  any = gather.any,
  after = task.after,
  every = timers.every,
  semaphore = require "atoll.core.semaphore",
  channel = require "atoll.core.channel",
  port = require("atoll.core.port").port,
  exit = script.exit,
  signal = signals.signal,
  signals = signals.signals,
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

-- Made when they are first used.
local late = {
  http = function() return require "atoll.http" end,
}
for _, name in ipairs { "stdin", "stdout", "stderr" } do
  late[name] = function() return require("atoll.core.stdio")[name]() end
end

return setmetatable(atoll, {
  __index = function(self, name)
    local make = late[name]
    if not make then return nil end
    local value = make()
    rawset(self, name, value)
    return value
  end,
})
