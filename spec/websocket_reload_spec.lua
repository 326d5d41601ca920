-- WebSockets when the code is replaced: they stay, are closed, or go to the new code.
local events = require "support.events"
local frames = require "support.frames"
local host = require "support.host"
local wire = require "support.wire"

-- Numbers each message; what it has counted goes along.
local function counting(version, extra)
  return host.app(([[
local VERSION = %d
app:get("/version", function() return tostring(VERSION) end)
app:websocket("/count", function(ws)
  local n = ws.resumed and ws.state.n or 0
  ws:on("reload", function() return { n = n } end)
  for message, kind in ws:messages() do
    n = n + 1
    ws:send(("%%d %%d %%s"):format(VERSION, n, message), kind)
  end
  atoll.log.info("v%%d: loop ended", VERSION)
  if ws.code then atoll.log.info("with %%d", ws.code) end
end)
]]):format(version) .. (extra or ""))
end

local function start(text, options)
  options = options or {}
  return host.start { files = { ["app.lua"] = text }, isolates = options.isolates,
    set = options.set or { drain_timeout = 60 } }
end

-- Anywhere in the log.
local function logged(h, pattern)
  events.wait(function() return pattern .. " in the log:\n" .. h.log end, function()
    return h.log:find(pattern)
  end)
end

local function reload(h, text)
  h:write("app.lua", text)
  h:hup()
  h:log_wait "generation %d+ serves"
end

