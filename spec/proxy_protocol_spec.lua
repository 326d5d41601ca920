-- Listeners for proxies, which say on each connection who the client is.
local atoll = require "atoll"
local certs = require "support.certs"
local command = require "support.command"
local events = require "support.events"
local file = require "support.file"
local frames = require "support.frames"
local host = require "support.host"
local http = require "atoll.http"
local introduce = require "support.introduce"
local net = require "atoll.net"
local servers = require "support.servers"
local wire = require "support.wire"

local APP = [[
  app:get("/", function() return "hello" end)
  app:get("/probe", function() return "probe" end)
  app:get("/who", function(req) return req.remote end)
  app:get("/all", function(req)
    return ("%s %s %s"):format(req.ip, req.scheme, req.peer:match "^[^:]+")
  end)
  app:get("/slow", function(req)
    atoll.sleep(0.3)
    return req.remote
  end)
  app:post("/echo", function(req) return req.remote .. " " .. req:text() end)
  app:websocket("/ws", function(ws)
    for message in ws:messages() do
      ws:send(("%s %s %s"):format(message, ws.req.remote, ws.req.peer))
    end
  end)]]

local WHO = "GET /who HTTP/1.1\r\nHost: a\r\n\r\n"

local function start(options)
  options = options or {}
  options.app = options.files == nil and (options.app or APP) or nil
  options.listen = options.listen or { "127.0.0.1:0 proxy" }
  options.set = options.set or {}
  options.set.trusted_proxies = options.set.trusted_proxies or "127.0.0.1"
  return host.start(options)
end

