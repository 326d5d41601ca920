-- A script as a program: how it ends, what it hears, what it reads and writes.
local command = require "support.command"
local events = require "support.events"
local uv = require "luv"

local program = os.getenv "ATOLL"
local SHOUT = 'local atoll = require "atoll" io.stdout:setvbuf "no" '

-- A value whose closing prints the text.
local CLOSER = [[local function closer(text)
  return setmetatable({}, { __close = function() print(text) end })
end ]]

local dir

local function run(script, arguments, environment)
  command.write("s.lua", script)
  return command.atoll("run DIR/s.lua " .. (arguments or ""), environment)
end

local started

-- Runs a script whose three files are sockets; what comes of it is in out, err, code
-- and signal of the result.
local function start(script, ...)
  command.write("s.lua", script)
  local s = { out = "", err = "", open = 2, stdin = uv.new_pipe(false) }
  local stdio = { s.stdin, uv.new_pipe(false), uv.new_pipe(false) }
  local args = { "run", ... }
  args[#args + 1] = dir .. "/s.lua"
  s.handle, s.pid = uv.spawn(program, {
    args = args, stdio = stdio,
  }, events.guard(function(code, signal)
    s.code, s.signal = code, signal
    s.handle:close()
  end))
  for i, field in ipairs { "out", "err" } do
    stdio[i + 1]:read_start(function(_, data)
      if data then
        s[field] = s[field] .. data
      else
        s.open = s.open - 1
        stdio[i + 1]:close()
      end
    end)
  end
  function s:says(text)
    events.wait(function() return text .. " in " .. self.out .. self.err end,
      function() return self.out:find(text, 1, true) end)
  end
  function s:ends()
    events.wait(function() return "the end of the script: " .. self.out .. self.err end,
      function() return self.code and self.open == 0 end)
    local closed = false
    self.stdin:close(function() closed = true end)
    events.wait("the closing of stdin", function() return closed end)
    assert.is_nil(self.err:find "Sanitizer", self.err)
    return self.code, self.signal
  end
  started = s
  return s
end

local function begin()
  dir = command.begin()
  started = nil
end

local function finish()
  if started and not started.code then
    uv.kill(started.pid, "sigkill")
    started:ends()
  end
  command.finish()
end

describe("run", function()
  before_each(begin)
  after_each(finish)

  it("gives the script its arguments", function()
    local code, out = run("print(...) print(arg[0]:match '[^/]*$', #arg)", "a 'b c' -n")
    assert.equal(0, code)
    assert.equal("a\tb c\t-n\ns.lua\t3\n", out)
  end)

  it("exits as the script says", function()
    assert.equal(7, (run "os.exit(7)"))
    assert.equal(7, (run "require 'atoll'.exit(7)"))
    assert.equal(7, (run "return 7"))
    assert.equal(0, (run "return"))
    assert.equal(0, (run "return true"))
    assert.equal(1, (run "return false"))
    assert.equal(0, (run "return 'done'"))
    assert.equal(1, (run "os.exit(false)"))
  end)

  it("exits with 1 and a traceback after an error", function()
    local code, out, err = run [[
      local function breaks() error "broken" end
      breaks()
      print "on"]]
    assert.equal(1, code)
    assert.equal("", out)
    assert.matches("s.lua:1: broken", err)
    assert.matches("s.lua:1: in [^\n]*'breaks'\n", err)
    assert.equal(66, (command.atoll "run DIR/missing.lua"))
  end)

  it("is over when its last line has run, and closes what is to be closed", function()
    local code, out = run(CLOSER .. [[
      local atoll = require "atoll"
      atoll.spawn(function()
        local _ <close> = closer "task closed"
        atoll.sleep(1000)
      end)
      atoll.after(1000, print)
      atoll.sleep(0)
      local _ <close> = closer "script closed"]])
    assert.equal(0, code)
    assert.equal("script closed\ntask closed\n", out)
  end)

  it("is ended by exit from any fiber", function()
    local code, out = run(CLOSER .. [[
      local atoll = require "atoll"
      atoll.spawn(function()
        coroutine.wrap(function() atoll.exit(300) end)()
        print "never"
      end)
      local _ <close> = closer "closed"
      atoll.sleep(1000)]])
    assert.equal(300 - 256, code)
    assert.equal("closed\n", out)
  end)

  it("refuses exit and signals where there is an app", function()
    command.write("app.lua", [[
      local atoll = require "atoll"
      print(pcall(atoll.exit))
      print(pcall(atoll.signals, "HUP"))
      print(pcall(os.exit))
      return function() end]])
    local code, out = command.atoll "check DIR"
    assert.equal(0, code)
    assert.matches("false\tatoll.exit is for scripts", out)
    assert.matches("false\tatoll.signals is for scripts", out)
    assert.matches("false\tos.exit would end the whole host", out)
  end)

  it("has as many isolates as it is told to, and one else", function()
    command.write("s.lua",
      "io.write(require 'atoll.core.host'.isolate() .. '\\n')")
    assert.equal("1\n", select(2, command.atoll "run DIR/s.lua"))
    local _, out = command.atoll "run -n 3 DIR/s.lua"
    local list = {}
    for line in out:gmatch "%d+" do list[#list + 1] = line end
    table.sort(list)
    assert.same({ "1", "2", "3" }, list)
  end)

  it("says why a module that is there cannot be opened", function()
    command.write("m.lua", "return 'm'")
    command.write("c.so", "no library")
    local code, out, err = run([[
      local list = {}
      local function try(name)
        local ok, message = pcall(require, name)
        list.text = (list.text or "") .. tostring(message):match "[^\n]*" .. "\n"
      end
      while true do
        local f = io.open "/dev/null"
        if not f then break end
        list[#list + 1] = f
      end
      try "m"
      try "c"
      try "none"
      for _, f in ipairs(list) do f:close() end
      try "none"
      print(list.text .. require "m")]], nil, "prlimit -n40")
    assert.same({ 0, "" }, { code, err })
    assert.matches("^module 'm' cannot be loaded: [^\n]*/m.lua: Too many open files\n"
      .. "module 'c' cannot be loaded: [^\n]*/c.so: Too many open files\n"
      .. "module 'none' not found:\nmodule 'none' not found:\nm\n$", out)
  end)

  it("in several isolates ends with the last, or with the first that fails", function()
    command.write("s.lua", [[
      local atoll = require "atoll"
      local isolate = require "atoll.core.host".isolate()
      local how = ...
      if isolate == 1 then
        atoll.sleep(0.05)
        print "first is last"
        return
      elseif how == "fail" then
        error "broken"
      elseif how == "code" then
        return isolate + 3
      elseif how == "exit" then
        atoll.spawn(atoll.exit, 4)
        atoll.sleep(1000)
      end]])
    local code, out = command.atoll "run -n 3 DIR/s.lua"
    assert.equal(0, code)
    assert.equal("first is last\n", out)
    assert.equal(1, (command.atoll "run -n 2 DIR/s.lua fail"))
    assert.equal(5, (command.atoll "run -n 2 DIR/s.lua code"))
    assert.equal(4, (command.atoll "run -n 3 DIR/s.lua exit"))
  end)
end)

describe("a signal to a script", function()
  before_each(begin)
  after_each(finish)

  it("cancels it, and ends the program when all is closed", function()
    for _, case in ipairs { { "sigint", 2 }, { "sigterm", 15 }, { "sighup", 1 },
      { "sigusr1", 10 } } do
      local s = start(SHOUT .. CLOSER .. [[
        atoll.spawn(function()
          local _ <close> = closer "task closed"
          atoll.sleep(1000)
        end)
        atoll.sleep(0)
        local _ <close> = closer "script closed"
        print "there"
        print(pcall(atoll.sleep, 1000))
        atoll.sleep(1000)]])
      s:says "there"
      uv.kill(s.pid, case[1])
      assert.same({ 0, case[2] }, { s:ends() })
      assert.equal("there\nfalse\tcancelled\nscript closed\ntask closed\n", s.out)
    end
  end)

  it("that it takes for the end lets it choose its exit code", function()
    local s = start(SHOUT .. [[
      print "there"
      pcall(atoll.sleep, 1000)]])
    s:says "there"
    uv.kill(s.pid, "sigterm")
    assert.same({ 0, 0 }, { s:ends() })
    s = start(SHOUT .. [[
      print "there"
      pcall(atoll.sleep, 1000)
      atoll.exit(3)]])
    s:says "there"
    uv.kill(s.pid, "sigterm")
    assert.same({ 3, 0 }, { s:ends() })
  end)

  -- Such a script hears of nothing: only SIGKILL ended it.
  it("ends one that never waits when it comes twice", function()
    assert.equal(143, (run [[while true do os.execute "kill -TERM $PPID" end]]))
    assert.equal(143, (run [[
      os.execute "kill -TERM $PPID"
      require "atoll".sleep(60)]]))
  end)

  it("ends one that computes, or is in one call, when drain_timeout is over", function()
    for _, busy in ipairs {
      "while true do end",
      "while true do pcall(function() while true do end end) end",
      "string.find(('a'):rep(60), ('a-'):rep(12) .. 'b')",
    } do
      local s = start(SHOUT .. 'print "there"\n' .. busy, "--drain-timeout", "0.1")
      s:says "there"
      uv.kill(s.pid, "sigterm")
      assert.same({ 0, 15 }, { s:ends() })
      assert.matches("had not ended when drain_timeout was over", s.err)
    end
  end)

  it("is told to those who listen, and does nothing else", function()
    local s = start(SHOUT .. [[
      atoll.signal("USR1", function(name) print("called", name) end)
      atoll.signal({ "USR1", "USR2" }, function(name) print("also", name) end)
      print "there"
      for name in atoll.signals { "INT", "TERM", "HUP" } do
        print("heard", name)
        if name == "TERM" then break end
      end
      print "over"
      atoll.sleep(1000)]])
    s:says "there"
    uv.kill(s.pid, "sigusr1")
    s:says "called\tUSR1"
    s:says "also\tUSR1"
    for _, name in ipairs { "INT", "HUP", "INT", "TERM" } do
      uv.kill(s.pid, "sig" .. name:lower())
      s:says("heard\t" .. name)
    end
    s:says "over"
    uv.kill(s.pid, "sigwinch") -- nobody listens, nobody is hurt
    uv.kill(s.pid, "sigterm")
    assert.same({ 0, 15 }, { s:ends() })
    assert.equal(2, select(2, s.out:gsub("USR1", "")))
  end)

  it("is told once when it comes often, and to every isolate", function()
    local s = start(SHOUT .. [[
      local heard = atoll.signals "HUP"
      print "there"
      assert(heard:wait() == "HUP")
      print "heard"
      assert(select(3, heard:wait(0.01)) == "ETIMEDOUT")
      heard:close()
      assert(select(3, heard:wait()) == "ECLOSED")
      print(heard)]], "-n", "2")
    events.wait("two to listen", function()
      return select(2, s.out:gsub("there", "")) == 2
    end)
    uv.kill(s.pid, "sighup")
    assert.same({ 0, 0 }, { s:ends() })
    assert.equal(2, select(2, s.out:gsub("heard", "")))
    assert.equal(2, select(2, s.out:gsub("signals %(closed, HUP%)", "")))
  end)

  it("is known by its name", function()
    local _, out = run [[
      local atoll = require "atoll"
      print(pcall(atoll.signals, "SIGINT"))
      print(pcall(atoll.signals, {}))
      print(pcall(atoll.signal, "KILL", print))
      print(pcall(atoll.signal, "INT"))
      print(atoll.signals { "TERM", "INT" })]]
    assert.matches("no signal is called 'SIGINT'; there are INT", out)
    assert.matches("no signal is named", out)
    assert.matches("no signal is called 'KILL'", out)
    assert.matches("signals %(INT, TERM%)", out)
    assert.equal(4, select(2, out:gsub("false\t", "")))
  end)

  it("ends the programs that it has started as ever", function()
    local _, out = run [[
      print(os.execute "kill -TERM $$")
      print(os.execute "kill -INT $$")
      print(os.execute "kill -PIPE $$")]]
    assert.equal("nil\tsignal\t15\nnil\tsignal\t2\nnil\tsignal\t13\n", out)
  end)

  it("that it was started to ignore is ignored until it listens", function()
    command.write("s.lua", [[
      local atoll = require "atoll"
      os.execute "kill -HUP $PPID"
      atoll.sleep(0.01)
      local heard = atoll.signals "HUP"
      os.execute "kill -HUP $PPID"
      print(heard:wait())]])
    local pipe = io.popen(("trap '' HUP; %s run %s/s.lua"):format(program, dir))
    assert.equal("HUP\n", pipe:read "a")
    assert.is_true(pipe:close())
  end)
end)

describe("the standard files of a script", function()
  local CAT = [[
    local atoll = require "atoll"
    for line in atoll.stdin:lines() do atoll.stdout:write(line, "\n") end]]
  local COUNT = [[
    local atoll = require "atoll"
    local n = 0
    for part in function() return atoll.stdin:read "some" end do n = n + #part end
    print(n)]]

  -- What a script says on its stderr, for who waits for it.
  local TOLD = "rm -f DIR/told; mkfifo DIR/told; "

  before_each(begin)
  after_each(finish)

  -- What the shell prints that runs the command, DIR and ATOLL in it replaced.
  local function shell(script, line)
    command.write("s.lua", script)
    line = line:gsub("ATOLL", program .. " run DIR/s.lua"):gsub("DIR", dir)
    local pipe = assert(io.popen(line))
    local out = pipe:read "a"
    pipe:close()
    return out
  end

  it("wait, be they pipes, files or devices", function()
    local lines = shell(CAT, "seq 20000")
    assert.equal(lines, shell(CAT, "seq 20000 | ATOLL"))
    assert.equal(lines, shell(CAT, "seq 20000 >DIR/in; ATOLL <DIR/in"))
    assert.equal(lines, shell(CAT, "ATOLL <DIR/in >DIR/out; cat DIR/out"))
    assert.equal(lines .. lines, shell(CAT, "ATOLL <DIR/in >>DIR/out; cat DIR/out"))
    assert.equal("", shell(CAT, "ATOLL </dev/null"))
    assert.equal("10000000\n", shell(COUNT, "head -c 10000000 /dev/zero | ATOLL"))
  end)

  it("wait on a terminal", function()
    local out = shell(CAT, "printf 'one\\ntwo\\n\\004' | script -qec 'ATOLL' /dev/null")
    assert.matches("one\r\n.*two\r\n", out)
  end)

  it("wait where they are sockets", function()
    local s = start [[
      local atoll = require "atoll"
      atoll.stdout:write("there\n")
      atoll.stderr:write "err\n"
      print(atoll.stdin:read(3), atoll.stdin:read "line", atoll.stdin:read_until "--")
      print(atoll.stdin:read("line", 0.01))
      print(atoll.stdin:read "all")]]
    s:says "there"
    s.stdin:write "abcd\nuntil--part"
    s:says "abc\td\tuntil"
    s:says "ETIMEDOUT"
    s.stdin:write " and the rest"
    s.stdin:shutdown()
    assert.same({ 0, 0 }, { s:ends() })
    assert.matches("part and the rest\n$", s.out)
    assert.equal("err\n", s.err)
  end)

  it("let others run while they wait", function()
    assert.equal("10\n5000000\n", shell([[
      local atoll = require "atoll"
      local ticks = 0
      local task = atoll.spawn(function()
        for _ = 1, 10 do
          atoll.sleep(0.002)
          ticks = ticks + 1
        end
        atoll.stderr:write(ticks, "\n")
      end)
      atoll.stdout:write(("x"):rep(5000000))
      task:join()]], TOLD .. "ATOLL 2>DIR/told | (head -n 1 DIR/told; wc -c)"))
  end)

  it("get all that was written, though the script has ended and its reader is slow",
    function()
      local line = TOLD .. "ATOLL 2>DIR/told | (head -n 1 DIR/told; wc -c)"
      assert.equal("over\n1000000\n", shell([[
        local atoll = require "atoll"
        atoll.spawn(function() atoll.stdout:write(("x"):rep(1000000)) end)
        atoll.sleep(0)
        io.stderr:write "over\n"]], line))
      assert.equal("over\n100000\n", shell([[
        local atoll = require "atoll"
        atoll.spawn(function() atoll.stdout:write(("x"):rep(100000)) end)
        atoll.sleep(0)
        io.stderr:write "over\n"
        atoll.exit(0)]], line))
    end)

  it("tell when nobody reads", function()
    assert.equal("nil\tbroken pipe\tEPIPE\n", shell([[
      local atoll = require "atoll"
      local ok, message, code
      repeat
        ok, message, code = atoll.stdout:write(("x"):rep(100000))
      until not ok
      print = atoll.stderr:write(tostring(ok), "\t", message:lower(), "\t", code, "\n")
    ]], "(ATOLL | true) 2>&1"))
  end)

  it("are left as they were", function()
    local out = shell([[
      local atoll = require "atoll"
      local task = atoll.spawn(function() ]] .. COUNT .. [[ end)
      atoll.sleep(0)
      io.stderr:write "waits\n"
      task:join()]], TOLD .. "(head -n 1 DIR/told >/dev/null; echo x)"
      .. " | (ATOLL 2>DIR/told; cat /proc/self/fdinfo/0)")
    assert.matches("^2\n", out)
    local flags = tonumber(out:match "flags:%s*(%d+)", 8)
    assert.equal(0, flags & 0x800) -- O_NONBLOCK
  end)

  it("can be read by one fiber at a time", function()
    local out = shell([[
      local atoll = require "atoll"
      atoll.spawn(function() atoll.stdin:read() end)
      atoll.sleep(0)
      print(pcall(atoll.stdin.read, atoll.stdin))]], "mkfifo DIR/in; ATOLL <>DIR/in")
    assert.matches("false\t.*another fiber is already reading", out)
  end)
end)
