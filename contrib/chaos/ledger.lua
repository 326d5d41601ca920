-- The books of a chaos run: what was done to the host, what was asked of it and
-- answered, and what may fail when.
--
-- A connection belongs to the host that accepted it, which each answer names. It may
-- end without an answer only
--   crash     when that host was killed; while nobody knows which host has it (before
--             the first answer), when any host was killed since it was made;
--   leaving   when it is idle for more than 0.4 s, or seemed so as we have stood still,
--             and its host is to end: after USR2, and after TTOU, as which isolate
--             leaves cannot be known;
--   starved   when it is new, and a host has no descriptors left, or had none a second
--             ago; then 503 is an answer, too, as it is for what needs a descriptor.
-- Whatever else happens, reloads, endless loops, memory hogs, floods and pauses,
-- nothing fails, only time passes. Bytes that come are right, always.
local atoll = require "atoll"

local M = {}

local methods = {}
local metatable = { __index = methods }

local HISTORY, SHOWN_MAX = 14, 20

function M.new(seed, slow)
  return setmetatable({ seed = seed, slow = slow, began = atoll.now(), events = {},
    history = {}, answers = 0, by_kind = {}, failures = {}, failed = 0, excused = {},
    deaths = {}, dying = {}, leaving = {}, starving = {}, slowest = 0, version = 1,
    stood = -math.huge, last_death = -1, last_shrink = -1 }, metatable)
end

function methods:time() return atoll.now() - self.began end

-- Notes when this process has stood still.
local function look(ledger)
  local now = atoll.now()
  if ledger.looked and now - ledger.looked > 0.3 then ledger.stood = now end
  ledger.looked = now
end

-- For a fiber of its own.
function methods:watch()
  while true do
    look(self)
    atoll.sleep(0.05)
  end
end

-- ---- what is done ----

function methods:event(kind, form, ...)
  self.events[kind] = (self.events[kind] or 0) + 1
  local text = ("%7.2f s  %s%s"):format(self:time(), kind,
    form and " " .. form:format(...) or "")
  table.insert(self.history, text)
  if #self.history > 400 then table.remove(self.history, 1) end
  if self.verbose then print("  " .. text) end
end

-- From now on, until the log says so, it may be dead at any time.
function methods:dies(pid)
  self.last_death = atoll.now()
  self.deaths[pid] = self.last_death
  self.dying[pid] = self.last_death + 5 * self.slow
end

function methods:dead(pid)
  self.last_death = atoll.now()
  self.dying[pid] = nil
end

local function anyone_dies(ledger)
  for _, till in pairs(ledger.dying) do
    if till > atoll.now() then return true end
  end
end

-- It, or an isolate of it, is to end in peace.
function methods:leaves(pid) self.leaving[pid] = atoll.now() end

function methods:shrinks() self.last_shrink = atoll.now() end

function methods:starves(pid, yes)
  self.starving[pid] = yes and math.huge or atoll.now() + 1
end

function methods:anyone_starves(since)
  for _, till in pairs(self.starving) do
    if till > since then return true end
  end
end

-- ---- what is answered ----

function methods:answered(kind, began)
  self.answers = self.answers + 1
  local k = self.by_kind[kind] or { answers = 0, slowest = 0 }
  self.by_kind[kind] = k
  local took = atoll.now() - began
  k.answers = k.answers + 1
  k.slowest = math.max(k.slowest, took)
  self.slowest = math.max(self.slowest, took)
end

function methods:excuse(why)
  self.excused[why] = (self.excused[why] or 0) + 1
  return why
end

-- Why a connection may have ended without an answer; nil if it may not. It was idle for
-- so many seconds before.
function methods:may_end(c, idle)
  local now = atoll.now()
  if c.host and self.deaths[c.host] then return self:excuse "crash" end
  if not c.host then
    if self.last_death >= c.born or anyone_dies(self) then
      return self:excuse "crash"
    end
    if self:anyone_starves(c.born) then return self:excuse "starved" end
  end
  if self.looked then look(self) end
  if idle and (idle > 0.4 or now - self.stood < 5) and
    (c.host and self.leaving[c.host] or self.last_shrink > now - 60) then
    return self:excuse "leaving"
  end
end

-- ---- what is wrong ----

function methods:fail(kind, who, form, ...)
  self.failed = self.failed + 1
  self.failures[kind] = (self.failures[kind] or 0) + 1
  if self.failed > SHOWN_MAX then return end
  print(("chaos: FAILURE %s at %.2f s, seed %d: %s: %s"):format(kind, self:time(),
    self.seed, who, form:format(...)))
  for i = math.max(1, #self.history - HISTORY + 1), #self.history do
    print("    " .. self.history[i])
  end
  if self.victim then print(self.victim:tail(14)) end
end

return M
