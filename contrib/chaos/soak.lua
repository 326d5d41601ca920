-- A soak: a host under a steady mixed load for a long time, with a reload every so
-- often, looked at each second. Requests are sent at fixed times whether or not earlier
-- ones have been answered, and their latency counts from the time at which they were
-- due, so that a host which stands still cannot hide it.
--
--   atoll run contrib/chaos/soak.lua [SECONDS=600] [RATE=300] [RELOADS=30] DIRECTORY
--
-- Writes index.html, soak.svg and soak.json into the directory and says whether memory
-- grows and latency drifts. ATOLL names the program that is looked at, CHAOS_ROUGH the
-- module built of rough.c. Exits with 1 when a request failed or memory grows.
local atoll = require "atoll"
local plot = require "plot"
local proc = require "proc"
local random = require "random"
local trend = require "trend"
local victim_of = require "victim"
local wire = require "wire"

local here = arg[0]:match "^(.*)/" or "."
local given, directory = {}, nil
for _, word in ipairs(arg) do
  local name, value = word:match "^(%u+)=(.*)$"
  if not name then directory = word elseif value ~= "" then given[name] = value end
end
if not directory then
  io.stderr:write("usage: soak.lua [SECONDS=600] [RATE=300] [RELOADS=30] DIRECTORY\n")
  os.exit(64)
end
local seconds = tonumber(given.SECONDS or 600)
local rate = tonumber(given.RATE or 300)
local reloads = tonumber(given.RELOADS or 30)
local program = assert(os.getenv "ATOLL", "ATOLL must name the program")
local rough = assert(package.loadlib(assert(os.getenv "CHAOS_ROUGH",
  "CHAOS_ROUGH must name rough.so"), "luaopen_rough"))()

local rng = random.new(1, "soak")
local noise = rng:bytes(100000)
local WARM = seconds / 2 -- until all is as large as it gets

-- ---- the load ----

local kinds = {
  { weight = 60, make = function()
    local n = rng:int(1, 1000)
    return wire.request("GET", "/hello/" .. n), "hello " .. n .. "\n"
  end },
  { weight = 15, make = function()
    local at, size = rng:int(1, 50000), rng:int(1, 5000)
    local body = noise:sub(at, at + size)
    return wire.request("POST", "/echo", { body = body }), body
  end },
  { weight = 10, make = function()
    return wire.request("GET", "/noise.bin"), noise
  end },
  { weight = 8, make = function()
    local n = rng:int(1, 1000)
    return wire.request("GET", "/moved/" .. n), "moved " .. n .. "\n"
  end },
  { weight = 4, make = function()
    local n = rng:int(1, 1000)
    return wire.request("GET", "/pooled/" .. n), n * 2 .. "\n"
  end },
  { weight = 0.5, make = function()
    return wire.request("GET", "/sleep/5"), "slept 5\n"
  end },
  { weight = 0.5, make = function()
    return wire.request("GET", "/error"), "500 Internal Server Error\n"
  end },
}

local load = { free = {}, latencies = {}, answers = 0, failed = 0 }

local function say(form, ...)
  io.stdout:write("soak: ", form:format(...), "\n")
  io.stdout:flush()
end

local function failed(form, ...)
  load.failed = load.failed + 1
  if load.failed <= 20 then say("FAILED " .. form, ...) end
end

-- A connection; those that were idle for a minute the host may have closed.
local function take(v)
  while true do
    local c = table.remove(load.free)
    if not c then return wire.connect(v.address, 30) end
    if not c:news() then return c end
    c:close()
  end
end

