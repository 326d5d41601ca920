-- Server-sent events, from the handler to the bytes that a browser reads.
local events = require "support.events"
local host = require "support.host"
local wire = require "support.wire"

local APP = [[
local state = {}
local function count(name) state[name] = (state[name] or 0) + 1 end
local function at_end(name)
  return setmetatable({}, { __close = function() count(name) end })
end

app:get("/probe", function() return "probe" end)
app:get("/state/:name", function(req) return tostring(state[req.params.name] or 0) end)
app:get("/publish/:topic/:value", function(req)
  local p = req.params
  return tostring(atoll.topic(p.topic):publish(p.value))
end)

app:events("/plain", function(send, req)
  assert(req.path == "/plain")
  send "a text"
  send { event = "tick", id = 7, data = { n = 1 }, retry = 2 }
  send { data = "two\nlines\r\nand\rmore" }
  send:comment "for\npeople"
end, { retry = 0.5 })

app:events("/quiet", function()
  local _ <close> = at_end "quiet"
  atoll.sleep(60)
end, { heartbeat = 0.05 })

app:events("/nothing", function()
  local _ <close> = at_end "nothing"
  atoll.sleep(60)
end, { heartbeat = 0 })

app:events("/told", function(send, req)
  req:on_abort(function() count "told" end)
  atoll.sleep(60)
end)

app:events("/flood", function(send)
  -- It is told that the page has gone, or cancelled where it had used up its slice.
  local _ <close> = at_end "flood"
  local text = ("x"):rep(32 * 1024)
  repeat local ok = send(text) until not ok
end, { heartbeat = 0.05 })

app:events("/last", function(send, req)
  send(("%s %s"):format(tostring(req.last_event_id), tostring(send.last_event_id)))
end)

app:events("/fails", function(send)
  send "one"
  error "on purpose"
end)

atoll.topic("kept", { history = 3 })
app:events("/kept", function(send) send:subscribe "kept" end)
app:events("/all", function(send) send:subscribe("kept", { replay = true }) end)
app:events("/plain/topic", function(send)
  local _ <close> = at_end "subscribed"
  send:subscribe(atoll.topic "loose", {
    event = "news",
    filter = function(value) return value ~= "no" end,
    map = function(value)
      if value == "nothing" then return nil end
      if value == "table" then return { event = "other", data = { 1 } } end
      return value:upper()
    end,
  })
end)
app:events("/slow", function(send) send:subscribe("large", { capacity = 2 }) end)
app:get("/flurry", function()
  local large, text = atoll.topic "large", ("x"):rep(1024 * 1024)
  for _ = 1, 5 do
    state.flurry = (state.flurry or 0) + large:publish(text)
    atoll.sleep(0.001)
  end
  return tostring(state.flurry)
end)
app:get("/misuse", function(req)
  local ok, why = pcall(function()
    if req.query.what == "option" then return atoll.events(print, { heart = 1 }) end
    if req.query.what == "beat" then return atoll.events(print, { heartbeat = -1 }) end
    return atoll.events {}
  end)
  return why
end)
app:events("/wrong", function(send) send:subscribe("loose", { filters = print }) end)
]]

local function get(path, more)
  return ("GET %s HTTP/1.1\r\nHost: a\r\n%s\r\n"):format(path, more or "")
end

