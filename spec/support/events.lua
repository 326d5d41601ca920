-- Waiting for events in specs: luv's loop is turned until something is the case. Nobody
-- waits for time to pass; the deadline is there to fail a spec that would wait forever.
local uv = require "luv"

local M = {}

local SECONDS = 30
local TICK = 0.1

local AWAY = 0.3

local failure

-- A callback for luv. An error in one would end the process: it fails the spec instead,
-- at its next wait.
function M.guard(fn)
  return function(...)
    local ok, message = xpcall(fn, debug.traceback, ...)
    if not ok then failure = failure or message end
  end
end

-- When this process was last seen, and when it had been away from its loop for AWAY.
local seen, away = uv.hrtime() / 1e9, -math.huge

local function look()
  local now = M.now()
  if now - seen > AWAY then away = now end
  seen = now
end

-- Whether it has stood still in the last so many seconds: then others may have given it
-- up.
function M.was_away(seconds)
  look()
  return M.now() - away < seconds
end

local alarm = uv.new_timer()
local waiting = false

local function check()
  if not failure then return end
  local message = failure
  failure = nil
  error(message, 0)
end

-- Turns the loop until done() is true, and returns that. `what` names it in the error:
-- a text, or a function that makes one.
function M.wait(what, done, seconds)
  local patience = math.ceil((seconds or SECONDS) / TICK)
  look()
  check()
  assert(not waiting, "a wait inside a wait")
  waiting = true
  local ok, result = pcall(done)
  waiting = false
  if not ok then error(result, 0) end
  if result then return result end
  waiting = true
  -- Counted, so that a machine that stood still has not used it up.
  local tick = math.ceil(TICK * 1000)
  alarm:start(tick, tick, function() patience = patience - 1 end)
  repeat
    uv.run "once"
    look()
    local message
    ok, message = pcall(check)
    if ok then
      ok, result = pcall(done)
      message = result
    end
    if not ok then
      alarm:stop()
      waiting = false
      error(message, 0)
    end
  until result or patience <= 0
  alarm:stop()
  waiting = false
  if result then return result end
  error("waited in vain for " .. (type(what) == "function" and what() or what), 2)
end

-- Waits for all of a list to be done, each with its name.
function M.wait_all(list, done, name, seconds)
  local first = 1
  M.wait(function() return name(list[first]) end, function()
    while list[first] and done(list[first]) do first = first + 1 end
    return not list[first]
  end, seconds)
end

-- Calls fn, which itself waits for an answer of some kind, until it returns true.
function M.retry(what, fn, seconds)
  local left, before = seconds or SECONDS, M.now()
  repeat
    local result = fn()
    if result then return result end
    local now = M.now()
    left, before = left - math.min(now - before, 10 * TICK), now
  until left < 0
  error("tried in vain for " .. (type(what) == "function" and what() or what), 2)
end

-- Calls fn after each span of time until it returns true; for what has no event of its
-- own, such as files and /proc.
function M.poll(what, fn, seconds)
  local ticker = uv.new_timer()
  ticker:start(2, 2, function() end)
  local ok, result = pcall(M.wait, what, fn, seconds)
  ticker:stop()
  ticker:close()
  uv.run "nowait" -- luv does not survive a state that ends before it is closed
  if not ok then error(result, 0) end
  return result
end

function M.now() return uv.hrtime() / 1e9 end

return M
