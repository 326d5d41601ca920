-- What is published to topics and goes to WebSockets.
local atoll = require "atoll"
local events = require "support.events"
local frames = require "support.frames"
local host = require "support.host"
local http = require "atoll.http"
local websocket = require "atoll.websocket"
local wire = require "support.wire"

local APP = [[
local function options(req)
  local q = req.query
  local capacity = tonumber(q.capacity)
  return { binary = q.binary ~= nil, lagging = q.lagging, capacity = capacity }
end
app:websocket("/kept/:topic", function(ws, req)
  ws:on("reload", function() return true end)
  if not ws.resumed then
    ws:subscribe(req.params.topic)
    ws:send "ready"
  end
  for message in ws:messages() do ws:send(message) end
end)
app:websocket("/news/:topic", function(ws, req)
  assert(ws:subscribe(req.params.topic, options(req)))
  assert(ws:subscribe(atoll.topic(req.params.topic))) -- once more is no more
  ws:send "ready"
  for message in ws:messages() do
    if message == "stop" then
      assert(ws:unsubscribe(req.params.topic) and not ws:unsubscribe(req.params.topic))
      ws:send "stopped"
    elseif message == "missed" then
      ws:send("missed " .. ws.missed)
    end
  end
end)
local publish = {
  text = "text", bytes = "\xff\x00", table = { a = { 1, 2.5, "x" } }, number = 7,
  long = ("long "):rep(1000), bad = 0/0,
}
app:post("/say/:topic/:what", function(req)
  local value = publish[req.params.what] or req.params.what
  return tostring(atoll.topic(req.params.topic):publish(value))
end)
app:post("/flood/:topic/:count", function(req)
  local topic, text = atoll.topic(req.params.topic), ("x"):rep(4096)
  for i = 1, tonumber(req.params.count) do topic:publish(i .. text) end
  return tostring(topic:subscribers())
end)
app:post("/count/:topic/:from/:to", function(req)
  local topic = atoll.topic(req.params.topic)
  for i = tonumber(req.params.from), tonumber(req.params.to) do topic:publish(i) end
  return tostring(topic:subscribers())
end)
]]

local function url_of(h, path) return (h.url:gsub("^http", "ws")) .. path end

local function open(h, path, options)
  local ws = assert(websocket.connect(url_of(h, path), options))
  assert.equal("ready", (ws:receive(10)))
  return ws
end

local function post(h, path) return assert(http.post(h.url .. path, "")).body end

local function start(more, isolates, set)
  return host.start { app = APP .. (more or ""), isolates = isolates or 1, set = set }
end