describe("an event stream", function()
  local h

  setup(function() h = host.start { app = APP } end)
  teardown(host.finish)
  after_each(wire.finish)

  local function open(path, more, to)
    local c = wire.connect(to or h):send(get(path, more))
    c:read_until "HTTP/1.1 200 OK\r\n.-\r\n\r\n"
    return c
  end

  local function becomes(name, value)
    local c = wire.connect(h)
    events.retry(name, function()
      return c:ask("/state/" .. name).body == tostring(value)
    end)
  end

  it("is what the standard says", function()
    local answer = wire.ask(h, "/plain")
    assert.equal("text/event-stream", answer.fields["content-type"])
    assert.equal("no-cache", answer.fields["cache-control"])
    assert.equal("no", answer.fields["x-accel-buffering"])
    assert.equal("retry: 500\n\ndata: a text\n\n"
      .. 'event: tick\nid: 7\nretry: 2000\ndata: {"n":1}\n\n'
      .. "data: two\ndata: lines\ndata: and\ndata: more\n\n"
      .. ":for\n:people\n\n", answer.body)
  end)

  it("has no body for HEAD, and no chunks for 1.0", function()
    wire.check(h, {
      { name = "HEAD", bytes = "HEAD /quiet HTTP/1.1\r\nHost: a\r\n\r\n", whole = true,
        want = { { 200, head = true } } },
      { name = "1.0", bytes = "GET /plain HTTP/1.0\r\n\r\n", whole = true, close = true,
        want = { { 200, fields = { ["transfer-encoding"] = false } } } },
    })
  end)

  it("beats while nothing is sent, and ends when the client goes", function()
    local c = open "/quiet"
    for _ = 1, 3 do c:read_until "3\r\n:\n\n\r\n" end
    c:close()
    becomes("quiet", 1)
  end)

  it("ends when the client goes, though nothing is ever sent", function()
    open("/nothing"):close()
    becomes("nothing", 1)
    open("/nothing"):abort()
    becomes("nothing", 2)
    open("/told"):close()
    becomes("told", 1)
  end)

  it("waits for a slow client, and is not torn by its own heart", function()
    local c = wire.connect_deaf(h)
    c:send(get "/flood")
    for _ = 1, 20 do wire.ask(h, "/probe") end
    c:resume()
    events.wait("megabytes", function() return c.size > 4000000 end)
    c:pause()
    local text = c:got()
    for size in text:gmatch "\r\n(%x+)\r\n[d:]" do
      assert(size == "8008" or size == "3", size)
    end
    c:abort()
    becomes("flood", 1)
  end)

  it("tells which event the page saw last", function()
    local answer = wire.ask(h, get("/last", "Last-Event-ID: \xc3\xa4 7\r\n"))
    assert.equal("data: \xc3\xa4 7 \xc3\xa4 7\n\n", answer.body)
    assert.equal("data: nil nil\n\n", wire.ask(h, "/last").body)
  end)

  it("that fails is cut", function()
    local c = open "/fails"
    local text = c:wait_end()
    assert.equal("B\r\ndata: one\n\n\r\n", text)
    h:log_wait "GET /fails: [^\n]*on purpose"
  end)

  it("passes on what is published", function()
    local c = open "/plain/topic"
    for _, value in ipairs { "no", "a", "nothing", "table", "b" } do
      assert.equal("1", wire.ask(h, "/publish/loose/" .. value).body)
    end
    c:read_until "\r\nevent: news\ndata: A\n\n\r\n"
    c:read_until "\r\nevent: other\ndata: %[1%]\n\n\r\n"
    c:read_until "\r\nevent: news\ndata: B\n\n\r\n"
    c:close()
    becomes("subscribed", 1)
    assert.equal("0", wire.ask(h, "/publish/loose/x").body)
  end)

  it("goes on where the page was cut off", function()
    local c = open "/kept"
    for _, value in ipairs { "a", "b" } do wire.ask(h, "/publish/kept/" .. value) end
    local id = c:read_until "id: (%x+%-%d+)\ndata: a\n\n"
    c:read_until "data: b\n\n"
    c:close()
    for _, value in ipairs { "c", "d" } do wire.ask(h, "/publish/kept/" .. value) end
    local d = open("/kept", "Last-Event-ID: " .. id .. "\r\n")
    d:read_until "^%x+\r\nid: [^\n]*\ndata: b\n\n"
    d:read_until "data: c\n\n"
    d:read_until "data: d\n\n"
    wire.ask(h, "/publish/kept/e")
    d:read_until "^\r\n%x+\r\nid: [^\n]*\ndata: e\n\n"
    -- Now `b` is no longer there.
    local late = open("/kept", "Last-Event-ID: " .. id .. "\r\n")
    late:read_until '^%x+\r\nevent: missed\ndata: {"count":1}\n\n'
    late:read_until "data: c\n\n"
    -- The id of another life of the host, and a page that wants all.
    local from_c = "^%x+\r\nid: [^\n]*\ndata: c"
    open("/kept", "Last-Event-ID: 00000000-1\r\n"):read_until(from_c)
    open("/all"):read_until(from_c)
  end)

  it("tells a slow page what it missed", function()
    local c = wire.connect_deaf { port = h.port, receive_buffer = 4096 }
    c:send(get "/slow")
    events.retry("the flood", function()
      return tonumber(wire.ask(h, "/flurry").body) >= 20
    end)
    c:resume()
    c:read_until('event: missed\ndata: {"count":%d+}\n\n', 30)
    c:abort()
  end)

  it("names what was called wrongly", function()
    local function why(what) return wire.ask(h, "/misuse?what=" .. what).body end
    assert.truthy(why("option"):find "app.lua:%d+: atoll.events.. has no option heart")
    assert.truthy(why("beat"):find "the heartbeat of atoll.events%(%)")
    assert.truthy(why("fn"):find "the argument of atoll.events%(%) is a function")
    open("/wrong"):wait_end()
    h:log_wait "app.lua:%d+: send:subscribe%(%) has no option filters"
  end)

  it("is ended at once by a stop, in peace", function()
    local other = host.start { app = APP, set = { drain_timeout = 60 } }
    local streams = {}
    for i, path in ipairs { "/quiet", "/nothing", "/kept", "/told" } do
      streams[i] = open(path, nil, other)
    end
    other:term()
    for _, c in ipairs(streams) do
      local text, reset = c:wait_end()
      assert.equal("0\r\n\r\n", text:sub(-5))
      assert.is_nil(reset)
    end
    other:ended_well()
  end)

  it("of a topic is ended by a reload, others go on", function()
    local other = host.start { app = APP, set = { drain_timeout = 60 } }
    local kept, quiet = open("/kept", nil, other), open("/quiet", nil, other)
    other:reload()
    kept:read_until "0\r\n\r\n"
    assert.equal("probe", kept:ask("/probe").body) -- the connection stays
    quiet:read_until "3\r\n:\n\n\r\n"
    -- What was published under the old code is still there.
    wire.ask(other, "/publish/kept/x")
    open("/all", nil, other):read_until "data: x\n\n"
  end)

  it("of old code is ended in peace when drain_timeout is over", function()
    local other = host.start { app = APP, set = { drain_timeout = 0.2 } }
    local c = open("/nothing", nil, other)
    other:reload()
    c:read_until "0\r\n\r\n"
    assert.equal("probe", c:ask("/probe").body)
  end)
end)
