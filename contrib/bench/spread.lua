-- How 1,000 connections that stay spread over the isolates of a host: when all come at
-- once, and when they came while all isolates but one were computing; and who waits for
-- an isolate that computes. For the bench: atoll run spread.lua APP [ISOLATES...]
local atoll = require "atoll"
local net = require "atoll.net"
local testing = require "atoll.testing"

local CONNECTIONS, NEW, LATE = 1000, 400, 0.5

local function ask(socket, path)
  socket:write("GET " .. path .. " HTTP/1.1\r\nHost: a\r\n\r\n")
  local head = assert(socket:read_until("\r\n\r\n"))
  return assert(socket:read(tonumber(head:lower():match("content%-length: (%d+)"))))
end

-- Calls fn(i) for each of n, in a few fibers.
local function each(n, fn)
  local next_one, fibers = 0, {}
  for f = 1, 16 do
    fibers[f] = function()
      while next_one < n do
        next_one = next_one + 1
        fn(next_one)
      end
    end
  end
  atoll.all(fibers)
end

local function connect(address, n)
  local list = {}
  each(n, function(i)
    list[i] = assert(net.connect(address))
    ask(list[i], "/quick")
  end)
  return list
end

-- The share of the isolate that has most of them, in percent.
local function largest(list)
  local at, most = {}, 0
  each(#list, function(i)
    local where = ask(list[i], "/quick")
    at[where] = (at[where] or 0) + 1
  end)
  for _, n in pairs(at) do most = math.max(most, n) end
  return most / #list * 100
end

-- Keeps n isolates computing, each asked by its own connection, while fn runs.
local function while_busy(address, n, seconds, fn)
  local busy, found = {}, 0
  while found < n do
    local socket = assert(net.connect(address))
    local where = ask(socket, "/quick")
    if not busy[where] then
      busy[where], found = socket, found + 1
    end
  end
  for _, socket in pairs(busy) do
    socket:write("GET /?seconds=" .. seconds .. " HTTP/1.1\r\nHost: a\r\n\r\n")
  end
  atoll.sleep(0.1) -- until they have begun
  local result = fn()
  for _, socket in pairs(busy) do
    socket:read_until("\r\n\r\n")
    socket:close()
  end
  return result
end

local function close(list)
  for _, socket in ipairs(list) do socket:close() end
end

local function late(address)
  local count = 0
  each(NEW, function()
    local began = atoll.now()
    local socket <close> = assert(net.connect(address))
    ask(socket, "/quick")
    if atoll.now() - began > LATE then count = count + 1 end
  end)
  return count
end

local app = assert(arg[1], "usage: atoll run spread.lua APP [ISOLATES...]")
local numbers = { table.unpack(arg, 2) }
if not numbers[1] then numbers = { 2, 4, 8 } end
local over, piled, after, waited = 0, 0, 0, 0
for _, n in ipairs(numbers) do
  n = tonumber(n)
  local host <close> = assert(testing.start(app, { isolates = n, access_log = "off" }))
  local address = host.url:match "//([^/]+)"
  local list = connect(address, CONNECTIONS)
  local all_at_once = largest(list)
  close(list)
  list = while_busy(address, n - 1, 2, function()
    return connect(address, CONNECTIONS)
  end)
  local before = largest(list)
  local rest = before
  for _ = 1, 5 do
    atoll.sleep(0.05)
    rest = largest(list)
  end
  close(list)
  local behind = while_busy(address, 1, 2, function() return late(address) end)
  io.stderr:write(("%d isolates: %.1f %% at once; %.1f %% piled up, %.1f %% then; "
    .. "%d of %d waited\n"):format(n, all_at_once, before, rest, behind, NEW))
  over = math.max(over, all_at_once - 100 / n)
  piled = math.max(piled, before - 100 / n)
  after = math.max(after, rest - 100 / n)
  waited = waited + behind
end
print(("over %.1f percent"):format(over))
print(("piled %.1f percent"):format(piled))
print(("after %.1f percent"):format(after))
print(("late %d clients"):format(waited))
