-- Every limit and every time limit, set small: what is over it gets its answer, what is
-- just within it is served, and nobody else notices.
local events = require "support.events"
local host = require "support.host"
local uv = require "luv"
local wire = require "support.wire"

local function get(path, more)
  return ("GET %s HTTP/1.1\r\nHost: a\r\n%s\r\n"):format(path, more or "")
end

-- A request whose line has n bytes.
local function line_of(n)
  return ("GET /%s HTTP/1.1\r\nHost: a\r\n\r\n"):format(("x"):rep(n - 14))
end

describe("a limit", function()
  local h

  setup(function()
    h = host.start { dir = "spec/apps/wire", set = {
      request_line_max = 64, header_bytes_max = 256, header_count_max = 5,
      body_max = 16,
    } }
  end)
  teardown(host.finish)
  after_each(wire.finish)

  it("bounds the request line", function()
    wire.check(h, {
      { name = "64 bytes", bytes = line_of(64), want = { 404 } },
      { name = "65 bytes", bytes = line_of(65), want = { 414 }, close = true },
      { name = "no end", bytes = "GET /" .. ("x"):rep(100), want = { 414 },
        close = true },
      { name = "a long method", bytes = ("X"):rep(100), want = { 414 }, close = true },
      { name = "a long unknown method", bytes = ("X"):rep(40) .. " / HTTP/1.1\r\n",
        want = { 501 }, close = true },
    })
  end)

  -- Host: a and X: ... together, with their line ends.
  local function fields_of(n) return get("/", "X: " .. ("y"):rep(n - 14) .. "\r\n") end

  it("bounds the bytes of the fields", function()
    wire.check(h, {
      { name = "256 bytes", bytes = fields_of(256), want = { 200 } },
      { name = "257 bytes", bytes = fields_of(257), want = { 431 }, close = true },
      { name = "a name without end", want = { 431 }, close = true,
        bytes = "GET / HTTP/1.1\r\nHost: a\r\n" .. ("x"):rep(300) },
      { name = "a value without end", want = { 431 }, close = true,
        bytes = "GET / HTTP/1.1\r\nHost: a\r\nX: " .. (" y"):rep(200) },
      { name = "trailers", want = { 431 }, close = true,
        bytes = "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
          .. "0\r\nX: " .. ("y"):rep(300) },
    })
  end)

  it("bounds the number of fields", function()
    wire.check(h, {
      { name = "5", bytes = get("/", ("X: y\r\n"):rep(4)), want = { 200 } },
      { name = "6", bytes = get("/", ("X: y\r\n"):rep(5)), want = { 431 },
        close = true },
      { name = "6 trailers", want = { 431 }, close = true,
        bytes = "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
          .. "0\r\n" .. ("X: y\r\n"):rep(6) .. "\r\n" },
    })
  end)

  it("bounds the body", function()
    local function post(n)
      return ("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n"):format(n)
    end
    local chunked = "POST /echo HTTP/1.1\r\nHost: a\r\n"
      .. "Transfer-Encoding: chunked\r\n\r\n"
    local text = "0123456789abcdef"
    wire.check(h, {
      { name = "16 bytes", bytes = post(16) .. text, want = { { 200, body = text } } },
      { name = "17 bytes", bytes = post(17) .. text .. "g", want = { 413 },
        close = true },
      { name = "16 bytes in chunks", want = { { 200, body = text } },
        bytes = chunked .. "8\r\n01234567\r\n8\r\n89abcdef\r\n0\r\n\r\n" },
      { name = "17 bytes in chunks", want = { 413 }, close = true,
        bytes = chunked .. "8\r\n01234567\r\n9\r\n89abcdefg\r\n0\r\n\r\n" },
      { name = "a great chunk", bytes = chunked .. "ffffffff\r\n" .. text .. "g",
        want = { 413 }, close = true },
      { name = "extensions without end", want = { 400 }, close = true, whole = true,
        bytes = chunked .. "1;" .. ("x"):rep(10000) },
      { name = "many small extensions", want = { 413 }, close = true, whole = true,
        bytes = chunked .. ("1;abc\r\nx\r\n"):rep(100) },
    })
  end)
end)

