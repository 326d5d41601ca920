-- What /proc tells of a process and of its children.
local atoll = require "atoll"

local M = {}

local function slurp(path)
  local file = io.open(path)
  local text = file and file:read "a"
  if file then file:close() end
  return text
end

function M.children(pid)
  local list = {}
  local text = slurp(("/proc/%d/task/%d/children"):format(pid, pid)) or ""
  for id in text:gmatch "%d+" do list[#list + 1] = math.tointeger(id) end
  return list
end

-- The state's letter, or nil when there is none: "Z" is one that nobody has buried.
function M.state(pid)
  local text = slurp(("/proc/%d/stat"):format(pid))
  return text and text:match ".*%) (%a)"
end

-- Open descriptors.
function M.files(pid)
  return #(atoll.fs.list(("/proc/%d/fd"):format(pid)) or {})
end

-- { rss = bytes, threads = }, or nil.
function M.status(pid)
  local text = slurp(("/proc/%d/status"):format(pid))
  if not text then return nil end
  local function number(name) return tonumber(text:match(name .. ":%s*(%d+)")) or 0 end
  return { rss = number "VmRSS" * 1024, threads = number "Threads" }
end

-- Bytes of memory, what is shared divided among those who share it.
function M.pss(pid)
  local text = slurp(("/proc/%d/smaps_rollup"):format(pid))
  return text and (tonumber(text:match "\nPss:%s*(%d+)") or 0) * 1024 or 0
end

-- Context switches of all threads.
function M.switches(pid)
  local sum = 0
  for _, id in ipairs(atoll.fs.list(("/proc/%d/task"):format(pid)) or {}) do
    local text = slurp(("/proc/%d/task/%s/status"):format(pid, id)) or ""
    for n in text:gmatch "voluntary_ctxt_switches:%s*(%d+)" do sum = sum + n end
  end
  return math.tointeger(sum)
end

return M
