-- Ports in one isolate: order, bounds, calls, and what a message can hold. Between
-- isolates: isolate_spawn_spec.
local atoll = require "atoll"
local whole = require "support.whole"

local function spawn(fn, ...)
  return atoll.spawn(fn, ...):quiet()
end

setup(whole.begin)
teardown(whole.over)

describe("port", function()
  it("gives messages in the order in which they were sent", function()
    local port = atoll.port()
    local sender = port:sender()
    for i = 1, 100 do assert.is_true(sender:send(i)) end
    assert.equal(100, #port)
    for i = 1, 100 do assert.equal(i, (port:receive())) end
    assert.equal(0, #port)
  end)

  it("wakes a receiver that waits", function()
    local port = atoll.port()
    local task = spawn(function() return port:receive() end)
    atoll.sleep(0)
    port:sender():send "hello"
    assert.equal("hello", (task:join()))
  end)

  it("has at most one receiver at a time", function()
    local port = atoll.port()
    local first = spawn(function() return port:receive() end)
    atoll.sleep(0)
    assert.has_error(function() port:receive(1) end)
    port:close()
    assert.equal(nil, (first:join()))
  end)

  it("gives up receiving after a time, and goes on", function()
    local port = atoll.port()
    assert.same({ nil, "timed out", "ETIMEDOUT" }, { port:receive(0.01) })
    port:sender():send(1)
    assert.equal(1, (port:receive(0.01)))
  end)

  it("holds what a message may hold, with shared references and cycles", function()
    local port = atoll.port()
    local sender = port:sender()
    local t = { 1, 2.5, "x", true, { k = "v" } }
    t.self, t.again = t, t[5]
    for _, v in ipairs { 7, 7.5, "s", false, math.mininteger, ("x"):rep(1e6) } do
      sender:send(v)
      local got = port:receive()
      assert.equal(v, got)
      assert.equal(math.type(v), math.type(got))
    end
    sender:send(t)
    local got = port:receive()
    assert.equal(got, got.self)
    assert.equal(got[5], got.again)
    assert.same({ k = "v" }, got.again)
    assert.equal("integer", math.type(got[1]))
    sender:send(nil)
    assert.same("userdata", type(select(2, port:receive())))
  end)

  it("names what cannot be sent by its path, and sends nothing", function()
    local port = atoll.port()
    local sender = port:sender()
    local function refuses(text, v)
      local ok, message = pcall(sender.send, sender, v)
      assert.is_false(ok)
      assert.truthy(message:find(text, 1, true), message)
    end
    refuses("value: a function cannot be sent", print)
    refuses("value.a.b[2]: a userdata cannot be sent", { a = { b = { 1, io.stdout } } })
    refuses("value.t: a thread cannot be sent", { t = coroutine.create(print) })
    assert.equal(0, #port)
  end)

  it("is used by finalizers, in the middle of its own calls too", function()
    local port, gone = atoll.port(10000), atoll.port(10000)
    local sender, farewell = port:sender(), gone:sender()
    for i = 1, 5000 do
      setmetatable({}, { __gc = function()
        farewell:send { "gone", { i }, sender }
        if #gone > 1 then assert(gone:receive()[1] == "gone") end
      end })
      sender:send { "made", { i, { i } }, ("y"):rep(100) }
      local got = port:receive()
      assert(got[1] == "made" and got[2][1] == i and got[2][2][1] == i)
      assert(#got[3] == 100)
    end
  end)

  it("sends senders, which are equal when their port is the same", function()
    local a, b = atoll.port(), atoll.port()
    local to = a:sender()
    to:send { back = b:sender(), same = b:sender() }
    local got = a:receive()
    assert.equal(b:sender(), got.back)
    assert.is_true(got.back == got.same)
    assert.is_false(got.back == to)
    got.back:send "through"
    assert.equal("through", (b:receive()))
  end)

  it("lets senders wait while its queue is full, first come first served", function()
    local port = atoll.port(2)
    local sender = port:sender()
    assert.is_true(sender:send(1) and sender:send(2))
    assert.same({ nil, "timed out", "ETIMEDOUT" }, { sender:send(0, 0.01) })
    local tasks = {}
    for i = 3, 10 do
      tasks[#tasks + 1] = spawn(function() return sender:send(i) end)
    end
    atoll.sleep(0)
    for i = 1, 10 do assert.equal(i, (port:receive(5))) end
    for _, task in ipairs(tasks) do assert.is_true((task:join())) end
  end)

  it("gives the room of a sender that was cancelled to the next", function()
    local port = atoll.port(1)
    local sender = port:sender()
    sender:send "first"
    local gone = spawn(function() sender:send "never" end)
    local next_one = spawn(function() return sender:send "second" end)
    atoll.sleep(0)
    -- It is told of room and cancelled in the same turn.
    assert.equal("first", (port:receive()))
    gone:cancel()
    assert.equal("second", (port:receive(5)))
    assert.is_true((next_one:join()))
    assert.is_nil((port:receive(0)))
  end)

  it("tells senders and the receiver when it closes", function()
    local port = atoll.port(1)
    local sender = port:sender()
    sender:send(1)
    local waiting = spawn(function() return sender:send(2) end)
    atoll.sleep(0)
    port:close()
    assert.same({ nil, "closed", "ECLOSED" }, { waiting:join() })
    assert.same({ nil, "closed", "ECLOSED" }, { sender:send(3) })
    assert.same({ nil, "closed", "ECLOSED" }, { port:receive() })
    assert.is_true(sender:closed())
    port:close()
  end)

  it("is closed when it is collected", function()
    local sender = atoll.port():sender()
    collectgarbage()
    collectgarbage()
    assert.same({ nil, "closed", "ECLOSED" }, { sender:send(1) })
  end)

  it("is read by a loop until it closes", function()
    local port = atoll.port()
    local sender = port:sender()
    spawn(function()
      for i = 1, 5 do sender:send(i) end
      atoll.sleep(0.01)
      port:close()
    end)
    local sum = 0
    for value in port:messages() do sum = sum + value end
    assert.equal(15, sum)
  end)

  it("wants a capacity", function()
    assert.has_error(function() atoll.port(0) end)
    assert.has_error(function() atoll.port("many") end)
  end)
end)

describe("call", function()
  local function serve(answer)
    local port = atoll.port()
    spawn(function()
      for value, message in port:messages() do answer(value, message) end
    end)
    return port:sender(), port
  end

  it("waits for the answer", function()
    local sender = serve(function(v, m) m:reply { v * 2 } end)
    assert.same({ 14 }, (sender:call(7)))
  end)

  it("finds its own answer when many are asked", function()
    local held = {}
    local sender = serve(function(v, m)
      held[#held + 1] = { v, m }
      if #held < 10 then return end
      for i = 10, 1, -1 do held[i][2]:reply(held[i][1]) end
    end)
    local tasks = {}
    for i = 1, 10 do tasks[i] = spawn(function() return sender:call(i) end) end
    for i = 1, 10 do assert.equal(i, (tasks[i]:join())) end
  end)

  it("may be answered with nil", function()
    local sender = serve(function(_, m) m:reply(nil) end)
    assert.equal(1, select("#", sender:call(1)))
  end)

  it("gives up after a time; the late answer goes nowhere", function()
    local late
    local sender = serve(function(_, m) late = m end)
    assert.same({ nil, "timed out", "ETIMEDOUT" }, { sender:call(1, 0.1) })
    while not late do atoll.sleep(0) end -- it may not have had its turn yet
    assert.is_true(late:wanted())
    late:reply(1)
    local other = serve(function(v, m) m:reply(v) end)
    assert.equal("mine", (other:call "mine"))
  end)

  it("is told when nobody will answer", function()
    local port = atoll.port()
    local sender = port:sender()
    spawn(function()
      local function drop() port:receive() end
      drop()
      collectgarbage()
      collectgarbage()
    end)
    assert.same({ nil, "closed", "ECLOSED" }, { sender:call(1, 5) })
    local deaf = atoll.port()
    local task = spawn(function() return deaf:sender():call(1, 5) end)
    atoll.sleep(0)
    deaf:close()
    assert.same({ nil, "closed", "ECLOSED" }, { task:join() })
  end)

  it("is answered once; what was only sent wants no answer", function()
    local port = atoll.port()
    local task = spawn(function() return port:sender():call "q" end)
    local _, message = port:receive()
    assert.is_true(message:wanted())
    assert.is_true(message:reply "a")
    assert.same({ nil, "nobody waits for an answer", "EINVAL" }, { message:reply "b" })
    assert.equal("a", (task:join()))
    port:sender():send "s"
    _, message = port:receive()
    assert.is_false(message:wanted())
    assert.is_nil((message:reply "x"))
  end)

  it("that is cancelled leaves nothing behind", function()
    local port = atoll.port(1)
    local sender = port:sender()
    sender:send "full"
    local full = spawn(function() sender:call "waits for room" end)
    atoll.sleep(0)
    full:cancel()
    full:join()
    port:receive()
    local asked = spawn(function() sender:call "waits for the answer" end)
    local _, message = port:receive()
    asked:cancel()
    asked:join()
    message:reply "late"
    assert.is_nil((port:receive(0)))
  end)
end)

describe("a name", function()
  it("leads to its port as long as that is open", function()
    local port = atoll.port()
    assert.is_nil((atoll.lookup "spec.mailbox"))
    assert.is_true(atoll.register("spec.mailbox", port:sender()))
    assert.is_true(atoll.register("spec.mailbox", port:sender()))
    assert.equal(port:sender(), atoll.lookup "spec.mailbox")
    atoll.lookup("spec.mailbox"):send "hello"
    assert.equal("hello", (port:receive(0)))
    port:close()
    assert.is_nil((atoll.lookup "spec.mailbox"))
  end)

  it("is one port's at a time, and can be given back", function()
    local first, second = atoll.port(), atoll.port()
    assert.is_true(atoll.register("spec.one", first:sender()))
    assert.same({ nil, "taken", "EEXIST" },
      { atoll.register("spec.one", second:sender()) })
    assert.is_true(atoll.register("spec.one", nil))
    assert.is_nil((atoll.lookup "spec.one"))
    assert.is_true(atoll.register("spec.one", second:sender()))
    second:close()
    assert.is_true(atoll.register("spec.one", first:sender()))
    local sender = first:sender()
    first:close()
    assert.same({ nil, "closed", "ECLOSED" }, { atoll.register("spec.two", sender) })
  end)

  it("is text", function()
    local port = atoll.port()
    for _, name in ipairs { "", ("x"):rep(256), {} } do
      assert.has_error(function() atoll.register(name, port:sender()) end)
      assert.has_error(function() atoll.lookup(name) end)
    end
    assert.has_error(function() atoll.register("spec.x", 7) end)
    assert.is_true(atoll.register("a\0b", port:sender()))
    assert.is_nil((atoll.lookup "a"))
    assert.truthy(atoll.lookup "a\0b")
  end)

  it("is found among thousands, of which most are gone", function()
    for round = 1, 20 do
      local ports = {}
      for i = 1, 200 do
        ports[i] = atoll.port()
        assert(atoll.register(("spec.%d.%d"):format(round, i), ports[i]:sender()))
      end
      for i = 1, 200 do
        assert(atoll.lookup(("spec.%d.%d"):format(round, i)) == ports[i]:sender())
        ports[i]:close()
      end
    end
  end)
end)