describe("a subscribed websocket", function()
  after_each(function()
    atoll.sleep(0.02) -- while a host ends nobody is heard
    wire.finish()
    host.finish()
  end)

  it("gets texts, bytes and JSON", function()
    local h = start()
    local ws <close> = open(h, "/news/a")
    local binary <close> = open(h, "/news/a?binary=1")
    local other <close> = open(h, "/news/b")
    for _, row in ipairs {
      { "text", "text", "text" }, { "bytes", "\xff\0", "binary" },
      { "table", '{"a":[1,2.5,"x"]}', "text" }, { "number", "7", "text" },
      { "long", ("long "):rep(1000), "text" },
    } do
      assert.equal("2", post(h, "/say/a/" .. row[1]))
      assert.same({ row[2], row[3] }, { ws:receive(10) })
      assert.same({ row[2], "binary" }, { binary:receive(10) })
    end
    assert.equal("1", post(h, "/say/b/text"))
    assert.equal("text", (other:receive(10)))
  end)

  it("gets no more than it wants", function()
    local h = start()
    local ws <close> = open(h, "/news/a")
    assert(ws:send "stop")
    assert.equal("stopped", (ws:receive(10)))
    assert.equal("0", post(h, "/say/a/text"))
    assert.same({ nil, "timed out", "ETIMEDOUT" }, { ws:receive(0.02) })
  end)

  it("does not get what is no JSON, and that is logged once", function()
    local h = start()
    local one <close> = open(h, "/news/a")
    local two <close> = open(h, "/news/a")
    post(h, "/say/a/bad")
    post(h, "/say/a/text")
    assert.equal("text", (one:receive(10)))
    assert.equal("text", (two:receive(10)))
    h:log_wait "topic a: a value did not go to WebSockets"
    assert.equal(1, h:count "did not go to WebSockets")
  end)

  it("is reached in every isolate, in the same order", function()
    local h = start(nil, 3)
    local list = {}
    for i = 1, 30 do
      list[i] = open(h, "/news/a", { compress = i % 2 == 0 })
    end
    assert.equal("30", post(h, "/count/a/1/50"))
    post(h, "/say/a/long")
    for _, ws in ipairs(list) do
      for i = 1, 50 do assert.equal(tostring(i), (ws:receive(10))) end
      assert.equal(("long "):rep(1000), (ws:receive(10)))
      ws:close()
    end
  end)

  it("is closed when its client does not keep up", function()
    local h = start()
    local c = frames.open(h, "/news/a?capacity=10")
    frames.expect(c, "ready")
    local quick <close> = open(h, "/news/a?capacity=10000")
    post(h, "/flood/a/5000")
    for i = 1, 5000 do
      assert.equal(tostring(i), (quick:receive(10):match "^%d+"))
    end
    h:log_wait "closed: it reads too slowly, and %d+ messages of topic a"
    c:close()
  end)

  it("may miss what its client does not keep up with", function()
    local h = start()
    local ws <close> = open(h, "/news/a?capacity=10&lagging=skip", { compress = false })
    for _ = 1, 3 do post(h, "/flood/a/3000") end
    local got = 0
    assert(ws:send "missed")
    local missed
    repeat
      local message = assert(ws:receive(10))
      missed = message:match "^missed (%d+)"
      if not missed then got = got + 1 end
    until missed
    assert.is_true(got >= 10)
    assert.is_true(tonumber(missed) > 0)
    repeat until not ws:receive(0.1)
    assert.is_nil(ws.code)
    assert.equal("1", post(h, "/say/a/text"))
    local message -- behind what was still on its way, if anything was
    repeat message = assert(ws:receive(10)) until not message:find "^%d+x"
    assert.equal("text", message)
  end)

  it("goes to another isolate without missing or doubling anything", function()
    local h = start([[
      app:on("start", function()
        local port = atoll.port()
        local n = atoll.shared("spec"):incr("isolates", 1, 0)
        atoll.register(n == 1 and "one" or "two", port:sender())
        atoll.spawn(function()
          for ws in port:messages() do
            atoll.spawn(function()
              for message in ws:messages() do ws:send(message) end
            end)
          end
        end)
      end)
      app:websocket("/move/:topic", function(ws, req)
        ws:subscribe(req.params.topic)
        ws:send "ready"
        ws:receive()
        atoll.sleep(0)
        assert(ws:transfer(atoll.lookup(req.query.to)))
      end)
    ]], 2)
    local list = {}
    for i = 1, 20 do
      list[i] = open(h, "/move/a?to=" .. (i % 2 == 0 and "one" or "two"))
    end
    for i = 1, 20 do
      list[i]:send "go"
      post(h, ("/count/a/%d/%d"):format(i * 5 - 4, i * 5))
    end
    for i, ws in ipairs(list) do
      for n = 1, 100 do
        local message = ws:receive(10)
        assert.equal(tostring(n), message, ("socket %d, %s"):format(i, ws.code))
      end
      assert(ws:send "still here")
      assert.equal("still here", (ws:receive(10)))
      ws:close()
    end
  end)

  it("stays so while the code is replaced", function()
    local h = start(nil, 2, { drain_timeout = 60 })
    local list = {}
    for i = 1, 10 do list[i] = open(h, i % 2 == 0 and "/news/a" or "/kept/a") end
    local last = 0
    for _ = 1, host.SLOW and 1 or 3 do
      local task = atoll.spawn(function()
        post(h, ("/count/a/%d/%d"):format(last + 1, last + 100))
      end)
      h:reload()
      task:join()
      last = last + 100
    end
    for _, ws in ipairs(list) do
      for n = 1, last do
        assert.equal(tostring(n), (ws:receive(10)))
      end
      ws:close()
    end
  end)

  it("may be a client's", function()
    local h = host.start { app = [[
      app:websocket("/echo", function(ws)
        for message, kind in ws:messages() do ws:send(message, kind) end
      end)
    ]] }
    local ws <close> = assert(websocket.connect(url_of(h, "/echo")))
    assert(ws:subscribe "mine")
    local topic = atoll.topic "mine"
    for _, value in ipairs { "text", ("y"):rep(200), ("z"):rep(70000) } do
      topic:publish(value)
      assert.equal(value, (ws:receive(10)))
    end
    topic:publish { 1, 2 }
    assert.equal("[1,2]", (ws:receive(10)))
    ws:close()
    assert.same({ nil, "closed", "ECLOSED" }, { ws:subscribe "mine" })
    events.poll("its end", function() return topic:subscribers() == 0 end)
  end)

  it("is told what it does wrongly", function()
    local h = start()
    local ws <close> = open(h, "/news/a")
    local function raises(text, ...)
      local ok, message = pcall(ws.subscribe, ws, ...)
      assert.is_false(ok)
      assert.match(text, message, 1, true)
    end
    raises("string expected")
    raises("1 to 255 bytes expected", "")
    raises("there is no option color", "a", { color = 1 })
    raises("at least 1", "a", { capacity = 0 })
    raises("invalid option 'wait'", "a", { lagging = "wait" })
  end)
end)
