-- The chaos run: a real host under load, to which for some minutes everything is done
-- that a bad week has in store, in an order that one number decides. Clients check
-- every answer meanwhile (clients.lua, talkers.lua); what may fail when is in
-- ledger.lua, what is done in deeds.lua. At the end nothing must be left.
--
--   atoll run contrib/chaos/run.lua [SECONDS=180] [SEED=n] [APPS=2] [ONLY=deed,deed]
--     [VERBOSE=1]
--
-- APPS=2 has the host serve the app twice, as two apps behind ushers. ATOLL names the
-- program that suffers, CHAOS_CRASH and CHAOS_ROUGH the modules built of
-- spec/shim/crash.c and of rough.c. Exits with 1 when anything was not as it must be;
-- the same seed does the same again, as far as time can be repeated.
local atoll = require "atoll"
local clients = require "clients"
local deeds = require "deeds"
local ledger_of = require "ledger"
local proc = require "proc"
local random = require "random"
local talkers = require "talkers"
local victim_of = require "victim"

local here = arg[0]:match "^(.*)/" or "."
local given = {}
for _, word in ipairs(arg) do
  local name, value = word:match "^(%u+)=(.*)$"
  if not name then
    io.stderr:write("chaos: ", word,
      " is not SECONDS=, SEED=, APPS=, ONLY= or VERBOSE=\n")
    os.exit(64)
  end
  if value ~= "" then given[name] = value end
end

local program = assert(os.getenv "ATOLL", "ATOLL must name the program")
local crash = assert(os.getenv "CHAOS_CRASH", "CHAOS_CRASH must name crash.so")
local rough = assert(package.loadlib(assert(os.getenv "CHAOS_ROUGH",
  "CHAOS_ROUGH must name rough.so"), "luaopen_rough"))()
assert(crash:sub(1, 1) == "/" and program:sub(1, 1) == "/", "paths must be absolute")

local seconds = tonumber(given.SECONDS or 180)
local seed = math.tointeger(tonumber(given.SEED))
  or math.tointeger(atoll.random(3):byte(1)) * 65536 + os.time() % 65536
local sanitized = program:find "address" or program:find "thread"
local slow = sanitized and 5 or 1

local ledger = ledger_of.new(seed, slow)
ledger.last_upgrade, ledger.verbose = -1, given.VERBOSE
local noise = random.new(seed, "noise"):bytes(300000)
local ctx = { seed = seed, slow = slow, ledger = ledger, noise = noise, code = 1,
  patience = 20 * slow, prefixes = { "", given.APPS == "2" and "/second" or nil } }

-- ---- what the log may not say ----

local alarming = { "Sanitizer", "runtime error:", "Lua error outside", "does not end",
  "did not stop in time", "were left when drain_timeout", "fibers left after",
  "dropped unanswered", "who it was transferred to has gone", "stands still",
  "not taken over in time", "invariant" }

local function on_line(line)
  for _, words in ipairs(alarming) do
    if line:find(words, 1, true) then ledger:fail("alarm", "the log", "%s", line) end
  end
  local pid = math.tointeger(line:match "host (%d+)[,%l ]* was killed by")
  if pid and not ledger.deaths[pid] then
    ledger:dies(pid)
    ledger:fail("killed", "the log", "%s", line)
  end
  if pid then ledger:dead(pid) end
  local left = line:match "stopped: %d+ requests served, (.*)$"
  if left and left:find "[1-9]" then
    ledger:fail("left over", "the log", "%s", left)
  end
end

-- ---- what a host holds ----

local function figures(pid)
  local status = proc.status(pid)
  return status and { files = proc.files(pid), rss = status.rss,
    threads = status.threads }
end

-- Once all is quiet there are two hosts that hold what new ones hold, and the isolates
-- of pools and threads for what blocks, which need not have been there at first.
local function audit(v, first, supervisor)
  local deadline = atoll.now() + 30 * slow
  local wrong
  repeat
    atoll.sleep(0.5)
    wrong = nil
    local hosts = v:hosts()
    if #hosts ~= 2 then wrong = #hosts .. " hosts" end
    for _, pid in ipairs(hosts) do
      local f = figures(pid)
      if proc.state(pid) == "Z" then
        wrong = ("host %d is a zombie"):format(pid)
      elseif f and f.files > first.files + 24 then
        wrong = ("host %d has %d descriptors, %d at first"):format(pid, f.files,
          first.files)
      elseif f and f.threads > first.threads + 16 then
        wrong = ("host %d has %d threads, %d at first"):format(pid, f.threads,
          first.threads)
      elseif f and not sanitized and f.rss > 2 * first.rss + (64 << 20) then
        wrong = ("host %d has %d MB, %d at first"):format(pid, f.rss >> 20,
          first.rss >> 20)
      end
    end
    local s = figures(v.pid)
    if not s then
      wrong = "no supervisor"
    elseif s.files > supervisor.files then
      wrong = ("the supervisor has %d descriptors, %d at first"):format(s.files,
        supervisor.files)
    elseif not sanitized and s.rss > supervisor.rss + (4 << 20) then
      wrong = ("the supervisor has %d KB, %d at first"):format(s.rss >> 10,
        supervisor.rss >> 10)
    end
  until not wrong or atoll.now() > deadline
  if wrong then ledger:fail("left over", "the audit", "%s", wrong) end
end

-- ---- the run ----