-- One request that was due then.
local function ask(v, due, kind)
  local request, body = (kind or rng:weighed(kinds)).make()
  local c, why, detail = take(v)
  if c then c:send(request) end
  local a
  if c then a, why, detail = c:answer "GET" end
  if not a or a.body ~= body then
    failed("%s: %s %s", request:match "^[^\r]*", a and a.status or why, detail or "")
    if c then c:close() end
    return
  end
  load.answers = load.answers + 1
  load.latencies[#load.latencies + 1] = atoll.now() - due
  if c.told then c:close() else load.free[#load.free + 1] = c end
end

-- Flat out and of each kind as many for a while, until pools and caches are as large as
-- they get. None of it is counted.
local function warm(v, duration)
  local over = atoll.now() + duration
  local list = {}
  for i = 1, 16 do
    list[i] = function()
      while atoll.now() < over do ask(v, atoll.now(), rng:pick(kinds)) end
      return true
    end
  end
  atoll.all(list)
  load.answers, load.latencies = 0, {}
end

local function drive(v, over)
  local due = atoll.now()
  while due < over do
    local now = atoll.now()
    if due > now then atoll.sleep(due - now) end
    atoll.spawn(ask, v, due)
    due = due + rng:real(0.5, 1.5) / rate
  end
end

-- ---- WebSockets that talk, and are not counted but in memory ----

local function talk(v, over)
  local ws = assert(atoll.websocket.connect("ws://" .. v.address .. "/talk"))
  while atoll.now() < over do
    ws:send "still here"
    for message in ws:messages() do
      if message:find "still here" then break end
    end
    if ws.code then
      failed("a WebSocket was closed with %d", ws.code)
      return
    end
    atoll.sleep(1)
  end
  ws:close()
end

-- ---- what is looked at ----

-- Bytes of Lua in use, by isolate, as whoever answers tells.
local function inside(v, seen)
  for _ = 1, 4 do
    local c <const> = wire.connect(v.address, 30)
    if not c then return end
    c:send(wire.request("GET", "/inside"))
    local a = c:answer "GET"
    c:close()
    local told = a and a.status == 200 and atoll.json.decode(a.body)
    if told then seen[told.pid .. " " .. told.name] = told.used end
  end
end

local function sorted_at(list, share)
  return list[math.max(1, math.ceil(#list * share))] or 0
end

local function sample(v, memory)
  local s = { rss = 0, pss = 0, files = 0, switches = 0, threads = 0, lua = 0 }
  for _, pid in ipairs(v:hosts()) do
    local status = proc.status(pid)
    if status then
      s.rss, s.threads = s.rss + status.rss, s.threads + status.threads
      s.pss = s.pss + proc.pss(pid)
      s.files = s.files + proc.files(pid)
      s.switches = s.switches + proc.switches(pid)
    end
  end
  s.supervisor = (proc.status(v.pid) or { rss = 0 }).rss
  inside(v, memory)
  local n = 0
  for _, used in pairs(memory) do s.lua, n = s.lua + used, n + 1 end
  if n > 0 then s.lua = s.lua / n end
  local list = load.latencies
  load.latencies = {}
  table.sort(list)
  s.p50, s.p99, s.max = sorted_at(list, 0.5), sorted_at(list, 0.99), list[#list] or 0
  s.answers = #list
  return s
end

-- ---- the run ----

local function main()
  local v <close> = assert(victim_of.start { rough = rough, program = program,
    app = here .. "/app", files = { ["public/noise.bin"] = noise },
    settings = { processes = 2, isolates = 2, access_log = "off" } })
  say("%g s, %g requests/s, a reload each %g s, %s", seconds, rate, reloads, program)
  warm(v, math.min(30, seconds / 4))
  local began = atoll.now()
  local over = began + seconds
  local driver = atoll.spawn(drive, v, over)
  local talkers = {}
  for i = 1, 20 do talkers[i] = atoll.spawn(talk, v, over) end
  local samples, marks, memory, before = {}, {}, {}, nil
  local next_reload, number, answers = reloads, 1, 0
  for second = 1, math.floor(seconds) do
    atoll.sleep(math.max(0, began + second - atoll.now()))
    local s = sample(v, memory)
    s.at = atoll.now() - began
    local took = before and s.at - before.at or 1
    s.rate = s.answers / took
    s.switched = before and math.max(0, s.switches - before.switches) / took
    samples[second], before = s, s
    if second >= next_reload and second < seconds - 2 then
      number, next_reload = number + 1, next_reload + reloads
      marks[#marks + 1] = s.at
      v:write("version.lua", ("return { number = %d }\n"):format(number))
      v:signal "HUP"
    end
    if second % 30 == 0 then
      say("%4d s  %d answers, p99 %.1f ms, %.1f MB, %d failed", second,
        load.answers - answers, s.p99 * 1000, s.pss / 1e6, load.failed)
      answers = load.answers
    end
  end
  driver:join(30)
  for _, task in ipairs(talkers) do
    local _, message, code = task:join(30)
    if code then failed("a WebSocket: %s", message) end
  end
  atoll.sleep(0.5)
  v:signal "TERM"
  local code = v:ended(60)
  if code ~= 0 then failed("exit code %s", code) end
  v:finish()

  local words = trend.words(samples, WARM)
  local report = { seconds = seconds, rate = rate, answers = load.answers,
    failed = load.failed, reloads = #marks, words = words.text, samples = samples,
    marks = marks, when = os.date "!%Y-%m-%d %H:%M" }
  assert(atoll.fs.mkdir(directory, { parents = true }))
  assert(atoll.fs.write(directory .. "/soak.json", atoll.json.encode(report)))
  assert(atoll.fs.write(directory .. "/soak.svg", plot.svg(report)))
  assert(atoll.fs.write(directory .. "/index.html", plot.page(report)))
  say("%d answers, %d failed, %d reloads", load.answers, load.failed, #marks)
  say("%s", words.text)
  say("see %s/index.html", directory)
  return load.failed == 0 and not words.grows and 0 or 1
end

return main()
