-- Connections belong to isolates, not to Lua states, and go from one to another whole.
local events = require "support.events"
local host = require "support.host"
local load = require "support.load"
local wire = require "support.wire"

local APP = [[
  local host = require "atoll.core.host"
  app:get("/", function() return "isolate " .. host.isolate() end)
  app:get("/slow", function() atoll.sleep(0.1) return "isolate " .. host.isolate() end)
  app:post("/echo", function(req) return req:text() end)]]

local function get(path) return "GET " .. path .. " HTTP/1.1\r\nHost: a\r\n\r\n" end

describe("handover", function()
  after_each(function()
    wire.finish()
    host.finish()
  end)

  -- Connections on both of two isolates.
  local function connections(h, n)
    local list = {}
    for i = 1, n do list[i] = wire.connect(h) end
    -- Who has more of them gives some away.
    events.retry("some on each isolate", function()
      local at = {}
      for _, c in ipairs(list) do at[c:ask("/").body] = true end
      return next(at, next(at))
    end)
    return list
  end

  it("takes idle connections to the isolate that stays", function()
    local h = host.start { app = APP, isolates = 2 }
    local list = connections(h, 40)
    h:signal "sigttou"
    h:log_wait "1 isolates" -- the other one leaves from now on
    for _, c in ipairs(list) do
      events.retry("an answer of the one that stays", function()
        return c:ask("/").body == "isolate 1"
      end)
    end
    for _ = 1, 3 do
      for _, c in ipairs(list) do assert.equal("isolate 1", c:ask("/").body) end
    end
    events.retry("a newcomer at the one that stays", function()
      return wire.ask(h, "/").body == "isolate 1"
    end)
  end)

  it("answers first what was under way, and what is pipelined behind", function()
    local h = host.start { app = APP, isolates = 2 }
    local list = connections(h, 20)
    for _, c in ipairs(list) do c:send(get "/slow" .. get "/" .. get "/") end
    h:signal "sigttou"
    h:log_wait "1 isolates"
    for _, c in ipairs(list) do
      for _ = 1, 3 do assert.equal(200, c:receive().status) end
      assert.equal(200, c:ask("/").status)
    end
  end)

  it("loses no byte of a request that is on its way", function()
    local h = host.start { app = APP, isolates = 2 }
    local list = connections(h, 20)
    for _, c in ipairs(list) do c:send "POST /echo HTTP/1.1\r\nHost: a\r\nContent-" end
    h:signal "sigttou"
    h:log_wait "1 isolates"
    for _, c in ipairs(list) do c:send "Length: 5\r\n\r\nhel" end
    wire.ask(h, "/")
    for _, c in ipairs(list) do c:send("lo" .. get "/") end
    for _, c in ipairs(list) do
      assert.equal("hello", c:receive().body)
      assert.equal(200, c:receive().status)
    end
  end)

  it("goes on while isolates come and go and code is replaced", function()
    local h = host.start { app = APP, isolates = 2, set = { drain_timeout = 60 } }
    local run = load.start(h, { connections = 12, check = function(response)
      if not response.body:find "^isolate %d" then return response.body end
    end })
    for n = 2, 13 do
      h:signal(n % 2 == 0 and "sigttin" or "sigttou")
      h:hup()
      h:log_wait("reload: generation " .. n .. " serves")
      run:run(100)
    end
    run:stop()
  end)
end)
