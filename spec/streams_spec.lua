-- Streams both ways: who is told when a client leaves, what goes out when, bodies that
-- are read while the answer is written, and trailers.
local events = require "support.events"
local host = require "support.host"
local net = require "atoll.net"
local wire = require "support.wire"

local APP = [[
local left, order = {}, {}
local function note(name) return function() left[name] = (left[name] or 0) + 1 end end
local function begin(req, name)
  req:on_abort(note(name))
  note("begun-" .. name)()
end
local piece = ("x"):rep(64 * 1024)

app:get("/probe", function() return "probe" end)
app:get("/left/:name", function(req) return tostring(left[req.params.name] or 0) end)

app:get("/waits", function(req)
  begin(req, "waits")
  repeat atoll.sleep(0.005) until req.aborted
  note "seen" ()
end)
app:get("/twice", function(req)
  req:on_abort(function() error "the first fails" end)
  req:on_abort(note "twice")
  atoll.sleep(60)
end)
app:get("/computes", function(req)
  begin(req, "computes")
  while not req.aborted do atoll.sleep(0) end
end)
app:post("/reads", function(req)
  begin(req, "reads")
  return req:text()
end)
app:post("/ignores", function(req)
  begin(req, "ignores")
  while not left.ignores do atoll.sleep(0.01) end
end)
app:get("/writes", function(req)
  begin(req, "writes")
  return atoll.stream(function(write) repeat until not write(piece) end)
end)
app:get("/cancelled", function(req)
  req:on_abort()
  local _ <close> = setmetatable({}, { __close = note "cancelled" })
  atoll.sleep(60)
end)
app:get("/late", function(req)
  repeat atoll.sleep(0.001) until req.aborted
  req:on_abort(note "late")
  atoll.sleep(60)
end)
app:get("/whole", function(req, res)
  req:on_abort(note "whole")
  res:write "all"
  res:finish()
  order.whole = req
  while not order.go do atoll.sleep(0.001) end
  order.after = req.aborted
end)
app:get("/go", function() order.go = true return tostring(order.after) end)
app:get("/fails", function(req)
  req:on_abort(note "fails")
  return atoll.stream(function(write) write "half" error "on purpose" end)
end)

-- Streams.
app:get("/many", function(_, res)
  for i = 1, 100 do res:write(i .. " ") end
end)
app:get("/steps", function(_, res)
  res:write "one"
  while not order.two do atoll.sleep(0.001) end
  res:write "two"
end)
app:get("/steps/two", function() order.two = true return "ok" end)
app:get("/flushed", function(_, res)
  res:write(piece:rep(8))
  local ok = res:flush()
  left.flushed = ok and 1 or 0
end)
app:get("/flushed/head", function(_, res)
  res.status = 201
  res:flush()
  while not order.three do atoll.sleep(0.001) end
  res:write "late"
end)
app:get("/steps/three", function() order.three = true return "ok" end)
app:get("/generated", function()
  local n = 0
  return function()
    n = n + 1
    return n <= 3 and "piece " .. n .. "\n" or nil
  end
end)
app:post("/echo", function(req, res)
  for chunk in req:chunks() do res:write(chunk) end
end)
app:post("/begun", function(req, res)
  res:write "go on\n"
  res:write(req:text())
end)
app:post("/duplex", function(req, res)
  local reader = atoll.spawn(function()
    local n = 0
    for chunk in req:chunks() do n = n + #chunk end
    return n
  end)
  for _ = 1, 64 do res:write(piece) end
  res:write(("%010d"):format(reader:join()))
end)

-- Trailers.
app:post("/trailers", function(req)
  local names = {}
  req:text()
  for name, value in pairs(req.trailers) do names[#names + 1] = name .. "=" .. value end
  table.sort(names)
  return table.concat(names, ";")
end)
app:post("/trailers/late", function(req, res)
  res:write(tostring(req.trailers))
  req:text()
  res:write(req.trailers["x-a"])
end)
app:any("/sum", function()
  local n = 0
  return atoll.stream(function(write)
    for i = 1, 3 do n = n + i write(tostring(i)) end
  end, 200, nil, { ["X-Sum"] = function() return tostring(n) end, ["X-Fixed"] = "1" })
end)
app:get("/res", function(_, res)
  res.trailers["X-Late"] = false
  res:write "body"
  res.trailers["x-late"] = "yes"
end)
app:get("/forbidden", function()
  local trailers = { ["Set-Cookie"] = "a=1" }
  return atoll.stream(function(write) write "x" end, 200, nil, trailers)
end)
app:get("/malformed", function(_, res)
  res.trailers["X-Late"] = false
  res:write "body"
  res.trailers["X-Late"] = "a\r\nb: c"
end)
]]

local function get(path, more)
  return ("GET %s HTTP/1.1\r\nHost: a\r\n%s\r\n"):format(path, more or "")
end

local function post(path, more)
  return ("POST %s HTTP/1.1\r\nHost: a\r\n%s\r\n"):format(path, more or "")
end

local TE = "TE: trailers\r\n"

describe("a client that leaves", function()
  local h

  setup(function() h = host.start { app = APP } end)
  teardown(host.finish)
  after_each(wire.finish)

  local function told(name, times)
    local c = wire.connect(h)
    events.retry("the end of " .. name, function()
      return c:ask("/left/" .. name).body == tostring(times)
    end)
  end

  it("is noticed while the handler waits elsewhere", function()
    wire.connect(h):send(get "/waits"):close()
    told("waits", 1)
    told("seen", 1)
    local c = wire.connect(h):send(get "/waits")
    told("begun-waits", 2)
    c:abort()
    told("waits", 2)
    told("seen", 2)
  end)

  it("is noticed when it closes its side, and still answered", function()
    local c = wire.connect(h):send(get "/waits"):finish()
    assert.equal(204, c:receive().status)
    told("waits", 3)
  end)

  it("is told to each function, in a fiber of its own", function()
    wire.connect(h):send(get "/twice"):close()
    told("twice", 1)
    h:log_wait "a function of req:on_abort failed: [^\n]*the first fails"
  end)

  it("is noticed by a handler that computes", function()
    local c = wire.connect(h):send(get "/computes")
    told("begun-computes", 1)
    c:close()
    told("computes", 1)
  end)

  it("is noticed by one that reads the body", function()
    local c = wire.connect(h):send(post("/reads", "Content-Length: 10\r\n") .. "12345")
    told("begun-reads", 1)
    c:abort()
    told("reads", 1)
  end)

  it("is noticed by one that does not read the body", function()
    local c = wire.connect(h)
    c:send(post("/ignores", "Content-Length: 1000000\r\n") .. ("x"):rep(140000))
    told("begun-ignores", 1)
    c:close()
    told("ignores", 1)
  end)

  it("is noticed by one that writes", function()
    local c = wire.connect_deaf(h)
    c:send(get "/writes")
    told("begun-writes", 1)
    c:abort()
    told("writes", 1)
  end)

  it("has the handler cancelled that wants to be", function()
    wire.connect(h):send(get "/cancelled"):close()
    told("cancelled", 1)
  end)

  it("is told at once to who asks late", function()
    wire.connect(h):send(get "/late"):close()
    told("late", 1)
  end)

  it("with a whole answer tells nobody", function()
    local c = wire.connect(h)
    assert.equal("all", c:ask("/whole").body)
    c:close()
    wire.ask(h, "/go")
    events.retry("the handler's end", function()
      return wire.ask(h, "/go").body == "false"
    end)
    told("whole", 0)
  end)

  it("because the answer was cut tells nobody", function()
    local c = wire.connect(h):send(get "/fails")
    c:wait_end()
    told("fails", 0)
  end)

  it("is noticed by the isolate that has the request now", function()
    local other = host.start { isolates = 2, app = [[
      local left = atoll.shared "left"
      app:get("/left", function() return tostring(left:get "n" or 0) end)
      local inner = atoll.app()
      inner:get("/moved", function(req)
        req:on_abort(function() left:incr("n", 1, 0) end)
        left:incr("n", 10, 0) -- it is there
        atoll.sleep(60)
      end)
      app:on("start", function()
        local port = atoll.port()
        atoll.register("taker", port:sender())
        atoll.spawn(function()
          for req in port:messages() do inner:handle(req) end
        end):quiet()
      end)
      app:get("/moved", function(req)
        req:on_abort(function() left:incr("n", 100, 0) end)
        assert(req:transfer "taker")
      end)
    ]], set = { drain_timeout = 1 } }
    local function left(n)
      events.retry("the count " .. n, function()
        return wire.ask(other, "/left").body == n
      end)
    end
    local c = wire.connect(other):send(get "/moved")
    left "10"
    c:close()
    left "11"
  end)
end)

describe("a stream", function()
  local h

  setup(function() h = host.start { app = APP, set = { body_max = "40M" } } end)
  teardown(host.finish)
  after_each(wire.finish)

  it("is sent when the handler waits", function()
    local c = wire.connect(h):send(get "/steps")
    c:read_until "3\r\none\r\n"
    wire.ask(h, "/steps/two")
    c:read_until "3\r\ntwo\r\n0\r\n\r\n"
  end)

  it("of many small pieces goes out together", function()
    -- A handler that is suspended on the way has sent a part: of ten not each.
    local c, least = wire.connect(h), math.huge
    for _ = 1, 10 do
      local reads = 0
      c.on_data = function() reads = reads + 1 end
      assert.equal("1 2 3 ", c:ask("/many").body:sub(1, 6))
      least = math.min(least, reads)
    end
    assert(least <= 3, least .. " packets")
  end)

  it("waits for the kernel when it is told to flush", function()
    local c = wire.connect_deaf(h)
    c:send(get "/flushed")
    wire.ask(h, "/probe")
    c:resume()
    assert.equal(8 * 64 * 1024, #c:receive().body)
    assert.equal("1", wire.ask(h, "/left/flushed").body)
  end)

  it("sends its head when it is flushed empty", function()
    local c = wire.connect(h):send(get "/flushed/head")
    c:read_until "HTTP/1.1 201 Created\r\n.*\r\n\r\n"
    wire.ask(h, "/steps/three")
    c:read_until "4\r\nlate\r\n0\r\n\r\n"
  end)

  it("may come from a function", function()
    local body = "piece 1\npiece 2\npiece 3\n"
    wire.check(h, {
      { name = "1.1", bytes = get "/generated", whole = true,
        want = { { 200, body = body, fields = { ["transfer-encoding"] = "chunk" } } } },
      { name = "1.0", bytes = "GET /generated HTTP/1.0\r\n\r\n", close = true,
        whole = true,
        want = { { 200, body = body, fields = { ["transfer-encoding"] = false } } } },
      { name = "HEAD", bytes = "HEAD /generated HTTP/1.1\r\nHost: a\r\n\r\n",
        whole = true, want = { { 200, head = true } } },
    })
  end)

  it("that fails is not taken for a whole one by who knows no other end", function()
    -- Not luv's: to that what comes with a reset ends well.
    local c <close> = assert(net.connect("127.0.0.1:" .. h.port))
    assert(c:write "GET /fails HTTP/1.0\r\n\r\n")
    local _, _, code = c:read("all", 10)
    assert.equal("ECONNRESET", code)
  end)

  it("goes both ways at once", function()
    local c = wire.connect(h):send(post("/echo", "Transfer-Encoding: chunked\r\n"))
    for i = 1, 3 do
      c:send("5\r\npart" .. i .. "\r\n")
      c:read_until("5\r\npart" .. i .. "\r\n")
    end
    c:send "0\r\n\r\n"
    c:read_until "0\r\n\r\n"
    assert.equal("probe", c:ask("/probe").body)
  end)

  it("is cut when the body that it is made of turns out to be none", function()
    local c = wire.connect(h):send(post("/echo", "Transfer-Encoding: chunked\r\n"))
    c:send "4\r\npart\r\n"
    c:read_until "4\r\npart\r\n"
    c:send "what?\r\n"
    c:wait_end()
    h:log_wait "POST /echo: [^\n]*answer had begun when the body was refused with 400"
  end)

  it("of megabytes goes both ways, each in a fiber of its own", function()
    local c, size = wire.connect(h), 4 * 1024 * 1024
    c:send(post("/duplex", "Content-Length: " .. size .. "\r\n") .. ("y"):rep(size))
    local body = c:receive(nil, 30).body
    assert.equal(64 * 64 * 1024 + 10, #body)
    assert.equal(tostring(size), body:sub(-7))
  end)

  it("does not ask for a body behind its own head, and takes one that comes", function()
    local c = wire.connect(h)
    c:send(post("/begun", "Expect: 100-continue\r\nContent-Length: 5\r\n"))
    c:read_until "6\r\ngo on\n\r\n"
    assert.is_nil(c:got():find("100 Continue", 1, true))
    c:send "hello"
    c:read_until "5\r\nhello\r\n0\r\n\r\n"
    c:wait_end()
  end)
end)

describe("trailers", function()
  local h

  setup(function() h = host.start { app = APP } end)
  teardown(host.finish)
  after_each(wire.finish)

  it("of a request are there behind its body", function()
    local chunked = "Transfer-Encoding: chunked\r\n"
    wire.check(h, {
      { name = "some", want = { { 200, body = "x-a=1, 3;x-b=2" } },
        bytes = post("/trailers", chunked)
          .. "2\r\nab\r\n0\r\nX-A: 1\r\nx-b:2 \r\nx-a: 3\r\n\r\n" },
      { name = "forbidden ones", want = { { 200, body = "x-a=1" } }, whole = true,
        bytes = post("/trailers", chunked) .. "0\r\nContent-Length: 4\r\nX-A: 1\r\n"
          .. "Host: b\r\nCookie: a\r\nIf-Match: a\r\n\r\n" },
      { name = "none", want = { { 200, body = "" } }, whole = true,
        bytes = post("/trailers", chunked) .. "1\r\na\r\n0\r\n\r\n" },
      { name = "too many", want = { { 431 } }, close = true, whole = true,
        bytes = post("/trailers", chunked) .. "0\r\n" .. ("X: y\r\n"):rep(300)
          .. "\r\n" },
    })
    local c = wire.connect(h):send(post("/trailers/late", chunked))
    c:read_until "3\r\nnil\r\n"
    c:send "1\r\na\r\n0\r\nX-A: late\r\n\r\n"
    c:read_until "4\r\nlate\r\n0\r\n\r\n"
  end)

  it("of an answer go to who takes them", function()
    local c = wire.connect(h):send(get("/sum", TE))
    local head = c:read_until "HTTP/1.1 200 OK\r\n(.-\r\n)\r\n"
    assert.truthy(head:find("Trailer: X-Sum\r\n", 1, true))
    assert.truthy(head:find("Trailer: X-Fixed\r\n", 1, true))
    local lines = c:read_until "1\r\n3\r\n0\r\n(.-\r\n)\r\n"
    assert.truthy(lines:find("X-Sum: 6\r\n", 1, true))
    assert.truthy(lines:find("X-Fixed: 1\r\n", 1, true))
    assert.equal("probe", c:ask("/probe").body)
    c:send(get("/res", "TE: gzip, Trailers\r\n"))
    c:read_until "Trailer: X%-Late\r\n.*body\r\n0\r\nX%-Late: yes\r\n\r\n"
    assert.equal("probe", c:ask("/probe").body)
  end)

  it("are not for others", function()
    wire.check(h, {
      { name = "who does not say so", bytes = get "/sum", whole = true,
        want = { { 200, body = "123", fields = { trailer = false } } } },
      { name = "1.0", bytes = "GET /sum HTTP/1.0\r\n" .. TE .. "\r\n", close = true,
        whole = true, want = { { 200, body = "123", fields = { trailer = false } } } },
      { name = "HEAD", bytes = "HEAD /sum HTTP/1.1\r\nHost: a\r\n\r\n", whole = true,
        want = { { 200, head = true } } },
    })
  end)

  it("that cannot be are errors", function()
    assert.equal(500, wire.ask(h, get("/forbidden", TE)).status)
    h:log_wait "'Set%-Cookie' cannot be a trailer"
    local c = wire.connect(h):send(get("/malformed", TE))
    local text = c:wait_end()
    assert.is_nil(text:find("\r\n0\r\n", 1, true))
    h:log_wait "trailer 'X%-Late' has a value with a control byte"
  end)
end)
