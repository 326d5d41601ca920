-- What a host holds while it serves goes back to what it was: descriptors, memory, idle
-- connections that cost next to nothing.
local events = require "support.events"
local host = require "support.host"
local wire = require "support.wire"

describe("leftovers", function()
  after_each(function()
    wire.finish()
    host.finish()
  end)

  it("of connections are no descriptors", function()
    local h = host.start { dir = "spec/apps/wire", isolates = 2 }
    local before = h:held()
    local list = {}
    for i = 1, 100 do
      list[i] = wire.connect(h)
      if i % 3 ~= 0 then list[i]:ask(i % 3 == 1 and "/probe" or "/none") end
    end
    events.poll("all to be accepted", function()
      return h:descriptors() >= before + 100
    end)
    for i, c in ipairs(list) do
      if i % 2 == 0 then c:close() else c:abort() end
    end
    events.poll("the descriptors to be closed", function()
      return h:descriptors() <= before
    end)
  end)

  it("of reloads are no descriptors, threads or mappings", function()
    local h = host.start { dir = "spec/apps/wire", isolates = 2 }
    local function threads()
      local f = assert(io.open(("/proc/%d/status"):format(h:serving_pid())))
      local text = f:read "a"
      f:close()
      return tonumber(text:match "Threads:%s*(%d+)")
    end
    local before, running = h:held(), threads()
    for n = 2, 30 do
      h:hup()
      h:log_wait("generation " .. n .. " serves")
    end
    local function left()
      return ("%d generations closed of 58, descriptors %d and before %d, threads %d "
        .. "and before %d"):format(h:count "generation %d+ closed", h:descriptors(),
        before, threads(), running)
    end
    events.poll(left, function()
      return h:count "generation %d+ closed" == 29 * 2 and h:descriptors() <= before
        and threads() <= running
    end)
  end)

  it("of isolates that left are no descriptors or threads", function()
    local h = host.start { dir = "spec/apps/wire", isolates = 1 }
    local before = h:held()
    for _ = 1, 5 do
      h:signal "sigttin"
      h:log_wait "2 isolates"
      h:signal "sigttou"
      h:log_wait "1 isolates"
    end
    events.poll(function()
      return ("%d descriptors; there are %d"):format(before, h:descriptors())
    end, function() return h:descriptors() <= before end)
    assert.equal("probe", wire.ask(h, "/probe").body)
  end)

  it("of requests are no memory", function()
    local h = host.start { dir = "spec/apps/wire" }
    local c = wire.connect(h)
    local request = "GET /where HTTP/1.1\r\nHost: a\r\n\r\n"
    local function some()
      c:send(request:rep(500))
      for _ = 1, 500 do assert.equal(200, c:receive().status) end
      c.parts, c.size, c.at = {}, 0, 1
    end
    for _ = 1, 6 do some() end
    local before = h:memory()
    for _ = 1, 12 do some() end
    h:grows_less(2048, before)
  end)

  it("of errors are no memory", function()
    local h = host.start { app = [[app:get("/", function() error "x" end)]],
      set = { log_level = "error" } }
    local c = wire.connect(h)
    local request = "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
    local function some()
      c:send(request:rep(300))
      for _ = 1, 300 do assert.equal(500, c:receive().status) end
      c.parts, c.size, c.at, h.log, h.told = {}, 0, 1, "", 1
    end
    for _ = 1, 4 do some() end
    local before = h:memory()
    for _ = 1, 8 do some() end
    h:grows_less(2048, before)
    h:term()
    assert.equal(0, (h:ended()))
  end)

  it("of a large state that was replaced is no memory", function()
    local h = host.start { isolates = 2, app = [[
      local kept = {}
      app:get("/", function()
        for _ = 1, 20 do kept[#kept + 1] = ("x"):rep(500000) .. #kept end
        return "kept"
      end)]] }
    local before = h:memory()
    for n = 2, 4 do
      for _ = 1, 12 do assert.equal("kept", wire.ask(h, "/").body) end
      h:hup()
      h:log_wait("generation " .. n .. " serves")
    end
    events.poll("the end of all old states", function()
      return h:count "generation %d+ closed" == 6
    end)
    h:grows_less(6144, before)
  end)

  it("of an idle connection is less than 2 KiB", function()
    local h = host.start { dir = "spec/apps/wire" }
    local list = {}
    local function more()
      for _ = 1, 400 do
        local c = wire.connect(h)
        c:ask "/probe"
        list[#list + 1] = c
      end
    end
    more()
    local before = h:memory()
    more()
    h:grows_less(400 * 2, before)
  end)
end)
