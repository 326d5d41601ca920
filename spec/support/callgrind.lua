-- What callgrind counts of a process that runs under it, with --separate-threads=yes:
-- vgdb has it written out while the process goes on.
local atoll = require "atoll"

local M = {}

local function slurp(path)
  local f <close> = io.open(path)
  return f and f:read "a"
end

-- A function that gives the instructions of the thread that did most since it was last
-- called; prefix: of the process's --callgrind-out-file, before ".%p".
function M.dumper(pid, prefix)
  local dumps = 0
  return function()
    dumps = dumps + 1
    local command = ("vgdb --pid=%d dump %d >/dev/null 2>&1"):format(pid, dumps)
    assert(atoll.blocking(function(line) return os.execute(line) end, command))
    local most = 0
    for thread = 1, 9 do
      local text = slurp(("%s.%d.%d-%02d"):format(prefix, pid, dumps, thread))
      most = math.max(most, text and tonumber(text:match "\ntotals: (%d+)") or 0)
    end
    return most
  end
end

return M
