-- atoll.every, and what app:every registers.
local host = require "atoll.core.host"
local misuse = require "atoll.misuse"
local ticker = require "atoll.core.ticker"

local M = {}

-- Raises unless these make sense for a call named so; whether once is wanted.
function M.check(what, seconds, fn, options)
  misuse.expect("number", seconds, "the seconds of " .. what)
  if not (seconds >= 0.001 and seconds <= 1e9) then
    misuse.raise("%s: the seconds are between 0.001 and 1e9", what)
  end
  misuse.expect("function", fn, "what " .. what .. " calls")
  if options == nil then return false end
  misuse.expect("table", options, "the options of " .. what)
  for key in pairs(options) do
    if key ~= "once" then
      misuse.raise("%s: no option is called %s, only once", what, tostring(key))
    end
  end
  if options.once ~= nil and options.once ~= "host" then
    misuse.raise("%s: once can be \"host\"", what)
  end
  return options.once == "host"
end

local named = {} -- place of a call -> how many timers with once it has made

-- Calls fn every so many seconds while this code serves.
function M.every(seconds, fn, options)
  local once = M.check("atoll.every()", seconds, fn, options)
  if not host.isolate() then
    misuse.raise("atoll.every cannot be called while the app loads; use app:every, or "
      .. "call it in on(\"start\")")
  end
  if not once then return ticker(seconds, fn) end
  local where = misuse.where()
  named[where] = (named[where] or 0) + 1
  return ticker(seconds, fn, ("%s#%d"):format(where, named[where]))
end

-- A function that starts the timers of an app: a list of { seconds, call, once }. Their
-- places in the list are their names, since lines move from one version to the next.
function M.starter(list)
  return function()
    for i, entry in ipairs(list) do
      ticker(entry.seconds, entry.call, entry.once and "app:every#" .. i or nil)
    end
  end
end

return M
