-- How many connections fit, and what is known of those who say nothing any more.
local atoll = require "atoll"
local events = require "support.events"
local file = require "support.file"
local host = require "support.host"
local net = require "atoll.net"
local wire = require "support.wire"

local APP = [[app:get("/", function() return "hello" end)]]

describe("a host", function()
  after_each(function()
    wire.finish()
    host.finish()
  end)

  it("says when connections_max is more than fits, at reloads, too", function()
    local h = host.start { shell = "ulimit -n 700", files = {
      ["app.lua"] = host.app(APP),
      ["atoll.lua"] = "return { connections_max = 200 }",
    } }
    assert.is_nil(h.log:find("connections_max", 1, true))
    h:write("atoll.lua", "return { connections_max = 600 }")
    h:reload()
    assert.truthy(h.log:find("connections_max is 600, which takes %d+ open files, and "
      .. "this process may have 700: "), h.log)
    h:stop()
    h = host.start { app = APP, shell = "ulimit -n 700",
      set = { connections_max = 1000, processes = 2 } }
    h:log_wait "connections_max is 1000"
    assert.equal(1, h:count "connections_max is 1000")
  end)

  it("raises its limit of open files to what it may", function()
    local h = host.start { app = APP, shell = "ulimit -Sn 60; ulimit -Hn 300" }
    local limits = file.read(("/proc/%d/limits"):format(h:serving_pid()))
    assert.equal("300", limits:match "Max open files%s+(%d+)")
  end)

  it("asks the kernel to look after clients that are silent", function()
    local h = host.start { app = APP }
    local c = wire.connect(h)
    c:ask "/"
    -- local address, state (established) and timer (2: of keepalive) of each socket
    local port, timer = (":%04X"):format(h.port), nil
    local pattern = "^%s*%d+: %x+" .. port .. " %x+:%x+ 01 %x+:%x+ (%d+):"
    -- Another one while the client has not yet acknowledged its answer.
    events.poll(function() return "timer 02, which is " .. tostring(timer) end,
      function()
        timer = nil
        for line in file.read "/proc/net/tcp":gmatch "[^\n]+" do
          timer = timer or line:match(pattern)
        end
        return timer == "02"
      end)
  end)

  -- All of it stayed with the allocator.
  it("gives the memory of those who have gone back to the system", function()
    local h = host.start { app = APP }
    local crowd = 6000
    local function open()
      local list, at, fibers = {}, 0, {}
      for f = 1, 16 do
        fibers[f] = function()
          while at < crowd do
            at = at + 1
            local i = at
            list[i] = assert(net.connect("127.0.0.1:" .. h.port))
            list[i]:write "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
            assert(list[i]:read_until "\r\n\r\n")
          end
        end
      end
      atoll.all(fibers)
      return list
    end
    local own = h:held()
    local before = h:memory()
    local list = open()
    local full = h:memory()
    for _, socket in ipairs(list) do socket:close() end
    events.retry("the end of all", function() return h:descriptors() <= own + 2 end)
    local c = wire.connect(h)
    c:ask "/"
    if host.SLOW then return end -- its allocator is another
    local after
    events.poll(function()
      return ("memory: %d KiB, with the crowd %d, then %d"):format(before, full, after)
    end, function()
      after = h:memory()
      return after - before < (full - before) / 2
    end)
  end)
end)

describe("connections_max", function()
  after_each(function()
    wire.finish()
    host.finish()
  end)

  it("lets the next one in when one has gone, and others wait in peace", function()
    local h = host.start { app = APP, set = { connections_max = 2 } }
    local list, began = { wire.connect(h), wire.connect(h) }, events.now()
    for _, c in ipairs(list) do c:ask "/" end
    local late = {}
    for i = 1, 5 do
      late[i] = wire.connect(h):send "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
    end
    h:log_wait "connections_max is reached"
    for i = 1, 5 do
      list[i]:close()
      assert.equal("hello", late[i]:receive().body)
      list[i + 2] = late[i]
    end
    -- Once in ten seconds.
    assert.is_true(h:count "connections_max is reached"
      <= 1 + (events.now() - began) // 10)
  end)
end)
