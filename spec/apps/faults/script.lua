-- Clients and servers of all kinds, round after round, for faults_spec: each call gives
-- what it should, or nil and why. Prints what came of it; the exit code is 1 when
-- anything else happened.
--
-- The arguments: a directory for a socket, and the number of rounds.
local atoll = require "atoll"
local socket = require "socket"
local unix = require "socket.unix"
local fs, net = atoll.fs, atoll.net
local dir, rounds = arg[1], tonumber(arg[2])

local problems, counts = {}, { right = 0, failed = 0 }

-- What a call has given: as it should be, or nil and why.
local function check(value, message)
  if value == nil and (type(message) ~= "string" or message == "") then
    problems[#problems + 1] = debug.traceback("fails without a reason")
  end
  return value
end

local function try(fn, ...)
  local ok, value = xpcall(fn, debug.traceback, ...)
  if not ok then problems[#problems + 1] = value end
  if ok and value then
    counts.right = counts.right + 1
  else
    counts.failed = counts.failed + 1
  end
end

local text = ("x"):rep(100000)

-- LuaSocket's streams.
local function luasocket_ask(c)
  c:settimeout(5)
  if not check(c:send "5\n") or not check(c:send "hello") then return end
  if check(c:receive()) ~= "echo" or check(c:receive(5)) ~= "hello" then return end
  if not check(c:send(text)) then return end
  check(c:shutdown "send")
  return check(c:receive "*a") == text
end

local function luasocket_answer(s)
  s:settimeout(5)
  local n = check(s:receive())
  local data = n and check(s:receive(tonumber(n)))
  if data and check(s:send "echo\n") and check(s:send(data)) then
    data = s:receive "*a" -- who selects sends no more
    return not data or check(s:send(data))
  end
end

local function luasocket_serve(listener)
  while listener:getfd() ~= -1 do
    local s, message = listener:accept()
    check(s, message)
    if s then
      atoll.spawn(function()
        try(luasocket_answer, s)
        s:close()
      end)
    else
      atoll.sleep(0.001)
    end
  end
end

local function bound(make)
  for _ = 1, 100 do
    local s, message = make()
    if check(s, message) then return s end
  end
  error "nothing can be bound"
end

local function tcp_client(listener)
  local _, port = listener:getsockname()
  if not check(_, port) then return end
  local c = check(socket.connect("127.0.0.1", port))
  if not c then return end
  c:setoption("tcp-nodelay", true)
  local ok = luasocket_ask(c)
  c:close()
  return ok
end

local function unix_client(path)
  local c = check(unix())
  local ok = c and check(c:connect(path)) and luasocket_ask(c)
  if c then c:close() end
  return ok
end

local function udp_pair()
  local a, b = check(socket.udp4()), check(socket.udp4())
  local ok = a and b and check(a:setsockname("127.0.0.1", 0))
  if ok then
    local ip, port = a:getsockname()
    a:settimeout(0.05)
    ok = check(ip, port) and check(b:sendto("hello", ip, port))
      and check(a:receivefrom()) == "hello"
  end
  if a then a:close() end
  if b then b:close() end
  return ok
end

local function selecting(listener)
  local _, port = listener:getsockname()
  local c = check(_, port) and check(socket.connect("127.0.0.1", port))
  if not c then return end
  c:settimeout(0)
  c:send "2\nab"
  local got, stop = "", socket.gettime() + 5
  repeat
    socket.select({ c }, nil, 0.1)
    local data, err, partial = c:receive "*l"
    got = got .. (data or partial)
  until data or err ~= "timeout" or socket.gettime() > stop
  c:close()
  return got == "echo"
end

-- Our own.
local function net_client(address)
  local c = check(net.connect(address, { timeout = 5 }))
  if not c then return end
  c:settimeout(5)
  local ok = check(c:write("5\n", "hello")) and check(c:read "line") == "echo"
    and check(c:read(5)) == "hello" and check(c:write(text))
  if ok then
    check(c:shutdown "write")
    ok = check(c:read "all") == text
  end
  c:close()
  return ok
end

local function net_answer(s)
  s:settimeout(5)
  local n = s:read "line"
  local data = n and s:read(tonumber(n))
  if data and check(s:write("echo\n", data)) then
    data = check(s:read "all")
    return data and check(s:write(data))
  end
end

local function descriptors() return #assert(fs.list "/proc/self/fd") end

local ticks, over = 0, false
atoll.spawn(function()
  while not over do
    atoll.sleep(0.001)
    ticks = ticks + 1
  end
end)

descriptors()
local before = descriptors()

local tcp = bound(function() return socket.bind("127.0.0.1", 0) end)
local local_server = bound(function()
  local s, message = unix()
  os.remove(dir .. "/s")
  if s then
    local ok
    ok, message = s:bind(dir .. "/s")
    if ok then ok, message = s:listen() end
    if ok then return s end
    s:close()
  end
  return nil, message
end)
local listener = bound(function() return net.listen "127.0.0.1:0" end)
local servers = {
  atoll.spawn(luasocket_serve, tcp),
  atoll.spawn(luasocket_serve, local_server),
  atoll.spawn(function()
    listener:serve(function(s) try(net_answer, s) end)
  end),
}

for _ = 1, rounds do
  local tasks = {
    atoll.spawn(try, tcp_client, tcp), atoll.spawn(try, unix_client, dir .. "/s"),
    atoll.spawn(try, udp_pair), atoll.spawn(try, selecting, tcp),
    atoll.spawn(try, net_client, listener:name()),
  }
  for _, task in ipairs(tasks) do task:join() end
end

tcp:close()
local_server:close()
listener:close()
for i, task in ipairs(servers) do
  local _, message, code = task:join()
  if code == "ELUA" then problems[#problems + 1] = i .. message end
end
over = true
local after
for _ = 1, 200 do
  collectgarbage()
  atoll.sleep(0.01)
  after = descriptors()
  if after == before then break end
end
print(("%d right, %d failed, %d ticks, %d descriptors more"):format(counts.right,
  counts.failed, ticks, after - before))
for i = 1, math.min(#problems, 3) do print(problems[i]) end
if #problems > 0 or after ~= before then atoll.exit(1) end
