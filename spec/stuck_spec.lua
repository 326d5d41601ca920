-- A call into C cannot be suspended: the log tells of it while it lasts, and nobody
-- else waits for the isolate that it holds.
local events = require "support.events"
local host = require "support.host"
local load = require "support.load"
local wire = require "support.wire"

-- Says its version, what on("reload") gave it, and waits in C for a line of the fifo.
local APP = [[
local version, was = VERSION, "nothing"
app:on("start", function(state) was = state or was START end)
app:on("reload", function() return "after " .. version end)
app:get("/", function() return version .. " " .. was end)
app:get("/stuck", function(req)
  os.execute("read line < " .. req.query.fifo)
  return "back"
end)]]

local function app(version, start)
  return (APP:gsub("VERSION", version):gsub("START", start or ""))
end

local function fifo_of(h, name)
  local fifo = h.dir .. "/" .. name
  assert(os.execute("mkfifo " .. fifo))
  return fifo
end

local function stick(fifo)
  return "GET /stuck?fifo=" .. fifo .. " HTTP/1.1\r\nHost: x\r\n\r\n"
end

-- A client whose isolate is inside a call until free() is called.
local function hold(h)
  local fifo = fifo_of(h, "fifo")
  local client = wire.connect(h):send(stick(fifo))
  local f = assert(io.open(fifo, "w")) -- opens when it is read
  local function free()
    f:write "\n"
    f:close()
    assert.equal("back", client:receive().body)
  end
  return client, free
end

-- Code that waits until h has the gate.
local function gate(h)
  return ('while not atoll.fs.exists "%s/gate" do atoll.sleep(0.002) end'):format(h.dir)
end

-- Whether it went well: the host may not have heard yet who is back.
local function reload(h)
  local good, bad = h:count "reload: generation", h:count "reload failed"
  h:hup()
  events.wait("the end of a reload", function()
    return h:count "reload: generation" > good or h:count "reload failed" > bad
  end)
  return h:count "reload: generation" > good
end

