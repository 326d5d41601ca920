-- Crashes of Lua 5.4 that were repaired after 5.4.4, each as a program would meet it:
-- the host survives, whatever Lua it is linked with. Outcomes are only checked where
-- they are the host's own.
local atoll = require "atoll"

local function closer(fn)
  return setmetatable({}, { __close = fn })
end

local function deep(n)
  if n > 0 then return 1 + deep(n - 1) end
  return 0
end

describe("Lua survives", function()
  -- Debian's backport for CVE-2022-33099 without the commit after it: luaV_concat goes
  -- on with a pointer into the stack from before the metamethod.
  it("a __concat that makes the stack grow", function()
    local meta = { __concat = function() deep(150) return "x" end }
    for i = 1, 3000 do
      local text = coroutine.wrap(function()
        return "l" .. i .. "a" .. setmetatable({}, meta) .. "a" .. i
      end)()
      assert(text == "l" .. i .. "ax")
    end
  end)

  it("a __concat that does so nested, fails or waits", function()
    local meta, round = {}, 0
    function meta.__concat(a, b)
      round = round + 1
      deep(round * 7 % 301)
      if round % 3 == 0 then
        local inner = "q" .. setmetatable({}, meta) .. "r"
        assert(inner == "qx" or inner == "x")
      end
      if round % 5 == 0 then collectgarbage("step") end
      if round % 11 == 0 then atoll.sleep(0) end
      if round % 13 == 0 then error({ a, b }) end
      return "x"
    end
    for i = 1, 3000 do
      coroutine.wrap(function()
        deep(i % 20)
        local ok, text = pcall(function()
          return "l" .. i .. "a" .. setmetatable({}, meta) .. "a" .. i
        end)
        assert(not ok or text == "l" .. i .. "ax")
      end)()
    end
  end)

  -- "C-stack overflow with deep nesting of coroutine.close" (5.4.4)
  it("a chain of coroutines that close one another", function()
    local closed, last = 0, nil
    for _ = 1, 20000 do
      local previous = last
      last = coroutine.create(function()
        local _ <close> = closer(function()
          closed = closed + 1
          if not previous then return end
          local ok, err = coroutine.close(previous)
          if not ok then error(err, 0) end
        end)
        coroutine.yield()
      end)
      assert(coroutine.resume(last))
    end
    local ok, err = coroutine.close(last)
    assert.is_false(ok)
    assert.matches("C stack overflow", err)
    assert.is_true(closed > 100)
  end)

  it("a chain of failing coroutines that close one another", function()
    local last
    for _ = 1, 20000 do
      local previous = last
      last = coroutine.wrap(function()
        local _ <close> = closer(function() if previous then pcall(previous) end end)
        error("end", 0)
      end)
    end
    assert.is_false(pcall(last))
  end)

  -- "Lua-stack overflow when C stack overflows while handling an error" (5.4.4)
  it("overflows while errors are handled", function()
    local function loop(...) return 1 + loop(...) end
    assert.is_false(xpcall(loop, function() return loop() end, 1, 2, 3))
    local function again() return xpcall(again, again) end
    pcall(again)
    local function handler(message) return handler(message) .. "x" end
    assert.is_false(xpcall(error, handler, "a"))
    assert.is_false(xpcall(string.rep, function(m) return m .. {} end, "x", -1 >> 1))
  end)

  -- "Lua can generate wrong code when _ENV is <const>" (5.4.4, CVE-2022-28805)
  it("an _ENV that is constant", function()
    for _, value in ipairs { "10", "nil", "'x'", "{}" } do
      local chunk = load("local _ENV <const> = " .. value
        .. "; X = a.b; return function() Y = a end, function() return z end")
      if chunk then pcall(chunk) end
    end
  end)

  -- "'break' may not properly close variable in a 'for' loop" (5.4.4): still so with
  -- Debian's, which may not close the variable or may raise; but it does not crash.
  it("a break out of a loop with a closing value and an upvalue", function()
    local function loop()
      for k in next, { 1 }, nil, closer(function() end) do
        local function use() return k end
        if use then break end
      end
      return deep(5)
    end
    for i = 1, 300 do
      coroutine.wrap(function()
        pcall(loop)
        deep(i)
        collectgarbage("step")
        pcall(loop)
      end)()
    end
  end)

  -- "message handler can be overwritten" (5.4.7)
  it("a coroutine closed inside an xpcall", function()
    for _, value in ipairs { 134, "text", {}, type, true } do
      local co = coroutine.create(function()
        local _ <close> = closer(function()
          local x = value
          error(x)
        end)
        xpcall(coroutine.yield, function() return "handled" end)
      end)
      assert(coroutine.resume(co))
      assert.is_false((coroutine.close(co)))
    end
  end)

  -- "Use after free in 'luaV_finishset'" (5.4.7)
  it("a __newindex that is collected while it is used", function()
    for _ = 1, 200 do
      local t = setmetatable({}, setmetatable({ __newindex = {} }, { __mode = "v" }))
      for i = 1, 10 do
        t[i] = { i }
        collectgarbage("step")
      end
    end
  end)

  -- "Recursion in 'getobjname' can stack overflow" (5.4.6)
  it("errors in deeply nested expressions", function()
    local depth = 180
    local nested = "local t = {}; return t" .. ("[t"):rep(depth) .. ("]"):rep(depth)
      .. ".x.y"
    assert.is_false(pcall(load(nested)))
    assert.is_false(pcall(load("local t = {}; return t" .. (".x"):rep(50000))))
  end)

  -- "read overflow in 'l_strcmp'" (5.4.6): only where the locale is not C.
  it("comparing strings with zeros", function()
    local a, b = ("a\0b"):rep(100), ("a\0\0"):rep(100)
    assert.is_true(b < a)
  end)

  it("everything nested as deep as it goes", function()
    assert.is_nil((load(("("):rep(100000))))
    assert.is_nil((load(("{"):rep(100000))))
    assert.is_false(pcall(string.find, ("a"):rep(300000), (".-"):rep(300000) .. "b"))
    local function index(t) return setmetatable({}, getmetatable(t)).x end
    assert.is_false(pcall(index, setmetatable({}, { __index = index })))
    local function sort() table.sort({ 2, 1 }, sort) end
    assert.is_false(pcall(sort))
    local function gsub() return (("x"):gsub(".", gsub)) end
    assert.is_false(pcall(gsub))
    local object = setmetatable({}, { __tostring = tostring })
    assert.is_false(pcall(tostring, object))
    local function spawn_all() return coroutine.wrap(spawn_all)() end
    assert.is_false(pcall(spawn_all))
  end)
end)
