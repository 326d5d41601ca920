-- Where a host listens, and how newcomers are shared out among its isolates.
local events = require "support.events"
local host = require "support.host"
local wire = require "support.wire"

local APP = [[
  local host = require "atoll.core.host"
  app:get("/", function() return "isolate " .. host.isolate() end)
  app:get("/remote", function(req) return req.remote end)
  app:get("/busy", function(req)
    local over
    repeat over = io.open(req.query.till) until over
    over:close()
    return "was busy"
  end)]]

local function has_ipv6()
  local f = io.open "/proc/net/if_inet6"
  local text = f and f:read "a" or ""
  if f then f:close() end
  return text:find(("0"):rep(31) .. "1 ") ~= nil
end

describe("listener", function()
  after_each(function()
    wire.finish()
    host.finish()
  end)

  it("on several addresses at a time serves each", function()
    local dir = host.directory()
    local listen = { "127.0.0.1:0", "127.0.0.1:0", "unix:" .. dir .. "/a.sock" }
    if has_ipv6() then table.insert(listen, 3, "[::1]:0") end
    local h = host.start { app = APP, isolates = 2, listen = listen }
    assert.equal(#listen, #h.urls)
    assert.equal("unix:" .. dir .. "/a.sock", h.urls[#h.urls])
    for _, url in ipairs(h.urls) do
      local ip, port = url:match "^http://(.*):(%d+)$"
      local to = { path = url:match "^unix:(.*)$", ip = ip and ip:match "[^%[%]]+",
        port = tonumber(port) }
      for _ = 1, 10 do assert.truthy(wire.ask(to, "/").body:find "^isolate") end
      local remote = wire.ask(to, "/remote").body
      if to.path then
        assert.equal("unix:", remote)
      else
        assert.equal(ip, remote:match "^(.*):%d+$")
      end
    end
    h:stop()
    assert.is_nil(io.open(dir .. "/a.sock"))
  end)

  it("on all addresses takes IPv4 and IPv6", function()
    local h = host.start { app = APP, listen = { ":0" } }
    local port = tonumber(h.url:match ":(%d+)$")
    assert.equal("127.0.0.1", wire.ask({ port = port }, "/remote").body:match "^(.*):")
    if has_ipv6() then
      local answer = wire.ask({ port = port, ip = "::1" }, "/remote")
      assert.equal("[::1]", answer.body:match "^(.*):")
    end
  end)

  it("replaces the unix socket of one that was killed", function()
    local dir = host.directory()
    local path = dir .. "/a.sock"
    local h = host.start { app = APP, listen = { "unix:" .. path } }
    h:signal "sigkill"
    h:ended()
    h = host.start { app = APP, listen = { "unix:" .. path } }
    assert.truthy(wire.ask({ path = path }, "/").body:find "^isolate")
    h:stop()
  end)

  -- Asks each connection for its isolate; { [name] = count }.
  local function count(list, isolates)
    local at = {}
    for i = 1, isolates do at["isolate " .. i] = 0 end
    for _, c in ipairs(list) do
      local name = c:ask("/").body
      at[name] = at[name] + 1
    end
    return at
  end

  -- Who gets a connection is also for the kernel's scheduler to say; those that are in
  -- use go on to where there are fewer.
  local function becomes_even(list, isolates)
    local most, least
    local give_up = events.now() + 60
    repeat
      most, least = 0, #list
      for _, n in pairs(count(list, isolates)) do
        most, least = math.max(most, n), math.min(least, n)
      end
    until most - least <= 10 or events.now() > give_up
    assert.is_true(most - least <= 10, ("from %d to %d"):format(least, most))
  end

  for _, isolates in ipairs { 2, 4 } do
    it("spreads long connections evenly over " .. isolates .. " isolates", function()
      local h = host.start { app = APP, isolates = isolates }
      local list = {}
      for i = 1, 200 do
        list[i] = wire.connect(h)
        list[i]:ask "/"
      end
      becomes_even(list, isolates)
    end)

    it("spreads a burst of connections over " .. isolates .. " isolates", function()
      local h = host.start { app = APP, isolates = isolates }
      local list = {}
      for i = 1, 200 do
        list[i] = wire.open(h)
        list[i].on_connect = function(c) c:send "GET / HTTP/1.1\r\nHost: a\r\n\r\n" end
      end
      for _, c in ipairs(list) do
        c:wait_connected()
        c:receive()
      end
      becomes_even(list, isolates)
    end)
  end

  it("gives connections in use to an isolate that has come later", function()
    local h = host.start { app = APP, isolates = 1 }
    local list = {}
    for i = 1, 100 do list[i] = wire.connect(h) end
    assert.same({ ["isolate 1"] = 100 }, count(list, 1))
    h:signal "sigttin"
    h:log_wait "2 isolates after"
    becomes_even(list, 2)
  end)

  it("does not leave newcomers behind a busy isolate", function()
    local h = host.start { app = APP, isolates = 2 }
    wire.ask(h, "/")
    local busy = wire.connect(h):send(("GET /busy?till=%s/over HTTP/1.1\r\n"
      .. "Host: a\r\n\r\n"):format(h.dir))
    h:log_wait "a handler has run for"
    -- How long most of them take: the machine stands still now and then.
    local function took()
      local list = {}
      for i = 1, 100 do
        local asked = events.now()
        local c = wire.connect(h)
        assert.truthy(c:ask("/").body:find "^isolate")
        c:close()
        list[i] = events.now() - asked
      end
      table.sort(list)
      return list[50]
    end
    local behind = took()
    assert.equal(0, busy.size)
    h:write("over", "")
    assert.equal("was busy", busy:receive().body)
    local else_ = took()
    assert.is_true(behind < 0.2 + 20 * else_, behind .. " and " .. else_ .. " s")
  end)

  it("with reuseport serves on every isolate", function()
    local h = host.start { app = APP, isolates = 2, set = { reuseport = true } }
    local list = {}
    for i = 1, 60 do list[i] = wire.connect(h) end
    becomes_even(list, 2)
  end)
end)
