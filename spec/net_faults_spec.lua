-- Each system call in turn fails, or does one byte only: who called is told or does not
-- notice, nobody else is hurt, and nothing is left behind.
local certs = require "support.certs"
local faults = require "support.faults"
local host = require "support.host"
local net = require "atoll.net"
local wire = require "support.wire"

local program = assert(os.getenv "ATOLL", "ATOLL must name the program")

local SECONDS = 1.5 -- for each scenario

local scenarios = { "tcp", "unix", "udp", "tls", "names", "http", "luasocket", "select",
  "datagrams", "files", "isolates" }

local dir, control

-- What the program prints, with these arguments, and its exit code.
local function run(arguments)
  local words = { "exec 2>&1; timeout 300 env" }
  for name, value in pairs(faults.environment(program, control)) do
    words[#words + 1] = ("%s='%s'"):format(name, value)
  end
  local pipe = io.popen(("%s %s %s"):format(table.concat(words, " "), program,
    arguments))
  local out = pipe:read "a"
  local _, how, code = pipe:close()
  assert(how == "exit" and not out:find "Sanitizer" and not out:find "runtime error:",
    out)
  return out, code
end

-- An address that nobody has.
local function free_address()
  local s <close> = assert(net.udp "127.0.0.1:0")
  return s:name()
end

describe("a system call that fails", function()
  before_each(function()
    dir = host.directory()
    control = dir .. "/faults"
    faults.make(control)
  end)

  after_each(function()
    wire.finish()
    host.finish()
  end)

  teardown(certs.remove)

  for _, name in ipairs(scenarios) do
    it("hurts only who called: " .. name, function()
      local files = certs.make()
      for _, file in ipairs { "ca", "server", "key" } do
        assert(os.execute(("cp %s %s/%s"):format(files[file], dir, file)))
      end
      local address = free_address()
      local line = "run --resolver %s --resolver-timeout 0.3 %s %s %s %g %s %s"
      local out, code = run(line:format(address, "spec/apps/faults/sweep.lua", control,
        dir, SECONDS, name, address))
      local tried = out:match "(%d+) faults, [^\n]* 0 problems\n$"
      assert(tried and code == 0, out)
      assert.is_true(tonumber(tried) > 0) -- in the time; how many, the machine decides
    end)
  end

  -- Before the script runs nobody can go on: the program says why, and ends.
  it("is told when the program cannot start", function()
    local script = dir .. "/script.lua"
    local f = assert(io.open(script, "w"))
    f:write 'print "here"'
    f:close()
    local line = "run " .. script
    assert.same({ "here\n", 0 }, { run(line) })
    local shim = faults.open(control)
    local list = {}
    for call, code in faults.each() do
      for n = 1, math.min(shim:counts(call), 4) do
        list[#list + 1] = { call = call, code = code, n = n }
      end
    end
    local every = host.SLOW and 7 or 1
    for i = 1, #list, every do
      local fault = list[i]
      for call in faults.each() do shim:disarm(call) end
      shim:arm(fault.call, fault.code, fault.n)
      local out, code = run(line)
      local told = code > 0 and code < 100 and #out > 10
      local what = ("%s %d %s: exit code %d\n%s"):format(fault.call, fault.n,
        fault.code, code, out)
      assert(told or code == 0 and out == "here\n", what)
    end
    shim:close()
  end)

  it("does not stop a host that serves", function()
    local h = host.start { app = [[
      app:get("/", function() return ("x"):rep(50000) end)
      app:get("/probe", function() return "probe" end)
    ]], isolates = 2, env = faults.environment(program, control) }
    local pid = h:serving_pid()
    local shim = faults.open(control)
    local function ask()
      local c = wire.connect(h)
      for _ = 1, 2 do
        c:send "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
        if not pcall(c.receive, c, nil, 2) then break end
      end
      c:close()
    end
    for call in faults.each() do shim:disarm(call) end
    for _ = 1, 3 do ask() end
    local list = {}
    for call, code in faults.each() do
      for n = 1, math.min(shim:counts(call), 3) do
        list[#list + 1] = { call = call, code = code, n = n }
      end
    end
    assert.is_true(#list > 10)
    local all = 0
    for i, fault in ipairs(list) do
      local told = #h.log
      shim:arm(fault.call, fault.code, fault.n)
      ask()
      shim:disarm(fault.call)
      assert.equal("probe", wire.ask(h, "/probe").body)
      local _, lines = h.log:sub(told + 1):gsub("error", "")
      all = all + lines
      -- In each isolate one, and those of the last one that came late.
      assert(lines <= 4 and all <= 2 * i, h.log:sub(told + 1))
    end
    assert.equal(pid, h:serving_pid())
    shim:close()
  end)
end)
