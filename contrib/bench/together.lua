-- What isolates do together: a shared dictionary in one and in two at once, a topic
-- that 10,000 fibers in two have subscribed to; for the bench.
local atoll = require "atoll"

local TURNS, FIBERS, ROUNDS = 300000, 5000, 15
local TEXT = "a value of some forty bytes, as a session"

local d = atoll.shared("bench", { capacity = "64M" })
local topic = atoll.topic "bench"

local work = {}

function work.get(key) for _ = 1, TURNS do d:get(key) end end

function work.set(key) for _ = 1, TURNS do d:set(key, TEXT) end end

function work.incr(key) for _ = 1, TURNS do d:incr(key) end end

function work.table(key)
  for i = 1, TURNS // 10 do
    d:set(key, { id = i, name = "ann" })
    d:get(key)
  end
end

function work.read(_, done)
  local left = FIBERS
  local function reader()
    for _ in topic:subscribe():messages() do
      left = left - 1
      if left == 0 then
        left = FIBERS
        done:send(atoll.now())
      end
    end
  end
  for _ = 1, FIBERS do atoll.spawn(reader) end
  done:send(true)
  atoll.sleep(1e6)
end

if not arg then -- one of two
  local job = ...
  job.ready:send(atoll.isolate.port:sender())
  atoll.isolate.port:receive()
  work[job.work](job.key, job.ready)
  job.ready:send(true)
  return
end

local port = atoll.port()

local function start(list)
  local handles, go = {}, {}
  for i, job in ipairs(list) do
    job.ready = port:sender()
    handles[i] = assert(atoll.isolate.spawn("together.lua", job))
    go[i] = port:receive()
  end
  for _, sender in ipairs(go) do sender:send(true) end
  return handles
end

local function alone(name, turns)
  d:set("key", name == "incr" and 0 or TEXT)
  local began = atoll.now()
  work[name] "key"
  print(("%s %.0f ns"):format(name, (atoll.now() - began) / turns * 1e9))
end

-- Of both together, for each operation.
local function both(title, name, keys)
  for _, key in ipairs(keys) do d:set(key, 0) end
  local handles = start {
    { work = name, key = keys[1] }, { work = name, key = keys[2] },
  }
  local began = atoll.now()
  for _ = 1, 2 do port:receive() end
  print(("%s %.0f ns"):format(title, (atoll.now() - began) / TURNS / 2 * 1e9))
  for _, handle in ipairs(handles) do handle:join() end
end

local function broadcast()
  start { { work = "read" }, { work = "read" } }
  for _ = 1, 2 do port:receive() end
  while topic:subscribers() < 2 * FIBERS do atoll.sleep(0.01) end
  local took, text = {}, ("x"):rep(1024)
  for i = 1, ROUNDS do
    local began = atoll.now()
    assert(topic:publish(text) == 2 * FIBERS)
    for _ = 1, 2 do port:receive() end
    took[i] = atoll.now() - began
  end
  table.sort(took)
  print(("broadcast %.1f ms"):format(took[ROUNDS // 2 + 1] * 1000))
end

alone("get", TURNS)
alone("set", TURNS)
alone("incr", TURNS)
alone("table", TURNS // 10)
both("own", "incr", { "one", "two" })
both("same", "incr", { "one", "one" })
broadcast()
atoll.exit(0)
