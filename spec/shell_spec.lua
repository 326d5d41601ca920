-- os.execute and io.popen: what Lua has, and programs that can be signalled as if a
-- shell had started them.
local blocking = require("atoll").blocking
local host = require "support.host"
local wire = require "support.wire"

-- Sets of signals, by name: Blk, Ign, Cgt, ...
local function signals(text)
  local found = {}
  for name, bits in text:gmatch "Sig(%a%a%a):%s*(%x+)" do
    found[name] = tonumber(bits, 16)
  end
  return found
end

-- The shell's own: what it starts it clears of all that.
local STATUS = "while read -r name bits; do echo $name $bits; done </proc/self/status"
local PIPE <const> = 1 << (13 - 1)

local function popened(command)
  local pipe <close> = assert(io.popen(command))
  return pipe:read "a"
end

local function check(found)
  assert.equal(0, found.Blk)
  assert.equal(0, found.Ign & PIPE)
end

describe("a program", function()
  local path = os.tmpname()
  teardown(function() os.remove(path) end)
  after_each(function()
    wire.finish()
    host.finish()
  end)

  local function executed()
    assert(os.execute(("exec >'%s'; %s"):format(path, STATUS)))
    local file <close> = assert(io.open(path))
    return file:read "a"
  end

  it("that io.popen starts can be signalled", function()
    check(signals(popened(STATUS)))
    check(signals(blocking(popened, STATUS)))
  end)

  it("that os.execute starts can be signalled", function()
    check(signals(executed()))
    check(signals(blocking(executed)))
  end)

  it("ends by a signal", function()
    assert.same({ nil, "signal", 15 }, { os.execute "kill -TERM $$" })
    assert.same({ nil, "signal", 15 }, { blocking(os.execute, "kill -TERM $$") })
  end)

  it("ends by a signal that the host does not heed", function()
    local h = host.start { app = [[
      app:get("/", function(req)
        return (select(2, os.execute("kill -" .. req.query.signal .. " $$")))
      end)]] }
    for _, name in ipairs { "INT", "QUIT", "PIPE", "TERM", "HUP", "USR1" } do
      assert.equal("signal", wire.ask(h, ("GET /?signal=%s HTTP/1.1\r\nHost: a\r\n\r\n")
        :format(name)).body)
    end
  end)

  it("is not told of more than a shell's program is", function()
    local ends = popened "yes | head -n 1; echo ${?}"
    assert.equal("y\n0\n", ends)
  end)
end)

describe("os.execute", function()
  it("answers as Lua's does", function()
    assert.is_true(os.execute())
    assert.same({ true, "exit", 0 }, { os.execute "true" })
    assert.same({ nil, "exit", 3 }, { os.execute "exit 3" })
    assert.same({ nil, "exit", 127 }, { os.execute "/nowhere/at/all 2>/dev/null" })
    assert.error_matches(function() os.execute {} end, "string expected, got table")
  end)
end)

describe("io.popen", function()
  it("reads, and tells at the end how it went", function()
    local pipe = io.popen "echo one; echo two; exit 5"
    assert.equal("file", io.type(pipe))
    assert.same({ "one", "two" }, { pipe:read("l", "l") })
    assert.same({ nil, "exit", 5 }, { pipe:close() })
    assert.equal("closed file", io.type(pipe))
    assert.error_matches(function() pipe:read() end, "closed file")
  end)

  it("writes", function()
    local path = os.tmpname()
    local pipe = io.popen(("cat >'%s'"):format(path), "w")
    assert.equal(pipe, pipe:write("a", 1, "\n"))
    assert.same({ true, "exit", 0 }, { pipe:close() })
    local file <close> = assert(io.open(path))
    assert.equal("a1\n", file:read "a")
    os.remove(path)
  end)

  it("tells that what was written has got lost", function()
    local said = os.tmpname()
    local read
    local pipe = io.popen(("exec </dev/null; echo gone >'%s'"):format(said), "w")
    repeat
      local file <close> = io.open(said)
      read = file and file:read "l"
    until read == "gone"
    assert.equal(pipe, pipe:write "lost")
    assert.same({ nil, "Broken pipe", 32 }, { pipe:close() })
    os.remove(said)
  end)

  it("is told of the end of what it reads", function()
    local first = io.popen("cat >/dev/null", "w")
    local second = io.popen("cat >/dev/null", "w") -- does not hold the first one's end
    assert.is_true(first:close())
    assert.is_true(second:close())
  end)

  it("takes r and w", function()
    for _, mode in ipairs { "", "rw", "x", "re", "r+" } do
      assert.error_matches(function() io.popen("true", mode) end, "invalid mode")
    end
    assert.error_matches(function() io.popen() end, "string expected")
    assert.is_true(io.popen("true", nil):close())
  end)

  it("is closed by whoever forgets it", function()
    -- Not by io.popen: the host may still have the other end.
    local path = os.tmpname()
    local function pipes()
      assert(os.execute(("ls -l /proc/$PPID/fd | grep -c pipe: >'%s'"):format(path)))
      local file <close> = assert(io.open(path))
      return file:read "n"
    end
    collectgarbage() -- of other specs
    local before = pipes()
    for _ = 1, 20 do io.popen "true" end
    collectgarbage()
    assert.equal(before, pipes())
    os.remove(path)
  end)

  it("goes through io.lines' and io.input's hands", function()
    local all = {}
    for line in io.popen("printf 'a\\nb'"):lines() do all[#all + 1] = line end
    assert.same({ "a", "b" }, all)
    local before = io.input()
    io.input(io.popen "echo there")
    assert.equal("there", io.read())
    io.close(io.input())
    io.input(before)
  end)

  it("says why there is no program", function()
    local text = popened [[
      ulimit -n 30; exec "$ATOLL" run /dev/stdin <<'END'
      local open = {}
      repeat
        local file = io.open "/dev/null"
        open[#open + 1] = file
      until not file
      print(io.popen "true")
      print(os.execute "true")
END]]
    assert.equal("nil\ttrue: Too many open files\t24\ntrue\texit\t0\n", text)
  end)
end)
