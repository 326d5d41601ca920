-- The client: atoll.websocket.
local atoll = require "atoll"
local certs = require "support.certs"
local crypto = require "atoll.core.crypto"
local events = require "support.events"
local host = require "support.host"
local websocket = require "atoll.websocket"

local net = atoll.net

local APP = [[
app:websocket("/echo", function(ws)
  for message, kind in ws:messages() do ws:send(message, kind) end
  atoll.log.info("ended %s %s", tostring(ws.code), tostring(ws.reason))
end, { protocols = { "b", "a" } })
app:websocket("/who", function(ws, req)
  ws:send(atoll.json.encode {
    path = req.path, q = req.query.q, agent = req.headers["user-agent"],
    x = req.headers["x-one"], origin = req.headers.origin,
    authorization = req.headers.authorization, host = req.headers.host,
  })
end, { origin = "*" })
app:websocket("/close", function(ws) ws:receive() ws:close(4001, "enough") end)
app:websocket("/slow", function(ws)
  for message in ws:messages() do atoll.sleep(0.001) ws:send(#message .. "") end
end)
app:get("/away", function() return atoll.redirect("/echo") end)
app:get("/plain", function() return "plain" end)
]]

local function url_of(h, path)
  return (h.url:gsub("^http", "ws")) .. path
end

-- A server that reads a request's head and calls fn(socket, key, head).
local listeners = {}
local function serve(fn, tls)
  local listener = assert(net.listen("127.0.0.1:0", tls and { tls = tls } or nil))
  listeners[#listeners + 1] = listener
  atoll.spawn(function()
    listener:serve(function(socket)
      local head = socket:read_until "\r\n\r\n"
      if head then fn(socket, head:match "Sec%-WebSocket%-Key: (%S+)", head) end
    end)
  end)
  return "ws://" .. listener:name() .. "/", listener
end

local function accept_of(key)
  return crypto.base64(crypto.digest("sha1",
    key .. "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
end

local function greet(socket, key, more)
  return socket:write("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
    .. "Connection: Upgrade\r\nSec-WebSocket-Accept: ", accept_of(key), "\r\n",
    more or "", "\r\n")
end

describe("a websocket client", function()
  after_each(function()
    for _, listener in ipairs(listeners) do listener:close() end
    listeners = {}
    atoll.sleep(0.02) -- for those that are closing: while a host ends nobody is heard
    host.finish()
  end)

  teardown(certs.finish)

  it("sends and receives", function()
    local h = host.start { app = APP }
    local ws <close> = assert(websocket.connect(url_of(h, "/echo")))
    assert.is_nil(ws.protocol)
    local messages = {
      "", "a", ("x"):rep(125), ("x"):rep(126), ("y"):rep(70000), "gr\u{fc}n",
    }
    for _, message in ipairs(messages) do
      assert(ws:send(message))
      assert.same({ message, "text" }, { ws:receive(10) })
    end
    assert(ws:send("\0\xff", "binary"))
    assert.same({ "\0\xff", "binary" }, { ws:receive(10) })
    assert.same({ nil, "timed out", "ETIMEDOUT" }, { ws:receive(0.01) })
    assert(ws:ping "here?")
    ws:close(1000, "done")
    assert.is_nil(ws:receive())
    assert.same({ 1000, "done" }, { ws.code, ws.reason })
    assert.same({ nil, "closed", "ECLOSED" }, { ws:send "late" })
    h:log_wait "ended 1000 done"
  end)

  it("goes through the messages, and knows how they ended", function()
    local h = host.start { app = APP }
    local ws <close> = assert(websocket.connect(url_of(h, "/close")))
    assert(ws:send "x")
    for message in ws:messages() do error("unexpected " .. message) end
    assert.same({ 4001, "enough" }, { ws.code, ws.reason })
  end)

  it("says who it is, and what it wants", function()
    local h = host.start { app = APP }
    local address = h.url:gsub("^http://", "")
    local ws <close> = assert(websocket.connect("ws://ann:se%63ret@" .. address
      .. "/who?q=1", { headers = { ["X-One"] = "1" }, origin = "https://page.test" }))
    assert.same({
      path = "/who", q = "1", x = "1", origin = "https://page.test", host = address,
      authorization = "Basic " .. crypto.base64 "ann:secret",
    }, atoll.json.decode((assert(ws:receive(10)))))
  end)

  it("agrees on a subprotocol", function()
    local h = host.start { app = APP }
    local url = url_of(h, "/echo")
    local ws <close> = assert(websocket.connect(url, { protocols = { "a", "b" } }))
    assert.equal("b", ws.protocol)
    local other <close> = assert(websocket.connect(url, { protocols = "a" }))
    assert.equal("a", other.protocol)
    local third <close> = assert(websocket.connect(url, { protocols = { "c" } }))
    assert.is_nil(third.protocol)
  end)

  it("waits while the server is slow to read", function()
    local h = host.start { app = APP }
    local ws <close> = assert(websocket.connect(url_of(h, "/slow")))
    local count, big = 100, ("z"):rep(100000)
    local task = atoll.spawn(function()
      for _ = 1, count do assert(ws:send(big)) end
    end)
    for _ = 1, count do assert.equal("100000", (assert(ws:receive(30)))) end
    task:join()
  end)

  it("tells why there is none", function()
    local h = host.start { app = APP }
    local function refused(path, status, what)
      local ws, message, code, got = websocket.connect(url_of(h, path))
      assert.is_nil(ws)
      assert.same({ "the server answered " .. what, "ECONNREFUSED", status },
        { message, code, got })
    end
    refused("/none", 404, "404 Not Found")
    refused("/plain", 200, "200 OK")
    refused("/away", 302, "302 Found to /echo")
    local ws, message, code = websocket.connect("ws://127.0.0.1:1/", { timeout = 5 })
    assert.is_nil(ws)
    assert.match("Connection refused", message, 1, true)
    assert.equal("ECONNREFUSED", code)
    assert.same({ nil, "a WebSocket's URL begins with ws:// or wss://", "ESYNTAX" },
      { websocket.connect "ftp://a/" })
    assert.equal("ESYNTAX", select(3, websocket.connect "ws://a:b:c/"))
  end)

  it("believes only the answer to its own key", function()
    local function fails(what, answer)
      local url = serve(function(socket, key) answer(socket, key) socket:read(1) end)
      local ws, message, code = websocket.connect(url,
        { protocols = "a", timeout = 10 })
      assert.is_nil(ws, what)
      assert.equal("EPROTO", code)
      assert.match(what, message, 1, true)
    end
    local function with(more) return function(s, key) greet(s, key, more) end end
    fails("does not fit the key", function(s) greet(s, "dGhlIHNhbXBsZSBub25jZQ==") end)
    fails("does not fit the key", function(s, key)
      s:write("HTTP/1.1 101 OK\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
      return key
    end)
    fails("no Upgrade: websocket", function(s, key)
      s:write("HTTP/1.1 101 OK\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n"
        .. "Sec-WebSocket-Accept: ", accept_of(key), "\r\n\r\n")
    end)
    fails("no Connection: Upgrade", function(s, key)
      s:write("HTTP/1.1 101 OK\r\nUpgrade: websocket\r\n"
        .. "Sec-WebSocket-Accept: ", accept_of(key), "\r\n\r\n")
    end)
    fails("not offered", with "Sec-WebSocket-Protocol: b\r\n")
    local twice = ("Sec-WebSocket-Protocol: a\r\n"):rep(2)
    fails("not offered", with(twice))
    fails("not offered", with "Sec-WebSocket-Extensions: x-mux\r\n")
    fails("twice", with("Sec-WebSocket-Extensions: permessage-deflate; "
      .. "server_no_context_takeover, permessage-deflate\r\n"))
    fails("malformed", with "Sec-WebSocket-Extensions: permessage-deflate; x=\"\r\n")
  end)

  it("takes what comes right behind the answer", function()
    local url = serve(function(socket, key)
      greet(socket, key)
      socket:write("\x81\x05hello\x82\x01\xff\x88\x02\x03\xe9")
      socket:read(1)
    end)
    local ws <close> = assert(websocket.connect(url, { compress = false }))
    assert.same({ "hello", "text" }, { ws:receive(10) })
    assert.same({ "\xff", "binary" }, { ws:receive(10) })
    assert.is_nil(ws:receive(10))
    assert.equal(1001, ws.code)
  end)

  it("masks what it sends, and takes nothing that is masked", function()
    local first, second
    local url = serve(function(socket, key)
      greet(socket, key)
      first, second = socket:read(7), socket:read(7)
      socket:write("\x81\x81abcdx")
      socket:read "all"
    end)
    local ws <close> = assert(websocket.connect(url, { compress = false }))
    assert(ws:send "x")
    assert(ws:send "x")
    assert.is_nil(ws:receive(10))
    assert.equal(1002, ws.code)
    for _, frame in ipairs { first, second } do
      assert.equal("\x81\x81", frame:sub(1, 2))
      assert.equal(("x"):byte(), frame:byte(3) ~ frame:byte(7))
    end
    assert.not_equal(first:sub(3, 6), second:sub(3, 6))
  end)

  it("gives up in time", function()
    local url = serve(function(socket) socket:read "all" end)
    local ws, message, code
    for _, seconds in ipairs { 0.05, 1, 10 } do -- later, where connecting took as long
      ws, message, code = websocket.connect(url, { timeout = seconds })
      if message == "timed out waiting for the answer" then break end
    end
    assert.same({ nil, "timed out waiting for the answer", "ETIMEDOUT" },
      { ws, message, code })
  end)

  it("pings a silent server", function()
    local got
    local url = serve(function(socket, key)
      greet(socket, key)
      got = socket:read(2)
      socket:read "all"
    end)
    local ws <close> = assert(websocket.connect(url, { ping = 0.05, compress = false }))
    events.poll("the ping", function() return got end)
    assert.equal("\x89\x80", got)
    assert.same({ nil, "timed out", "ETIMEDOUT" }, { ws:receive(0) })
  end)

  it("refuses messages that are too long", function()
    local h = host.start { app = APP }
    local ws <close> = assert(websocket.connect(url_of(h, "/echo"),
      { message_max = 10 }))
    assert(ws:send(("x"):rep(11)))
    assert.is_nil(ws:receive(10))
    assert.equal(1009, ws.code)
  end)

  it("speaks TLS, and knows the server", function()
    local c = certs.make()
    local _, listener = serve(function(socket, key)
      greet(socket, key)
      socket:write("\x81\x06secret")
      socket:read "all"
    end, { cert = c.server, key = c.key })
    local url = "wss://" .. listener:name()
    local ws <close> = assert(websocket.connect(url, { tls = { ca = c.ca } }))
    assert.same({ "secret", "text" }, { ws:receive(10) })
    ws:close()
    local none, message, code = websocket.connect(url)
    assert.is_nil(none)
    assert.match("certificate verify failed", message, 1, true)
    assert.equal("ETLS", code)
  end)

  it("goes through a proxy's tunnel", function()
    local h = host.start { app = APP }
    local asked
    local proxy = assert(net.listen "127.0.0.1:0")
    listeners[#listeners + 1] = proxy
    atoll.spawn(function()
      proxy:serve(function(socket)
        asked = socket:read_until("\r\n\r\n"):match "^[^\r]*"
        local there <close> = assert(net.connect(asked:match "CONNECT (%S+)"))
        socket:write "HTTP/1.1 200 OK\r\n\r\n"
        local function pump(from, to)
          for piece in function() return from:read "some" end do to:write(piece) end
        end
        atoll.any {
          function() pump(socket, there) end, function() pump(there, socket) end,
        }
      end)
    end)
    local ws <close> = assert(websocket.connect(url_of(h, "/echo"),
      { proxy = "http://" .. proxy:name() }))
    assert(ws:send "through")
    assert.equal("through", (ws:receive(10)))
    assert.equal("CONNECT " .. h.url:gsub("^http://", "") .. " HTTP/1.1", asked)
  end)

  it("is told when it is used wrongly", function()
    local function raises(text, ...)
      local ok, message = pcall(websocket.connect, ...)
      assert.is_false(ok)
      assert.match(text, message, 1, true)
      assert.match("websocket_client_spec.lua", message, 1, true)
    end
    raises("the URL is a string, not nil")
    raises("no option colour", "ws://a/", { colour = "red" })
    raises("timeout is a number of seconds above 0", "ws://a/", { timeout = 0 })
    raises("message_max is a number of bytes", "ws://a/", { message_max = 1.5 })
    raises("a protocol is a token", "ws://a/", { protocols = { "a b" } })
    raises("offered twice", "ws://a/", { protocols = { "a", "a" } })
    raises("belongs to the handshake", "ws://a/", { headers = { Upgrade = "x" } })
    raises("belongs to the handshake", "ws://a/",
      { headers = { ["sec-websocket-key"] = "x" } })
    raises("compress has no option level", "ws://a/", { compress = { level = 1 } })
  end)

  it("needs an isolate that runs", function()
    local h = host.start { app = [[
      local ok, message = pcall(atoll.websocket.connect, "ws://127.0.0.1:1/")
      app:get("/", function() return message end)
    ]] }
    assert.match("websocket.connect cannot be called while the app loads; call it in "
      .. 'on("start")', atoll.http.get(h.url).body, 1, true)
  end)
end)
