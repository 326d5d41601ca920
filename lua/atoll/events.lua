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

-- A response whose events fn(send) sends. send(event) waits while the client is slow
-- and gives true, or nil, message, code when the client has gone.
function M.events(fn)
  misuse.expect("function", fn, "the argument of atoll.events()")
  return setmetatable({
    type = "text/event-stream",
    headers = { ["Cache-Control"] = "no-cache", ["X-Accel-Buffering"] = "no" },
    run = function(res)
      return fn(function(event) return res:write(M.format(event)) end)
    end,
  }, core.metatable)
end

return M
