-- Handlers that take too long are ended, whether they wait or compute.
local atoll = require "atoll"
local events = require "support.events"
local frames = require "support.frames"
local host = require "support.host"
local wire = require "support.wire"

local function get(path) return "GET " .. path .. " HTTP/1.1\r\nHost: x\r\n\r\n" end

local APP = [[
  local function spin() while true do end end
  local seen = {}
  app:get("/seen", function() return seen.text or "nothing" end)
  app:get("/spin", spin)
  app:get("/sleep", function() atoll.sleep(1000) end)
  app:get("/pcall", function() while true do pcall(spin) end end)
  app:get("/handler", function() while true do xpcall(spin, spin) end end)
  app:get("/coroutine", function()
    while true do
      pcall(coroutine.wrap(function() while true do pcall(spin) end end))
    end
  end)
  app:get("/swallowed-wait", function() while true do pcall(atoll.sleep, 1000) end end)
  app:get("/comparator", function() table.sort({ 1, 2, 3 }, spin) end)
  app:get("/close", function()
    local _ <close> = setmetatable({}, { __close = spin })
    spin()
  end)
  app:get("/finalizer", function()
    setmetatable({}, { __gc = spin })
    collectgarbage()
    return "collected"
  end)
  app:get("/hook", function()
    debug.sethook(spin, "l")
    local x = 1
    return x
  end)
  app:get("/tidy", function()
    local _ <close> = setmetatable({}, {
      __close = function() seen.text = "closed" end,
    })
    local _, err = pcall(spin)
    return 503, err
  end)
  app:get("/stream", function()
    return atoll.stream(function(write)
      for i = 1, 4 do write(tostring(i)) atoll.sleep(HALF) end
    end)
  end)
  local function slow() atoll.sleep(4 * HALF) return "in time" end
  app:get("/longer", function(req) req:deadline(60) return slow() end)
  app:get("/unlimited", function(req) req:deadline() return slow() end)
  app:get("/shorter", function(req) req:deadline(0.01) atoll.sleep(1000) end)
  app:post("/body", function(req) return #req:text() .. " bytes" end)
  app:post("/then", function(req)
    local n = #req:text()
    atoll.sleep(HALF)
    return n .. " bytes"
  end)
  app:post("/never", function(req)
    req:text()
    atoll.sleep(1000)
  end)
  app:get("/task", function()
    atoll.spawn(function() table.sort({ 1, 2, 3 }, spin) end)
    return "begun"
  end)
  app:get("/background", function()
    atoll.spawn(function() atoll.sleep(4 * HALF) seen.text = "done" end)
    return "begun"
  end)
]]

-- Of a handler that does little: a slow machine may stand still for a while.
local LIMIT = host.SLOW and 1.5 or 0.5

describe("handler_timeout", function()
  after_each(function()
    wire.finish()
    host.finish()
  end)

  local function start(extra)
    return host.start {
      app = ("local HALF = %g "):format(LIMIT / 2) .. APP .. (extra or ""),
      set = { handler_timeout = LIMIT, drain_timeout = 0.2 },
    }
  end

  local function ask(h, path) return wire.ask(h, get(path)) end

  -- One that has time enough: again, where the machine stood still for all of it.
  local function in_time(fn)
    return events.retry("an answer in time", function()
      local answer = fn()
      return answer.status ~= 504 and answer
    end, 60)
  end

  local function prompt(h, path)
    return in_time(function() return ask(h, path) end)
  end

  it("ends a handler with an error that names its line; the answer is 504", function()
    local h = start()
    for _, path in ipairs { "/spin", "/sleep" } do
      local answer = ask(h, path)
      assert.equal(504, answer.status)
      assert.equal("504 Gateway Timeout\n", answer.body)
      h:log_wait("GET " .. path .. ": %S+app.lua:%d+: handler_timeout: " .. LIMIT
        .. " s are over")
      h:log_wait "stack traceback:[^\r]-app.lua:%d+: in function"
    end
    h:stop()
  end)

  for _, place in ipairs { "pcall", "handler", "coroutine", "swallowed-wait",
    "comparator", "close", "hook" } do
    it("is not held up by " .. place, function()
      local h = start()
      assert.equal(504, ask(h, "/" .. place).status)
      assert.equal("nothing", prompt(h, "/seen").body)
      h:stop()
    end)
  end

  it("ends a finalizer, which nobody else hears of", function()
    local h = start()
    assert.equal("collected", ask(h, "/finalizer").body)
    h:stop()
  end)

  it("leaves time to tidy up and to answer", function()
    local h = start()
    local answer = ask(h, "/tidy")
    assert.equal(503, answer.status)
    assert.matches("app.lua:%d+: handler_timeout: " .. LIMIT .. " s are over",
      answer.body)
    assert.equal("closed", prompt(h, "/seen").body)
    h:stop()
  end)

  it("is for the answer to begin: streams go on", function()
    local h = start()
    assert.equal("1234", prompt(h, "/stream").body)
    h:stop()
  end)

  it("can be another one for a request", function()
    local h = start()
    assert.equal("in time", prompt(h, "/longer").body)
    assert.equal("in time", prompt(h, "/unlimited").body)
    assert.equal(504, ask(h, "/shorter").status)
    h:stop()
  end)

  -- The answer to a client that sends half of its body so many seconds later.
  local function late(h, path, seconds)
    local c = wire.connect(h)
    c:send("POST " .. path .. " HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\n\r\nabc")
    atoll.sleep(seconds)
    return c:send("def"):receive()
  end

  it("does not count while the client keeps the handler waiting", function()
    local h = start()
    assert.equal("6 bytes", in_time(function() return late(h, "/body", LIMIT + 0.5) end)
      .body)
    h:stop()
  end)

  it("gives the handler its time after the client has kept it waiting", function()
    local h = start()
    assert.equal(200, in_time(function() return late(h, "/then", LIMIT * 0.8) end)
      .status)
    assert.equal(504, late(h, "/never", LIMIT * 0.8).status)
    h:stop()
  end)

  it("is told to on(\"error\"), which may answer", function()
    local h = start [[
      app:on("error", function(_, err) return 500, "sorry: " .. err end)
    ]]
    local answer = ask(h, "/spin")
    assert.equal(500, answer.status)
    assert.matches("^sorry: .*app.lua:%d+: handler_timeout", answer.body)
    h:stop()
  end)

  describe("is for what computes for nobody:", function()
    -- Each says when it has begun, and goes on when its client has left.
    local LONELY = [[
      app:get("/write", function()
        return atoll.stream(function(write) while true do write "more" end end)
      end)
      app:events("/events", function(send)
        send "begun"
        while true do pcall(atoll.sleep, 0.001) end
      end)
      app:websocket("/socket", function(ws)
        ws:send "begun"
        while true do ws:receive() end
      end)
      app:get("/cancelled", function()
        local task = atoll.spawn(spin)
        task:cancel()
        return "begun"
      end)
    ]]

    for _, path in ipairs { "/write", "/events", "/socket" } do
      it(path, function()
        local h = start(LONELY)
        local c = wire.connect(h)
        c:send(path == "/socket" and frames.request(path) or get(path))
        c:read_until(path == "/write" and "more" or "begun")
        c:close()
        h:log_wait("GET " .. path .. ": %S+app.lua:%d+: for " .. LIMIT
          .. " s it has gone on for nobody")
        h:stop()
      end)
    end

    -- Who takes what had come before the end is not alone.
    it("but not what a WebSocket had received", function()
      local h = start [[
        local done = 0
        app:get("/done", function() return tostring(done) end)
        app:websocket("/socket", function(ws)
          for _ in ws:messages() do
            local till = atoll.now() + HALF / 4
            repeat until atoll.now() > till
            done = done + 1
          end
        end)
      ]]
      local c = wire.connect(h)
      c:send(frames.request "/socket" .. frames.text("a"):rep(12) .. frames.close(1000))
      events.retry("all messages", function()
        return prompt(h, "/done").body == "12"
      end)
      h:stop()
      assert.equal(0, h:count "for nobody")
    end)

    it("a task that was cancelled", function()
      local h = start(LONELY)
      assert.equal("begun", prompt(h, "/cancelled").body)
      h:log_wait("a task failed: %S+app.lua:%d+: for " .. LIMIT
        .. " s it has gone on for nobody")
      h:stop()
    end)
  end)

  it("is not for tasks, but where they cannot be suspended", function()
    local h = start()
    assert.equal("begun", prompt(h, "/background").body)
    events.retry("the task", function() return ask(h, "/seen").body == "done" end)
    assert.equal("begun", prompt(h, "/task").body)
    assert.equal("done", prompt(h, "/seen").body)
    h:log_wait("a task failed: %S+app.lua:%d+: for " .. LIMIT
      .. " s it could not be suspended")
    h:stop()
  end)
end)

describe("atoll.timeout", function()
  local function spin() while true do end end -- luacheck: ignore

  it("ends what computes as well", function()
    assert.same({ nil, "timed out", "ETIMEDOUT" }, { atoll.timeout(0.03, spin) })
    assert.same({ nil, "timed out", "ETIMEDOUT" }, { atoll.timeout(0.03, function()
      while true do pcall(spin) end
    end) })
    assert.same({ nil, "timed out", "ETIMEDOUT" }, { atoll.timeout(0.03, function()
      return coroutine.wrap(function() table.sort({ 1, 2, 3 }, spin) end)()
    end) })
    assert.equal("fast", (atoll.timeout(10, function()
      return select(2, atoll.timeout(0.01, spin)) and "fast"
    end)))
  end)
end)
