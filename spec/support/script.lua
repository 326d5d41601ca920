-- A script under `atoll run`, in a process of its own, for specs that talk to it.
local events = require "support.events"
local uv = require "luv"

local M = {}

local program = assert(os.getenv "ATOLL", "ATOLL must name the program")
local running = {}

local methods = {}
local metatable = { __index = methods, __name = "spec.script" }

local function collect(s, field)
  local pipe = uv.new_pipe(false)
  return pipe, function()
    s.open = s.open + 1
    pipe:read_start(events.guard(function(_, data)
      if data then
        s[field] = s[field] .. data
      else
        s.open = s.open - 1
        pipe:close()
      end
    end))
  end
end

-- arguments: what stands behind `atoll run`.
function M.start(...)
  local s = setmetatable({ out = "", log = "", open = 0 }, metatable)
  local out, out_start = collect(s, "out")
  local err, err_start = collect(s, "log")
  local problem
  s.process, problem = uv.spawn(program, {
    args = { "run", ... }, stdio = { nil, out, err },
  }, events.guard(function(code, signal)
    s.code, s.signal = code, signal
    s.process:close()
  end))
  s.pid = assert(s.process and problem, problem)
  out_start()
  err_start()
  running[s] = true
  return s
end

-- Waits until stderr has this pattern; its captures.
function methods:says(pattern)
  local found = events.wait(function()
    return ("%q in:\n%s"):format(pattern, self.log)
  end, function()
    local result = table.pack(self.log:match(pattern))
    return (result[1] or self.code) and result
  end)
  assert(found[1], ("exit code %s:\n%s"):format(self.code, self.log))
  return table.unpack(found, 1, found.n)
end

-- Waits for its end; the exit code.
function methods:ended(seconds)
  events.wait(function() return "the end of the script:\n" .. self.log end, function()
    return self.code and self.open == 0
  end, seconds)
  running[self] = nil
  for _, trouble in ipairs { "Sanitizer", "runtime error:" } do
    assert(not self.log:find(trouble, 1, true), self.log)
  end
  return self.code
end

-- Ends it by TERM.
function methods:stop()
  if not self.code then uv.kill(self.pid, "sigterm") end
  return self:ended()
end

-- Ends all that a spec has started; for after_each.
function M.finish()
  local problem
  for s in pairs(running) do
    local ok, message = pcall(s.stop, s)
    if not ok then
      problem = problem or message
      if not s.code then uv.kill(s.pid, "sigkill") end
    end
  end
  running = {}
  if problem then error(problem, 0) end
end

return M
