-- Several isolates, or generations, that listen at one address.
local atoll = require "atoll"
local command = require "support.command"
local host = require "support.host"

local net = atoll.net

-- A script in each isolate that listens at its first argument and answers with its
-- isolate's number; the first to be told "stop" ends all.
local SERVER = [[
  local atoll = require "atoll"
  local isolate = require "atoll.core.host".isolate()
  local l = assert(atoll.net.listen(arg[1]))
  io.stdout:write(l:name() .. "\n")
  io.stdout:flush()
  l:serve(function(s)
    local line = s:read "line"
    if line == "stop" then atoll.exit(0) end
    s:write(isolate, "\n")
  end)]]

describe("a listening address", function()
  local dir
  before_each(function() dir = command.begin() end)
  after_each(function()
    host.finish()
    command.finish()
  end)

  local function ask(name, what)
    local s <close> = assert(net.connect(name))
    s:write(what or "hello", "\n")
    return s:read("line", 10)
  end

  -- Runs SERVER with -n 3 while fn(name) runs in here.
  local function with_server(address, fn)
    command.write("s.lua", SERVER)
    local pipe = assert(io.popen(("%s run -n 3 %s/s.lua '%s'"):format(
      os.getenv "ATOLL", dir, address)))
    local names = { pipe:read "l", pipe:read "l", pipe:read "l" }
    local ok, message = pcall(fn, names)
    pcall(ask, names[1], "stop")
    local left = pipe:read "a"
    assert.is_true(pipe:close(), left)
    assert(ok, message)
  end

  it("is one for all isolates of a program", function()
    with_server("127.0.0.1:0", function(names)
      assert.same({ names[1], names[1], names[1] }, names)
      local seen = {}
      for _ = 1, 50 do seen[ask(names[1])] = true end
      assert.is_truthy(next(seen))
      -- Who never waits has no part in it.
      local open = {}
      for i = 1, 30 do open[i] = assert(net.connect(names[1])) end
      for _, s in ipairs(open) do s:write "hello\n" end
      for _, s in ipairs(open) do
        assert.matches("^[123]$", s:read("line", 10))
        s:close()
      end
    end)
  end)

  it("of a unix socket goes with the last that listens there", function()
    local path = dir .. "/socket"
    with_server("unix:" .. path, function(names)
      assert.equal("unix:" .. path, names[3])
      assert.is_truthy(ask(names[1]))
      assert.is_true(command.exists "socket")
    end)
    assert.is_false(command.exists "socket")
  end)

  it("is another one for each of an isolate", function()
    local a <close> = assert(net.listen "127.0.0.1:0")
    local b <close> = assert(net.listen "127.0.0.1:0")
    assert.not_equal(a:name(), b:name())
    assert.equal("EADDRINUSE", (select(3, net.listen(b:name()))))
  end)

  it("is there for new code while the old still has it", function()
    local path = dir .. "/app"
    local app = [[
      local l
      app:on("start", function()
        l = assert(atoll.net.listen "unix:%s")
        atoll.spawn(l.serve, l, function(s) s:write "%s\n" end)
      end)
      app:on("reload", function()
        %s
      end)]]
    local function answer()
      local s <close> = assert(net.connect("unix:" .. path))
      return s:read("line", 10)
    end
    local h = host.start { isolates = 2, app = app:format(path, "old", "l:close()") }
    assert.equal("old", answer())
    h:write_app(app:format(path, "new", ""))
    assert.matches("serves", h:reload())
    for _ = 1, 10 do assert.equal("new", answer()) end
    h:stop()
    assert.is_false(command.exists "app")
  end)
end)
