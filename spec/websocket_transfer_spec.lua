-- WebSockets that go to another isolate, with all that has come and all that is unsent.
local events = require "support.events"
local frames = require "support.frames"
local host = require "support.host"
local wire = require "support.wire"

local WHOSE = [[
local function whose(req)
  return table.concat({ req.ip, req.remote, req.peer, req.scheme, req.host, req.id,
    req.path }, "|")
end
]]

local ROOM = WHOSE .. [[
local atoll = require "atoll"
for value in atoll.isolate.port:messages() do
  local ws = type(value) == "table" and value.ws or value
  atoll.spawn(function()
    ws:send(value.whose and whose(ws.req) or "here")
    for message, kind in ws:messages() do
      if message == "back" then
        assert(ws:transfer(value.to))
        return
      end
      ws:send(message, kind)
    end
    atoll.log.info("room: ended %s %s", tostring(ws.code), ws.req and ws.req.path)
  end)
end
]]

local APP = [[
local room
app:on("start", function()
  room = assert(atoll.isolate.spawn("room", nil, { name = "room" }))
end)
local function used(ws)
  for _, use in ipairs { function() return ws.code end, function() ws:send "x" end,
    function() ws:receive() end, function() ws:close() end,
    function() ws:transfer(room) end } do
    local ok, why = pcall(use)
    if ok or not why:find("the WebSocket was transferred", 1, true) then
      atoll.log.error("it can be used: " .. tostring(why))
    end
  end
  assert(tostring(ws) == "websocket (transferred)")
end
app:websocket("/give", function(ws)
  assert(ws:receive() == "go")
  assert(ws:transfer(room))
  used(ws)
end)
app:websocket("/queue", function(ws)
  assert(ws:receive() == "go")
  atoll.sleep(0.2) -- more has come meanwhile
  for i = 1, 3 do ws:send(("x"):rep(300000)) end
  assert(ws:transfer(room))
end)
app:websocket("/message", function(ws)
  room:send { ws = ws, list = { ws } }
  used(ws)
end)
app:websocket("/lost", function(ws)
  room:kill()
  room:join()
  local ok, message, code = ws:transfer(room)
  ws:send(tostring(ok) .. " " .. code)
  assert(ws:receive() == "still here")
  ws:send "yes"
end)
app:websocket("/dropped", function(ws)
  room:send(ws)
  room:kill()
end)
app:websocket("/busy", function(ws)
  atoll.spawn(function() ws:receive() end)
  atoll.sleep(0)
  local ok, message = pcall(ws.transfer, ws, room)
  ws:send(message:match "[^:]*$")
end)
app:websocket("/there", function(ws)
  local port = atoll.port()
  assert(room:send { ws = ws, to = port:sender() })
  local again = port:receive()
  again:send "home"
  for message in again:messages() do again:send("home: " .. message) end
end)
app:websocket("/gone", function(ws)
  assert(ws:receive() == nil)
  local function tell(ok, message, code)
    atoll.log.info("gone: %s %s %s", tostring(ok), message, code)
  end
  tell(ws:transfer(room))
  tell(room:send(ws))
  tell(room:call { ws = ws })
end)
app:websocket("/whose", function(ws)
  assert(ws:receive() == "go")
  ws:send(whose(ws.req))
  assert(room:send { ws = ws, whose = true })
end)
]]

local function start(set)
  return host.start { set = set, files = {
    ["app.lua"] = WHOSE .. host.app(APP), ["room.lua"] = ROOM,
  } }
end

