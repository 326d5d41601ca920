-- Connections that wait for their next user: for each address, or name that was given
-- for it, those that are idle, the last one used first to go. One that the peer has
-- closed, or on which it has said something unasked, is never handed out.
--
-- With a backlog a pool also bounds the connections in use: beyond its size further
-- users stand in line, and beyond the backlog they are turned away.
local atoll = require "atoll"
local host = require "atoll.core.host"

local M = {}

local DEFAULT_SIZE = 30 -- as lua_socket_pool_size of nginx
local SWEEP = 1 -- seconds between two looks at those that are idle

local pools = {} -- name -> pool
local sweeper

local function forget(pool)
  if #pool.idle > 0 or pool.used > 0 or pool.waiting > 0 then return end
  if pools[pool.name] == pool then pools[pool.name] = nil end
end

-- Nothing has come, not even the end.
local function is_sound(socket)
  local data, _, code = socket:read("some", 1, 0)
  return data == nil and code == "ETIMEDOUT"
end

local line_meta = {
  __close = function(self) self.pool.waiting = self.pool.waiting - 1 end,
}

-- Counts a user of the pool; nil and the error when there are too many. size and
-- backlog count when the pool is made.
function M.enter(name, size, backlog, timeout)
  local pool = pools[name]
  if not pool then
    size = size or DEFAULT_SIZE
    pool = {
      name = name,
      size = size,
      backlog = backlog,
      slots = backlog and atoll.semaphore(size) or nil,
      idle = {}, -- { socket, times, secure, expires }
      used = 0,
      waiting = 0,
    }
    pools[name] = pool
  end
  if pool.slots and not pool.slots:try_acquire() then
    if pool.waiting >= pool.backlog then
      return nil, "too many waiting connect operations"
    end
    pool.waiting = pool.waiting + 1
    local _ <close> = setmetatable({ pool = pool }, line_meta)
    if not pool.slots:acquire(timeout) then return nil, "timeout" end
  end
  pool.used = pool.used + 1
  return pool
end

-- A user has gone, with or without its connection.
function M.gone(pool)
  pool.used = pool.used - 1
  if pool.slots then pool.slots:release() end
  forget(pool)
end

-- An idle connection: the socket, how often that has happened to it now, and whether it
-- speaks TLS. Or nil.
function M.take(pool)
  while true do
    local entry = table.remove(pool.idle)
    if not entry then return nil end
    if entry.expires > atoll.now() and is_sound(entry.socket) then
      return entry.socket, entry.times + 1, entry.secure
    end
    entry.socket:close()
  end
end

-- Looking at one may take a moment; meanwhile it is in no list.
local function sweep()
  local left, all = false, {}
  for _, pool in pairs(pools) do all[#all + 1] = pool end
  for _, pool in ipairs(all) do
    local now = atoll.now()
    for _ = 1, #pool.idle do
      local entry = table.remove(pool.idle, 1)
      if not entry then break end
      if entry.expires > now and is_sound(entry.socket) then
        table.insert(pool.idle, entry)
      else
        entry.socket:close()
      end
    end
    left = left or #pool.idle > 0
    forget(pool)
  end
  if not left and sweeper then
    sweeper:cancel()
    sweeper = nil
  end
end

-- The user of a connection is done with it: 1. idle are its seconds, 0 for any number.
function M.put(pool, socket, times, secure, idle, size)
  if size and #pool.idle == 0 and not pool.slots then pool.size = size end
  while #pool.idle >= pool.size do table.remove(pool.idle, 1).socket:close() end
  table.insert(pool.idle, {
    socket = socket, times = times, secure = secure,
    expires = idle > 0 and atoll.now() + idle or math.huge,
  })
  M.gone(pool)
  if not sweeper and host.isolate() then sweeper = atoll.every(SWEEP, sweep) end
  return 1
end

return M
