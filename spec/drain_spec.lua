-- The orderly end: what is queued or under way is answered, then nothing is left.
local events = require "support.events"
local host = require "support.host"
local load = require "support.load"
local wire = require "support.wire"

local function get(path) return "GET " .. path .. " HTTP/1.1\r\nHost: a\r\n\r\n" end

describe("drain", function()
  after_each(function()
    wire.finish()
    host.finish()
  end)

  local function start(set)
    return host.start { dir = "spec/apps/wire", set = set }
  end

  local function held(c, key, n)
    events.retry("a held request", function()
      return tonumber(c:ask("/seen/" .. key).body) >= n
    end)
  end

  -- TERM, and waits until newcomers are refused.
  local function drain(h)
    h:term()
    events.retry("a refusal", function()
      local late = wire.open(h)
      events.wait("either", function() return late.connected or late.refused end)
      late:close()
      return late.refused
    end)
  end

  it("answers requests in flight and says that the connection ends", function()
    local h = start { drain_timeout = 60 }
    local c, other, idle = wire.connect(h), wire.connect(h), wire.connect(h)
    c:send(get "/hold/a")
    held(other, "a", 1)
    local opens = get "/open/a"
    other:send(opens:sub(1, 5))
    for _ = 1, 2 do idle:ask "/probe" end -- it has come
    local began = events.now()
    drain(h)
    -- The connection is still there: it may ask once more, for half a second.
    local ok, answer = pcall(idle.ask, idle, "/probe")
    if ok then
      assert.equal("probe", answer.body)
      assert.equal("close", answer.fields.connection)
    else
      assert(idle.eof and events.now() - began >= 0.5, answer)
    end
    answer = other:send(opens:sub(6)):receive()
    assert.equal("open", answer.body)
    assert.equal("close", answer.fields.connection)
    answer = c:receive()
    assert.equal("held a", answer.body)
    assert.equal("close", answer.fields.connection)
    assert.equal("", (c:wait_end()))
    h:ended_well()
  end)

  it("answers what the kernel has queued", function()
    -- While the one isolate is busy, connections pile up behind it.
    local h = host.start { app = [[
      app:get("/busy", function()
        local over = atoll.now() + 0.3
        while atoll.now() < over do end
        return "busy"
      end)
      app:get("/", function() return "queued" end)]] }
    local first = wire.connect(h)
    first:send(get "/busy")
    local list = {}
    for i = 1, 20 do list[i] = wire.connect(h):send(get "/") end
    h:term()
    assert.equal("busy", first:receive().body)
    for _, c in ipairs(list) do
      assert.equal("queued", c:receive().body)
      assert.equal("", (c:wait_end()))
      assert.is_nil(c.reset)
    end
    h:ended_well()
  end)

  it("reads bodies that are under way to their end", function()
    local h = start { drain_timeout = 60 }
    local c, other = wire.connect(h), wire.connect(h)
    c:send "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nab"
    other:ask "/probe"
    drain(h)
    c:send "cde"
    local answer = c:receive()
    assert.equal("abcde", answer.body)
    assert.equal("close", answer.fields.connection)
    h:ended_well()
  end)

  it("closes idle connections, and does not wait for them", function()
    local h = start { idle_timeout = 60, drain_timeout = 60 }
    local list = {}
    for i = 1, 50 do
      list[i] = wire.connect(h)
      if i % 2 == 0 then list[i]:ask "/probe" end
    end
    local began = events.now()
    h:term()
    for _, c in ipairs(list) do
      assert.equal("", (c:wait_end()))
      assert.is_nil(c.reset)
    end
    h:ended_well()
    assert.is_true(events.now() - began < 30)
  end)

  it("cuts what has not ended after drain_timeout, and says so", function()
    local h = start { drain_timeout = 0.3 }
    local c, other = wire.connect(h), wire.connect(h)
    c:send(get "/hold/a")
    held(other, "a", 1)
    h:term()
    h:log_wait "1 requests were left when drain_timeout was over"
    c:wait_end()
    h:ended_well()
  end)

  it("is no longer than drain_timeout for an isolate that leaves", function()
    local h = host.start { isolates = 2, set = { drain_timeout = 0.3 }, app = [[
      local host = require "atoll.core.host"
      app:get("/", function() return "isolate " .. host.isolate() end)
      app:get("/long", function()
        atoll.log.info("long in " .. host.isolate())
        atoll.sleep(60)
      end)
    ]] }
    local c
    repeat
      c = wire.connect(h)
      c:send(get "/long")
    until h:log_wait "long in (%d)" == "2"
    h:signal "sigttou"
    h:log_wait "requests were left when drain_timeout was over"
    c:wait_end()
    assert.equal("isolate 1", wire.ask(h, "/").body)
    h:term()
    h:ended_well()
  end)

  it("keeps serving for drain_delay", function()
    -- Longer where the machine has stood still for as long.
    for _, delay in ipairs { 0.3, 3, 15 } do
      local h = start { drain_delay = delay }
      local c = wire.connect(h)
      c:ask "/probe"
      local began = events.now()
      h:term()
      h:log_wait("stopping in " .. delay .. " s")
      local ok, why = pcall(function()
        assert.equal("probe", wire.ask(h, "/probe").body)
        assert.is_nil(c:ask("/probe").fields.connection)
      end)
      local in_time = events.now() - began < delay
      h:ended_well()
      if in_time then assert(ok, why) return end
    end
    error "the machine stands still"
  end)

  it("under load fails no request that was begun", function()
    local h = host.start { dir = "spec/apps/wire", isolates = 2,
      set = { drain_timeout = 60 } }
    local run = load.start(h, { connections = 8, path = "/probe", drains = true,
      check = function(response)
        if response.body ~= "probe" then return response.status .. response.body end
      end })
    run:run(300)
    h:term()
    run:drained()
    h:ended_well()
  end)

  -- The workers were freed under a reload that was still loading.
  it("in the middle of a reload ends well", function()
    local body = [[
      local t = {}
      for i = 1, 20000 do t[i] = "row " .. i end
      app:on("start", function() atoll.sleep(0.01) end)
      app:get("/", function() return "x" end)]]
    for i = 0, 10 do
      local h = host.start { app = body, isolates = 2 }
      h:hup()
      for _ = 1, i * 4 do wire.ask(h, "/") end
      h:term()
      h:ended_well()
    end
  end)

  it("works from every signal that asks for it", function()
    for _, signal in ipairs { "sigterm", "sigquit", "sigint" } do
      local h = start()
      assert.equal("probe", wire.ask(h, "/probe").body)
      h:signal(signal)
      h:ended_well()
    end
  end)

  it("runs on('stop') first to last, and waits for it", function()
    local h = host.start { app = [[
      app:on("stop", function() atoll.sleep(0.02) atoll.log.info("one") end)
      app:on("stop", function() atoll.log.info("two") end)
      app:get("/", function() return "x" end)]] }
    wire.ask(h, "/")
    h:term()
    h:log_wait "info  isolate 1: one\n"
    h:log_wait "info  isolate 1: two\n"
    h:ended_well()
  end)
end)
