-- The program file replaced while it serves: nobody notices, and a file that does not
-- work costs nothing.
local events = require "support.events"
local file = require "support.file"
local host = require "support.host"
local load = require "support.load"
local uv = require "luv"
local wire = require "support.wire"

local HELLO = [[app:get("/", function() return "hello" end)]]
local PROGRAM = assert(os.getenv "ATOLL")

local function hello(response)
  if response.body ~= "hello" then return response.status .. " " .. response.body end
end

local function run(command) assert(os.execute(command)) end

-- A host whose program file is a link that the spec may switch.
local function start(options)
  local bin = host.directory()
  run("ln -s " .. PROGRAM .. " " .. bin .. "/atoll")
  options.program = bin .. "/atoll"
  local h = host.start(options)
  h.bin = bin
  return h
end

-- Puts a shell script, or what the link is to point at, in the program's place.
local function replace(h, text)
  local new = h.bin .. "/new"
  if text:sub(1, 1) == "/" then
    run("ln -s " .. text .. " " .. new)
  else
    file.write(new, "#!/bin/sh\n", text, "\n")
    run("chmod +x " .. new)
  end
  assert(os.rename(new, h.bin .. "/atoll"))
end

-- A program in its place that waits for a line before it does what the text says, the
-- first time; the function lets it go on.
local function replace_held(h, text)
  local gate = h.bin .. "/gate"
  run("mkfifo " .. gate)
  replace(h, ("[ ! -p '%s' ] || read line <'%s' && rm -f '%s'\n%s")
    :format(gate, gate, gate, text))
  return function() file.write(gate, "\n") end
end

local function usr2(h) h:signal "sigusr2" end

local function upgrade(h)
  local old = h:serving_pid()
  usr2(h)
  h:log_wait "upgraded from atoll [%d.]+ to [%d.]+"
  return old
end

local function is_over(pid) return uv.kill(pid, 0) == nil end

local function goes_on(h, pid)
  assert.equal(pid, h:serving_pid())
  assert.equal("hello", wire.ask(h, "/").body)
end

