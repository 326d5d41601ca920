-- Server-sent events (the text/event-stream of the HTML standard), one way from the
-- host to a page. A browser connects again by itself and tells the last id that it saw
-- in the header Last-Event-ID.
local core = require "atoll.core.response"
local json = require "atoll.json"
local misuse = require "atoll.misuse"

local M = {}

local fields = { data = true, event = true, id = true, retry = true }

local function line(name, value)
  if type(value) == "number" then value = tostring(value) end
  misuse.expect("string", value, ("the %s of an event"):format(name))
  if value:find("[\r\n\0]") then
    misuse.raise("the %s of an event is one line", name)
  end
  return name .. ": " .. value .. "\n"
end

local function data_lines(value)
  if type(value) ~= "string" then value = json.encode(value) end
  local lines = value:gsub("\r\n?", "\n"):gsub("\n", "\ndata: ")
  return "data: " .. lines .. "\n"
end

-- The bytes of one event: a text, or a table with data (text, or what JSON can hold),
-- event, id and retry (seconds).
function M.format(event)
  if type(event) ~= "table" then return data_lines(event) .. "\n" end
  for key in pairs(event) do
    if not fields[key] then
      misuse.raise("an event has no field %s; it has data, event, id and retry",
        tostring(key))
    end
  end
  local parts = {}
  if event.event ~= nil then parts[#parts + 1] = line("event", event.event) end
  if event.id ~= nil then parts[#parts + 1] = line("id", event.id) end
  if event.retry ~= nil then
    local ms = math.tointeger((misuse.expect("number", event.retry,
      "the retry of an event") * 1000) // 1)
    if not ms or ms < 0 then misuse.raise("the retry of an event is in seconds") end
    parts[#parts + 1] = ("retry: %d\n"):format(ms)
  end
  if event.data ~= nil then parts[#parts + 1] = data_lines(event.data) end
  return table.concat(parts) .. "\n"
end

-- What fn gets to send with: a function with methods.
local methods = {}
local metatable = { __index = methods, __name = "atoll.send" }

-- Waits while the client is slow; true, or nil, message, code when it has gone.
function metatable:__call(event)
  return self.res:write(M.format(event))
end

-- A line that no page sees; for people who look at the stream.
function methods:comment(text)
  misuse.expect("string", text, "the text of send:comment()")
  text = text:gsub("\r\n?", "\n"):gsub("\n", "\n:")
  return self.res:write(":" .. text .. "\n\n")
end

local function missed_event(count)
  return { event = "missed", data = { count = count } }
end

local subscribe_options = {
  capacity = "number", event = "string", filter = "function", map = "function",
  missed = "function", replay = "boolean",
}

local function check_options(options, known, what)
  if options == nil then return {} end
  misuse.expect("table", options, ("the options of %s"):format(what))
  for name, value in pairs(options) do
    local wanted = known[name]
    if not wanted then
      misuse.raise("%s has no option %s", what, tostring(name))
    end
    if not (name == "missed" and value == false) then
      misuse.expect(wanted, value, ("the option %s of %s"):format(name, what))
    end
  end
  return options
end

-- The event for a value that was published, or nil.
local function event_of(value, options, id)
  if options.filter and not options.filter(value) then return nil end
  local event = { data = value, event = options.event, id = id }
  if not options.map then return event end
  local mapped = options.map(value)
  if mapped == nil then return nil end
  if type(mapped) ~= "table" then
    event.data = mapped
    return event
  end
  event.data = nil
  for name, field in pairs(mapped) do event[name] = field end
  return event
end

-- Sends what is published to the topic, until the client has gone. A topic that keeps a
-- history gives the events ids, and a page that comes back gets what it has not seen.
function methods:subscribe(topic, options)
  options = check_options(options, subscribe_options, "send:subscribe()")
  if type(topic) == "string" then topic = require("atoll").topic(topic) end
  local keeps = topic:keeps()
  local after = keeps and (self.last_event_id or options.replay and "") or nil
  core.relays(self.res, true)
  local subscription <close> = topic:subscribe(options.capacity or 100, after)
  for value, missed in subscription:messages() do
    local ok, message, code = true, nil, nil
    if missed > 0 and options.missed ~= false then
      ok, message, code = self((options.missed or missed_event)(missed))
    end
    local event = event_of(value, options, keeps and subscription:id() or nil)
    if ok and event then ok, message, code = self(event) end
    if not ok then return nil, message, code end
  end
end

local events_options = { heartbeat = "number", retry = "number" }

local function check(options, what)
  options = check_options(options, events_options, what)
  local heartbeat = options.heartbeat or 15
  if heartbeat ~= 0 and not (heartbeat >= 0.01 and heartbeat <= 1e6) then
    misuse.raise("the heartbeat of %s is a number of seconds, or 0 for none", what)
  end
  return heartbeat, options.retry and M.format { retry = options.retry }
end

local function new(fn, heartbeat, first)
  return setmetatable({
    type = "text/event-stream",
    headers = { ["Cache-Control"] = "no-cache", ["X-Accel-Buffering"] = "no" },
    run = function(res)
      local req = res.request
      local send = setmetatable({ res = res, last_event_id = req.last_event_id },
        metatable)
      core.keep(res, heartbeat)
      if first then res:write(first) end
      return fn(send, req)
    end,
  }, core.metatable)
end

-- A response whose events fn(send, req) sends. options: heartbeat, seconds without an
-- event after which a comment goes out (15), 0 for none; retry, seconds after which a
-- page that was cut off comes back. fn is cancelled when the client leaves.
function M.events(fn, options)
  misuse.expect("function", fn, "the argument of atoll.events()")
  return new(fn, check(options, "atoll.events()"))
end

-- For app:events.
function M.handler(fn, options)
  local heartbeat, first = check(options, "app:events()")
  return function() return new(fn, heartbeat, first) end
end

return M
