-- atoll.pool: calls to isolates, and what becomes of those that fail.
local command = require "support.command"
local host = require "support.host"
local wire = require "support.wire"

local WORK = [[
local atoll = require "atoll"
local M = {}
function M.add(a, b) return a + b, nil, "end" end
function M.count(...) return select("#", ...) end
function M.calls() M.made = (M.made or 0) + 1 return M.made end
function M.fail() error "on purpose" end
function M.throw() error {} end
function M.unsendable() return print end
function M.sleep(seconds) atoll.sleep(seconds) return "slept" end
function M.held(name)
  while not atoll.shared("gate"):get "open" do atoll.sleep(0.001) end
  atoll.shared("gate"):rpush("order", name)
  return name
end
function M.spin() while true do end end
function M.die() atoll.isolate.port:close() end
function M.progress(sender, n)
  for i = 1, n do sender:send(i) end
  sender:send "done"
  return n
end
function M.write(socket) socket:write "from the pool" socket:close() end
return M
]]

local BEGIN = [[
local atoll = require "atoll"
local pool = atoll.pool { module = "work", size = 2 }
local function show(...)
  local list = table.pack(...)
  for i = 1, list.n do list[i] = tostring(list[i]) end
  print(table.concat(list, " "))
end
]]

-- What a script of this text prints, line by line.
local function run(text)
  command.begin()
  command.write("work.lua", WORK)
  command.write("bad.lua", "error 'no such luck'")
  command.write("number.lua", "return 1")
  command.write("main.lua", BEGIN .. text)
  -- Nobody is suspended between two calls, however long the thread stands still.
  local code, out, err = command.atoll "run --set slice=0 DIR/main.lua"
  command.finish()
  assert.same({ 0, "" }, { code, err })
  local lines = {}
  for line in out:gmatch "[^\n]+" do lines[#lines + 1] = line end
  return lines
end

describe("a pool", function()
  after_each(host.finish)

  it("answers with what the function returns", function()
    assert.same({ "42 nil end", "3", "0", "pool of work: 1 of 2" }, run [[
      show(pool:call("add", 40, 2))
      show(pool:call("count", nil, 1, nil))
      show(pool:call("count"))
      show(pool)
    ]])
  end)

  it("spawns nothing before it is needed, and keeps what it has", function()
    assert.same({ "0", "1", "2", "3", "1" }, run [[
      show(pool:status().workers)
      for _ = 1, 3 do show(pool:call "calls") end
      show(pool:status().workers)
    ]])
  end)

  it("does as many at once as it has workers, the others in their order", function()
    assert.same({ "2 2 3", "1 2 3 4 5", "1 2 3" }, run [[
      local tasks, s = {}
      for i = 1, 5 do tasks[i] = atoll.spawn(pool.call, pool, "held", i) end
      repeat -- each has its worker, or waits
        atoll.sleep(0)
        s = pool:status()
      until s.busy + s.waiting == 5
      show(s.workers, s.busy, s.waiting)
      local gate = atoll.shared "gate"
      gate:set("open", true)
      for i, t in ipairs(tasks) do tasks[i] = t:join() end
      show(table.unpack(tasks))
      gate:delete "order"
      local one = atoll.pool { module = "work", size = 1 }
      for i = 1, 3 do tasks[i] = atoll.spawn(one.call, one, "held", i) end
      for i = 1, 3 do tasks[i]:join() end
      show(gate:lpop "order", gate:lpop "order", gate:lpop "order")
    ]])
  end)

  it("gives the error of the function, and goes on", function()
    assert.same({ "nil ELUA", "true", "nil (error object is a table value) ELUA",
      "nil what 'unsendable' returned cannot be sent ELUA",
      "nil the module 'work' has no function 'none' EINVAL", "1", "1" }, run [[
      local value, message, code = pool:call "fail"
      show(value, code)
      show(message:find "work.lua:6: on purpose\nstack traceback:\n" ~= nil)
      value, message, code = pool:call "throw"
      show(value, message:match "^[^\n]*", code)
      value, message, code = pool:call "unsendable"
      show(value, message:match "^[^:]*", code)
      show(pool:call "none")
      show(pool:call "calls")
      show(pool:status().workers)
    ]])
  end)

  it("says why a worker cannot be", function()
    assert.same({ "nil true ECLOSED", "nil true ECLOSED", "nil true ECLOSED" }, run [[
      for _, module in ipairs { "nowhere", "bad", "number" } do
        local p = atoll.pool { module = module }
        local value, message, code = p:call "f"
        show(value, message:find "not found" and module == "nowhere"
          or message:find "bad.lua:1: no such luck" and module == "bad"
          or message:find "returns a number; a pool needs" and module == "number",
          code)
      end
    ]])
  end)

  it("ends a call that takes too long with its worker, and replaces it", function()
    assert.same({ "nil timed out ETIMEDOUT", "nil timed out ETIMEDOUT", "1", "1" },
      run [[
      local p = atoll.pool { module = "work", size = 1, timeout = 0.5 }
      show(p:call "spin")
      show(p:call("sleep", 60))
      local made
      repeat made = p:call "calls" until made -- it is quick enough
      show(made)
      show(p:status().workers)
    ]])
  end)

  it("ends a call that is cancelled, for those who wait", function()
    assert.same({ "nil timed out ETIMEDOUT", "1", "nil cancelled ECANCELED", "2" },
      run [[
      local p = atoll.pool { module = "work", size = 1 }
      local waiting = atoll.spawn(function()
        return p:call "calls"
      end)
      show(atoll.timeout(0.1, p.call, p, "spin"))
      show(waiting:join())
      local busy = atoll.spawn(p.call, p, "held", "it")
      local given_up = atoll.spawn(p.call, p, "calls")
      repeat atoll.sleep(0) until p:status().waiting == 1
      given_up:cancel()
      show(given_up:join())
      atoll.shared("gate"):set("open", true)
      busy:join()
      show(p:call "calls")
    ]])
  end)

  -- The worker, in the middle of it, was taken for one that is idle.
  it("ends a call whose handler's time is over with its worker", function()
    local h = host.start { isolates = 1, files = {
      ["work.lua"] = WORK,
      ["app.lua"] = host.app [[
        local pool = atoll.pool { module = "work", size = 1 }
        app:get("/calls", function() return pool:call("calls") .. "" end)
        app:get("/late", function(req)
          req:deadline(0.5)
          return pool:call("sleep", 60)
        end)
      ]],
    } }
    local statuses = {}
    for i, path in ipairs { "/calls", "/calls", "/late", "/calls", "/calls" } do
      local answer = wire.ask(h, path)
      statuses[i] = answer.status == 200 and answer.body or answer.status
    end
    assert.same({ "1", "2", 504, "1", "2" }, statuses)
  end)

  it("tells all who wait when there is nobody to hire", function()
    assert.same({ "nil no more ENOMEM", "nil no more ENOMEM", "1" }, run [[
      local isolate = require "atoll.isolate"
      local p = atoll.pool { module = "work", size = 1 }
      local busy = atoll.spawn(p.call, p, "sleep", 60)
      atoll.sleep(0)
      local first = atoll.spawn(p.call, p, "calls")
      local second = atoll.spawn(p.call, p, "calls")
      atoll.sleep(0)
      local spawn = isolate.spawn
      isolate.spawn = function() return nil, "no more", "ENOMEM" end
      busy:cancel()
      show(first:join(10))
      show(second:join(10))
      isolate.spawn = spawn
      show(p:call "calls")
    ]])
  end)

  it("keeps the worker of a call that cannot be sent", function()
    assert.same({ "1", "main.lua:10: argument 2: a function cannot be sent", "2" },
      run [[
      local p = atoll.pool { module = "work", size = 1 }
      show(p:call "calls")
      show((select(2, pcall(p.call, p, "count", 1, print)):match "[^/]*$"))
      show(p:call "calls")
    ]])
  end)

  it("tells of a worker that has gone", function()
    assert.same({ "1 true" }, run [[
      local p = atoll.pool { module = "work", size = 1 }
      p:call "die"
      local codes, value, message, code = true
      repeat
        value, message, code = p:call "calls"
        codes = codes and (value or code == "ECLOSED"
          and message:find "^the worker has gone: ") and true
      until value
      show(value, codes)
    ]])
  end)

  it("refuses when its queue is full", function()
    assert.same({ "nil the pool's queue is full EAGAIN" }, run [[
      local p = atoll.pool { module = "work", size = 1, queue = 0 }
      local busy = atoll.spawn(p.call, p, "sleep", 60)
      atoll.sleep(0)
      show(p:call "calls")
      busy:cancel()
    ]])
  end)

  it("passes senders and what moves", function()
    assert.same({ "1", "2", "3", "done", "3", "from the pool" }, run [[
      local port = atoll.port()
      local task = atoll.spawn(pool.call, pool, "progress", port:sender(), 3)
      for value in port:messages() do
        show(value)
        if value == "done" then break end
      end
      show(task:join())
      local listener = assert(atoll.net.listen "127.0.0.1:0")
      local client = assert(atoll.net.connect(listener:name()))
      pool:call("write", assert(listener:accept()))
      show(client:read "all")
    ]])
  end)

  it("closes when its calls have ended", function()
    assert.same({ "slept", "nil closed ECLOSED", "0" }, run [[
      local task = atoll.spawn(pool.call, pool, "sleep", 0.05)
      atoll.sleep(0)
      pool:close()
      show(task:join())
      show(pool:call "calls")
      atoll.sleep(0)
      show(pool:status().busy)
    ]])
  end)

  it("names what is wrong with its options", function()
    local lines = run [[
      for _, o in ipairs { 1, {}, { module = 1 }, { module = "work", size = 0 },
        { module = "work", size = 1.5 }, { module = "work", timeout = 0 },
        { module = "work", color = 1 } } do
        show((select(2, pcall(atoll.pool, o))))
      end
      show((select(2, pcall(pool.call, "x"))))
      show((select(2, pcall(pool.call, pool))))
    ]]
    for i, text in ipairs { "what is given to atoll.pool", "the option module",
      "the option module", "whole number from 1", "whole number from 1",
      "seconds above 0", "no option 'color'", "write pool:call",
      "the function of pool:call" } do
      assert.truthy(lines[i]:find(text, 1, true), lines[i])
    end
  end)
end)
