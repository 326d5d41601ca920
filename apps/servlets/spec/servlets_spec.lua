local host = require "support.host"
local json = require "atoll.json"
local wire = require "support.wire"

describe("servlets", function()
  after_each(function()
    wire.finish()
    host.finish()
  end)

  it("are dispatched to by the first part of the path", function()
    local h = host.start { dir = "apps/servlets", isolates = 1 }
    local c = wire.connect(h)
    for n = 1, 3 do assert.equal(n .. "\n", c:ask("/counter").body) end
    local body = ("abc "):rep(20000)
    assert.equal(body:upper(), c:ask(("POST /upper HTTP/1.1\r\nHost: a\r\n"
      .. "Content-Length: %d\r\n\r\n%s"):format(#body, body)).body)
    c = wire.connect(h)
    assert.equal(404, c:ask("/none").status)
    assert.equal(404, c:ask("/no%2ene").status)
    assert.equal(404, c:ask("/counter/none").status)
    assert.same({ counter = "running", upper = "running" },
      json.decode(c:ask("/").body))
  end)

  it("leave the others as they were when one never comes back", function()
    local h = host.start { dir = "apps/servlets", isolates = 1,
      set = { drain_timeout = 0.2 } }
    local stuck, c = wire.connect(h), wire.connect(h)
    assert.equal("still here\n", stuck:ask("/loop").body)
    stuck:send "GET /loop/forever HTTP/1.1\r\nHost: a\r\n\r\n"
    h:log_wait "has run for"
    for n = 1, 3 do assert.equal(n .. "\n", c:ask("/counter").body) end
    h:hup()
    h:log_wait "generation 2 serves"
    assert.equal("1\n", c:ask("/counter").body)
    assert.equal("still here\n", c:ask("/loop").body)
    assert.equal(503, stuck:receive().status)
  end)
end)
