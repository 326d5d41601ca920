-- atoll.pool: isolates that answer calls to the functions of a module, as many at once
-- as the pool has; further calls wait in line. They are spawned when they are needed.
local host = require "atoll.core.host"
local isolate = require "atoll.isolate"
local misuse = require "atoll.misuse"
local size_of = require "atoll.size"
local channel = require "atoll.core.channel"
local task = require "atoll.core.task"

local M = {}

local methods = {}
local metatable = { __index = methods, __name = "atoll.pool" }

local OPTIONS = {
  module = "string", size = "number", queue = "number", timeout = "number",
  name = "string", memory = true,
}

local function check(options)
  misuse.expect("table", options, "what is given to atoll.pool")
  for key, value in pairs(options) do
    if not OPTIONS[key] then
      misuse.raise("atoll.pool has no option '%s'; it has module, size, queue, "
        .. "timeout, name and memory", tostring(key))
    end
    if OPTIONS[key] ~= true then
      misuse.expect(OPTIONS[key], value, ("the option %s of atoll.pool"):format(key))
    end
  end
  misuse.expect("string", options.module, "the option module of atoll.pool")
  for name, least in pairs { size = 1, queue = 0 } do
    local n = options[name]
    if n and not (n >= least and math.tointeger(n)) then
      misuse.raise("the option %s of atoll.pool is a whole number from %d", name, least)
    end
  end
  if options.memory ~= nil then
    size_of(options.memory, "the option memory of atoll.pool", isolate.memory_least)
  end
  local timeout = options.timeout
  if timeout and (timeout <= 0 or timeout ~= timeout) then
    misuse.raise("the option timeout of atoll.pool is a number of seconds above 0")
  end
end

function M.new(options)
  check(options)
  local size = options.size or 2
  return setmetatable({
    module = options.module,
    name = options.name,
    memory = options.memory, -- of each worker
    size = size,
    queue = options.queue or 1000,
    timeout = options.timeout,
    count = 0,   -- workers, those that are busy included
    waiting = 0, -- calls without a worker
    idle = channel(size),
    busy = {},   -- worker -> true
    closed = false,
  }, metatable)
end

local function quiet() end

-- When none is left to wait for, who waits is told to look for himself.
local function tell(self)
  if self.count == 0 and self.waiting > 0 then
    pcall(self.idle.try_send, self.idle, false)
  end
end

local function lose(self)
  self.count = self.count - 1
  tell(self)
end

-- Who is not wanted after all. Whatever runs out of memory, no worker is to be lost: it
-- would run for ever.
local hiring = { __close = function(new)
  if not new.pool then return end
  if new.worker then new.worker:kill() end
  lose(new.pool)
end }

-- Counted first: the slice may be over when it is spawned, and others look then.
local function hire(self)
  local new <close> = setmetatable({ pool = self, worker = false }, hiring)
  self.count = self.count + 1
  local worker, message, code = isolate.spawn("atoll.pool_worker",
    self.module, { name = self.name, memory = self.memory })
  if not worker then return nil, message, code end
  new.worker = worker
  worker:on_exit(quiet) -- whose call it was is told
  new.pool = false
  return worker
end

-- For the next call.
local function give_back(self, worker)
  if pcall(self.idle.try_send, self.idle, worker) then return end
  worker:kill()
  lose(self)
end

-- In the place of one that has gone, if somebody waits for it.
local function replace(self)
  self.count = self.count - 1
  if self.closed or self.waiting == 0 then return end
  local ok, worker = pcall(hire, self)
  if ok and worker then give_back(self, worker) else tell(self) end
end

local leaving = {
  __close = function(line) line.pool.waiting = line.pool.waiting - 1 end,
}

-- The turn gets an idle worker, if there is one.
local function pick(self, turn)
  local worker = self.idle:try_receive()
  while worker ~= nil do
    turn.worker = worker
    local status = worker and worker:status()
    if status == "running" then return true end
    turn.worker = false
    if worker then self.count = self.count - 1 end
    if status == "failed" then
      host.log("error", ("an idle worker of the pool of %s failed: %s"):format(
        self.module, (select(2, worker:join()))))
    end
    worker = self.idle:try_receive()
  end
