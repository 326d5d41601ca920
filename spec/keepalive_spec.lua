-- How long a connection lives, in which order it is answered, and what its end means.
local events = require "support.events"
local host = require "support.host"
local wire = require "support.wire"

local function get(path, more)
  return ("GET %s HTTP/1.1\r\nHost: a\r\n%s\r\n"):format(path, more or "")
end

describe("a connection", function()
  local h

  setup(function() h = host.start { dir = "spec/apps/wire" } end)
  teardown(host.finish)
  after_each(wire.finish)

  -- Until the handler of /hold/KEY has been entered n times.
  local function held(key, n)
    local c = wire.connect(h)
    events.retry("a held request", function()
      return tonumber(c:ask("/seen/" .. key).body) >= n
    end)
    c:close()
  end

  local function open(key) assert(wire.ask(h, "/open/" .. key).body == "open") end

  it("lives on or ends as its requests say", function()
    local keeps = { 200, fields = { connection = "^keep%-alive$" } }
    local silent = { 200, fields = { connection = false } }
    wire.check(h, {
      { name = "1.1", bytes = get "/", want = { silent } },
      { name = "1.1 keep-alive", bytes = get("/", "Connection: keep-alive\r\n"),
        want = { silent } },
      { name = "1.1 close", bytes = get("/", "Connection: close\r\n"), want = { 200 },
        close = true },
      { name = "1.1 close in a list",
        bytes = get("/", "Connection: x, CLOSE ,y\r\n"), want = { 200 }, close = true },
      { name = "1.1 close in the second field", close = true, want = { 200 },
        bytes = get("/", "Connection: x\r\nConnection: close\r\n") },
      { name = "1.1 close, more behind", want = { 200 }, close = true,
        bytes = get("/", "Connection: close\r\n") .. get "/probe" },
      { name = "1.0", bytes = "GET / HTTP/1.0\r\n\r\n", want = { 200 }, close = true },
      { name = "1.0 keep-alive", want = { keeps },
        bytes = "GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n" },
      { name = "1.0 keep-alive, close", want = { 200 }, close = true,
        bytes = "GET / HTTP/1.0\r\nConnection: keep-alive, close\r\n\r\n" },
    })
  end)

  it("answers pipelined requests in their order", function()
    wire.check(h, {
      { name = "three", bytes = get "/" .. get "/none" .. get "/probe",
        want = { { 200, body = "root" }, 404, { 200, body = "probe" } } },
      { name = "HEAD between", want = { 200, { 200, head = true }, 200 },
        bytes = get "/" .. "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n" .. get "/probe" },
      { name = "with bodies", want = { { 200, body = "ab" }, { 200, body = "c" }, 200 },
        bytes = "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nab"
          .. "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
          .. "1\r\nc\r\n0\r\n\r\n" .. get "/" },
      { name = "with an empty line between", want = { 200, 200 },
        bytes = get "/" .. "\r\n" .. get "/" },
      { name = "a bad one last", want = { 200, 400 }, close = true,
        bytes = get "/" .. "GET / HTTP/1.1\r\n\r\n" },
      { name = "streams between", bytes = get "/pieces" .. get "/nothing" .. get "/",
        want = { { 200, body = "onethree" }, 204, { 200, body = "root" } } },
    })
  end)

  it("answers a thousand pipelined requests", function()
    local c = wire.connect(h)
    c:send(get "/":rep(1000))
    for _ = 1, 1000 do assert.equal("root", c:receive().body) end
  end)

  it("waits for a slow first request while others are answered", function()
    local c, other = wire.connect(h), wire.connect(h)
    c:send(get "/hold/slow" .. get "/probe")
    held("slow", 1)
    for _ = 1, 20 do assert.equal("probe", other:ask("/probe").body) end
    assert.equal(0, c.size)
    open "slow"
    assert.equal("held slow", c:receive().body)
    assert.equal("probe", c:receive().body)
  end)

  it("holds many requests at a time", function()
    local list = {}
    for i = 1, 100 do list[i] = wire.connect(h):send(get "/hold/many") end
    held("many", 100)
    open "many"
    for _, c in ipairs(list) do assert.equal("held many", c:receive().body) end
  end)

  it("that is half closed still gets its answers", function()
    wire.check(h, {
      { name = "one", bytes = get "/", finish = true, close = true, silent = true,
        want = { 200 } },
      { name = "two", bytes = get "/" .. get "/pieces", finish = true, close = true,
        silent = true, want = { 200, { 200, body = "onethree" } } },
      { name = "a body", finish = true, close = true, silent = true,
        bytes = "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nab",
        want = { { 200, body = "ab" } } },
      { name = "nothing", bytes = "\r\n", finish = true, close = true, silent = true,
        want = {} },
      { name = "half a head", bytes = "GET / HTTP/1.1\r\nHos", finish = true,
        close = true, silent = true, want = {} },
    })
    local c = wire.connect(h)
    c:send(get "/hold/half"):finish()
    held("half", 1)
    open "half"
    assert.equal("held half", c:receive().body)
    assert.equal("", (c:wait_end()))
  end)

  it("that is half closed inside a body is refused", function()
    wire.check(h, {
      { name = "of a length", finish = true, close = true, want = { 400 },
        bytes = "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nab" },
      { name = "in chunks", finish = true, close = true, want = { 400 },
        bytes = "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
          .. "5\r\nab" },
    })
  end)

  it("may vanish at any place", function()
    local bytes = "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello"
      .. get "/pieces"
    for i = 0, #bytes do
      local c = wire.connect(h):send(bytes:sub(1, i))
      if i % 2 == 0 then c:abort() else c:close() end
    end
    local one = wire.connect(h):send(get "/hold/gone")
    local two = wire.connect(h):send(get "/hold/gone" .. get "/probe")
    held("gone", 2)
    one:close()
    two:abort()
    assert.equal("probe", wire.ask(h, "/probe").body)
    open "gone"
    assert.equal("probe", wire.ask(h, "/probe").body)
    assert.equal(0, h:count "killed")
  end)
end)

describe("requests_per_connection", function()
  teardown(host.finish)

  it("ends a connection behind that many", function()
    local h = host.start { dir = "spec/apps/wire",
      set = { requests_per_connection = 3 } }
    local c = wire.connect(h)
    c:send(get "/probe":rep(5))
    for i = 1, 3 do
      assert.equal(i == 3 and "close" or nil, c:receive().fields.connection)
    end
    assert.equal("", (c:wait_end()))
    c:close()
  end)
end)

describe("a handler", function()
  teardown(host.finish)

  it("may end the connection", function()
    local h = host.start { app = [[
      app:get("/", function() return "bye", nil, { Connection = "close" } end)]] }
    wire.check(h, { { name = "close", bytes = get "/", want = { 200 }, close = true,
      whole = true } })
  end)
end)
