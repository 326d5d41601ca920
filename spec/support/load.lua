-- Load whose every answer is checked: connections that ask again as soon as they are
-- answered, while the spec does what it wants to do to the host.
local events = require "support.events"
local wire = require "support.wire"

local M = {}

local methods = {}
local metatable = { __index = methods, __name = "spec.load" }

local function problem(load, text)
  if #load.problems < 20 then load.problems[#load.problems + 1] = text end
  load.failed = load.failed + 1
end

local begin

local function ask(load, c)
  if load.stopping then
    load.busy = load.busy - 1
    c.idle = true
    return
  end
  load.asked = load.asked + 1
  c.request = load.asked
  c:send(load.make and load.make(c) or load.request)
end

local function answered(load, c)
  local ok, response = pcall(c.take, c)
  if not ok then
    problem(load, response)
    return
  end
  if not response then return end
  local complaint = load.check(response, c)
  if complaint then problem(load, complaint) end
  load.answers = load.answers + 1
  if load.drains and response.fields.connection == "close" then
    load.busy, c.idle = load.busy - 1, true
    return
  end
  if load.follows and response.fields.connection == "close" then
    load.busy, c.idle, load.told = load.busy - 1, true, load.told + 1
    c:close()
    if not load.stopping then begin(load) end
    return
  end
  -- What was taken is dropped, or a long run would keep all of it.
  if c.at > c.size then c.parts, c.size, c.at = {}, 0, 1 end
  ask(load, c)
end

-- A host that drains closes what has been silent for half a second, which is how those
-- look who have stood still: it was not to know that another request would come.
local function seemed_idle(load, c)
  return (load.drains or load.follows) and c.at > c.size and events.was_away(5)
end

local function ended(load, c)
  if c.idle then return end
  c:close()
  load.busy = load.busy - 1
  if seemed_idle(load, c) then
    if load.follows and not load.stopping then begin(load) end
    return
  end
  if load.may_end and load.may_end(c) then
    if not load.stopping then begin(load) end
    return
  end
  load.closed = load.closed + 1
  if not load.again then
    problem(load, "a connection was closed: " .. (c.reset or "EOF"))
  elseif not load.stopping then
    begin(load)
  end
end

-- After a drain: every connection was answered and told that it ends.
function methods:drained()
  events.wait("the last answers", function() return self.busy == 0 end)
  assert(self.failed == 0, table.concat(self.problems, "\n"))
end

function begin(load)
  load.busy = load.busy + 1
  local c = wire.open(load.to)
  load.connections[#load.connections + 1] = c
  function c:on_connect() ask(load, self) end
  function c:on_data() answered(load, self) end
  function c:on_end()
    if self.refused then
      load.refused = load.refused + 1
      load.busy = load.busy - 1
      self:close()
      if load.again and not load.stopping then begin(load) end
    else
      ended(load, self)
    end
  end
end

-- Starts it. options: connections; path, or make(connection), which gives the request;
-- check(response, connection), which says what is wrong; again: a connection that ends
-- is made anew, and counted in closed; drains: an answer may say that its connection
-- ends; follows: the same, and another is then made; may_end(connection): whether one
-- that has ended might, so that another is made.
function M.start(to, options)
  local load = setmetatable({
    to = to,
    request = "GET " .. (options.path or "/") .. " HTTP/1.1\r\nHost: a\r\n\r\n",
    make = options.make,
    check = options.check,
    again = options.again,
    drains = options.drains,
    follows = options.follows,
    may_end = options.may_end,
    connections = {},
    problems = {},
    failed = 0,  -- answers that were wrong, and ends that were not to be
    answers = 0,
    asked = 0,
    closed = 0,
    told = 0,    -- connections that followed an answer to their end
    refused = 0,
    busy = 0,    -- connections that wait for an answer
  }, metatable)
  for _ = 1, options.connections or 8 do begin(load) end
  return load
end

-- Waits for that many further answers.
function methods:run(count)
  local goal = self.answers + count
  events.wait(function()
    return ("%d more answers; %d came, %d connections are busy, problems: %s"):format(
      count, self.answers - goal + count, self.busy, table.concat(self.problems, "\n"))
  end, function() return self.answers >= goal end, 60)
end

-- Waits for the last answers; all of it has to have been right.
function methods:stop()
  self.stopping = true
  events.wait("the last answers", function() return self.busy == 0 end)
  for _, c in ipairs(self.connections) do c:close() end
  local text = table.concat(self.problems, "\n")
  assert(self.failed == 0, ("%d failures:\n%s\n%s"):format(self.failed, text,
    (self.to.log or ""):sub(-2000)))
  assert(self.refused == 0, self.refused .. " connections were refused")
  if not self.again then assert(self.closed == 0) end
end

return M
