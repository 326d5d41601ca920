-- Where and of what a run was: for the head of the result.
local uv = require "luv"
local proc = require "proc"

local M = {}

local function first_line(command)
  local pipe = io.popen(command .. " 2>/dev/null")
  local text = pipe:read("l")
  pipe:close()
  return text
end

function M.describe()
  local system = uv.os_uname()
  local cpu = (proc.slurp("/proc/cpuinfo") or ""):match("model name%s*:%s*([^\n]+)")
  local distribution = (proc.slurp("/etc/os-release") or "")
    :match('PRETTY_NAME="([^"]+)"') or "?"
  local count = #uv.cpu_info()
  local text = ("%d CPUs, %s, Linux %s"):format(count, cpu or system.machine,
    system.release:match("^[%d.]*%d") or system.release)
  return { cpu = cpu or system.machine, cpus = count, kernel = system.release,
    system = distribution, memory_mb = math.floor(uv.get_total_memory() / 1e6),
    text = text }
end

-- The commit that the checkout is at, and whether it was changed since.
function M.commit(root)
  local git = ("git -C '%s' "):format(root)
  local commit = first_line(git .. "rev-parse --short=10 HEAD")
  if not commit then return "none" end
  local changed = first_line(git .. "status --porcelain --untracked-files=no")
  return commit .. (changed and ", changed" or "")
end

return M
