-- atoll.signal on top of a listener.
local misuse = require "atoll.misuse"
local script = require "atoll.core.script"
local task = require "atoll.core.task"

local M = { signals = script.signals }

-- Calls fn(name) in a task of its own each time that one of the signals comes; the
-- listener, which cancel() ends.
function M.signal(names, fn)
  misuse.expect("function", fn, "what atoll.signal() calls")
  local listener = script.signals(names)
  task.spawn(function()
    for name in listener do task.spawn(fn, name) end
  end)
  return listener
end

return M
