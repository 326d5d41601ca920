-- Whole lives of a program while calls of it fail, from its start to its end: a host
-- that begins in one of the ways in which one may, serves and stops, and what the other
-- verbs do. It either does what it is for, or says in one message why not, and ends
-- with an exit code of its own; nothing is left of it.
local clients = require "support.sweep.clients"
local events = require "support.events"
local file = require "support.file"
local host = require "support.host"
local net = require "atoll.net"
local run = require "support.sweep.run"
local serving = require "support.sweep.serving"
local sites = require "support.sites"
local uv = require "luv"

local M = { scenarios = {} }

local PROGRAM = assert(os.getenv "ATOLL", "ATOLL must name the program")
local PATIENCE = 2 * clients.PATIENCE

local world

function M.enter(given) world = given end

-- ---- hosts ----

-- A socket that nobody listens at any more.
local function stale(path)
  local pipe = uv.new_pipe(false)
  assert(pipe:bind(path .. ".old"))
  assert(os.rename(path .. ".old", path))
  local closed
  pipe:close(function() closed = true end)
  events.wait("a socket to be closed", function() return closed end)
end

-- A sanitizer looks for them as a debugger does, which not everybody may.
local function without_leaks(o)
  o.env.ASAN_OPTIONS = (o.env.ASAN_OPTIONS or "") .. ":detect_leaks=0"
end

-- What one of them is started with, beside what all are.
local houses = {
  plain = function() end,

  -- All that a service of the system has.
  official = function(o, dir)
    without_leaks(o)
    o.config = "atoll.lua"
    file.write(dir .. "/atoll.lua", ([[return {
      apps = { { host = "A", dir = "." }, { path = "/b", dir = "." } },
      processes = 2, user = "nobody", group = "nogroup", sandbox = true,
      pid_file = "%s/pid", log = "%s/log", compression = true,
      drain_timeout = 0.5, sandbox_read = "%s", sandbox_write = "%s",
    }]]):format(dir, dir, o.env.CERTS, dir))
    o.set = { access_log = "access.log" }
    o.listen = { "127.0.0.1:0", "unix:" .. dir .. "/socket" }
    stale(dir .. "/socket")
    o.shell = ("cd %s; chmod 777 ."):format(dir)
    o.env.NOTIFY_SOCKET = dir .. "/notify"
    local heard = assert(net.udp("unix:" .. dir .. "/notify"))
    assert(os.execute(("chmod 666 %s/notify"):format(dir)))
    o.finish = function() heard:close() end
    o.pid_file, o.socket = dir .. "/pid", dir .. "/socket"
    o.log_file = dir .. "/log"
  end,

  -- A user without a name, few descriptors, all addresses, and a journal.
  numbers = function(o, dir)
    without_leaks(o)
    o.set.user, o.set.connections_max = 12345, 100
    o.listen = { ":0" }
    o.shell = ("ulimit -Sn 500; chmod -R a+rwX %s"):format(dir)
    o.env.JOURNAL_STREAM = "8:123"
  end,

  -- With sockets of another's, which block as those of systemd do.
  passed = function(o)
    local socket = uv.new_tcp()
    assert(socket:bind("127.0.0.1", 0))
    assert(socket:listen(16, function() end))
    assert(socket:set_blocking(true))
    o.passed = { socket }
    o.shell = "export LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=http"
    o.cleanup = function() socket:close() end
  end,
}

local function log_of(h)
  local f = h.log_file and io.open(h.log_file)
  if not f then return h.log end
  local text = h.log .. f:read "a"
  f:close()
  return text
end

