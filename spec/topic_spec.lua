-- atoll.topic: what one publishes reaches all who are subscribed, in all isolates.
local atoll = require "atoll"
local events = require "support.events"
local host = require "support.host"
local load = require "support.load"
local whole = require "support.whole"
local wire = require "support.wire"

local ISOLATES = 4

-- What it gives, and how many.
local function all(...) return table.pack(...) end

local function spawn(fn, ...)
  return atoll.spawn(fn, ...):quiet()
end

describe("a topic", function()
  local topic

  setup(whole.begin)
  teardown(whole.over)

  before_each(function() topic = atoll.topic "spec" end)

  it("is the same for the same name", function()
    assert.equal(topic, atoll.topic "spec")
    assert.not_equal(topic, atoll.topic "spec.other")
    assert.equal("spec", topic:name())
    assert.equal("topic: spec", tostring(topic))
  end)

  it("reaches all who are subscribed at that moment", function()
    assert.equal(0, topic:publish "nobody")
    local a <close> = topic:subscribe()
    assert.equal(1, topic:publish(1))
    local b <close> = atoll.topic("spec"):subscribe()
    assert.equal(2, topic:publish(2))
    assert.equal(2, topic:subscribers())
    assert.equal(2, #a)
    assert.equal(1, #b)
    assert.same(all(1, 0), all(a:receive()))
    assert.same(all(2, 0), all(a:receive()))
    assert.same(all(2, 0), all(b:receive()))
    a:close()
    assert.equal(1, topic:publish(3))
    assert.equal(0, atoll.topic("spec.other"):publish(4))
    assert.same(all(3, 0), all(b:receive()))
  end)

  it("wakes who waits", function()
    local tasks = {}
    for i = 1, 100 do
      tasks[i] = spawn(function()
        local s <close> = topic:subscribe()
        return s:receive()
      end)
    end
    atoll.sleep(0)
    local text = ("x"):rep(1000)
    assert.equal(100, topic:publish(text))
    for i = 1, 100 do assert.equal(text, (tasks[i]:join())) end
    assert.equal(0, topic:subscribers())
  end)

  it("carries what a message may hold, a copy for each", function()
    local a <close> = topic:subscribe()
    local b <close> = topic:subscribe()
    for _, value in ipairs { 7, 7.5, "", "s", true, false, math.mininteger,
      ("x"):rep(1e6) } do
      topic:publish(value)
      for _, s in ipairs { a, b } do
        local got = s:receive()
        assert.equal(value, got)
        assert.equal(math.type(value), math.type(got))
      end
    end
    local t = { 1, { "two" } }
    t.self = t
    topic:publish(t)
    t[1] = "changed later"
    local x, y = a:receive(), b:receive()
    assert.equal(x, x.self)
    assert.same({ "two" }, x[2])
    assert.equal(1, y[1])
    assert.not_equal(x, y)
    assert.not_equal(x[2], y[2])
  end)

  it("carries senders, so that many can answer one", function()
    local port = atoll.port()
    local tasks = {}
    for i = 1, 3 do
      local s = topic:subscribe()
      tasks[i] = spawn(function()
        local question = s:receive()
        assert(question.to == question.again)
        question.to:send(i)
        s:close()
      end)
    end
    topic:publish { to = port:sender(), again = port:sender() }
    local sum = 0
    for _ = 1, 3 do sum = sum + port:receive(5) end
    assert.equal(6, sum)
    for _, task in ipairs(tasks) do task:join() end
    port:close()
  end)

  it("does not wait for who is slow, and tells him what he has missed", function()
    local slow <close> = topic:subscribe(10)
    local patient <close> = topic:subscribe(100)
    for i = 1, 25 do topic:publish(i) end
    assert.equal(10, #slow)
    assert.equal(25, #patient)
    assert.same(all(16, 15), all(slow:receive()))
    assert.same(all(17, 0), all(slow:receive()))
    for i = 1, 25 do assert.same(all(i, 0), all(patient:receive())) end
    for i = 26, 300 do topic:publish(i) end
    assert.same(all(291, 273), all(slow:receive()))
    assert.same(all(201, 175), all(patient:receive()))
    for i = 202, 300 do assert.same(all(i, 0), all(patient:receive())) end
    assert.equal(9, #slow)
  end)

  it("keeps 16 MB for who is slow, or one that is larger", function()
    local slow <close> = topic:subscribe()
    for i = 1, 8 do topic:publish { i, ("x"):rep(5 << 20) } end
    assert.equal(3, #slow)
    local value, missed = slow:receive()
    assert.equal(6, value[1])
    assert.equal(5, missed)
    topic:publish(("x"):rep(20 << 20))
    assert.equal(1, #slow)
    value, missed = slow:receive()
    assert.equal(20 << 20, #value)
    assert.equal(2, missed)
  end)

  it("gives up waiting after a time, and goes on", function()
    local s <close> = topic:subscribe()
    assert.same(all(nil, "timed out", "ETIMEDOUT"), all(s:receive(0.005)))
    topic:publish(1)
    assert.same(all(1, 0), all(s:receive(0.005)))
    assert.same(all(nil, "timed out", "ETIMEDOUT"), all(s:receive(0)))
  end)

  it("ends with close, for who waits too", function()
    local s = topic:subscribe()
    local task = spawn(function() return s:receive() end)
    local _ = atoll.sleep(0)
    s:close()
    assert.same(all(nil, "closed", "ECLOSED"), all(task:join()))
    assert.same(all(nil, "closed", "ECLOSED"), all(s:receive()))
    assert.equal("subscription (closed)", tostring(s))
    assert.equal(0, #s)
    s:close()
    assert.equal(0, topic:publish(1))
  end)

  it("is read with a for", function()
    local s = topic:subscribe(2)
    local task = spawn(function()
      local sum, gone = 0, 0
      for value, missed in s:messages() do
        sum, gone = sum + value, gone + missed
      end
      return sum, gone
    end)
    for i = 1, 5 do topic:publish(i) end
    atoll.sleep(0)
    atoll.sleep(0)
    s:close()
    assert.same(all(4 + 5, 3), all(task:join()))
  end)

  it("lets one fiber wait at a time, and goes on when that is cancelled", function()
    local s <close> = topic:subscribe()
    local first = spawn(function() return s:receive() end)
    atoll.sleep(0)
    assert.has_error(function() s:receive(1) end)
    first:cancel()
    first:join()
    topic:publish(1)
    assert.same(all(1, 0), all(s:receive()))
  end)

  it("forgets subscriptions that nobody has any more", function()
    for _ = 1, 10 do topic:subscribe() end
    topic:publish(("x"):rep(100))
    collectgarbage()
    collectgarbage()
    assert.equal(0, topic:subscribers())
  end)

  it("is used by finalizers, in the middle of its own calls too", function()
    local s <close> = topic:subscribe(10000)
    local other <close> = topic:subscribe(10000)
    local got = 0
    for i = 1, 2000 do
      setmetatable({}, { __gc = function()
        topic:publish { "gone", { i } }
        if #s > 1 then
          assert(type(s:receive()[1]) == "string")
          got = got + 1
        end
      end })
      topic:publish { "made", { i, { i } }, ("y"):rep(100) }
      if #s > 0 then
        local value = s:receive()
        assert(value[1] == "gone" or #value[3] == 100)
        got = got + 1
      end
    end
    collectgarbage()
    collectgarbage()
    assert.equal(4000, got + #s)
    for _ = 1, 4000 do assert.equal("table", type((other:receive(0)))) end
  end)

  it("raises when it is used wrongly", function()
    local function refused(pattern, fn, ...)
      local ok, message = pcall(fn, ...)
      assert.is_false(ok)
      assert.matches(pattern, message)
    end
    local s <close> = topic:subscribe()
    refused("string expected", atoll.topic)
    refused("1 to 255 bytes", atoll.topic, "")
    refused("1 to 255 bytes", atoll.topic, ("x"):rep(256))
    refused("value expected", topic.publish, topic, nil)
    refused("value%.f: a function cannot be sent", topic.publish, topic, { f = print })
    refused("a userdata cannot be sent", topic.publish, topic, io.stdout)
    refused("at least 1", topic.subscribe, topic, 0)
    refused("number expected", topic.subscribe, topic, {})
    refused("negative or NaN", s.receive, s, -1)
    refused("atoll.topic expected", topic.publish, s, 1)
    assert.equal(0, #s)
  end)
end)

describe("topics", function()
  after_each(function()
    wire.finish()
    host.finish()
  end)

  it("reach all isolates, in the same order", function()
    local ROUNDS = 500
    local path = host.directory { ["member.lua"] = ([[
      local atoll = require "atoll"
      local me, ready = (...).me, (...).ready
      local topic = atoll.topic "spec.all"
      local s = topic:subscribe(100000)
      ready:send(true)
      while topic:subscribers() < %d do atoll.sleep(0.001) end
      atoll.spawn(function()
        for i = 1, %d do
          topic:publish { me, i }
          if i %% 50 == 0 then atoll.sleep(0) end
        end
      end)
      local seen = {}
      for i = 1, %d do
        local value, missed = s:receive()
        assert(missed == 0)
        seen[i] = value[1] .. ":" .. value[2]
      end
      ready:send(table.concat(seen, " "))]]):format(ISOLATES, ROUNDS,
      ROUNDS * ISOLATES) } .. "/member.lua"
    local port = atoll.port()
    local handles = {}
    for i = 1, ISOLATES do
      handles[i] = assert(atoll.isolate.spawn(path, { me = i, ready = port:sender() }))
    end
    for _ = 1, ISOLATES do assert.is_true((port:receive(60))) end
    local order = port:receive(60)
    local count = {}
    for who, i in order:gmatch "(%d+):(%d+)" do
      count[who] = (count[who] or 0) + 1
      assert.equal(count[who], tonumber(i))
    end
    assert.equal(ROUNDS, count["1"])
    for _ = 2, ISOLATES do assert.is_true(order == port:receive(60)) end
    for _, handle in ipairs(handles) do assert.is_nil(select(2, handle:join(30))) end
    port:close()
    events.poll("the states to be closed", function()
      return atoll.topic("spec.all"):subscribers() == 0
    end)
  end)

  it("can be published to while an app loads, and from atoll.blocking", function()
    local h = host.start { app = [[
      local topic = atoll.topic "a"
      local at_load = topic:publish(1)
      local _, why = pcall(topic.subscribe, topic)
      app:get("/", function()
        local s <close> = topic:subscribe()
        atoll.blocking(function()
          return require("atoll").topic("a"):publish "from a thread"
        end)
        return at_load .. " " .. s:receive() .. " " .. why
      end)]], isolates = 2 }
    local body = wire.ask(h, "/").body
    assert.equal('0 from a thread topic:subscribe cannot be called while the app '
      .. 'loads; call it in on("start")', body)
  end)

  it("lose nothing among isolates that are replaced under load", function()
    local APP = [[
      local topic = atoll.topic "hits"
      local seen, lost = atoll.shared "seen", atoll.shared "lost"
      local s, reader
      local function note(value, missed)
        seen:incr(value.id, 1, 0)
        if missed > 0 then lost:incr("n", missed, 0) end
      end
      app:on("start", function()
        s = topic:subscribe(100000) -- also for who stands still for a while
        reader = atoll.spawn(function()
          for value, missed in s:messages() do note(value, missed) end
        end):quiet()
      end)
      app:on("reload", function()
        reader:cancel()
        reader:join()
        while #s > 0 do note(s:receive(0)) end
        s:close()
      end)
      app:get("/", function()
        local id = atoll.shared("ids"):incr("n", 1, 0)
        local to = topic:publish { id = id, text = ("x"):rep(id % 300) }
        atoll.shared("to"):set(id, to)
        return tostring(id)
      end)
      app:get("/check", function()
        local wrong = {}
        for _, id in ipairs(atoll.shared("to"):keys()) do
          local want, got = atoll.shared("to"):get(id), seen:get(id)
          if got ~= want then wrong[#wrong + 1] = id end
        end
        return { wrong = #wrong, lost = lost:get "n" or 0,
          count = atoll.shared("to"):capacity().entries, version = VERSION,
          subscribers = topic:subscribers() }
      end)]]
    local h = host.start { app = APP:gsub("VERSION", "1"), isolates = 2,
      set = { drain_timeout = 60 } }
    local run = load.start(h, { connections = 8, check = function(response)
      if response.status ~= 200 then return response.body end
    end })
    local reloads = host.SLOW and 3 or 6
    for n = 2, reloads do
      h:write_app((APP:gsub("VERSION", n)))
      h:hup()
      h:log_wait("reload: generation " .. n .. " serves after")
      run:run(30)
    end
    run:stop()
    -- Where a reload is slow, one has closed before the next but one serves.
    for n = 1, reloads - 1 do
      events.wait("a generation to be closed", function()
        return h:count("generation " .. n .. " closed") > 0
      end, 30)
    end
    local counts
    events.retry("all to be read", function()
      counts = atoll.json.decode(wire.ask(h, "/check").body)
      return counts.subscribers == 2
    end, 30)
    assert.equal(run.answers, counts.count)
    assert.equal(reloads, counts.version)
    -- What comes between the last look and the close is left unread.
    assert.is_true(counts.lost == 0 and counts.wrong <= 20 * reloads, counts.wrong)
  end)

  it("give their memory back", function()
    local h = host.start { app = [[
      app:get("/", function()
        local sum = 0
        for i = 1, 100 do
          local topic <const> = atoll.topic("room " .. i)
          local a <close> = topic:subscribe()
          local b <close> = topic:subscribe(10)
          for k = 1, 100 do topic:publish { k, ("x"):rep(k * 10) } end
          for _ = 1, 50 do sum = sum + a:receive()[1] end
          sum = sum + b:receive()[1]
        end
        collectgarbage()
        return tostring(sum)
      end)]], isolates = 1 }
    local function some(n)
      for _ = 1, n do assert.equal("136600", wire.ask(h, "/").body) end
    end
    some(3)
    local before = h:memory()
    some(host.SLOW and 3 or 12)
    h:grows_less(4096, before)
  end)
end)