local function load(v)
  local tasks = {}
  local function add(task) tasks[#tasks + 1] = task end
  for i = 1, 8 do add(clients.start(ctx, "steady" .. i, { think = 0.02 })) end
  for i = 1, 4 do add(clients.start(ctx, "deep" .. i, { deep = 8, think = 0.05 })) end
  for i = 1, 3 do
    add(clients.start(ctx, "once" .. i, { once = true, think = 0.05 }))
  end
  for i = 1, 2 do add(clients.start(ctx, "slow" .. i, { slow = true, think = 0.1 })) end
  for i = 1, 2 do
    add(clients.start(ctx, "half" .. i, { halves = true, think = 0.1 }))
  end
  for i = 1, 2 do add(clients.start(ctx, "rare" .. i, { think = 1.5 })) end
  for i = 1, 4 do add(talkers.page(ctx, "page" .. i)) end
  for i = 1, 8 do add(talkers.talker(ctx, "talker" .. i)) end
  v.on_line = on_line
  return tasks
end

-- Each deed once, in any order, and then whichever comes.
local function plan()
  local only = given.ONLY and "," .. given.ONLY .. ","
  local list, rng, busy, tasks, n = {}, random.new(seed, "plan"), {}, {}, 0
  for _, deed in ipairs(deeds.list) do
    if not only or only:find("," .. deed.name .. ",", 1, true) then
      list[#list + 1] = deed
    end
  end
  if #list == 0 then return tasks end
  local first = table.move(list, 1, #list, 1, {})
  local over = atoll.now() + seconds
  while atoll.now() < over and ledger.failed < 50 do
    local deed = #first > 0 and table.remove(first, rng:int(1, #first))
      or rng:weighed(list)
    n = n + 1
    local own = random.new(seed, "deed " .. n)
    if not busy[deed.group or 0] then
      if deed.group then busy[deed.group] = true end
      tasks[#tasks + 1] = { name = deed.name, task = atoll.spawn(function()
        deed.run(ctx, own)
        if deed.group then busy[deed.group] = nil end
      end) }
    end
    atoll.sleep(rng:real(0.05, 1.2) * math.min(slow, 3))
  end
  return tasks
end

local function say(form, ...)
  io.stdout:write("chaos: ", form:format(...), "\n")
  io.stdout:flush()
end

local function progress(v)
  while not ctx.stopping do
    atoll.sleep(5)
    local n, parts = 0, {}
    for _, count in pairs(ledger.events) do n = n + count end
    for _, pid in ipairs(v:hosts()) do
      local f = figures(pid)
      if f then parts[#parts + 1] = ("%d MB"):format(f.rss >> 20) end
    end
    say("%4.0f s  %d deeds, %d answers, slowest %.2f s, %d failures; hosts %s",
      ledger:time(), n, ledger.answers, ledger.slowest, ledger.failed,
      table.concat(parts, " "))
    ledger.slowest = 0
  end
end

local function each(counts)
  local names, parts = {}, {}
  for name in pairs(counts) do names[#names + 1] = name end
  table.sort(names)
  for i, name in ipairs(names) do
    local count = counts[name]
    parts[i] = ("  %-22s %8d%s"):format(name, type(count) == "table" and count.answers
      or count, type(count) == "table" and ("   slowest %.2f s"):format(count.slowest)
      or "")
  end
  return #parts > 0 and table.concat(parts, "\n") or "  none"
end

local function summary()
  print("\ndone to it\n" .. each(ledger.events))
  print("\nanswers that were checked\n" .. each(ledger.by_kind))
  print("\nfailures that had a reason\n" .. each(ledger.excused))
  print("\nfailures\n" .. each(ledger.failures))
end

local function done(task, what, patience)
  local _, message, code, traceback = task:join(patience)
  if code then
    ledger:fail(what, "the run", "%s: %s\n%s", code, message, traceback or "")
  end
end

local function main()
  say("seed %d, %g s, %s", seed, seconds, program)
  local v <close>, why = victim_of.start { rough = rough, program = program,
    app = here .. "/app", two = given.APPS == "2",
    files = { ["public/noise.bin"] = noise }, settings = {
      processes = 2, isolates = 2, access_log = "off", memory = "48M",
      handler_timeout = 4 * slow, load_timeout = 4 * slow, drain_timeout = 30 * slow,
      upgrade_timeout = 8 * slow, websocket_timeout = 5 * slow } }
  if not v then
    say("%s", why)
    return 1
  end
  ctx.victim, ledger.victim = v, v
  local supervisor = figures(v.pid)
  local tasks = load(v)
  local talking = atoll.spawn(progress, v)
  local watching = atoll.spawn(ledger.watch, ledger)
  atoll.sleep(2 * slow) -- caches fill, pools begin
  local first = figures(v:hosts()[1])
  for _, deed in ipairs(plan()) do done(deed.task, deed.name, 60 * slow) end
  deeds.good_code(ctx, random.new(seed, "last"))
  atoll.sleep(1)
  ctx.stopping = true
  for _, task in ipairs(tasks) do
    done(task, "a client", 60 * slow)
  end
  talking:cancel()
  watching:cancel()
  audit(v, first, supervisor)
  local from = #v.lines
  v:signal "TERM"
  local code, signal = v:ended(60 * slow)
  if code ~= 0 or signal ~= 0 then
    ledger:fail("the end", "the run", "exit code %s, signal %s", code, signal)
  end
  local at = v:wait("stopped: %d+ requests", from, 0)
  if not at or not v:wait("stopped: %d+ requests", at, 0) then
    ledger:fail("the end", "the run", "no word from both hosts of what is left")
  end
  local kept = ledger.failed > 0
  v:finish(kept)
  summary()
  local deeds_done = 0
  for _, count in pairs(ledger.events) do deeds_done = deeds_done + count end
  say("%d answers checked during %d deeds, %d failures; seed %d", ledger.answers,
    deeds_done, ledger.failed, seed)
  if kept then say("the log is in %s", v.log) end
  return ledger.failed == 0 and 0 or 1
end

return main()