describe("a websocket, when the code is replaced,", function()
  after_each(function()
    wire.finish()
    host.finish()
  end)

  it("goes to the new code with its state", function()
    local h = start(counting(1))
    local c = frames.open(h, "/count")
    c:send(frames.text "a")
    frames.expect(c, "1 1 a")
    reload(h, counting(2))
    c:send(frames.text "b")
    frames.expect(c, "2 2 b")
    logged(h, "v1: loop ended")
    logged(h, "generation 1 closed")
    c:send(frames.close(1000))
    c.answered = true
    frames.closed(c, 1000)
    logged(h, "with 1000")
  end)

  it("loses and disorders nothing in ten reloads under messages", function()
    local h = start(counting(1), { isolates = 2 })
    local list, sent, had = {}, 0, {}
    for i = 1, 20 do
      list[i] = frames.open(h, "/count")
      had[i] = 0
    end
    local function more(count)
      for _ = 1, count do
        sent = sent + 1
        local bytes = frames.frame(0x01, "m") .. frames.frame(0x80, tostring(sent))
        for _, c in ipairs(list) do c:send(bytes) end
      end
    end
    local function take(count)
      for i, c in ipairs(list) do
        for _ = 1, count do
          had[i] = had[i] + 1
          local version, n, text = frames.next(c).payload:match "^(%d+) (%d+) (%S+)$"
          assert(version)
          assert.equal(had[i], tonumber(n))
          assert.equal("m" .. had[i], text)
        end
      end
    end
    for version = 2, 11 do
      more(20)
      h:write("app.lua", counting(version))
      h:hup()
      more(50)
      take(30)
      h:log_wait("generation " .. version .. " serves")
      more(5)
    end
    take(sent - had[1])
    for _, c in ipairs(list) do
      c:send(frames.text "end")
      local version = frames.next(c).payload:match "^(%d+) "
      assert.equal("11", version)
    end
    logged(h, "generation 10 closed")
  end)

  it("takes along half a message", function()
    local h = start(counting(1))
    local bytes = frames.frame(0x01, "hello ") .. frames.frame(0x80, "world")
    for cut = 1, #bytes - 1, 3 do
      local c = frames.open(h, "/count")
      c:send(bytes:sub(1, cut))
      wire.ask(h, "/version")
      reload(h, counting(1 + cut))
      c:send(bytes:sub(cut + 1))
      frames.expect(c, ("%d 1 hello world"):format(1 + cut))
      c:close()
    end
  end)

  it("bounds a message that is half there as the new code says", function()
    local function bounded(max)
      return host.app(([[
        app:websocket("/b", function(ws)
          ws:on("reload", function() return true end)
          for message in ws:messages() do ws:send(#message .. "") end
        end, { message_max = %d })
      ]]):format(max))
    end
    local h = start(bounded(100))
    local c = frames.open(h, "/b")
    c:send(frames.frame(0x01, ("x"):rep(50)))
    wire.ask(h, "/")
    reload(h, bounded(10))
    c:send(frames.frame(0x80, ("y"):rep(1000)))
    frames.closed(c, 1009)
  end)

  it("stays with the old code when nothing is said", function()
    local stays = [[
      app:websocket("/stay", function(ws)
        ws:on("reload", function() end)
        for message in ws:messages() do ws:send("stay " .. message) end
      end)
      app:websocket("/silent", function(ws)
        for message in ws:messages() do ws:send("silent " .. message) end
        atoll.log.info("silent: %d", ws.code)
      end)
    ]]
    local h, stay, silent
    -- Where the machine stands still, drain_timeout may be over before they are asked.
    for _, seconds in ipairs { 2, 10, 50 } do
      h = start(counting(1, stays), { set = { drain_timeout = seconds } })
      stay, silent = frames.open(h, "/stay"), frames.open(h, "/silent")
      local before = events.now()
      reload(h, counting(2))
      stay:send(frames.text "a")
      silent:send(frames.text "b")
      local frame, other = frames.next(stay), frames.next(silent)
      if events.now() < before + seconds then
        assert.same({ "stay a", "silent b" }, { frame.payload, other.payload })
        break
      end
      stay:close()
      silent:close()
      h:stop()
      h = nil
    end
    frames.closed(stay, 1012, nil, 60) -- when drain_timeout is over
    frames.closed(silent, 1012)
    logged(h, "generation 1 closed")
  end)

  it("is closed with 1012 when its handler wants that", function()
    local h = start(counting(1, [[
      app:websocket("/no", function(ws)
        ws:on("reload", function() return false end)
        assert(ws:receive() == nil)
        atoll.log.info("no: %d", ws.code)
      end)
    ]]))
    local c = frames.open(h, "/no")
    reload(h, counting(2))
    frames.closed(c, 1012)
    logged(h, "no: 1012")
  end)

  it("is closed with 1012 when the new code has no such route", function()
    local h = start(counting(1))
    local c = frames.open(h, "/count")
    reload(h, host.app [[app:get("/count", function() return "gone" end)]])
    frames.closed(c, 1012)
    logged(h, "generation 1 closed")
  end)

  it("is asked between two messages, not in the middle of one's work", function()
    local gate = host.directory() .. "/gate"
    local h = start(counting(1, ([[
      app:websocket("/slow", function(ws)
        ws:on("reload", function() return "state" end)
        for message in ws:messages() do
          atoll.log.info "working"
          while not atoll.fs.exists %q do atoll.sleep(0.002) end
          ws:send("1 " .. message)
        end
        local ok, why = pcall(ws.send, ws, "x")
        atoll.log.info("then %%s", why:match "[^:]*$")
        assert(ws:receive() == nil)
      end)
    ]]):format(gate)))
    local c = frames.open(h, "/slow")
    c:send(frames.text "a" .. frames.text "b")
    logged(h, "working")
    reload(h, counting(2, [[
      app:websocket("/slow", function(ws, req)
        assert(ws.resumed and ws.state == "state" and req.path == "/slow")
        for message in ws:messages() do ws:send("2 " .. message) end
      end)
    ]]))
    assert(io.open(gate, "w")):close()
    frames.expect(c, "1 a")
    frames.expect(c, "2 b")
    logged(h, "then the WebSocket was transferred")
  end)

  it("is closed with 1011 when its state cannot be sent", function()
    local h = start(counting(1, [[
      app:websocket("/fn", function(ws)
        ws:on("reload", function() return { f = print } end)
        ws:receive()
      end)
    ]]))
    local c = frames.open(h, "/fn")
    reload(h, counting(2))
    frames.closed(c, 1011)
    logged(h, "the value of ws:on%(\"reload\"%).f: a function cannot be sent")
  end)

  it("tells even what waits to be read", function()
    local h = start(counting(1, [[
      app:websocket("/full", function(ws)
        ws:on("reload", function() return 1 end)
        assert(ws:receive() == "go")
        ws:send(("x"):rep(1000000))
        ws:receive()
      end)
    ]]))
    local c = wire.connect(h)
    assert.equal(101, c:ask(frames.request "/full").status)
    c:pause()
    c:send(frames.text "go")
    wire.ask(h, "/version")
    reload(h, counting(2, [[
      app:websocket("/full", function(ws) ws:send "behind" end)
    ]]))
    c:resume()
    assert.equal(1000000, #frames.next(c).payload)
    frames.expect(c, "behind")
    frames.closed(c, 1000)
  end)
end)
