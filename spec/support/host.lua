-- A real host for a spec: started on a port of the system's choice with an app
-- directory of its own, and held to leaving nothing behind when it stops.
local events = require "support.events"
local uv = require "luv"

local M = {}

local program = assert(os.getenv "ATOLL", "ATOLL must name the program")

-- Under a sanitizer, where times say nothing.
M.SLOW = program:find "address" ~= nil or program:find "thread" ~= nil

local running, directories = {}, {}

local methods = {}
local metatable = { __index = methods, __name = "spec.host" }

-- ---- directories ----

local function quoted(path) return "'" .. path:gsub("'", "'\\''") .. "'" end

local function write_file(path, text)
  -- In one piece, so that a reload never sees half of it.
  local f = assert(io.open(path .. ".new", "wb"))
  f:write(text)
  f:close()
  assert(os.rename(path .. ".new", path))
end

-- Makes a directory with these files, name -> text, that lives until M.finish.
function M.directory(files)
  local dir = assert(uv.fs_mkdtemp((os.getenv "TMPDIR" or "/tmp") .. "/atoll-XXXXXX"))
  directories[#directories + 1] = dir
  for name, text in pairs(files or {}) do
    local parent = name:match "^(.*)/"
    if parent then assert(os.execute("mkdir -p " .. quoted(dir .. "/" .. parent))) end
    write_file(dir .. "/" .. name, text)
  end
  return dir
end

-- The text of an app.lua that is spared its first and last lines. Line numbers stay.
function M.app(body)
  return 'local atoll = require "atoll" local app = atoll.app() ' .. body
    .. "\nreturn app\n"
end

-- ---- processes ----

local function environment(extra)
  local list = {}
  extra = extra or {}
  for name, value in pairs(uv.os_environ()) do
    local ours = name == "PORT" or name == "HOST" or name:find "^ATOLL"
    if not ours and not extra[name] then list[#list + 1] = name .. "=" .. value end
  end
  for name, value in pairs(extra) do list[#list + 1] = name .. "=" .. value end
  return list
end

local function collect(h, field)
  local pipe = uv.new_pipe(false)
  h.pipes[#h.pipes + 1] = pipe
  return pipe, function()
    h.open = h.open + 1
    pipe:read_start(events.guard(function(err, data)
      if data then
        h[field] = h[field] .. data
      elseif not err then
        h.open = h.open - 1
        pipe:close()
      end
    end))
  end
end

local function arguments(options, dir)
  local list = { "serve", dir, "-n", tostring(options.isolates or 1) }
  if options.config then
    table.remove(list, 2)
    table.move({ "--config", dir .. "/" .. options.config }, 1, 2, #list + 1, list)
  end
  for _, address in ipairs(options.listen or { "127.0.0.1:0" }) do
    table.move({ "-l", address }, 1, 2, #list + 1, list)
  end
  -- Heads come byte by byte here, on machines however slow.
  local set = { access_log = "off", drain_timeout = 5, head_timeout = 60 }
  for name, value in pairs(options.set or {}) do set[name] = value end
  for name, value in pairs(set) do
    table.move({ "--set", name .. "=" .. tostring(value) }, 1, 2, #list + 1, list)
  end
  for _, argument in ipairs(options.args or {}) do list[#list + 1] = argument end
  return list
end

-- Starts the program without waiting for anything. options: app (text for M.app), files
-- (name -> text) or dir; config: the file in it that has the apps; isolates, listen,
-- set (settings), args, env; shell: a command to run before, in the shell that becomes
-- the program; program: another path of it; passed: what it has as descriptor 3 and so
-- on.
function M.spawn(options)
  local files = options.files or options.app and { ["app.lua"] = M.app(options.app) }
  local dir = options.dir or M.directory(files)
  local h = setmetatable({
    dir = dir,
    log = "", -- stderr
    out = "", -- stdout
    open = 0,
    pipes = {},
    told = 1, -- where log_wait looks next
  }, metatable)
  local out, out_start = collect(h, "out")
  local err, err_start = collect(h, "log")
  local command, args = options.program or program, arguments(options, dir)
  if options.shell then
    args = { "-c", options.shell .. '; exec "$0" "$@"', command, table.unpack(args) }
    command = "/bin/sh"
  end
  local problem
  h.process, problem = uv.spawn(command, {
    args = args, env = environment(options.env),
    stdio = { nil, out, err, table.unpack(options.passed or {}) },
  }, events.guard(function(code, signal)
    h.code, h.signal = code, signal
    h.process:close()
  end))
  if not h.process then error(problem) end
  h.pid = problem
  out_start()
  err_start()
  running[#running + 1] = h
  return h
end

-- The same, and waits for the line that says it is ready.
function M.start(options)
  local h = M.spawn(options)
  events.wait(function() return "the ready line in:\n" .. h.log end, function()
    return h.code or h.log:find("atoll: serving [^\n]*\n")
  end)
  assert(not h.code, ("exit code %s instead of a host:\n%s"):format(h.code, h.log))
  local urls, isolates, pid = h.log:match(
    "atoll: serving [^\n]- on ([^\n]*) %((%d+) isolates?[%w ]*, pid (%d+)%)\n")
  assert(pid, h.log)
  assert(tonumber(pid) == h.pid, "the ready line has another pid")
  h.isolates, h.urls = tonumber(isolates), {}
  for url in urls:gmatch "[^, ]+" do
    if url ~= "and" and url ~= "(PROXY)" then h.urls[#h.urls + 1] = url end
  end
  h.url = h.urls[1]
  h.port = tonumber(h.url:match ":(%d+)$")
  return h
end

-- ---- a host ----

-- Puts a file of the app in place of the old one.
function methods:write(name, text) write_file(self.dir .. "/" .. name, text) end

function methods:write_app(body) self:write("app.lua", M.app(body)) end

function methods:signal(name)
  assert(not self.code, "the program has ended:\n" .. self.log)
  assert(uv.kill(self.pid, name))
end

function methods:hup() self:signal "sighup" end

function methods:term() self:signal "sigterm" end

-- Waits for a line with this Lua pattern behind the one found last; its captures.
function methods:log_wait(pattern, seconds)
  local found = events.wait(function()
    return ("%q in the log:\n%s"):format(pattern, self.log:sub(self.told))
  end, function()
    local result = table.pack(self.log:find(pattern, self.told))
    return result[1] and result
  end, seconds)
  self.told = found[2] + 1
  return table.unpack(found, 3, found.n)
end

-- How often the log has it, anywhere.
function methods:count(pattern)
  local n = 0
  for _ in self.log:gmatch(pattern) do n = n + 1 end
  return n
end

-- The process ids of what serves, the supervisor's children, the oldest first.
function methods:serving_pids()
  local f = io.open(("/proc/%d/task/%d/children"):format(self.pid, self.pid))
  local text, list = f and f:read "a" or "", {}
  if f then f:close() end
  for pid in text:gmatch "%d+" do list[#list + 1] = tonumber(pid) end
  return list
end

-- The first of them; nil between two.
function methods:serving_pid() return self:serving_pids()[1] end

-- Kibibytes of memory that what serves has in use.
function methods:memory()
  local f = assert(io.open(("/proc/%d/status"):format(self:serving_pid())))
  local text = f:read "a"
  f:close()
  return tonumber(text:match "VmRSS:%s*(%d+)")
end

-- Expects that what serves has grown by less than that many KiB since it had `before`,
-- as soon as what was freed has gone back to the system. Sanitizers keep what is freed:
-- under them nothing is expected.
function methods:grows_less(than, before)
  if M.SLOW then return end
  local grown
  events.poll(function() return ("less memory: it grew by %d KiB"):format(grown) end,
    function()
      grown = self:memory() - before
      return grown < than
    end)
end

-- Open descriptors of what serves, or of that process.
function methods:descriptors(pid)
  local n = 0
  local listing = uv.fs_scandir(("/proc/%d/fd"):format(pid or self:serving_pid()))
  while uv.fs_scandir_next(listing) do n = n + 1 end
  return n
end

-- As many as are open while nothing is under way, for comparisons: a file that is read
-- for a moment, or a client's end that is yet to be seen, does not count.
function methods:held(pid)
  local fewest, same = math.huge, 0
  events.poll("descriptors to be closed", function()
    local n = self:descriptors(pid)
    if n < fewest then fewest, same = n, 0 else same = same + 1 end
    return same == 25
  end)
  return fewest
end

-- HUP, and waits until the new code serves or the log says why not.
function methods:reload()
  self:hup()
  return self:log_wait "[^\n]*(reload[^\n]*)\n"
end

-- Waits for the end: exit code and signal.
function methods:ended(seconds)
  events.wait(function() return "the end of the program:\n" .. self.log end, function()
    return self.code and self.open == 0
  end, seconds)
  for i, h in ipairs(running) do
    if h == self then table.remove(running, i) end
  end
  return self.code, self.signal
end

local function sound(h)
  for _, trouble in ipairs { "Sanitizer", "runtime error:", "Lua error outside" } do
    assert(not h.log:find(trouble, 1, true), h.log)
  end
end

-- What a good end looks like: exit code 0, and nothing left over.
function methods:ended_well(seconds)
  local code, signal = self:ended(seconds)
  sound(self)
  assert(code == 0 and signal == 0,
    ("exit code %d, signal %d:\n%s"):format(code, signal, self.log))
  local left = self.log:match "stopped: %d+ requests served, ([%w, ]*)"
  assert(left, "no word about leftovers:\n" .. self.log)
  local none = "0 connections, 0 fibers, 0 generations, 0 descriptors left"
  assert(left == none, "left over: " .. left .. "\n" .. self.log)
end

function methods:stop()
  if not self.code then self:term() end
  self:ended_well()
end

-- Stops all hosts that a spec started, and removes the directories; for after_each.
function M.finish()
  local problem
  for _, h in ipairs { table.unpack(running) } do
    local ok, message = pcall(h.stop, h)
    if not ok then
      problem = problem or message
      if not h.code then uv.kill(h.pid, "sigkill") end
      pcall(h.ended, h)
    end
  end
  running = {}
  for _, dir in ipairs(directories) do os.execute("rm -rf " .. quoted(dir)) end
  directories = {}
  if problem then error(problem, 0) end
end

return M
