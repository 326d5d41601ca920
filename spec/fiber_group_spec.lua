-- Several fibers at once: atoll.all, any, after, and the way they end together.
local atoll = require "atoll"
local whole = require "support.whole"

local function closer(fn)
  return setmetatable({}, { __close = fn })
end

local function after(seconds, ...)
  local results = table.pack(...)
  return function()
    atoll.sleep(seconds)
    return table.unpack(results, 1, results.n)
  end
end

-- A function that waits until it is cancelled, and the table that tells of it.
local function endless()
  local seen = {}
  return function()
    local _ <close> = closer(function() seen.closed = true end)
    seen.began = true
    atoll.sleep(1000)
  end, seen
end

local function packed(...) return table.pack(...) end

setup(whole.begin)
teardown(whole.over)

describe("all", function()
  it("runs all at once and gives each result at its place", function()
    local begun, list = 0, {}
    for i = 1, 50 do
      list[i] = function()
        begun = begun + 1
        while begun < 50 do atoll.sleep(0) end
        return i * i, "more"
      end
    end
    local results = atoll.all(list)
    assert.equal(50, #results)
    assert.equal(49, results[7])
  end)

  it("knows names, tasks, nil and nothing at all", function()
    assert.same({ user = "ann", cart = 3, [1] = false }, atoll.all {
      function() return false end,
      user = after(0.002, "ann"),
      cart = atoll.spawn(after(0.001, 3)),
      empty = function() end,
    })
    assert.same({}, atoll.all {})
  end)

  it("ends all when one raises, and gives what it raised", function()
    local other, seen = endless()
    local value, message, code, traceback = atoll.all {
      other,
      function()
        atoll.sleep(0.002)
        error "broken"
      end,
    }
    assert.is_nil(value)
    assert.matches("fiber_group_spec.lua:%d+: broken", message)
    assert.equal("ELUA", code)
    assert.matches("traceback", traceback)
    atoll.sleep(0)
    assert.same({ began = true, closed = true }, seen)
  end)

  it("takes nil and a message for a failure", function()
    local other, seen = endless()
    assert.same({ n = 3, nil, "refused", "ECONNREFUSED" },
      packed(atoll.all { other, after(0, nil, "refused", "ECONNREFUSED") }))
    atoll.sleep(0)
    assert.is_true(seen.closed)
  end)

  it("ends its fibers when it is cancelled or its time is over", function()
    local first, seen = endless()
    local _, _, code = atoll.timeout(0.005, atoll.all, { first })
    assert.equal("ETIMEDOUT", code)
    atoll.sleep(0)
    assert.is_true(seen.closed)

    first, seen = endless()
    local task = atoll.spawn(atoll.all, { first })
    while not seen.began do atoll.sleep(0) end
    task:cancel()
    task:join()
    atoll.sleep(0)
    assert.is_true(seen.closed)
  end)

  it("refuses what is neither a function nor a task, before anything runs", function()
    local ran = false
    local _, message = pcall(atoll.all, { function() ran = true end, 7 })
    assert.matches("fiber_group_spec.lua:%d+: atoll.all%(%): 2 is a number", message)
    assert.error_matches(function() atoll.all() end, "is a table, not nil")
    atoll.sleep(0)
    assert.is_false(ran)
    local task
    task = atoll.spawn(function() return atoll.all { task } end):quiet()
    assert.matches("cannot wait for itself", (select(2, task:join())))
  end)
end)

describe("any", function()
  it("gives the first success and its key, and ends the others", function()
    local other, seen = endless()
    assert.same({ n = 2, "fast", 3 },
      packed(atoll.any { other, after(0.001, nil, "refused"), after(0.005, "fast") }))
    atoll.sleep(0)
    assert.is_true(seen.closed)
    assert.same({ n = 2, 1, "b" }, packed(atoll.any { b = after(0, 1) }))
  end)

  it("takes the one that ended first, whatever its place", function()
    local function at_once(i) return function() return i end end
    local _, which = atoll.any { after(0, 1), at_once(2), at_once(3) }
    assert.equal(2, which)
    local done = atoll.spawn(at_once(1))
    done:join()
    assert.same({ 1, 2 }, { atoll.any { after(0, 0), done } })
  end)

  it("gives the last failure when all have failed", function()
    assert.same({ n = 3, nil, "second", "E2" },
      packed(atoll.any {
        after(0.01, nil, "second", "E2"), after(0, nil, "first", "E1"),
      }))
    local _, message = atoll.any { function() error("own", 0) end }
    assert.equal("own", message)
    assert.error_matches(function() atoll.any {} end, "nothing to wait for")
  end)
end)

describe("after", function()
  it("calls with its arguments, later", function()
    local before = atoll.now()
    local function count(...) return select("#", ...), ... end
    local task = atoll.after(0.01, count, 1, nil)
    assert.equal("waiting", task:status())
    assert.same({ n = 3, 2, 1, nil }, packed(task:join()))
    assert.is_true(atoll.now() - before >= 0.01)
    assert.equal(7, atoll.after(0, function() return 7 end):join())
  end)

  it("does not call when it was cancelled", function()
    local called = false
    local task = atoll.after(0.001, function() called = true end)
    assert.is_true(task:cancel())
    assert.equal("ECANCELED", (select(3, task:join())))
    local started = atoll.after(0, function() called = true end)
    started:cancel()
    started:join()
    atoll.sleep(0.005)
    assert.is_false(called)
  end)

  it("refuses what is no time or no function", function()
    assert.has_error(function() atoll.after(-1, print) end)
    assert.has_error(function() atoll.after(1) end)
  end)
end)

describe("timeout scopes", function()
  it("end from the outside in, however deep", function()
    local log = {}
    local function scope(depth, seconds)
      if depth == 0 then return atoll.sleep(1000) end
      local results = packed(atoll.timeout(seconds[depth], scope, depth - 1, seconds))
      log[#log + 1] = depth .. ":" .. tostring(results[3])
      atoll.sleep(0)
      return "left " .. depth
    end
    assert.equal("left 3", scope(3, { 1000, 0.01, 1000 }))
    assert.same({ "2:ETIMEDOUT", "3:nil" }, log)
  end)

  it("of the same time are told to the outermost", function()
    local inner
    local _, _, code = atoll.timeout(0.005, function()
      inner = packed(atoll.timeout(0.005, atoll.sleep, 1000))
    end)
    assert.equal("ETIMEDOUT", code)
    assert.is_nil(inner)
  end)
end)

describe("to-be-closed variables", function()
  it("that fail give their error in place of the cancel", function()
    local task = atoll.spawn(function()
      local _ <close> = closer(function() error("closing failed", 0) end)
      atoll.sleep(1000)
    end):quiet()
    atoll.sleep(0)
    task:cancel()
    local _, message, code = task:join()
    assert.same({ "closing failed", "ELUA" }, { message, code })
  end)

  it("are all closed, though one of them fails", function()
    local closed = {}
    local task = atoll.spawn(function()
      local _ <close> = closer(function() closed[#closed + 1] = "first" end)
      local _ <close> = closer(function() error "second" end)
      local _ <close> = closer(function() closed[#closed + 1] = "third" end)
      atoll.sleep(1000)
    end):quiet()
    atoll.sleep(0)
    task:cancel()
    task:join()
    assert.same({ "third", "first" }, closed)
  end)

  it("cannot wait any more, and are told so", function()
    local err
    local task = atoll.spawn(function()
      local _ <close> = closer(function() err = select(2, pcall(atoll.sleep, 0)) end)
      atoll.sleep(1000)
    end)
    atoll.sleep(0)
    task:cancel()
    task:join()
    assert.equal("ECANCELED", err.code)
  end)
end)
