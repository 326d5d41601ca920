-- Floods, and clients that take nothing of what they asked for: each costs what the
-- README says at most, and is over when its time is. Others are served meanwhile.
local atoll = require "atoll"
local events = require "support.events"
local frames = require "support.frames"
local host = require "support.host"
local wire = require "support.wire"

local APP = [[
local json = atoll.json
app:get("/probe", function() return "probe" end)
app:any("/text", function(req) return req:text() or 400 end)
app:post("/count", function(req)
  local n = 0
  for chunk in req:chunks() do n = n + #chunk end
  return tostring(n)
end)
app:post("/both", function(req)
  return atoll.stream(function(write, res)
    res:flush()
    for chunk in req:chunks() do
      write(chunk)
      res:flush()
    end
  end)
end)
app:post("/late", function(req)
  atoll.sleep(3) -- longer than its body_timeout
  return tostring(#req:text())
end)
app:post("/form", function(req)
  local form = req:form()
  if not form then return 400 end
  local n = 0
  for _ in pairs(form) do n = n + 1 end
  return tostring(n)
end)
app:post("/json", function(req)
  local value, why = req:json()
  if not value then return 400, why end
  local n = 0
  for _ in pairs(value) do n = n + 1 end
  return tostring(n)
end)
app:get("/cookies", function(req) return req.cookies.a0 or "none" end)
app:get("/endless", function()
  return atoll.stream(function(write) while write(("x"):rep(10000)) do end end)
end)
app:events("/events", function(send) while true do send(("e"):rep(9000)) end end)
app:static("/files", "files")
app:websocket("/deaf", function(ws) atoll.sleep(60) end)
app:websocket("/echo", function(ws)
  for message, kind in ws:messages() do ws:send(message, kind) end
end)
app:websocket("/talk", function(ws)
  while ws:send(("t"):rep(10000)) do end
  atoll.log.info("cut off")
end)
]]

local function files()
  return { ["app.lua"] = host.app(APP), ["files/f"] = ("f"):rep(8000000) }
end

local function get(path, fields)
  return ("GET %s HTTP/1.1\r\nHost: a\r\n%s\r\n"):format(path, fields or "")
end

local function post(path, body, fields)
  return ("POST %s HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n%s\r\n%s"):format(path,
    #body, fields or "", body)
end

local CHUNKED = "Host: a\r\nTransfer-Encoding: chunked\r\n\r\n"

-- What the README says a WebSocket may hold, in KiB.
local function websocket_bound()
  local f = assert(io.open "README.md")
  local kib = f:read "a":match "\n| a WebSocket | (%d+) KiB |"
  f:close()
  return tonumber(kib)
end

describe("a flood", function()
  local h

  before_each(function()
    h = host.start { files = files(),
      set = { slice_warn = 0, websocket_ping = 1, head_timeout = 600 } }
  end)
  after_each(function()
    wire.finish()
    host.finish()
  end)

  local function probe()
    for _ = 1, 2 do assert.equal("probe", wire.ask(h, "/probe").body) end
  end

  -- Ten clients send that to that path, again and again, and read nothing.
  local function bounded(path, bytes, times)
    probe()
    local before, own, list = h:memory(), h:held(), {}
    for i = 1, 10 do
      list[i] = wire.connect_deaf(h):send(frames.request(path))
      for _ = 1, times do list[i]:send(bytes) end
    end
    for _ = 1, 20 do probe() end
    atoll.sleep(0.2)
    probe()
    h:grows_less(10 * websocket_bound(), before)
    for _, c in ipairs(list) do c:abort() end
    events.retry("the end of all", function() return h:descriptors() <= own end)
  end

  it("of pings is bounded when its pongs are not read", function()
    bounded("/echo", frames.frame(0x89, ("p"):rep(125)):rep(1000), 40)
  end)

  it("of tiny messages is bounded when nobody takes them", function()
    bounded("/deaf", frames.text "a":rep(10000), 20)
    bounded("/deaf", frames.text "":rep(10000), 20)
  end)

  it("of echoes is bounded when nobody reads them", function()
    bounded("/echo", frames.text(("a"):rep(1000)):rep(100), 40)
  end)

  it("of fragments is bounded, of empty ones too", function()
    bounded("/deaf", frames.frame(0x01, "a") .. frames.frame(0x00, ""):rep(10000), 1)
    bounded("/deaf", frames.frame(0x01, "a") .. frames.frame(0x00, "b"):rep(10000), 1)
    bounded("/deaf", frames.frame(0x02, ("a"):rep(60000))
      .. frames.frame(0x00, ("b"):rep(60000)):rep(16), 1)
  end)

  it("of chunks with a byte each is a body", function()
    local n = 20000
    local c = wire.connect(h)
    c:send("POST /count HTTP/1.1\r\n" .. CHUNKED .. ("1\r\na\r\n"):rep(n)
      .. "0\r\n\r\n")
    assert.equal(tostring(n), c:receive(nil, 30).body)
    assert.equal("probe", c:ask("/probe").body)
  end)

  it("of chunk extensions is refused", function()
    local c = wire.connect(h)
    c:send("POST /count HTTP/1.1\r\n" .. CHUNKED
      .. ("1;" .. ("x"):rep(4000) .. "\r\na\r\n"):rep(20000))
    assert.equal(400, c:receive(nil, 30).status)
    assert.equal("", (c:wait_end()))
  end)

  it("of connections that say nothing costs the others nothing", function()
    local list = {}
    for i = 1, 300 do list[i] = wire.open(h) end
    for i = 1, 300 do list[i]:wait_connected() end
    probe()
    for i = 1, 300 do
      list[i]:send "G"
      if i % 100 == 0 then probe() end
    end
    probe()
    assert.equal(0, list[1].size)
  end)
end)

-- It was kept for as long as its handler took nothing of what had come.
describe("a WebSocket whose handler does not receive", function()
  after_each(function()
    wire.finish()
    host.finish()
  end)

  for name, leave in pairs {
    reset = function(c) c:abort() end,
    close = function(c) c:close() end,
  } do
    it("is over some time after a " .. name .. " by a peer that filled it", function()
      local h = host.start { files = files(),
        set = { websocket_ping = 0.2, websocket_timeout = 0.2 } }
      wire.ask(h, "/probe")
      local own = h:held()
      local gone, stays = wire.connect(h), wire.connect(h)
      for _, c in ipairs { gone, stays } do
        c:send(frames.request "/deaf" .. frames.text(("a"):rep(1000)):rep(500))
        c:read_until "\r\n\r\n"
      end
      stays:read_until "\137%z" -- it is pinged, and not cut off when it cannot answer
      leave(gone)
      events.retry("its end", function() return h:descriptors() <= own + 1 end)
      stays:read_until "\137%z"
      assert.is_nil(stays.eof)
    end)
  end
end)

describe("a request that expects or asks for the head alone", function()
  after_each(function()
    wire.finish()
    host.finish()
  end)

  it("never puts answers out of step", function()
    local h = host.start { files = files() }
    local expect = "Expect: 100-continue\r\n"
    wire.check(h, {
      { name = "HEAD with a body", want = { { 200, head = true } },
        bytes = "HEAD /text HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello" },
      { name = "HEAD with chunks", want = { { 200, head = true } },
        bytes = "HEAD /text HTTP/1.1\r\n" .. CHUNKED .. "5\r\nhello\r\n0\r\n\r\n" },
      { name = "HEAD of a stream", bytes = "HEAD /endless HTTP/1.1\r\nHost: a\r\n\r\n",
        want = { { 200, head = true } } },
      { name = "HEAD of events", bytes = "HEAD /events HTTP/1.1\r\nHost: a\r\n\r\n",
        want = { { 200, head = true } } },
      { name = "an expectation without a body", bytes = get("/probe", expect),
        want = { 200 } },
      { name = "one of an empty body", bytes = post("/text", "", expect),
        want = { 200 } },
      { name = "one, repeated", bytes = post("/text", "hello", expect:rep(2)),
        want = { { 200, body = "hello" } }, interim = true },
      { name = "HEAD with one", want = { { 200, head = true } }, interim = true,
        bytes = "HEAD /text HTTP/1.1\r\nHost: a\r\n" .. expect
          .. "Content-Length: 5\r\n\r\nhello" },
    })
  end)
end)

describe("a client that reads nothing", function()
  local h, own

  setup(function()
    h = host.start { files = files(),
      set = { write_timeout = 0.5, slice_warn = 0, log_level = "debug" } }
    -- From now on it is kept open. Of all of it this client could be slow to read.
    wire.ask(h, "GET /files/f HTTP/1.1\r\nHost: a\r\nRange: bytes=0-7\r\n\r\n")
    own = h:held()
  end)
  teardown(host.finish)
  after_each(wire.finish)

  for name, request in pairs {
    ["a stream"] = get "/endless", ["a file"] = get "/files/f", events = get "/events",
    ["a WebSocket that talks"] = frames.request "/talk",
    ["pipelined files"] = get("/files/f"):rep(20),
  } do
    it("is cut off from " .. name, function()
      local function idle() return h:descriptors() <= own end
      events.retry("silence", idle)
      wire.connect_deaf(h):send(request)
      h:log_wait(name:find "WebSocket" and "cut off\n"
        or "a client has not read its answer for 0.5 s: cut")
      events.retry("its end", idle)
    end)
  end
end)

-- body_timeout is counted between two pieces: who sends a byte now and then is within.
describe("a body that trickles in", function()
  after_each(function()
    wire.finish()
    host.finish()
  end)

  for name, request in pairs {
    ["with a length"] = "POST /text HTTP/1.1\r\nHost: a\r\n"
      .. "Content-Length: 9999\r\n\r\n",
    ["in chunks"] = "POST /text HTTP/1.1\r\n" .. CHUNKED .. "270f\r\n",
    ["as a form"] = "POST /form HTTP/1.1\r\nContent-Type: multipart/form-data; "
      .. "boundary=b\r\n" .. CHUNKED .. "270f\r\n--b\r\n",
  } do
    it("is over when it is slower than body_rate " .. name, function()
      local h = host.start { files = files(),
        set = { body_timeout = 0.5, body_rate = 100000, slice_warn = 0 } }
      local c = wire.connect(h):send(request)
      events.poll("the end of its patience", function()
        c:send "y"
        return c.size > 0
      end)
      assert.equal(408, c:receive().status)
      assert.equal("probe", wire.ask(h, "/probe").body)
    end)
  end

  it("may do so behind the beginning of its answer", function()
    local h = host.start { files = files(),
      set = { body_timeout = 2, body_rate = 1000000 } }
    local function drip()
      local c = wire.connect(h):send("POST /both HTTP/1.1\r\n" .. CHUNKED)
      local longest, before = 0, events.now()
      local ok, why = pcall(function()
        for i = 1, 6 do
          c:send "1\r\ny\r\n"
          longest, before = math.max(longest, events.now() - before), events.now()
          c:read_until(i == 1 and "\r\n\r\n1\r\ny\r\n" or "1\r\ny\r\n")
          atoll.sleep(0.5)
        end
        c:send "0\r\n\r\n"
        longest = math.max(longest, events.now() - before)
        c:read_until "0\r\n\r\n"
      end)
      -- Where the machine has stood still it was too late indeed.
      assert(ok or longest > 1.5, why)
      return ok
    end
    events.retry("a machine that goes on", drip, 120)
  end)

  it("has its time again when it was the handler that did not read", function()
    local h = host.start { files = files(),
      set = { body_timeout = 2, body_rate = 1000 } }
    events.retry("a client that does not stand still for two seconds", function()
      local c = wire.connect(h)
      c:send(post("/late", ("x"):rep(3000000)))
      local answer = c:receive()
      if answer.status == 200 then assert.equal("3000000", answer.body) end
      return answer.status == 200
    end, 5)
  end)
end)

describe("what is costly to read", function()
  local h

  setup(function() h = host.start { files = files(), set = { slice_warn = 0 } } end)
  teardown(host.finish)
  after_each(wire.finish)

  -- Of a CPU, that the host has used.
  local function used()
    local f <close> = assert(io.open(("/proc/%d/stat"):format(h:serving_pid())))
    local user, system = f:read "a":match("%) %a" .. (" %S+"):rep(10)
      .. " (%d+) (%d+)")
    return (user + system) / 100
  end

  local function seconds(request, want, status)
    local c = wire.connect(h)
    local began = used()
    c:send(request)
    local answer = c:receive(nil, 300)
    local took = used() - began
    assert.equal(status or 200, answer.status)
    if want then assert.equal(want, answer.body) end
    c:close()
    return took
  end

  -- The least of up to four times, of which one is below the limit: what the machine
  -- does beside it only ever adds.
  local function below(limit, ...)
    local least = math.huge
    for _ = 1, 4 do
      least = math.min(least, seconds(...))
      if least < limit then return end
    end
    error(("it takes %.3f s, at most %.3f"):format(least, limit), 2)
  end

  -- Twice two bytes that have the same effect on the hash of a string in Lua for one
  -- state of it in seven, so one in seven in front of any further ones, too.
  local PAIRS = { "!#", '"D' }

  local function colliding(i)
    local parts = {}
    for bit = 0, 16 do parts[#parts + 1] = PAIRS[1 + (i >> bit & 1)] end
    return table.concat(parts)
  end

  it("are no keys that are made to collide", function()
    local n = 1 << 16
    local plain, made = {}, {}
    for i = 1, n do
      plain[i] = ('"%034d":1'):format(i)
      made[i] = '"' .. colliding(i):gsub('"', '\\"') .. '":1'
    end
    plain = post("/json", "{" .. table.concat(plain, ",") .. "}")
    made = post("/json", "{" .. table.concat(made, ",") .. "}")
    seconds(plain, tostring(n))
    local usual = seconds(plain, tostring(n))
    below(1 + 10 * usual, made, tostring(n))
  end)

  it("is no nesting, no heap of cookies, ranges or parameters", function()
    seconds(post("/json", ("["):rep(1000000)), nil, 400)
    seconds(post("/json", ('{"a":'):rep(200000)), nil, 400)
    local cookies = {}
    for i = 0, 2500 do cookies[i + 1] = "a" .. i .. "=" .. i end
    cookies = "Cookie: " .. table.concat(cookies, "; ") .. "\r\n"
    below(5, get("/cookies", cookies), "0")
    below(5, get("/files/f", "Range: bytes=" .. ("0-,"):rep(4000) .. "0-\r\n"))
    local fields = {}
    for i = 1, 100000 do fields[i] = "a" .. i .. "=1" end
    below(5, post("/form", table.concat(fields, "&"),
      "Content-Type: application/x-www-form-urlencoded\r\n"), nil, 413)
  end)

  it("is no boundary that begins again and again", function()
    local boundary = ("-"):rep(69) .. "b"
    local form = "Content-Type: multipart/form-data; boundary=" .. boundary .. "\r\n"
    local function parts(filler)
      return ('--%s\r\nContent-Disposition: form-data; name="a"\r\n\r\n'
        .. "%s\r\n--%s--\r\n"):format(boundary, filler, boundary)
    end
    local most = 1500000
    below(10, post("/form", parts(("\r\n--" .. ("-"):rep(69)):rep(most // 73)), form),
      "1")
    below(10, post("/form", parts(("-"):rep(most)), form), "1")
    below(10, post("/form", parts(("\r"):rep(most)), form), "1")
  end)
end)
