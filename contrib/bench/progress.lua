-- Where a run is: on a terminal one line that changes, else a line for each step.
-- Steps say beforehand how long they may take; what the first of them really took
-- corrects the time that is said to be left.
local uv = require "luv"

local M = { planned = 0, done = 0 }
local terminal = uv.guess_handle(2) == "tty"
local current = { seconds = 0, title = "" }
local shown = 0

function M.begin(seconds)
  M.planned, M.done, M.started = seconds, 0, uv.hrtime()
end

local function left(fraction)
  local elapsed = (uv.hrtime() - M.started) / 1e9
  local done = M.done + fraction * current.seconds
  local factor = done > 5 and elapsed / done or 1
  return math.max(0, (M.planned - done) * factor), done / math.max(M.planned, 1)
end

local function line(fraction, text)
  local seconds, share = left(fraction)
  return ("[%3.0f %%, %d:%02d left] %s: %s"):format(share * 100,
    math.floor(seconds / 60), math.floor(seconds % 60), current.title, text)
end

local function clear()
  if shown > 0 then io.stderr:write("\r", (" "):rep(shown), "\r") end
  shown = 0
end

-- A line that stays.
function M.say(...)
  clear()
  io.stderr:write(string.format(...), "\n")
end

-- What goes on, and how much of the step is over (0 to 1).
function M.tick(fraction, ...)
  if not terminal then return end
  local text = line(math.min(fraction, 1), string.format(...)):sub(1, 100)
  clear()
  io.stderr:write(text)
  shown = #text
end

function M.step(title, seconds)
  current = { title = title, seconds = seconds }
  if not terminal then M.say("%s", line(0, ("about %.0f s"):format(seconds))) end
end

function M.over()
  M.done = M.done + current.seconds
  current = { seconds = 0, title = current.title }
  clear()
end

return M
