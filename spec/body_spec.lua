-- Bodies: when they are asked for, how much of them waits, and who pays for what nobody
-- wants to read.
local events = require "support.events"
local host = require "support.host"
local wire = require "support.wire"

local function post(path, more)
  return ("POST %s HTTP/1.1\r\nHost: a\r\n%s\r\n"):format(path, more or "")
end

local EXPECT = "Expect: 100-continue\r\n"

describe("a body", function()
  local h, roomy

  setup(function()
    h = host.start { dir = "spec/apps/wire", set = { body_max = "4M" } }
    roomy = host.start { dir = "spec/apps/wire", set = { body_max = "40M" } }
  end)
  teardown(host.finish)
  after_each(wire.finish)

  it("is asked for when the handler wants it", function()
    wire.check(h, {
      { name = "body behind the head", want = { { 200, body = "hello" } },
        interim = true,
        bytes = post("/echo", EXPECT .. "Content-Length: 5\r\n") .. "hello" },
      { name = "on 1.0", want = { { 200, body = "hello" } }, close = true,
        bytes = "POST /echo HTTP/1.0\r\n" .. EXPECT
          .. "Content-Length: 5\r\n\r\nhello" },
      { name = "without a body", want = { { 200, body = "" } },
        bytes = post("/echo", EXPECT) },
    })
    for _, framing in ipairs { "Content-Length: 5", "Transfer-Encoding: chunked" } do
      local c = wire.connect(h)
      local chunked = framing:find "chunked"
      assert.equal(100, c:ask(post("/echo", EXPECT .. framing .. "\r\n")).status)
      assert.equal(c.at, c.size + 1)
      local answer = c:ask(chunked and "5\r\nhello\r\n0\r\n\r\n" or "hello"
        .. "GET /probe HTTP/1.1\r\nHost: a\r\n\r\n")
      assert.equal("hello", answer.body)
      if not chunked then assert.equal("probe", c:receive().body) end
      assert.equal("probe", c:ask("/probe").body)
    end
  end)

  it("that is refused unseen is never asked for, and ends the connection", function()
    local heads = {
      ["nobody's"] = { 404, post("/none", EXPECT .. "Content-Length: 5\r\n") },
      ["another method's"] = { 405, post("/", EXPECT .. "Content-Length: 5\r\n") },
      ["too large"] = { 413, post("/echo", EXPECT .. "Content-Length: 5000000\r\n") },
      ["ignored"] = { 200, post("/ignore", EXPECT .. "Content-Length: 5\r\n") },
      ["in chunks, ignored"] = { 200,
        post("/ignore", EXPECT .. "Transfer-Encoding: chunked\r\n") },
    }
    local cases = {}
    for name, case in pairs(heads) do
      cases[#cases + 1] = {
        name = name, bytes = case[2], want = { case[1] }, close = true,
      }
    end
    wire.check(h, cases)
  end)

  it("with an unknown expectation is refused", function()
    wire.check(h, {
      { name = "alone", want = { 417 },
        bytes = "GET / HTTP/1.1\r\nHost: a\r\nExpect: tea\r\n\r\n" },
      { name = "beside the known one", want = { 417 }, close = true,
        bytes = post("/echo", "Expect: 100-continue, tea\r\nContent-Length: 1\r\n") },
    })
  end)

  it("over the limit is refused before it comes", function()
    wire.check(h, {
      { name = "one byte more", want = { 413 }, close = true,
        bytes = post("/echo", "Content-Length: 4194305\r\n") },
      { name = "2^64 - 1", want = { 413 }, close = true,
        bytes = post("/echo", "Content-Length: 18446744073709551615\r\n") },
    })
  end)

  it("in chunks is refused when it passes the limit", function()
    local c = wire.connect(h)
    local chunk = "100000\r\n" .. ("x"):rep(1024 * 1024) .. "\r\n"
    c:send(post("/echo", "Transfer-Encoding: chunked\r\n") .. chunk:rep(4) .. "1\r\nx")
    local answer = c:receive()
    assert.equal(413, answer.status)
    assert.equal("close", answer.fields.connection)
    assert.equal("", (c:wait_end()))
  end)

  it("at the limit is taken", function()
    local c, text = wire.connect(h), ("0123456789abcdef"):rep(256 * 1024)
    local answer = c:ask(post("/echo", "Content-Length: 4194304\r\n") .. text)
    assert.equal(200, answer.status)
    assert.is_true(answer.body == text)
    answer = c:ask(post("/chunks", "Content-Length: 4194304\r\n") .. text)
    assert.equal("4194304", answer.body)
  end)

  it("that nobody reads does not lose the answer", function()
    local c = wire.connect(h)
    c:send(post("/ignore", "Content-Length: 4000000\r\n") .. ("x"):rep(4000000))
    assert.equal("ignored", c:receive().body)
    c:close()
    c = wire.connect(h)
    -- A short one is read and dropped, and the connection goes on.
    c:send(post("/ignore", "Content-Length: 4000\r\n") .. ("x"):rep(4000))
    assert.equal("ignored", c:receive().body)
    assert.equal("probe", c:ask("/probe").body)
  end)

  it("waits in the kernel while the handler does not read", function()
    local c, size = wire.connect(roomy), 30000000 -- more than sockets hold
    local before = roomy:memory()
    c:send(post("/late/body", "Content-Length: " .. size .. "\r\n"))
    c:send(("x"):rep(size))
    for _ = 1, 50 do wire.ask(roomy, "/probe") end
    assert.is_nil(c.all_sent)
    roomy:grows_less(2000, before)
    wire.ask(roomy, "/open/body")
    assert.equal(tostring(size), c:receive().body)
  end)

  it("that breaks off tells the handler", function()
    local c = wire.connect(h)
    c:send(post("/late/broken", "Content-Length: 10\r\n") .. "12345")
    for _ = 1, 2 do wire.ask(h, "/probe") end -- it has been read now
    c:abort()
    wire.ask(h, "/open/broken")
    local d = wire.connect(h)
    events.retry("the handler's error code", function()
      return d:ask("/seen/broken").body == "ECLOSED"
    end)
  end)

  it("of many clients at a time is each one's own", function()
    local list = {}
    for i = 1, 60 do
      list[i] = wire.connect(h)
      list[i]:send(post("/echo",
        "Content-Length: 3000\r\n") .. ("%03d"):format(i):rep(500))
    end
    for i, c in ipairs(list) do c:send(("%03d"):format(i):rep(500)) end
    for i, c in ipairs(list) do
      assert.equal(("%03d"):format(i):rep(1000), c:receive().body)
    end
  end)
end)
