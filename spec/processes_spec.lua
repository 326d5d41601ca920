-- Several processes that serve side by side.
local events = require "support.events"
local host = require "support.host"
local load = require "support.load"
local uv = require "luv"
local wire = require "support.wire"

local HELLO = [[app:get("/", function() return "hello" end)]]

local function hello(response)
  if response.body ~= "hello" then return response.status .. " " .. response.body end
end

describe("processes", function()
  after_each(function()
    wire.finish()
    host.finish()
  end)

  it("are announced together, when all of them serve", function()
    local h = host.start { app = HELLO, isolates = 2, set = { processes = 3 } }
    assert.truthy(h.log:find("(6 isolates in 3 processes, pid " .. h.pid, 1, true))
    assert.equal(3, #h:serving_pids())
    assert.equal(1, h:count "atoll: serving")
  end)

  it("share the CPUs out among them", function()
    -- More of them than CPUs, each of which has one all the same.
    local n = #uv.cpu_info() + 1
    local h = host.start { app = HELLO, isolates = "auto", set = { processes = n } }
    assert.equal(n, h.isolates)
  end)

  it("lose one of them at a time", function()
    local h = host.start { app = HELLO, set = { processes = 2 } }
    local run = load.start(h, { connections = 16, check = hello, again = true })
    run:run(200)
    for i = 1, 4 do
      local victim = h:serving_pids()[1]
      uv.kill(victim, "sigkill")
      h:log_wait("host " .. victim .. " was killed by SIGKILL; restarting")
      h:log_wait "host restarted"
      run:run(100)
      assert.equal(2, #h:serving_pids(), i)
    end
    run:stop()
  end)

  it("reload, grow and shrink together", function()
    local h = host.start { set = { processes = 2 },
      app = [[app:get("/", function() return "old" end)]] }
    h:write_app [[app:get("/", function() return "new" end)]]
    h:hup()
    h:log_wait "reload: generation 2 serves"
    h:log_wait "reload: generation 2 serves"
    for _ = 1, 10 do assert.equal("new", wire.ask(h, "/").body) end
    h:signal "sigttin"
    h:log_wait "2 isolates"
    h:log_wait "2 isolates"
    h:signal "sigttou"
    h:log_wait "1 isolates"
    h:log_wait "1 isolates"
  end)

  it("are replaced together, and refuse nobody", function()
    local h = host.start { app = HELLO, set = { drain_timeout = 60, processes = 2 } }
    local run = load.start(h, { connections = 16, check = hello, follows = true })
    run:run(200)
    local old = h:serving_pids()
    h:signal "sigusr2"
    h:log_wait "upgraded from"
    run:run(200)
    events.poll("the end of the old ones", function()
      return not uv.kill(old[1], 0) and not uv.kill(old[2], 0)
    end)
    assert.equal(2, #h:serving_pids())
    run:stop()
  end)

  it("end together, with the exit code of what went wrong", function()
    local h = host.start { app = HELLO, set = { processes = 2 } }
    h:stop()
    h = host.spawn { set = { processes = 3 }, app = [[
      local n = 0
      for _ in io.popen("ls " .. DIR):lines() do n = n + 1 end]] }
    assert.equal(78, (h:ended()))
    assert.is_nil(h.log:find "serving")
  end)
end)
