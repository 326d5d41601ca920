-- WebSockets on the wire: the handshake, frames, limits and the end.
local events = require "support.events"
local frames = require "support.frames"
local host = require "support.host"
local tempapp = require "tempapp"
local wire = require "support.wire"

local APP = [[
app:get("/probe", function() return "probe" end)
app:websocket("/echo", function(ws)
  for message, kind in ws:messages() do ws:send(message, kind) end
  atoll.log.info("ended %s %s", tostring(ws.code), tostring(ws.reason))
end)
app:websocket("/who/:name", function(ws, req)
  assert(ws.req == req)
  ws:send(table.concat({ req.path, req.params.name, req.query.q or "-",
    req.headers.host, req.route, req.id, req.ctx.user or "-", req.cookies.c or "-" },
    " "))
end)
app:websocket("/fail", function() error "on purpose" end)
app:websocket("/close", function(ws)
  ws:close(tonumber((ws:receive())), "because")
  assert(ws:receive() == nil)
  local ok, message, code = ws:send "late"
  atoll.log.info("then %s %s %s %d", tostring(ok), message, code, ws.code)
end)
]]

local function start(options)
  options = options or {}
  return host.start { app = APP .. (options.more or ""), set = options.set,
    isolates = options.isolates }
end

describe("a websocket", function()
  after_each(function()
    wire.finish()
    host.finish()
  end)

  it("echoes", function()
    local h = start()
    local c = frames.open(h, "/echo")
    c:send(frames.text "hello")
    frames.expect(c, "hello")
    c:send(frames.frame(0x82, "\0\xff"))
    frames.expect(c, "\0\xff", 0x82)
    c:send(frames.close(1000, "bye"))
    c.answered = true
    frames.closed(c, 1000)
    h:log_wait "ended 1000 bye"
  end)

  it("takes frames whole, byte by byte and cut anywhere", function()
    local h = start()
    local bytes = frames.frame(0x01, "a\xe2") .. frames.frame(0x89, "ping")
      .. frames.frame(0x00, "") .. frames.frame(0x80, "\x82\xac") .. frames.text "end"
    local function check(c)
      frames.expect(c, "ping", 0x8a)
      frames.expect(c, "a\xe2\x82\xac")
      frames.expect(c, "end")
    end
    local c = frames.open(h, "/echo")
    c:send(bytes)
    check(c)
    for i = 1, #bytes do
      c:send(bytes:sub(i, i))
      wire.ask(h, "/probe")
    end
    check(c)
    for i = 1, #bytes - 1 do
      c:send(bytes:sub(1, i))
      wire.ask(h, "/probe")
      c:send(bytes:sub(i + 1))
      check(c)
    end
  end)

  it("takes what comes with the handshake", function()
    local h = start()
    local c = wire.connect(h)
    c:send(frames.request "/echo" .. frames.text "early" .. frames.close(1000))
    assert.equal(101, c:receive().status)
    frames.expect(c, "early")
    c.answered = true
    frames.closed(c, 1000)
  end)

  it("tells the handler of its request", function()
    local h = start { more = [[
      app:use(function(req, next)
        req.ctx.user = "ann"
        return next(req)
      end)
      app:websocket("/late/:name", function(ws)
        ws:send(ws.req.ctx.user .. ws.req.path)
      end)
    ]] }
    local c = frames.open(h, "/who/bob?q=1", "Cookie: c=d\r\n")
    local words = {}
    for word in frames.next(c).payload:gmatch "%S+" do words[#words + 1] = word end
    assert.equal(16, #table.remove(words, 6))
    assert.same({ "/who/bob", "bob", "1", "a", "/who/:name", "-", "d" }, words)
    frames.closed(c, 1000)
    c = frames.open(h, "/late/%78y")
    frames.expect(c, "ann/late/xy")
  end)

  it("is closed with 1011 when its handler fails", function()
    local h = start()
    local c = frames.open(h, "/fail")
    frames.closed(c, 1011)
    h:log_wait "GET /fail: .*app.lua:12: on purpose request_id=%x+"
  end)

  it("is closed with what its handler says", function()
    local h = start()
    for _, code in ipairs { 1000, 1001, 1003, 1008, 1011, 3000, 4999 } do
      local c = frames.open(h, "/close")
      c:send(frames.text(tostring(code)))
      frames.closed(c, code, "because")
      h:log_wait("then nil .* ECLOSED " .. code)
    end
    local c = frames.open(h, "/close")
    c:send(frames.text "1005")
    frames.closed(c, 1011)
    h:log_wait "a code to close with"
  end)

  it("answers each close as the standard has it", function()
    local h = start()
    local function answer(payload)
      local c = frames.open(h, "/echo")
      c:send(frames.frame(0x88, payload))
      c.answered = true
      return c
    end
    frames.closed(answer(""))
    h:log_wait "ended 1005 nil"
    for _, code in ipairs { 1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012,
      1013, 1014, 3000, 3999, 4000, 4999 } do
      frames.closed(answer(frames.reason(code, "why")), code)
      h:log_wait("ended " .. code .. " why")
    end
    for _, code in ipairs { 0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999,
      5000, 65535 } do
      frames.closed(answer(frames.reason(code, "why")), 1002)
    end
    frames.closed(answer "x", 1002)
    frames.closed(answer(frames.reason(1000, "\xff")), 1007)
  end)

  it("is closed when what comes is none", function()
    local h = start()
    for name, case in pairs {
      ["no mask"] = { frames.frame(0x81, "x", { mask = false }), 1002 },
      ["a reserved bit"] = { frames.frame(0xc1, "x"), 1002 },
      ["a reserved opcode"] = { frames.frame(0x83, "x"), 1002 },
      ["a reserved control frame"] = { frames.frame(0x8b, "x"), 1002 },
      ["a ping in pieces"] = { frames.frame(0x09, "x"), 1002 },
      ["a long ping"] = { frames.frame(0x89, ("x"):rep(126)), 1002 },
      ["a piece of nothing"] = { frames.frame(0x80, "x"), 1002 },
      ["a message in another"] = { frames.frame(0x01, "x") .. frames.text "y", 1002 },
      ["what is not UTF-8"] = { frames.text "\xc0\xaf", 1007 },
      ["half a character"] = { frames.text "\xe2\x82", 1007 },
    } do
      local c = frames.open(h, "/echo")
      c:send(case[1])
      local ok, message = pcall(frames.closed, c, case[2])
      assert(ok, name .. ": " .. tostring(message))
    end
  end)

  it("is closed with 1009 when a message is too long", function()
    local h = start { set = { websocket_message_max = 1000 }, more = [[
      app:websocket("/more", function(ws)
        for message in ws:messages() do ws:send(tostring(#message)) end
      end, { message_max = 2000 })
    ]] }
    local c = frames.open(h, "/echo")
    c:send(frames.text(("x"):rep(1000)))
    frames.expect(c, ("x"):rep(1000))
    c:send(frames.frame(0x01, ("x"):rep(500)) .. frames.frame(0x80, ("x"):rep(501)))
    frames.closed(c, 1009)
    c = frames.open(h, "/echo")
    c:send(frames.text(("x"):rep(1001)):sub(1, 20)) -- what was announced is enough
    frames.closed(c, 1009)
    c = frames.open(h, "/more")
    c:send(frames.text(("x"):rep(2000)))
    frames.expect(c, "2000")
  end)

  it("that is cut off has ended with 1006", function()
    local h = start()
    local c = frames.open(h, "/echo")
    c:abort()
    h:log_wait "ended 1006"
    c = frames.open(h, "/echo")
    c:close()
    h:log_wait "ended 1006"
  end)

  it("is refused where it is not asked for well", function()
    local h = start()
    local good = frames.request "/echo"
    local function ask(change, with)
      return wire.ask(h, (good:gsub(change, with)))
    end
    local plain = wire.ask(h, "/echo")
    assert.equal(426, plain.status)
    assert.equal("websocket", plain.fields.upgrade)
    assert.equal("Upgrade", plain.fields.connection)
    assert.equal("13", plain.fields["sec-websocket-version"])
    local version = ask("Version: 13", "Version: 8")
    assert.equal(426, version.status)
    assert.equal("13", version.fields["sec-websocket-version"])
    assert.equal(400, ask("Key: %S+", "Key: abc").status)
    assert.equal(400, ask("Sec%-WebSocket%-Key: %S+\r\n", "").status)
    assert.equal(400, ask("Connection: Upgrade\r\n", "").status)
    assert.equal(426, ask("Upgrade: websocket", "Upgrade: h2c").status)
    assert.equal(405, ask("^GET", "POST").status)
    local c = wire.connect(h)
    assert.equal(101, c:ask((good:gsub("Upgrade", "uPGRADE")
      :gsub("websocket\r", "WebSocket\r"))).status)
  end)

  it("is for pages of its own host", function()
    local h = start { more = [[
      app:websocket("/any", print, { origin = "*" })
      app:websocket("/one", print, { origin = "https://b" })
      app:websocket("/list", print, { origin = { "https://b", "https://c" } })
      app:websocket("/asked", print, { origin = function(origin, req)
        return origin == "null" and req.path == "/asked"
      end })
    ]] }
    local function status(path, origin)
      local field = origin and "Origin: " .. origin .. "\r\n"
      return wire.ask(h, frames.request(path, field)).status
    end
    assert.equal(101, status "/echo")
    assert.equal(101, status("/echo", "http://a"))
    assert.equal(101, status("/echo", "https://A:443"))
    for _, origin in ipairs { "http://b", "null", "http://a:81", "http://a.b", "a" } do
      assert.equal(403, status("/echo", origin))
    end
    assert.equal(101, status("/any", "http://b"))
    assert.equal(101, status("/one", "https://b"))
    assert.equal(403, status("/one", "http://a"))
    assert.equal(101, status("/list", "https://c"))
    assert.equal(101, status("/list"))
    assert.equal(101, status("/asked", "null"))
    assert.equal(403, status("/asked"))
  end)

  it("says at load which origins are none", function()
    for option, want in pairs {
      ["true"] = "true", ["false"] = "false", ["1"] = "1",
      ['"example.org"'] = '"example.org"', ['"https://b/"'] = '"https://b/"',
      ['{ "https://b", "*" }'] = '"*"', ['{ ["https://b"] = true }'] = "true",
    } do
      local problem = tempapp.problem("\napp:websocket('/x', print, { origin = "
        .. option .. " })")
      assert.truthy(problem:find "^app.lua:2: origin of app:websocket%(%) is an origin "
        and problem:find("; " .. want .. " is none of these", 1, true), problem)
    end
  end)

  it("agrees on a subprotocol", function()
    local h = start { more = [[
      app:websocket("/p", function(ws) ws:send(tostring(ws.protocol)) end,
        { protocols = { "two", "one" } })
    ]] }
    for offer, want in pairs { one = "one", ["one, two"] = "two", no = false } do
      local c = frames.open(h, "/p", "Sec-WebSocket-Protocol: " .. offer .. "\r\n")
      assert.equal(want or nil, c.answer.fields["sec-websocket-protocol"])
      frames.expect(c, want or "nil")
    end
  end)

  it("takes compressed messages where that was agreed on", function()
    local h = start { set = { websocket_message_max = 100000 }, more = [[
      app:websocket("/plain", function(ws) ws:receive() end, { compress = false })
      app:websocket("/count", function(ws)
        for message in ws:messages() do ws:send(#message .. message:sub(1, 9)) end
      end)
    ]] }
    local offer = "Sec-WebSocket-Extensions: permessage-deflate\r\n"
    local hello = "\xf2\x48\xcd\xc9\xc9\x07\x00" -- RFC 7692 7.2.3.1
    local c = frames.open(h, "/echo", offer)
    assert.equal("permessage-deflate; server_no_context_takeover; "
      .. "client_no_context_takeover", c.answer.fields["sec-websocket-extensions"])
    for _ = 1, 2 do
      c:send(frames.frame(0xc1, hello))
      frames.expect(c, "Hello")
      c:send(frames.frame(0x41, hello:sub(1, 3)) .. frames.frame(0x89, "p")
        .. frames.frame(0x80, hello:sub(4)))
      frames.expect(c, "p", 0x8a)
      frames.expect(c, "Hello")
      c:send(frames.text "plain")
      frames.expect(c, "plain")
    end
    c:send(frames.text(("a"):rep(5000)))
    local packed = frames.next(c)
    assert.equal(0xc1, packed.first)
    assert.is_true(#packed.payload < 100)
    c:send(frames.frame(0xc1, "\xff\xff\xff"))
    frames.closed(c, 1007)
    c = frames.open(h, "/count", offer)
    c:send(frames.frame(0xc1, packed.payload))
    frames.expect(c, "5000aaaaaaaaa")
    c = frames.open(h, "/plain", offer)
    assert.is_nil(c.answer.fields["sec-websocket-extensions"])
    c:send(frames.frame(0xc1, hello))
    frames.closed(c, 1002)
    assert.equal(400, wire.ask(h, frames.request("/echo",
      "Sec-WebSocket-Extensions: permessage-deflate;;\r\n")).status)
  end)

  it("is not filled by a few bytes that inflate to many", function()
    local h = start { set = { websocket_message_max = 100000 } }
    local zlib = require "zlib"
    local bomb = zlib.deflate(9, -15)(("\0"):rep(50000000), "sync"):sub(1, -5)
    assert.is_true(#bomb < 100000)
    local before = h:memory()
    local c = frames.open(h, "/echo",
      "Sec-WebSocket-Extensions: permessage-deflate\r\n")
    c:send(frames.frame(0xc2, bomb))
    frames.closed(c, 1009)
    h:grows_less(8192, before)
  end)

  it("may be answered otherwise by what is around it", function()
    local h = start { more = [[
      app:use("/in", function(req, next)
        if req.query.no then return 401, "no" end
        local answer = next(req)
        answer.headers = { ["X-In"] = "yes" }
        return answer
      end)
      app:websocket("/in", function(ws) ws:send "in" end)
    ]] }
    assert.equal(401, wire.ask(h, frames.request "/in?no=1").status)
    local c = frames.open(h, "/in")
    assert.equal("yes", c.answer.fields["x-in"])
    frames.expect(c, "in")
  end)

  it("waits to send until a slow peer has read", function()
    local h = start { more = [[
      app:websocket("/flood", function(ws)
        local sent = 0
        atoll.spawn(function()
          atoll.sleep(0.2)
          atoll.log.info("stuck at %d", sent)
        end)
        for i = 1, 400 do
          assert(ws:send(("x"):rep(65536)))
          sent = i
        end
        atoll.log.info "all sent"
      end)
    ]] }
    local c = wire.connect(h)
    assert.equal(101, c:ask(frames.request "/flood").status)
    c:pause()
    local at = tonumber(h:log_wait "stuck at (%d+)")
    assert.is_true(at < 400)
    c:resume()
    for _ = 1, 400 do assert.equal(65536, #frames.next(c).payload) end
    frames.closed(c, 1000)
    h:log_wait "all sent"
  end)

  it("reads no more than its handler does", function()
    local h = start { set = { websocket_queue = "8K" }, more = [[
      app:websocket("/slow", function(ws)
        assert(ws:receive() == "go")
        atoll.sleep(0.3)
        local n = 0
        for message in ws:messages() do
          n = n + 1
          if message ~= tostring(n) .. ("x"):rep(1000) then error("message " .. n) end
        end
        atoll.log.info("had %d", n)
      end)
    ]] }
    local c = frames.open(h, "/slow")
    c:send(frames.text "go")
    local before = h:memory()
    local list = {}
    for i = 1, 20000 do list[i] = frames.text(tostring(i) .. ("x"):rep(1000)) end
    c:send(table.concat(list) .. frames.close(1000))
    events.poll("time", function() return not c.all_sent end)
    h:grows_less(8192, before)
    c.answered = true
    frames.closed(c, 1000, nil, 60)
    h:log_wait "had 20000"
  end)

  it("is pinged when it is silent, again and again", function()
    local h = start { set = { websocket_ping = 0.05, websocket_timeout = 60 } }
    local c = frames.open(h, "/echo")
    for _ = 1, 4 do
      frames.expect(c, "", 0x89)
      c:send(frames.frame(0x8a, ""))
    end
    c:send(frames.close(1000))
    h:log_wait "ended 1000"
  end)

  it("is cut off when it does not answer a ping", function()
    local h = start { set = { websocket_ping = 0.05, websocket_timeout = 0.2 } }
    local c = frames.open(h, "/echo")
    frames.expect(c, "", 0x89)
    c:wait_end()
    h:log_wait "ended 1006 a ping was not answered"
  end)

  it("is closed with 1001 when the host stops", function()
    local h = start { set = { drain_timeout = 60, websocket_timeout = 60 } }
    local c = frames.open(h, "/echo")
    c:send(frames.text "one")
    frames.expect(c, "one")
    h:term()
    local frame = frames.next(c)
    assert.equal(0x88, frame.first)
    assert.equal(1001, (string.unpack(">I2", frame.payload)))
    c:send(frames.close(1001))
    c:wait_end()
    h:log_wait "ended 1001"
    h:ended_well()
  end)

  it("that does not answer its close is cut off", function()
    local h = start { set = { websocket_timeout = 0.1 } }
    frames.open(h, "/echo")
    h:term()
    h:ended_well()
  end)

  it("is none in a test without connections, which says so", function()
    local testing = require "atoll.testing"
    local dir = host.directory { ["app.lua"] = host.app [[
      app:on("error", function(_, err) return 500, err end)
      app:websocket("/a", print)
    ]] }
    local app <close> = testing.load(dir)
    assert.equal(426, app:request("GET", "/a").status)
    local answer = app:request("GET", "/a", { headers = {
      Connection = "Upgrade, close", Upgrade = "websocket",
      ["Sec-WebSocket-Version"] = "13",
      ["Sec-WebSocket-Key"] = frames.KEY,
    } })
    assert.equal(500, answer.status)
    local why = "cannot become a WebSocket; testing.start() gives"
    assert(answer.body:find(why, 1, true), answer.body)
  end)
end)
