-- What proxies write into requests about their clients, and whom the host believes.
local events = require "support.events"
local frames = require "support.frames"
local host = require "support.host"
local introduce = require "support.introduce"
local servers = require "support.servers"
local wire = require "support.wire"

local APP = [[
  app:get("/", function() return "hello" end)
  app:get("/all", function(req)
    return ("%s|%s|%s|%s"):format(req.remote, req.ip, req.scheme, req.host)
  end)
  app:get("/peer", function(req) return req.peer end)
  app:get("/id", function(req) return req.id end)
  app:get("/fail", function() error("oh", 0) end)
  app:get("/long", function(req)
    local before = req.remote .. " " .. req.id
    req.ctx.done = req:on_abort(function()
      atoll.log.info("left: %s, was %s", req.remote .. " " .. req.id, before)
    end)
    atoll.log.info("stays")
    atoll.sleep(20)
  end)
  app:websocket("/ws", function(ws)
    for message in ws:messages() do
      ws:send(("%s|%s|%s|%s|%s"):format(ws.req.remote, ws.req.ip, ws.req.scheme,
        ws.req.host, ws.req.id))
    end
  end)]]

local function get(path, fields)
  local lines = {}
  for _, field in ipairs(fields or {}) do lines[#lines + 1] = field .. "\r\n" end
  return ("GET %s HTTP/1.1\r\nHost: a\r\n%s\r\n"):format(path, table.concat(lines))
end

-- What the README tells to write into a proxy's configuration.
local function from_readme(language, number, port)
  local f = assert(io.open "README.md")
  local text = f:read "a"
  f:close()
  for block in text:gmatch("```" .. language .. "\n(.-)```") do
    number = number - 1
    if number == 0 then
      return (block:gsub("127%.0%.0%.1:8080", "127.0.0.1:" .. port)
        :gsub("bind :80\n", "bind 127.0.0.1:%%PORT%%\n")
        :gsub("listen 80;", "listen 127.0.0.1:%%PORT%%;"))
    end
  end
  error("there is no such block in README.md")
end

describe("forwarded headers", function()
  local h

  after_each(function()
    wire.finish()
    servers.finish()
    host.finish()
  end)

  local function start(set, options)
    options = options or {}
    options.app, options.set = APP, set
    h = host.start(options)
  end

  local function all(...) return wire.ask(h, get("/all", { ... })).body end

  it("are nothing but headers to a host that trusts nobody", function()
    start {}
    assert.match("^127%.0%.0%.1:%d+|127%.0%.0%.1|http|a$",
      all("X-Forwarded-For: 203.0.113.9", "X-Forwarded-Proto: https",
        "X-Forwarded-Host: b", "Forwarded: for=203.0.113.8;proto=https;host=c"))
    assert.match("^%x+$", wire.ask(h, get("/id", { "X-Request-Id: mine" })).body)
  end)

  it("count only from trusted addresses", function()
    start { trusted_proxies = "127.0.0.2" }
    local fields = { "X-Forwarded-For: 203.0.113.9", "X-Request-Id: mine" }
    local function ask(from, path)
      return wire.ask({ port = h.port, from = from, receive_buffer = 65536 },
        get(path, fields)).body
    end
    assert.match("^127%.0%.0%.1:", ask("127.0.0.1", "/all"))
    assert.equal("203.0.113.9|203.0.113.9|http|a", ask("127.0.0.2", "/all"))
    assert.match("^127%.0%.0%.2:%d+$", ask("127.0.0.2", "/peer"))
    assert.equal("mine", ask("127.0.0.2", "/id"))
    assert.match("^%x+$", ask("127.0.0.1", "/id"))
  end)

  it("name the right-most address that is not trusted", function()
    start { trusted_proxies = "127.0.0.1,10.0.0.0/8,fd00::/8" }
    for list, want in pairs {
      ["203.0.113.9"] = "203.0.113.9|203.0.113.9",
      ["198.51.100.1, 203.0.113.9"] = "203.0.113.9|203.0.113.9",
      ["198.51.100.1, 203.0.113.9, 10.1.1.1,fd00::1"] = "203.0.113.9|203.0.113.9",
      ["10.1.1.1, 203.0.113.9:77 , 10.0.0.1"] = "203.0.113.9:77|203.0.113.9",
      ["2001:db8::9, 10.0.0.1"] = "[2001:db8::9]|2001:db8::9",
      ["[2001:db8::9]:77, 10.0.0.1"] = "[2001:db8::9]:77|2001:db8::9",
      ["::ffff:203.0.113.9"] = "203.0.113.9|203.0.113.9",
      -- All are trusted: the first of them.
      ["10.0.0.1, 10.0.0.2"] = "10.0.0.1|10.0.0.1",
      -- What is no address ends it, whatever stands in front.
      ["203.0.113.9, unknown, 10.0.0.1"] = "10.0.0.1|10.0.0.1",
      ["203.0.113.9, \", 10.0.0.1"] = "10.0.0.1|10.0.0.1",
      [", ,203.0.113.9,"] = "203.0.113.9|203.0.113.9",
    } do
      assert.equal(want .. "|http|a", all("X-Forwarded-For: " .. list), list)
    end
    assert.equal("203.0.113.9|203.0.113.9|http|a", all("X-Forwarded-For: 203.0.113.8",
      "X-forwarded-for: 203.0.113.9", "X-Forwarded-For: 10.0.0.1"))
    for _, list in ipairs { "nonsense", "", "1.2.3", "203.0.113.9, \"", "a, b" } do
      assert.match("^127%.0%.0%.1:%d+|127%.0%.0%.1|http|a$",
        all("X-Forwarded-For: " .. list), list)
    end
  end)

  it("name the scheme and the host", function()
    start { trusted_proxies = "127.0.0.1,10.0.0.0/8" }
    local function rest(...) return all(...):match "^[^|]*|[^|]*|(.*)$" end
    assert.equal("https|b.example:8443", rest("X-Forwarded-Proto: https",
      "X-Forwarded-Host: b.example:8443"))
    assert.equal("https|a", rest "X-Forwarded-Proto: wss")
    assert.equal("http|a", rest("X-Forwarded-Proto: ftp", "X-Forwarded-Host: b/c"))
    -- As many places from the end as proxies are believed.
    assert.equal("http|b", rest("X-Forwarded-For: 203.0.113.9",
      "X-Forwarded-Proto: https, http", "X-Forwarded-Host: c, b"))
    assert.equal("https|c", rest("X-Forwarded-For: 203.0.113.9, 10.0.0.1",
      "X-Forwarded-Proto: https, http", "X-Forwarded-Host: x, c, b"))
    assert.equal("https|b", rest("X-Forwarded-For: 203.0.113.9, 10.0.0.1",
      "X-Forwarded-Proto: https", "X-Forwarded-Host: b"))
    -- The other way of telling it is not looked at.
    assert.equal("http|a", rest "Forwarded: proto=https;host=b")
  end)

  it("are those of RFC 7239 where the settings say so", function()
    start { trusted_proxies = "127.0.0.1,10.0.0.0/8", forwarded = "forwarded" }
    for list, want in pairs {
      ["for=203.0.113.9"] = "203.0.113.9|203.0.113.9|http|a",
      ["for=\"[2001:db8::9]:77\";proto=https;host=b.example"] =
        "[2001:db8::9]:77|2001:db8::9|https|b.example",
      ["for=198.51.100.1;proto=https, For=203.0.113.9;By=x, for=10.0.0.1;proto=http"] =
        "203.0.113.9|203.0.113.9|http|a",
      ["for=203.0.113.9;proto=https;host=b, for=10.0.0.1;proto=http;host=c"] =
        "203.0.113.9|203.0.113.9|https|b",
      ["for=203.0.113.9;proto=https, for=_hidden;host=b, for=10.0.0.1"] =
        "10.0.0.1|10.0.0.1|http|b",
      ["for=203.0.113.9, for=\"x, for=10.0.0.1"] = "10.0.0.1|10.0.0.1|http|a",
      ["for=203.0.113.9;for=1.1.1.1, for=10.0.0.1"] = "10.0.0.1|10.0.0.1|http|a",
    } do
      assert.equal(want, all("Forwarded: " .. list), list)
    end
    for _, list in ipairs { "for=unknown", "nonsense", "for=", "for=1.2.3.4;for=2",
      "\"" } do
      assert.match("^127%.0%.0%.1:%d+|127%.0%.0%.1|http|a$", all("Forwarded: " .. list),
        list)
    end
    assert.match("^127%.0%.0%.1:", all("X-Forwarded-For: 203.0.113.9"))
  end)

  it("are in both logs, with the proxy's id of the request", function()
    start({ trusted_proxies = "127.0.0.1", access_log = "stdout" })
    wire.ask(h, get("/all", { "X-Forwarded-For: 203.0.113.9",
      "X-Request-Id: abc-1.2" }))
    events.wait("the line", function()
      return h.out:find '203%.0%.113%.9 %- %- %[[^\n]* abc%-1%.2 %d'
    end)
    wire.ask(h, get("/fail", { "X-Request-Id: abc-2" }))
    h:log_wait "oh[^\n]*request_id=abc%-2"
    for _, id in ipairs { "a b", "a\"b", ("x"):rep(65), "" } do
      assert.match("^%x+$", wire.ask(h, get("/id", { "X-Request-Id: " .. id })).body)
    end
    -- A proxy may add its own to one that the client has made up.
    assert.equal("abc-5", wire.ask(h, get("/id", { "X-Request-Id: mine",
      "X-Request-Id: abc-5" })).body)
    assert.equal(("x"):rep(64),
      wire.ask(h, get("/id", { "X-Request-Id: " .. ("x"):rep(64) })).body)
  end)

  it("are still known when the client has left", function()
    start { trusted_proxies = "127.0.0.1" }
    local c = wire.connect(h):send(get("/long", { "X-Forwarded-For: 203.0.113.9",
      "X-Request-Id: abc-3" }))
    h:log_wait "stays"
    c:abort()
    h:log_wait "left: 203%.0%.113%.9 abc%-3, was 203%.0%.113%.9 abc%-3"
  end)

  it("are kept for a WebSocket", function()
    start { trusted_proxies = "127.0.0.1" }
    local c = frames.open(h, "/ws", "X-Forwarded-For: 203.0.113.9\r\n"
      .. "X-Forwarded-Proto: https\r\nX-Forwarded-Host: b.example\r\n"
      .. "X-Request-Id: abc-4\r\n")
    c:send(frames.text "x")
    assert.equal("203.0.113.9|203.0.113.9|https|b.example|abc-4",
      frames.next(c).payload)
    c:send(frames.close(1000))
    frames.closed(c, 1000)
  end)

  it("come through unix sockets, and behind a PROXY header", function()
    local dir = host.directory()
    start({ trusted_proxies = "unix:,127.0.0.1,10.0.0.1" },
      { listen = { "unix:" .. dir .. "/a", "127.0.0.1:0 proxy" } })
    local fields = { "X-Forwarded-For: 203.0.113.9" }
    assert.equal("203.0.113.9|203.0.113.9|http|a",
      wire.ask({ path = dir .. "/a" }, get("/all", fields)).body)
    local port = tonumber(h.urls[2]:match ":(%d+)$")
    local function behind(ip)
      return wire.connect({ port = port }):send(introduce.line(ip)
        .. get("/all", fields)):receive().body
    end
    -- Of those that the header names, some are proxies themselves.
    assert.equal("203.0.113.9|203.0.113.9|http|a", behind "10.0.0.1")
    assert.equal("10.0.0.2:4000|10.0.0.2|http|a", behind "10.0.0.2")
  end)

  it("lead to the app of their host", function()
    local function app(name)
      return host.app(([[app:get("/", function(req)
        return "%s " .. req.host
      end)]]):format(name))
    end
    h = host.start { config = "all.lua", files = {
      ["one/app.lua"] = app "1", ["two/app.lua"] = app "2",
      ["all.lua"] = [[return { trusted_proxies = "127.0.0.1", apps = {
        { host = "one.example", dir = "one", isolates = 1 },
        { dir = "two", isolates = 1 } } }]] } }
    assert.equal("1 one.example",
      wire.ask(h, get("/", { "X-Forwarded-Host: one.example" })).body)
    assert.equal("2 b.example",
      wire.ask(h, get("/", { "X-Forwarded-Host: b.example" })).body)
    assert.equal("2 a", wire.ask(h, get "/").body)
  end)

  it("follow the settings at a reload", function()
    h = host.start { files = { ["app.lua"] = host.app(APP),
      ["atoll.lua"] = "return { trusted_proxies = '127.0.0.1' }" } }
    local c = wire.connect(h)
    local request = get("/all", { "X-Forwarded-For: 203.0.113.9",
      "Forwarded: for=203.0.113.8" })
    assert.match("^203%.0%.113%.9|", c:ask(request).body)
    h:write("atoll.lua",
      "return { trusted_proxies = '127.0.0.1', forwarded = 'forwarded' }")
    h:reload()
    assert.match("^203%.0%.113%.8|", c:ask(request).body)
    h:write("atoll.lua", "return { trusted_proxies = {} }")
    h:reload()
    assert.match("^127%.0%.0%.1:", c:ask(request).body)
  end)

  it("do not count proxies among the clients of connections_per_address", function()
    start { trusted_proxies = "127.0.0.2", connections_per_address = 2 }
    local function open(from)
      local c = wire.connect { port = h.port, from = from, receive_buffer = 65536 }
      return c:ask("/").status
    end
    for _ = 1, 5 do assert.equal(200, open "127.0.0.2") end
    assert.equal(200, open "127.0.0.3")
    assert.equal(200, open "127.0.0.3")
    local c = wire.connect { port = h.port, from = "127.0.0.3", receive_buffer = 65536 }
    assert.equal(503, c:receive().status)
  end)

  it("are written by HAProxy", function()
    start { trusted_proxies = "127.0.0.1" }
    local proxy = servers.haproxy(from_readme("haproxy", 1, h.port))
    local c = wire.connect { port = proxy.port, from = "127.0.0.9",
      receive_buffer = 65536 }
    local body = c:ask(get("/all", { "X-Forwarded-For: 1.2.3.4",
      "X-Forwarded-Proto: https", "X-Forwarded-Host: b" })).body
    assert.equal("127.0.0.9|127.0.0.9|http|a", body)
    assert.equal(32, #c:ask("/id").body)
  end)

  it("are written by nginx", function()
    start { trusted_proxies = "127.0.0.1" }
    local proxy = servers.nginx("http {\naccess_log off;\n"
      .. from_readme("nginx", 1, h.port) .. "}")
    local c = wire.connect { port = proxy.port, from = "127.0.0.9",
      receive_buffer = 65536 }
    local body = c:ask(get("/all", { "X-Forwarded-For: 1.2.3.4",
      "Forwarded: for=1.2.3.4", "X-Forwarded-Proto: https",
      "X-Forwarded-Host: b" })).body
    assert.equal("127.0.0.9|127.0.0.9|http|a", body)
    assert.equal(32, #c:ask("/id").body)
  end)

  it("are not needed where the PROXY protocol tells as much", function()
    start({ trusted_proxies = "127.0.0.1" }, { listen = { "127.0.0.1:0 proxy" } })
    local proxy = servers.haproxy(from_readme("haproxy", 2, h.port))
    local c = wire.connect { port = proxy.port, from = "127.0.0.9",
      receive_buffer = 65536 }
    assert.match("^127%.0%.0%.9:%d+|127%.0%.0%.9|http|a$", c:ask("/all").body)
    proxy = servers.nginx("stream {\n" .. from_readme("nginx", 2, h.port) .. "}")
    c = wire.connect { port = proxy.port, from = "127.0.0.9", receive_buffer = 65536 }
    assert.match("^127%.0%.0%.9:%d+|127%.0%.0%.9|http|a$", c:ask("/all").body)
  end)
end)
