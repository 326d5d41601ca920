local host = require "support.host"
local wire = require "support.wire"

describe("busy", function()
  after_each(function()
    wire.finish()
    host.finish()
  end)

  it("keeps nobody else from being answered", function()
    local h = host.start { dir = "apps/busy", isolates = 2, set = { slice_warn = 0 } }
    local busy = wire.connect(h):send "GET /?seconds=1 HTTP/1.1\r\nHost: a\r\n\r\n"
    for _ = 1, 50 do
      assert.truthy(wire.ask(h, "/quick").body:find "^isolate %d\n$")
    end
    assert.truthy(busy:receive().body:find "^isolate %d has counted to %d+\n$")
  end)
end)
