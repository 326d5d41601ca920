-- Listeners: atoll.net.listen.
local atoll = require "atoll"
local events = require "support.events"
local file = require "support.file"
local host = require "support.host"
local net = require "atoll.net"
local whole = require "support.whole"

local function spawn(fn, ...) return atoll.spawn(fn, ...):quiet() end

local function settle()
  for _ = 1, 3 do atoll.sleep(0) end
end

after_each(host.finish)

local function exists(path) return os.rename(path, path) or false end

setup(whole.begin)
teardown(whole.over)

describe("a listener", function()
  it("has a name that can be connected to", function()
    for _, address in ipairs { "127.0.0.1:0", "[::1]:0", "localhost:0" } do
      local l <close> = assert(net.listen(address))
      assert.matches(":%d+$", l:name())
      assert(net.connect(l:name())):close()
      assert(l:accept()):close()
    end
    local all <close> = assert(net.listen ":0")
    local port = all:name():match ":(%d+)$"
    assert(net.connect("127.0.0.1:" .. port)):close()
    assert(net.connect("[::1]:" .. port)):close()
  end)

  it("gives each of those who came before it asked", function()
    local l <close> = assert(net.listen "127.0.0.1:0")
    local clients, seen = {}, {}
    for i = 1, 5 do clients[i] = assert(net.connect(l:name())) end
    for i = 1, 5 do seen[i] = assert(l:accept()):peer() end
    for i = 1, 5 do
      assert.equal(clients[i]:name(), seen[i])
      clients[i]:close()
    end
  end)

  it("waits for as long as it is told", function()
    local l <close> = assert(net.listen "127.0.0.1:0")
    assert.same({ n = 3, nil, "timed out", "ETIMEDOUT" }, table.pack(l:accept(0)))
    assert.same({ n = 3, nil, "timed out", "ETIMEDOUT" }, table.pack(l:accept(0.005)))
    local c <close> = assert(net.connect(l:name()))
    assert.equal(c:name(), l:accept(10):peer())
  end)

  it("that is closed says so to whoever waits, and later", function()
    local l = assert(net.listen "127.0.0.1:0")
    local name = l:name()
    local task = spawn(function() return l:accept() end)
    local server = spawn(function() return l:serve(print) end)
    settle()
    assert.equal("ELUA", (select(3, server:join())))
    assert.is_true(l:close())
    assert.is_true(l:close())
    assert.same({ nil, "closed", "ECLOSED" }, { task:join() })
    assert.equal("ECLOSED", (select(3, l:accept())))
    assert.equal("ECLOSED", (select(3, l:name())))
    assert.matches("closed", tostring(l))
    assert.equal("ECONNREFUSED", (select(3, net.connect(name))))
  end)

  it("cannot have an address that another one has, but with reuseport", function()
    local l <close> = assert(net.listen "127.0.0.1:0")
    local _, message, code = net.listen(l:name())
    assert.equal("EADDRINUSE", code)
    assert.equal("cannot listen on " .. l:name() .. ": Address already in use", message)
    local a <close> = assert(net.listen("127.0.0.1:0", { reuseport = true }))
    local b <close> = assert(net.listen(a:name(), { reuseport = true }))
    assert.equal(a:name(), b:name())
  end)

  it("says what is wrong with an address", function()
    assert.equal("EINVAL", (select(3, net.listen "nonsense")))
    assert.equal("ENOTFOUND", (select(3, net.listen "nobody.invalid:0")))
    assert.equal("EADDRNOTAVAIL", (select(3, net.listen "192.0.2.1:0")))
    assert.has_error(function() net.listen() end)
    assert.has_error(function() net.listen("127.0.0.1:0", { backlog = 0 }) end)
    assert.error_matches(function() net.listen("127.0.0.1:0", { port = 1 }) end,
      "unknown option 'port'")
  end)

  it("takes away the file of its unix socket, and that of a dead one", function()
    local path = os.tmpname() .. ".sock"
    local l = assert(net.listen("unix:" .. path))
    assert.equal("unix:" .. path, l:name())
    assert.equal("EADDRINUSE", (select(3, net.listen("unix:" .. path))))
    l:close()
    assert.is_false(exists(path))
    local dead = host.start { files = { ["app.lua"] = "return function() end" },
      listen = { "unix:" .. path } }
    require("luv").kill(dead.pid, "sigkill")
    dead:ended()
    assert.is_true(exists(path))
    events.poll("the old host to go", function()
      l = net.listen("unix:" .. path)
      return l
    end)
    l:close()
    assert.is_false(exists(path))
  end)

  it("gives its options to those that it accepts", function()
    local l <close> = assert(net.listen("127.0.0.1:0", { line_max = 4, keepalive = true,
      nodelay = false }))
    local c <close> = assert(net.connect(l:name()))
    local s <close> = assert(l:accept())
    c:write "12345\n"
    assert.equal("ETOOLARGE", (select(3, s:read())))
  end)
end)

