-- Hosts that serve while calls of theirs fail: what clients do (clients.lua) ends with
-- a clear outcome, the host goes on, the next request is answered, and no descriptor,
-- thread or fiber is left.
local certs = require "support.certs"
local clients = require "support.sweep.clients"
local events = require "support.events"
local host = require "support.host"
local run = require "support.sweep.run"
local sites = require "support.sites"
local uv = require "luv"

local M = { scenarios = {} }

local PROGRAM = assert(os.getenv "ATOLL", "ATOLL must name the program")
local PATIENCE = clients.PATIENCE

local world

-- ---- hosts, each in a house of its own ----

-- A directory with the app of the sweep.
function M.directory()
  local long = {}
  for i = 1, 1500 do long[i] = ("line %d of a page that is long enough"):format(i) end
  local dir = host.directory {
    ["public/long.txt"] = table.concat(long, "\n"), ["public/short.txt"] = "short\n",
    hosts = "127.0.0.1 here.test\n127.0.0.2 there.test\n",
  }
  assert(os.execute(("cp -r spec/apps/sites/. %s && mkdir -p %s/lib && "
    .. "cp spec/apps/faults/deeds.lua %s/lib"):format(dir, dir, dir)))
  return dir
end

function M.environment()
  local env = sites.environment(PROGRAM, world.board.path)
  env.CERTS = certs.make().dir
  return env
end

-- What a host in that house is started with.
function M.options(house)
  local dir = M.directory()
  local options = { dir = dir, isolates = 1, env = M.environment(),
    program = os.getenv "SWEPT",
    set = { compression = true, access_log = dir .. "/access.log",
      resolver = world.resolver, resolver_timeout = 0.2, drain_timeout = 0.5,
      form_directory = dir, slice_warn = 0 } }
  local change = clients.houses[house]
  if change then change(options, dir) end
  return options
end

local current -- the host, in a house; or nil
local base -- what it has when nobody asks it for anything

local function start(house)
  current = host.start(M.options(house))
  current.house = house
  current.serving = current:serving_pid()
  base = nil
end

-- Ends one with which something is wrong.
function M.give_up(h)
  h = h or current
  if h == current then current = nil end
  if not h or h.code then return end
  for _, pid in ipairs(h:serving_pids()) do uv.kill(pid, "sigkill") end
  uv.kill(h.pid, "sigkill")
  pcall(h.ended, h, 5)
end

function M.enter(given) world = given end

function M.leave()
  if current then current:stop() end
  current = nil
end

-- ---- what it has ----

-- Threads of pools, of which there are as many as there was work at once, and one that
-- ends by itself.
local passing = { files = true, blocking = true, trim = true }

-- How many of them it has, and a list of what they are.
local function count(h, what)
  local dir = ("/proc/%d/%s/"):format(h:serving_pid() or 0, what)
  local entries, n, list = uv.fs_scandir(dir), 0, {}
  while entries do
    local name = uv.fs_scandir_next(entries)
    if not name then break end
    local f = what == "task" and io.open(dir .. name .. "/comm")
    local is = f and f:read "l" or uv.fs_readlink(dir .. name) or "gone"
    if f then f:close() end
    if not passing[is] then
      n = n + 1
      list[n] = is
    end
  end
  return n, table.concat(list, " ")
end

-- Descriptors, threads and fibers, once its garbage is collected; or nil and why.
local function inventory(h)
  local ok, answer = pcall(clients.ask, h, "/gc")
  if not ok then return nil, answer end
  local fds, files = count(h, "fd")
  local threads, names = count(h, "task")
  return { fds = fds, threads = threads, fibers = tonumber(answer),
    list = files .. "; " .. names }
end

-- Whether all is as it was.
local function settled(h)
  local now, why = inventory(h)
  if not now then return false, why end
  if now.fds <= base.fds and now.threads <= base.threads and now.fibers <= base.fibers
  then
    return true
  end
  local text = "%d descriptors, %d threads and %d fibers instead of %d, %d and %d: %s"
  return false, text:format(now.fds, now.threads, now.fibers, base.fds, base.threads,
    base.fibers, now.list)
end

local marks = 0

-- All that the log says until now is there then.
local function mark(h, patience)
  marks = marks + 1
  local text = ("mark %d\n"):format(marks)
  -- Who comes while there are no descriptors is turned away.
  for tries = 3, 1, -1 do
    local ok, why = pcall(clients.ask, h, "/mark?n=" .. marks)
    if ok then break end
    if tries == 1 or not tostring(why):find "^told 503" then error(why, 0) end
  end
  events.wait(function() return "the word of a mark in:\n" .. h.log end, function()
    return h.log:find(text, 1, true)
  end, patience)
end

local function settle(r)
  local h = r.h
  local ok, why = pcall(mark, h, PATIENCE / 4)
  -- The log may have failed only when it had something to say.
  if not ok and tostring(why):find "word of a mark" then
    ok, why = pcall(mark, h, PATIENCE)
  end
  if not ok then r:note("the next request: %s", tostring(why):sub(1, 300)) end
  if h:serving_pid() ~= h.serving then
    r:note "the process that serves has gone"
    return
  end
  local deadline = events.now() + PATIENCE
  local same, different = settled(h)
  while not same and events.now() < deadline do same, different = settled(h) end
  if not same then r:note("left over: %s", different) end
end

-- ---- scenarios ----

local methods = {}

-- One run, in which what the fault says fails if there is one.
local function once(scenario, h, fault)
  h.log, h.told = "", 1
  local r = run.new { h = h, fault = fault, began = events.now() }
  r:begin(world.board)
  local ok, why = pcall(scenario.run, r)
  r:enough()
  if not ok then r:note("%s", why) end
  return r
end

local function warm(scenario, h)
  for _ = 1, scenario.anew and 0 or 3 do
    local r = once(scenario, h)
    local problem = r.problems[1] or r.outcome ~= "well" and r.why
    if problem then
      pcall(events.wait, "the log", function() return false end, 0.2)
      error(("%s does not work: %s\n%s"):format(scenario.name, problem, h.log), 0)
    end
  end
  -- Until what ends by itself has ended.
  for _ = 1, 20 do
    local now = inventory(h)
    for what, n in pairs(base and now or {}) do
      if what ~= "list" and n < base[what] then base[what] = n end
    end
    base = base or now
  end
  base.fds = base.fds + (scenario.slack or 0)
end

function methods:begin()
  if current and current.house ~= self.house then M.leave() end
  if not current then start(self.house) end
  base = nil
  warm(self, current)
end

function methods:once(fault)
  if not current then start(self.house) end
  if not base then warm(self, current) end
  local h = current
  local r = once(self, h, fault)
  if fault then settle(r) end
  r.log = h.log
  if self.anew then M.leave() end
  return r
end

function methods.after(_, r)
  if #r.problems > 0 then M.give_up() end
end

for _, scenario in ipairs(clients.scenarios) do
  scenario.name, scenario.run = scenario[1], scenario[2]
  M.scenarios[#M.scenarios + 1] = setmetatable(scenario, { __index = methods })
end

return M
