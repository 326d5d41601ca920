-- Exact counts, independent of the machine's speed: the system calls (strace) and the
-- instructions in user space (callgrind; the CPU's counters for those whose code is
-- made at run time, where the machine has them) that one more request costs. Returns
-- rows as figures.lua does.
local clients = require "clients"
local proc = require "proc"
local progress = require "progress"
local servers = require "servers"

local M = {}

-- Runs a server under a wrapper twice, for few and for many requests, and returns the
-- difference of what `read` finds, per request. Both runs go on at the same time: the
-- counts do not depend on the speed.
-- how: wrapper(file) -> command, read(file) -> number, inner (the server is the
-- wrapper's child and takes the signals), few, many
local function per_request(how, start, row)
  local b, runs = servers.b, {}
  local why
  for i, n in ipairs({ how.few, how.many }) do
    local file = ("%s/%s.%d"):format(b.build, how.name, i)
    os.execute("rm -f '" .. file .. "'*")
    local cpu = i == 1 and b.cpu_server or b.cpu_client
    local server
    server, why = start({ wrapper = how.wrapper(file), cpu = cpu })
    if not server then break end
    runs[i] = { server = server, file = file }
    runs[i].load = clients.start_load(server, row.path,
      { "-n", tostring(n), table.unpack(row.load or {}) },
      { cpu = i == 1 and b.cpu_client or b.cpu_server })
  end
  local counts = {}
  for i, run in pairs(runs) do
    local r, failed = clients.finish(run.load)
    why = why or failed
    if r and r.errors > 0 then why = r.errors .. " requests went wrong" end
    local ok, killed = proc.stop(run.server,
      how.inner and proc.children(run.server.pid)[1] or nil,
      run.server.peer and run.server.peer.quit)
    if not ok then why = why or killed end
    counts[i] = how.read(run.file)
    if not counts[i] then why = why or "no count" end
  end
  if why then return nil, why end
  if counts[2] <= counts[1] then return nil, "the counts of two runs do not differ" end
  return (counts[2] - counts[1]) / (how.many - how.few)
end

local function read_callgrind(file)
  local pipe = io.popen("cat '" .. file .. "'.* 2>/dev/null | grep '^totals:'")
  local sum
  for n in pipe:read("a"):gmatch("totals: (%d+)") do sum = (sum or 0) + tonumber(n) end
  pipe:close()
  return sum
end

local function read_strace(file)
  for line in (proc.slurp(file) or ""):gmatch("[^\n]+") do
    local calls = line:match("^%s*[%d.]+%s+[%d.]+%s+%d+%s+(%d+)%s.*total$")
    if calls then return tonumber(calls) end
  end
end

local function read_perf(file)
  return tonumber((proc.slurp(file) or ""):match("(%d+),[^,]*,instructions"))
end

local STRACE = { name = "syscalls", base = 1024, inner = true, read = read_strace }
function STRACE.wrapper(file) return { "strace", "-f", "-c", "-o", file } end

local CALLGRIND = { name = "instructions", base = 512, read = read_callgrind }
function CALLGRIND.wrapper(file)
  return { "valgrind", "-q", "--tool=callgrind", "--trace-children=yes",
    "--callgrind-out-file=" .. file .. ".%p" }
end

local PERF = { name = "instructions", base = 20000, times = 8, inner = true,
  read = read_perf }
function PERF.wrapper(file)
  return { "perf", "stat", "-x,", "-e", "instructions:u", "-o", file }
end

local function count(rows, name, how_of, start_of)
  for i, row in ipairs(rows) do
    local how, why = how_of()
    local value
    if how then
      how.few, how.many = how.base, how.base + row.many * (how.times or 1)
      progress.tick(i / #rows, "%s: %s", name, row.title)
      value, why = per_request(how, start_of(row), row)
    end
    row.cells[name] = value and { values = { value } } or { why = why }
  end
end

local function all(rows, name, how_of)
  for _, row in ipairs(rows) do
    row.kind, row.name, row.cells = "figure", name, {}
  end
  count(rows, "limit", function() return how_of({ count = true }) end, function(row)
    return function(o) return servers.start_limit(row.mode or "one", 150, o) end
  end)
  for _, peer in ipairs(servers.b.peers) do
    count(rows, peer.name, function() return how_of(peer) end, function()
      return function(o) return servers.start(peer, o) end
    end)
  end
  return rows
end

function M.syscalls(options)
  local n = options.counted * 2
  local rows = {
    { title = "system calls, keep-alive 64", path = "/hello", goal = 2.05, many = n },
    { title = "system calls, pipelined x16", path = "/hello", goal = 0.14,
      mode = "count", load = { "-P", "16" }, many = n * 8 },
    { title = "system calls, connection each", path = "/hello", goal = 4.06,
      mode = "close", load = { "-e" }, many = n },
  }
  return all(rows, "syscalls", function()
    if not proc.which("strace") then return nil, "strace is not installed" end
    return STRACE
  end)
end

-- Whether the machine lets a program's instructions be counted by the CPU.
local function counters()
  if not proc.which("perf") then return false end
  local pipe = io.popen("perf stat -x, -e instructions:u true 2>&1")
  local text = pipe:read("a")
  pipe:close()
  return text:match("^%d+,") ~= nil
end

function M.instructions(options)
  local rows = {
    { title = "instructions, hello", path = "/hello", goal = 2400 },
    { title = "instructions, 10 headers", path = "/hello", goal = 5500,
      load = { "-H" } },
    { title = "instructions, route + 10", path = "/users/42", goal = 7000,
      load = { "-H" } },
    { title = "instructions, JSON", path = "/json", goal = 7000 },
  }
  for _, row in ipairs(rows) do row.many = options.counted end
  local by_cpu = counters()
  return all(rows, "instructions", function(peer)
    if not peer.count then
      if by_cpu then return PERF end
      return nil, "makes its code at run time, and this machine has no counters"
    end
    if not proc.which("valgrind") then return nil, "valgrind is not installed" end
    return CALLGRIND
  end)
end

function M.gauges()
  return {
    { name = "syscalls", title = "system calls", measure = M.syscalls,
      seconds = function() return (#servers.b.peers + 1) * 4 end },
    { name = "instructions", title = "instructions", measure = M.instructions,
      seconds = function()
        local n = 0
        for _, peer in ipairs(servers.b.peers) do n = n + (peer.count and 1 or 0) end
        return (n + 1) * 14
      end },
  }
end

return M
