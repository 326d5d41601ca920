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
  for name, value in pairs(uv.os_environ()) do env[#env + 1] = name .. "=" .. value end
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

-- { pid = stat fields after the command's name } of a process and its descendants
local function tree(root)
  local children, stats = {}, {}
  local scan = uv.fs_scandir("/proc")
  for name in function() return scan and uv.fs_scandir_next(scan) end do
    local pid = tonumber(name)
    local text = pid and slurp("/proc/" .. name .. "/stat")
    if text then
      local fields = {}
      for field in text:match(".*%) (.*)"):gmatch("%S+") do
        fields[#fields + 1] = field
      end
      local parent = tonumber(fields[2])
      stats[pid] = fields
      children[parent] = children[parent] or {}
      table.insert(children[parent], pid)
    end
  end
  local found = {}
  local function add(pid)
    found[pid] = stats[pid]
    for _, child in ipairs(children[pid] or {}) do add(child) end
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
-- Seconds of CPU, user and system, of the process, its descendants, and those of them
-- that have ended.
function M.cpu_seconds(pid)
  if not ticks then
    local pipe = io.popen("getconf CLK_TCK")
    ticks = pipe:read("n") or 100
    pipe:close()
  end
  local sum = 0
  for _, fields in pairs(tree(pid)) do
    for i = 12, 15 do sum = sum + tonumber(fields[i]) end
  end
  return sum / ticks
end

-- Bytes of memory of the tree: { rss, pss, private }
function M.memory(pid)
  local sum = { rss = 0, pss = 0, private = 0 }
  for id in pairs(tree(pid)) do
    for name, kb in (slurp("/proc/" .. id .. "/smaps_rollup") or ""):gmatch(
      "([%w_]+):%s+(%d+) kB") do
      local bytes = tonumber(kb) * 1024
      if name == "Rss" then sum.rss = sum.rss + bytes end
      if name == "Pss" then sum.pss = sum.pss + bytes end
      if name:find("^Private_[CD]") then sum.private = sum.private + bytes end
    end
  end
  return sum
end

-- Open descriptors of the tree.
function M.descriptors(pid)
  local count = 0
  for id in pairs(tree(pid)) do
    local scan = uv.fs_scandir("/proc/" .. id .. "/fd")
    for _ in function() return scan and uv.fs_scandir_next(scan) end do
      count = count + 1
    end
  end
  return count
end

-- nil when every thread of the tree may run on this CPU only, else what is wrong.
function M.misplaced(pid, cpu)
  local threads = 0
  for id in pairs(tree(pid)) do
    local scan = uv.fs_scandir("/proc/" .. id .. "/task")
    for task in function() return scan and uv.fs_scandir_next(scan) end do
      local status = slurp("/proc/" .. id .. "/task/" .. task .. "/status") or ""
      local cpus = status:match("Cpus_allowed_list:%s*(%S+)")
      threads = threads + (cpus and 1 or 0)
      if cpus and cpus ~= tostring(cpu) then
        return ("thread %s of %d may run on %s, not only on %s"):format(task, id, cpus,
          cpu)
      end
    end
  end
  if threads == 0 then return "process " .. pid .. " is gone" end
end

-- The CPUs this process may use.
function M.cpus()
  local list = {}
  local text = slurp("/proc/self/status"):match("Cpus_allowed_list:%s*(%S+)")
  for from, to in text:gmatch("(%d+)%-?(%d*)") do
    for cpu = tonumber(from), tonumber(to) or tonumber(from) do
      list[#list + 1] = cpu
    end
  end
  return list
end

function M.free_port()
  local socket = uv.new_tcp()
  assert(socket:bind("127.0.0.1", 0))
  local port = socket:getsockname().port
  socket:close()
  return port
end

-- The status and body of GET path, on a connection of its own; nil when none comes.
function M.fetch(port, path, seconds)
  local socket, text, over = uv.new_tcp(), "", false
  socket:connect("127.0.0.1", port, function(err)
    if err then
      over = true
      return
    end
    socket:read_start(function(failed, chunk)
      text = text .. (chunk or "")
      local head, length = text:match("^(.-\r\n)\r\n"), nil
      if head then length = head:lower():match("\r\ncontent%-length: *(%d+)\r\n") end
      over = failed or not chunk or (length and #text >= #head + 2 + length)
    end)
    socket:write(("GET %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nConnection: close\r\n\r\n")
      :format(path, port))
  end)
  wait_until(function() return over end, seconds or 5)
  socket:close()
  local status, body = text:match("^HTTP/1%.1 (%d+).-\r\n\r\n(.*)$")
  return tonumber(status), body
end

-- TERM, and KILL to all of the tree when that takes too long. `pid` is the process to
-- signal when that is not the one that was started.
function M.stop(proc, pid)
  if not proc.status then
    uv.kill(pid or proc.pid, "sigterm")
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
