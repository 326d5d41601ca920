-- The connections of this isolate's HTTP client. Those that lead to the same place are
-- used again, the last one first; each place may have so many, and all together; who
-- finds none free waits in line. Nobody overtakes: a connection that becomes free goes
-- to the first who waits for its place, or, where the total is what limits, its room
-- goes to the first of all.
--
-- Whatever runs out of memory here, nothing is to be counted that nobody has: counts
-- and lists change behind the last step that wants some.
local core = require "atoll.core.http"

local M = {
  limits = { per_host = 100, total = 512, idle = 30 },
}

local limits = M.limits
local hosts = {}   -- key -> host, those with connections or with a line
local lines = {}   -- host -> true, those with a line
local total = 0    -- connections, and room taken for some that are being made
local serial = 0   -- of the last ticket
local put_aside = 0

-- Connections -------------------------------------------------------------------------

local connection = {}

local connection_meta = { __name = "atoll.http.connection" }

-- Room for a connection; whoever has it dials.
local function make_room(host)
  local conn = setmetatable({
    host = host,
    socket = nil, reader = nil,
    busy = true,   -- somebody's; else idle or gone
    lent = false,  -- to a response that is read later
    used = 0,      -- answers
    spent = false, -- not to be used again
    since = 0,     -- number of its last putting aside
  }, connection_meta)
  host.open = host.open + 1
  total = total + 1
  return conn
end

local function close_socket(conn)
  local socket = conn.socket
  conn.socket, conn.reader = nil, nil
  if socket then socket:close() end
end

local function forget_if_empty(host)
  if host.open == 0 and not host.first and hosts[host.key] == host then
    hosts[host.key] = nil
  end
end

local function give_room_back(conn)
  local host = conn.host
  conn.busy = false
  host.open = host.open - 1
  total = total - 1
  forget_if_empty(host)
  close_socket(conn)
end

-- Lines -------------------------------------------------------------------------------

local function leave(ticket)
  local host, before, behind = ticket.host, ticket.before, ticket.behind
  if before then before.behind = behind else host.first = behind end
  if behind then behind.before = before else host.last = before end
  ticket.before, ticket.behind, ticket.waits = nil, nil, false
  if not host.first then lines[host] = nil end
  forget_if_empty(host)
end

local ticket_meta = {
  __close = function(ticket)
    if ticket.waits then leave(ticket) end
    if ticket.conn then M.put(ticket.conn) end
  end,
}

local function host_of(key)
  local host = hosts[key]
  if not host then
    host = { key = key, open = 0, idle = {}, first = nil, last = nil }
    hosts[key] = host
  end
  return host
end

-- The host is looked up last: it may be forgotten while the ticket is made, for which
-- the collector may have to run.
local function enter(key)
  serial = serial + 1
  local ticket = setmetatable({
    host = nil, place = core.place(), serial = serial, waits = true, conn = nil,
    before = nil, behind = nil,
  }, ticket_meta)
  local host = host_of(key)
  lines[host] = true
  ticket.host, ticket.before = host, host.last
  if host.last then host.last.behind = ticket else host.first = ticket end
  host.last = ticket
  return ticket
end

local function give(ticket, conn)
  leave(ticket)
  ticket.conn = conn
  ticket.place:call()
end

-- Closes the connection that has been idle for longest; false when there is none.
local function evict()
  local oldest, owner
  for _, host in pairs(hosts) do
    local conn = host.idle[1]
    if conn and (not oldest or conn.since < oldest.since) then
      oldest, owner = conn, host
    end
  end
  if not oldest then return false end
  table.remove(owner.idle, 1)
  give_room_back(oldest)
  return true
end

-- The line whose first came first, of those that may have another connection.
local function first_line()
  local best
  for host in pairs(lines) do
    if host.first and host.open < limits.per_host
      and (not best or host.first.serial < best.first.serial) then
      best = host
    end
  end
  return best
end

-- Gives what room there is to those who wait.
local function serve()
  while next(lines) do
    local host = first_line()
    if not host or (total >= limits.total and not evict()) then return end
    give(host.first, make_room(host))
  end
end

-- The door ----------------------------------------------------------------------------

-- One of the host's that is as it was put aside.
local function wake(host)
  local idle = host.idle
  for i = #idle, 1, -1 do
    local conn = idle[i]
    local sound = conn.reader:wake()
    idle[i] = nil
    if sound then
      conn.busy = true
      return conn
    end
    give_room_back(conn)
  end
end

-- A connection to the place that key names, or room for one: then its socket is nil.
-- Waits for at most patience seconds (nil: for ever).
function M.take(key, patience)
  local host = hosts[key]
  if host then
    local conn = wake(host)
    if conn then return conn end
  end
  host = host_of(key)
  if not host.first and host.open < limits.per_host
    and (total < limits.total or evict()) then
    return make_room(host)
  end
  local ticket <close> = enter(key)
  serve() -- room that became free on the way there, or that nobody had memory to give
  if ticket.waits then ticket.place:wait(patience) end
  local conn = ticket.conn
  ticket.conn = nil
  if conn then return conn end
  return nil, "timed out waiting for a free connection", "ETIMEDOUT"
end

-- Whether somebody has waited for longer, at another place, for the room of one of the
-- host's connections.
local function is_for_others(host)
  if total < limits.total then return false end
  if total > limits.total then return true end -- the limit was lowered
  local other = first_line()
  return other and other ~= host
    and (not host.first or other.first.serial < host.first.serial)
end

-- Back when it is needed no more; used again if it can be.
function M.put(conn)
  local host, reader = conn.host, conn.reader
  if not conn.busy then return end
  conn.lent = false
  if not reader or conn.spent or not reader:rest(limits.idle)
    or is_for_others(host) then
    give_room_back(conn)
    serve()
    return
  end
  if not host.first then
    host.idle[#host.idle + 1] = conn
    conn.busy = false
    put_aside = put_aside + 1
    conn.since = put_aside
  elseif reader:wake() then
    -- In another table: whoever had it may still close the old one.
    local mine = setmetatable({}, connection_meta)
    for name, value in pairs(conn) do mine[name] = value end
    conn.busy, conn.socket, conn.reader = false, nil, nil
    give(host.first, mine)
  else
    give_room_back(conn)
    serve()
  end
end

-- Back, and never used again.
function M.drop(conn)
  conn.spent = true
  M.put(conn)
end

connection.close_socket = close_socket
connection_meta.__index = connection
connection_meta.__close = function(conn)
  if conn.busy and not conn.lent then M.drop(conn) end
end

-- What there is, for those who look: connections, and how many of them are idle.
function M.count()
  local idle, waiting = 0, 0
  for _, host in pairs(hosts) do
    idle = idle + #host.idle
    local ticket = host.first
    while ticket do
      waiting, ticket = waiting + 1, ticket.behind
    end
  end
  return total, idle, waiting
end

-- The limits have changed.
function M.adjust()
  while total > limits.total and evict() do end -- luacheck: ignore 542
  serve()
end

return M