describe("serve", function()
  it("runs a fiber for each, and closes its socket behind it", function()
    local l = assert(net.listen "127.0.0.1:0")
    local task = spawn(function()
      return l:serve(function(s)
        for line in s:lines() do
          if line == "quit" then return end
          s:write(line:upper(), "\n")
        end
      end)
    end)
    local clients = {}
    for i = 1, 20 do
      clients[i] = assert(net.connect(l:name()))
      clients[i]:write("hello ", i, "\n")
    end
    for i = 1, 20 do assert.equal("HELLO " .. i, clients[i]:read()) end
    for i = 1, 20 do
      clients[i]:write "quit\n"
      assert.is_nil(clients[i]:read())
      clients[i]:close()
    end
    l:close()
    assert.is_true(task:join())
  end)

  it("goes on when one of them fails, and logs it", function()
    local h = host.start { app = [[
      local net = require "atoll.net"
      app:on("start", function()
        local l = assert(net.listen "127.0.0.1:0")
        atoll.log.info("echo at %s", l:name())
        atoll.spawn(l.serve, l, function(s)
          local function breaks() error("broken " .. s:read()) end
          breaks()
        end)
      end)
    ]] }
    local address = h:log_wait "echo at (%S+)"
    for i = 1, 3 do
      local c <close> = assert(net.connect(address))
      c:write(i, "\n")
      assert.is_nil(c:read())
    end
    for i = 1, 3 do
      h:log_wait("a connection's function failed: [^\n]*app.lua:6: broken " .. i)
      h:log_wait "in local 'breaks'"
    end
  end)

  it("with nothing to wait in, or no function, raises", function()
    local l <close> = assert(net.listen "127.0.0.1:0")
    assert.has_error(function() l:serve() end)
    table.sort({ 2, 1 }, function()
      local ok, err = pcall(l.serve, l, print)
      assert(not ok and err:find "cannot wait inside table.sort", err)
      return false
    end)
  end)

  -- Where it is watched is looked up when it is first needed, which takes descriptors.
  it("closes what is its own, and nothing else, after a lack of descriptors", function()
    local path = os.tmpname()
    finally(function() os.remove(path) end)
    file.write(path, [[
      local atoll = require "atoll"
      local function waiting()
        local l = assert(atoll.net.listen "127.0.0.1:0")
        atoll.spawn(function() l:accept() end)
        atoll.sleep(0)
        return l
      end
      local function descriptors()
        local list = assert(atoll.fs.list "/proc/self/fd")
        return #list
      end
      local first, second = waiting(), waiting()
      local before, files = descriptors(), {}
      for i = 1, 40 do files[i] = io.open "/dev/null" end
      first:close()
      for _, f in ipairs(files) do f:close() end
      second:close()
      print(#files < 40, before - descriptors())]])
    local pipe <close> = io.popen(("ulimit -n 40; %s run %s"):format(
      os.getenv "ATOLL", path))
    assert.equal("true\t2\n", pipe:read "a")
  end)

  it("without descriptors goes on as they come, and tells so once", function()
    local h = host.start { isolates = 1, shell = "ulimit -n 40", app = [[
      local net = require "atoll.net"
      app:on("start", function()
        local l = assert(net.listen "127.0.0.1:0")
        atoll.log.info("waits at %s", l:name())
        atoll.spawn(l.serve, l, function(s)
          s:write "hello\n"
          s:read()
        end)
      end)
    ]] }
    local address = h:log_wait "waits at (%S+)"
    local list, began = {}, events.now()
    for i = 1, 60 do list[i] = assert(net.connect(address)) end
    h:log_wait "cannot accept connections on"
    for i = 1, 60 do
      assert.equal("hello", list[i]:read("line", 20))
      list[i]:close()
    end
    local most = 2 + (events.now() - began) // 10 -- in ten seconds once
    assert.is_true(h:count "cannot accept connections" <= most)
    assert.is_true(h:count "accepting connections again" <= most)
  end)

  it("leaves nothing of many connections", function()
    local h = host.start { app = [[
      local net = require "atoll.net"
      app:on("start", function()
        local l = assert(net.listen "127.0.0.1:0")
        atoll.log.info("echo at %s", l:name())
        atoll.spawn(l.serve, l, function(s)
          for data in function() return s:read("some") end do s:write(data) end
        end)
      end)
    ]] }
    local address = h:log_wait "echo at (%S+)"
    local before = h:held()
    local tasks = {}
    for i = 1, 50 do
      tasks[i] = spawn(function()
        for _ = 1, 4 do
          local c <close> = assert(net.connect(address))
          local text = ("x"):rep(i * 997)
          c:write(text)
          assert(c:read(#text) == text)
        end
        return true
      end)
    end
    for i = 1, 50 do assert(tasks[i]:join()) end
    events.poll("all to be closed", function() return h:descriptors() <= before end)
  end)
end)

describe("what an app has opened", function()
  local function app(text)
    return host.start { set = { drain_timeout = 60 }, app = [[
      local net = require "atoll.net"
      ]] .. text }
  end

  it("while it loads works, and in its fibers later", function()
    local l <close> = assert(net.listen "127.0.0.1:0")
    local task = spawn(function()
      local s <close> = assert(l:accept())
      assert.equal("from the loader", s:read())
      s:write "welcome\nrest"
      assert.equal("from a fiber", s:read())
      s:write "bye\n"
      return true
    end)
    local h = host.spawn { app = ([[
      local net = require "atoll.net"
      local s = assert(net.connect(%q))
      s:write("from the loader\n")
      local greeting = s:read()
      local _, why = s:read("line", 0.01)
      app:get("/", function()
        s:write("from a fiber\n")
        return greeting .. " " .. why .. " " .. s:read()
      end)
    ]]):format(l:name()), set = { isolates = 1 } }
    events.poll("the host", function()
      atoll.sleep(0)
      return h.log:find "atoll: serving"
    end)
    local port = h.log:match "http://127.0.0.1:(%d+)"
    local c <close> = assert(net.connect("127.0.0.1:" .. port))
    c:write "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    local answer
    local reader = spawn(function() answer = c:read "all" end)
    events.poll("the answer", function()
      atoll.sleep(0)
      return answer
    end)
    reader:join()
    assert.matches("welcome timed out restbye$", answer)
    assert.is_true(task:join())
    h:log_wait "network calls outside a fiber block the thread"
    assert.equal(1, h:count "network calls outside a fiber block the thread")
  end)

  it("is closed when its code has been replaced", function()
    local h = app [[
      local l = assert(net.listen "127.0.0.1:0")
      local c = assert(net.connect(l:name()))
      app:get("/", function() return "ok" end)
    ]]
    local before = h:held()
    for n = 2, 5 do
      h:hup()
      h:log_wait("generation " .. n .. " serves")
    end
    events.poll("the old ones to go", function() return h:descriptors() <= before end)
  end)

  it("and owes bytes to is sent them when it stops", function()
    local l <close> = assert(net.listen "127.0.0.1:0")
    local h = app(([[
      app:on("start", function()
        local c = assert(net.connect(%q))
        c:settimeout(0)
        c:write(("x"):rep(10 * 1024 * 1024))
      end)
    ]]):format(l:name()))
    local s <close> = assert(l:accept())
    h:term()
    local n = 0
    local task = spawn(function()
      for data in function() return s:read "some" end do n = n + #data end
    end)
    events.poll("the end", function()
      atoll.sleep(0)
      return h.code
    end)
    task:join()
    assert.equal(10 * 1024 * 1024, n)
  end)
end)
