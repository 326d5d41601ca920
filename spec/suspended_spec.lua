-- The language and its library while a fiber is suspended at each of its instructions:
-- what comes out is what comes out without.
local atoll = require "atoll"
local core = require "atoll.core.testing"

-- Each gives values that are compared.
local programs = {
  ["loops"] = function()
    local list = {}
    for i = 1, 10 do list[#list + 1] = i end
    for i = 10, 1, -3 do list[#list + 1] = i end
    for i = 1.0, 2.0, 0.25 do list[#list + 1] = i end
    for k, v in pairs { a = 1, [2] = "b" } do list[#list + 1] = tostring(k) .. v end
    for i, v in ipairs { 5, 6, nil, 7 } do list[#list + 1] = i + v end
    local i = 0
    while true do
      i = i + 1
      if i == 3 then goto continue end
      if i > 5 then break end
      list[#list + 1] = -i
      ::continue::
    end
    repeat local over = i > 8 i = i + 1 until over
    table.sort(list, function(a, b) return tostring(a) < tostring(b) end)
    return table.concat(list, " "), i
  end,
  ["varargs and results"] = function(...)
    local function count(...) return select("#", ...), ... end
    local function tail(n, ...)
      if n == 0 then return ... end
      return tail(n - 1, n, ...)
    end
    local packed = table.pack(count(count(tail(20))))
    local a, b, c = (function() return 1, 2, 3, 4 end)()
    return packed.n, { count(nil, nil) }, a + b * c, { tail(5, "x") }, count(...),
      math.max(table.unpack({ 3, 9, 4 })), #{ tail(60) }
  end,
  ["closures"] = function()
    local made = {}
    for i = 1, 3 do
      local n = i
      made[i] = function(by) n = n + (by or 0) return n end
    end
    made[2](40)
    local function fib(n) return n < 2 and n or fib(n - 1) + fib(n - 2) end
    return made[1](), made[2](), made[3](1), fib(12)
  end,
  ["metamethods"] = function()
    local meta = {}
    local function new(v) return setmetatable({ v = v }, meta) end
    local function of(x) return type(x) == "table" and x.v or x end
    for _, name in ipairs { "add", "sub", "mul", "div", "mod", "pow", "idiv", "band",
      "bor", "bxor", "shl", "shr", "unm", "bnot" } do
      meta["__" .. name] = function(a, b) return name .. of(a) .. tostring(of(b)) end
    end
    meta.__concat = function(a, b) return new(of(a) .. "." .. of(b)) end
    meta.__eq = function(a, b) return a.v == b.v end
    meta.__lt = function(a, b) return of(a) < of(b) end
    meta.__le = function(a, b) return of(a) <= of(b) end
    meta.__len = function(a) return a.v end
    meta.__call = function(self, ...) return self.v, ... end
    meta.__index = function(_, k) return "no " .. k end
    meta.__newindex = function(t, k, v) rawset(t, k, v * 2) end
    meta.__tostring = function(a) return "<" .. a.v .. ">" end
    meta.__close = function(a) meta.closed = (meta.closed or "") .. a.v end
    local a, b = new(1), new(2)
    a.w = 21
    do
      local _ <close> = a
      local _ <close> = b
    end
    return a + b, a - 1, 2 * a, a / b, a % b, a ^ b, a // b, a & b, a | b, a ~ b,
      a << b, a >> b, -a, ~a,
      ("x" .. a .. b .. 3).v, a == b, a < b, a <= b, #a, { a(7, 8) },
      a.w, a.none, tostring(a), meta.closed
  end,
  ["errors"] = function()
    local order = {}
    local function closing(name)
      return setmetatable({}, { __close = function(_, err)
        order[#order + 1] = name .. tostring(err)
        if name == "bad" then error("worse", 0) end
      end })
    end
    local first = { pcall(function()
      local _ <close> = closing "a"
      local _ <close> = closing "bad"
      error("e", 0)
    end) }
    local second = { xpcall(function() return nil + 1 end, function(m)
      return "handled: " .. m:match ":%d+: (.*)"
    end) }
    return first, second, { pcall(error, { 1 }) }, { pcall(string.rep) }, order,
      select(2, pcall(function() local x = 1 x() end)):match "local 'x'"
  end,
  ["coroutines"] = function()
    local function gen(n)
      return coroutine.wrap(function()
        for i = 1, n do coroutine.yield(i) end
        return "end"
      end)
    end
    local sum = 0
    for i in gen(10) do
      if i == "end" then break end
      sum = sum + i
    end
    local co = coroutine.create(function(...)
      local got = { ... }
      got[#got + 1] = coroutine.yield(#got)
      pcall(function() got[#got + 1] = coroutine.yield "inside" end)
      local t = setmetatable({}, {
        __add = function(_, n) return coroutine.yield(n) end,
      })
      got[#got + 1] = t + 5
      return table.concat(got, ",")
    end)
    local all = {}
    for _, value in ipairs { "a", "b", "c", "d" } do
      all[#all + 1] = { coroutine.resume(co, value) }
    end
    local closed = coroutine.create(function()
      local _ <close> = setmetatable({}, { __close = function() sum = sum + 100 end })
      coroutine.yield()
    end)
    coroutine.resume(closed)
    return all, coroutine.status(co), coroutine.close(closed), sum
  end,
  ["strings"] = function()
    return ("a,b,,c"):gsub(",", { [","] = ";" }), ("hello"):gsub("l", string.upper),
      ("k=v, x=y"):gsub("(%w+)=(%w+)", "%2=%1"), { ("abc"):byte(1, -1) },
      ("%5.2f|%-5s|%q|%x"):format(3.14159, "ab", "a\nb", 255),
      { ("x y z"):find "(%a) (%a)" },
      ("ab"):rep(3, "-"), ("abc"):reverse():upper(), utf8.char(228, 8364), #"\u{20AC}",
      { string.unpack("<i4z", string.pack("<i4z", 7, "s")) }, tostring(2^53),
      7 // 2, 7.5 // 2,
      -7 % 3, 1e15, math.tointeger(3.0), "10" + 5, 10 .. 20
  end,
  ["tables"] = function()
    local t = table.pack(table.unpack({ 1, 2, 3, 4, 5 }, 2, 4))
    table.insert(t, 2, "x")
    table.remove(t, 1)
    table.move(t, 1, 3, 2)
    local words = {}
    for w in ("the quick brown fox"):gmatch "%a+" do words[#words + 1] = w end
    table.sort(words, function(a, b) return a > b end)
    collectgarbage()
    return t, words, next({}), #words, rawlen(words), select(-1, 1, 2, 3),
      load("local a <const>, b = 5, ... return a * b")(3), { pcall(load, "x =", "=c") }
  end,
}

describe("a fiber that is suspended at each instruction", function()
  after_each(function() core.suspend_always(false) end)

  for name, program in pairs(programs) do
    it("has the same results: " .. name, function()
      local plain = table.pack(program("an", "argument"))
      local others, over = 0, false
      local neighbour = atoll.spawn(function()
        while not over do
          others = others + 1
          atoll.sleep(0)
        end
      end)
      local results
      local task = atoll.spawn(function()
        core.suspend_always(true)
        results = table.pack(program("an", "argument"))
        core.suspend_always(false)
      end)
      assert.is_nil((select(2, task:join())))
      over = true
      neighbour:join()
      assert.same(plain, results)
      assert.is_true(others > 30, others)
    end)
  end

  -- What the library does between two waits is whole for whoever runs next.
  it("shares the connections of the HTTP client with others that are", function()
    local limits = require("atoll.http.pool").limits
    local before = limits.per_host
    local listener = assert(atoll.net.listen "127.0.0.1:0")
    local url, server = "http://" .. listener:name(), atoll.spawn(function()
      atoll.http.serve(listener, function(req) return req.path end)
    end)
    limits.per_host = 4
    local tasks = {}
    for i = 1, 12 do
      tasks[i] = atoll.spawn(function()
        core.suspend_always(true)
        for j = 1, 10 do
          local path = ("/%d/%d"):format(i, j)
          assert.equal(path, assert(atoll.http.get(url .. path)).body)
        end
        return "all"
      end)
    end
    for _, task in ipairs(tasks) do
      assert.same({ "all" }, { task:join() })
    end
    core.suspend_always(false)
    limits.per_host = before
    listener:close()
    server:join()
  end)
end)
