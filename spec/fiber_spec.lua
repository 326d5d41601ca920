-- Waiting: atoll.sleep, spawn and timeout, and where a wait can and cannot stand.
local atoll = require "atoll"
local whole = require "support.whole"

-- A value whose closing is told to fn.
local function closer(fn)
  return setmetatable({}, { __close = fn })
end

-- Runs fn in a task whose failure is nobody's concern but ours.
local function spawn(fn, ...)
  return atoll.spawn(fn, ...):quiet()
end

setup(whole.begin)
teardown(whole.over)

describe("sleep", function()
  it("lasts at least as long as it is told", function()
    local before = atoll.now()
    atoll.sleep(0.02)
    assert.is_true(atoll.now() - before >= 0.02)
  end)

  it("wakes sleepers in the order of their times", function()
    local times = { 0.03, 0.01, 0.02 }
    local order, begun, tasks = {}, {}, {}
    for i = 1, 4 do
      tasks[i] = spawn(function()
        begun[i] = atoll.now() -- whenever it has its turn
        if not times[i] then return end
        atoll.sleep(times[i])
        order[#order + 1] = i
      end)
    end
    for _, task in ipairs(tasks) do task:join() end
    assert.equal(3, #order)
    for i = 1, 2 do -- each has fallen asleep before the next one had its turn
      local first, second = order[i], order[i + 1]
      assert.is_true(begun[first] + times[first]
        <= begun[second + 1] + times[second])
    end
  end)

  it("of 0 lets everybody else run once", function()
    local log = {}
    local function twice(name)
      log[#log + 1] = name
      atoll.sleep(0)
      log[#log + 1] = name
    end
    local a, b = spawn(twice, "a"), spawn(twice, "b")
    a:join()
    b:join()
    assert.same({ "a", "b", "a", "b" }, log)
  end)

  it("refuses what is no time", function()
    assert.has_error(function() atoll.sleep(-1) end)
    assert.has_error(function() atoll.sleep(0 / 0) end)
    assert.has_error(function() atoll.sleep("soon") end)
    assert.has_error(function() atoll.sleep() end)
  end)
end)

describe("a task", function()
  it("gives its results to every join, nils included", function()
    local task = spawn(function(...)
      atoll.sleep(0)
      return ...
    end, 1, nil, 3, nil)
    local other = spawn(function() return select("#", task:join()) end)
    assert.same({ n = 4, 1, nil, 3, nil }, table.pack(task:join()))
    assert.equal(4, other:join())
    assert.equal("done", task:status())
    assert.equal(4, select("#", task:join()))
  end)

  it("gives its error with a code and a traceback", function()
    local function breaks() error("broken") end
    local task = spawn(function()
      breaks()
      return 1
    end)
    local value, message, code, traceback = task:join()
    assert.is_nil(value)
    assert.matches("fiber_spec.lua:%d+: broken", message)
    assert.equal("ELUA", code)
    assert.matches("in upvalue 'breaks'", traceback)
    assert.equal("failed", task:status())
  end)

  it("gives the text of an error that is an object", function()
    local object = setmetatable({}, { __tostring = function() return "an object" end })
    assert.equal("an object", select(2, spawn(error, object):join()))
    assert.is_string((select(2, spawn(error, nil):join())))
    assert.is_string((select(2, spawn(error, {}):join())))
  end)

  it("joined with a limit goes on after it", function()
    local go = false
    local task = spawn(function()
      while not go do atoll.sleep(0.001) end
      return "there"
    end)
    assert.same({ n = 3, nil, "timed out", "ETIMEDOUT" }, table.pack(task:join(0.005)))
    assert.same({ n = 3, nil, "timed out", "ETIMEDOUT" }, table.pack(task:join(0)))
    go = true
    assert.equal("there", task:join())
  end)

  it("cannot join itself", function()
    local task
    task = spawn(function() return task:join() end)
    assert.matches("cannot join itself", (select(2, task:join())))
  end)

  it("starts after its starter gives way", function()
    local ran = false
    local task = spawn(function() ran = true end)
    assert.is_false(ran)
    assert.equal("waiting", task:status())
    task:join()
    assert.is_true(ran)
  end)

  it("may be forgotten while it runs and after", function()
    local ended = 0
    for _ = 1, 100 do
      spawn(function()
        atoll.sleep(0)
        ended = ended + 1
      end)
    end
    collectgarbage()
    while ended < 100 do atoll.sleep(0) end
    collectgarbage()
    assert.equal(100, ended)
  end)

  it("does not leave its coroutine's name to the next one", function()
    local first, seen = nil, {}
    spawn(function() first = coroutine.running() end):join()
    for _ = 1, 10 do
      spawn(function() seen[coroutine.running()] = true end):join()
    end
    assert.is_nil(seen[first])
    assert.equal("dead", coroutine.status(first))
  end)
end)

describe("cancel", function()
  it("ends the wait, closes what is to be closed, and is told to the joiner", function()
    local closed = false
    local task = spawn(function()
      local _ <close> = closer(function() closed = true end)
      atoll.sleep(1000)
    end)
    atoll.sleep(0)
    assert.is_true(task:cancel())
    assert.same({ n = 3, nil, "cancelled", "ECANCELED" }, table.pack(task:join()))
    assert.is_true(closed)
    assert.equal("cancelled", task:status())
    assert.is_false(task:cancel())
  end)

  it("is raised again at each later wait", function()
    local errors = {}
    local task = spawn(function()
      for i = 1, 3 do
        local _, err = pcall(atoll.sleep, 1000)
        errors[i] = tostring(err) .. " " .. err.code
      end
      return "ended by itself"
    end)
    atoll.sleep(0)
    task:cancel()
    assert.equal("ended by itself", task:join())
    local each = "cancelled ECANCELED"
    assert.same({ each, each, each }, errors)
  end)

  it("of one that has not started ends it at its first wait", function()
    local at
    local task = spawn(function()
      at = "before"
      atoll.sleep(0)
      at = "after"
    end)
    task:cancel()
    assert.equal("ECANCELED", (select(3, task:join())))
    assert.equal("before", at)
  end)

  it("reaches through coroutines", function()
    local closed = {}
    local task = spawn(function()
      local _ <close> = closer(function() closed[#closed + 1] = "outer" end)
      coroutine.wrap(function()
        local _ <close> = closer(function() closed[#closed + 1] = "inner" end)
        atoll.sleep(1000)
      end)()
    end)
    atoll.sleep(0)
    task:cancel()
    task:join()
    assert.same({ "inner", "outer" }, closed)
  end)
end)

describe("timeout", function()
  it("gives the results of what is in time", function()
    local results = table.pack(atoll.timeout(1000, function(...)
      atoll.sleep(0)
      return ...
    end, 1, nil))
    assert.same({ n = 2, 1, nil }, results)
  end)

  it("ends what is not, and closes what is to be closed", function()
    local closed
    local results = table.pack(atoll.timeout(0.005, function()
      local _ <close> = closer(function(_, err) closed = tostring(err) end)
      atoll.sleep(1000)
    end))
    assert.same({ n = 3, nil, "timed out", "ETIMEDOUT" }, results)
    assert.equal("timed out", closed)
  end)

  it("of an inner scope leaves the outer one as it is", function()
    local inner, after
    local outer = atoll.timeout(1000, function()
      inner = select(3, atoll.timeout(0.005, atoll.sleep, 1000))
      atoll.sleep(0)
      after = true
      return "outer"
    end)
    assert.equal("ETIMEDOUT", inner)
    assert.is_true(after)
    assert.equal("outer", outer)
  end)

  it("of an outer scope passes through inner ones", function()
    local reached = false
    local _, _, code = atoll.timeout(0.005, function()
      atoll.timeout(1000, atoll.sleep, 1000)
      reached = true
    end)
    assert.equal("ETIMEDOUT", code)
    assert.is_false(reached)
  end)

  it("is raised again where a pcall has caught it", function()
    local caught = {}
    local result = atoll.timeout(0.005, function()
      for i = 1, 2 do caught[i] = select(2, pcall(atoll.sleep, 1000)).code end
      return "own way"
    end)
    assert.same({ "ETIMEDOUT", "ETIMEDOUT" }, caught)
    assert.equal("own way", result)
  end)

  it("that is over during a computation is noticed at the next wait", function()
    local _, _, code = atoll.timeout(0.005, function()
      local start = atoll.now()
      while atoll.now() - start < 0.006 do end -- luacheck: ignore
      atoll.sleep(0)
    end)
    assert.equal("ETIMEDOUT", code)
  end)

  it("passes errors and a cancel on", function()
    assert.has_error(function() atoll.timeout(1, error, "own", 0) end, "own")
    local task = spawn(atoll.timeout, 1000, atoll.sleep, 1000)
    atoll.sleep(0)
    task:cancel()
    assert.equal("ECANCELED", (select(3, task:join())))
  end)

  it("cannot be yielded out of", function()
    local co = coroutine.wrap(function()
      atoll.timeout(1, coroutine.yield)
    end)
    assert.error_matches(co, "attempt to yield out of atoll.timeout")
    local inner = coroutine.wrap(function()
      return atoll.timeout(1, function()
        local generate = coroutine.wrap(function() coroutine.yield(7) end)
        return generate()
      end)
    end)
    assert.equal(7, inner())
  end)
end)

describe("a wait", function()
  local function wait() atoll.sleep(0) end

  it("passes through pcall, metamethods, iterators, dofile and closing", function()
    local steps = 0
    local function step() wait() steps = steps + 1 end
    local meta = { __index = step, __add = step, __concat = step, __eq = step,
      __lt = step, __call = step, __close = step, __newindex = step, __len = step,
      __unm = step }
    local a, b = setmetatable({}, meta), setmetatable({}, meta)
    local _ = { a.x, a + b, a .. b, a == b, a < b, a(), -a, #a }
    a.y = 1
    do local _ <close> = a end
    for _ in function() step() end do error("no turn") end
    pcall(step)
    xpcall(step, debug.traceback)
    select(2, pcall(pcall, pcall, step))
    local name = os.tmpname()
    local file <close> = assert(io.open(name, "w"))
    file:write("(...)()")
    file:close()
    _G.step = nil
    assert(loadfile(name))(step)
    os.remove(name)
    assert.equal(15, steps)
  end)

  it("names the place that does not let it through", function()
    local function refused(place, fn, ...)
      local ok, err, message = pcall(fn, ...)
      if ok then ok, err = err, message end
      assert.is_falsy(ok)
      assert.matches("cannot wait inside " .. place, err)
    end
    refused("table.sort", table.sort, { 3, 2, 1 }, wait)
    refused("string.gsub", string.gsub, "a", ".", wait)
    refused("string.gsub", function() return ("a"):gsub(".", wait) end)
    local object = setmetatable({}, { __tostring = wait, __index = wait,
      __len = function() return 1 end })
    refused("tostring", tostring, object)
    refused("string.format", string.format, "%s", object)
    refused("table.concat", table.concat, object)
    refused("[%w.]*load", load, wait) -- it may have several names
  end)

  it("names it also from a coroutine that was resumed there", function()
    local inside
    table.sort({ 2, 1 }, function()
      inside = table.pack(coroutine.resume(coroutine.create(function()
        return pcall(coroutine.wrap(wait))
      end)))
      return false
    end)
    assert.is_true(inside[1])
    assert.is_false(inside[2])
    assert.matches("cannot wait inside table.sort", inside[3])
    wait()
  end)

  it("in a finalizer is refused", function()
    local err
    setmetatable({}, { __gc = function() err = select(2, pcall(wait)) end })
    collectgarbage()
    assert.matches("cannot wait inside a finalizer", err)
  end)

  it("in a debug hook is refused", function()
    local err
    debug.sethook(function()
      debug.sethook()
      err = select(2, pcall(wait))
    end, "", 1)
    for _ = 1, 10 do end -- luacheck: ignore
    assert.matches("cannot wait inside a debug hook", err)
  end)

  it("of thousands of fibers at once ends for each", function()
    local count, tasks = 0, {}
    for i = 1, 2000 do
      tasks[i] = spawn(function()
        atoll.sleep(0.001 * (i % 7))
        count = count + 1
      end)
    end
    for _, task in ipairs(tasks) do task:join() end
    assert.equal(2000, count)
  end)
end)
