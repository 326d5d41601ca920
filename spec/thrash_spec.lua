-- A state that is full of what is in use is no reason for others to wait.
local host = require "support.host"
local wire = require "support.wire"

-- Of timers: all of the memory is to be used up before the first of them is over.
local DELAY = host.SLOW and 6 or 2

local APP = ("local DELAY = %d "):format(DELAY) .. [[
  app:get("/ok", function() return "ok" end)
  -- When it is ended in the end there is no room even for a smaller stack: garbage is
  -- looked for in the middle of that, and its request was found (under ASan).
  app:get("/fork", function()
    local function fork() atoll.spawn(fork) atoll.spawn(fork) end
    fork()
    atoll.sleep(1000)
  end)
  app:get("/later", function()
    for _ = 1, 1e7 do atoll.after(DELAY, function() end) end
  end)
]]

describe("tasks that use up all memory", function()
  after_each(function()
    wire.finish()
    host.finish()
  end)

  local function ask(h, path)
    return wire.ask(h, "GET " .. path .. " HTTP/1.1\r\nHost: x\r\n\r\n")
  end

  for _, path in ipairs { "/fork", "/later" } do
    it("cost the state, and not the time of those that come: " .. path, function()
      local h = host.start { app = APP,
        set = { memory = "64M", drain_timeout = path == "/later" and DELAY + 1 or 1 } }
      assert.equal(503, ask(h, path).status)
      h:log_wait "a new state of generation 1 serves"
      h:log_wait "generation 1 closed"
      assert.equal("ok", ask(h, "/ok").body)
      h:stop()
      assert.truthy(h:count "a task failed: not enough memory" < 20)
    end)
  end
end)
