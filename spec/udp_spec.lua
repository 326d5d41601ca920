-- Datagrams: atoll.net.udp.
local atoll = require "atoll"
local whole = require "support.whole"
local net = require "atoll.net"

local function spawn(fn, ...) return atoll.spawn(fn, ...):quiet() end

local function timed_out(...)
  assert.same({ n = 3, nil, "timed out", "ETIMEDOUT" }, table.pack(...))
end

setup(whole.begin)
teardown(whole.over)

describe("udp", function()
  for _, address in ipairs { "127.0.0.1:0", "[::1]:0", "localhost:0", ":0" } do
    it("sends and tells who has sent, at " .. address, function()
      local server <close> = assert(net.udp(address))
      local port = server:name():match ":(%d+)$"
      local to = address:gsub("^:", "127.0.0.1:"):gsub("0$", port)
      local client <close> = assert(net.udp())
      assert.is_true(client:send("ping", to))
      local data, from = server:receive()
      assert.equal("ping", data)
      assert.equal(client:name():match ":%d+$", from:match ":%d+$")
      assert.is_true(server:send("pong", from))
      assert.equal("pong", (client:receive()))
    end)
  end

  it("keeps datagrams apart, the empty one, too", function()
    local a <close> = assert(net.udp "127.0.0.1:0")
    local b <close> = assert(net.udp())
    local long = ("x"):rep(60000)
    assert.is_true(b:connect(a:name()))
    assert.equal(a:name(), b:peer())
    for _, data in ipairs { "one", "", long, "last" } do assert(b:send(data)) end
    for _, data in ipairs { "one", "", long, "last" } do
      assert.equal(data, (a:receive(10)))
    end
    assert.equal("EMSGSIZE", (select(3, b:send(("x"):rep(70000)))))
  end)

  it("connected hears that nobody is there", function()
    local a = assert(net.udp "127.0.0.1:0")
    local name = a:name()
    a:close()
    local b <close> = assert(net.udp())
    assert.is_true(b:connect(name))
    b:send "x"
    assert.equal("ECONNREFUSED", (select(3, b:receive(10))))
  end)

  it("goes through unix sockets", function()
    local path = os.tmpname() .. ".d"
    local a = assert(net.udp("unix:" .. path))
    local b <close> = assert(net.udp())
    assert.is_true(b:send("x", "unix:" .. path))
    assert.same({ "x", "unix:" }, { a:receive() })
    assert.is_true(b:connect("unix:" .. path))
    local sent = 0
    while true do -- until its queue is full
      local ok = b:send("y", nil, 0)
      if not ok then break end
      sent = sent + 1
    end
    timed_out(b:send("y", nil, 0.005))
    local task = spawn(function() return b:send "z" end)
    for _ = 1, sent do assert.equal("y", (a:receive(10))) end
    assert.is_true(task:join())
    assert.equal("z", (a:receive()))
    a:close()
    assert.falsy(os.rename(path, path))
  end)

  it("waits for as long as it is told, and can be closed meanwhile", function()
    local a = assert(net.udp "127.0.0.1:0")
    timed_out(a:receive(0))
    timed_out(a:receive(0.005))
    a:settimeout(0.005)
    timed_out(a:receive())
    a:settimeout(nil)
    local task = spawn(function() return a:receive() end)
    atoll.sleep(0)
    assert.error_matches(function() a:receive() end, "another fiber is already reading")
    a:close()
    assert.same({ nil, "closed", "ECLOSED" }, { task:join() })
    assert.equal("ECLOSED", (select(3, a:send("x", "127.0.0.1:1"))))
    assert.equal("ECLOSED", (select(3, a:name())))
    assert.equal("udp (closed)", tostring(a))
  end)

  it("may be cancelled, and used again", function()
    local a <close> = assert(net.udp "127.0.0.1:0")
    local task = spawn(function() return a:receive() end)
    atoll.sleep(0)
    task:cancel()
    assert.equal("ECANCELED", (select(3, task:join())))
    local b <close> = assert(net.udp())
    b:send("x", a:name())
    assert.equal("x", (a:receive(10)))
  end)

  it("says what is wrong", function()
    local a <close> = assert(net.udp())
    assert.equal("EDESTADDRREQ", (select(3, a:send "x")))
    assert.equal("ENOTCONN", (select(3, a:receive(0))))
    assert.equal("EINVAL", (select(3, a:send("x", "nonsense"))))
    assert.equal("ENOTFOUND", (select(3, a:send("x", "nobody.invalid:1"))))
    assert.equal("ENOTFOUND", (select(3, a:connect "nobody.invalid:1")))
    assert.equal("EINVAL", (select(3, net.udp "nonsense")))
    assert.equal("EADDRNOTAVAIL", (select(3, net.udp "192.0.2.1:0")))
    assert.has_error(function() a:send() end)
    assert.has_error(function() a:receive(-1) end)
  end)
end)
