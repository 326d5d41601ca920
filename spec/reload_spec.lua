-- New code under open connections: who is answered by which code, and what happens when
-- the new code is no good.
local events = require "support.events"
local host = require "support.host"
local uv = require "luv"
local wire = require "support.wire"

describe("reload", function()
  after_each(function()
    wire.finish()
    host.finish()
  end)

  local function version(n)
    return ([[app:get("/", function() return "v%s" end)]]):format(n)
  end

  -- Waits for a reload that fails with this text; the old code goes on.
  local function fails(h, text)
    h:hup()
    local message = h:log_wait "reload failed[^\n]*the running code goes on: ([^\n]*)"
    assert.truthy(message:find(text), message)
  end

  local function succeeds(h)
    h:hup()
    return tonumber((h:log_wait "reload: generation (%d+) serves after [%d.]+ ms"))
  end

  it("answers the next request on an open connection with the new code", function()
    local h = host.start { app = version(1), isolates = 2 }
    local list = {}
    for i = 1, 20 do
      list[i] = wire.connect(h)
      assert.equal("v1", list[i]:ask("/").body)
    end
    for n = 2, 5 do
      h:write_app(version(n))
      assert.equal(n, succeeds(h))
      for _, c in ipairs(list) do assert.equal("v" .. n, c:ask("/").body) end
    end
  end)


  it("takes new modules and new files", function()
    local h = host.start { files = {
      ["app.lua"] = host.app [[app:get("/", function() return (require "m") end)]],
      ["lib/m.lua"] = [[return "one"]],
      ["routes/old.lua"] = [[return function() return "old" end]],
    } }
    local c = wire.connect(h)
    assert.equal("one", c:ask("/").body)
    assert.equal("old", c:ask("/old").body)
    h:write("lib/m.lua", [[return "two"]])
    assert(os.rename(h.dir .. "/routes/old.lua", h.dir .. "/routes/new.lua"))
    assert.equal("one", c:ask("/").body)
    succeeds(h)
    assert.equal("two", c:ask("/").body)
    assert.equal("old", c:ask("/new").body)
    assert.equal(404, c:ask("/old").status)
  end)

  it("lets requests in flight end with the code that began them", function()
    local gate = host.directory() .. "/gate"
    local body = [[
      local began = false
      app:get("/", function() return "v%d" end)
      app:get("/hold", function()
        began = true
        while not atoll.fs.exists(%q) do atoll.sleep(0.002) end
        return "held v%d"
      end)
      app:get("/began", function() return tostring(began) end)]]
    local h = host.start { app = body:format(1, gate, 1), set = { drain_timeout = 60 } }
    local c, other = wire.connect(h), wire.connect(h)
    c:send "GET /hold HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"
    events.retry("its beginning", function()
      return other:ask("/began").body == "true"
    end)
    h:write_app(body:format(2, gate, 2))
    succeeds(h)
    assert.equal("v2", other:ask("/").body)
    assert.equal(0, c.size)
    assert(io.open(gate, "w")):close()
    assert.equal("held v1", c:receive().body)
    -- What was pipelined behind it begins after the reload.
    assert.equal("v2", c:receive().body)
    h:log_wait "generation 1 closed after [%d.]+ s, %d+ KiB freed"
  end)

  it("keeps the running code when the new one does not load", function()
    local h = host.start { app = version(1), isolates = 2 }
    local c = wire.connect(h)
    h:write_app "\napp:get('/', function( return end)"
    fails(h, "app.lua:2: ")
    assert.equal("v1", c:ask("/").body)
    h:write_app "\n\nerror 'while loading'"
    fails(h, "app.lua:3: while loading")
    assert.equal("v1", c:ask("/").body)
    h:write_app "\napp:get('no slash', function() end)"
    fails(h, "app.lua:2: ")
    h:write_app "require 'not_there'"
    fails(h, "app.lua:1: module 'not_there' not found")
    h:write_app "\napp:on('start', function() error 'not today' end)"
    fails(h, "app.lua:2: not today")
    assert.equal("v1", c:ask("/").body)
    h:write("app.lua", "return 5\n")
    fails(h, "app.lua")
    assert(os.remove(h.dir .. "/app.lua"))
    fails(h, "no app.lua")
    assert.equal("v1", c:ask("/").body)
    h:write_app(version(2))
    succeeds(h)
    assert.equal("v2", c:ask("/").body)
  end)

  it("keeps the running code when the settings are wrong", function()
    local h = host.start { files = {
      ["app.lua"] = host.app(version(1)), ["atoll.lua"] = "return {}\n",
    } }
    local c = wire.connect(h)
    h:write_app(version(2))
    h:write("atoll.lua", "return { bodymax = 1 }\n")
    fails(h, "body_max")
    assert.equal("v1", c:ask("/").body)
    h:write("atoll.lua", "return { body_max = '1K' }\n")
    succeeds(h)
    assert.equal("v2", c:ask("/").body)
    local answer = c:ask "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1025\r\n\r\n"
    assert.equal(413, answer.status)
  end)

  it("waits for on('start') of all isolates before it switches any", function()
    local h = host.start { app = version(1), isolates = 2 }
    local a = wire.connect(h)
    h:write_app('app:on("start", function() atoll.sleep(0.2) end) ' .. version(2))
    local began = events.now()
    h:hup()
    local last = "v1"
    while last == "v1" do last = a:ask("/").body end
    assert.equal("v2", last)
    assert.is_true(events.now() - began >= 0.2)
    h:log_wait "reload: generation 2"
  end)

  it("leaves out nobody who has stood still with the whole process", function()
    local call = [[
      app:get("/call", function() os.execute "sleep 0.5" return "called" end)]]
    local h = host.start { isolates = 2, app = version(1) .. call }
    local c = wire.connect(h)
    c:send "GET /call HTTP/1.1\r\nHost: a\r\n\r\n"
    wire.connect(h):ask "/"
    h:write_app(version(2) .. call)
    h:hup()
    uv.sleep(300) -- one of the two has come to it by then
    local pid = h:serving_pid()
    uv.kill(pid, "sigstop")
    uv.sleep(3200)
    uv.kill(pid, "sigcont")
    h:log_wait "generation 2 serves"
    assert.equal("called", c:receive().body)
    assert.equal("v2", c:ask("/").body)
  end)

  -- What is made after a failed reload is of the generation that serves: with another
  -- number the next reload would be served before it was ready.
  it("waits as well when an isolate was added after a reload that failed", function()
    local h = host.start { app = version(1), isolates = 1 }
    local c = wire.connect(h)
    h:write_app "error 'broken'"
    fails(h, "broken")
    h:write_app(version(1))
    h:signal "sigttin"
    h:log_wait "2 isolates after"
    assert.equal("v1", c:ask("/").body)
    h:write_app('app:on("start", function() atoll.sleep(0.2) error "not today" end) '
      .. version(2))
    h:hup()
    local until_then = events.now() + 0.15
    while events.now() < until_then do assert.equal("v1", c:ask("/").body) end
    h:log_wait "reload failed"
    for _ = 1, 20 do assert.equal("v1", wire.ask(h, "/").body) end
    assert.equal("v1", c:ask("/").body)
    h:write_app(version(3))
    assert.equal(4, succeeds(h))
    assert.equal("v3", c:ask("/").body)
  end)

  -- Three that came before it was ready made one isolate.
  it("counts what is to be added while it starts", function()
    local gate = host.directory() .. "/gate"
    local h = host.spawn { isolates = 1, app = ([[
      app:on("start", function()
        warn "@on" warn "starting"
        while not atoll.fs.exists(%q) do atoll.sleep(0.01) end
      end)]]):format(gate) .. version(1) }
    h:log_wait "starting"
    for _ = 1, 3 do
      h:signal "sigttin"
      events.poll("the supervisor to take it", function()
        local f <close> = io.open(("/proc/%d/status"):format(h.pid))
        local pending = tonumber(f:read "a":match "ShdPnd:%s*(%x+)", 16)
        return pending & 1 << (21 - 1) == 0 -- SIGTTIN
      end)
    end
    assert(io.open(gate, "w")):close()
    h:log_wait "4 isolates after"
  end)

  it("goes on after an isolate that could not be added", function()
    local h = host.start { app = version(1), isolates = 1 }
    h:write_app [[app:on("start", function()
      warn "@on" warn "starting" atoll.sleep(0.1) error "not today"
    end)]]
    h:signal "sigttin"
    h:log_wait "starting"
    h:hup()
    h:log_wait "one isolate more failed: [^\n]*not today"
    h:log_wait "reload failed[^\n]*not today"
    h:write_app(version(2))
    assert.equal(3, succeeds(h))
    assert.equal("v2", wire.ask(h, "/").body)
    h:signal "sigttou"
    h:log_wait "the last isolate stays"
  end)

  -- The app under test took the place of the one that was starting: the host ended.
  it("lets on('start') test an app", function()
    local h = host.start { app = version(1) }
    h:write_app([[app:on("start", function()
      local app = require "atoll.testing".load(os.getenv "PWD" .. "/apps/hello")
      app:request("GET", "/") app:close()
    end)]] .. version(2))
    assert.equal(2, succeeds(h))
    assert.equal("v2", wire.ask(h, "/").body)
  end)

  it("hands state over", function()
    local body = [[
      local count, from = 0, "nobody"
      app:on("start", function(state)
        atoll.sleep(0.001)
        if state then count, from = state.count, state.from end
      end)
      app:on("reload", function()
        atoll.sleep(0.001)
        return { count = count, from = "%s" }
      end)
      app:get("/", function()
        count = count + 1
        return from .. " " .. count
      end)]]
    local h = host.start { app = body:format "one" }
    local c = wire.connect(h)
    assert.equal("nobody 1", c:ask("/").body)
    assert.equal("nobody 2", c:ask("/").body)
    h:write_app(body:format "two")
    succeeds(h)
    assert.equal("one 3", c:ask("/").body)
    succeeds(h)
    assert.equal("two 4", c:ask("/").body)
  end)

  it("keeps the running code when on('reload') fails or hands over a function",
    function()
    local h = host.start { app = version(1)
      .. '\napp:on("reload", function() error "mine" end)' }
    local c = wire.connect(h)
    fails(h, "app.lua:2: mine")
    assert.equal("v1", c:ask("/").body)
    h:stop()
    h = host.start { app = version(1)
      .. '\napp:on("reload", function() return print end)' }
    fails(h, "function")
    assert.equal("v1", wire.ask(h, "/").body)
  end)

  it("is not lost while another is under way", function()
    local slow = 'app:on("start", function() atoll.sleep(0.1) end) '
    local h = host.start { app = slow .. version(1) }
    local c = wire.connect(h)
    for n = 2, 6 do
      h:write_app(slow .. version(n))
      h:hup()
    end
    -- The last edit wins, however many reloads that made.
    events.retry("v6", function() return c:ask("/").body == "v6" end)
    assert.is_true(h:count "reload: generation" <= 5)
  end)

  it("runs on('stop') of the code that served, once", function()
    local body = 'app:on("stop", function() atoll.log.info("stop of v%d") end) '
    local h = host.start { app = body:format(1) .. version(1) }
    h:write_app(body:format(2) .. version(2))
    succeeds(h)
    h:stop()
    assert.equal(0, h:count "stop of v1")
    assert.equal(1, h:count "stop of v2")
  end)

  it("closes an old state after drain_timeout, whatever still runs in it", function()
    local h = host.start { set = { drain_timeout = 0.2 }, app = version(1)
      .. 'app:get("/hold", function() atoll.sleep(60) return "never" end)' }
    local c = wire.connect(h):send "GET /hold HTTP/1.1\r\nHost: a\r\n\r\n"
    wire.ask(h, "/")
    succeeds(h)
    h:log_wait "generation 1 had 1 fibers? left"
    h:log_wait "generation 1 closed"
    assert.equal(503, c:receive().status)
    assert.equal("v1", wire.ask(h, "/").body)
  end)

  it("follows a symlink that was switched", function()
    local one = host.directory { ["app.lua"] = host.app(version(1)) }
    local two = host.directory { ["app.lua"] = host.app(version(2)) }
    local link = host.directory() .. "/current"
    assert(os.execute(("ln -s %s %s"):format(one, link)))
    local h = host.start { dir = link }
    local c = wire.connect(h)
    assert.equal("v1", c:ask("/").body)
    assert(os.execute(("ln -sfn %s %s"):format(two, link)))
    succeeds(h)
    assert.equal("v2", c:ask("/").body)
  end)
end)
