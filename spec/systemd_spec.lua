-- What systemd hears, and the sockets it hands over.
local events = require "support.events"
local host = require "support.host"
local net = require "atoll.net"
local uv = require "luv"
local wire = require "support.wire"

local HELLO = [[app:get("/", function() return "hello" end)]]

describe("systemd", function()
  local notified

  before_each(function()
    notified = host.directory() .. "/notify"
    notified = { path = notified, socket = assert(net.udp("unix:" .. notified)) }
  end)

  after_each(function()
    wire.finish()
    host.finish()
    notified.socket:close()
  end)

  -- The next message that has the pattern, other ones passed over.
  local function told(pattern, seconds)
    for _ = 1, 100 do
      local text = notified.socket:receive(seconds or 60)
      assert(text, "systemd was not told " .. pattern)
      if text:find(pattern) then return text end
    end
  end

  -- Waits until none has come for so long.
  local function silent(pattern, seconds)
    local till = events.now() + 60
    local deadline = 0
    repeat
      local text = notified.socket:receive(math.max(deadline - events.now(), 0.001))
      assert(events.now() < till, text)
      if deadline == 0 and not text or text and text:find(pattern) then
        deadline = events.now() + seconds
      end
    until not text and events.now() >= deadline
  end

  local function start(options)
    options.env = options.env or {}
    options.env.NOTIFY_SOCKET = notified.path
    return host.start(options)
  end

  it("hears that the service is ready, reloads and stops", function()
    local h = start { app = HELLO, isolates = 2 }
    local ready = told "^READY=1\n"
    assert.truthy(ready:find("MAINPID=" .. h.pid, 1, true))
    assert.truthy(ready:find("STATUS=2 isolates", 1, true))
    h:hup()
    assert.truthy(told("^RELOADING=1"):find "MONOTONIC_USEC=%d+")
    told "^READY=1"
    assert.equal("hello", wire.ask(h, "/").body)
    h:term()
    told "^STOPPING=1"
    h:ended_well()
  end)

  it("hears that a reload is over when it has failed", function()
    local h = start { app = HELLO, set = { processes = 2 } }
    told "^READY=1"
    h:write_app "error 'broken'"
    h:hup()
    told "^RELOADING=1"
    assert.truthy(told("^READY=1"):find("last reload failed", 1, true))
  end)

  it("hears of an upgrade that its main process is the same", function()
    local h = start { app = HELLO }
    told "^READY=1"
    h:signal "sigusr2"
    assert.truthy(told("^READY=1"):find("MAINPID=" .. h.pid, 1, true))
    h:log_wait "upgraded"
  end)

  it("is given signs of life as long as the isolates turn", function()
    local h = start { isolates = 2, env = { WATCHDOG_USEC = "4000000" },
      app = HELLO .. [[
        app:get("/stuck", function()
          return ("a"):rep(60):find(("a-"):rep(40) .. "b")
        end)]] }
    for _ = 1, 3 do told "^WATCHDOG=1" end
    -- A C function that does not return, on one of the isolates.
    wire.connect(h):send "GET /stuck HTTP/1.1\r\nHost: a\r\n\r\n"
    h:log_wait "host %d+ stands still"
    silent("^WATCHDOG=1", 2.8)
    uv.kill(h:serving_pid(), "sigkill")
    told "^WATCHDOG=1"
    h:log_wait "host restarted"
  end)

  it("does not hear what the app says", function()
    local h = start { app = [[
      app:get("/", function() return tostring(os.getenv "NOTIFY_SOCKET") end)]] }
    assert.equal("nil", wire.ask(h, "/").body)
  end)
end)

describe("a socket that is passed", function()
  after_each(function()
    wire.finish()
    host.finish()
  end)

  local function listening()
    local s = uv.new_tcp()
    assert(s:bind("127.0.0.1", 0))
    assert(s:listen(16, function() end))
    return s, s:getsockname().port
  end

  local PASSED = "LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=http; "
    .. "export LISTEN_PID LISTEN_FDS LISTEN_FDNAMES"

  it("is used in place of the addresses to listen on", function()
    local socket, port = listening()
    local h = host.start { app = HELLO, shell = PASSED, passed = { socket } }
    socket:close()
    assert.same({ "http://127.0.0.1:" .. port }, h.urls)
    assert.equal("hello", wire.ask(h, "/").body)
    h:signal "sigusr2"
    h:log_wait "upgraded from"
    assert.equal("hello", wire.ask(h, "/").body)
  end)

  it("is not used when it was meant for somebody else", function()
    local socket, port = listening()
    local h = host.start { app = HELLO, passed = { socket },
      env = { LISTEN_PID = "1", LISTEN_FDS = "1" } }
    socket:close()
    assert.not_equal(port, h.port)
  end)

  it("is refused unless it is a listening stream socket", function()
    local udp, tcp = uv.new_udp(), uv.new_tcp()
    assert(udp:bind("127.0.0.1", 0))
    assert(tcp:bind("127.0.0.1", 0))
    local function refused(text, handle)
      local h = host.spawn { app = HELLO, shell = PASSED, passed = { handle } }
      assert.equal(78, (h:ended()))
      text = "LISTEN_FDS: descriptor 3 (http) " .. text
      assert.truthy(h.log:find(text, 1, true), h.log)
    end
    refused("is no stream socket", udp:fileno())
    refused("does not listen", tcp:fileno())
    refused("is no socket", 0)
    local h = host.spawn { app = HELLO, shell = PASSED .. "; exec 3<&-" }
    assert.equal(78, (h:ended()))
    assert.truthy(h.log:find("descriptor 3 (http) is not open", 1, true), h.log)
    h = host.spawn { app = HELLO, shell = PASSED .. "; LISTEN_FDS=many" }
    assert.equal(78, (h:ended()))
    assert.truthy(h.log:find("LISTEN_FDS is 'many'", 1, true), h.log)
    udp:close()
    tcp:close()
  end)
end)
