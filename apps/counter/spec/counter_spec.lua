local host = require "support.host"
local json = require "atoll.json"
local servers = require "support.servers"
local wire = require "support.wire"

describe("counter", function()
  after_each(function()
    wire.finish()
    host.finish()
    servers.finish()
  end)

  it("counts in Redis, for all isolates", function()
    local redis = servers.redis()
    local h = host.start {
      dir = "apps/counter", isolates = 2, env = { REDIS = redis.address },
    }
    for n = 1, 20 do
      assert.same({ page = "/tea", seen = n }, json.decode(wire.ask(h, "/tea").body))
    end
    h:reload()
    assert.same({ page = "/a page", seen = 1 },
      json.decode(wire.ask(h, "/a%20page").body))
    assert.same({ pages = {
      { page = "/tea", seen = 20 }, { page = "/a page", seen = 1 },
    } }, json.decode(wire.ask(h, "/").body))

    servers.stop(redis)
    local response = wire.ask(h, "/tea")
    assert.equal(503, response.status)
    assert.equal("Redis does not answer: connection refused\n", response.body)
  end)
end)
