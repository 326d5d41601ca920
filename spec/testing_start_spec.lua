local testing = require "atoll.testing"

local function get(url)
  local pipe = assert(io.popen("curl -s " .. url))
  local body = pipe:read("a")
  pipe:close()
  return body
end

describe("testing.start", function()
  it("runs a real host on a port of its own", function()
    local host <close> = testing.start("apps/hello", { isolates = 2 })
    assert.equal("Hello, ann\n", get(host.url .. "/hello/ann"))
    assert.is_true(host:reload())
    assert.equal("Hello, bob\n", get(host.url .. "/hello/bob"))
    assert.equal(0, host:stop())
  end)

  it("tells why a host did not start", function()
    assert.error_matches(function() testing.start("spec/support") end, "no app.lua")
  end)
end)
