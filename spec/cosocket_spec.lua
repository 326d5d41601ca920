-- ngx.socket, as OpenResty's libraries use it. What it answers here was compared with
-- what nginx answers.
local atoll = require "atoll"
local certs = require "support.certs"
local cosocket = require "atoll.compat.cosocket"
local events = require "support.events"
local host = require "support.host"
local pools = require "atoll.compat.pools"
local servers = require "support.servers"
local whole = require "support.whole"
local uv = require "luv"

local net = atoll.net

local listeners = {}

-- A server whose connections are fn's; its port.
local function peer(fn)
  local listener = assert(net.listen "127.0.0.1:0")
  listeners[#listeners + 1] = listener
  atoll.spawn(listener.serve, listener, fn)
  return tonumber(listener:name():match ":(%d+)$")
end

-- One that says these texts with pauses between them, and closes.
local function saying(...)
  local texts = { ... }
  return peer(function(socket)
    for _, text in ipairs(texts) do
      socket:write(text)
      atoll.sleep(0.05)
    end
  end)
end

local function echo()
  return peer(function(socket)
    local data = socket:read "some"
    while data and socket:write(data) do data = socket:read "some" end
  end)
end

local function connect(port, options)
  local socket = cosocket.tcp()
  socket:settimeout(10000)
  assert(socket:connect("127.0.0.1", port, options))
  return socket
end

setup(whole.begin)
teardown(whole.over)

describe("a cosocket", function()
  after_each(function()
    for _, listener in ipairs(listeners) do listener:close() end
    listeners = {}
    servers.finish()
    host.finish()
  end)

  it("receives lines without any CR, bytes, and what is left", function()
    local s = connect(saying "one\r\ntwo\nth\rree\r\r\nrest of it")
    assert.equal("one", s:receive())
    assert.equal("two", s:receive "*l")
    assert.equal("three", s:receive "*l")
    assert.equal("re", s:receive(2))
    assert.equal("", s:receive(0))
    assert.equal("st of it", s:receive "*a")
    assert.equal("", s:receive "*a")
    assert.same({ nil, "closed", "" }, { s:receive() })
    assert.same({ nil, "closed" }, { s:receive() })
  end)

  it("hands out what has come once, and stays open, when the time is over", function()
    local said, go = atoll.channel(1), atoll.channel(1)
    local port = peer(function(socket)
      socket:write "part"
      said:send(socket:flush())
      go:receive()
      socket:write "ial\n"
    end)
    local s = connect(port)
    assert.is_true(said:receive())
    s:settimeouts(nil, nil, 100)
    assert.same({ nil, "timeout", "part" }, { s:receive() })
    assert.same({ nil, "timeout", "" }, { s:receive(1) })
    s:settimeout(10000)
    go:send(true)
    assert.equal("ial", s:receive())
    assert.same({ nil, "closed", "" }, { s:receive(9) })
    assert.same({ nil, "closed" }, { s:close() })
  end)

  it("gives what had come when the peer closes", function()
    local s = connect(saying "half")
    assert.same({ nil, "closed", "half" }, { s:receive(9) })
    s = connect(saying "ha\rlf")
    assert.same({ nil, "closed", "half" }, { s:receive "*l" })
  end)

  it("receives any", function()
    local go = atoll.channel(1)
    local s = connect(peer(function(socket)
      socket:write "abc"
      go:receive()
      socket:write "d"
    end))
    assert.equal("ab", s:receiveany(2))
    assert.equal("c", s:receiveany(10))
    go:send(true)
    assert.equal("d", s:receiveany(10))
    assert.same({ nil, "closed", "" }, { s:receiveany(10) })
    assert.same({ nil, "closed" }, { s:receiveany(10) })
  end)

  it("receives until a text", function()
    local s = connect(saying("abcab", "def--E", "ND--xy--END--tail"))
    local next_part = s:receiveuntil "--END--"
    assert.equal("abcabdef", next_part())
    assert.equal("xy", next_part())
    assert.same({ nil, "closed", "tail" }, { next_part() })
    s = connect(saying("abca", "bdef"))
    assert.equal("abcabd", s:receiveuntil("abd", { inclusive = true })())
    assert.equal("ef", s:receive(2))
    assert.same({ nil, "pattern is empty" }, { s:receiveuntil "" })
  end)

  it("receives until a text, piece by piece", function()
    local text = "hello, world! -agentzh\r\n--abcedhb blah"
    local function pieces(port, size, options)
      local s = connect(port)
      local next_piece, list = s:receiveuntil("\r\n--abcedhb", options), {}
      for piece in next_piece, size do list[#list + 1] = piece end
      return table.concat(list, "|"), s:receive "*a"
    end
    assert.same({ "hell|o, w|orld|! -a|gent|zh", " blah" },
      { pieces(saying(text), 4) })
    assert.same({ "hell|o, w|orld|! -a|gent|zh", " blah" },
      { pieces(saying(text:sub(1, 9), text:sub(10, 26), text:sub(27)), 4) })
    assert.same({ "hello, worl|d! -agentzh|", " blah" }, { pieces(saying(text), 11) })
    assert.same({ "hello|, wor|ld! -|agent|zh\r\n--abcedhb", " blah" },
      { pieces(saying(text), 5, { inclusive = true }) })
  end)

  it("hands out what cannot be the beginning of the text", function()
    local s = connect(saying("aaab", "xyz"))
    local next_piece = s:receiveuntil "abc"
    assert.equal("aa", next_piece(2))
    assert.equal("ab", next_piece(2))
    assert.equal("xy", next_piece(2))
  end)

  it("sends texts, numbers and nested lists of them", function()
    local s = connect(echo())
    assert.equal(6, s:send { "a", { "b", 1 }, 2.5 })
    assert.equal("ab12.5", s:receive(6))
    assert.equal(0, s:send "")
    assert.equal(7, s:send(nil) + s:send(true))
    assert.equal("niltrue", s:receive(7))
    s:close()
    assert.same({ nil, "closed" }, { s:send "x" })
  end)

  it("takes many short lines out of much that has come", function()
    local s = connect(saying(("0123456789\r\n"):rep(50000)))
    for _ = 1, 50000 do assert(s:receive() == "0123456789") end
  end)

  it("refuses arguments that make no sense", function()
    local s = connect(echo())
    local function wrong(text, name, ...)
      local ok, message = pcall(s[name], s, ...)
      assert.is_false(ok)
      assert.truthy(message:find(text, 1, true), message)
    end
    wrong("#1 to 'receive' (bad pattern argument: l)", "receive", "l")
    wrong("#1 to 'receive' (bad pattern argument)", "receive", -1)
    wrong("#1 to 'receiveany' (", "receiveany", 0)
    wrong("#1 to 'receiveuntil' (", "receiveuntil", nil)
    wrong("#2 to 'receiveuntil' (bad \"inclusive\"", "receiveuntil", "x",
      { inclusive = 1 })
    wrong("#1 to 'send' (", "send", print)
    wrong("#1 to 'settimeout' (", "settimeout", -1)
    wrong("#3 to 'settimeouts' (", "settimeouts", 1, 1, "x")
    wrong("#1 to 'connect' (", "connect", nil)
    wrong("bad \"pool_size\"", "connect", "127.0.0.1", 1, { pool_size = 0 })
    wrong("bad \"backlog\"", "connect", "127.0.0.1", 1, { backlog = -1 })
    wrong("#2 to 'setkeepalive' (", "setkeepalive", 1, 0)
    assert.same({ nil, "missing the port number" }, { s:connect "127.0.0.1" })
  end)

  it("says why it cannot connect", function()
    local s = cosocket.tcp()
    assert.same({ nil, "no such file or directory" }, { s:connect "unix:/nonexistent" })
    local listener = assert(net.listen "127.0.0.1:0")
    local port = tonumber(listener:name():match ":(%d+)$")
    listener:close()
    assert.same({ nil, "connection refused" }, { s:connect("127.0.0.1", port) })
    assert.same({ nil, "closed" }, { s:receive() })
    assert.same({ nil, "closed" }, { s:getreusedtimes() })
    assert.same({ nil, "closed" }, { s:setkeepalive() })
  end)

  it("connects to a unix socket", function()
    local path = "unix:" .. host.directory() .. "/s"
    local listener = assert(net.listen(path))
    listeners[#listeners + 1] = listener
    atoll.spawn(listener.serve, listener, function(socket) socket:write "there\n" end)
    local s = assert(cosocket.connect(path))
    assert.equal("there", s:receive())
    s:close()
  end)

  describe("in a pool", function()
    it("is used again", function()
      local port = echo()
      local s = connect(port)
      assert.equal(0, s:getreusedtimes())
      assert.equal(1, s:setkeepalive(10000, 5))
      assert.same({ nil, "closed" }, { s:send "x" })
      for times = 1, 3 do
        assert.equal(1, s:connect("127.0.0.1", port))
        assert.equal(times, s:getreusedtimes())
        s:send "ping\n"
        assert.equal("ping", s:receive())
        assert.equal(1, s:setkeepalive())
      end
      s = connect(port, { pool = "another" })
      assert.equal(0, s:getreusedtimes())
      s:close()
    end)

    it("is not used again when something unread has come", function()
      local port = echo()
      local s = connect(port)
      s:send "left"
      assert.equal("le", s:receive(2))
      assert.same({ nil, "unread data in buffer" }, { s:setkeepalive() })
      assert.equal("ft", s:receive(2))
      s:send "more"
      assert.equal("m", s:receive(1))
      s:close()
    end)

    it("is not used again when the peer has closed it or speaks unasked", function()
      for _, farewell in ipairs { "", "bye" } do
        local go, gone = atoll.channel(1), atoll.channel(1)
        local port = peer(function(socket)
          socket:write "hello\n"
          go:receive()
          socket:write(farewell)
          socket:close()
          gone:send(true)
        end)
        local s = connect(port)
        assert.equal("hello", s:receive())
        assert.equal(1, s:setkeepalive())
        go:send(true)
        gone:receive()
        atoll.sleep(0.01)
        s = connect(port)
        assert.equal(0, s:getreusedtimes())
        s:close()
        go:send(true)
      end
    end)

    it("is closed when it has been idle for long, or when there are many", function()
      local open = 0
      local port = peer(function(socket)
        open = open + 1
        socket:read "all"
        open = open - 1
      end)
      local s = connect(port)
      s:setkeepalive(1)
      atoll.sleep(0.005)
      s = connect(port)
      assert.equal(0, s:getreusedtimes())
      local others = {}
      for i = 1, 3 do others[i] = connect(port, { pool = "small" }) end
      for i = 1, 3 do others[i]:setkeepalive(50, 2) end
      s:close()
      -- One too many has gone at once, the two others go when they are looked at.
      local deadline = atoll.now() + 60
      while open > 0 and atoll.now() < deadline do atoll.sleep(0.02) end
      assert.equal(0, open)
    end)

    it("stands in line when that many are in use", function()
      local port = echo()
      local options = { pool = "narrow", pool_size = 1, backlog = 1 }
      local a, b, c = connect(port, options), cosocket.tcp(), cosocket.tcp()
      b:settimeout(20)
      assert.same({ nil, "timeout" }, { b:connect("127.0.0.1", port, options) })
      b:settimeout(10000)
      local waiting = atoll.spawn(function()
        assert(b:connect("127.0.0.1", port, options))
        return b:getreusedtimes()
      end)
      atoll.sleep(0.001)
      assert.same({ nil, "too many waiting connect operations" },
        { c:connect("127.0.0.1", port, options) })
      a:setkeepalive()
      assert.equal(1, waiting:join())
      b:close()
      assert.equal(1, c:connect("127.0.0.1", port, options))
      c:close()
    end)

    it("leaves its place also when its fiber is cancelled", function()
      local port = echo()
      local options = { pool = "cancelled", pool_size = 1, backlog = 0 }
      local task = atoll.spawn(function()
        connect(port, options)
        atoll.sleep(60)
      end)
      atoll.sleep(0.01)
      task:cancel()
      task:join()
      task = nil -- luacheck: ignore 311
      collectgarbage()
      collectgarbage()
      connect(port, options):close()
    end)

    it("is known by its name only while somebody needs it", function()
      local pool = pools.enter("once")
      assert.equal(pool, pools.enter("once"))
      pools.gone(pool)
      pools.gone(pool)
      assert.not_equal(pool, pools.enter("once"))
    end)
  end)

  it("speaks TLS, and goes on with it from a pool", function()
    local files = certs.make()
    local accepted = 0
    local listener = assert(net.listen("127.0.0.1:0",
      { tls = { cert = files.server, key = files.key } }))
    listeners[#listeners + 1] = listener
    atoll.spawn(listener.serve, listener, function(socket)
      accepted = accepted + 1
      for line in socket:lines() do socket:write(line:upper(), "\n") end
    end)
    local port = tonumber(listener:name():match ":(%d+)$")
    for times = 0, 2 do
      local s = connect(port)
      assert.equal(times, s:getreusedtimes())
      assert.is_truthy(s:sslhandshake(nil, "server.test", false))
      assert(s:send "hello\n")
      assert.equal("HELLO", s:receive())
      assert.equal(1, s:setkeepalive(10000))
    end
    assert.equal(1, accepted)
    local s = connect(port, { pool = "other" })
    local good, err = s:sslhandshake(nil, "server.test", true) -- whom nobody trusts
    assert.is_nil(good)
    assert.equal("unable to get local issuer certificate", err)
    assert.same({ nil, "closed" }, { s:send "x" })
    certs.remove()
  end)

  it("in its datagram form sends and receives", function()
    local other = assert(net.udp "127.0.0.1:0")
    atoll.spawn(function()
      local data, from = other:receive(10)
      other:send(data:upper(), from)
    end)
    local s = cosocket.udp()
    assert.equal(1, s:setpeername("127.0.0.1", tonumber(other:name():match ":(%d+)$")))
    s:settimeout(10000)
    assert.equal(1, s:send { "he", "llo" })
    assert.equal("HEL", s:receive(3))
    s:settimeout(10)
    assert.same({ nil, "timeout" }, { s:receive() })
    assert.equal(1, s:close())
    assert.same({ nil, "closed" }, { s:send "x" })
    other:close()
  end)

  local function descriptors()
    local n, scan = 0, uv.fs_scandir "/proc/self/fd"
    while uv.fs_scandir_next(scan) do n = n + 1 end
    return n
  end

  it("survives peers that go away at any byte", function()
    local text = "$5\r\nhello\r\n*2\r\n"
    local before = descriptors()
    for n = 0, #text do
      local s = connect(peer(function(socket) socket:write(text:sub(1, n)) end))
      local head, err = s:receive()
      local body = head and s:receive(7)
      local rest = body and s:receiveuntil "\r\n" ()
      if n < #text then
        assert.is_nil(rest)
        if not head then assert.equal("closed", err) end
        s:receive()
        assert.same({ nil, "closed" }, { s:send "x" })
      else
        assert.same({ "$5", "hello\r\n", "*2" }, { head, body, rest })
        s:close()
      end
    end
    for _, listener in ipairs(listeners) do listener:close() end
    local deadline = atoll.now() + 60
    while descriptors() > before and atoll.now() < deadline do
      collectgarbage()
      atoll.sleep(0.01)
    end
    -- Of what others have left, some may have gone meanwhile.
    assert.is_true(descriptors() <= before)
  end)

  it("may be cancelled wherever it waits", function()
    local silent = peer(function(socket) socket:read "all" end)
    local ways = {
      function(s) s:receive() end,
      function(s) s:receive(5) end,
      function(s) s:receive "*a" end,
      function(s) s:receiveany(5) end,
      function(s) s:receiveuntil "x" () end,
      function(s) while s:send(("x"):rep(100000)) do s:receive(0) end end,
    }
    local stuck = peer(function() atoll.sleep(60) end)
    for i, way in ipairs(ways) do
      local s = connect(i == #ways and stuck or silent)
      local task = atoll.spawn(way, s)
      atoll.sleep(0.02)
      assert.is_true(task:cancel())
      local _, _, code = task:join(10)
      assert.equal("ECANCELED", code)
      assert.equal(1, s:close())
    end
  end)

  -- An app with these settings; its lines are put into app.lua.
  local function serve(body, isolates)
    return host.start { app = body, isolates = isolates,
      set = { compat = "ngx", compat_path = true } }
  end

  it("carries lua-resty-redis", function()
    local redis = servers.redis()
    local wire = require "support.wire"
    local h = serve([[
      local redis = require "resty.redis"
      local function open()
        local db = redis:new()
        db:set_timeouts(60000, 60000, 60000)
        assert(db:connect("127.0.0.1", ]] .. redis.port .. [[))
        return db
      end
      app:get("/", function()
        local db = open()
        local n = assert(db:incr "n")
        db:init_pipeline()
        db:set("a", "1")
        db:lpush("list", "x", "y")
        db:hgetall "nothing"
        local replies = assert(db:commit_pipeline())
        local null = db:get "nothing" == ngx.null
        local times = db:get_reused_times()
        assert(db:set_keepalive(10000, 10))
        return table.concat({ n, replies[1], replies[2], #replies[3], tostring(null),
          times }, " ")
      end)
      app:get("/wait", function()
        local db = open()
        db:set_timeouts(60000, 60000, 60000)
        local nothing = db:blpop("never", 0.01)
        local pushed = db:blpop("empty", 60)
        db:close()
        return tostring(nothing == ngx.null) .. pushed[2]
      end)
      app:get("/blocked", function()
        local db = open()
        local count = db:info("clients"):match "blocked_clients:(%d+)"
        db:set_keepalive()
        return count
      end)
      app:get("/push", function()
        local db = open()
        for i = 1, 5 do assert(db:rpush("empty", "x")) end
        db:set_keepalive()
        return "pushed"
      end)
      app:get("/wrong", function()
        local db = open()
        local reply, problem = db:incr "list"
        db:set_keepalive()
        return tostring(reply) .. " " .. problem
      end)
      app:get("/hear", function()
        local listener, speaker = open(), open()
        listener:subscribe "news"
        speaker:publish("news", "rain")
        local message = listener:read_reply()
        listener:close()
        speaker:close()
        return message[3]
      end)]])
    local c = wire.connect(h)
    assert.equal("1 OK 2 0 true 0", c:ask("/").body)
    assert.equal("2 OK 4 0 true 1", c:ask("/").body)
    assert.equal("3 OK 6 0 true 2", c:ask("/").body)
    assert.match("^false WRONGTYPE", c:ask("/wrong").body)
    assert.equal("rain", c:ask("/hear").body)
    -- Five that wait, all at once.
    local list = {}
    for i = 1, 5 do
      list[i] = wire.connect(h)
      list[i]:send "GET /wait HTTP/1.1\r\nHost: a\r\n\r\n"
    end
    events.retry("five to wait", function() return c:ask("/blocked").body == "5" end)
    assert.equal("pushed", c:ask("/push").body)
    for i = 1, 5 do assert.equal("truex", list[i]:receive().body) end
    h:reload()
    assert.equal("4 OK 8 0 true 0", c:ask("/").body)
    wire.finish()
  end)

  it("carries lua-resty-memcached", function()
    local memcached = servers.memcached()
    local wire = require "support.wire"
    local h = serve([[
      local memcached = require "resty.memcached"
      app:get("/", function()
        local db = memcached:new()
        db:set_timeout(60000)
        assert(db:connect("127.0.0.1", ]] .. memcached.port .. [[))
        local times = db:get_reused_times()
        assert(db:set("a key", ("value "):rep(5000)))
        local value = db:get "a key"
        local many = db:get { "a key", "none" }
        local nothing = db:get "none"
        assert(db:add("n", 1) or db:incr("n", 2))
        local n = db:get "n"
        assert(db:set_keepalive(10000, 10))
        return table.concat({ #value, #many["a key"][1], tostring(nothing), n, times },
          " ")
      end)]])
    local c = wire.connect(h)
    assert.equal("30000 30000 nil 1 0", c:ask("/").body)
    assert.equal("30000 30000 nil 3 1", c:ask("/").body)
    wire.finish()
  end)
end)
