-- LuaSocket's surface, implemented in the host: what its libraries rely on, point by
-- point, while other fibers go on.
local atoll = require "atoll"
local host = require "support.host"
local socket = require "socket"
local unix = require "socket.unix"
local whole = require "support.whole"

-- What is to be closed after a spec.
local open = {}

local function keep(s, message)
  assert(s, message)
  open[#open + 1] = s
  return s
end

local function port_of(s) return math.tointeger((select(2, s:getsockname()))) end

local function listen()
  return keep(socket.bind("127.0.0.1", 0))
end

-- A client and the server's end of it.
local function pair()
  local server = listen()
  local client = keep(socket.connect("127.0.0.1", port_of(server)))
  return client, keep(server:accept())
end

-- Runs fn beside the spec; joined at its end.
local function beside(fn)
  local task = atoll.spawn(fn)
  open[#open + 1] = { close = function()
    local _, message, code = task:join(60)
    assert(code ~= "ELUA" and code ~= "ETIMEDOUT", message)
  end }
  return task
end

local function finish()
  local list = open
  open = {}
  for i = #list, 1, -1 do list[i]:close() end
end

setup(whole.begin)
teardown(whole.over)

describe("luasocket", function()
  after_each(finish)

  it("is the host's, below LuaSocket's own Lua files", function()
    assert.equal("LuaSocket 3.0.0", socket._VERSION)
    assert.equal(2048, socket.BLOCKSIZE)
    assert.equal(8192, socket._DATAGRAMSIZE)
    assert.equal(-1, socket._SOCKETINVALID)
    assert.is_true(socket._SETSIZE > 100000)
    assert.is_function(socket.sink)
    assert.is_nil(socket.__unload())
  end)

  describe("receive", function()
    it("gives a line without its end, and is a line by default", function()
      local c, s = pair()
      s:send "one\r\ntwo\nth\rree\r\n\n"
      assert.same({ "one", n = 3 }, table.pack(c:receive()))
      assert.equal("two", c:receive "*l")
      assert.equal("three", c:receive "*line") -- LuaSocket drops every CR
      assert.equal("", c:receive())
    end)

    it("gives n bytes, or all of them", function()
      local c, s = pair()
      s:send "abcdefgh"
      s:close()
      assert.equal("abc", c:receive(3))
      assert.equal("d", c:receive "1")
      assert.same({ "efgh", n = 3 }, table.pack(c:receive "*a"))
      assert.same({ nil, "closed", "", n = 3 }, table.pack(c:receive "*a"))
    end)

    it("hands out what came before an error, once", function()
      local c, s = pair()
      s:send "abc"
      s:close()
      assert.same({ nil, "closed", "abc", n = 3 }, table.pack(c:receive "*l"))
      assert.same({ nil, "closed", "", n = 3 }, table.pack(c:receive "*l"))
      c, s = pair()
      s:send "12"
      c:settimeout(0.01)
      assert.same({ nil, "timeout", "12", n = 3 }, table.pack(c:receive(5)))
      assert.same({ nil, "timeout", "", n = 3 }, table.pack(c:receive(5)))
      s:send "345"
      assert.equal("345", c:receive(3))
    end)

    it("counts a prefix", function()
      local c, s = pair()
      s:send "7890line\n"
      assert.equal("1234567890", c:receive(10, "123456"))
      assert.same({ "87654321", n = 3 }, table.pack(c:receive(8, "87654321")))
      assert.equal("87654321", c:receive(4, "87654321"))
      assert.equal("a line", c:receive("*l", "a "))
      s:send "rest"
      s:close()
      assert.equal("the rest", c:receive("*a", "the "))
      assert.same({ nil, "closed", "x", n = 3 }, table.pack(c:receive("*a", "x")))
    end)

    it("of 0 bytes waits until there is one", function()
      local c, s = pair()
      c:settimeout(0)
      assert.same({ nil, "timeout", "", n = 3 }, table.pack(c:receive(0)))
      c:settimeout()
      beside(function() s:send "x" end)
      assert.equal("", c:receive(0))
      assert.is_true(c:dirty())
      assert.equal("x", c:receive(1))
      assert.is_false(c:dirty())
      s:close()
      assert.same({ nil, "closed", "", n = 3 }, table.pack(c:receive(0)))
    end)

    it("knows no other pattern", function()
      local c = pair()
      assert.error_matches(function() c:receive "l" end, "invalid receive pattern")
      assert.error_matches(function() c:receive "*x" end, "invalid receive pattern")
      assert.error_matches(function() c:receive(-1) end, "invalid receive pattern")
      assert.error_matches(function() c:receive {} end, "string expected")
    end)

    it("waits for what comes in pieces", function()
      local c, s = pair()
      beside(function()
        for _, piece in ipairs { "a", "b\r", "\nc", "de" } do
          socket.sleep(0.001)
          s:send(piece)
        end
        s:close()
      end)
      assert.equal("ab", c:receive())
      assert.equal("c", c:receive(1))
      assert.equal("de", c:receive "*a")
    end)

    it("brings megabytes both ways", function()
      local c, s = pair()
      local text = ("0123456789abcdef"):rep(200 * 1024)
      beside(function() assert(s:send(assert(s:receive(#text)) .. "\n")) end)
      assert.equal(#text, c:send(text))
      assert.is_true(c:receive() == text)
    end)

    it("hands out what there is wherever the peer vanishes", function()
      local text = "line\r\nfive!"
      for n = 0, #text do
        for _, abort in ipairs { false, true } do
          local c, s = pair()
          s:send(text:sub(1, n))
          if abort then s:setoption("linger", { on = true, timeout = 0 }) end
          s:close()
          local got, ended = {}, nil
          for _, pattern in ipairs { "*l", 5, "*a" } do
            local data, err, partial = c:receive(pattern)
            got[#got + 1] = data or partial
            if data and pattern == "*l" then got[#got] = data .. "\r\n" end
            ended = err
          end
          assert.equal("closed", ended)
          local all = table.concat(got)
          local sent = text:sub(1, n)
          assert.is_true(all == sent or all .. "\r" == sent or abort, n .. all)
        end
      end
    end)

    it("has one reader at a time", function()
      local c, s = pair()
      local task = beside(function() return c:receive() end)
      socket.sleep(0)
      assert.error_matches(function() c:receive() end, "another fiber is already read")
      s:send "x\n"
      assert.equal("x", task:join())
    end)
  end)

  describe("send", function()
    it("returns the index of the last byte", function()
      local c, s = pair()
      assert.same({ 5, n = 3 }, table.pack(c:send "hello"))
      assert.equal(4, c:send("hello", 2, 4))
      assert.equal(5, c:send("hello", -2))
      assert.equal(3, c:send("hello", 1, -3))
      assert.equal(0, c:send "")
      assert.equal(3, c:send(123))
      assert.equal("helloelllohel123", s:receive(16))
    end)

    it("tells how far it got", function()
      local c, s = pair()
      c:settimeout(0)
      local text = ("x"):rep(16 * 1024 * 1024)
      local sent, err, last = c:send(text)
      assert.same({ nil, "timeout" }, { sent, err })
      assert.is_true(last > 0 and last < #text)
      c:settimeout()
      beside(function()
        assert.equal(#text, #s:receive "*a")
      end)
      assert.equal(#text, c:send(text, last + 1))
      c:close()
    end)

    it("to a peer that is gone is closed", function()
      local c, s = pair()
      s:close()
      local _, err, last
      repeat _, err, last = c:send "hello" until err
      assert.equal("closed", err)
      assert.equal(0, last)
    end)

    it("of another fiber does not come between", function()
      local c, s = pair()
      local text = ("x"):rep(16 * 1024 * 1024)
      local task = beside(function() return c:send(text) end)
      local turns, before = 0, 0 -- until there is no room, for some turns
      repeat
        socket.sleep(0.001)
        local _, now = c:getstats()
        turns, before = now > 0 and now == before and turns + 1 or 0, now
      until turns == 5
      assert.error_matches(function() c:send "y" end, "another fiber is already writ")
      assert.equal(#text, #s:receive(#text))
      assert.equal(#text, task:join())
    end)

    -- Or read: whoever is cancelled does nothing more.
    it("may begin at once when that was cancelled", function()
      local c, s = pair()
      local server = listen()
      c:settimeout(0)
      server:settimeout(0)
      for _, fn in ipairs { c.receive, server.accept } do
        local of = fn == c.receive and c or server
        of:settimeout()
        local task = beside(function() return fn(of) end)
        socket.sleep(0)
        task:cancel()
        of:settimeout(0)
        assert.same({ nil, "timeout" }, { fn(of), (select(2, fn(of))) })
        of:settimeout()
        local co = coroutine.create(fn)
        task = beside(function() return coroutine.resume(co, of) end)
        socket.sleep(0)
        assert.is_true(coroutine.close(co))
        of:settimeout(0)
        assert.same({ nil, "timeout" }, { fn(of), (select(2, fn(of))) })
        assert.is_false((task:join()))
      end
      s:close()
    end)

    -- There is room again, and whoever waited for it has not gone on yet.
    it("goes on before another fiber's", function()
      local c, s = pair()
      local text, over = ("x"):rep(16 * 1024 * 1024), false
      local task = beside(function()
        local sent = c:send(text)
        over = true
        return sent
      end)
      local refused, got, bells = 0, 0, {}
      for i = 1, 2 do -- one is woken before the task, or both after it
        local bell, rope = pair()
        bells[i] = rope
        beside(function()
          while bell:receive(1) and not over do
            local sent, err = pcall(c.send, c, "y")
            assert(not sent and err:find "another fiber is already writ", err)
            refused = refused + 1
          end
        end)
      end
      s:settimeout(0)
      repeat
        bells[1]:send "."
        local all, err, part = s:receive(1024 * 1024)
        if not all then assert.equal("timeout", err) end
        got = got + #(all or part)
        bells[2]:send "."
        socket.sleep(0.001)
      until over
      for _, rope in ipairs(bells) do rope:close() end
      s:settimeout(60)
      if got < #text then got = got + #s:receive(#text - got) end
      assert.equal(#text, task:join())
      assert.equal(#text, got)
      assert.is_true(refused > 0)
      c:close()
      assert.same({ nil, "closed", "" }, { s:receive(1) })
    end)
  end)

  describe("settimeout", function()
    it("takes b, t and r, and answers 1", function()
      local c = pair()
      assert.equal(1, c:settimeout(3))
      assert.equal(1, c:settimeout(5, "total"))
      assert.same({ 3, 5 }, { c:gettimeout() })
      assert.equal(1, c:settimeout(6, "r"))
      assert.same({ 3, 6 }, { c:gettimeout() })
      assert.equal(1, c:settimeout(nil))
      assert.same({ -1, 6 }, { c:gettimeout() })
      assert.error_matches(function() c:settimeout(1, "x") end, "invalid timeout mode")
    end)

    it("of 0 never waits, whatever others do", function()
      local c, s = pair()
      local ran = false
      beside(function() ran = true end)
      c:settimeout(0)
      assert.same({ nil, "timeout", "" }, { c:receive() })
      local server = listen()
      server:settimeout(0)
      assert.same({ nil, "timeout" }, { server:accept() })
      c:settimeout(-1)
      c:settimeout(0, "t")
      assert.same({ nil, "timeout", "" }, { c:receive "*a" })
      local u = keep(socket.udp4())
      u:settimeout(0)
      assert.same({ nil, "timeout" }, { u:receive() })
      assert.same({ {}, {}, "timeout" }, { socket.select({ c }, nil, 0) })
      s:send "x\n"
      assert.equal("x", socket.select({ c }, nil, 0)[1]:receive())
      assert.is_false(ran)
    end)

    it("of a block counts for each wait, a total for the call", function()
      local c, s = pair()
      local function drip(n)
        return beside(function()
          for _ = 1, n do
            socket.sleep(0.05)
            s:send "x"
          end
        end)
      end
      c:settimeout(20)
      local task = drip(4)
      assert.equal("xxxx", c:receive(4))
      task:join()
      c:settimeout(-1)
      c:settimeout(0.12, "t")
      drip(4)
      local _, err, partial = c:receive(4)
      assert.equal("timeout", err)
      assert.is_true(#partial < 4)
    end)
  end)

  describe("a socket", function()
    it("changes its class", function()
      local s = keep(socket.tcp())
      assert.equal("tcp{master}", s.class)
      assert.matches("^tcp{master}: ", tostring(s))
      assert.equal(-1, s:getfd()) -- no family yet
      assert.equal(1, s:bind("127.0.0.1", 0))
      assert.equal(1, s:listen())
      assert.equal("tcp{server}", s.class)
      local c = keep(socket.tcp4())
      assert.is_true(c:getfd() >= 0)
      assert.equal(1, c:connect("127.0.0.1", port_of(s)))
      assert.equal("tcp{client}", c.class)
      assert.equal("tcp{client}", keep(s:accept()).class)
      assert.error_matches(function() s:receive() end, "tcp{client} expected")
      assert.error_matches(function() c:accept() end, "tcp{server} expected")
      assert.error_matches(function() c.accept {} end, "tcp{server} expected")
      assert.error_matches(function() c.getsockname(io.stdout) end, "tcp{any} expected")
    end)

    it("has its methods in a table", function()
      local index = getmetatable(socket.tcp()).__index
      assert.is_table(index)
      for _, name in ipairs { "accept", "bind", "close", "connect", "dirty",
        "getfamily", "getfd", "getoption", "getpeername", "getsockname", "getstats",
        "gettimeout", "listen", "receive", "send", "setfd", "setoption", "setpeername",
        "setsockname", "setstats", "settimeout", "shutdown" } do
        assert.is_function(index[name], name)
      end
    end)

    it("knows both ends", function()
      local c, s = pair()
      local ip, port, family = c:getsockname()
      assert.same({ "127.0.0.1", "string", "inet" }, { ip, type(port), family })
      assert.same({ ip, math.tointeger(port), "inet" }, { s:getpeername() })
      assert.equal("inet4", c:getfamily())
      assert.same({ nil, "Transport endpoint is not connected" },
        { keep(socket.tcp4()):getpeername() })
    end)

    it("is gone after close, and who waits for it is told", function()
      local c = pair()
      local task = beside(function() return c:receive() end)
      socket.sleep(0)
      assert.equal(1, c:close())
      assert.same({ nil, "closed", "" }, { task:join() })
      assert.equal(-1, c:getfd())
      assert.same({ nil, "closed", 0 }, { c:send "x" })
      assert.same({ nil, "closed", "" }, { c:receive(0) })
      assert.equal(1, c:close())
      local server = listen()
      task = beside(function() return server:accept() end)
      socket.sleep(0)
      server:close()
      assert.same({ nil, "closed" }, { task:join() })
    end)

    it("gives its descriptor away and takes another", function()
      local c, s = pair()
      local other = pair()
      other:close()
      other:setfd(c:getfd())
      c:setfd(-1)
      assert.equal(-1, c:getfd())
      s:send "x\n"
      assert.equal("x", other:receive())
    end)

    it("counts what it carries", function()
      local c, s = pair()
      c:send "12345"
      s:send "abc\n"
      c:receive()
      local received, sent, age = c:getstats()
      assert.same({ 4, 5 }, { received, sent })
      assert.is_true(age >= 0)
      assert.equal(1, c:setstats(100, 200, 50))
      received, sent, age = c:getstats()
      assert.same({ 100, 200 }, { received, sent })
      assert.is_true(age >= 50)
    end)

    it("shuts down one way", function()
      local c, s = pair()
      c:send "question"
      assert.equal(1, c:shutdown "send")
      assert.equal("question", s:receive "*a")
      s:send "answer"
      s:close()
      assert.equal("answer", c:receive "*a")
      assert.error_matches(function() c:shutdown "x" end, "invalid option")
    end)

    it("has options", function()
      local c = pair()
      for _, name in ipairs { "keepalive", "reuseaddr", "tcp-nodelay", "reuseport" } do
        assert.equal(1, c:setoption(name, true), name)
        assert.is_true(c:getoption(name), name)
        assert.equal(1, c:setoption(name, false), name)
        assert.is_false(c:getoption(name), name)
      end
      for _, name in ipairs { "tcp-keepidle", "tcp-keepcnt", "tcp-keepintvl" } do
        assert.equal(1, c:setoption(name, 7), name)
        assert.equal(7, c:getoption(name), name)
      end
      assert.equal(1, c:setoption("linger", { on = true, timeout = 3 }))
      assert.same({ on = true, timeout = 3 }, c:getoption "linger")
      assert.equal(1, c:setoption("linger", { on = false, timeout = 0 }))
      assert.equal(1, c:setoption("recv-buffer-size", 8192))
      assert.is_true(c:getoption "recv-buffer-size" >= 8192)
      assert.is_nil(c:getoption "error")
      assert.equal(1, keep(socket.tcp6()):setoption("ipv6-v6only", false))
      assert.equal(1, keep(socket.tcp4()):setoption("tcp-defer-accept", 1))
      assert.equal(1, keep(socket.tcp4()):setoption("tcp-fastopen-connect", 1))
      assert.equal("", c:getoption "bindtodevice")
      assert.error_matches(function() c:setoption("x", 1) end, "unsupported option `x'")
      assert.error_matches(function() c:getoption "tcp-fastopen" end, "unsupported")
      assert.error_matches(function() c:setoption("tcp-nodelay", 1) end, "boolean")
      assert.error_matches(function() c:setoption("linger", {}) end, "'on' field")
      c:close()
      assert.same({ nil, "setsockopt failed" }, { c:setoption("keepalive", true) })
      assert.same({ nil, "getsockopt failed" }, { c:getoption "keepalive" })
    end)

    it("that nobody has any more closes itself", function()
      local c, s = pair()
      open[#open - 1], open[#open] = open[#open], nil
      for i, kept in ipairs(open) do if kept == s then table.remove(open, i) end end
      s = nil -- luacheck: ignore
      collectgarbage()
      collectgarbage()
      assert.same({ nil, "closed", "" }, { c:receive() })
    end)
  end)

  describe("connect", function()
    it("has LuaSocket's texts", function()
      local refused = keep(socket.tcp())
      assert(refused:bind("127.0.0.1", 0)) -- bound, but nobody listens
      local port = port_of(refused)
      assert.same({ nil, "connection refused" }, { socket.connect("127.0.0.1", port) })
      assert.same({ nil, "host or service not provided, or not known" },
        { socket.connect("", port) })
      assert.same({ nil, "service not supported for socket type" },
        { socket.connect("127.0.0.1", "no such service") })
      assert.same({ nil, "address already in use" },
        { keep(socket.tcp()):bind("127.0.0.1", port) })
      local c, s = pair()
      c:connect(s:getsockname()) -- which the kernel lets pass once
      assert.same({ nil, "already connected" }, { c:connect(s:getsockname()) })
      assert.error_matches(function() socket.connect() end, "string expected")
      assert.error_matches(function()
        socket.connect("127.0.0.1", port, nil, nil, "x")
      end, "invalid option")
    end)

    it("goes on by itself with a limit of 0", function()
      local server = listen()
      local c = keep(socket.tcp())
      c:settimeout(0)
      local ok, err = c:connect("127.0.0.1", port_of(server))
      assert.is_true(ok == 1 or err == "timeout")
      assert.equal("tcp{client}", c.class)
      local _, writable = socket.select(nil, { c }, 60)
      assert.equal(c, writable[1])
      ok, err = c:connect("127.0.0.1", port_of(server))
      assert.is_true(ok == 1 or err == "already connected")
      assert.equal(1, c:send "x")
    end)

    it("binds its own end and tries each address", function()
      local server = listen()
      local c = keep(socket.connect("localhost", port_of(server), "127.0.0.1", 0))
      assert.equal("127.0.0.1", (c:getsockname()))
      keep(socket.connect4("localhost", port_of(server)))
      assert.is_nil((socket.connect6("127.0.0.1", port_of(server))))
    end)
  end)

  describe("select", function()
    it("gives lists that are maps, too", function()
      local c, s = pair()
      s:send "x"
      local r, w, err = socket.select({ s, c }, { c, s }, 60)
      assert.same({ 1, 2 }, { #r, #w })
      assert.equal(c, r[1])
      assert.same({ 1, 1, 2 }, { r[c], w[c], w[s] })
      assert.is_nil(r[s])
      assert.is_nil(err)
    end)

    it("waits, and others do not", function()
      local c, s = pair()
      beside(function()
        socket.sleep(0.01)
        s:send "x"
      end)
      assert.equal(c, socket.select({ c }, {})[1])
      c:receive(1)
      assert.same({ {}, {}, "timeout" }, { socket.select({ c }, nil, 0.01) })
      assert.same({ {}, {}, "timeout" }, { socket.select(nil, nil, 0.01) })
    end)

    it("takes whatever has getfd and dirty", function()
      local c, s = pair()
      s:send "two\nlines\n"
      c:receive()
      assert.is_true(c:dirty())
      local object = { getfd = function() return c:getfd() end,
        dirty = function() return c:dirty() end }
      local r = socket.select({ object, object, s }, nil, 5)
      assert.same({ 1, 1 }, { #r, r[object] })
      local sink = socket.sink("close-when-done", c)
      local _, w = socket.select(nil, { sink }, 5)
      assert.equal(sink, w[1])
      c:close()
      assert.same({ {}, {}, "timeout" }, { socket.select({ c, {} }, { c }, 0.001) })
    end)

    it("wants tables", function()
      assert.error_matches(function() socket.select("x", nil, 0) end, "table expected")
      assert.error_matches(function() socket.select({}, 1, 0) end, "table expected")
    end)

    it("lets others run although something is always ready", function()
      local c, s = pair()
      s:send "x"
      local rounds = 0
      beside(function()
        for _ = 1, 5 do
          socket.sleep(0)
          rounds = rounds + 1
        end
      end)
      for _ = 1, 50 do socket.select({ c }, nil, 1) end
      assert.equal(5, rounds)
    end)
  end)

  describe("udp", function()
    it("sends and receives, connected or not", function()
      local a, b = keep(socket.udp()), keep(socket.udp4())
      assert.same({ "udp{unconnected}", -1 }, { a.class, a:getfd() })
      assert.equal(1, b:setsockname("127.0.0.1", 0))
      assert.equal(5, a:sendto("hello", "127.0.0.1", port_of(b)))
      local data, ip, port = b:receivefrom()
      assert.same({ "hello", "127.0.0.1", port_of(a) }, { data, ip, port })
      assert.equal(1, b:setpeername(ip, port))
      assert.equal("udp{connected}", b.class)
      assert.equal(0, b:send "")
      assert.equal("", a:receive())
      b:send "a long one"
      assert.equal("a l", a:receive(3))
      assert.equal(1, b:setpeername "*")
      assert.equal("udp{unconnected}", b.class)
      assert.is_false(a:dirty())
      b = keep(socket.udp4())
      assert(b:setsockname("*", 0))
      beside(function() a:sendto(("x"):rep(60000), "127.0.0.1", port_of(b)) end)
      assert.equal(60000, #b:receive(100000))
      assert.error_matches(function() b:send "x" end, "udp{connected} expected")
      assert.same({ nil, "host or service not provided, or not known" },
        { b:sendto("x", "a.name", 53) })
    end)

    it("times out, is refused, and closes", function()
      local a, b = keep(socket.udp4()), keep(socket.udp4())
      b:settimeout(0.01)
      assert.same({ nil, "timeout" }, { b:receive() })
      assert(b:setsockname("127.0.0.1", 0))
      assert(a:setpeername("127.0.0.1", port_of(b)))
      b:close()
      a:send "x"
      assert.same({ nil, "connection refused" }, { a:receive() })
      assert.same({ nil, "closed" }, { b:receive() })
      assert.equal(1, a:setoption("broadcast", true))
      assert.is_true(a:getoption "broadcast")
      assert.equal(1, a:setoption("ip-multicast-ttl", 3))
      assert.equal(1, a:setoption("ip-multicast-if", "127.0.0.1"))
      assert.equal("127.0.0.1", a:getoption "ip-multicast-if")
      assert.error_matches(function()
        a:setoption("ip-add-membership", { multiaddr = "x", interface = "*" })
      end, "invalid 'multiaddr'")
    end)
  end)

  describe("unix", function()
    local function path(name) return host.directory {} .. "/" .. name end
    after_each(host.finish)

    it("has streams", function()
      local where = path "s"
      local server = keep(unix())
      assert.equal("unixstream{master}", server.class)
      assert.equal(1, server:bind(where))
      assert.equal(1, server:listen())
      assert.equal(where, server:getsockname())
      local c = keep(unix.stream())
      assert.equal(1, c:connect(where))
      local s = keep(server:accept())
      assert.equal("unixstream{client}", s.class)
      c:send "hello\n"
      assert.equal("hello", s:receive())
      s:close()
      assert.same({ nil, "closed", "" }, { c:receive() })
      assert.same({ nil, "path too long" }, { unix.tcp():connect(("x"):rep(200)) })
      local lost = keep(unix.tcp())
      assert.same({ nil, "No such file or directory" }, { lost:connect(path "none") })
      assert.equal(-1, lost:getfd())
    end)

    it("waits for room in a backlog", function()
      local where = path "s"
      local server = keep(unix())
      assert(server:bind(where) and server:listen(0))
      keep(unix()):connect(where)
      local late = keep(unix())
      late:settimeout(0.02)
      assert.same({ nil, "timeout" }, { late:connect(where) })
      beside(function()
        socket.sleep(0.01)
        keep(server:accept())
      end)
      assert.equal(1, keep(unix()):connect(where))
    end)

    it("has datagrams", function()
      local a, b = keep(unix.dgram()), keep(unix.udp())
      local where, back = path "a", path "b"
      assert.equal(1, a:setsockname(where))
      assert.equal(1, b:sendto("x", where))
      assert.same({ "x", "" }, { a:receivefrom() })
      assert.equal(1, b:bind(back))
      assert.equal(1, b:connect(where))
      assert.equal("unixdgram{connected}", b.class)
      assert.equal(3, b:send "abc")
      assert.same({ "abc", back }, { a:receivefrom() })
      a:settimeout(0)
      assert.same({ nil, "timeout" }, { a:receive() })
    end)
  end)

  describe("dns", function()
    it("knows this machine", function()
      assert.equal("127.0.0.1", (socket.dns.toip "localhost"))
      local ip, more = socket.dns.toip "127.0.0.1"
      assert.same({ "127.0.0.1", { "127.0.0.1" }, {} }, { ip, more.ip, more.alias })
      assert.equal("localhost", (socket.dns.tohostname "127.0.0.1"))
      assert.same({ { family = "inet", addr = "127.0.0.1" } },
        socket.dns.getaddrinfo "127.0.0.1")
      assert.equal("inet6", socket.dns.getaddrinfo("::1")[1].family)
      local names, service = socket.dns.getnameinfo("127.0.0.1", "80")
      assert.same({ { "localhost" }, "http" }, { names, service })
      assert.is_string(socket.dns.gethostname())
      assert.same({ nil, "host not found" }, { socket.dns.toip "" })
      assert.error_matches(function() socket.dns.getnameinfo() end, "both nil")
    end)
  end)

  describe("exceptions", function()
    it("are raised by try and caught by protect", function()
      local closed = 0
      local try = socket.newtry(function()
        socket.sleep(0.001) -- a finalizer may wait
        closed = closed + 1
      end)
      local safe = socket.protect(function(...)
        socket.sleep(0.001)
        return try(...)
      end)
      assert.same({ 1, 2, 3 }, { safe(1, 2, 3) })
      assert.same({ nil, "bad" }, { safe(nil, "bad") })
      assert.equal(1, closed)
      local ok, err = pcall(try, false, "worse")
      assert.same({ false, { "worse" }, false }, { ok, { err[1] }, getmetatable(err) })
      assert.has_error(socket.protect(function() error({ 1 }, 0) end), { 1 })
      assert.error_matches(socket.protect(function() error "other" end), "other")
      assert.same({ nil, "plain" }, { socket.protect(socket.newtry())(nil, "plain") })
    end)
  end)

  it("skips, tells the time and sleeps", function()
    assert.equal(2, select("#", socket.skip(1, "a", "b", "c")))
    assert.equal("b", (socket.skip(1, "a", "b", "c")))
    assert.equal(0, select("#", socket.skip(5, "a")))
    local before, now = os.time(), socket.gettime()
    assert.is_true(before <= now and now < os.time() + 2)
    local began = socket.gettime()
    socket.sleep(0.02)
    assert.is_true(socket.gettime() - began > 0.015)
    socket.sleep(-1)
    assert.error_matches(function() socket.sleep "x" end, "number expected")
  end)

  it("leaves a socket usable when a wait is cancelled", function()
    local c, s = pair()
    local server = listen()
    local u = keep(socket.udp4())
    assert(u:setsockname("127.0.0.1", 0))
    local dir = host.directory {}
    local full = keep(unix())
    assert(full:bind(dir .. "/s") and full:listen(0))
    keep(unix()):connect(dir .. "/s")
    local late = keep(unix())
    local cases = {
      function() c:receive() end,
      function() server:accept() end,
      function() socket.select({ u, server }, { }) end,
      function() socket.sleep(100) end,
      function() u:receive() end,
      function() u:receivefrom() end,
      function() late:connect(dir .. "/s") end,
      function() c:send(("x"):rep(1 << 24)) end,
    }
    for i, case in ipairs(cases) do
      local task = atoll.spawn(case)
      socket.sleep(i == 1 and 0.001 or 0)
      if i == 1 then s:send "half" end
      socket.sleep(0.001)
      task:cancel()
      assert.equal("ECANCELED", (select(3, task:join())))
    end
    s:send " done\n"
    assert.equal("half done", c:receive())
    keep(socket.connect("127.0.0.1", port_of(server)))
    keep(server:accept())
    keep(socket.udp4()):sendto("x", "127.0.0.1", port_of(u))
    assert.equal("x", u:receive())
    keep(full:accept())
    assert.equal(1, late:connect(dir .. "/s"))
    host.finish()
  end)

  it("gives up a connection that is cancelled while it is being made", function()
    local server = keep(socket.tcp4())
    assert(server:bind("127.0.0.1", 0) and server:listen(0))
    local port, list = port_of(server), {}
    local function connect() list[#list + 1] = socket.connect("127.0.0.1", port) end
    local task
    repeat -- until the backlog is full, and the kernel says nothing
      local before = #list
      task = atoll.spawn(connect)
      for _ = 1, 20 do if #list == before then socket.sleep(0.01) end end
    until #list == before
    task:cancel()
    assert.equal("ECANCELED", (select(3, task:join())))
    for _, c in ipairs(list) do keep(c) end
    keep(server:accept())
    local c = keep(socket.tcp4())
    c:settimeout(10)
    assert.equal(1, c:connect("127.0.0.1", port))
  end)

  it("is refused where Lua cannot be suspended", function()
    local c = pair()
    assert.error_matches(function()
      ("x"):gsub("x", function() c:receive() end)
    end, "cannot wait inside string.gsub")
  end)
end)