describe("an upgrade", function()
  after_each(function()
    wire.finish()
    host.finish()
  end)

  it("keeps the process id, and refuses and fails nobody under load", function()
    local h = start { app = HELLO, isolates = 2, set = { drain_timeout = 60 } }
    local busy = load.start(h, { connections = 16, check = hello, follows = true })
    local patient = load.start(h, { connections = 4, check = hello, follows = true,
      make = function() return "GET / HTTP/1.0\r\nHost: a\r\n\r\n" end })
    busy:run(300)
    for _ = 1, 3 do
      local old = upgrade(h)
      events.poll("the end of the old host", function() return is_over(old) end)
      assert.is_nil(h.code)
      busy:run(300)
      patient:run(50)
    end
    busy:stop()
    patient:stop()
    assert.is_true(busy.told >= 16) -- each connection that was closed had been told
    assert.equal(1, h:count "atoll: serving")
  end)

  it("runs what the program's path leads to by then, and the newest code", function()
    local h = start { app = HELLO }
    replace(h, ('exec %s "$@" --log-level debug'):format(PROGRAM))
    h:write_app [[app:get("/", function() return "newer" end)]]
    local old = upgrade(h)
    events.poll("the end of the old host", function() return is_over(old) end)
    assert.equal("newer", wire.ask(h, "/").body)
  end)

  it("lets requests in flight finish with the old host", function()
    local h = start { set = { drain_timeout = 60 }, app = HELLO .. [[
      app:post("/slow", function(req) return req:text() end)]] }
    local c = wire.connect(h)
    c:send("POST /slow HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n"
      .. "Expect: 100-continue\r\n\r\n")
    c:read_until "\r\n\r\n" -- the handler waits for the body
    local idle = wire.connect(h)
    idle:ask "/"
    local old = upgrade(h)
    idle:wait_end() -- the old host lets go of all that is idle
    assert.equal(old, h:serving_pids()[1])
    assert.equal(2, #h:serving_pids())
    assert.equal("hello", wire.ask(h, "/").body)
    c:send "slow"
    local answer = c:receive()
    assert.equal("slow", answer.body)
    assert.equal("close", answer.fields.connection)
  end)

  it("keeps unix sockets, the pid file and its lock", function()
    local dir = host.directory()
    local h = start { app = HELLO, listen = { "unix:" .. dir .. "/socket" },
      set = { pid_file = dir .. "/pid" } }
    for _ = 1, 2 do
      local old = upgrade(h)
      events.poll("the end of the old host", function() return is_over(old) end)
      local f = assert(io.open(dir .. "/pid"))
      assert.equal(h.pid, f:read "n")
      f:close()
      assert.equal("hello", wire.ask({ path = dir .. "/socket" }, "/").body)
    end
    local second = host.spawn { app = HELLO, set = { pid_file = dir .. "/pid" } }
    assert.equal(69, (second:ended()))
    h:stop()
    assert.is_nil(uv.fs_stat(dir .. "/socket"))
    assert.is_nil(uv.fs_stat(dir .. "/pid"))
  end)

  local function fails(h, pattern)
    local pid = h:serving_pid()
    usr2(h)
    h:log_wait("upgrade failed, what runs goes on: " .. pattern)
    goes_on(h, pid)
    assert.equal(1, h:count "upgrade failed")
    replace(h, PROGRAM)
    events.retry("an upgrade", function()
      usr2(h)
      local d, more = h:log_wait "upgrade(d?) f([^\n]*)\n"
      -- It may be too slow for upgrade_timeout, too.
      assert(d == "d" or more:find "did not serve within", more)
      return d == "d"
    end)
    assert.equal("hello", wire.ask(h, "/").body)
  end

  it("does not happen when the new file is no program", function()
    local h = start { app = HELLO }
    replace(h, "/dev/null")
    fails(h, "the new host exited with 69\n%s+cannot start [^\n]*: Permission denied")
  end)

  it("does not happen when the new program exits", function()
    local h = start { app = HELLO }
    replace(h, "exit 3")
    fails(h, "the new host exited with 3")
  end)

  it("does not happen when the new program hangs", function()
    -- In which a good one, the next, does.
    local seconds = host.SLOW and 8 or 3
    local h = start { app = HELLO, set = { upgrade_timeout = seconds } }
    replace_held(h, "exit 1")
    fails(h, "the new host did not serve within " .. seconds .. " s")
  end)

  it("does not happen when the new program crashes", function()
    local h = start { app = HELLO }
    replace(h, "kill -SEGV $$")
    fails(h, "the new host was killed by SIGSEGV")
  end)

  it("does not happen when the settings are wrong", function()
    local h = start { files = {
      ["app.lua"] = host.app(HELLO), ["atoll.lua"] = "return {}" } }
    local pid = h:serving_pid()
    h:write("atoll.lua", "return { isolates = 'many' }")
    usr2(h)
    h:log_wait "upgrade failed, what runs goes on: the new host exited with 78"
    h:log_wait "atoll.lua:1: isolates must be a whole number"
    goes_on(h, pid)
  end)

  it("does not happen when the app does not load", function()
    local h = start { app = HELLO, set = { processes = 2 } }
    local pid = h:serving_pid()
    h:write_app "error 'broken'"
    usr2(h)
    h:log_wait "app.lua:1: broken"
    goes_on(h, pid)
    h:write_app(HELLO)
    events.poll("failure", function() return h:count "upgrade failed" == 1 end)
    upgrade(h)
  end)

  it("is one at a time, and may be followed by others", function()
    local h = start { app = HELLO }
    local let_go = replace_held(h, ('exec %s "$@"'):format(PROGRAM))
    usr2(h)
    h:log_wait "trying"
    usr2(h)
    h:log_wait "an upgrade is under way already"
    let_go()
    h:log_wait "upgraded from"
    upgrade(h)
    assert.equal("hello", wire.ask(h, "/").body)
  end)

  it("does not mind a reload at the same time", function()
    local h = start { app = HELLO }
    h:hup()
    usr2(h)
    h:log_wait "trying"
    h:hup()
    h:log_wait "upgraded from"
    h:hup()
    h:log_wait "reload: generation %d+ serves"
    assert.equal("hello", wire.ask(h, "/").body)
  end)

  it("is ended by whatever ends one of the two", function()
    local h = start { app = HELLO }
    local let_go = replace_held(h, ('exec %s "$@"'):format(PROGRAM))
    usr2(h)
    h:log_wait "trying"
    h:term()
    let_go()
    h:ended_well()
    h = start { app = HELLO }
    local pid = h:serving_pid()
    replace_held(h, "exit 1")
    usr2(h)
    h:log_wait "trying"
    local tried = events.poll("the new host", function() return h:serving_pids()[2] end)
    uv.kill(tried, "sigkill")
    h:log_wait "upgrade failed, what runs goes on: the new host was killed by SIGKILL"
    goes_on(h, pid)
    h = start { app = HELLO }
    usr2(h)
    h:term()
    h:ended_well()
  end)

  it("restarts a new host that dies as it would an old one", function()
    local h = start { app = HELLO, isolates = 2 }
    upgrade(h)
    events.poll("one host", function() return #h:serving_pids() == 1 end)
    os.execute("kill -KILL " .. h:serving_pid())
    h:log_wait "was killed by SIGKILL; restarting"
    h:log_wait "host restarted, pid %d+, 2 isolates"
    assert.equal("hello", wire.ask(h, "/").body)
  end)

  it("keeps the isolates that were added, as a restart does", function()
    local h = start { app = HELLO, isolates = 1 }
    h:signal "sigttin"
    h:log_wait "2 isolates after"
    upgrade(h)
    events.poll("one host", function() return #h:serving_pids() == 1 end)
    os.execute("kill -KILL " .. h:serving_pid())
    h:log_wait "host restarted, pid %d+, 2 isolates"
    upgrade(h)
    h:signal "sigttou"
    h:log_wait "info  1 isolates"
    events.poll("one host", function() return #h:serving_pids() == 1 end)
    os.execute("kill -KILL " .. h:serving_pid())
    h:log_wait "host restarted, pid %d+, 1 isolates"
    assert.equal("hello", wire.ask(h, "/").body)
  end)

  it("leaves no descriptor behind", function()
    local h = start { app = HELLO }
    local function upgrades()
      for _ = 1, 2 do
        local old = upgrade(h)
        events.poll("the end of the old host", function() return is_over(old) end)
      end
    end
    upgrades()
    local above, serving = h:held(h.pid), h:held()
    upgrades()
    events.poll(function()
      return ("%d and %d; there are %d and %d"):format(above, serving,
        h:descriptors(h.pid), h:descriptors())
    end, function()
      return h:descriptors(h.pid) <= above and h:descriptors() <= serving
    end)
  end)
end)
