-- Several apps in one host: who gets a request, and what each has of its own.
local atoll = require "atoll"
local command = require "support.command"
local events = require "support.events"
local host = require "support.host"
local load = require "support.load"
local uv = require "luv"
local wire = require "support.wire"

local function get(path, name)
  return ("GET %s HTTP/1.1\r\nHost: %s\r\n\r\n"):format(path, name or "a")
end

local function post(path, body, more)
  return ("POST %s HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n%s\r\n%s"):format(path,
    #body, more or "", body)
end

-- Answers with its name, and is asked for what else the specs need.
local function app(name)
  return host.app(([[
    local name = %q
    local seen = 0
    app:get("/", function(req)
      seen = seen + 1
      return name .. " " .. req.path .. " " .. req.route
    end)
    app:get("/seen", function() return tostring(seen) end)
    app:post("/echo", function(req) return req:text() end)
    app:post("/ignore", function() return name end)
    app:get("/sleep", function() atoll.sleep(0.1) return name .. " slept" end)
    app:get("/hold", function()
      held = 1
      while held do atoll.sleep(0.001) end
      return name .. " held"
    end)
    app:get("/wait", function(req)
      held = 1
      while not atoll.fs.exists(req.query.file) do atoll.sleep(0.002) end
      return name .. " waited"
    end)
    app:get("/held", function() return tostring(held) end)
    app:get("/open", function() held = nil return name .. " opens" end)
    app:get("/big", function() return ("0123456789abcdef"):rep(512 * 1024) end)
    app:get("/large", function() return ("0123456789abcdef"):rep(32 * 1024) end)
    app:get("/stuck", function(req)
      local path = req.query.file
      while not io.open(path) do end
      return name .. " was stuck"
    end)
    app:get("/count", function()
      return tostring(atoll.shared("s"):incr("n", 1, 0))
    end)
    app:get("/module", function() return (require "m") end)
    app:get("/global", function() return tostring(rawget(_G, "mine")) end)
    app:get("/set", function() mine = name return mine end)]]):format(name))
end

local two = [[return { apps = {
  { path = "/shop", dir = "shop", isolates = 1, strict = false %s },
  { dir = "site", isolates = 1, strict = false %s },
} }]]

local function start(options)
  options = options or {}
  local files = {
    ["atoll.lua"] = options.apps
      or two:format(options.shop or "", options.site or ""),
    ["shop/app.lua"] = app "shop", ["site/app.lua"] = app "site",
    ["shop/lib/m.lua"] = [[return "shop's"]], ["site/lib/m.lua"] = [[return "site's"]],
  }
  for name, text in pairs(options.files or {}) do files[name] = text end
  return host.start { files = files, config = "atoll.lua",
    isolates = options.isolates, set = options.set, listen = options.listen,
    args = options.args }
end

local function held(c, path)
  events.retry("a held request", function() return c:ask(path).body == "1" end)
end

describe("several apps", function()
  after_each(function()
    wire.finish()
    host.finish()
  end)

  describe("get requests", function()
    it("for their place with and without its slash", function()
      local h = start { files = {
        ["shop/app.lua"] = host.app [[
          app:get("/", function(req) return "shop at " .. req.path end)
          app:get("/x", function() return "x" end)]],
      } }
      local c = wire.connect(h)
      assert.equal("shop at /shop", c:ask("/shop").body)
      assert.equal("shop at /shop/", c:ask("/shop/").body)
      assert.equal("x", c:ask("/shop/x").body)
      assert.equal(404, c:ask("/shop/x/").status)
    end)

    it("by path, by host and by both", function()
      local names = { "rest", "shop", "admin", "api", "v1", "below" }
      local files = { ["atoll.lua"] = [[return { apps = {
        { dir = "rest" },
        { path = "/shop", dir = "shop" },
        { path = "/shop/admin/", dir = "admin" },
        { host = "API.example.org", dir = "api" },
        { host = "api.example.org", path = "/v1", dir = "v1" },
        { host = "*.example.org", dir = "below" },
      } }]] }
      for _, name in ipairs(names) do
        files[name .. "/app.lua"] =
          ("return function(req) return %q .. ' ' .. req.path end"):format(name)
      end
      local h = host.start { files = files, config = "atoll.lua", isolates = 2 }
      assert.match("serving rest at /, shop at /shop, admin at /shop/admin, api at "
        .. "api.example.org, v1 at api.example.org/v1 and below at %*.example.org on",
        h.log)
      assert.equal(12, h.isolates)
      local c = wire.connect(h)
      for _, case in ipairs {
        { "a", "/", "rest /" },
        { "a", "/shopping", "rest /shopping" },
        { "a", "/shop", "shop /shop" },
        { "a", "/shop/", "shop /shop/" },
        { "a", "/x/../shop/./y?z", "shop /shop/y" },
        { "a", "/s%68op/y", "shop /shop/y" },
        { "a", "/shop%2Fadmin", "rest /shop%2Fadmin" },
        { "a", "/shop/admin", "admin /shop/admin" },
        { "a:80", "/shop/admin/x", "admin /shop/admin/x" },
        { "api.example.org", "/shop", "api /shop" },
        { "API.EXAMPLE.ORG:8080", "/v1/x", "v1 /v1/x" },
        { "www.example.org", "/v1", "below /v1" },
        { "example.org", "/v1", "rest /v1" },
        { "[::1]:80", "/", "rest /" },
      } do
        assert.equal(case[3], c:ask(get(case[2], case[1])).body)
      end
      -- An absolute target goes before Host, and HTTP/1.0 needs none.
      assert.equal("v1 /v1",
        c:ask("GET http://api.example.org/v1 HTTP/1.1\r\nHost: api.example.org\r\n\r\n")
          .body)
      assert.equal("shop /shop",
        wire.ask(h, "GET /shop HTTP/1.0\r\n\r\n").body)
      assert.equal(204, c:ask("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n").status)
    end)

    it("that are for nobody are not found", function()
      local h = start { apps = [[return { apps = {
        { path = "/shop", dir = "shop" }, { host = "b", dir = "site" } } }]] }
      local c = wire.connect(h)
      assert.equal("404 Not Found\n", c:ask("/").body)
      assert.equal(404, c:ask(post("/x", "body")).status)
      assert.equal("shop /shop /shop", c:ask("/shop").body)
      assert.equal("site / /", c:ask(get("/", "b")).body)
      assert.equal(404, c:ask("/shop/none").status)
    end)

    it("under their path, as with a mounted app", function()
      local h = start { files = {
        ["shop/routes/r/[id].lua"] = [[return function(req)
          return req.params.id .. " " .. req.route end]],
        ["shop/public/index.html"] = "<p>index",
        ["shop/public/a.txt"] = "a file",
        ["shop/app.lua"] = host.app [[
          app:use(function(req, next)
            req.ctx.seen = true
            return next(req)
          end)
          app:group("/g", function(g)
            g:get("/", function(req) return tostring(req.ctx.seen) end)
            g:on("not_found", function() return 404, "not in g" end)
          end)
          app:on("error", function(_, err) return 500, "hook: " .. err end)
          app:get("/fail", function() error("boom", 0) end)]],
        ["site/app.lua"] = [[return { ["/"] = function() return "table" end }]],
      } }
      local c = wire.connect(h)
      assert.equal("7 /shop/r/:id", c:ask("/shop/r/7").body)
      assert.equal("a file", c:ask("/shop/a.txt").body)
      assert.equal("<p>index", c:ask("/shop/").body)
      assert.equal("/shop/", c:ask("/shop").fields.location)
      assert.equal("true", c:ask("/shop/g").body)
      assert.equal("not in g", c:ask("/shop/g/x").body)
      assert.equal("hook: boom", c:ask("/shop/fail").body)
      assert.equal(404, c:ask("/a.txt").status)
      assert.equal("table", c:ask("/").body)
    end)

    it("in the order in which they were sent", function()
      local h = start { isolates = 2 }
      local c, all, want = wire.connect(h), {}, {}
      for i = 1, 30 do
        local slow = i % 10 == 1
        local shop = i % 2 == 1
        all[i] = i % 5 == 0 and post(shop and "/shop/echo" or "/echo", "body " .. i)
          or get((shop and "/shop" or "") .. (slow and "/sleep" or shop and "" or "/"))
        want[i] = i % 5 == 0 and "body " .. i or (shop and "shop" or "site")
          .. (slow and " slept" or "")
      end
      c:send(table.concat(all))
      for i = 1, 30 do
        local body = c:receive().body
        assert.equal(want[i], body:sub(1, #want[i]))
      end
    end)

    it("with their bodies, however they come", function()
      local h = start()
      local c = wire.connect(h)
      local big = ("x"):rep(1000003)
      for _, path in ipairs { "/echo", "/shop/echo" } do
        assert.equal("", c:ask(post(path, "")).body)
        assert.equal(big, c:ask(post(path, big)).body)
        c:send(post(path, "", "X: y\r\n"):gsub("Content%-Length: 0",
          "Transfer-Encoding: chunked"))
        c:send "5\r\nhello\r\n"
        c:send "6\r\n world\r\n0\r\n\r\n"
        assert.equal("hello world", c:receive().body)
        c:send(("POST %s HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n"
          .. "Expect: 100-continue\r\n\r\n"):format(path))
        assert.equal(100, c:receive().status)
        c:send "abc"
        assert.equal("abc", c:receive().body)
      end
      -- Not read by its handler, and in the way of what follows.
      assert.equal("shop", c:ask(post("/shop/ignore", ("x"):rep(100000))).body)
      assert.equal("site", c:ask(post("/ignore", "x")).body)
    end)

    it("and answer all at once, on connections that stay", function()
      local h = start { isolates = 2, shop = ", isolates = 2",
      set = { drain_timeout = 60 } }
      local shop = load.start(h, { path = "/shop", connections = 16,
        check = function(r) return r.body ~= "shop /shop /shop" and r.body end })
      local site = load.start(h, { path = "/", connections = 16,
        check = function(r) return r.body ~= "site / /" and r.body end })
      shop:run(2000)
      site:run(2000)
      shop:stop()
      site:stop()
    end)

    it("from listeners of each usher's own", function()
      local h = start { isolates = 2, set = { reuseport = true } }
      for _ = 1, 20 do
        assert.equal("shop /shop /shop", wire.ask(h, "/shop").body)
        assert.equal("site / /", wire.ask(h, "/").body)
      end
    end)
  end)

  describe("answer", function()
    it("at length, to clients that read slowly", function()
      local h = start()
      local c = wire.connect_deaf(h)
      c:send(get "/shop/big" .. get "/big" .. get "/shop")
      assert.equal("site / /", wire.ask(h, "/").body)
      c:resume()
      assert.equal(8 * 1024 * 1024, #c:receive().body)
      assert.equal(8 * 1024 * 1024, #c:receive().body)
      assert.equal("shop /shop /shop", c:receive().body)
    end)

    it("nobody who has gone", function()
      local h = start()
      local other = wire.connect(h)
      for i = 1, 20 do
        local c = wire.connect(h)
        c:send(get "/shop/sleep" .. get "/sleep")
        if i % 2 == 0 then c:abort() else c:close() end
        local half = wire.connect(h)
        half:send "POST /shop/echo HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhal"
        if i % 2 == 0 then half:abort() else half:close() end
      end
      assert.equal("shop slept", other:ask("/shop/sleep").body)
      assert.equal("site / /", other:ask("/").body)
    end)

    it("a client that has said its last", function()
      local h = start()
      local c = wire.connect(h)
      c:send(get "/shop/sleep" .. get "/")
      c:finish()
      assert.equal("shop slept", c:receive().body)
      assert.equal("site / /", c:receive().body)
      assert.equal("", (c:wait_end()))
    end)

    it("once in the access log", function()
      local h = start { set = { access_log = "stdout" }, shop = ", body_max = 10" }
      local c = wire.connect(h)
      c:ask "/shop"
      c:ask "/"
      c:ask "/none"
      c:ask(post("/shop/echo", ("x"):rep(11)))
      h:stop()
      local lines = {}
      for line in h.out:gmatch "[^\n]+" do
        lines[#lines + 1] = line:match '"(%u+ %S+) HTTP/1.1" (%d+)'
          .. " " .. line:match '" (%d+) '
      end
      table.sort(lines)
      assert.same({ "GET / 200", "GET /none 404", "GET /shop 200",
        "POST /shop/echo 413" }, lines)
      assert.match("stopped: 4 requests served", h.log)
    end)
  end)

  describe("have of their own", function()
    it("globals, modules and dictionaries", function()
      local h = start()
      local c = wire.connect(h)
      assert.equal("shop's", c:ask("/shop/module").body)
      assert.equal("site's", c:ask("/module").body)
      assert.equal("shop", c:ask("/shop/set").body)
      assert.equal("shop", c:ask("/shop/global").body)
      assert.equal("nil", c:ask("/global").body)
      assert.equal("1", c:ask("/shop/count").body)
      assert.equal("2", c:ask("/shop/count").body)
      assert.equal("1", c:ask("/count").body)
    end)

    it("limits", function()
      local h = start { set = { body_max = "1K" }, shop = ', body_max = "2K"',
        site = ", strict = true" }
      local c = wire.connect(h)
      assert.equal(200, c:ask(post("/shop/echo", ("x"):rep(2048))).status)
      assert.equal(200, c:ask(post("/echo", ("x"):rep(1024))).status)
      assert.equal(413, wire.ask(h, post("/shop/echo", ("x"):rep(2049))).status)
      assert.equal(413, wire.ask(h, post("/echo", ("x"):rep(1025))).status)
      local chunked = "POST %s HTTP/1.1\r\nHost: a\r\n"
        .. "Transfer-Encoding: chunked\r\n\r\n578\r\n" .. ("x"):rep(1400)
        .. "\r\n0\r\n\r\n"
      assert.equal(200, c:ask(chunked:format "/shop/echo").status)
      assert.equal(413, c:ask(chunked:format "/echo").status)
      assert.equal(500, wire.ask(h, "/set").status)
      assert.equal("shop", wire.ask(h, "/shop/set").body)
    end)

    it("isolates", function()
      local h = start { shop = ", isolates = 3" }
      assert.equal(4, h.isolates)
      h:signal "sigttin"
      h:log_wait "with several apps the isolates of each are as many as the config says"
    end)
  end)

  it("are left alone by one in an endless loop", function()
    local h = start { isolates = 2, site = ", isolates = 2" }
    local list = {}
    for i = 1, 8 do
      list[i] = wire.connect(h)
      assert.equal("shop /shop /shop", list[i]:ask("/shop").body)
    end
    local over = h.dir .. "/over"
    local stuck = wire.connect(h):send(get("/shop/stuck?file=" .. over))
    local half = wire.connect(h):send(get("/stuck?file=" .. over))
    h:log_wait "a handler has run for"
    h:log_wait "a handler has run for"
    local behind = wire.connect(h):send(get "/shop" .. get "/")
    local site = load.start(h, { path = "/", connections = 8,
      check = function(r) return r.body ~= "site / /" and r.body end })
    site:run(1000)
    for _ = 1, 20 do
      for _, c in ipairs(list) do assert.equal("site / /", c:ask("/").body) end
      assert.equal("site / /", wire.ask(h, "/").body)
    end
    site:stop()
    -- And those behind it.
    assert.equal("shop /shop /shop", behind:receive().body)
    assert.equal("site / /", behind:receive().body)
    assert.equal(0, stuck.size)
    h:write("over", "")
    assert.equal("shop was stuck", stuck:receive().body)
    assert.equal("site was stuck", half:receive().body)
  end)

  it("turn requests away when many wait for one that is stuck", function()
    local h = start { set = { drain_timeout = 30, slice = 0 } }
    local over, list = h.dir .. "/over", {}
    local stuck = wire.connect(h):send(get("/shop/stuck?file=" .. over))
    h:log_wait "a handler has run for"
    for i = 1, 500 do
      list[i] = wire.connect(h):send(get "/shop")
    end
    events.retry("503", function()
      local c = wire.connect(h):send(get "/shop" .. get "/")
      -- Until a second is over it waits, too.
      local answered = pcall(events.wait, "an answer", function()
        return c.size > 0
      end, 0.3)
      if not answered then return false end
      assert.equal(503, c:receive().status)
      assert.equal("site / /", c:receive().body)
      return true
    end)
    assert.equal("site / /", wire.ask(h, "/").body)
    h:log_wait "/shop: all isolates are stuck, and many requests wait for them: 503"
    h:write("over", "")
    assert.equal("shop was stuck", stuck:receive().body)
    for _, c in ipairs(list) do assert.equal("shop /shop /shop", c:receive().body) end
    assert.equal("shop /shop /shop", stuck:ask("/shop").body)
  end)

  it("keep up while clients leave and code changes", function()
    local h = start { isolates = 2, shop = ", isolates = 2",
      set = { drain_timeout = 60 } }
    local shop = load.start(h, { path = "/shop", connections = 8,
      check = function(r) return r.body ~= "shop /shop /shop" and r.body end })
    local site = load.start(h, { path = "/", connections = 8,
      check = function(r) return r.body ~= "site / /" and r.body end })
    for round = 1, 10 do
      for i = 1, 20 do
        local c = wire.open(h)
        function c:on_connect()
          self:send(get(i % 2 == 0 and "/shop/sleep" or "/sleep")
            .. get(host.SLOW and "/shop/large" or "/shop/big"))
          if i % 3 == 0 then self:abort() else self:close() end
        end
      end
      if round % 3 == 0 then h:hup() end
      shop:run(50)
      site:run(50)
    end
    shop:stop()
    site:stop()
  end)

  describe("are reloaded", function()
    it("each for itself: one that is broken goes on with its code", function()
      local h = start()
      local c = wire.connect(h)
      h:write("shop/app.lua", "error 'broken'")
      h:write("site/app.lua", app "new site")
      h:hup()
      local text = "\n[^\n]*error[^\n]*/shop: reload failed after %d+ ms, the running "
        .. "code goes on: [^\n]*broken"
      events.wait("both outcomes", function()
        return h.log:find(text) and h.log:find "/: reload: generation 2 serves"
      end)
      assert.equal("shop /shop /shop", c:ask("/shop").body)
      assert.equal("new site / /", c:ask("/").body)
      h:write("shop/app.lua", app "new shop")
      h:hup()
      h:log_wait "/shop: reload: generation 3 serves"
      assert.equal("new shop /shop /shop", c:ask("/shop").body)
    end)

    it("while requests of all are under way", function()
      local h = start { isolates = 2, set = { drain_timeout = 60 } }
      local c, other = wire.connect(h), wire.connect(h)
      local gate = h.dir .. "/gate"
      c:send(get("/shop/wait?file=" .. gate) .. get "/shop")
      held(other, "/shop/held")
      local site = load.start(h, { path = "/",
        check = function(r) return r.body ~= "site / /" and r.body end })
      for n = 2, 5 do
        h:hup()
        h:log_wait("/: reload: generation " .. n .. " serves")
        site:run(50)
      end
      site:stop()
      assert.equal(0, c.size)
      h:write("gate", "")
      assert.equal("shop waited", c:receive().body)
      assert.equal("shop /shop /shop", c:receive().body)
    end)

    it("with their settings", function()
      local h = start { shop = ", body_max = 5" }
      assert.equal(413, wire.ask(h, post("/shop/echo", "123456")).status)
      h:write("atoll.lua", two:format(", body_max = 6, isolates = 3", ""))
      h:hup()
      h:log_wait "isolates has changed: it takes effect when atoll is started again"
      h:log_wait "/shop: reload: generation 2 serves"
      local c = wire.connect(h)
      assert.equal("123456", c:ask(post("/shop/echo", "123456")).body)
      assert.equal(413, c:ask(post("/shop/echo", "1234567")).status)
    end)

    it("not with other apps, nor with settings that are wrong", function()
      local h = start()
      h:write("atoll.lua", two:format(", body_max = {}", ""))
      h:hup()
      h:log_wait("reload failed, the running code goes on: [^\n]*atoll.lua:1: "
        .. "apps%[1%]: body_max must be bytes")
      h:write("atoll.lua", [[return { apps = { { dir = "site" } } }]])
      h:hup()
      h:log_wait "apps has changed: it takes effect when atoll is started again"
      h:log_wait "reload: generation 2 serves"
      assert.equal("shop /shop /shop", wire.ask(h, "/shop").body)
      h:write("atoll.lua", two:format("", ""))
      assert(os.rename(h.dir .. "/shop", h.dir .. "/gone"))
      h:hup()
      h:log_wait "reload failed, the running code goes on: /shop: no app directory"
      assert.equal("shop /shop /shop", wire.ask(h, "/shop").body)
    end)
  end)

  describe("end", function()
    it("when their last requests are answered", function()
      local h = start { isolates = 2, set = { drain_timeout = 60 }, files = {
        ["site/app.lua"] = app "site":gsub("\nreturn app",
          '\napp:on("stop", function() atoll.log.info "site stops" end)%0'),
      } }
      local c, other = wire.connect(h), wire.connect(h)
      c:send(get "/shop/hold")
      held(other, "/shop/held")
      -- It has begun to ask: nobody takes it for idle, however late the rest comes.
      local opens = get "/shop/open"
      other:send(opens:sub(1, 5))
      h:term()
      h:log_wait "SIGTERM: stopping"
      local answer = other:send(opens:sub(6)):receive()
      assert.equal("shop opens", answer.body)
      assert.equal("shop held", c:receive().body)
      assert.equal("", (c:wait_end()))
      h:ended_well()
      assert.match("site stops", h.log)
    end)

    it("without waiting for pages that listen and WebSockets", function()
      local h = start { isolates = 2, set = { drain_timeout = 60 }, files = {
        ["shop/app.lua"] = host.app [[
          app:events("/news", function(send) send:subscribe "news" end)
          app:websocket("/talk", function(ws) for _ in ws:messages() do end end)]],
      } }
      local page = wire.connect(h):send(get "/shop/news")
      page:read_until "\r\n\r\n"
      local ws = assert(atoll.websocket.connect(("ws://127.0.0.1:%d/shop/talk"):format(
        h.port)))
      h:term()
      assert.equal("0\r\n\r\n", page:wait_end():sub(-5))
      assert.is_nil(ws:receive(20))
      assert.equal(1001, ws.code)
      h:ended_well()
    end)

    it("under load, with every answer given", function()
      local h = start { isolates = 2, shop = ", isolates = 2",
      set = { drain_timeout = 60 } }
      local shop = load.start(h, { path = "/shop", drains = true, connections = 16,
        check = function(r) return r.body ~= "shop /shop /shop" and r.body end })
      local site = load.start(h, { path = "/", drains = true, connections = 16,
        check = function(r) return r.body ~= "site / /" and r.body end })
      shop:run(300)
      h:term()
      shop:drained()
      site:drained()
      h:ended_well()
    end)

    it("by force when their time is over", function()
      local h = start { set = { drain_timeout = 0.2 } }
      local c, other = wire.connect(h), wire.connect(h)
      c:send(get "/shop/hold")
      other:send(get "/sleep" .. get "/shop/hold")
      held(wire.connect(h), "/shop/held")
      h:term()
      c:wait_end()
      h:ended_well()
      assert.match("left when drain_timeout was over", h.log)
    end)

    it("and begin again with a host that was killed", function()
      local h = start()
      assert(uv.kill(h:serving_pid(), "sigkill"))
      h:log_wait "serving again with 2 isolates"
      assert.equal("shop /shop /shop", wire.ask(h, "/shop").body)
    end)
  end)

  describe("are refused", function()
    before_each(function() command.begin() end)
    after_each(command.finish)

    local function refused(apps, text, code)
      command.write("atoll.lua", "return {\n  apps = " .. apps .. " }")
      command.refuses(code or 78, text, "check --config DIR/atoll.lua")
    end

    it("with the place where they are written", function()
      local place = "DIR/atoll.lua:2: apps[1]: "
      for text, why in pairs {
        ["{ { } }"] = "dir is missing: the directory of the app",
        ["{ 3 }"] = 'must be a table, such as { path = "/shop", dir = "shop" }, not 3',
        ["{ { dir = 3, pat = 1 } }"] = "unknown setting 'pat'; did you mean 'path'?",
        ["{ { dir = 'd', bodymax = 1 } }"] =
          "unknown setting 'bodymax'; did you mean 'body_max'?",
        ["{ { dir = 'd', listen = ':1' } }"] =
          "listen is the host's, for all apps: write it beside apps",
        ["{ { dir = 'd', isolates = 0 } }"] = "isolates must be from 1 to 1024, not 0",
        ["{ { dir = { 'd' } } }"] = "dir must be text, not a table",
        ["{ { dir = '' } }"] = "dir must not be empty",
        ["{ { dir = 'd', host = 'a:80' } }"] =
          'host must be a name, such as "api.example.org" or "*.example.org", without '
          .. "a port, not 'a:80'",
        ["{ { dir = 'd', path = 'shop' } }"] = "path must be the beginning of paths",
        ["{ { dir = 'd', path = '/:a' } }"] = "path must be the beginning of paths",
      } do
        refused(text, place .. why)
      end
      refused("{ { 3 } }", "apps: a value without a name; write NAME = VALUE")
      refused("{ a = { dir = 'd' } }",
        "DIR/atoll.lua:2: apps must be a list of tables, not a table")
      refused("3", "DIR/atoll.lua:2: apps must be a list of tables, not 3")
      refused("{ { dir = '.' }, { dir = '.', path = '/' } }",
        "DIR/atoll.lua:2: apps[2]: apps[1] has the same host and path: /")
      refused("{ { dir = 'none' } }",
        "DIR/atoll.lua:2: apps[1]: no app directory 'DIR/none': no such file", 66)
      command.write("atoll.lua", "return {\n  ap = {} }")
      command.refuses(78, "unknown setting 'ap'; did you mean 'apps'?",
        "check --config DIR/atoll.lua")
      -- The line of a setting is not that of an app's.
      command.write("atoll.lua", "return { apps = { { dir = '.', body_max = 1 } },\n"
        .. "  body_max = true }")
      command.refuses(78, "DIR/atoll.lua:2: body_max must be", "check -c DIR/atoll.lua")
    end)

    it("together with one on the command line", function()
      command.write("atoll.lua", "return { apps = { { dir = '.' } } }")
      command.refuses(64, "DIR/atoll.lua has the apps, so there can be no 'DIR' on the "
        .. "command line; write 'atoll serve --config DIR/atoll.lua'", "serve DIR")
    end)

    it("when one of them does not start", function()
      os.execute("mkdir " .. command.begin() .. "/bad")
      command.write("bad/app.lua", "error 'it is bad'")
      command.write("atoll.lua",
        "return { apps = { { dir = '.' }, { path = '/bad', dir = 'bad' } } }")
      local code, _, err = command.atoll "serve -c DIR/atoll.lua -l 127.0.0.1:0"
      assert.equal(78, code)
      assert.match("/bad: start failed: [^\n]*bad/app.lua:1: it is bad", err)
      code, _, err = command.atoll "check -c DIR/atoll.lua"
      assert.equal(78, code)
      assert.match("atoll: /bad: [^\n]*it is bad", err)
    end)

    it("not when there is none", function()
      command.write("atoll.lua", "return { apps = {} }")
      local code, out = command.atoll "check DIR"
      assert.equal(0, code)
      assert.match("1 routes, no problem found", out)
    end)
  end)

  it("are checked and listed one after the other", function()
    local dir = host.directory {
      ["atoll.lua"] = two:format(', body_max = "1K"', ""),
      ["shop/app.lua"] = [[return { ["GET /a"] = function() end }]],
      ["site/app.lua"] = [[return { ["GET /b"] = function() end }]],
    }
    command.begin()
    local code, out = command.atoll("check --config " .. dir .. "/atoll.lua")
    assert.equal(0, code)
    assert.match("apps%[1%] = /shop", out)
    assert.match("apps%[1%].body_max = 1K\n", out)
    assert.match("/shop, [^\n]*/shop: 1 routes, no problem found", out)
    assert.match("/, [^\n]*/site: 1 routes, no problem found", out)
    code, out = command.atoll("routes --config " .. dir .. "/atoll.lua")
    command.finish()
    assert.equal(0, code)
    assert.match("/shop, [^\n]*:\nGET  /shop/a  ", out)
    assert.match("/, [^\n]*:\nGET  /b  ", out)
  end)
end)