describe("a call into C that does not return", function()
  after_each(function()
    wire.finish()
    host.finish()
  end)

  it("is told while it lasts, once, with the line that made it", function()
    local h = host.start { app = app(1), set = { slice_warn = 0.005 } }
    local _, free = hold(h)
    h:log_wait "isolate 1 has been inside a C function [^\n]*: %S*app.lua:6\n"
    free()
    h:stop()
    assert.equal(1, h:count "has been inside a C function")
  end)

  it("holds up no reload of the others, and its isolate follows", function()
    local h = host.start { app = app(1), isolates = 2 }
    local client, free = hold(h)
    h:write_app(app(2))
    h:hup()
    h:log_wait "warn  reload goes on without isolate %d, which has not ended its turn"
    h:log_wait "reload: generation 2 serves"
    local run = load.start(h, { connections = 4, check = function(r)
      return not r.body:find "^[23] after [12]$" and r.body
    end })
    run:run(100)
    h:write_app(app(3))
    h:hup()
    h:log_wait "reload: generation 3 serves"
    run:run(100)
    run:stop()
    free()
    h:log_wait "isolate %d follows: generation 3 serves"
    -- What on("reload") says is that of the same isolate.
    assert.equal("3 after 1", client:ask("/").body)
    h:hup()
    h:log_wait "reload: generation 4 serves"
    assert.equal("3 after 3", client:ask("/").body)
    h:stop()
    assert.equal(1, h:count "goes on without")
  end)

  it("lets its isolate serve the old code until the new has started", function()
    local h = host.start { app = app(1), isolates = 2 }
    local client, free = hold(h)
    h:write_app(app(2, gate(h)))
    h:write("gate", "")
    h:hup()
    h:log_wait "reload: generation 2 serves"
    assert(os.remove(h.dir .. "/gate"))
    free()
    assert.equal("1 nothing", client:ask("/").body)
    h:write("gate", "")
    h:log_wait "isolate %d follows: generation 2 serves"
    assert.equal("2 after 1", client:ask("/").body)
    h:stop()
  end)

  it("says why an isolate cannot follow, and a later reload takes it along", function()
    local h = host.start { app = app(1), isolates = 2 }
    local client, free = hold(h)
    h:write_app(app(2, [[if atoll.fs.exists "]] .. h.dir .. [[/broken" then
      error "no second start"
    end]]))
    h:hup()
    h:log_wait "reload: generation 2 serves"
    h:write("broken", "")
    free()
    h:log_wait("reload of an isolate that was left out failed after %d+ ms, the "
      .. "running code goes on: [^\n]*no second start")
    assert.equal("1 nothing", client:ask("/").body)
    -- Nor does it serve, before it is time, what it is offered next.
    assert(os.remove(h.dir .. "/broken"))
    h:write_app(app(3, gate(h) .. " error 'no third start'"))
    h:hup()
    for _ = 1, 100 do assert.equal("1 nothing", client:ask("/").body) end
    h:write("gate", "")
    h:log_wait "reload failed[^\n]*no third start"
    assert.equal("1 nothing", client:ask("/").body)
    h:write_app(app(4))
    h:hup()
    h:log_wait "reload: generation 4 serves"
    assert.equal("4 after 1", client:ask("/").body)
    h:stop()
  end)

  it("may be over while the others still start", function()
    local h = host.start { app = app(1), isolates = 2 }
    local client, free = hold(h)
    h:write_app(app(2, gate(h)))
    h:hup()
    h:log_wait "reload goes on without isolate %d"
    free()
    assert.equal("1 nothing", client:ask("/").body)
    h:write("gate", "")
    h:log_wait "reload: generation 2 serves"
    h:log_wait "isolate %d follows: generation 2 serves"
    assert.equal("2 after 1", client:ask("/").body)
    h:stop()
  end)

  it("may be followed by another, which holds nobody up either", function()
    local h = host.start { app = app(1), isolates = 2 }
    local client, free = hold(h)
    local loads, other = fifo_of(h, "loads"), fifo_of(h, "other")
    h:write_app(([[
      if atoll.fs.exists "%s/slow" then os.execute "read line < %s" end
    ]]):format(h.dir, loads) .. app(2))
    h:hup()
    h:log_wait "reload: generation 2 serves"
    h:write("slow", "")
    free()
    client:send(stick(other))
    local f, g = assert(io.open(other, "w")), assert(io.open(loads, "w"))
    g:write "\n" -- it is offered what it is to follow with
    g:close()
    h:write_app(app(3))
    h:hup()
    h:log_wait "reload begins without isolate %d"
    h:log_wait "reload: generation 3 serves"
    f:write "\n"
    f:close()
    assert.equal("back", client:receive().body)
    h:log_wait "isolate %d follows: generation 3 serves"
    assert.equal("3 after 1", client:ask("/").body)
    h:stop()
  end)

  it("holds a reload up where there is no other isolate, which the log says", function()
    local h = host.start { app = app(1) }
    local client, free = hold(h)
    h:write_app(app(2))
    h:hup()
    h:log_wait "warn  reload waits: no isolate has ended its turn for 3.%d s"
    free()
    h:log_wait "reload: generation 2 serves"
    assert.equal("2 after 1", client:ask("/").body)
    h:stop()
  end)

  it("holds a reload up for load_timeout at most", function()
    local h = host.start { files = { ["app.lua"] = host.app(app(1)),
      ["atoll.lua"] = "return {}" } }
    local client, free = hold(h)
    h:write("atoll.lua", "return { load_timeout = 2 }")
    h:write_app(app(2))
    h:hup()
    h:log_wait("reload failed after %d+ ms, the running code goes on: load_timeout: "
      .. "no isolate has ended its turn for 2 s")
    h:hup()
    h:log_wait "reload failed, the running code goes on: no isolate has ended its turn"
    assert.equal(0, h:count "reload begins without")
    free()
    assert.equal("1 nothing", client:ask("/").body)
    h:write("atoll.lua", "return {}")
    events.retry("a reload", function() return reload(h) end)
    assert.matches("^2 after [12]$", client:ask("/").body)
    h:stop()
  end)

  it("in a hook fails a reload, also when it has ended later", function()
    local h = host.start { isolates = 2, files = { ["app.lua"] = host.app(app(1)),
      ["atoll.lua"] = "return {}" } }
    local fifo = fifo_of(h, "fifo")
    h:write("atoll.lua", "return { load_timeout = 2 }")
    h:write_app(app(2, ('os.execute "read line < %s"'):format(fifo)))
    h:hup()
    local f = assert(io.open(fifo, "w"))
    h:log_wait "reload failed[^\n]*load_timeout: on[^\n]* has not ended for 2 s"
    f:write "\n\n"
    f:close()
    h:write("atoll.lua", "return {}")
    h:write_app(app(3))
    for _ = 1, 2 do
      events.retry("a reload", function() return reload(h) end)
    end
    assert.matches("^3 after [13]$", wire.ask(h, "/").body)
    h:stop()
  end)

  it("in the first start ends it", function()
    local fifo = host.directory {} .. "/fifo"
    assert(os.execute("mkfifo " .. fifo))
    local h = host.spawn { set = { load_timeout = 2 }, app = ([[
      app:on("start", function()
        os.execute "exec > /dev/null 2>&1; read line < %s"
      end)]]):format(fifo) }
    local f = assert(io.open(fifo, "w"))
    assert.equal(78, (h:ended()))
    assert.matches("load_timeout: on", h.log)
    f:close() -- which ends the command
  end)
end)