describe("a time limit", function()
  teardown(host.finish)
  after_each(wire.finish)

  local function start(set) return host.start { dir = "spec/apps/wire", set = set } end

  -- What fn does with a new connection; again with another one if this process was so
  -- late with its first byte that the connection was closed without a word.
  local function in_time(h, fn)
    return events.retry("a connection in time", function()
      local c = wire.connect(h)
      local ok, result = pcall(fn, c)
      assert(ok or c.eof and c.size == 0, result)
      return ok and result
    end)
  end

  it("ends a head that does not come", function()
    local h = start { head_timeout = 2, idle_timeout = 30 }
    local silent = wire.connect(h)
    in_time(h, function(begun)
      begun:send "GET / HTTP/1.1\r\nHo"
      local answer = begun:receive()
      assert.equal(408, answer.status)
      assert.equal("close", answer.fields.connection)
      assert.equal("", (begun:wait_end()))
      return true
    end)
    -- One that never said anything is closed without a word.
    assert.equal("", (silent:wait_end()))
    local other = in_time(h, function(c)
      assert.equal("probe", c:ask("/probe").body)
      return c
    end)
    other:send "G"
    assert.equal(408, other:receive().status)
  end)

  it("ends a head that trickles in", function()
    local h = start { head_timeout = 0.3 }
    in_time(h, function(c)
      c:send "GET / HTTP/1.1\r\nHost: a\r\nX: "
      events.poll("the end of its patience", function()
        c:send "y" -- the limit on its bytes would take a minute
        return c.size > 0 or c.eof
      end)
      assert.equal(408, c:receive().status)
      return true
    end)
  end)

  -- The kernel had it, and the host looked at its clock first.
  it("is not over for what came while the host stood still", function()
    local h = start { head_timeout = 0.4, body_timeout = 0.4 }
    local pid = h:serving_pid()
    for _ = 1, 12 do
      local began = events.now()
      local head = wire.connect(h):send "GET /probe HTTP/1.1\r\nHo"
      local body = wire.connect(h):send(
        "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nab")
      uv.sleep(20)
      uv.kill(pid, "sigstop")
      head:send "st: a\r\n\r\n"
      body:send "cd"
      local soon = events.now() - began < 0.35
      uv.sleep(450)
      uv.kill(pid, "sigcont")
      if soon then
        assert.equal("probe", head:receive().body)
        assert.equal("abcd", body:receive().body)
      end
    end
  end)

  it("ends a body that does not come", function()
    local h = start { body_timeout = 0.2 }
    local head = "POST /echo HTTP/1.1\r\nHost: a\r\n"
    for _, framing in ipairs { "Content-Length: 5\r\n\r\nab",
      "Transfer-Encoding: chunked\r\n\r\n5\r\nab" } do
      local c = wire.connect(h):send(head .. framing)
      local answer = c:receive()
      assert.equal(408, answer.status)
      assert.equal("close", answer.fields.connection)
      assert.equal("", (c:wait_end()))
    end
    assert.equal("probe", wire.ask(h, "/probe").body)
  end)

  it("does not run while the handler is the one that waits", function()
    local h = start { body_timeout = 0.2, head_timeout = 0.2, idle_timeout = 0.2 }
    -- Asks until it is answered, however late this process is.
    local function insist(path)
      return events.retry("an answer", function()
        local c = wire.connect(h)
        local ok, answer = pcall(c.ask, c, path)
        assert(ok or c.eof, answer)
        return ok and answer.status == 200 and { c, answer.body }
      end)
    end
    local list = {}
    events.retry("one to be held", function()
      list[#list + 1] = wire.connect(h):send "GET /hold/x HTTP/1.1\r\nHost: a\r\n\r\n"
      return tonumber(insist "/seen/x"[2]) > 0
    end)
    for _ = 1, 2 do -- so that the time has passed
      assert.equal("", (insist "/probe"[1]:wait_end()))
    end
    insist "/open/x"
    events.wait("what was held", function()
      for _, c in ipairs(list) do
        local answer = not c.eof and c:take()
        if answer then return answer.body == "held x" end
      end
    end)
  end)

  it("ends an idle connection", function()
    local h = start { idle_timeout = 0.2, head_timeout = 60 }
    local c = wire.connect(h)
    local began = events.now()
    c:ask "/probe"
    assert.equal("", (c:wait_end()))
    local seconds = events.now() - began
    assert.is_true(seconds > 0.1 and seconds < 20, seconds)
    assert.is_nil(c.reset)
  end)

  it("cuts a client that does not read its answer", function()
    local h = start { write_timeout = 0.3 }
    local c = wire.connect_deaf(h)
    c:send "GET /endless HTTP/1.1\r\nHost: a\r\n\r\n"
    local other = wire.connect(h)
    events.retry("the handler to be told", function()
      return other:ask("/seen/endless").body == "1"
    end)
    c:resume()
    c:wait_end()
    -- Nobody can take it for the whole: the last chunk is missing.
    assert.is_nil(c:got():find("\r\n0\r\n\r\n", -10, true))
  end)
end)

describe("memory", function()
  teardown(host.finish)
  after_each(wire.finish)

  it("stays small while a client does not read a large answer", function()
    local h = host.start { dir = "spec/apps/wire" }
    wire.ask(h, "/large")
    local before = h:memory()
    local list = {}
    for i = 1, 20 do
      list[i] = wire.connect_deaf(h)
      list[i]:send "GET /endless HTTP/1.1\r\nHost: a\r\n\r\n"
    end
    for _ = 1, 100 do wire.ask(h, "/probe") end
    -- 20 times the high mark, the piece being sent, and Lua's own.
    h:grows_less(20 * 512, before)
    for _, c in ipairs(list) do c:abort() end
  end)

  it("is bounded whatever is pipelined", function()
    local h = host.start { dir = "spec/apps/wire" }
    wire.ask(h, "/probe")
    local before = h:memory()
    local c = wire.connect_deaf(h)
    local requests = ("GET /probe HTTP/1.1\r\nHost: a\r\n\r\n"):rep(1000)
    for _ = 1, 400 do c:send(requests) end
    for _ = 1, 100 do wire.ask(h, "/probe") end
    h:grows_less(2048, before)
  end)

  -- A client that read just as fast as was sent made the queue run empty in a flush,
  -- and the handler was never told to go on.
  it("serves a large answer to a fast reader whole", function()
    local h = host.start { dir = "spec/apps/wire" }
    for _ = 1, 10 do assert.equal(20 * 1024 * 1024, #wire.ask(h, "/large").body) end
  end)

  it("serves a large answer to a slow reader whole", function()
    local h = host.start { dir = "spec/apps/wire" }
    local c = wire.connect_deaf(h)
    c:send "GET /large HTTP/1.1\r\nHost: a\r\n\r\n"
    for _ = 1, 20 do wire.ask(h, "/probe") end
    c:resume()
    assert.equal(20 * 1024 * 1024, #c:receive().body)
    assert.equal("probe", c:ask("/probe").body)
  end)
end)

describe("connections_max", function()
  teardown(host.finish)
  after_each(wire.finish)

  it("lets further clients wait until one leaves", function()
    local h = host.start { dir = "spec/apps/wire", set = { connections_max = 3 } }
    local list = {}
    for i = 1, 3 do
      list[i] = wire.connect(h)
      list[i]:ask "/probe"
    end
    local late = wire.connect(h):send "GET /probe HTTP/1.1\r\nHost: a\r\n\r\n"
    h:log_wait "connections_max is reached"
    assert.equal("probe", list[1]:ask("/probe").body)
    assert.equal(0, late.size)
    list[2]:close()
    assert.equal("probe", late:receive().body)
  end)
end)

describe("descriptors", function()
  teardown(host.finish)
  after_each(wire.finish)

  it("that run out cost only the newcomers", function()
    local h = host.start { dir = "spec/apps/wire", shell = "ulimit -n 40" }
    local list, began = {}, events.now()
    local function often() return 1 + (events.now() - began) // 10 end
    for i = 1, 40 do
      list[i] = wire.connect(h):send "GET /probe HTTP/1.1\r\nHost: a\r\n\r\n"
    end
    h:log_wait "cannot accept connections: [^\n]*open files[^\n]*\n"
    local served = {}
    events.wait("answers to those who are in", function()
      served = {}
      for _, c in ipairs(list) do
        -- A few were turned away with 503.
        if c:got():find "^HTTP/1.1 200" then served[#served + 1] = c end
      end
      return #served >= 10
    end)
    for _, c in ipairs(served) do
      assert.equal(200, c:receive().status)
      assert.equal("probe", c:ask("/probe").body)
    end
    -- Those who come before the host has seen the others go are turned away, too.
    local function let_in()
      events.retry("a place", function()
        return wire.ask(h, "/probe").status == 200
      end)
    end
    for _, c in ipairs(list) do c:close() end
    h:log_wait "accepting connections again"
    let_in()
    for _ = 1, 20 do assert.equal("probe", wire.ask(h, "/probe").body) end
    assert.is_true(h:count "cannot accept connections" <= often())
    -- Nor do they fill the log: it is said again after ten seconds.
    for _ = 1, 3 do
      for i = 1, 40 do
        list[i] = wire.connect(h):send "GET /probe HTTP/1.1\r\nHost: a\r\n\r\n"
      end
      events.wait("somebody is turned away", function()
        for _, c in ipairs(list) do
          if c:got():find "^HTTP/1.1 503" then return true end
        end
      end)
      for _, c in ipairs(list) do c:close() end
      let_in()
    end
    assert.is_true(h:count "cannot accept connections" <= often() + 1)
  end)
end)
