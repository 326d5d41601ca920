-- Isolates that programs spawn: what they are given and give back, how they end, and
-- messages from thread to thread.
local atoll = require "atoll"
local file = require "support.file"
local host = require "support.host"
local process = require "support.script"
local wire = require "support.wire"

local directory

-- The path of a script with this text.
local function script(text)
  directory = directory or host.directory()
  local path = os.tmpname()
  file.write(path, 'local atoll = require "atoll" local isolate = atoll.isolate ',
    text, "\n")
  return path
end

local paths = {}
local function spawn(text, argument, options)
  local path = script(text)
  paths[#paths + 1] = path
  -- It needs a / to be a script, which the temporary directory's path has.
  return assert(atoll.isolate.spawn(path, argument, options))
end

describe("a spawned isolate", function()
  teardown(function()
    for _, path in ipairs(paths) do os.remove(path) end
    host.finish()
  end)

  it("gets its argument and gives back what its chunk returns", function()
    local h = spawn("return (...).n + 1, nil, 'x', { ... }", { n = 41 })
    assert.same({ 42, nil, "x", { { n = 41 } } }, { h:join(60) })
    assert.equal("done", h:status())
    assert.equal(42, (h:join()))
  end)

  it("may be spawned while the host gets more isolates of its own", function()
    local h = host.start { set = { handler_timeout = 0 }, files = {
      ["child.lua"] = "return 7",
      ["app.lua"] = host.app [[app:get("/", function()
        for _ = 1, 20 do assert(atoll.isolate.spawn("child"):join(60) == 7) end
        return "spawned"
      end)]] } }
    local c = wire.connect(h):send "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
    for i = 2, 4 do
      h:signal "sigttin"
      h:log_wait(i .. " isolates after")
    end
    assert.equal("spawned", c:receive().body)
    h:stop()
  end)

  it("shares no value with its parent", function()
    rawset(_G, "spawned_marker", 1)
    local h = spawn "return rawget(_G, 'spawned_marker')"
    rawset(_G, "spawned_marker", nil)
    assert.same({ nil }, { h:join(60) })
  end)

  it("that fails ends alone; join gives the error with its traceback", function()
    local h = spawn "local function deep() error 'on purpose' end deep()"
    local value, message, code = h:join(60)
    assert.is_nil(value)
    assert.truthy(message:find "on purpose")
    assert.truthy(message:find "stack traceback")
    assert.equal("ELUA", code)
    assert.equal("failed", h:status())
  end)

  it("that fails is in the log, if nobody waits for it", function()
    local child = script "error 'nobody hears this'"
    local parent = script(("isolate.spawn(%q) atoll.sleep(1000)"):format(child))
    paths[#paths + 1], paths[#paths + 2] = child, parent
    local s = process.start(parent)
    s:says "error isolate 1: child 1 failed: .*nobody hears this"
    s:stop()
  end)

  it("is killed although what it closes never ends", function()
    local port = atoll.port()
    local h = spawn([[
      local out = ...
      local _ <close> = setmetatable({}, { __close = function() while true do end end })
      out:send "here"
      atoll.sleep(1000)
    ]], port:sender())
    assert.equal("here", (port:receive(60)))
    assert.is_true(h:kill())
    assert.same({ nil, "killed", "ELUA" }, { h:join(60) })
  end)

  it("is killed although it never waits, whatever it catches", function()
    for _, text in ipairs { "while true do end", "while true do pcall(error) end",
      "coroutine.wrap(function() while true do end end)()",
      "local co = coroutine.wrap(function() while true do coroutine.yield() end end) "
        .. "while true do co() end",
      "atoll.spawn(function() while true do end end) while true do end" } do
      local h = spawn('atoll.shared("begun"):set("it", true) ' .. text)
      local begun = atoll.shared("begun")
      while not begun:get "it" do atoll.sleep(0.001) end
      begun:delete "it"
      h:kill()
      local _, message, code = h:join(60)
      assert.equal("ELUA", code)
      -- Who is suspended just then is nowhere.
      assert.truthy(message == "killed"
        or message:find "^killed\nstack traceback:\n.*:1: ", message)
    end
  end)

  it("is a script beside the app, or where the program was started", function()
    local h = assert(atoll.isolate.spawn("spec/support/answer.lua", 41))
    assert.equal(42, (h:join(60)))
  end)

  it("is a module found as require finds it", function()
    local h = atoll.isolate.spawn "no.such.module"
    local _, message = h:join(60)
    assert.truthy(message:find("module 'no.such.module' not found", 1, true))
  end)

  it("says where a chunk is malformed", function()
    local _, message = spawn("return return"):join(60)
    assert.truthy(message:find ":1:")
  end)

  it("is not made when its argument cannot be sent", function()
    local function refuses(text, ...)
      local ok, message = pcall(atoll.isolate.spawn, "x", ...)
      assert.is_false(ok)
      assert.truthy(message:find("isolate_spawn_spec.lua:%d+: .*" .. text), message)
    end
    refuses("value.f: a function cannot be sent", { f = print })
    refuses("no option 'nme'", 1, { nme = "y" })
  end)

  it("ends when it is killed, closing what is to be closed", function()
    local port = atoll.port()
    local h = spawn([[
      local out = ...
      local function closed() out:send "closed" end
      local guard <close> = setmetatable({}, { __close = closed })
      out:send "ready"
      atoll.sleep(1000)
    ]], port:sender())
    assert.equal("ready", (port:receive(60)))
    assert.is_true(h:kill())
    assert.same({ nil, "killed", "ELUA" }, { h:join(60) })
    assert.equal("closed", (port:receive(60)))
    assert.is_false(h:kill())
  end)

  it("tells on_exit, also when it has ended before", function()
    local port = atoll.port()
    local to = port:sender()
    local h = spawn "return 1, 2"
    h:on_exit(function(ok, ...) to:send { ok, ... } end)
    assert.same({ true, 1, 2 }, (port:receive(60)))
    h:on_exit(function(ok, ...) to:send { ok, ... } end)
    assert.same({ true, 1, 2 }, (port:receive(60)))
    spawn("error 'x'"):on_exit(function(ok, text) to:send { ok, type(text) } end)
    assert.same({ false, "string" }, (port:receive(60)))
  end)

  it("may end itself with os.exit", function()
    assert.equal(0, select("#", spawn("os.exit(0)"):join(60)))
    assert.same({ nil, "exited with code 3", "ELUA" }, { spawn("os.exit(3)"):join(60) })
  end)

  local ECHO = [[
    for value, message in isolate.port:messages() do
      if value == "stop" then return "stopped" end
      message:reply(value)
    end
  ]]

  it("is sent messages and answers calls", function()
    local h = spawn(ECHO, nil, { name = "echo" })
    for i = 1, 200 do assert.equal(i, (h:call(i, 60))) end
    local t = { list = { 1, 2 }, s = ("x"):rep(100000) }
    assert.same(t, (h:call(t, 60)))
    assert.is_true(h:send "stop")
    assert.equal("stopped", (h:join(60)))
    assert.same({ nil, "closed", "ECLOSED" }, { h:send "late" })
    assert.truthy(tostring(h):find "echo")
  end)

  it("is found by its name, and by names that it registers", function()
    local h = spawn([[
      atoll.register("spec.other", isolate.port:sender())
      ]] .. ECHO, nil, { name = "spec.echo" })
    assert.equal(1, (h:call(1, 60)))
    assert.equal(h:sender(), atoll.lookup "spec.echo")
    assert.equal(2, (atoll.lookup("spec.other"):call(2, 60)))
    h:kill()
    h:join(60)
    assert.is_nil((atoll.lookup "spec.echo"))
    assert.is_nil((atoll.lookup "spec.other"))
  end)

  it("raises what is wrong with its options, and where", function()
    for _, options in ipairs { { inbox = 0 }, { inbox = 1.5 }, { inbox = 1 << 25 },
      { name = "" }, { name = ("n"):rep(256) }, { name = "a\0b" }, { colour = 1 } } do
      local ok, message = pcall(atoll.isolate.spawn, "nowhere", nil, options)
      assert.is_false(ok)
      assert.matches("isolate_spawn_spec.lua:%d+: ", message)
    end
    local h = spawn "isolate.port:receive()"
    local ok, message = pcall(function() h:send { print } end)
    assert.is_false(ok)
    assert.matches("isolate_spawn_spec.lua:%d+: value%[1%]: a function", message)
    h:kill()
    h:join(60)
  end)

  it("keeps the order of each sender, with bounded queues both ways", function()
    local results = atoll.port(4)
    local h = spawn([[
      local out = ...
      for value in isolate.port:messages() do
        if value == "stop" then break end
        out:send(value)
      end
    ]], results:sender(), { inbox = 3 })
    local to = h:sender()
    local writers = {}
    for w = 1, 4 do
      writers[w] = atoll.spawn(function()
        for i = 1, 250 do assert(to:send { w, i }) end
      end)
    end
    local last = { 0, 0, 0, 0 }
    for _ = 1, 1000 do
      local v = assert(results:receive(60))
      assert.equal(last[v[1]] + 1, v[2])
      last[v[1]] = v[2]
    end
    for _, task in ipairs(writers) do task:join() end
    h:send "stop"
    h:join(60)
  end)

  it("that ends tells who waits for it to answer, or for room", function()
    local h = spawn("isolate.port:receive() atoll.sleep(1000)", nil, { inbox = 1 })
    local asked = atoll.spawn(function() return h:call(1, 60) end)
    atoll.sleep(0)
    h:send(2, 10)
    local waits = atoll.spawn(function() return h:send(3, 10) end)
    atoll.sleep(0)
    h:kill()
    assert.same({ nil, "closed", "ECLOSED" }, { asked:join() })
    assert.same({ nil, "closed", "ECLOSED" }, { waits:join() })
  end)

  it("stands still while it is paused", function()
    local h = spawn(ECHO)
    assert.equal(1, (h:call(1, 60)))
    h:pause()
    -- What it was just doing it may finish: a turn of its loop.
    local answered = 0
    while answered < 10000 and h:call(2, 0.05) do answered = answered + 1 end
    assert.is_true(answered < 10000)
    h:resume()
    assert.equal(3, (h:call(3, 60)))
    h:kill()
    h:join(60)
  end)

  it("may spawn isolates, which end with it", function()
    local port = atoll.port()
    local h = spawn([[
      local out, path = table.unpack(...)
      isolate.spawn(path, out)
      isolate.spawn(path, out)
      atoll.sleep(1000)
    ]], { port:sender(), script [[
      local guard <close> = setmetatable({}, { __close = function() end })
      local out = ...
      out:send(isolate.port:sender())
      atoll.sleep(1000)
    ]] })
    local a, b = assert(port:receive(60)), assert(port:receive(60))
    assert.is_false(a:closed())
    h:kill()
    h:join(60)
    assert.same({ nil, "closed", "ECLOSED" }, { a:call(1, 60) })
    assert.same({ nil, "closed", "ECLOSED" }, { b:call(1, 60) })
  end)

  it("in great number leaves nothing behind", function()
    for _ = 1, 5 do
      local list = {}
      for i = 1, 20 do list[i] = spawn("return ...", i) end
      for i = 1, 20 do assert.equal(i, (list[i]:join(60))) end
    end
  end)

  -- libev's own way to be woken ended the process.
  it("cannot be had without descriptors, which is told", function()
    local child = script "atoll.sleep(1000)"
    paths[#paths + 1] = child
    local h = host.start { isolates = 1, shell = "ulimit -n 60", app = ([[
      app:get("/", function()
        local list, handle, _, code = {}
        for i = 1, 100 do
          handle, _, code = atoll.isolate.spawn(%q)
          if not handle then break end
          list[i] = handle
        end
        for _, each in ipairs(list) do each:kill() end
        for _, each in ipairs(list) do each:join() end
        return code
      end)
    ]]):format(child) }
    local client = wire.connect(h)
    for _ = 1, 5 do assert.equal("EMFILE", client:ask("/").body) end
    client:close()
    h:stop()
  end)

  it("ends with the generation that spawned it", function()
    local child = script "atoll.sleep(1000)"
    paths[#paths + 1] = child
    local h = host.start { isolates = 2, app = ([[
      app:on("start", function() assert(atoll.isolate.spawn(%q)) end)
      app:get("/", function() return "ok" end)
    ]]):format(child) }
    for _ = 1, 3 do
      h:hup()
      h:log_wait "reload: generation %d+ serves"
    end
    h:stop()
  end)
end)
