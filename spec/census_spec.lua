-- How many connections one client may have.
local events = require "support.events"
local host = require "support.host"
local wire = require "support.wire"

local GET = "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
local HELLO = [[app:get("/", function() return "hello" end)]]

describe("connections_per_address", function()
  after_each(function()
    wire.finish()
    host.finish()
  end)

  local function connect(h, from)
    return wire.connect { port = h.port, from = from, receive_buffer = from and 65536 }
  end

  it("turns away whoever has so many, and nobody else", function()
    local h = host.start { app = HELLO, isolates = 3,
      set = { connections_per_address = 10 } }
    local list = {}
    for i = 1, 10 do
      list[i] = connect(h)
      assert.equal("hello", list[i]:ask("/").body)
    end
    local began = events.now()
    for _ = 1, 5 do assert.equal(503, connect(h):receive().status) end
    h:log_wait "connections_per_address is reached by 127.0.0.1, .*%(1 since"
    local spans = (events.now() - began) // 10 + 1
    -- One each, in ten seconds.
    assert.is_true(h:count "connections_per_address is reached" <= 3 * spans)
    assert.equal("hello", connect(h, "127.0.0.2"):ask("/").body)
    for _, c in ipairs(list) do assert.equal("hello", c:ask("/").body) end
    list[1]:close()
    events.retry("a place", function()
      local c = connect(h)
      c:send(GET)
      events.wait("an answer", function() return c.size > 0 or c.eof end)
      return c:receive().status == 200
    end)
  end)

  it("has all places free again when all have gone", function()
    local h = host.start { app = HELLO, isolates = 3,
      set = { connections_per_address = 8 } }
    local function round()
      local list, served = {}, 0
      for i = 1, 8 do list[i] = connect(h):send(GET) end
      for _, c in ipairs(list) do
        if c:receive().status == 200 then served = served + 1 end
        c:close()
      end
      return served
    end
    for _ = 1, 30 do round() end
    -- The host hears of the ends after the spec has gone on.
    events.retry("all places", function() return round() == 8 end)
  end)

  it("may be changed by a reload, and does not hold for unix sockets", function()
    local dir = host.directory()
    local h = host.start { isolates = 1, listen = { "127.0.0.1:0",
      "unix:" .. dir .. "/socket" }, files = { ["app.lua"] = host.app(HELLO),
      ["atoll.lua"] = "return { connections_per_address = 1 }" } }
    local one = connect(h)
    assert.equal("hello", one:ask("/").body)
    assert.equal(503, connect(h):receive().status)
    for _ = 1, 3 do
      assert.equal("hello", wire.connect({ path = dir .. "/socket" }):ask("/").body)
    end
    h:write("atoll.lua", "return {}")
    h:reload()
    assert.equal("hello", connect(h):ask("/").body)
  end)
end)
