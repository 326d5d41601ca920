-- The process above what serves: it restarts it, passes signals on, and keeps the
-- sockets so that nobody is refused.
local command = require "support.command"
local events = require "support.events"
local host = require "support.host"
local load = require "support.load"
local wire = require "support.wire"

local HELLO = [[app:get("/", function() return "hello" end)]]

local function hello(response)
  if response.body ~= "hello" then return response.status .. " " .. response.body end
end

local function is_over(pid)
  local f = io.open("/proc/" .. pid .. "/stat")
  local state = f and f:read("a"):match "%) (%a)"
  if f then f:close() end
  return not state or state == "Z"
end

describe("supervisor", function()
  after_each(function()
    wire.finish()
    host.finish()
  end)

  it("says once that it serves, with the real address", function()
    local h = host.start { app = HELLO, isolates = 2 }
    assert.equal(2, h.isolates)
    assert.equal("http://127.0.0.1:" .. h.port, h.url)
    assert.not_equal(0, h.port)
    assert.equal("hello", wire.ask(h, "/").body)
    assert.equal(1, h:count "atoll: serving")
    assert.not_equal(h.pid, h:serving_pid())
  end)

  it("restarts a host that was killed under load, and refuses nobody", function()
    local h = host.start { app = HELLO, isolates = 2 }
    local run = load.start(h, { connections = 8, again = true,
      check = function(response, c)
        c.served = true
        return hello(response)
      end })
    -- None that waits in the queue of a socket: that one would outlive its host.
    local function all_served()
      events.wait("an answer to each", function()
        for _, c in ipairs(run.connections) do
          if not (c.served or c.eof) then return false end
        end
        return true
      end)
    end
    run:run(500)
    for _ = 1, 3 do
      all_served()
      local pid = h:serving_pid()
      os.execute("kill -KILL " .. pid)
      h:log_wait("host " .. pid .. " was killed by SIGKILL; restarting")
      h:log_wait "host restarted, pid %d+, 2 isolates"
      run:run(500)
    end
    run:stop()
    assert.equal(3 * 8, run.closed)
  end)

  it("serves again within 100 ms after the first kill", function()
    local function once()
      local began = events.now()
      local h = host.start { app = HELLO, isolates = 2 }
      local usual = events.now() - began -- what a start takes on this machine
      began = events.now()
      os.execute("kill -KILL " .. h:serving_pid())
      -- Not refused: it waits in the queue of the socket that stays open.
      events.retry("an answer", function()
        local c = wire.connect(h):send "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
        events.wait("anything", function() return c.size > 0 or c.eof end)
        return c.size > 0
      end)
      local seconds = events.now() - began
      h:log_wait "host restarted" -- it answers before it has said that it is ready
      h:stop()
      return seconds < 0.1 or seconds < 2 * usual
    end
    for _ = 1, 10 do if once() then return end end
    error "it never does"
  end)

  it("starts the host again with the newest code", function()
    local h = host.start { app = HELLO }
    h:write_app [[app:get("/", function() return "newer" end)]]
    os.execute("kill -KILL " .. h:serving_pid())
    h:log_wait "host restarted"
    assert.equal("newer", wire.ask(h, "/").body)
  end)

  it("waits for broken code to be mended", function()
    local h = host.start { app = HELLO }
    h:write_app "error 'broken'"
    os.execute("kill -KILL " .. h:serving_pid())
    h:log_wait "app.lua:1: broken"
    h:log_wait "exited with 78; restarting in"
    local c = wire.connect(h):send "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
    h:write_app(HELLO)
    h:hup()
    h:log_wait "host restarted"
    assert.equal("hello", c:receive().body)
  end)

  it("takes along a host that cannot be stopped", function()
    local h = host.start { app = [[app:get("/", function() while true do end end)]],
      set = { drain_timeout = 0.1 } }
    local pid = h:serving_pid()
    wire.connect(h):send "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
    h:log_wait "has run for"
    h:signal "sigkill"
    h:ended() -- and its host: nobody else has its stderr
    events.poll("the end of the host", function() return is_over(pid) end)
  end)

  it("takes the host along when it is killed itself", function()
    local h = host.start { app = HELLO }
    local pid = h:serving_pid()
    h:signal "sigkill"
    local _, signal = h:ended()
    assert.equal(9, signal)
    events.poll("the end of the host", function() return is_over(pid) end)
  end)

  it("adds and removes isolates without a failure", function()
    local h = host.start { app = HELLO, isolates = 1 }
    local run = load.start(h, { connections = 16, check = hello })
    run:run(200)
    for n = 2, 4 do
      h:signal "sigttin"
      h:log_wait(n .. " isolates")
      run:run(200)
    end
    for n = 3, 1, -1 do
      h:signal "sigttou"
      h:log_wait(n .. " isolates")
      run:run(200)
    end
    h:signal "sigttou"
    h:log_wait "the last isolate stays"
    run:run(200)
    run:stop()
    assert.equal(0, run.closed)
  end)

  it("moves idle connections when an isolate leaves", function()
    local h = host.start { app = HELLO, isolates = 3 }
    local list = {}
    for i = 1, 60 do
      list[i] = wire.connect(h)
      assert.equal("hello", list[i]:ask("/").body)
    end
    for n = 2, 1, -1 do
      h:signal "sigttou"
      h:log_wait(n .. " isolates")
    end
    for _, c in ipairs(list) do assert.equal("hello", c:ask("/").body) end
  end)

  it("lets a leaving isolate finish, and stops nonetheless", function()
    local h = host.start { isolates = 2, app = HELLO .. [[
      local begun = atoll.shared "begun"
      app:get("/slow", function()
        begun:incr("n", 1, 0)
        atoll.sleep(0.3)
        return "slow"
      end)
      app:get("/begun", function() return tostring(begun:get "n") end)]] }
    local list = {}
    for i = 1, 20 do
      list[i] = wire.connect(h):send "GET /slow HTTP/1.1\r\nHost: a\r\n\r\n"
    end
    events.retry("all to begin", function()
      return wire.ask(h, "/begun").body == "20"
    end)
    h:signal "sigttou"
    h:log_wait "1 isolates"
    h:term()
    for _, c in ipairs(list) do assert.equal("slow", c:receive().body) end
    h:ended_well()
  end)

  it("ends at once with a second INT", function()
    local h = host.start { set = { drain_timeout = 60 }, app = [[
      app:get("/", function()
        atoll.log.info "begun"
        atoll.sleep(60)
        return "late"
      end)]] }
    local c = wire.connect(h):send "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
    h:log_wait "begun"
    h:signal "sigint"
    h:log_wait "SIGINT: stopping"
    local began = events.now()
    h:signal "sigint"
    local code, signal = h:ended()
    assert.is_true(code ~= 0 or signal == 2)
    assert.is_true(events.now() - began < 30)
    assert.equal("", (c:wait_end()))
  end)

  it("opens the logs again", function()
    local dir = host.directory()
    local h = host.start { app = HELLO, set = {
      log = dir .. "/log", access_log = dir .. "/access",
    } }
    local function read(name)
      local f = io.open(dir .. "/" .. name)
      local text = f and f:read "a" or ""
      if f then f:close() end
      return text
    end
    wire.ask(h, "/?before")
    events.poll("a line", function() return read("access"):find("before", 1, true) end)
    assert(os.rename(dir .. "/access", dir .. "/access.1"))
    assert(os.rename(dir .. "/log", dir .. "/log.1"))
    h:signal "sigusr1"
    events.retry("a line in the new file", function()
      wire.ask(h, "/?after")
      return read("access"):find("after", 1, true)
    end)
    h:hup()
    events.poll("a message in the new file", function()
      return read("log"):find("reload: generation 2", 1, true)
    end)
    assert.is_nil(read("access"):find("before", 1, true))
    assert.truthy(read("access.1"):find("before", 1, true))
    h:term()
    assert.equal(0, (h:ended()))
    assert.truthy(read("log"):find("stopped: %d+ requests served, 0 connections"))
  end)

  it("names an address in use", function()
    local h = host.start { app = HELLO }
    command.begin()
    command.refuses(69, "cannot listen on 127.0.0.1:" .. h.port,
      "serve DIR -l 127.0.0.1:" .. h.port)
    command.finish()
  end)
end)
