-- A script as the first isolate.
local command = require "support.command"

describe("run", function()
  before_each(command.begin)
  after_each(command.finish)

  it("exits as the script says", function()
    command.write("s.lua", "os.exit(7)")
    assert.equal(7, (command.atoll "run DIR/s.lua"))
    command.write("s.lua", "print(...) print(arg[0]:match '[^/]*$')")
    local code, out = command.atoll "run DIR/s.lua a b"
    assert.equal(0, code)
    assert.equal("a\tb\ns.lua\n", out)
  end)

  it("ends a script that waits with the first signal", function()
    command.write("s.lua", [[
      os.execute "kill -TERM $PPID"
      require "atoll".sleep(60)]])
    assert.equal(143, (command.atoll "run DIR/s.lua"))
  end)

  -- Such a script hears of nothing: only SIGKILL ended it.
  it("ends a script that never waits with the second", function()
    command.write("s.lua", [[while true do os.execute "kill -TERM $PPID" end]])
    assert.equal(143, (command.atoll "run DIR/s.lua"))
  end)
end)
