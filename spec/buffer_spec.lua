-- atoll.buffer: bytes that isolates share.
local atoll = require "atoll"
local host = require "support.host"
local wire = require "support.wire"

local buffer = atoll.buffer

describe("a buffer", function()
  it("is what it was made of", function()
    local b = buffer("ab", 12, buffer "cd", "\0", "")
    assert.equal("ab12cd\0", tostring(b))
    assert.equal(7, #b)
    assert.equal("", tostring(buffer()))
    assert.equal("xab12cd\0y", "x" .. b .. "y")
    assert.is_true(buffer "x" == buffer("", "x"))
    assert.is_false(buffer "x" == buffer "y")
    assert.is_false(buffer "x" == "x")
    assert.error_matches(function() buffer({}) end,
      "string, number or buffer expected, got table")
    assert.error_matches(function() buffer(nil) end,
      "string, number or buffer expected, got nil")
    assert.error(function() b.x = 1 end)
  end)

  it("has parts, as a string has", function()
    local text = "0123456789"
    local b = buffer(text)
    for i = -12, 12 do
      assert.equal(text:sub(i), b:sub(i))
      for j = -12, 12 do assert.equal(text:sub(i, j), b:sub(i, j), i .. " " .. j) end
    end
    assert.equal(text, b:sub(math.mininteger, math.maxinteger))
    assert.equal("", b:sub(math.maxinteger, math.mininteger))
  end)

  it("goes in messages, to any number of isolates", function()
    local big = buffer(("x"):rep(10000000), "end")
    local port = atoll.port()
    local before = collectgarbage "count"
    for _ = 1, 50 do assert(port:sender():send { big, { again = big } }) end
    for _ = 1, 50 do
      local value = port:receive()
      assert.equal("xend", value[1]:sub(-4))
      assert.is_true(rawequal(value[1], value[2].again) or value[1] == value[2].again)
    end
    assert.is_true(collectgarbage "count" - before < 5000)
    local dir = host.directory { ["same.lua"] = "return ..." }
    local h = assert(atoll.isolate.spawn(dir .. "/same.lua", big))
    assert.is_true(h:join(60) == big)
    host.finish()
  end)

  it("is published to all", function()
    local topic = atoll.topic "buffers"
    local one <close> = topic:subscribe()
    local two <close> = topic:subscribe()
    topic:publish(buffer "news")
    assert.equal("news", tostring(one:receive(10)))
    assert.equal("news", tostring(two:receive(10)))
  end)

  it("is written, and answered with", function()
    local listener <close> = assert(atoll.net.listen "127.0.0.1:0")
    local client = assert(atoll.net.connect(listener:name()))
    local server = assert(listener:accept())
    local text = ("0123456789"):rep(30000)
    atoll.spawn(function()
      server:write("begin ", buffer(text), 1, buffer "", buffer " end")
      server:close()
    end)
    assert.equal("begin " .. text .. "1 end", client:read "all")
    local h = host.start { app = [[
      local page = atoll.buffer(("page"):rep(500000))
      app:get("/", function() return page end)
      app:get("/typed", function()
        return 201, atoll.buffer "{}", { ["Content-Type"] = "application/json" }
      end)]] }
    local c = wire.connect(h)
    assert.equal(("page"):rep(500000), c:ask("/").body)
    local res = c:ask "/typed"
    assert.same({ 201, "{}", "application/json" },
      { res.status, res.body, res.fields["content-type"] })
    host.finish()
  end)
end)
