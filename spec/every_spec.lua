-- atoll.every and app:every: neither drifting nor doubled, whatever is reloaded.
local atoll = require "atoll"
local command = require "support.command"
local events = require "support.events"
local host = require "support.host"

local function until_true(fn)
  local stop = atoll.now() + 60
  while not fn() do
    assert(atoll.now() < stop, "waited in vain")
    atoll.sleep(0.001)
  end
end

describe("every", function()
  before_each(command.begin)
  after_each(command.finish)

  it("calls until it is cancelled, and does not drift", function()
    local function prompt()
      local times, began = {}, atoll.now()
      local timer = atoll.every(0.02, function()
        times[#times + 1] = atoll.now()
        atoll.sleep(0.007) -- lateness does not add up
      end)
      until_true(function() return #times >= 10 end)
      assert.is_true(timer:cancel())
      assert.is_false(timer:cancel())
      local calls, count, shortest = #times, 0, math.huge
      for i, at in ipairs(times) do
        assert.is_true(at - began >= i * 0.02)
        if (at - began) % 0.02 < 0.006 then count = count + 1 end
        if i > 1 then shortest = math.min(shortest, at - times[i - 1]) end
      end
      atoll.sleep(0.05)
      assert.equal(calls, #times)
      assert.matches("timer %(0.02 s, over%)", tostring(timer))
      -- One that drifts is so in three of ten, and a busy machine is late, too. But
      -- what drifts never comes earlier than after the whole time.
      return count > calls * 0.6 or shortest < 0.017
    end
    until_true(prompt)
  end)

  it("never runs twice at once", function()
    local inside, most, calls = 0, 0, 0
    local timer = atoll.every(0.002, function()
      inside = inside + 1
      most = math.max(most, inside)
      atoll.sleep(0.007)
      calls = calls + 1
      inside = inside - 1
    end)
    until_true(function() return calls >= 5 end)
    timer:cancel()
    assert.equal(1, most)
    until_true(function() return inside == 0 end)
  end)

  it("goes on when nobody holds it; its function may cancel it", function()
    local calls, timer = 0, nil
    timer = atoll.every(0.001, function()
      calls = calls + 1
      collectgarbage()
      if calls == 5 then timer:cancel() end
    end)
    until_true(function() return calls == 5 end)
    atoll.sleep(0.005)
    assert.equal(5, calls)
  end)

  it("goes on after an error, which is logged", function()
    command.write("s.lua", [[
      local atoll = require "atoll"
      local calls = 0
      atoll.every(0.001, function()
        calls = calls + 1
        atoll.sleep(0)
        if calls <= 2 then error "broken" end
      end)
      while calls < 4 do atoll.sleep(0.001) end]])
    local code, _, err = command.atoll "run DIR/s.lua"
    assert.equal(0, code)
    assert.equal(2, select(2, err:gsub("s.lua:6: broken", "")))
    assert.matches("a timer's function failed: [^\n]*s.lua:6: broken", err)
    assert.matches("stack traceback", err)
  end)

  it("refuses what makes no sense", function()
    local function refused(pattern, ...)
      local ok, message = pcall(atoll.every, ...)
      assert.is_false(ok)
      assert.matches(pattern, message)
    end
    refused("every_spec.lua:%d+: .*between 0.001 and 1e9", 0, print)
    refused("between 0.001 and 1e9", 0 / 0, print)
    refused("number, not string", "1", print)
    refused("function, not nil", 1)
    refused("no option is called often", 1, print, { often = true })
    refused("once can be \"host\"", 1, print, { once = "isolate" })
    command.write("app.lua", [[require "atoll".every(1, print)]])
    local code, _, err = command.atoll "check DIR"
    assert.equal(78, code)
    assert.matches("app.lua:1: atoll.every cannot be called while the app loads", err)
  end)
end)

-- An app that says each call and its isolate in a file that all of them share.
local function app(version, options)
  return ([[
    local name = %q
    local core = require "atoll.core.host"
    local function say(text)
      local f = assert(io.open("LOG", "a"))
      f:write(text, "\n")
      f:close()
    end
    app:get("/", function() return name end)
    app:on("start", function() say("start " .. name) end)
    app:every(0.05, function()
      say(("tick %%s %%d %%d"):format(name, core.isolate(), atoll.now() // 0.05))
    end, %s)]]):format(version, options or "nil")
end

describe("app:every", function()
  local log
  local function lines(pattern)
    local list = {}
    local f = io.open(log)
    if not f then return list end
    for line in f:lines() do
      if line:find(pattern) then list[#list + 1] = line end
    end
    f:close()
    return list
  end

  local function wait_for(n, pattern)
    events.poll(function()
      local f = io.open(log)
      return n .. " times " .. pattern .. " in " .. (f and f:read "a" or "nothing")
    end, function() return #lines(pattern) >= n end)
  end

  local function with_log(text) return (text:gsub("LOG", log)) end

  before_each(function() log = os.tmpname() end)
  after_each(function()
    host.finish()
    os.remove(log)
  end)

  it("runs in each isolate, after on(\"start\")", function()
    host.start { isolates = 2, app = with_log(app "one") }
    wait_for(3, "tick one 1")
    wait_for(3, "tick one 2")
    assert.equal(2, #lines "start")
  end)

  it("with once runs in one isolate at a time, whatever comes and goes", function()
    local once = with_log(app("one", "{ once = 'host' }"))
    local h = host.start { isolates = 3, app = once }
    wait_for(5, "tick")
    h:signal "sigttou"
    h:log_wait "2 isolates"
    h:signal "sigttou"
    h:log_wait "1 isolates"
    wait_for(10, "tick")
    h:signal "sigttin"
    h:log_wait "2 isolates"
    wait_for(15, "tick")
    -- One that is late falls into the next span, in which there are two then; but there
    -- are never more calls than spans since one of the first that was not late.
    local spans, first = {}, math.huge
    for i, line in ipairs(lines "tick") do spans[i] = tonumber(line:match "(%d+)$") end
    table.sort(spans)
    for i = 1, 5 do first = math.min(first, spans[i] - i) end
    for i, span in ipairs(spans) do
      assert(span - i >= first, "twice: " .. table.concat(spans, " "))
    end
  end)

  it("stops in the old code when the new one serves", function()
    local h = host.start { app = with_log(app "one") }
    wait_for(2, "tick one")
    h:write_app(with_log(app "two"))
    h:reload()
    wait_for(1, "tick two") -- what was begun before has ended
    local before = #lines "tick one"
    wait_for(4, "tick two")
    assert.equal(before, #lines "tick one")
  end)

  it("stops though the old code drains, where a call in flight finishes", function()
    local slow = [[
      local function say(text)
        local f = assert(io.open("LOG", "a"))
        f:write(text, "\n")
        f:close()
      end
      app:every(0.01, function()
        say "old began"
        while not io.open("LOG.go") do atoll.sleep(0.002) end
        say "old ended"
      end)
      app:get("/", function() return "old" end)]]
    local h = host.start { app = with_log(slow), set = { drain_timeout = 60 } }
    wait_for(1, "old began")
    h:write_app(with_log(app "two"))
    h:reload()
    wait_for(3, "tick two")
    assert.equal(0, h:count "generation 1 closed")
    assert(io.open(log .. ".go", "w")):close()
    h:log_wait "generation 1 closed"
    os.remove(log .. ".go")
    assert.equal(1, #lines "old began")
    assert.equal(1, #lines "old ended")
  end)

  it("with once waits for the call that the old code has in flight", function()
    local slow = app("old", "{ once = 'host' }"):gsub("say%(%(\"tick", [[
      say "old began"
      while not io.open("LOG.go") do atoll.sleep(0.002) end
      say "old ended"
      %0]])
    local h = host.start { isolates = 2, app = with_log(slow),
      set = { drain_timeout = 60 } }
    wait_for(1, "old began")
    h:write_app(with_log(app("new", "{ once = 'host' }")))
    h:reload()
    atoll.sleep(0.2)
    assert.equal(0, #lines "tick new")
    assert(io.open(log .. ".go", "w")):close()
    wait_for(2, "tick new")
    os.remove(log .. ".go")
    assert.equal(1, #lines "old began")
  end)

  it("is left alone where an app is tested", function()
    local dir = host.directory { ["app.lua"] = host.app(with_log(app "one")) }
    local testing = require "atoll.testing"
    local tested = testing.load(dir)
    assert.equal("one", tested:request("GET", "/").body)
    atoll.sleep(0.12)
    assert.equal(0, #lines "tick")
    tested:close()
  end)
end)