end

local function wait(self, turn, deadline)
  local _ <close> = setmetatable({ pool = self }, leaving)
  self.waiting = self.waiting + 1
  local given, why, kind = self.idle:receive(deadline
    and math.max(deadline - task.now(), 0))
  turn.worker = given or false
  return given, why, kind
end

-- Finds the turn a worker: true, or nil and why there is none.
local function find(self, turn, deadline)
  local found = pick(self, turn)
  while not found and self.count >= self.size do
    if self.waiting >= self.queue then
      return nil, "the pool's queue is full", "EAGAIN"
    end
    local given, why, kind = wait(self, turn, deadline)
    if given == nil then return nil, why, kind end
    found = given or pick(self, turn)
  end
  if found then return true end
  local worker, message, code = hire(self)
  turn.worker = worker or false
  return worker and true, message, code
end

-- A call that was given up leaves its worker in the middle of something.
local turn_over = { __close = function(turn)
  local self, worker = turn.pool, turn.worker
  if not worker then return end
  self.busy[worker] = nil
  if not turn.whole then
    worker:kill()
    replace(self)
  elseif self.closed then
    worker:kill()
  else
    give_back(self, worker)
  end
end }

local function ask(self, turn, job, deadline)
  local worker = turn.worker
  turn.whole = false
  self.busy[worker] = true
  local ok, answer, message, code = pcall(worker.call, worker, job,
    deadline and math.max(deadline - task.now(), 0))
  if not ok then
    task.check() -- raises if that is why: the worker is still at work
    if type(answer) ~= "string" or answer == "not enough memory" then
      error(answer, 0) -- then, too, it may be
    end
    turn.whole = true -- it was not even sent
    misuse.raise("%s", (answer:gsub("^value%[(%d+)%]", "argument %1")))
  end
  if answer then
    turn.whole = true
    return answer
  end
  if code ~= "ECLOSED" then return nil, message, code end
  local _, text, kind = worker:join()
  local why = kind == "ELUA" and text or "it has ended"
  return nil, "the worker has gone: " .. why, code
end

-- What the module's function of that name returns; nil, its error with the traceback
-- and a code when it fails.
function methods:call(name, ...)
  if getmetatable(self) ~= metatable then
    misuse.raise "pool.call() needs the pool: write pool:call(...), with a colon"
  end
  misuse.expect("string", name, "the function of pool:call()")
  if self.closed then return nil, "closed", "ECLOSED" end
  local deadline = self.timeout and task.now() + self.timeout
  local job = { name = name, n = select("#", ...), ... }
  local turn <close> = setmetatable({ pool = self, worker = false, whole = true },
    turn_over)
  local found, message, code = find(self, turn, deadline)
  if not found then return nil, message, code end
  if deadline and task.now() >= deadline then -- it may be of use to the next one
    return nil, "timed out", "ETIMEDOUT"
  end
  local answer
  answer, message, code = ask(self, turn, job, deadline)
  if not answer then return nil, message, code end
  if not answer.ok then return nil, answer[1], answer.code end
  return table.unpack(answer, 1, answer.n)
end

-- How many workers there are, how many of them are busy, and how many calls wait.
function methods:status()
  local busy = 0
  for _ in pairs(self.busy) do busy = busy + 1 end
  return { workers = self.count, busy = busy, waiting = self.waiting }
end

-- No more calls; those under way end first.
function methods:close()
  if self.closed then return end
  self.closed = true
  local worker = self.idle:try_receive()
  while worker do
    worker:kill()
    worker = self.idle:try_receive()
  end
  self.idle:close()
end

metatable.__close = methods.close
metatable.__gc = methods.close
metatable.__tostring = function(self)
  return ("pool of %s: %d of %d"):format(self.module, self.count, self.size)
end

return M
