-- Fibers that compute without waiting: after a slice others have their turn.
local atoll = require "atoll"
local host = require "support.host"
local script = require "support.script"
local uv = require "luv"
local wire = require "support.wire"

local function spawn(fn, ...) return atoll.spawn(fn, ...):quiet() end

-- A task that has `rounds` turns and then makes done() true.
local function neighbour(rounds)
  local over = false
  spawn(function()
    for _ = 1, rounds or 3 do atoll.sleep(0) end
    over = true
  end)
  return function() return over end
end

describe("a fiber that computes without waiting", function()
  it("lets others have their turn, and goes on where it was", function()
    local done, sum, i = neighbour(10), 0, 0
    while not done() do
      i = i + 1
      sum = sum + i
    end
    assert.equal(i * (i + 1) // 2, sum)
  end)

  it("takes turns with others of its kind", function()
    local counts, tasks, over = { 0, 0, 0 }, {}, false
    for i = 1, 3 do
      tasks[i] = spawn(function()
        while not over do counts[i] = counts[i] + 1 end
      end)
    end
    while math.min(table.unpack(counts)) == 0 do end -- luacheck: ignore
    local before = table.move(counts, 1, 3, 1, {})
    local function all_went_on()
      for i = 1, 3 do if counts[i] == before[i] then return false end end
      return true
    end
    while not all_went_on() do end -- luacheck: ignore
    over = true
    for i = 1, 3 do assert(select("#", tasks[i]:join()) == 0) end
  end)

  it("has its turn in its own code, and not in the library's", function()
    local url = require "atoll.http.url"
    local computing, seen = true, {}
    local task = spawn(function()
      local me = coroutine.running()
      spawn(function()
        while #seen < 20 do
          seen[#seen + 1] = debug.getinfo(me, 0, "S").short_src
          atoll.sleep(0)
        end
        computing = false
      end)
      local base = url.parse "http://a.example/b/c"
      while computing do url.resolve(base, "../d?e=f") end
      return "done"
    end)
    assert.same({ "done" }, { task:join() })
    local own = debug.getinfo(1, "S").short_src
    for _, source in ipairs(seen) do assert.equal(own, source) end
  end)

  -- A slice that ended in a long call of C left no grace for what came behind it.
  it("has no turn behind a long call of the library's, either", function()
    local own = assert(load([[
      local state, text = ...
      state.whole = false
      text:rep(3000):find(".-b")
      state.whole = true
    ]], "@lua/atoll/spec.lua"))
    local state, done, torn = { whole = true }, false, 0
    spawn(function()
      repeat
        if not state.whole then torn = torn + 1 end
        atoll.sleep(0)
      until done
    end)
    for _ = 1, 10 do own(state, "a") end
    done = true
    assert.equal(0, torn)
  end)

  it("does so in coroutines of its own, which look as ever", function()
    local done = neighbour(10)
    local outer, inner
    local seen = {}
    outer = coroutine.create(function()
      inner = coroutine.wrap(function()
        local me, main = coroutine.running()
        spawn(function()
          seen.status = coroutine.status(me)
          seen.resumed = { coroutine.resume(me) }
          seen.closed = { pcall(coroutine.close, me) }
          seen.outer = coroutine.status(outer)
          seen.trace = debug.traceback(me)
        end)
        while not done() do end -- luacheck: ignore
        assert.is_false(main)
        assert.equal("running", coroutine.status(me))
        assert.equal("normal", coroutine.status(outer))
        assert.is_true(coroutine.isyieldable())
        local got = coroutine.yield("yielded")
        done = neighbour(5)
        while not done() do end -- luacheck: ignore
        return "ended", got
      end)
      coroutine.yield(inner())
      return inner("sent")
    end)
    assert.same({ true, "yielded" }, { coroutine.resume(outer) })
    assert.equal("suspended", coroutine.status(outer))
    assert.same({ true, "ended", "sent" }, { coroutine.resume(outer) })
    assert.equal("dead", coroutine.status(outer))
    assert.equal("normal", seen.status)
    assert.same({ false, "cannot resume non-suspended coroutine" }, seen.resumed)
    assert.same({ false, "cannot close a normal coroutine" }, seen.closed)
    assert.equal("normal", seen.outer)
    assert.matches("preempt_spec", seen.trace)
  end)

  it("does so when it comes out of where it cannot be suspended", function()
    local done = neighbour(3)
    local list = {}
    local function less(a, b)
      local x = 0
      for i = 1, 50 do x = x + i end
      return a < b and x > 0
    end
    while not done() do
      for i = 1, 1000 do list[i] = i * 7919 % 1009 end
      table.sort(list, less)
    end
    for i = 2, 1000 do assert(list[i - 1] <= list[i]) end
    done = neighbour(3)
    local object = setmetatable({}, { __tostring = function()
      local x = 0
      for i = 1, 10000 do x = x + i end
      return tostring(x)
    end })
    while not done() do assert.equal("50005000", tostring(object)) end
    done = neighbour(3)
    while not done() do
      assert.equal("bbb", (string.gsub("aaa", "a", function()
        for _ = 1, 10000 do end -- luacheck: ignore
        return "b"
      end)))
    end
  end)

  it("is not suspended in the middle of what cannot be", function()
    local done, over = neighbour(3), false
    local deadline = os.clock() + 0.05
    table.sort({ 1, 2 }, function(a, b)
      while os.clock() < deadline do end -- luacheck: ignore
      over = done()
      return a < b
    end)
    assert.is_false(over)
    while not done() do end -- luacheck: ignore
  end)

  it("is closed with all its coroutines when it is cancelled after a wait", function()
    local closed = {}
    local guard = setmetatable({}, {
      __close = function() closed[#closed + 1] = true end,
    })
    local over
    local task = spawn(function()
      local _ <close> = guard
      coroutine.wrap(function()
        local _ <close> = guard
        while not over do end -- luacheck: ignore
        atoll.sleep(1000)
      end)()
    end)
    atoll.sleep(0)
    task:cancel()
    over = true
    assert.same({ nil, "cancelled", "ECANCELED" }, { task:join() })
    assert.equal(2, #closed)
  end)
end)

describe("a time limit", function()
  local SECONDS = 0.03

  -- Whether what closes something for so long, past its limit, came to its end; and
  -- the failure.
  local function close(more)
    local whole, over = false, uv.hrtime() / 1e9 + SECONDS + more
    local failure = table.pack(atoll.timeout(SECONDS, function()
      local _ <close> = setmetatable({}, { __close = function()
        while uv.hrtime() / 1e9 < over do end -- luacheck: ignore
        whole = true
      end })
    end))
    return whole, failure
  end

  it("that is over does not break in where something is closed", function()
    for _ = 1, 20 do -- a machine that stands still is as if it closed for ever
      if close(0.01) then return end
    end
    error "each time"
  end)

  it("breaks in there in the end", function()
    local whole, failure = close(60) -- if nobody breaks in
    assert.is_false(whole)
    assert.same({ nil, "timed out", "ETIMEDOUT", n = 3 }, failure)
  end)
end)

describe("a debug hook of the program's own", function()
  after_each(function()
    debug.sethook()
    script.finish()
    host.finish()
  end)

  it("for lines is told of every line, though its fiber is suspended", function()
    local lines, done = {}, neighbour(5)
    local function hook(_, line) lines[#lines + 1] = line end
    local first = debug.getinfo(1, "l").currentline + 2
    debug.sethook(hook, "l")
    local turns = 0
    while not done() do
      turns = turns + 1
    end
    local seen, mask = debug.gethook()
    debug.sethook()
    assert.equal(hook, seen)
    assert.equal("l", mask)
    local own = {}
    for _, line in ipairs(lines) do
      if line >= first and line <= first + 3 then own[#own + 1] = line - first end
    end
    assert.same({ 0, 1, 2, 1 }, { table.unpack(own, 1, 4) })
    local counted = 0
    for _, line in ipairs(own) do if line == 2 then counted = counted + 1 end end
    assert.equal(turns, counted)
  end)

  -- What had no CPU for half a second was taken for a hook that does not end.
  it("misses nothing while the process is stopped", function()
    local dir = host.directory { ["lines.lua"] = [[
local turns, counted, own = 0, 0, debug.getinfo(1, "l").currentline + 6
local function hook(_, line)
  if line == own then counted = counted + 1 end
end
io.stderr:write("begins\n")
debug.sethook(hook, "l")
while os.clock() < 1 do turns = turns + 1 end
debug.sethook()
io.stderr:write(turns, " turns, ", counted - 1, " counted\n")]] }
    local s = script.start(dir .. "/lines.lua")
    s:says "begins"
    for _ = 1, 3 do
      uv.kill(s.pid, "sigstop")
      atoll.sleep(0.6)
      uv.kill(s.pid, "sigcont")
      atoll.sleep(0.05)
    end
    local turns, counted = s:says "(%d+) turns, (%d+) counted"
    assert.equal(turns, counted)
    assert.equal(0, s:ended())
  end)

  it("for calls and returns sees them in pairs", function()
    local sethook = debug.sethook -- in a spec the name is looked up by functions
    local depth, deepest, done = 0, 0, neighbour(5)
    local function hook(event)
      depth = depth + (event == "return" and -1 or event == "call" and 1 or 0)
      deepest = math.max(deepest, math.abs(depth))
    end
    local function f(n)
      local x = 0
      for i = 1, n do x = x + i end
      return x
    end
    sethook(hook, "cr")
    while not done() do f(10) end
    sethook()
    assert.is_true(deepest <= 1, deepest)
  end)

  it("for counts goes on", function()
    local count, done = 0, neighbour(5)
    local function hook() count = count + 1 end
    debug.sethook(hook, "", 1000)
    while not done() do end -- luacheck: ignore
    local seen, mask, every = debug.gethook()
    local before = count
    done = neighbour(5)
    while not done() do end -- luacheck: ignore
    assert.equal(hook, seen)
    assert.equal("", mask)
    assert.equal(1000, every)
    assert.is_true(before > 0 and count > before)
  end)

  it("may raise, as a limit for others' code does", function()
    local co = coroutine.create(function()
      while true do end -- luacheck: ignore
    end)
    debug.sethook(co, function() error "enough" end, "", 3000000)
    local ok, err = coroutine.resume(co)
    assert.is_false(ok)
    assert.matches("enough", err)
  end)

  it("is checked as ever", function()
    assert.has_error(function() debug.sethook(1, "l") end,
      "bad argument #1 to 'sethook' (function expected, got number)")
    assert.has_error(function() debug.sethook(print) end,
      "bad argument #2 to 'sethook' (string expected, got no value)")
    assert.is_nil((debug.gethook()))
  end)
end)

describe("a host with handlers that loop without an end", function()
  after_each(function()
    wire.finish()
    host.finish()
  end)

  local APP = [[
    local spin = function() while true do end end
    app:get("/", function() return "here" end)
    app:get("/spin", spin)
    app:get("/nested", function()
      coroutine.wrap(function() while true do pcall(error) end end)()
    end)
    app:get("/swallow", function() while true do pcall(spin) end end)
    app:get("/sort", function()
      local list = {}
      for i = 1, 100 do list[i] = i % 7 end
      while true do table.sort(list, function(a, b) return a < b end) end
    end)
  ]]

  local function get(path) return "GET " .. path .. " HTTP/1.1\r\nHost: x\r\n\r\n" end

  -- Sends a request whose answer nobody waits for.
  local function begin(h, path) wire.connect(h):send(get(path)) end

  local function answer(h) return wire.ask(h, get "/").body end

  it("answers the others", function()
    local h = host.start { app = APP, set = { drain_timeout = 0.1 } }
    for _, path in ipairs { "/spin", "/nested", "/swallow", "/sort", "/spin" } do
      begin(h, path)
      for _ = 1, 5 do assert.equal("here", answer(h)) end
    end
    for _ = 1, 60 do begin(h, "/spin") end
    for _ = 1, 5 do assert.equal("here", answer(h)) end
    h:log_wait "without waiting: [^\n]*app.lua:%d"
    h:stop()
  end)

  it("tells where, how often, and for how long others have waited", function()
    local h = host.start { app = APP .. [[
      app:get("/slow", function()
        -- Others are there where the thread stood still.
        for _, slow in ipairs(atoll.slow()) do
          if slow.place:find "app.lua:1$" then return slow end
        end
        return {}
      end)
      app:get("/lag", function() return tostring(atoll.lag()) end)
    ]], set = { drain_timeout = 0.1, slice_warn = 0.5 } }
    assert.equal("{}", wire.ask(h, get "/slow").body)
    for _ = 1, 2 do
      begin(h, "/spin")
      h:log_wait "without waiting: [^\n]*app.lua:1 "
    end
    local list = wire.ask(h, get "/slow").body
    assert.matches('"count":2', list)
    assert.is_true(tonumber(list:match '"longest":([%d.]+)') >= 0.5)
    assert.is_true(tonumber(wire.ask(h, get "/lag").body) > 0)
    h:stop()
  end)

  it("reloads, and ends them when drain_timeout is over", function()
    local h = host.start { app = APP, set = { drain_timeout = 0.1 } }
    for _, path in ipairs { "/spin", "/swallow", "/nested" } do begin(h, path) end
    assert.equal("here", answer(h))
    h:write_app [[app:get("/", function() return "new" end)]]
    h:reload()
    assert.equal("new", answer(h))
    h:log_wait "had 3 fibers left"
    h:log_wait "generation 1 closed"
    assert.equal("new", answer(h))
    h:stop()
  end)
end)
