-- atoll.blocking: functions that block, in threads with Lua states of their own.
local atoll = require "atoll"
local command = require "support.command"
local events = require "support.events"
local file = require "support.file"
local host = require "support.host"
local json = require "atoll.json"
local testing = require "atoll.testing"
local tempapp = require "tempapp"
local whole = require "support.whole"
local wire = require "support.wire"

local blocking = atoll.blocking

after_each(function()
  wire.finish()
  host.finish()
  tempapp.clean()
end)

local gate_meta = { __close = function(gate)
  assert(os.remove(gate.path)) -- who is not there yet finds none
  gate:open(64)
  gate.file:close()
end }
gate_meta.__index = {
  open = function(gate, count) assert(gate.file:write(("\n"):rep(count or 1))) end,
}

-- A pipe that a command waits for: `hold` is the command, gate:open(n) lets one or n of
-- them go on. At its end all do, whatever has failed: nothing can stop them.
local function pipe()
  local path = host.directory() .. "/gate"
  assert(os.execute("mkfifo '" .. path .. "'"))
  return "read line <'" .. path .. "'", setmetatable({
    path = path, file = assert(atoll.fs.open(path, "r+")),
  }, gate_meta)
end

describe("blocking", function()
  it("gives what the function returns", function()
    assert.same({ n = 4, 1, nil, "x", nil },
      table.pack(blocking(function() return 1, nil, "x", nil end)))
    assert.equal(0, select("#", blocking(function() end)))
    local deep = { list = { 1, 2.5, { true } }, [1] = "one" }
    deep.self = deep
    local back = blocking(function(t, ...) return t, select("#", ...) end, deep, nil)
    assert.equal(back, back.self)
    back.self, deep.self = nil, nil
    assert.same(deep, back)
  end)

  it("passes arguments, nil among them", function()
    local function same(...) return ... end
    assert.same({ n = 3, nil, 2, nil }, table.pack(blocking(same, nil, 2, nil)))
  end)

  it("carries locals from outside as they are", function()
    local number, text, none, list = 7, "seven", nil, { 1, 2 }
    local function double(n) return 2 * n + (none or 0) end
    local function fib(n) return n < 2 and n or fib(n - 1) + fib(n - 2) end
    assert.same({ 14, "seven", 2, 55 }, { blocking(function()
      list[3] = 3
      return double(number), text, #list - 1, fib(10)
    end) })
    assert.equal(2, #list)
  end)

  it("carries functions that call each other, and what they share", function()
    local even, odd
    local count = 0
    function even(n) count = count + 1 return n == 0 or odd(n - 1) end
    function odd(n) count = count + 1 return n ~= 0 and even(n - 1) end
    local function both(n) return even(n), count end
    assert.same({ true, 11 }, { blocking(both, 10) })
    assert.equal(0, count)
  end)

  it("takes modules and their functions by name", function()
    local format = string.format
    assert.equal('{"a":[1,"x"]}', blocking(function(v)
      return json.encode { a = { v, format("%s", "x") } }
    end, 1))
    assert.equal("[2]", blocking(json.encode, { 2 }))
    assert.equal("integer", math.type(blocking(os.time)))
  end)

  it("has globals of its own", function()
    rawset(_G, "blocking_spec", 1)
    assert.is_nil(blocking(function() return rawget(_G, "blocking_spec") end))
    rawset(_G, "blocking_spec", nil)
    assert.same({ true, true }, { blocking(function()
      return type(_G.require) == "function", _ENV == _G
    end) })
  end)

  it("names what cannot go", function()
    local out = io.stdout
    local tables = { a = { b = print } }
    local co = coroutine.create(print)
    local function refused(what, ...)
      local ok, message = pcall(blocking, ...)
      assert.is_false(ok)
      assert.matches("^spec/blocking_spec.lua:%d+: atoll%.blocking%(%): ", message)
      assert.is_truthy(message:find(what, 1, true), message)
    end
    refused("the local 'out': a userdata cannot be sent", function() return out end)
    refused("the local 'tables'.a.b: a function cannot be sent",
      function() return tables end)
    refused("the local 'co': a thread cannot be sent", function() return co end)
    refused("argument 2.x: a function cannot be sent", function() end, 1, { x = print })
    refused("is a C function that no module has by name", string.gmatch("", ""))
    assert.has_error(function() blocking() end)
    assert.has_error(function() blocking "print" end)
  end)

  it("names what cannot come back", function()
    local ok, message, code = blocking(function() return 1, print end)
    assert.same({ n = 3, nil, "result[2]: a function cannot be sent", "ELUA" },
      table.pack(ok, message, code))
  end)

  it("gives the error of the function, with its traceback", function()
    local function inner() error "boom" end
    local ok, message, code, traceback = blocking(function() inner() end)
    assert.is_nil(ok)
    assert.matches("^spec/blocking_spec.lua:%d+: boom$", message)
    assert.equal("ELUA", code)
    assert.matches("stack traceback:.*in upvalue 'inner'", traceback)
    assert.is_nil(traceback:find("xpcall", 1, true))
    assert.equal("(error object is a table value)",
      (select(2, blocking(function() error {} end))))
    assert.equal("42", (select(2, blocking(function() error(42, 0) end))))
    assert.equal("nil", (select(2, blocking(function() error() end))))
    assert.matches("module 'no.such' not found",
      (select(2, blocking(function() require "no.such" end))))
    assert.matches("stack overflow", (select(2, blocking(function()
      local function deep() return 1 + deep() end
      return deep()
    end))))
    assert.equal(1, blocking(function() return 1 end))
  end)

  it("lets the others of its isolate go on", function()
    local hold, gate <close> = pipe()
    local turns = 0
    local task = atoll.spawn(function()
      for _ = 1, 10 do
        atoll.sleep(0.001)
        turns = turns + 1
      end
      gate:open()
    end)
    assert(blocking(os.execute, hold)) -- would wait for ever
    task:join()
    assert.equal(10, turns)
  end)

  it("runs as many as there are threads, the rest in their order", function()
    local hold, gate <close> = pipe()
    local log = host.directory() .. "/log"
    local tasks, begun = {}, {}
    local function wait_for(count)
      events.poll(("%d to begin"):format(count), function()
        begun = {}
        for line in io.lines(log) do begun[#begun + 1] = tonumber(line) end
        return #begun >= count
      end)
    end
    file.write(log, "")
    whole.begin() -- who is suspended on the way comes later
    for i = 1, 12 do
      tasks[i] = atoll.spawn(blocking, function()
        os.execute(("echo %d >>'%s'; %s"):format(i, log, hold))
        return i
      end)
    end
    atoll.sleep(0) -- now all are under way
    whole.over()
    wait_for(4)
    table.sort(begun) -- these at once
    for i = 5, 12 do
      assert.equal(i - 1, #begun)
      gate:open()
      wait_for(i)
      assert.equal(i, begun[i])
    end
    gate:open(4)
    for i = 1, 12 do assert.equal(i, tasks[i]:join()) end
  end)

  it("does not keep anybody from reading a file", function()
    local hold, gate <close> = pipe()
    local tasks = {}
    for i = 1, 8 do tasks[i] = atoll.spawn(blocking, os.execute, hold) end
    atoll.sleep(0)
    assert.matches("^Name", atoll.fs.read "/proc/self/status")
    assert.equal("waiting", tasks[1]:status())
    for i = 1, 8 do tasks[i]:cancel() end
    gate:open(8)
    for i = 1, 8 do tasks[i]:join() end
  end)

  it("waits inside by blocking its thread", function()
    assert.is_true(blocking(function()
      local inside = require "atoll"
      local before = inside.now()
      inside.sleep(0.02)
      return inside.now() - before >= 0.02
    end))
    assert.equal("x", blocking(function()
      local fs = require("atoll").fs
      local temporary <close> = assert(fs.tempfile())
      assert(fs.remove(temporary:path()))
      temporary:write "x"
      temporary:seek "set"
      return temporary:read()
    end))
    assert.equal("inner", blocking(function()
      return require("atoll").blocking(function() return "inner" end)
    end))
  end)

  it("does a thousand calls at once", function()
    local tasks = {}
    for i = 1, 1000 do
      tasks[i] = atoll.spawn(blocking, function(n) return n + 1 end, i)
    end
    for i = 1, 1000 do assert.equal(i + 1, tasks[i]:join()) end
  end)

  it("keeps what a function has required for the next", function()
    command.begin()
    command.write("counter.lua", [[
      local M, n = {}, 0
      function M.count() n = n + 1 return n end
      return M]])
    command.write("main.lua", [[
      local atoll, counter = require "atoll", require "counter"
      for _ = 1, 5 do io.write(atoll.blocking(counter.count), " ") end
      io.write(atoll.blocking(function() return counter.count() end), " ")
      print(counter.count())]])
    local code, out, err = command.atoll "run --set blocking_threads=1 DIR/main.lua"
    command.finish()
    assert.same({ 0, "1 2 3 4 5 6 1\n", "" }, { code, out, err })
  end)
end)

describe("a time limit on blocking", function()
  local function timed_out(fn, ...)
    local ok, message, code = atoll.timeout(0.05, blocking, fn, ...)
    assert.same({ n = 3, nil, "timed out", "ETIMEDOUT" },
      table.pack(ok, message, code))
  end

  -- Each would otherwise hold one of the four threads for good.
  it("ends what computes, whatever it catches, and gives the thread back", function()
    for _ = 1, 2 do
      timed_out(function() while true do end end)
      timed_out(function() while true do pcall(error) end end)
      timed_out(function() coroutine.wrap(function() while true do end end)() end)
      timed_out(function()
        local co = coroutine.create(function() while true do coroutine.yield() end end)
        while true do coroutine.resume(co) end
      end)
      timed_out(function() require("atoll").sleep(1000) end)
    end
    local tasks = {}
    for i = 1, 4 do tasks[i] = atoll.spawn(blocking, function() return i end) end
    for i = 1, 4 do assert.equal(i, tasks[i]:join()) end
  end)

  it("takes out what has not begun", function()
    command.begin()
    command.write("main.lua", [[
      local atoll, gate = require "atoll", arg[1] .. "/gate"
      local tasks = {}
      for i = 1, 10 do
        tasks[i] = atoll.spawn(atoll.blocking, function(n)
          while not io.open(gate) do require("atoll").sleep(0.001) end
          io.write(n, " ")
        end, i)
      end
      atoll.sleep(0.01)
      for i = 2, 9 do tasks[i]:cancel() end
      for i = 2, 9 do tasks[i]:join() end
      assert(io.open(gate, "w")):close()
      tasks[1]:join()
      tasks[10]:join()
      print "done"]])
    local code, out, err = command.atoll("run --set blocking_threads=1 "
      .. "--set blocking_queue=3 DIR/main.lua DIR")
    command.finish()
    assert.same({ 0, "1 10 done\n", "" }, { code, out, err })
  end)
end)

describe("blocking and the host", function()
  it("os.exit ends the script", function()
    command.begin()
    command.write("main.lua", [[
      local atoll = require "atoll"
      atoll.spawn(atoll.blocking, function() while true do end end)
      atoll.blocking(function() pcall(os.exit, 7) print "not reached" end)
      print "not reached either"]])
    local code, out, err = command.atoll "run DIR/main.lua"
    command.finish()
    assert.same({ 7, "", "" }, { code, out, err })
  end)

  it("a script ends although a function still runs", function()
    command.begin()
    command.write("main.lua", [[
      local atoll = require "atoll"
      for _ = 1, 6 do
        atoll.spawn(atoll.blocking, function() while true do end end)
      end
      atoll.sleep(0.05)
      print "end"]])
    local code, out, err = command.atoll "run DIR/main.lua"
    command.finish()
    assert.same({ 0, "end\n", "" }, { code, out, err })
  end)

  it("an app's own modules are found, and its rules hold", function()
    local files = {
      ["app.lua"] = [[
        local atoll, slow = require "atoll", require "slow"
        local app = atoll.app()
        app:get("/", function() return atoll.blocking(slow.query, "x") end)
        app:get("/global", function()
          return (select(2, atoll.blocking(function() leaked = 1 end)))
        end)
        app:get("/exit", function() return (select(2, atoll.blocking(os.exit))) end)
        app:get("/loaded", function() return tostring(atoll.loaded) end)
        atoll.loaded = atoll.blocking(function() return slow.query "loading" end)
        return app]],
      ["lib/slow.lua"] = [[
        return { query = function(s) return "answer to " .. s end }]],
    }
    local app <close> = testing.load(tempapp.directory(files))
    assert.equal("answer to x", app:request("GET", "/").body)
    assert.matches("the global 'leaked' is assigned",
      app:request("GET", "/global").body)
    assert.matches("os.exit would end the whole host", app:request("GET", "/exit").body)
    assert.equal("answer to loading", app:request("GET", "/loaded").body)
  end)

  it("a reload closes the states of the old code, and lets its calls finish", function()
    local hold, gate <close> = pipe()
    local begun = host.directory() .. "/begun"
    local body = [[
      app:get("/", function()
        return atoll.blocking(function()
          local host = require "atoll.core.host"
          hits = nil
          rawset(_G, "seen", (rawget(_G, "seen") or 0) + 1)
          return host.generation() .. " " .. seen
        end)
      end)
      app:get("/slow", function() return atoll.blocking(function()
        os.execute %q
        return "slow %d"
      end) end)
    ]]
    local wait = ("echo >>'%s'; %s"):format(begun, hold)
    local function count_begun()
      local f <close> = io.open(begun)
      return f and #f:read "a" or 0
    end
    local h = host.start { app = body:format(wait, 1), isolates = 2,
      set = { blocking_threads = 2, drain_timeout = 60 } }
    local function threads()
      local f = assert(io.open(("/proc/%d/status"):format(h:serving_pid())))
      local text = f:read "a"
      f:close()
      return tonumber(text:match "Threads:%s*(%d+)")
    end
    assert.equal("1 1", wire.ask(h, "/").body)
    local before
    for n = 2, 12 do
      local slow = wire.connect(h)
      slow:send "GET /slow HTTP/1.1\r\nHost: a\r\n\r\n"
      events.retry("a slow call", function() return count_begun() == n - 1 end)
      h:write_app(body:format(wait, n))
      h:hup()
      h:log_wait("generation " .. n .. " serves")
      assert.matches("^" .. n .. " %d$", wire.ask(h, "/").body)
      gate:open()
      assert.equal("slow " .. n - 1, slow:receive().body)
      slow:close()
      before = before or threads()
      events.poll("threads to end", function() return threads() <= before + 1 end)
    end
    events.poll("the old generations to go", function()
      return h:count "generation %d+ closed" == 11 * 2
    end)
    h:stop()
  end)

  it("reloads give all memory back", function()
    local h = host.start { app = [[
      app:get("/", function() return atoll.blocking(function() return "x" end) end)]] }
    local function some(from, to)
      for n = from, to do
        h:hup()
        h:log_wait("generation " .. n .. " serves")
        assert.equal("x", wire.ask(h, "/").body)
      end
    end
    some(2, 10)
    local memory = h:memory()
    some(11, 60)
    h:grows_less(2048, memory)
  end)

  it("stopping ends calls that run and that wait", function()
    local h = host.start { set = { drain_timeout = 0.2 }, app = [[
      app:get("/", function()
        return atoll.blocking(function() while true do end end)
      end)]] }
    local list = {}
    for i = 1, 20 do
      list[i] = wire.connect(h)
      list[i]:send "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
    end
    assert.equal(404, wire.ask(h, "/none").status)
    h:term()
    h:log_wait "requests were left when drain_timeout"
    for _, c in ipairs(list) do
      c:wait_end()
      c:close()
    end
    h:ended_well()
    assert.equal(0, h:count "did not end")
  end)
end)
