-- The program's own coroutines, in which the host's waits are not seen.
local atoll = require "atoll"
local whole = require "support.whole"

local function wait() atoll.sleep(0) end

local function closer(fn)
  return setmetatable({}, { __close = fn })
end

setup(whole.begin)
teardown(whole.over)

describe("a coroutine", function()
  it("passes values both ways with waits in between", function()
    local co = coroutine.create(function(...)
      wait()
      local a = coroutine.yield(...)
      wait()
      local b, c = coroutine.yield(a)
      wait()
      return b, c
    end)
    assert.same({ true, 1, 2 }, { coroutine.resume(co, 1, 2) })
    assert.same({ true, "a" }, { coroutine.resume(co, "a") })
    assert.same({ true, "b", "c" }, { coroutine.resume(co, "b", "c") })
    assert.equal("dead", coroutine.status(co))
    assert.same({ false, "cannot resume dead coroutine" }, { coroutine.resume(co) })
  end)

  it("waits at any depth", function()
    local function nest(depth)
      if depth == 0 then
        wait()
        return "deep"
      end
      return coroutine.wrap(nest)(depth - 1)
    end
    assert.equal("deep", nest(100))
  end)

  it("may be a for loop's iterator that waits", function()
    local seen = {}
    for i in coroutine.wrap(function()
      for i = 1, 3 do
        wait()
        coroutine.yield(i)
        wait()
      end
    end) do
      wait()
      seen[#seen + 1] = i
    end
    assert.same({ 1, 2, 3 }, seen)
  end)

  it("fails as Lua's do, after a wait too", function()
    local co = coroutine.create(function()
      wait()
      error("broken", 0)
    end)
    assert.same({ false, "broken" }, { coroutine.resume(co) })
    local closed = false
    local wrapped = coroutine.wrap(function()
      local _ <close> = closer(function() closed = true end)
      wait()
      error("broken", 0)
    end)
    local _, err = pcall(function() wrapped() end)
    assert.matches("^[^:]*coroutine_spec.lua:%d+: broken$", err)
    assert.is_true(closed)
    local object = {}
    _, err = pcall(coroutine.wrap(function() wait() error(object) end))
    assert.equal(object, err)
  end)

  it("reports stack overflow from too many nested ones as an error", function()
    local function nest() return coroutine.wrap(nest)() end
    local ok, err = pcall(nest)
    assert.is_false(ok)
    assert.matches("C stack overflow", err)
    local function nest_waiting()
      wait()
      return coroutine.wrap(nest_waiting)()
    end
    ok, err = pcall(nest_waiting)
    assert.is_false(ok)
    assert.matches("C stack overflow", err)
  end)

  it("refuses what Lua refuses", function()
    assert.has_error(function() coroutine.resume() end)
    assert.has_error(function() coroutine.create(1) end)
    assert.has_error(function() coroutine.wrap() end)
    assert.has_error(function() coroutine.status(1) end)
    local co
    co = coroutine.create(function() return coroutine.resume(co) end)
    assert.same({ true, false, "cannot resume non-suspended coroutine" },
      { coroutine.resume(co) })
    co = coroutine.create(function() return pcall(coroutine.close, co) end)
    assert.same({ true, false, "cannot close a running coroutine" },
      { coroutine.resume(co) })
  end)

  it("has the status that Lua gives it", function()
    local co, inner
    co = coroutine.create(function()
      assert.equal("running", coroutine.status(co))
      inner = coroutine.create(function()
        assert.equal("normal", coroutine.status(co))
        assert.error_matches(function() coroutine.close(co) end,
          "cannot close a normal coroutine")
      end)
      assert(coroutine.resume(inner))
      coroutine.yield()
    end)
    assert.equal("suspended", coroutine.status(co))
    assert(coroutine.resume(co))
    assert.equal("suspended", coroutine.status(co))
    assert(coroutine.resume(co))
    assert.equal("dead", coroutine.status(co))
  end)

  it("is closed with its variables", function()
    local log = {}
    local co = coroutine.create(function()
      local _ <close> = closer(function() log[#log + 1] = "first" end)
      local _ <close> = closer(function() log[#log + 1] = "second" end)
      coroutine.yield()
    end)
    coroutine.resume(co)
    assert.is_true(coroutine.close(co))
    assert.same({ "second", "first" }, log)
    assert.equal("dead", coroutine.status(co))
    co = coroutine.create(function()
      local _ <close> = closer(function() error("closing", 0) end)
      coroutine.yield()
    end)
    coroutine.resume(co)
    assert.same({ false, "closing" }, { coroutine.close(co) })
  end)
end)

describe("a fiber", function()
  it("looks like the main thread", function()
    local co, is_main = coroutine.running()
    assert.equal("thread", type(co))
    assert.is_true(is_main)
    assert.is_false(coroutine.isyieldable())
    assert.error_matches(function() coroutine.yield() end,
      "attempt to yield from outside a coroutine")
    coroutine.wrap(function()
      assert.is_true(coroutine.isyieldable())
      local _, inner_is_main = coroutine.running()
      assert.is_false(inner_is_main)
    end)()
  end)

  it("cannot be resumed or closed by another", function()
    local co
    local go = false
    local task = atoll.spawn(function()
      co = coroutine.running()
      while not go do wait() end
      return "whole"
    end)
    wait()
    assert.same({ false, "cannot resume non-suspended coroutine" },
      { coroutine.resume(co) })
    assert.has_error(function() coroutine.close(co) end)
    go = true
    assert.equal("whole", task:join())
  end)
end)

describe("a coroutine that waits", function()
  -- A task in which outer has resumed inner, which waits.
  local function start()
    local s = { log = {} }
    s.inner = coroutine.create(function()
      local _ <close> = closer(function() s.log[#s.log + 1] = "closed" end)
      atoll.timeout(1000, atoll.sleep, 1000)
      s.log[#s.log + 1] = "went on"
    end)
    s.outer = coroutine.create(function() return coroutine.resume(s.inner) end)
    s.task = atoll.spawn(function() return coroutine.resume(s.outer) end)
    wait()
    return s
  end

  it("cannot be resumed by another fiber", function()
    local s = start()
    assert.equal("suspended", coroutine.status(s.inner))
    assert.equal("normal", coroutine.status(s.outer))
    assert.same({ false, "cannot resume a coroutine that is waiting" },
      { coroutine.resume(s.inner) })
    assert.same({ false, "cannot resume non-suspended coroutine" },
      { coroutine.resume(s.outer) })
    assert.has_error(function() coroutine.close(s.outer) end,
      "cannot close a normal coroutine")
    s.task:cancel()
    local ok, inner_ok, err = s.task:join()
    assert.same({ true, false, "ECANCELED" }, { ok, inner_ok, err.code })
    assert.same({}, s.log) -- as in Lua: coroutine.resume closes nothing
  end)

  it("is called off when another fiber closes it", function()
    local s = start()
    assert.is_true(coroutine.close(s.inner))
    assert.equal("dead", coroutine.status(s.inner))
    assert.same({ true, false, "cannot resume dead coroutine" }, { s.task:join() })
    assert.same({ "closed" }, s.log)
  end)

  it("keeps the fiber's other time limits", function()
    local co
    local task = atoll.spawn(function()
      return atoll.timeout(1000, function()
        co = coroutine.create(function() atoll.timeout(1000, atoll.sleep, 1000) end)
        coroutine.resume(co)
        return select(3, atoll.timeout(0.001, atoll.sleep, 1000))
      end)
    end)
    wait()
    coroutine.close(co)
    assert.equal("ETIMEDOUT", task:join())
  end)
end)
