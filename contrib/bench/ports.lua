-- Between two isolates: messages, calls, and sockets that move to and fro; for the
-- bench.
local atoll = require "atoll"
local net = atoll.net

local SECONDS, SOCKETS = 0.5, 100

local other = {}

function other.count(back)
  local n = 0
  for value in atoll.isolate.port:messages() do
    n = n + 1
    if value == 0 then back:send(n) end
  end
end

function other.answer()
  for value, note in atoll.isolate.port:messages() do note:reply(value) end
end

function other.transfer(back)
  for s in atoll.isolate.port:messages() do s:transfer(back) end
end

function other.send(back)
  for s in atoll.isolate.port:messages() do back:send(s) end
end

if atoll.isolate.port then
  local name, back = table.unpack((...))
  return other[name](back)
end

local listener = assert(net.listen "127.0.0.1:0")

local peers = {} -- of the sockets that move: they must not be collected

local function start(name)
  local port = atoll.port()
  local h = assert(atoll.isolate.spawn(arg[0], { name, port:sender() }))
  return h, h:sender(), port
end

local function tell(name, unit, scale, began, count)
  print(("%s %.1f %s"):format(name, (atoll.now() - began) / count * scale, unit))
end

local function count_messages()
  local h, to, port = start "count"
  local began, n = atoll.now(), 0
  while atoll.now() < began + SECONDS do
    for i = 1, 100 do to:send(i) end
    n = n + 100
  end
  to:send(0)
  port:receive()
  tell("send", "ns", 1e9, began, n)
  h:kill()
end

local function count_calls()
  local h, to = start "answer"
  local began, n = atoll.now(), 0
  while atoll.now() < began + SECONDS do
    to:call(n)
    n = n + 1
  end
  tell("call", "us", 1e6, began, n)
  h:kill()
end

-- Each is away as often as it is here.
local function count_moves(name, how, sockets)
  local h, to, port = start(how)
  for _ = 1, sockets do
    peers[#peers + 1] = assert(net.connect(listener:name()))
    to:send((assert(listener:accept())))
  end
  local began, n = atoll.now(), 0
  while atoll.now() < began + SECONDS do
    local s = port:receive()
    if how == "send" then to:send(s) else s:transfer(to) end
    n = n + 2
  end
  tell(name, "us", 1e6, began, n)
  h:kill()
end

count_messages()
count_calls()
count_moves("transfer", "transfer", 1)
count_moves("moved", "send", SOCKETS)
io.stdout:flush()
atoll.sleep(1e6)
