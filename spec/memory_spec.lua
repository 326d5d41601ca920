-- Memory budgets: what happens at the limit, to whom, and to nobody else.
local atoll = require "atoll"
local command = require "support.command"
local events = require "support.events"
local host = require "support.host"
local wire = require "support.wire"

local HOG = [[
local kept = {}
local function fill(t) for i = 1, 1e8 do t[#t + 1] = ("x"):rep(1000) .. i end end
app:get("/", function() return "well" end)
app:get("/leak", function() fill(kept) end)
app:get("/local", function() fill {} end)
app:get("/huge", function() return #("x"):rep(1 << 30) .. "" end)
app:get("/used", function() return { atoll.memory() } end)
app:get("/caught", function()
  local t = {}
  for _ = 1, 5 do pcall(fill, t) end
  return #t > 1000 and "caught" or "nothing"
end)
app:get("/after", function() pcall(fill, {}) error "something else" end)
app:get("/wrapped", function() coroutine.wrap(fill) {} end)
app:get("/held", function()
  atoll.sleep(0.5)
  return #("x"):rep(10000) .. ""
end)
app:on("error", function() return 500, "the hook" end)
]]

local function start(more, set)
  set = set or {}
  set.memory, set.slice_warn = set.memory or "16M", 0
  return host.start { app = HOG .. (more or ""), set = set }
end

local LIMIT = "not enough memory %(limit 16M%): "

-- The state of the isolate is another one, in which nothing is kept.
local function replaced(h)
  h:log_wait "error isolate 1: out of memory: 1%S+ of 16M stay in use; its state is"
  h:log_wait "a new state of generation 1 serves"
  assert.equal("well", wire.ask(h, "/").body)
  assert.truthy(atoll.json.decode(wire.ask(h, "/used").body)[1] < 4 << 20)
end

local function unavailable(answer)
  assert.same({ 503, "1" }, { answer.status, answer.fields["retry-after"] })
end

describe("a memory budget", function()
  after_each(function()
    wire.finish()
    host.finish()
  end)

  it("can be read", function()
    local h = start()
    local used, limit = table.unpack(atoll.json.decode(wire.ask(h, "/used").body))
    assert.equal(16 << 20, limit)
    assert.truthy(used > 50000 and used < 4 << 20, used)
  end)

  it("ends the request that is too large, which may come again, and nothing else",
    function()
      local h = start()
      local c = wire.connect(h)
      for _, path in ipairs { "/local", "/huge", "/wrapped", "/after" } do
        unavailable(c:ask(path))
        h:log_wait(("error isolate 1: GET %s: [^\n]*app.lua:%%d+: "):format(path))
      end
      h:log_wait "something else"
      assert.equal("well", c:ask("/").body)
      local small = "GET /local: [^\n]*app.lua:2: " .. LIMIT .. "1[56]%S* in use, "
      local huge = "GET /huge: [^\n]*app.lua:6: " .. LIMIT .. "%S+K in use, 1G more"
      assert.same({ 1, 1 }, { h:count(small), h:count(huge) }, h.log)
      assert.equal(0, h:count "a new state")
    end)

  it("lets a handler catch it, who gets no more than the reserve", function()
    local h = start()
    assert.equal("caught", wire.ask(h, "/caught").body)
    assert.equal("well", wire.ask(h, "/").body)
    assert.equal(0, h:count "a new state")
  end)

  it("that stays used up costs the state, but no connection and no other request",
    function()
      local h = start()
      local c, other = wire.connect(h), wire.connect(h)
      other:send "GET /held HTTP/1.1\r\nHost: a\r\n\r\n"
      unavailable(c:ask "/leak")
      replaced(h)
      assert.equal("10000", other:receive().body)
      assert.equal("well", c:ask("/").body)
      assert.equal("well", other:ask("/").body)
      h:log_wait "generation 1 closed"
    end)

  it("counts for tasks, timers, hooks and finalizers", function()
    for _, how in ipairs {
      "atoll.spawn(fill, kept)",
      "atoll.after(0, fill, kept)",
      "local t t = atoll.every(0.01, function() t:cancel() fill(kept) end)",
      "setmetatable({}, { __gc = function() fill(kept) end }) collectgarbage()",
      [[atoll.isolate.spawn("quick.lua"):on_exit(function() fill(kept) end)]],
    } do
      local h = host.start { set = { memory = "16M", slice_warn = 0 }, files = {
        ["app.lua"] = host.app(HOG .. ([[
          app:get("/begin", function() %s return "begun" end)]]):format(how)),
        ["quick.lua"] = "return 1\n",
      } }
      assert.equal("begun", wire.ask(h, "/begin").body)
      replaced(h)
      host.finish()
    end
  end)

  it("is not given again and again: the pause between two states grows", function()
    local h = start()
    unavailable(wire.ask(h, "/leak"))
    replaced(h)
    local tries = 0
    repeat -- the pause doubles until it is longer than this takes
      unavailable(wire.ask(h, "/leak"))
      tries = tries + 1
    until h.log:find "replaced soon, for it was only just now\n" or tries == 40
    assert.truthy(tries < 40, h.log)
    assert.equal("well", wire.ask(h, "/").body)
    h:log_wait("a new state of generation 1 serves", 60)
  end)

  it("goes on being what it was when no new state can be made", function()
    local h = start()
    h:write("app.lua", "error 'no more'\n")
    unavailable(wire.ask(h, "/leak"))
    h:log_wait "a new generation after memory ran out failed .* the running code goes"
    assert.equal("well", wire.ask(h, "/").body)
    unavailable(wire.ask(h, "/leak"))
    h:write_app(HOG)
    h:log_wait("a new state of generation 1 serves", 20)
    assert.equal("well", wire.ask(h, "/").body)
  end)

  it("is an app's own, and its neighbours stay as they were", function()
    local h = host.start { config = "host.lua", set = { slice_warn = 0 }, files = {
      ["a/app.lua"] = host.app(HOG),
      ["b/app.lua"] = host.app 'app:get("/", function() return { atoll.memory() } end)',
      ["host.lua"] = [[return { memory = "64M", apps = {
        { path = "/a", dir = "a", isolates = 1, memory = "16M" },
        { path = "/b", dir = "b", isolates = 1 } } }]],
    } }
    assert.equal(64 << 20, atoll.json.decode(wire.ask(h, "/b").body)[2])
    unavailable(wire.ask(h, "/a/leak"))
    h:log_wait "error [^\n]*/a: isolate 1: out of memory"
    assert.equal(64 << 20, atoll.json.decode(wire.ask(h, "/b").body)[2])
    h:log_wait "/a: a new state of generation 1 serves"
    assert.equal("well", wire.ask(h, "/a/").body)
  end)

  it("that is too small for the app is an error that says so", function()
    local dir = host.directory { ["app.lua"] =
      "local t = {}\nfor i = 1, 1e6 do t[i] = {} end\nreturn function() end\n" }
    command.begin()
    local _, _, err = command.atoll(("check %s --memory 4M"):format(dir))
    command.finish()
    assert.truthy(err:find "app.lua:2: not enough memory %(limit 4M%)", err)
  end)

  it("has a least, which is told", function()
    local dir = host.directory { ["app.lua"] = host.app "" }
    command.begin()
    local _, _, err = command.atoll(("check %s --memory 100K"):format(dir))
    command.finish()
    assert.truthy(err:find "memory must be from 1M to 1T, not 100K", err)
    local ok, message = pcall(atoll.isolate.spawn, "x", nil, { memory = "100K" })
    assert.is_false(ok)
    assert.truthy(message:find "the option memory of .* is 100K, less than 1M", message)
  end)
end)

describe("a spawned isolate's memory", function()
  local path = os.tmpname()

  setup(function()
    local f = assert(io.open(path, "w"))
    f:write [[
      local atoll = require "atoll"
      local kept = {}
      local function fill() for i = 1, 1e8 do kept[i] = ("x"):rep(1000) .. i end end
      local ways = {
        limit = function() return select(2, atoll.memory()) end,
        main = fill,
        caught = function() while true do pcall(fill) atoll.sleep(0) end end,
        task = function() atoll.spawn(fill) atoll.sleep(100) end,
        large = function() return (select(2, pcall(string.rep, "x", 1 << 30))) end,
      }
      return ways[...]()
    ]]
    f:close()
  end)
  teardown(function() os.remove(path) end)

  local function spawn(way) return atoll.isolate.spawn(path, way, { memory = "8M" }) end

  it("is an option", function()
    assert.equal(8 << 20, (spawn("limit"):join(60)))
    assert.equal("not enough memory", (spawn("large"):join(60)))
  end)

  it("that is used up ends it with an error, whoever has caught it", function()
    for _, way in ipairs { "main", "caught", "task" } do
      local value, message, code = spawn(way):join(60)
      assert.is_nil(value)
      assert.equal("ELUA", code)
      assert.truthy(message:find ":3: not enough memory %(limit 8M%): %S+ in", message)
    end
    local told
    spawn("main"):on_exit(function(ok, message) told = { ok, message } end)
    while not told do atoll.sleep(0.01) end
    assert.is_false(told[1])
    assert.truthy(told[2]:find "not enough memory %(limit 8M%)", told[2])
  end)

  it("is an option of pools, whose workers go on or are replaced", function()
    command.begin()
    command.write("hogs.lua", [[
      local kept = {}
      local function fill(t) for i = 1, 1e8 do t[i] = ("x"):rep(1000) .. i end end
      return { own = function() fill {} end, leak = function() fill(kept) end,
        limit = function() return select(2, require("atoll").memory()) end }
    ]])
    command.write("main.lua", [[
      local atoll = require "atoll"
      local pool = atoll.pool { module = "hogs", size = 1, memory = "8M" }
      print(pool:call "own")
      print(pool:call "limit")
      print((select(2, pool:call "leak"):gsub("%-?[^ ]*hogs.lua:", "")))
      local limit
      repeat limit = pool:call "limit" until limit -- of the next worker
      print(limit)
    ]])
    local code, out = command.atoll "run DIR/main.lua"
    command.finish()
    assert.equal(0, code)
    assert.truthy(out:find("^nil\tnot enough memory\tENOMEM\n8388608\n"
      .. ".*not enough memory.*\n8388608\n$"), out)
  end)
end)

describe("native memory", function()
  after_each(function()
    wire.finish()
    host.finish()
  end)

  it("is counted and collected: buffers that nobody has, and those in messages",
    function()
      command.begin()
      command.write("main.lua", [[
        local atoll = require "atoll"
        local text = ("x"):rep(100000)
        for i = 1, 10000 do atoll.buffer(text) end -- a gigabyte
        collectgarbage()
        local before = atoll.memory()
        local held = atoll.buffer(("x"):rep(1 << 20))
        assert(atoll.memory() - before >= 1 << 20)

        local port = atoll.port()
        port:sender():send(held)
        held = nil
        collectgarbage()
        assert(atoll.memory() - before >= 1 << 20) -- it is in the port
        assert(#port:receive() == 1 << 20)
        collectgarbage()
        assert(atoll.memory() - before < 1 << 20)

        local list = {}
        local ok, err = pcall(function()
          for i = 1, 1000 do list[i] = atoll.buffer(text) end
        end)
        print(ok, err, #list > 200 and #list < 400)
        list = nil
        assert(#atoll.buffer(text) == 100000)
      ]])
      local code, out, err = command.atoll "run --memory 32M DIR/main.lua"
      command.finish()
      assert.same({ 0, "false\tnot enough memory\ttrue\n", "" }, { code, out, err })
    end)

  it("of a body that is asked for as a whole counts while it comes", function()
    local h = host.start { set = { memory = "16M" }, app = [[
      app:post("/", function(req) return #req:text() .. "" end)
      app:get("/", function() return { atoll.memory() } end)
    ]] }
    local function post(size)
      local c = wire.connect(h)
      c:send(("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n"):format(size))
      local piece = ("x"):rep(1 << 16)
      for _ = 1, size >> 16 do c:send(piece) end
      return c:receive()
    end
    local before = atoll.json.decode(wire.ask(h, "/").body)[1]
    for _ = 1, 3 do
      assert.equal(tostring(4 << 20), post(4 << 20).body)
      assert.equal(503, post(12 << 20).status)
      h:log_wait "POST /: [^\n]*app.lua:%d+: not enough memory %(limit 16M%)"
    end
    local after = atoll.json.decode(wire.ask(h, "/").body)[1]
    assert.truthy(after < before + (9 << 20), after)
  end)

  -- What was read was there twice, and counted once.
  it("of files and answers that are read as a whole counts, too", function()
    local function zeros(megabytes, through)
      local pipe <close> = io.popen(("head -c %dM /dev/zero | %s"):format(megabytes,
        through))
      return pipe:read "a"
    end
    local h = host.start { set = { memory = "16M" }, files = {
      few = zeros(3, "cat"), many = zeros(10, "cat"),
      ["few.gz"] = zeros(3, "gzip"), ["many.gz"] = zeros(10, "gzip"),
      ["app.lua"] = host.app [[
        app:get("/body/:name", function(req)
          local packed = req.params.name:find "gz$"
          return atoll.file(req.params.name), nil,
            { ["Content-Encoding"] = packed and "gzip" or nil }
        end)
        app:get("/file", function(req)
          return #assert(atoll.fs.read(req.query.at)) .. ""
        end)
        app:get("/get", function(req)
          return #assert(atoll.http.get(req.query.at)).body .. ""
        end)
        app:get("/used", function()
          collectgarbage()
          return { atoll.memory() }
        end)
      ]],
    } }
    local c = wire.connect(h)
    local function used() return atoll.json.decode(c:ask("/used").body)[1] end
    local before, from = used(), ("/get?at=http://127.0.0.1:%d/body/"):format(h.port)
    for _ = 1, 2 do
      for _, case in ipairs {
        { "/file?at=" .. h.dir .. "/few", 3 }, { "/file?at=" .. h.dir .. "/many" },
        { "/file?at=/proc/self/maps", 0 }, { from .. "few", 3 }, { from .. "many" },
        { from .. "few.gz", 3 }, { from .. "many.gz" },
      } do
        local answer = c:ask(case[1])
        assert.equal(case[2] and 200 or 503, answer.status, case[1])
        assert.equal(case[2] or 0, (tonumber(answer.body) or 0) >> 20)
      end
    end
    assert.truthy(used() < before + (1 << 20), used())
  end)

  -- Whoever sends does not end, and nor does what is waited for.
  it("of what is read from a socket or a file, and written to one, counts, too",
    function()
      command.begin()
      command.write("flood.lua", [[
        local atoll = require "atoll"
        local to = ...
        local listener = atoll.net.listen "127.0.0.1:0"
        to:send(listener:name())
        listener:serve(function(socket)
          local piece = ("x"):rep(1 << 20)
          while socket:write(piece) do end
        end)
      ]])
      command.write("main.lua", [[
        local atoll = require "atoll"
        local port = atoll.port()
        local flood = atoll.isolate.spawn("flood.lua", port:sender())
        local at = port:receive()
        local name = os.tmpname()
        local text = ("x"):rep(6 << 20)
        assert(atoll.fs.write(name, text))
        assert(atoll.fs.append(name, text))
        assert(atoll.fs.append(name, text))
        text = nil
        collectgarbage()
        local function with(socket, fn)
          local _ <close> = socket
          return fn(socket)
        end
        local function plain() return assert(atoll.net.connect(at)) end
        local function luasocket()
          local host, number = at:match "^(.*):(%d+)$"
          return assert(require("socket").connect(host, number))
        end
        local function file() return assert(atoll.fs.open(name, "r+")) end
        local ways = {
          { "all", plain, function(s) return s:read "all" end },
          { "bytes", plain, function(s) return s:read(1 << 30) end },
          { "text", plain, function(s) return s:read_until("y", 1 << 30) end },
          { "luasocket", luasocket, function(s) return s:receive "*l" end },
          { "file all", file, function(f) return f:read "all" end },
          { "file bytes", file, function(f) return f:read(1 << 30) end },
          { "write", plain, function(s) return s:write(("y"):rep(10 << 20)) end },
          { "writes", plain, function(s)
            local text = ("y"):rep(1 << 20)
            s:settimeout(0)
            while true do s:write(text) end
          end },
          { "some", plain, function(s) return #s:read "some" > 0 end },
          { "few", plain, function(s) return #s:read(3 << 20) end },
          { "file few", file, function(f) return #f:read(3 << 20) end },
          { "file write", file, function(f) return f:write(("y"):rep(3 << 20)) end },
          { "file large", file, function(f) return f:write(("y"):rep(9 << 20)) end },
          { "whole", file, function()
            return atoll.fs.write(name, ("y"):rep(9 << 20))
          end },
        }
        for _ = 1, 2 do
          for _, way in ipairs(ways) do
            local socket = way[2]()
            print(way[1], select(2, pcall(with, socket, way[3])))
            socket = nil
            collectgarbage()
            atoll.sleep(0)
          end
        end
        os.remove(name)
        local used = atoll.memory()
        print(used < 3 << 20 or used)
        os.exit(0)
      ]])
      local once = "all M bytes M text M luasocket M file all M file bytes M "
        .. "write M writes M some true "
        .. "few 3145728 file few 3145728 file write true file large M whole M "
      local code, out = command.atoll "run --memory 16M DIR/main.lua"
      command.finish()
      out = out:gsub("%s+", " "):gsub("not enough memory", "M")
      assert.equal(once .. once .. "true ", out)
      assert.equal(0, code)
    end)

  it("of what WebSockets have sent, and nobody reads, counts, too", function()
    local h = host.start { set = { memory = "32M" }, app = [[
      local text = ("x"):rep(12 << 20)
      app:websocket("/", function(ws) ws:send(text) end)
      app:get("/used", function() return { atoll.memory() } end)
    ]] }
    local function used()
      return atoll.json.decode(wire.ask(h, "/used").body)[1]
    end
    local before, list = used(), {}
    for i = 1, 5 do
      list[i] = wire.connect(h)
      list[i]:send("GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n"
        .. "Connection: upgrade\r\nSec-WebSocket-Version: 13\r\n"
        .. "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n")
    end
    h:log_wait "GET /: [^\n]*app.lua:%d+: not enough memory %(limit 32M%)"
    for i = 1, 5 do list[i]:close() end
    events.retry("all to be given back", function()
      return used() < before + (1 << 20)
    end)
  end)

  it("of names counts, until their port is closed", function()
    command.begin()
    command.write("main.lua", [[
      local atoll = require "atoll"
      local function name(port)
        local to = port:sender()
        for i = 1, 1000000 do assert(atoll.register(("name"):rep(10) .. i, to)) end
      end
      for _ = 1, 2 do
        local port = atoll.port()
        print(pcall(name, port))
        port:close()
        local other = atoll.port()
        for i = 1, 20000 do
          assert(atoll.register("one", other:sender()))
          assert(atoll.register("one", nil))
        end
        other:close()
      end
    ]])
    local code, out = command.atoll "run --memory 8M DIR/main.lua"
    command.finish()
    assert.equal(("false\tnot enough memory\n"):rep(2), out)
    assert.equal(0, code)
  end)

  it("of JSON that is made is bounded, too", function()
    command.begin()
    command.write("main.lua", [[
      local atoll = require "atoll"
      local function peak()
        local status = atoll.fs.read "/proc/self/status"
        return tonumber(status:match "VmHWM:%s*(%d+)") // 1024
      end
      local text, list = ("x"):rep(1 << 20), {}
      for i = 1, 1000 do list[i] = text end
      local before = peak()
      print(pcall(atoll.json.encode, list))
      local more = peak() - before
      print(more < 400 or more)
      local garbage = {}
      for i = 1, 40 do garbage[i] = text .. i end
      garbage = nil
      print(#atoll.json.encode { table.unpack(list, 1, 20) }) -- there is room again
    ]])
    local code, out = command.atoll "run --memory 64M DIR/main.lua"
    command.finish()
    local text = 20 * ((1 << 20) + 3) + 1
    assert.equal(("false\tnot enough memory\ntrue\n%d\n"):format(text), out)
    assert.equal(0, code)
  end)

  it("of unread messages is bounded: who sends more waits", function()
    local port = atoll.port()
    local sender, sent = port:sender(), 0
    local text = ("x"):rep(1 << 20)
    local task = atoll.spawn(function()
      for i = 1, 40 do
        sender:send(text)
        sent = i
      end
    end)
    repeat atoll.sleep(0) until sent >= 15
    for _ = 1, 10 do atoll.sleep(0) end
    assert.equal(15, sent)
    for i = 1, 40 do
      assert.equal(#text, #port:receive(10))
      assert.truthy(sent <= i + 16, sent)
    end
    task:join(10)
    assert.equal("done", task:status())
  end)

  it("of one message may be more than that of many", function()
    local port = atoll.port()
    local sender = port:sender()
    local large = ("x"):rep(17 << 20)
    local task = atoll.spawn(function()
      sender:send "small"
      return sender:send(large)
    end)
    assert.same({ nil, "timed out", "ETIMEDOUT" }, { task:join(0.05) })
    assert.equal("small", (port:receive(10)))
    assert.is_true((task:join(10)))
    assert.equal(#large, #port:receive(10))
  end)
end)