describe("a listener for proxies", function()
  after_each(function()
    wire.finish()
    servers.finish()
    host.finish()
  end)

  it("has the client from the header, of either version", function()
    local h = start { isolates = 2 }
    assert.truthy(h.log:find("on http://127%.0%.0%.1:%d+ %(PROXY%) %(2 isolates"))
    for _, case in ipairs {
      { introduce.line "203.0.113.9", "203.0.113.9:4000" },
      { introduce.line "2001:db8::9", "[2001:db8::9]:4000" },
      { introduce.binary "203.0.113.9", "203.0.113.9:4000" },
      { introduce.binary("203.0.113.9", introduce.tlv(2, "example.org")),
        "203.0.113.9:4000" },
      { introduce.block(0x21, 0x31, ("\0"):rep(216)), "unix:" },
    } do
      local c = wire.connect(h)
      for _ = 1, 3 do
        c:send(case[1] .. WHO)
        case[1] = ""
        assert.equal(case[2], c:receive().body)
      end
    end
  end)

  it("keeps the peer's address where the header tells none", function()
    local h = start()
    for _, header in ipairs { introduce.LOCAL, "PROXY UNKNOWN\r\n",
      introduce.block(0x21, 0, ""), introduce.block(0x20, 0x99, "rubbish") } do
      local c = wire.connect(h):send(header .. WHO)
      assert.match("^127%.0%.0%.1:%d+$", c:receive().body)
    end
  end)

  it("believes no request of a client whom the proxy does not know", function()
    local h = start { set = { trusted_proxies = "127.0.0.1,10.0.0.0/8,unix:" } }
    for header, want in pairs {
      [introduce.LOCAL] = "^192%.0%.2%.1$",
      [introduce.line "10.0.0.1"] = "^192%.0%.2%.1$",
      [introduce.line "203.0.113.9"] = "^203%.0%.113%.9:4000$",
      ["PROXY UNKNOWN\r\n"] = "^127%.0%.0%.1:%d+$",
      [introduce.block(0x21, 0, "")] = "^127%.0%.0%.1:%d+$",
      [introduce.block(0x21, 0x31, ("\0"):rep(216))] = "^unix:$",
    } do
      local c = wire.connect(h):send(header .. "GET /who HTTP/1.1\r\nHost: a\r\n"
        .. "X-Forwarded-For: 192.0.2.1\r\n\r\n")
      assert.match(want, c:receive().body)
    end
  end)

  it("reads the header and what follows it in any pieces", function()
    local h = start()
    local cases = {}
    for i, header in ipairs { introduce.line "203.0.113.9",
      introduce.binary("203.0.113.9", introduce.TLS) } do
      cases[i] = { name = "version " .. i, bytes = header .. WHO,
        want = { { 200, body = "203.0.113.9:4000" } } }
    end
    -- The fence that wire.check asks through is a client, too.
    local plain = host.start { app = APP, listen = { "127.0.0.1:0" } }
    for _, case in ipairs(cases) do
      for at = 1, #case.bytes - 1 do
        local c = wire.connect(h):send(case.bytes:sub(1, at))
        if at % 8 == 0 then wire.ask(plain, "/probe") end
        c:send(case.bytes:sub(at + 1))
        assert.equal("203.0.113.9:4000", c:receive().body)
        c:close()
      end
      local c = wire.connect(h)
      for i = 1, #case.bytes do
        c:send(case.bytes:sub(i, i))
        if i % 4 == 0 then wire.ask(plain, "/probe") end
      end
      assert.equal("203.0.113.9:4000", c:receive().body)
    end
  end)

  it("tells who had TLS with the proxy, and who the proxy is", function()
    local h = start()
    local function all(header)
      return wire.connect(h):send(header .. "GET /all HTTP/1.1\r\nHost: a\r\n\r\n")
        :receive().body
    end
    assert.equal("203.0.113.9 http 127.0.0.1", all(introduce.binary "203.0.113.9"))
    assert.equal("203.0.113.9 https 127.0.0.1",
      all(introduce.binary("203.0.113.9", introduce.TLS)))
    assert.equal("2001:db8::9 http 127.0.0.1", all(introduce.line "2001:db8::9"))
  end)

  it("closes without the header, says so once, and goes on", function()
    local h = start()
    for _ = 1, 5 do
      assert.equal("", (wire.connect(h):send(WHO):wait_end()))
    end
    h:log_wait "PROXY header of 127.0.0.1: what comes is no PROXY header; .*%(1 since"
    for _, header in ipairs { "PROXY TCP4 1.2.3.4 1.2.3.4 1 99999\r\n",
      "PROXY TCP4 \n", introduce.block(0x31, 0x11, ""),
      introduce.block(0x21, 0x11, "short"),
      introduce.binary("203.0.113.9", introduce.tlv(3, "0000")) } do
      assert.equal("", (wire.connect(h):send(header .. WHO):wait_end()))
    end
    assert.equal(1, h:count "PROXY header of")
    local c = wire.connect(h):send(introduce.line "203.0.113.9" .. WHO)
    assert.equal("203.0.113.9:4000", c:receive().body)
  end)

  it("takes it only from trusted addresses", function()
    local h = start { set = { trusted_proxies = "127.0.0.2,127.0.0.16/28" } }
    local function who(from)
      local c = wire.connect { port = h.port, from = from, receive_buffer = 65536 }
      c:send(introduce.line "203.0.113.9" .. WHO)
      events.wait("an answer or the end", function() return c.size > 0 or c.eof end)
      return c.size > 0 and c:receive().body
    end
    assert.equal("203.0.113.9:4000", who "127.0.0.2")
    assert.equal("203.0.113.9:4000", who "127.0.0.31")
    assert.is_false(who "127.0.0.1")
    assert.is_false(who "127.0.0.32")
    h:log_wait "PROXY header of 127.0.0.1: the address is not one of trusted_proxies"
    assert.equal(1, h:count "PROXY header of")
  end)

  it("stands beside others, which know no such header", function()
    local dir = host.directory()
    local h = start { listen = { "127.0.0.1:0", "127.0.0.1:0 proxy",
      "unix:" .. dir .. "/a proxy" }, set = { trusted_proxies = "127.0.0.1,unix:" } }
    local proxied = { port = tonumber(h.urls[2]:match ":(%d+)$") }
    assert.match("^127%.0%.0%.1:", wire.ask(h, "/who").body)
    assert.equal(400, wire.connect(h):send(introduce.line "203.0.113.9" .. WHO)
      :receive().status)
    for _, to in ipairs { proxied, { path = dir .. "/a" } } do
      local c = wire.connect(to):send(introduce.binary "203.0.113.9" .. WHO)
      assert.equal("203.0.113.9:4000", c:receive().body)
    end
  end)

  it("waits for the header no longer than head_timeout", function()
    local h = start { set = { head_timeout = 0.2 } }
    local silent = wire.connect(h)
    local slow = wire.connect(h):send "PROXY TCP4 "
    assert.equal("", (silent:wait_end()))
    assert.equal("", (slow:wait_end()))
    h:log_wait "PROXY header of 127.0.0.1: it does not come in time"
  end)

  it("takes clients that come and go without a word for granted", function()
    local h = start()
    for _ = 1, 10 do wire.connect(h):close() end
    wire.connect(h):abort()
    assert.equal(200, wire.connect(h):send(introduce.LOCAL .. WHO):receive().status)
    wire.connect(h):send("PROXY TC"):finish():wait_end()
    h:log_wait "PROXY header of 127.0.0.1: it is cut short"
    assert.equal(1, h:count "PROXY header of")
  end)

  it("has the client in the access log", function()
    local h = start { set = { access_log = "stdout" } }
    wire.connect(h):send(introduce.line "203.0.113.9" .. WHO):receive()
    wire.connect(h):send(introduce.line "2001:db8::9" .. WHO):receive()
    events.wait("two lines", function()
      return h.out:find "203%.0%.113%.9 %- %- %[" and h.out:find "%[2001:db8::9%] %- "
    end)
  end)

  it("counts connections of clients, not of proxies", function()
    local h = start { isolates = 2, set = { connections_per_address = 2,
      trusted_proxies = "127.0.0.1,10.0.0.0/8" } }
    local function connect(header) return wire.connect(h):send(header .. WHO) end
    local a, b = connect(introduce.line "203.0.113.9"),
      connect(introduce.binary "203.0.113.9")
    assert.equal(200, a:receive().status)
    assert.equal(200, b:receive().status)
    local third = connect(introduce.line "203.0.113.9")
    assert.equal(503, third:receive().status)
    third:wait_end()
    h:log_wait "connections_per_address is reached by 203.0.113.9, .*%(1 since"
    for i = 1, 5 do
      local other = connect(introduce.line("203.0.113." .. 20 + i))
      assert.equal(200, other:receive().status)
      assert.equal(200, connect(introduce.LOCAL):receive().status)
      assert.equal(200, connect(introduce.line "10.0.0.1"):receive().status)
    end
    a:close()
    events.retry("a place", function()
      return connect(introduce.line "203.0.113.9"):receive().status == 200
    end)
  end)

  it("keeps the client when code and settings are replaced", function()
    local h = start { isolates = 2 }
    local c = wire.connect(h):send(introduce.line "203.0.113.9" .. WHO)
    assert.equal("203.0.113.9:4000", c:receive().body)
    local waiting = wire.connect(h):send "PROXY "
    h:reload()
    assert.equal("203.0.113.9:4000", c:ask("/who").body)
    waiting:send("UNKNOWN\r\n" .. WHO)
    assert.match("^127%.0%.0%.1:", waiting:receive().body)
  end)

  it("is still for proxies alone after an upgrade, and in another process", function()
    local h = start { listen = { "127.0.0.1:0", "127.0.0.1:0 proxy" },
      set = { trusted_proxies = "127.0.0.1", processes = 2 } }
    local to = { port = tonumber(h.urls[2]:match ":(%d+)$") }
    local function same()
      for _ = 1, 10 do
        local c = wire.connect(to):send(introduce.line "203.0.113.9" .. WHO)
        assert.equal("203.0.113.9:4000", c:receive().body)
        assert.equal("", (wire.connect(to):send(WHO):wait_end()))
        assert.match("^127%.0%.0%.1:", wire.ask(h, "/who").body)
      end
    end
    same()
    for _ = 1, 2 do
      h:signal "sigusr2"
      h:log_wait "upgraded from atoll [%d.]+ to [%d.]+"
      same()
    end
  end)

  it("does not trust any more who has been taken off the list by a reload", function()
    local h = host.start { listen = { "127.0.0.1:0 proxy" }, files = {
      ["app.lua"] = host.app(APP),
      ["atoll.lua"] = "return { trusted_proxies = '127.0.0.0/8' }" } }
    local function status()
      local c = wire.connect(h):send(introduce.LOCAL .. WHO)
      events.wait("an answer or the end", function() return c.size > 0 or c.eof end)
      return c.size > 0 and c:receive().status
    end
    assert.equal(200, status())
    h:write("atoll.lua", "return { trusted_proxies = { '10.0.0.0/8', '::1' } }")
    h:reload()
    events.retry("distrust", function() return not status() end)
    h:write("atoll.lua", "return {}")
    assert.match("needs trusted_proxies", h:reload())
  end)

  it("keeps the client of connections that go to another isolate", function()
    local h = start { isolates = 3 }
    local list = {}
    for i = 1, 60 do
      list[i] = wire.connect(h):send(introduce.binary("203.0.113." .. i) .. WHO)
    end
    for _ = 1, 5 do
      for i, c in ipairs(list) do
        assert.equal(("203.0.113.%d:4000"):format(i), c:receive().body)
        c:send(WHO)
      end
    end
    h:signal "sigttou"
    h:log_wait "isolate"
    for i, c in ipairs(list) do
      assert.equal(("203.0.113.%d:4000"):format(i), c:receive().body)
      assert.equal(("203.0.113.%d:4000"):format(i), c:ask("/who").body)
    end
  end)

  it("keeps the client in an app that answers elsewhere, and in a WebSocket", function()
    local h = host.start { config = "all.lua", isolates = 2,
      listen = { "127.0.0.1:0 proxy" }, set = { trusted_proxies = "127.0.0.1" },
      files = { ["one/app.lua"] = host.app(APP), ["two/app.lua"] = host.app(APP),
      ["all.lua"] = [[return { apps = { { path = "/one", dir = "one", isolates = 1 },
        { dir = "two", isolates = 1 } } }]] } }
    local c = wire.connect(h):send(introduce.line "203.0.113.9"
      .. "GET /one/who HTTP/1.1\r\nHost: a\r\n\r\n" .. WHO)
    assert.equal("203.0.113.9:4000", c:receive().body)
    assert.equal("203.0.113.9:4000", c:receive().body)
    local ws = wire.connect(h)
    ws:send(introduce.line "2001:db8::9" .. frames.request "/ws")
    assert.equal(101, ws:receive().status)
    ws:send(frames.text "x")
    assert.match("^x %[2001:db8::9%]:4000 127%.0%.0%.1:%d+$",
      frames.next(ws).payload)
    ws:send(frames.close(1000))
    frames.closed(ws, 1000)
  end)

  it("finishes what was begun when the host stops", function()
    local h = start { set = { drain_timeout = 60 } }
    local c = wire.connect(h):send(introduce.line "203.0.113.9"
      .. "GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
    local half = wire.connect(h):send "PROXY TCP4"
    wire.connect(h):send(introduce.LOCAL .. WHO):receive()
    h:term()
    assert.equal("203.0.113.9:4000", c:receive().body)
    half:wait_end()
    h:ended_well()
    assert.equal(0, h:count "PROXY header of")
  end)

  it("is found in the settings, and told what is wrong there", function()
    command.begin()
    finally(command.finish)
    local function check(config)
      command.write("atoll.lua", config)
      local code, out, err = command.atoll "check DIR"
      return code, out .. err
    end
    local code, text = check [[return { listen = { "127.0.0.1:0", ":8080 proxy" },
      trusted_proxies = { "10.0.0.0/8", "fd00::/8", "192.0.2.7", "unix:" } }]]
    assert.equal(0, code, text)
    assert.match("listen = 127.0.0.1:0,:8080 proxy  (", text, 1, true)
    assert.match("trusted_proxies = 10.0.0.0/8,fd00::/8,192.0.2.7,unix:  (", text, 1,
      true)
    for config, message in pairs {
      ["return {\nlisten = ':80 proxy' }"] = "atoll.lua:2: listen: ':80 proxy' needs "
        .. "trusted_proxies, from where the proxies connect: write trusted_proxies = ",
      ["return {\nlisten = 'proxy' }"] = "atoll.lua:2: listen: the word proxy stands "
        .. "once and behind its address: write \"127.0.0.1:8080 proxy\"",
      ["return {\n\nlisten = ':80 proxy proxy' }"] = "atoll.lua:3: listen: the word",
      ["return {\nlisten = { ':80', 'proxy' } }"] = "atoll.lua:2: listen: the word",
      ["return {\ntrusted_proxies = '10.0.0.1/8' }"] = "atoll.lua:2: trusted_proxies: "
        .. "'10.0.0.1/8': that is an address in a network: write 10.0.0.0/8, or "
        .. "10.0.0.1",
      ["return {\ntrusted_proxies = 'lb' }"] = "atoll.lua:2: trusted_proxies: 'lb': it "
        .. "must be an IP address or a network without a port, such as 10.0.0.7",
    } do
      code, text = check(config)
      assert.equal(78, code, text)
      assert.match(message, text, 1, true)
    end
  end)

  it("is one of systemd's that is named so", function()
    local socket = assert(net.listen "127.0.0.1:0")
    local shell = "export LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=proxy"
    local h = host.start { app = APP, passed = { socket:fd() }, shell = shell,
      set = { trusted_proxies = "127.0.0.1" } }
    local c = wire.connect(h):send(introduce.line "203.0.113.9" .. WHO)
    assert.equal("203.0.113.9:4000", c:receive().body)
    h:stop()
    h = host.spawn { app = APP, passed = { socket:fd() }, shell = shell }
    assert.equal(78, (h:ended()))
    assert.match("LISTEN_FDS: a socket named proxy needs trusted_proxies", h.log)
    socket:close()
  end)

  it("is asked for by http.serve, with TLS behind the header", function()
    local c = certs.make()
    local app = atoll.app()
    app:get("/", function(req) return req.remote .. " " .. req.scheme end)
    local listener = assert(net.listen("127.0.0.1:0",
      { tls = { cert = c.server, key = c.key } }))
    local task = atoll.spawn(http.serve, listener, app,
      { proxy = true, trusted_proxies = { "127.0.0.1" } })
    for _, header in ipairs { introduce.line "203.0.113.9",
      introduce.binary "203.0.113.9" } do
      for at = 0, #header, 7 do
        local socket = assert(net.connect(listener:name()))
        socket:write(header:sub(1, at))
        socket:flush()
        atoll.sleep(0.002)
        socket:write(header:sub(at + 1))
        assert(socket:starttls { ca = c.ca })
        socket:write "GET / HTTP/1.0\r\nHost: a\r\nConnection: close\r\n\r\n"
        assert.match("\r\n\r\n203.0.113.9:4000 https$", socket:read "all")
        socket:close()
      end
    end
    listener:close()
    assert(task:join(20))
    local plain = assert(net.listen "127.0.0.1:0")
    assert.has_error(function() http.serve(plain, app, { proxy = true }) end)
    assert.has_error(function()
      http.serve(plain, app, { proxy = true, trusted_proxies = "lb" })
    end)
    assert.has_error(function() http.serve(plain, app, { porxy = true }) end)
    plain:close()
    certs.finish()
  end)

  it("works behind HAProxy, with its checks, in both versions", function()
    local h = start { isolates = 2 }
    for _, send in ipairs { "send-proxy", "send-proxy-v2",
      "send-proxy-v2 proxy-v2-options crc32c,unique-id" } do
      local proxy = servers.haproxy(([[
        listen web
          mode tcp
          unique-id-format %%{+X}o%%ci:%%cp
          bind 127.0.0.1:%%PORT%%
          server one 127.0.0.1:%d %s check check-send-proxy inter 50ms
        listen stats
          mode http
          bind 127.0.0.1:%%PORT2%%
          stats enable
          stats uri /]]):format(h.port, send))
      local c = wire.connect { port = proxy.port, from = "127.0.0.9",
        receive_buffer = 65536 }
      local port = c.stream:getsockname().port
      assert.equal("127.0.0.9:" .. port, c:ask("/who").body)
      events.retry("the check", function()
        local res = http.get(("http://127.0.0.1:%d/;csv"):format(proxy.port2))
        return res and res.body:find "web,one,[^\n]*,UP,[^\n]*,L4OK"
      end)
      servers.stop(proxy)
    end
    assert.equal(0, h:count "PROXY header of")
  end)

  it("hears from HAProxy who has TLS with it", function()
    local h, c = start(), certs.make()
    finally(certs.finish)
    local dir = host.directory { ["pem"] = file.read(c.server) .. file.read(c.key) }
    local proxy = servers.haproxy(([[
      listen web
        mode tcp
        bind 127.0.0.1:%%PORT%% ssl crt %s/pem
        server one 127.0.0.1:%d send-proxy-v2-ssl-cn]]):format(dir, h.port))
    local res = assert(http.get(("https://127.0.0.1:%d/all"):format(proxy.port),
      { tls = { ca = c.ca } }))
    assert.equal("127.0.0.1 https 127.0.0.1", res.body)
    assert.equal(0, h:count "PROXY header of")
  end)
end)
