-- Processes: started on a chosen CPU, waited for, and read from /proc: the CPU time,
-- the memory and the affinity of a process with all its descendants. Everything here
-- looks blocking to its caller; libuv's loop runs only while something is waited for.
local uv = require "luv"

local M = {}
local running = {} -- by pid, so that nothing is left behind

local function slurp(path)
  local file = io.open(path)
  local text = file and file:read("a")
  if file then file:close() end
  return text
end
M.slurp = slurp

function M.which(name)
  for dir in (os.getenv("PATH") or ""):gmatch("[^:]+") do
    if uv.fs_access(dir .. "/" .. name, "X") then return dir .. "/" .. name end
  end
end

-- Runs the loop until done() is true; false when the time is over before.
local function wait_until(done, seconds)
  local late = false
  local timer = uv.new_timer()
  timer:start(math.floor(seconds * 1000), 0, function() late = true end)
  while not done() and not late do uv.run("once") end
  timer:close()
  return done()
end

function M.sleep(seconds)
  wait_until(function() return false end, seconds)
end

-- Ends sooner when done() is true.
function M.sleep_unless(seconds, done)
  wait_until(done, seconds)
end

-- Starts a command on a CPU. `log` is a file that takes its output; with `output` what
-- it prints is kept in proc.out instead; with `input` its stdin lasts until proc.stdin
-- is closed.
-- options: cpu, descriptors, env (a list of NAME=VALUE), log, output, input
function M.start(command, options)
  local proc = { out = "", command = table.concat(command, " ") }
  local script = 'exec taskset -c "$CPU" "$@"'
  if options.descriptors then
    script = ("ulimit -S -n %d 2>/dev/null; "):format(options.descriptors) .. script
  end
  local args = { "-c", script, "sh", table.unpack(command) }
  local env = { "CPU=" .. options.cpu, table.unpack(options.env or {}) }
  local set = {}
  for _, entry in ipairs(env) do set[entry:match("^[^=]*")] = true end
  for name, value in pairs(uv.os_environ()) do
    if not set[name] then env[#env + 1] = name .. "=" .. value end
  end
  local log = assert(uv.fs_open(options.log or "/dev/null", "a", tonumber("644", 8)))
  local stdin = options.input and uv.new_pipe(false) or nil
  local stdout = options.output and uv.new_pipe(false) or nil
  local handle, pid = uv.spawn("/bin/sh", {
    args = args,
    env = env,
    stdio = { stdin, stdout or log, log },
  }, function(status, signal) proc.status, proc.signal = status, signal end)
  uv.fs_close(log)
  assert(handle, pid)
  proc.handle, proc.pid, proc.stdin = handle, pid, stdin
  running[pid] = proc
  if stdout then
    stdout:read_start(function(_, chunk)
      if chunk then
        proc.out = proc.out .. chunk
      else
        proc.ended = true
        stdout:close()
      end
    end)
  else
    proc.ended = true
  end
  return proc
end

-- True once the process is gone and all it printed has been read.
function M.wait(proc, seconds)
  local gone = wait_until(function() return proc.status and proc.ended end, seconds)
  if gone then running[proc.pid] = nil end
  return gone
end

function M.wait_output(proc, pattern, seconds)
  local function seen() return proc.out:find(pattern) ~= nil end
  wait_until(function() return seen() or proc.status end, seconds)
  return seen()
end

-- The entries of a directory of /proc, of which nothing may be left.
local function entries(path)
  local scan = uv.fs_scandir(path)
  return function() return scan and uv.fs_scandir_next(scan) end
end

-- { pid = stat fields after the command's name } of a process and its descendants. A
-- child is in the list of the thread that made it.
local function tree(root)
  local found = {}
  local function add(pid)
    local dir = "/proc/" .. pid
    local text = (slurp(dir .. "/stat") or ""):match(".*%) (.*)")
    if not text then return end
    local fields = {}
    for field in text:gmatch("%S+") do fields[#fields + 1] = field end
    found[pid] = fields
    for task in entries(dir .. "/task") do
      local children = slurp(dir .. "/task/" .. task .. "/children") or ""
      for child in children:gmatch("%d+") do add(tonumber(child)) end
    end
  end
  add(root)
  return found
end

function M.children(pid)
  local list = {}
  for id, fields in pairs(tree(pid)) do
    if tonumber(fields[2]) == pid then list[#list + 1] = id end
  end
  return list
end

local ticks
function M.ticks()
  if not ticks then
    local pipe = io.popen("getconf CLK_TCK")
    ticks = pipe:read("n") or 100
    pipe:close()
  end
  return ticks
end

-- Nanoseconds of CPU of the threads that a process has now.
local function scheduled_ns(pid)
  local sum = 0
  for task in entries("/proc/" .. pid .. "/task") do
    local text = slurp("/proc/" .. pid .. "/task/" .. task .. "/schedstat")
    sum = sum + (text and tonumber(text:match("^%d+")) or 0)
  end
  return sum
end

-- Seconds of CPU, user and system, of the process, its descendants, and those of them
-- that have ended. The times in stat are of whole ticks; those of threads that are
-- still there are known better, as long as both say about the same.
function M.cpu_seconds(pid)
  local sum = 0
  for id, fields in pairs(tree(pid)) do
    local own = (fields[12] + fields[13]) / M.ticks()
    local exact = scheduled_ns(id) / 1e9
    if math.abs(exact - own) < 3 / M.ticks() then own = exact end
    sum = sum + own + (fields[14] + fields[15]) / M.ticks()
  end
  return sum
end

-- Bytes of memory of the tree: { rss, pss, private, once }. Of the last each page is
-- counted once that several processes have in common (as the same program's are).
function M.memory(pid)
  local sum = { rss = 0, pss = 0, private = 0 }
  local common = 0
  for id in pairs(tree(pid)) do
    local shared = 0
    for name, kb in (slurp("/proc/" .. id .. "/smaps_rollup") or ""):gmatch(
      "([%w_]+):%s+(%d+) kB") do
      local bytes = tonumber(kb) * 1024
      if name == "Rss" then sum.rss = sum.rss + bytes end
      if name == "Pss" then sum.pss = sum.pss + bytes end
      if name:find("^Private_[CD]") then sum.private = sum.private + bytes end
      if name:find("^Shared_[CD]") then shared = shared + bytes end
    end
    common = math.max(common, shared)
  end
  sum.once = sum.private + common
  return sum
end

-- Open descriptors of the tree.
function M.descriptors(pid)
  local count = 0
  for id in pairs(tree(pid)) do
    for _ in entries("/proc/" .. id .. "/fd") do count = count + 1 end
  end
  return count
end

-- "0-2,5" as a set
local function cpu_set(text)
  local set = {}
  for from, to in text:gmatch("(%d+)%-?(%d*)") do
    for cpu = tonumber(from), tonumber(to) or tonumber(from) do set[cpu] = true end
  end
  return set
end

-- nil when every thread of the tree may run on these CPUs only ("0", "0,1") and last
-- did, else what is wrong.
function M.misplaced(pid, cpus)
  local threads, allowed = 0, cpu_set(tostring(cpus))
  for id in pairs(tree(pid)) do
    for task in entries("/proc/" .. id .. "/task") do
      local dir = "/proc/" .. id .. "/task/" .. task
      local may = (slurp(dir .. "/status") or ""):match("Cpus_allowed_list:%s*(%S+)")
      local fields = (slurp(dir .. "/stat") or ""):match(".*%) (.*)")
      local where = fields and tonumber((fields:gsub("%S+ ", "", 36)):match("%d+"))
      threads = threads + (may and 1 or 0)
      for cpu in pairs(may and cpu_set(may) or {}) do
        if not allowed[cpu] then
          return ("thread %s of %d may run on %s, not only on %s"):format(task, id, may,
            cpus)
        end
      end
      if may and where and not allowed[where] then
        return ("thread %s of %d ran on CPU %d, not on %s"):format(task, id, where,
          cpus)
      end
    end
  end
  if threads == 0 then return "process " .. pid .. " is gone" end
end

-- Seconds that a CPU ("0", "0,1": their sum) has spent for programs, and those that
-- the machine's owner took away; not those for interrupts.
function M.busy_seconds(cpus)
  local sum = 0
  local text = slurp("/proc/stat") or ""
  for cpu in tostring(cpus):gmatch("%d+") do
    local user, nice, system, steal =
      text:match("cpu" .. cpu .. " (%d+) (%d+) (%d+) %d+ %d+ %d+ %d+ (%d+)")
    sum = sum + (user or 0) + (nice or 0) + (system or 0) + (steal or 0)
  end
  return sum / M.ticks()
end

-- The CPUs this process may use, in order.
function M.cpus()
  local list = {}
  local text = slurp("/proc/self/status"):match("Cpus_allowed_list:%s*(%S+)")
  for cpu in pairs(cpu_set(text)) do list[#list + 1] = cpu end
  table.sort(list)
  return list
end

function M.free_port()
  local socket = uv.new_tcp()
  assert(socket:bind("127.0.0.1", 0))
  local port = socket:getsockname().port
  socket:close()
  return port
end

-- Whether somebody listens there, at last.
function M.wait_port(port, seconds)
  local late
  local timer = uv.new_timer()
  timer:start(math.floor((seconds or 15) * 1000), 0, function() late = true end)
  local there
  repeat
    local over
    local socket = uv.new_tcp()
    socket:connect("127.0.0.1", tonumber(port), function(err)
      there, over = not err, true
    end)
    wait_until(function() return over end, 5)
    socket:close()
    if not there then M.sleep(0.01) end
  until there or late
  timer:close()
  return there
end

-- The status and body of what is at path, on a connection of its own; nil when none
-- comes. more: header lines with their ends, and a body to POST
function M.fetch(port, path, seconds, more)
  local body = more and more.body
  local head = (more and more.headers or "")
    .. (body and "Content-Length: " .. #body .. "\r\n" or "")
  local socket, text, over = uv.new_tcp(), "", false
  socket:connect("127.0.0.1", port, function(err)
    if err then
      over = true
      return
    end
    socket:read_start(function(failed, chunk)
      text = text .. (chunk or "")
      local first, length = text:match("^(.-\r\n)\r\n"), nil
      if first then length = first:lower():match("\r\ncontent%-length: *(%d+)\r\n") end
      over = failed or not chunk or (length and #text >= #first + 2 + length)
    end)
    socket:write(("%s %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nConnection: close\r\n"
      .. "%s\r\n%s"):format(body and "POST" or "GET", path, port, head, body or ""))
  end)
  wait_until(function() return over end, seconds or 5)
  socket:close()
  local status, answer = text:match("^HTTP/1%.1 (%d+).-\r\n\r\n(.*)$")
  return tonumber(status), answer
end

-- TERM, or another signal, and KILL to all of the tree when that takes too long. `pid`
-- is the process to signal when that is not the one that was started.
function M.stop(proc, pid, signal)
  if not proc.status then
    uv.kill(pid or proc.pid, signal or "sigterm")
    if not M.wait(proc, 15) then
      local stuck = tree(proc.pid)
      for id in pairs(stuck) do uv.kill(id, "sigkill") end
      M.wait(proc, 5)
      return nil, "had to be killed: " .. proc.command
    end
  end
  running[proc.pid] = nil
  return true
end

function M.stop_all()
  for pid, proc in pairs(running) do
    if not proc.status then
      for id in pairs(tree(pid)) do uv.kill(id, "sigkill") end
    end
  end
end

return M
