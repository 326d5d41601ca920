-- Fibers that wait for one another: semaphores and channels.
local atoll = require "atoll"
local whole = require "support.whole"

local function spawn(fn, ...)
  return atoll.spawn(fn, ...):quiet()
end

-- Lets everybody who can run do so.
local function settle()
  for _ = 1, 5 do atoll.sleep(0) end
end

local function packed(...) return table.pack(...) end

local TIMED_OUT = { n = 3, nil, "timed out", "ETIMEDOUT" }
local CLOSED = { n = 3, nil, "closed", "ECLOSED" }

describe("a semaphore", function()
  setup(whole.begin)
  teardown(whole.over)

  it("lets so many in, the others one after another", function()
    local sem, inside, most, order, tasks = atoll.semaphore(2), 0, 0, {}, {}
    for i = 1, 6 do
      tasks[i] = spawn(function()
        local _ <close> = sem:acquire()
        inside = inside + 1
        most = math.max(most, inside)
        order[#order + 1] = i
        atoll.sleep(0.001)
        inside = inside - 1
      end)
    end
    for _, task in ipairs(tasks) do task:join() end
    assert.equal(2, most)
    assert.same({ 1, 2, 3, 4, 5, 6 }, order)
    assert.matches("2 of 2 free", tostring(sem))
  end)

  it("does not let a newcomer in before who waits", function()
    local sem, order = atoll.semaphore(1), {}
    sem:acquire()
    local waiting = spawn(function()
      sem:acquire()
      order[#order + 1] = "who waited"
      sem:release()
    end)
    settle()
    sem:release()
    local none = { n = 3, nil, "no permit is free", "EAGAIN" }
    assert.same(none, packed(sem:try_acquire()))
    local newcomer = spawn(function()
      sem:acquire()
      order[#order + 1] = "newcomer"
      sem:release()
    end)
    newcomer:join()
    waiting:join()
    assert.same({ "who waited", "newcomer" }, order)
    assert.equal(sem, sem:try_acquire())
  end)

  it("gives up after a time", function()
    local sem = atoll.semaphore(1)
    assert.equal(sem, sem:acquire(0))
    assert.same(TIMED_OUT, packed(sem:acquire(0.002)))
    assert.same(TIMED_OUT, packed(sem:acquire(0)))
    sem:release()
    assert.equal(sem, sem:acquire(0.002))
  end)

  it("passes a permit on when the one who was given it is cancelled", function()
    local sem, got = atoll.semaphore(1), {}
    local function wait(name)
      local _ <close> = sem:acquire()
      got[#got + 1] = name
    end
    sem:acquire()
    local first, second = spawn(wait, "first"), spawn(wait, "second")
    settle()
    sem:release()  -- to the first, which does not run before it is cancelled
    first:cancel()
    assert.equal("ECANCELED", (select(3, first:join())))
    second:join()
    assert.same({ "second" }, got)
    assert.matches("1 of 1 free", tostring(sem))
  end)

  it("passes it on when a time limit was over by then", function()
    local sem = atoll.semaphore(1)
    sem:acquire()
    local limited = spawn(function() return atoll.timeout(0.05, sem.acquire, sem) end)
    settle()
    local stop = atoll.now() + 0.05
    while atoll.now() < stop do end -- luacheck: ignore
    sem:release() -- the time is over, though nobody has looked yet
    assert.equal("ETIMEDOUT", (select(3, limited:join())))
    assert.matches("1 of 1 free", tostring(sem))
  end)

  it("passes it on when a coroutine is closed", function()
    local sem, inside = atoll.semaphore(1), nil
    sem:acquire()
    local task = spawn(function()
      inside = coroutine.create(function() sem:acquire() end)
      coroutine.resume(inside)
    end)
    settle()
    sem:release()
    task:cancel()
    task:join()
    assert.matches("0 of 1 free", tostring(sem))
    coroutine.close(inside)
    assert.matches("1 of 1 free", tostring(sem))
  end)

  it("is given back by a coroutine that died and was forgotten", function()
    local sem = atoll.semaphore(1)
    sem:acquire()
    local task = spawn(function()
      coroutine.resume(coroutine.create(function() sem:acquire() end))
    end)
    settle()
    sem:release()
    task:cancel()
    task:join()
    collectgarbage()
    collectgarbage()
    assert.matches("1 of 1 free", tostring(sem))
  end)

  it("releases after with(), also when it fails", function()
    local sem = atoll.semaphore(1)
    local function add(a, b) atoll.sleep(0) return a + b, nil end
    assert.same({ n = 2, 3, nil }, packed(sem:with(add, 1, 2)))
    local a, b = spawn(sem.with, sem, add, 3, 4), spawn(sem.with, sem, add, 5, 6)
    assert.equal(7, (a:join()))
    assert.equal(11, (b:join()))
    assert.has_error(function() sem:with(error, "own", 0) end, "own")
    local endless = spawn(sem.with, sem, atoll.sleep, 1000)
    local waiting = spawn(sem.with, sem, add, 7, 8)
    settle()
    endless:cancel()
    assert.equal(15, (waiting:join()))
    assert.matches("1 of 1 free", tostring(sem))
  end)

  it("refuses a release too many, and what is no number of permits", function()
    local sem = atoll.semaphore(1)
    assert.error_matches(function() sem:release() end, "more often than acquired")
    assert.error_matches(function() atoll.semaphore(0) end, "at least one")
    assert.has_error(function() atoll.semaphore "many" end)
    assert.has_error(function() sem:acquire(-1) end)
  end)
end)

describe("a channel", function()
  setup(whole.begin)
  teardown(whole.over)

  it("hands values over in order", function()
    for _, capacity in ipairs { 0, 1, 3, 100 } do
      local ch, got = atoll.channel(capacity), {}
      local sender = spawn(function()
        for i = 1, 20 do assert(ch:send(i)) end
        ch:close()
      end)
      for v in ch:values() do
        got[#got + 1] = v
        if v % 3 == 0 then atoll.sleep(0) end
      end
      sender:join()
      assert.equal(20, #got)
      for i = 1, 20 do assert.equal(i, got[i]) end
    end
  end)

  it("of 0 lets its sender wait for the one who takes", function()
    local ch, log = atoll.channel(0), {}
    local sender = spawn(function()
      ch:send "value"
      log[#log + 1] = "sent"
    end)
    settle()
    assert.same({}, log)
    assert.same({ n = 3, nil, "full", "EAGAIN" }, packed(ch:try_send "more"))
    assert.equal("value", ch:receive())
    sender:join()
    assert.same({ "sent" }, log)
  end)

  it("of n lets n be sent ahead", function()
    local ch = atoll.channel(2)
    assert.is_true(ch:send(1))
    assert.is_true(ch:try_send(2))
    assert.same(TIMED_OUT, packed(ch:send(3, 0.002)))
    assert.equal(1, ch:receive())
    assert.is_true(ch:send(4))
    assert.equal(2, ch:receive())
    assert.equal(4, ch:receive())
    assert.same({ n = 3, nil, "empty", "EAGAIN" }, packed(ch:try_receive()))
    assert.same(TIMED_OUT, packed(ch:receive(0.002)))
  end)

  it("serves senders and receivers in their order", function()
    local ch, got, tasks = atoll.channel(), {}, {}
    for i = 1, 5 do
      tasks[i] = spawn(function() got[i] = ch:receive() end)
    end
    settle()
    for i = 1, 5 do ch:send(i * 10) end
    for _, task in ipairs(tasks) do task:join() end
    assert.same({ 10, 20, 30, 40, 50 }, got)
    for i = 1, 5 do tasks[i] = spawn(ch.send, ch, i) end
    settle()
    for i = 1, 5, 2 do
      assert.equal(i, ch:receive())
      assert.equal(i < 5 and i + 1 or nil, (ch:try_receive()))
    end
  end)

  it("loses nothing when a receiver is cancelled with a value in hand", function()
    local ch, got = atoll.channel(), {}
    local function receive(name) got[name] = ch:receive() end
    local first, second = spawn(receive, "first"), spawn(receive, "second")
    settle()
    ch:send "a"
    first:cancel()
    first:join()
    second:join()
    assert.same({ second = "a" }, got)
    local third = spawn(receive, "third")
    settle()
    ch:send "b"
    third:cancel()
    third:join()
    assert.matches("1 of 0", tostring(ch))
    assert.is_true(spawn(ch.send, ch, "c"):cancel())
    assert.equal("b", ch:receive())
  end)

  it("takes back what a sender did not get rid of", function()
    local ch = atoll.channel(1)
    ch:send "kept"
    local task = spawn(ch.send, ch, "taken back")
    local later = spawn(ch.send, ch, "later")
    settle()
    task:cancel()
    task:join()
    assert.equal("kept", ch:receive())
    assert.is_true((later:join()))
    assert.equal("later", ch:receive())
    assert.same(TIMED_OUT, packed(ch:receive(0)))
  end)

  it("closed gives what is left, then says so to all", function()
    local ch = atoll.channel(2)
    ch:send(1)
    ch:send(false)
    local sender = spawn(ch.send, ch, 3)
    settle()
    ch:close()
    ch:close()
    assert.same(CLOSED, packed(sender:join()))
    assert.same(CLOSED, packed(ch:send(4)))
    assert.same(CLOSED, packed(ch:try_send(4)))
    assert.equal(1, ch:receive())
    assert.is_false(ch:try_receive())
    assert.same(CLOSED, packed(ch:receive()))
    assert.same(CLOSED, packed(ch:try_receive()))
    for _ in ch:values() do error "there is none" end
    local other = atoll.channel()
    local receiver = spawn(other.receive, other)
    settle()
    do local _ <close> = other end
    assert.same(CLOSED, packed(receiver:join()))
  end)

  it("cannot send nil, nor hold less than nothing", function()
    local ch = atoll.channel(1)
    assert.error_matches(function() ch:send(nil) end, "nil cannot be sent")
    assert.error_matches(function() ch:try_send() end, "nil cannot be sent")
    assert.has_error(function() atoll.channel(-1) end)
    assert.has_error(function() ch:receive "soon" end)
  end)

  it("keeps its values where nobody else looks", function()
    local ch = atoll.channel(1)
    local weak = setmetatable({ {} }, { __mode = "v" })
    ch:send(weak[1])
    collectgarbage()
    assert.is_table(weak[1])
    ch:receive()
    collectgarbage()
    assert.is_nil(weak[1])
  end)

  -- Numbers of values go up by ten million and more in a day.
  it("does not grow with what has passed through", function()
    local ch = atoll.channel(10)
    local function pass(n)
      for i = 1, n do
        ch:send(i)
        ch:receive()
      end
      collectgarbage()
      return collectgarbage "count"
    end
    local before = pass(2000)
    assert.is_true(pass(20000) - before < 8)
  end)
end)

describe("semaphores and channels", function()
  local random = math.random

  local function now_and_then()
    if random(3) == 1 then atoll.sleep(random(3) == 1 and random() * 0.001 or 0) end
  end

  -- Fibers that do some of the list's steps, many of which are cancelled on their way.
  local function crowd(steps)
    local tasks = {}
    for i = 1, 200 do
      tasks[i] = atoll.spawn(function()
        for _ = 1, random(4) do
          steps[random(#steps)]()
          now_and_then()
        end
      end):quiet()
      if random(3) == 1 then tasks[random(i)]:cancel() end
      now_and_then()
    end
    for _ = 1, 100 do
      tasks[random(#tasks)]:cancel()
      now_and_then()
    end
    return tasks
  end

  local function no_error(tasks)
    for _, task in ipairs(tasks) do
      local _, message, code = task:join()
      assert.not_equal("ELUA", code, message)
    end
  end

  it("lose no permit, whoever is cancelled when", function()
    for limit = 1, 3 do
      local sem, inside = atoll.semaphore(limit), {}
      local function count()
        local n = 0
        for _ in pairs(inside) do n = n + 1 end
        return n
      end
      -- Who is suspended may be cancelled anywhere: so nothing is counted up and down.
      local function work()
        local me <close> = setmetatable({}, { __close = function(me)
          inside[me] = nil
        end })
        inside[me] = true
        assert(count() <= limit)
        now_and_then()
      end
      local function held(...)
        local permit <close> = sem:acquire(...)
        if permit then work() end
      end
      no_error(crowd {
        held,
        function() held(random() * 0.001) end,
        function() sem:with(work) end,
        function() atoll.timeout(random() * 0.001, held) end,
        function() coroutine.wrap(held)() end,
        function()
          local permit <close> = sem:try_acquire()
          if permit then work() end
        end,
      })
      assert.equal(0, count())
      assert.matches(("%d of %d free"):format(limit, limit), tostring(sem))
    end
  end)

  it("lose no value, and give none twice", function()
    for capacity = 0, 3 do
      local ch, count, sent, got = atoll.channel(capacity), 0, {}, {}
      local function send(method, ...)
        count = count + 1
        local value = count
        if method(ch, value, ...) then sent[value] = true end
      end
      local function receive(method, ...)
        local value = method(ch, ...)
        if not value then return end
        assert(not got[value])
        got[value] = true
      end
      local tasks = crowd {
        function() send(ch.send, random() * 0.002) end,
        function() send(ch.try_send) end,
        function() atoll.timeout(random() * 0.001, send, ch.send) end,
        function() receive(ch.receive, random() * 0.002) end,
        function() receive(ch.try_receive) end,
        function() atoll.timeout(random() * 0.001, receive, ch.receive) end,
      }
      no_error(tasks)
      ch:close()
      for value in ch:values() do
        assert(not got[value])
        got[value] = true
      end
      for value in pairs(sent) do assert(got[value], value) end
    end
  end)
end)