-- Of what it had nothing is there any more.
local function nothing_left(r, o, pids)
  local function is_there(path)
    return path and uv.fs_lstat(path)
  end
  local last = r.fault and r.fault[#r.fault].site.call or ""
  local may_stay = last:find "unlink" or last:find "stat" or last == "flock"
    or last == "pread"
  if not may_stay then
    if is_there(o.pid_file) then r:note "its pid file is left" end
  end
  for _, pid in ipairs(pids) do
    local ok = pcall(events.poll, "the end of a process", function()
      return uv.kill(pid, 0) == nil
    end, PATIENCE)
    if not ok then
      r:note("process %d is left", pid)
      uv.kill(pid, "sigkill")
    end
  end
end

local function stop(r, h)
  if r.fault == nil or #r.problems == 0 then
    h:term()
    local ok = pcall(h.ended, h, PATIENCE)
    if not ok then
      r:note "does not end"
      serving.give_up(h)
    elseif h.code ~= 0 or h.signal ~= 0 then
      r.outcome, r.why = "ends", ("exit code %d at the end"):format(h.code)
      if h.code > 100 or h.signal ~= 0 then
        r:note("ends with code %d, signal %d", h.code, h.signal)
      end
    end
  else
    serving.give_up(h)
  end
end

local CRASHES = { "crash", "aborting", "broken invariant", "Sanitizer",
  "runtime error:", "was killed by", "does not end" }

local function note_crashes(r, scenario, where)
  for _, pattern in ipairs(CRASHES) do
    local meant = scenario.crashes and pattern == "was killed by"
    if not meant and r.log:find(pattern) then r:note("%s has: %s", where, pattern) end
  end
end

-- A host that starts while a call fails either serves or says why not, and ends.
local function live(scenario, fault)
  local o = serving.options "plain"
  houses[scenario.house](o, o.dir)
  local r = run.new { fault = fault, began = events.now() }
  if not scenario.later then r:begin(world.board) end
  local h = host.spawn(o)
  if o.cleanup then o.cleanup() end
  r.h, h.log_file = h, o.log_file
  local ok = pcall(events.wait, "a start", function()
    return h.code and h.open == 0 or log_of(h):find "atoll: serving [^\n]*\n"
  end, PATIENCE)
  local pids = {}
  if not ok then
    r:note "neither starts nor ends"
    serving.give_up(h)
  elseif h.code then
    r.outcome = "ends"
    r.why = ("exit code %d"):format(h.code)
    if h.code == 0 or h.code > 100 or h.signal ~= 0 then
      r:note("ends with code %d, signal %d", h.code, h.signal)
    end
    pcall(h.ended, h, 1)
  else
    h.port = tonumber(log_of(h):match "on http://[^ ,]*:(%d+)")
    pids = h:serving_pids()
    if scenario.later then
      if not fault then world.board:reset() end
      r:begin(world.board)
    end
    local fine, why = pcall(scenario.run, r)
    if not fine then r:note("%s", why) end
    if h.code then
      r:note("ends with exit code %d, signal %d", h.code, h.signal)
    else
      stop(r, h)
    end
  end
  nothing_left(r, o, pids)
  r:enough()
  r.log = log_of(h)
  note_crashes(r, scenario, "the log")
  os.execute("rm -rf " .. o.dir)
  if o.finish then o.finish() end
  return r
end

-- The program file is replaced by itself: either the new one serves, or the old one.
local function upgrade(r)
  local h = r.h
  local old = h:serving_pids()
  h:signal "sigusr2"
  events.wait(function() return "word of an upgrade:\n" .. log_of(h) end, function()
    local log = log_of(h)
    return log:find "upgraded from [^\n]*\n" or log:find "[^\n]*upgrade failed[^\n]*\n"
      or h.code
      or uv.kill(old[1], 0) == nil -- and it is the word that is lost
  end, PATIENCE)
  if not h.code then r:ask("GET", "/") end
end

-- A host that crashes tells of it, and another one serves.
local function crash(r)
  local last = r.fault and r.fault[#r.fault]
  local old = r.h:serving_pid()
  uv.kill(old, "sigsegv")
  events.wait(function() return "another host:\n" .. log_of(r.h) end, function()
    return r.h.code or log_of(r.h):find "host restarted"
  end, PATIENCE)
  local told = r.h.log:find "SIGSEGV by process %d+ in the main thread; build %x+\n"
  if not told and (not last or sites.harmless[last.code]) then
    r:note("does not tell of the crash: %s", r.h.log)
  end
  if not r.h.code then r:ask("GET", "/") end
end

-- ---- the other verbs ----

local function quoted(text) return "'" .. text:gsub("'", "'\\''") .. "'" end

-- Runs a line in the shell to its end, with files for what it says; its code. When it
-- has sockets, it reads and writes one as its standard files, and is sent a line.
local function through_shell(dir, line, sockets)
  local text = ("cd %s; export LC_ALL=C; exec 2>%s/stderr; %s"):format(dir, dir, line)
  if not sockets then
    local pipe = assert(io.popen(("%s >%s/stdout; echo $?"):format(text, dir)))
    local code = tonumber(pipe:read "l")
    pipe:close()
    return code
  end
  local near, out = uv.new_pipe(false), uv.new_pipe(false)
  local said, code, ended = {}, nil, nil
  local process <const> = assert(uv.spawn("/bin/sh", {
    args = { "-c", text }, stdio = { near, out },
  }, events.guard(function(status) code = status end)))
  near:write "hello\n"
  out:read_start(events.guard(function(_, data)
    said[#said + 1] = data
    ended = not data
  end))
  events.wait("the end of a script", function() return code and ended end, 25)
  process:close()
  near:close()
  out:close()
  file.write(dir .. "/stdout", table.concat(said))
  return code
end

-- Runs the program to its end. The line is for the shell, in which $ATOLL is it.
local function command(scenario, fault)
  local dir = serving.directory()
  local words = {}
  for name, value in pairs(serving.environment()) do
    words[#words + 1] = ("%s=%s"):format(name, quoted(value))
  end
  local line = scenario.line:gsub("ATOLL", function()
    return ("timeout 20 env CARES_HOSTS=hosts %s %s"):format(table.concat(words, " "),
      quoted(PROGRAM))
  end)
  local r = run.new { fault = fault, began = events.now() }
  r:begin(world.board)
  local code = through_shell(dir, ("(%s)"):format(line), scenario.sockets)
  r:enough()
  local out = file.read(dir .. "/stdout")
  r.log = file.read(dir .. "/stderr")
  if code ~= 0 then
    r.outcome, r.why = "ends", ("exit code %d"):format(code)
    if code > 100 then r:note("ends with code %d: %s", code, out) end
  elseif not out:find(scenario.says) then
    r:note("says: %s", out)
  end
  note_crashes(r, scenario, "stderr")
  os.execute("rm -rf " .. dir)
  return r
end

-- ---- the scenarios ----

local function ask(r) r:ask("GET", "/") end

-- Each once: what is made when it is first needed is made then.
local function all(r)
  for _, scenario in ipairs(clients.scenarios) do
    if not scenario.house and not scenario.alone then scenario[2](r) end
  end
end

local list = {
  { "start", live, "plain", ask },
  { "start with everything", live, "official", ask, words = 1 },
  { "start with sockets", live, "passed", ask },
  { "start by numbers", live, "numbers", ask, rest = true },
  { "upgrade", live, "plain", upgrade, words = 1, later = true },
  { "upgrade with everything", live, "official", upgrade, words = 1, later = true,
    rest = true },
  { "first requests", live, "plain", all, rest = true, words = 8 },
  { "crash", live, "plain", crash, rest = true, words = 2, later = true, noisy = true,
    crashes = true },
  { "check", command, line = "ATOLL check .", says = "no problem found" },
  { "check of several", command, says = "no problem found",
    line = [[echo 'return { apps = { { dir = "." } } }' >atoll.lua; ATOLL check]] },
  { "check without input", command, line = "ATOLL check . <&-",
    says = "no problem found" },
  { "check of one that talks", command, line = "ATOLL check early",
    says = "no problem found", words = 1, noisy = true },
  { "routes", command, line = "ATOLL routes .", says = "GET" },
  { "a word that is no verb", command, line = "! ATOLL .", says = "", words = 1,
    noisy = true },
  { "run", command, words = 1, says = "hello\n.*done",
    line = "(echo hello | ATOLL run script.lua; echo $? >code) | cat; exit $(cat code)",
  },
  { "run with files", command, words = 1, says = "hello\n.*done",
    line = "echo hello >in; ATOLL run script.lua <in" },
  { "run with sockets", command, words = 1, says = "hello\n.*done", sockets = true,
    line = "ATOLL run script.lua" },
  { "test", command, line = "ATOLL run tests.lua", says = "done", words = 1 },
}

local methods = {}
function methods.begin() end
function methods.after() end

for _, scenario in ipairs(list) do
  scenario.name, scenario.once, scenario.house = scenario[1], scenario[2], scenario[3]
  scenario.run, scenario.whole, scenario.tells = scenario[4], true, true
  local sanitizers = scenario.crashes and host.SLOW -- it is for them to tell
  if not sanitizers then
    M.scenarios[#M.scenarios + 1] = setmetatable(scenario, { __index = methods })
  end
end

return M
