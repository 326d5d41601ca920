-- Hosts that are counted: under callgrind, whose counts vgdb fetches between two loads,
-- or built with coherence.c, which reports at the end.
local atoll = require "atoll"
local callgrind = require "support.callgrind"

local M = {}
local scratch = "build/scale"

local function shell(command)
  return atoll.blocking(function(line)
    local pipe = io.popen(line)
    local text = pipe:read "a"
    pipe:close()
    return text
  end, command)
end

local function slurp(path)
  local f = io.open(path)
  local text = f and f:read "a"
  if f then f:close() end
  return text
end

local function start(command, log)
  local said = shell(("%s >'%s' 2>&1 </dev/null & echo $!"):format(command, log))
  local pid = tonumber(said)
  local port
  for _ = 1, 1200 do
    port = (slurp(log) or ""):match "serving [^\n]*:(%d+) %("
    if port then break end
    atoll.sleep(0.05)
  end
  return { pid = pid, port = assert(tonumber(port), slurp(log)), log = log }
end

local function stop(h)
  shell("kill " .. h.pid)
  while slurp("/proc/" .. h.pid .. "/stat") do atoll.sleep(0.02) end
  assert(slurp(h.log):find "stopped: ", slurp(h.log))
end

local CALLGRIND = "exec valgrind -q --tool=callgrind --separate-threads=yes "
  .. "--trace-children=yes --callgrind-out-file=%s/cg.%%p build/release/atoll "
  .. "serve %s -n 1 -l 127.0.0.1:0 --access-log off"
local COUNTED = "COHERENCE=%s GLIBC_TUNABLES=glibc.malloc.arena_max=%d "
  .. "exec build/counted/atoll serve %s -n %d -l 127.0.0.1:0 --access-log off"

-- Settings for as many connections as there may be, and for as slow a host.
local patient = ""
for name, value in pairs { connections_max = 40000, connections_per_address = 0,
  idle_timeout = 3600, head_timeout = 600, drain_timeout = 60, load_timeout = 600 } do
  patient = patient .. (" --set %s=%d"):format(name, value)
end

-- Calls fn(h) with a host of one isolate under callgrind; h.dump() gives the
-- instructions of the isolate's thread since the last.
function M.callgrind(dir, fn)
  shell("rm -f " .. scratch .. "/cg.*")
  local command = CALLGRIND:format(scratch, dir) .. patient
  local h = start(command, scratch .. "/callgrind.log")
  local children = ("/proc/%d/task/%d/children"):format(h.pid, h.pid)
  local child = tonumber((slurp(children):match "%d+"))
  h.dump = callgrind.dumper(child, scratch .. "/cg")
  fn(h)
  stop(h)
  shell("rm -f " .. scratch .. "/cg.*")
end

-- What coherence.c has reported into files of that name: of the process that did most.
local function report(path)
  local most
  for file in shell("ls " .. path .. ".* 2>/dev/null"):gmatch "%S+" do
    local counts = {}
    for line in slurp(file):gmatch "[^\n]+" do
      local name, n = line:match "^(%l+) (%d+)$"
      if name then counts[name] = tonumber(n) end
    end
    counts.transfers = counts.writes + counts.reads
    if not most or counts.transfers > most.transfers then most = counts end
  end
  shell("rm -f " .. path .. ".*")
  return assert(most, path)
end

-- What each of n more has cost; what is below nothing is chance.
local function difference(few, many, n)
  local cost = {}
  for name, count in pairs(many) do
    cost[name] = math.max(count - few[name], 0) / n
  end
  return cost
end

-- Per request, for a host of that many isolates and a load of n requests to a path. The
-- watchdog, which costs by time and not by request, is off; and the allocator has as
-- many arenas as where there is a CPU for each isolate.
function M.requests(dir, isolates, path, n)
  local counts = {}
  for i, amount in ipairs { 4000, 4000 + n } do
    local file = scratch .. "/counts"
    local command = COUNTED:format(file, 8 * isolates, dir, isolates)
    local h = start(command .. " --set slice=0 --set slice_warn=0",
      scratch .. "/counted.log")
    local load = "build/scale/load -n %d -c %d %d %s"
    local said = shell(load:format(amount, isolates * 4, h.port, path))
    assert(said:find '"errors": 0,', said)
    stop(h)
    counts[i] = report(file)
  end
  return difference(counts[1], counts[2], n)
end

-- Per message, for a script that sends as many as its first argument says.
function M.script(script, arguments, n)
  local counts = {}
  for i, amount in ipairs { 2000, 2000 + n } do
    local file = scratch .. "/counts"
    local run = "COHERENCE=%s build/counted/atoll run %s %d %s 2>&1"
    local said = shell(run:format(file, script, amount, arguments))
    assert(said == "", said)
    counts[i] = report(file)
  end
  return difference(counts[1], counts[2], n)
end

return M
