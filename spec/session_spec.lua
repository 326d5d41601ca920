-- Sessions as a browser sees them: cookies that it sends back, changes, or has stolen.
local atoll = require "atoll"
local events = require "support.events"
local host = require "support.host"
local tempapp = require "tempapp"
local wire = require "support.wire"

local OLD, NEW = ("old secret "):rep(4), ("new secret "):rep(4)

-- A browser with one cookie jar, as far as the specs need it.
local function browser(app)
  local self = { jar = {} }
  function self.ask(method, path, options)
    options = options or {}
    options.headers = options.headers or {}
    local sent = {}
    for name, value in pairs(self.jar) do sent[#sent + 1] = name .. "=" .. value end
    if #sent > 0 then options.headers.Cookie = table.concat(sent, "; ") end
    local res = assert(app:request(method, path, options))
    self.lines = res:values "set-cookie"
    for _, line in ipairs(self.lines) do
      local name, value = line:match "^([^=]+)=([^;]*)"
      if line:find "Max%-Age=0;" then value = nil end
      self.jar[name] = value
    end
    return res
  end
  function self.get(path, options) return self.ask("GET", path, options) end
  return self
end

local HANDLERS = [[
  local session, host = require "atoll.session", require "atoll.core.host"
  local time, ahead = host.time, 0
  host.time = function() return time() + ahead end
  app:get("/later/:n", function(req) ahead = ahead + req.params.n return "ok" end)
  app:use(session(OPTIONS))
  app:get("/count", function(req)
    req.session.count = (req.session.count or 0) + 1
    return tostring(req.session.count)
  end)
  app:get("/read", function(req) return tostring(req.session.count) end)
  app:get("/state", function(req)
    local s = session.of(req)
    return tostring(s.is_new) .. " " .. s.born
  end)
  app:get("/halt", function(req)
    req.session.count = 100
    atoll.halt(atoll.redirect "/read")
  end)
  app:get("/fail", function(req)
    req.session.count = 200
    error "no"
  end)
  app:get("/write", function(req, res)
    req.session.count = 300
    if req.query.save then session.of(req):save() end
    res:write "x"
    if req.query.late then req.session.count = 301 end
  end)
  app:get("/rotate", function(req) session.of(req):rotate() return "ok" end)
  app:get("/destroy", function(req)
    local s = session.of(req)
    s:destroy()
    if req.query.again then s.data.count = 7 end
    return "ok"
  end)
  local begun, gate = atoll.channel(1), atoll.channel(1)
  app:get("/late", function(req)
    req.session.count = 400
    begun:send(true)
    gate:receive()
    return "ok"
  end)
  app:get("/begun", function() begun:receive() return "ok" end)
  app:get("/go", function() gate:send(true) return "ok" end)
  app:get("/clear", function(req) session.of(req).data = {} return "ok" end)
  app:get("/flash/:text", function(req)
    session.of(req):flash("note", req.params.text)
    return "ok"
  end)
  app:get("/flash", function(req) return tostring(session.of(req):flash "note") end)
  app:get("/fill", function(req)
    req.session.text = ("x"):rep(tonumber(req.query.n))
    return "ok"
  end)
  app:get("/put", function(req)
    req.session.it = ({ f = print, c = { a = { req.session } }, k = { [{}] = 1 } })[
      req.query.what]
    if req.query.what == "c" then req.session.it.a.b = req.session.it end
    return "ok"
  end)
  app:get("/types", function(req)
    local it = { 1, 2.5, -129, 1 << 40, math.huge, true, false, "\0\255",
      list = { 1, 2, 3 }, [true] = "t", [0.5] = {} }
    local was = req.session.it
    req.session.it = it
    if not was then return "set" end
    for k, v in pairs(it) do
      if type(v) ~= "table" then
        assert(was[k] == v and math.type(was[k]) == math.type(v), tostring(k))
      end
    end
    return "same " .. #was.list .. #was
  end)
]]

local function load(options)
  return (tempapp.load((HANDLERS:gsub("OPTIONS", function() return options end))))
end

local function with(more)
  return ("{ secret = %q, %s }"):format(NEW, more or "")
end

describe("a session", function()
  after_each(tempapp.clean)

  for _, store in ipairs { "cookie", "shared" } do
    describe("in store " .. store, function()
      local app, b
      local here = ("store = %q,"):format(store)

      before_each(function()
        app = load(with(here))
        b = browser(app)
      end)

      it("is remembered, and told only when it has changed", function()
        assert.equal("nil", b.get "/read".body)
        assert.same({}, b.lines)
        for i = 1, 3 do assert.equal(tostring(i), b.get "/count".body) end
        assert.truthy(b.lines[1]:find(
          "^session=[%w_-]+; Path=/; Max%-Age=1209%d+; HttpOnly; SameSite=Lax$"))
        assert.equal("3", b.get "/read".body)
        assert.same({}, b.lines)
        assert.equal("nil", browser(app).get "/read".body)
      end)

      it("holds what tables hold", function()
        assert.equal("set", b.get "/types".body)
        assert.equal("same 38", b.get "/types".body)
        assert.same({}, b.lines)
        for _, what in ipairs { "f", "c", "k" } do
          assert.equal(500, b.get("/put?what=" .. what).status)
        end
      end)

      it("is kept by what ends the handler from within, not by a failure", function()
        assert.equal(302, b.get "/halt".status)
        assert.equal("100", b.get "/read".body)
        assert.equal(500, b.get "/fail".status)
        assert.equal("100", b.get "/read".body)
      end)

      it("is kept before the head is sent", function()
        assert.equal("x", b.get "/write?save=1".body)
        assert.equal("300", b.get "/read".body)
        local res = browser(app).get "/write"
        assert.is_false(res.complete)
        -- Where the cookie stays the same nobody has to be told.
        res = b.get "/write?save=1&late=1"
        assert.equal(store == "shared", res.complete)
        assert.equal(store == "shared" and "301" or "300", b.get "/read".body)
      end)

      it("goes when it is destroyed or empty", function()
        b.get "/count"
        b.get "/destroy"
        assert.truthy(b.lines[1]:find "^session=; Path=/; Max%-Age=0;")
        assert.equal("nil", b.get "/read".body)
        b.get "/count"
        b.get "/clear"
        assert.is_nil(b.jar.session)
        b.get "/count"
        local stolen = b.jar.session
        b.get "/destroy?again=1"
        assert.equal("7", b.get "/read".body)
        assert.not_equal(stolen, b.jar.session)
      end)

      if store == "shared" then
        it("stays gone when a request that began before changes it", function()
          b.get "/count"
          local stolen = b.jar.session
          for _, how in ipairs { "destroy", "rotate" } do
            b.jar.session = stolen
            local late = atoll.spawn(b.get, "/late")
            app:request("GET", "/begun")
            app:request("GET", "/" .. how,
              { headers = { Cookie = "session=" .. stolen } })
            app:request("GET", "/go")
            assert.equal("ok", late:join().body)
            assert.same({}, b.lines)
            b.jar.session = stolen
            assert.equal("nil", b.get "/read".body)
            b.get "/count"
            stolen = b.jar.session
          end
        end)
      end

      it("has another name when it is rotated", function()
        b.get "/count"
        local before = b.jar.session
        b.get "/rotate"
        assert.not_equal(before, b.jar.session)
        assert.equal("1", b.get "/read".body)
        b.jar.session = before
        assert.equal(store == "shared" and "nil" or "1", b.get "/read".body)
      end)

      it("has flashes, which are shown once", function()
        b.get "/flash/saved"
        assert.equal("saved", b.get "/flash".body)
        assert.equal("nil", b.get "/flash".body)
        assert.is_nil(b.jar.session)
      end)

      it("that somebody has made up is none", function()
        b.get "/count"
        local good = b.jar.session
        for i = 1, #good, 7 do
          local other = good:sub(i, i) == "A" and "B" or "A"
          b.jar.session = good:sub(1, i - 1) .. other .. good:sub(i + 1)
          assert.equal("nil", b.get "/read".body)
          assert.is_nil(b.jar.session)
        end
        local bad_ones = { "x", "a.b", good .. "A", good:sub(2), ("A"):rep(5000) }
        for _, bad in ipairs(bad_ones) do
          b.jar.session = bad
          assert.equal("nil", b.get "/read".body)
        end
        b.jar.session = good
        assert.equal("1", b.get "/read".body)
      end)

      it("of another app's name is none", function()
        b.get "/count"
        local other = browser(load(with(here .. 'name = "other",')))
        other.jar.other = b.jar.session
        assert.equal("nil", other.get "/read".body)
      end)

      it("ends with max_age and idle, whatever the browser says", function()
        local other
        app = load(with(here .. "max_age = 100"))
        b, other = browser(app), browser(app)
        b.get "/count"
        assert.truthy(b.lines[1]:find "; Max%-Age=%d%d0?;")
        other.get "/later/90"
        assert.equal("1", b.get "/read".body)
        other.get "/later/20"
        assert.equal("nil", b.get "/read".body)
        app = load(with(here .. "idle = 100"))
        b, other = browser(app), browser(app)
        b.get "/count"
        for _ = 1, 3 do
          other.get "/later/60"
          assert.equal("1", b.get "/read".body)
          assert.truthy(b.lines[1]:find "; Max%-Age=%d%d0?;")
          assert.equal("1", b.get "/read".body)
          assert.same({}, b.lines)
        end
        local kept = b.jar.session
        other.get "/later/110"
        assert.equal("nil", b.get "/read".body)
        b.jar.session = kept
        assert.equal("nil", b.get "/read".body)
      end)
    end)
  end

  it("is opened with old secrets and closed with the newest", function()
    local b = browser(load(("{ secret = %q }"):format(OLD)))
    b.get "/count"
    local app = load(("{ secret = { %q, %q } }"):format(NEW, OLD))
    local c = browser(app)
    c.jar.session = b.jar.session
    assert.equal("2", c.get "/count".body)
    local d = browser(load(with()))
    d.jar.session = b.jar.session
    assert.equal("nil", d.get "/read".body)
    d.jar.session = c.jar.session
    assert.equal("2", d.get "/read".body)
  end)

  it("tells nothing of what it holds", function()
    local b = browser(load(with()))
    b.get "/fill?n=10"
    assert.is_nil(b.jar.session:find "xxx")
    local first = b.jar.session
    b.get "/clear"
    b.get "/fill?n=10"
    assert.not_equal(first, b.jar.session)
    assert.equal(#first, #b.jar.session)
  end)

  it("too large for a cookie is an error", function()
    local b = browser(load(with()))
    assert.equal(200, b.get "/fill?n=2900".status)
    assert.equal(500, b.get "/fill?n=3000".status)
    assert.equal(200, browser(load(with 'store = "shared"')).get "/fill?n=30000".status)
  end)

  it("is kept by a store of the app's own, which may wait", function()
    local app = tempapp.load([[
      local kept, log = {}, {}
      app:use(require "atoll.session" { store = {
        load = function(key)
          atoll.sleep(0)
          log[#log + 1] = "load " .. #key
          return kept[key]
        end,
        save = function(key, bytes, ttl)
          atoll.sleep(0)
          log[#log + 1] = "save " .. math.ceil(ttl / 86400)
          if bytes:find "full" then return nil, "the disk is full" end
          kept[key] = bytes
          return true
        end,
        delete = function(key)
          atoll.sleep(0)
          log[#log + 1] = "delete"
          kept[key] = nil
          return true
        end,
      } })
      app:get("/set/:v", function(req) req.session.v = req.params.v return "ok" end)
      app:get("/get", function(req) return tostring(req.session.v) end)
      app:get("/rotate", function(req) require "atoll.session".of(req):rotate() end)
      app:get("/log", function() return table.concat(log, "\n") end)
    ]])
    local b = browser(app)
    b.get "/set/1"
    assert.equal("1", b.get "/get".body)
    b.get "/rotate"
    assert.equal("1", b.get "/get".body)
    assert.equal(500, b.get "/set/full".status)
    assert.equal("1", b.get "/get".body)
    b.jar = {}
    assert.equal("save 14\nload 64\nload 64\nload 64\nsave 14\ndelete\nload 64\n"
      .. "load 64\nload 64\nsave 14\nload 64", b.get "/log".body)
  end)

  -- A request that was under way wrote back what another had destroyed meanwhile.
  it("stays gone in a store of the app's own, too", function()
    for _, replace in ipairs { "", [[replace = function(key, bytes)
        if not kept[key] then return false end
        kept[key] = bytes
        return true
      end]] } do
      local app = tempapp.load(([[
        local session = require "atoll.session"
        local kept = {}
        app:use(session { store = {
          load = function(key) return kept[key] end,
          save = function(key, bytes) kept[key] = bytes return true end,
          delete = function(key) kept[key] = nil return true end,
          %s
        } })
        local begun, gate = atoll.channel(1), atoll.channel(1)
        local function wait() begun:send(true) gate:receive() end
        app:get("/count", function(req)
          req.session.count = (req.session.count or 0) + 1
        end)
        app:get("/late", function(req) req.session.count = 400 wait() end)
        app:get("/late-rotate", function(req)
          session.of(req):rotate()
          req.session.count = 400
          wait()
        end)
        app:get("/late-new", function(req)
          session.of(req):destroy()
          req.session.count = 500
          wait()
        end)
        app:get("/destroy", function(req)
          begun:receive()
          session.of(req):destroy()
        end)
        app:get("/go", function() gate:send(true) end)
        app:get("/read", function(req)
          local n = 0
          for _ in pairs(kept) do n = n + 1 end
          return tostring(req.session.count) .. " " .. n
        end)
      ]]):format(replace))
      local b = browser(app)
      local function race(path)
        b.jar = {}
        b.get "/count"
        local stolen = b.jar.session
        local late = atoll.spawn(b.get, path)
        app:request("GET", "/destroy", { headers = { Cookie = "session=" .. stolen } })
        app:request("GET", "/go")
        assert.equal(204, late:join().status)
        return b.get "/read".body
      end
      assert.equal("nil 0", race "/late")
      assert.equal("nil 0", race "/late-rotate")
      assert.equal("500 1", race "/late-new")
    end
  end)

  -- Between the look whether it is still there and the end of the old one.
  it("stays gone when it is destroyed in the middle of a rotation", function()
    local b = browser(tempapp.load [[
      local session = require "atoll.session"
      local kept, other = {}
      app:use(session { store = {
        load = function(key) return kept[key] end,
        save = function(key, bytes)
          if other then kept = {} end -- by another isolate, say
          kept[key] = bytes
          return true
        end,
        delete = function(key)
          local was = kept[key] ~= nil
          kept[key] = nil
          return was
        end,
      } })
      app:get("/count", function(req) req.session.count = 1 end)
      app:get("/rotate", function(req) session.of(req):rotate() other = true end)
      app:get("/read", function(req)
        return tostring(req.session.count) .. " " .. tostring(next(kept))
      end)
    ]])
    b.get "/count"
    assert.equal(204, b.get "/rotate".status)
    assert.same({}, b.lines)
    assert.equal("nil nil", b.get "/read".body)
  end)

  it("is secure when it has to be", function()
    local options = 'name = "__Host-s", secure = true, same_site = "Strict"'
    local b = browser(load(with(options)))
    b.get "/count"
    assert.truthy(b.lines[1]:find "; Secure; HttpOnly; SameSite=Strict$")
  end)

  it("says at load what is wrong", function()
    local cases = {
      ["{}"] = "needs a secret, or a list .*openssl rand %-hex 32",
      ["{ secret = {} }"] = "needs a secret",
      ['{ secret = "short" }'] = "has 5 bytes and needs 32",
      ["{ secret = { 1 } }"] = "a secret is a number",
      [with "age = 1"] = "there is no option age",
      [with "max_age = 0"] = "max_age is a whole number",
      [with "max_age = 1.5"] = "max_age is a whole number",
      [with 'name = "a b"'] = "a cookie's name",
      [with 'name = "__Host-a"'] = "has to be secure",
      [with 'same_site = "None"'] = "only with secure",
      [with 'secure = "yes"'] = "secure is a boolean, not string",
      [with 'store = "disk"'] = "store is",
      [with "store = {}"] = "load is nil",
      [with "store = { load = print, save = print, delete = print, replace = 1 }"]
        = "replace is a function, not number",
    }
    for options, want in pairs(cases) do
      local problem = tempapp.problem("\napp:use(require \"atoll.session\" (" .. options
        .. "))")
      assert.truthy(problem:find("^app.lua:2: "), problem)
      assert.truthy(problem:find(want), problem)
    end
  end)

  it("is missed by name where no middleware has opened it", function()
    local app = tempapp.load [[
      app:get("/", function(req)
        return select(2, pcall(function() return req.session.x end))
      end)
    ]]
    assert.truthy(app:request("GET", "/").body:find "there is no session here")
  end)
end)

describe("a session on a host", function()
  after_each(function()
    wire.finish()
    host.finish()
  end)

  for _, store in ipairs { "cookie", "shared" } do
    it("is the same in all isolates and after a reload, in store " .. store, function()
      local h = host.start {
        isolates = 2,
        app = ([[app:use(require "atoll.session" { secret = %q, store = %q })
          app:get("/", function(req)
            req.session.n = (req.session.n or 0) + 1
            return req.session.n .. " " .. require "atoll.core.host".isolate()
          end)]]):format(NEW, store),
      }
      local jar, seen, i, reloaded = nil, {}, 0, false
      -- All connections stay, so that both isolates get some: one that stands still
      -- gets none meanwhile.
      local function ask()
        i = i + 1
        local c = wire.connect(h)
        local answer = c:ask("GET / HTTP/1.1\r\nHost: a\r\n"
          .. (jar and "Cookie: " .. jar .. "\r\n" or "") .. "\r\n")
        local n, isolate = answer.body:match "^(%d+) (%d+)$"
        assert.equal(tostring(i), n)
        seen[isolate] = true
        jar = (answer.fields["set-cookie"] or jar):match "^[^;]*"
        return i % 20 == 0 and seen["1"] and seen["2"]
      end
      for _ = 1, 2 do
        events.retry("both isolates", ask)
        seen = {}
        if not reloaded then assert.truthy(h:reload():find "serves") end
        reloaded = true
      end
    end)
  end
end)

describe("what is signed", function()
  local sign, verify = atoll.sign, atoll.verify

  it("is verified with any of the secrets, for its purpose", function()
    local signed = sign("7.x", OLD)
    assert.truthy(signed:find "^7%.x%.[%w_-]+$")
    assert.equal("7.x", verify(signed, OLD))
    assert.equal("7.x", verify(signed, { NEW, OLD }))
    assert.is_nil(verify(signed, NEW))
    assert.is_nil(verify(signed, OLD, "mail"))
    assert.equal("", verify(sign("", NEW, "mail"), NEW, "mail"))
    for i = 1, #signed do
      local other = signed:sub(i, i) == "A" and "B" or "A"
      assert.is_nil(verify(signed:sub(1, i - 1) .. other .. signed:sub(i + 1), OLD))
      assert.is_nil(verify(signed:sub(1, i), i < #signed and OLD or NEW))
    end
    assert.is_nil(verify(nil, OLD))
    assert.is_nil(verify("", OLD))
    assert.has_error(function() sign("x", "short") end)
    assert.has_error(function() sign(nil, OLD) end)
  end)
end)

describe("random bytes", function()
  it("come as they are, in hex, or fit for URLs", function()
    assert.equal(20, #atoll.random(20))
    assert.equal("", atoll.random(0))
    assert.equal(70000, #atoll.random(70000))
    assert.truthy(atoll.random(16, "hex"):find "^%x+$")
    assert.equal(32, #atoll.random(16, "hex"))
    assert.truthy(atoll.random(16, "base64url"):find "^[%w_-]+$")
    assert.not_equal(atoll.random(16), atoll.random(16))
    assert.has_error(function() atoll.random(-1) end)
    assert.has_error(function() atoll.random(8, "base65") end)
  end)
end)
