local atoll = require "atoll"
local host = require "support.host"
local wire = require "support.wire"

local net = atoll.net

describe("first", function()
  local listeners, hung_up

  before_each(function() listeners, hung_up = {}, atoll.channel(10) end)

  after_each(function()
    wire.finish()
    host.finish()
    for _, listener in ipairs(listeners) do listener:close() end
  end)

  -- A mirror's URL; it answers so, or never when there is no answer.
  local function mirror(answer)
    local listener = assert(net.listen "127.0.0.1:0")
    listeners[#listeners + 1] = listener
    atoll.spawn(listener.serve, listener, function(socket)
      socket:read_until "\r\n\r\n"
      if answer then
        socket:write("HTTP/1.1 ", answer)
      else
        socket:read "some"
        hung_up:send(true)
      end
    end)
    return "http://" .. listener:name() .. "/"
  end

  local function ask(...)
    local h = host.start { dir = "apps/first",
      env = { MIRRORS = table.concat({ ... }, " ") } }
    -- wire would hold up the mirrors, which are fibers of this very thread.
    return assert(atoll.http.get(h.url))
  end

  it("passes on the first answer and hangs up on the others", function()
    local good = mirror "200 OK\r\nContent-Length: 5\r\n\r\nhello"
    local res = ask(mirror(), good, mirror())
    assert.equal("hello", res.body)
    assert.equal(good, res.headers["x-mirror"])
    assert.is_true(hung_up:receive(10))
    assert.is_true(hung_up:receive(10))
  end)

  it("takes no failure for an answer", function()
    local good = mirror "200 OK\r\nContent-Length: 2\r\n\r\nok"
    local res = ask("http://127.0.0.1:1/", mirror "500 No\r\nContent-Length: 0\r\n\r\n",
      good)
    assert.equal("ok", res.body)
  end)

  it("says so when none is good", function()
    local bad = mirror "500 No\r\nContent-Length: 0\r\n\r\n"
    local res = ask("http://127.0.0.1:1/", bad)
    assert.equal(502, res.status)
    assert.match("^No mirror answers; the last: http", res.body)
  end)

  it("has mirrors of its own", function()
    local h = host.start { dir = "apps/first" }
    assert.equal("Hello from mirror a\n", wire.ask(h, "/mirrors/a").body)
  end)
end)
