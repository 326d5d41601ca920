-- Exact counts, independent of the machine's speed: the system calls (strace) and the
-- instructions in user space (callgrind) that one more request costs. Returns rows as
-- gauges.lua does.
local proc = require "proc"
local servers = require "servers"

local M = {}

-- Runs a server under a wrapper twice, for few and for many requests, and returns the
-- difference of what `read` finds, per request. Both runs go on at the same time: the
-- counts do not depend on the speed.
-- how: wrapper(file) -> command, read(file) -> number, inner (the server is the
-- wrapper's child and takes the signals), few, many
local function per_request(how, start, path, args)
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
    runs[i].load = servers.start_load(server, path,
      { "-n", tostring(n), table.unpack(args or {}) },
      { cpu = i == 1 and b.cpu_client or b.cpu_server })
  end
  local counts = {}
  for i, run in pairs(runs) do
    local r, failed = servers.finish(run.load)
    why = why or failed
    if r and r.errors > 0 then why = r.errors .. " requests went wrong" end
    local ok, killed = proc.stop(run.server,
      how.inner and proc.children(run.server.pid)[1] or nil)
    if not ok then why = why or killed end
    counts[i] = how.read(run.file)
    if not counts[i] then why = why or "no count in " .. run.file end
  end
  if why then return nil, why end
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

local function counted(rows, how)
  for _, row in ipairs(rows) do
    how.few, how.many = how.base, how.base + row.many
    if row.mode then
      row.limit = per_request(how, function(o)
        return servers.start_limit(row.mode, 150, o)
      end, row.path, row.load)
    end
    row.value, row.why = per_request(how, servers.start_product, row.path, row.load)
    row.kind, row.most, row.name = "figure", true, how.name
  end
  return rows
end

local function skipped(rows, how, program)
  for _, row in ipairs(rows) do
    row.kind, row.name, row.why = "figure", how.name, program .. " is not installed"
  end
  return rows
end

function M.syscalls(options)
  local n = options.counted * 2
  local rows = {
    { title = "system calls, busy keep-alive", path = "/hello", target = 2.05,
      mode = "one", many = n },
    { title = "system calls, pipelined x16", path = "/hello", target = 0.14,
      mode = "count", load = { "-P", "16" }, many = n * 8 },
    { title = "system calls, connection each (final 4.06)", path = "/hello",
      mode = "close", load = { "-e" }, many = n },
  }
  local how = { name = "syscalls", base = 1024, inner = true, read = read_strace }
  function how.wrapper(file) return { "strace", "-f", "-c", "-o", file } end
  if not proc.which("strace") then return skipped(rows, how, "strace") end
  return counted(rows, how)
end

function M.instructions(options)
  local rows = {
    { title = "instructions, hello", path = "/hello", target = 3500, mode = "one" },
    { title = "instructions, hello, 10 headers", path = "/hello", target = 8500,
      load = { "-H" } },
    { title = "instructions, route + header, 10 headers", path = "/users/42",
      target = 11000, load = { "-H" } },
    { title = "instructions, JSON", path = "/json", target = 11000 },
  }
  for _, row in ipairs(rows) do row.many = options.counted end
  local how = { name = "instructions", base = 512, read = read_callgrind }
  function how.wrapper(file)
    return { "valgrind", "-q", "--tool=callgrind", "--trace-children=yes",
      "--callgrind-out-file=" .. file .. ".%p" }
  end
  if not proc.which("valgrind") then return skipped(rows, how, "valgrind") end
  return counted(rows, how)
end

return M