describe("a websocket given to another isolate", function()
  after_each(function()
    wire.finish()
    host.finish()
  end)

  it("goes on there", function()
    local h = start()
    local c = frames.open(h, "/give")
    c:send(frames.text "go")
    frames.expect(c, "here")
    c:send(frames.text "one" .. frames.frame(0x82, "two"))
    frames.expect(c, "one")
    frames.expect(c, "two", 0x82)
    c:send(frames.close(1000))
    c.answered = true
    frames.closed(c, 1000)
    h:log_wait "room: ended 1000 /give"
  end)

  it("is still of who opened it", function()
    local h = start { trusted_proxies = "127.0.0.1" }
    local c = frames.open(h, "/whose", "X-Forwarded-For: 203.0.113.9\r\n"
      .. "X-Forwarded-Proto: https\r\nX-Forwarded-Host: b.example\r\n"
      .. "X-Request-Id: from-it\r\n")
    c:send(frames.text "go")
    local first = frames.next(c).payload
    assert.matches("^203%.0%.113%.9|203%.0%.113%.9|127%.0%.0%.1:%d+|https|b%.example|"
      .. "from%-it|/whose$", first)
    frames.expect(c, first)
  end)

  it("takes along what has come, half a frame too, and what is unsent", function()
    local h = start()
    local long = frames.frame(0x80, ("y"):rep(1000))
    for cut = 1, #long, 97 do
      local c = frames.open(h, "/queue")
      c:pause()
      c:send(frames.text "go" .. frames.text "first" .. frames.frame(0x01, "x")
        .. long:sub(1, cut))
      wire.ask(h, "/none")
      c:resume()
      for _ = 1, 3 do assert.equal(300000, #frames.next(c).payload) end
      frames.expect(c, "here")
      frames.expect(c, "first")
      c:send(long:sub(cut + 1))
      frames.expect(c, "x" .. ("y"):rep(1000))
      c:close()
    end
  end)

  it("may be in a message, even twice", function()
    local h = start()
    local c = frames.open(h, "/message")
    frames.expect(c, "here")
  end)

  it("may come back", function()
    local h = start()
    local c = frames.open(h, "/there")
    frames.expect(c, "here")
    c:send(frames.text "back" .. frames.text "now")
    frames.expect(c, "home")
    frames.expect(c, "home: now")
  end)

  it("stays when nobody takes it", function()
    local h = start()
    local c = frames.open(h, "/lost")
    frames.expect(c, "nil ECLOSED")
    c:send(frames.text "still here")
    frames.expect(c, "yes")
    frames.closed(c, 1000)
  end)

  it("is closed with its receiver", function()
    local h = start()
    local c = frames.open(h, "/give")
    c:send(frames.text "go")
    frames.expect(c, "here")
    local d = frames.open(h, "/lost")
    local frame = frames.next(c)
    assert.equal(0x88, frame.first)
    assert.equal(1001, (string.unpack(">I2", frame.payload)))
    c:send(frames.close(1001)):wait_end()
    frames.expect(d, "nil ECLOSED")
  end)

  it("is closed when it was on its way to one that ends", function()
    local h = start()
    local c = frames.open(h, "/dropped")
    local frame = frames.next(c)
    if frame.payload == "here" then frame = frames.next(c) end
    assert.equal(0x88, frame.first)
    c:send(frames.close(1001)):wait_end()
  end)

  it("is nothing that a fiber waits for, and open", function()
    local h = start()
    frames.expect(frames.open(h, "/busy"), "a fiber is receiving from the WebSocket")
    local c = frames.open(h, "/gone")
    c:send(frames.close(1000))
    c.answered = true
    frames.closed(c, 1000)
    local line = "gone: nil closed ECLOSED[^\n]*\n"
    h:log_wait(line .. "[^\n]*" .. line .. "[^\n]*" .. line)
  end)

  it("is closed with 1001 when the host stops", function()
    local h = start()
    local c = frames.open(h, "/message")
    frames.expect(c, "here")
    h:term()
    local frame = frames.next(c)
    assert.equal(0x88, frame.first)
    assert.equal(1001, (string.unpack(">I2", frame.payload)))
    h:ended_well()
  end)

  it("may begin as a request that was given there", function()
    local h = host.start { files = {
      ["app.lua"] = host.app [[
        local hands
        app:on("start", function()
          hands = assert(atoll.isolate.spawn("hands", nil, { name = "hands" }))
        end)
        app:get("/probe", function() return "probe" end)
        app:any("/*", function(req) assert(req:transfer(hands)) end)
      ]],
      ["hands.lua"] = [[
        local atoll = require "atoll"
        local app = atoll.app()
        app:websocket("/echo", function(ws, req)
          ws:send(req.path .. " in " .. atoll.isolate.name())
          for message, kind in ws:messages() do ws:send(message, kind) end
        end)
        for req in atoll.isolate.port:messages() do app:handle(req) end
      ]],
    } }
    local before = h:held()
    for _ = 1, 3 do
      local c = frames.open(h, "/echo")
      frames.expect(c, "/echo in hands")
      c:send(frames.text "one")
      frames.expect(c, "one")
      assert.equal("probe", wire.ask(h, "/probe").body)
      c:send(frames.close(1000))
      c.answered = true
      frames.closed(c, 1000)
    end
    events.poll("the descriptors to be closed", function()
      return h:descriptors() <= before
    end)
    local c = frames.open(h, "/echo")
    frames.expect(c, "/echo in hands")
    h:term()
    local frame = frames.next(c)
    assert.equal(0x88, frame.first)
    assert.equal(1001, (string.unpack(">I2", frame.payload)))
    h:ended_well()
  end)
end)
