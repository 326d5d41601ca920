-- Code written for Lua 5.1: the functions of the setting compat, and libraries that
-- Debian has for older versions only.
local command = require "support.command"
local host = require "support.host"
local wire = require "support.wire"

-- Runs a script with these options; what it printed.
local function run(options, text)
  command.write("s.lua", text)
  local code, out, err = command.atoll("run " .. options .. " DIR/s.lua")
  assert(code == 0, out .. err)
  return out
end

describe("compat 5.1", function()
  before_each(command.begin)
  after_each(command.finish)

  it("is not there unless it is asked for", function()
    assert.equal("nil\tnil\tnil\n", run("", "print(setfenv, module, ngx)"))
  end)

  it("has the functions of old", function()
    assert.equal("2\t2\t3\t1.5\t8.0\n", run("--compat 5.1", [[
      local a, b = unpack({ 1, 2 })
      print(b, table.getn { 1, 2 }, table.maxn { 1, nil, 3 }, math.mod(7.5, 2),
        math.pow(2, 3))]]))
    assert.equal("a,b,\n6\n", run("--compat 5.1", [[
      for word in string.gfind("a b", "%w") do io.write(word, ",") end
      print()
      print(loadstring("return 1 + ...", "sum")(5))]]))
  end)

  it("leaves alone what there is", function()
    assert.equal("true\n", run("--compat 5.1", [[
      local unpack = table.unpack
      print(unpack == _G.unpack and string.gmatch == string.gfind
        and package.loaders == package.searchers)]]))
  end)

  it("gives a function its own environment", function()
    assert.equal("mine\tglobal\tmine\tglobal\n", run("--compat 5.1", [[
      x = "global"
      local function read() return x end
      local function other() return x end
      setfenv(read, { x = "mine" })
      print(read(), other(), getfenv(read).x, getfenv(other).x)]]))
  end)

  it("gives the environment of a function to those made in it", function()
    assert.equal("mine\tglobal\n", run("--compat 5.1", [[
      x = "global"
      local before = function() return x end
      local function make()
        setfenv(1, { x = "mine" })
        return function() return x end
      end
      print(make()(), before())]]))
  end)

  it("notes the environment of a function that has no globals", function()
    assert.equal("true\ttrue\n", run("--compat 5.1", [[
      local function f() end
      local env = {}
      print(setfenv(f, env) == f, getfenv(f) == env)]]))
  end)

  it("refuses what 5.1 refused", function()
    assert.equal([[
'setfenv' cannot change environment of given object
bad argument #1 to 'setfenv' (invalid level)
bad argument #2 to 'setfenv' (table expected, got nil)
bad argument #1 to 'getfenv' (level must be non-negative)
name conflict for module 'string.rep'
]], run("--compat 5.1", [[
      local function tell(...)
        print((select(2, pcall(...)):gsub("^.-:%d+: ", "")))
      end
      tell(setfenv, print, {})
      tell(setfenv, 90, {})
      tell(setfenv, 1)
      tell(getfenv, -1)
      tell(module, "string.rep")]]))
  end)

  it("has modules that name themselves", function()
    command.write("old.lua", [[
      module("old.and.gray", package.seeall)
      count = 7
      function double() return 2 * count end
      name = _NAME .. "|" .. _PACKAGE .. "|" .. tostring(_M == getfenv(1))]])
    assert.equal("14\told.and.gray|old.and.|true\ttrue\tnil\n", run(
      "--compat 5.1", [[
      require "old"
      local gray = require "old.and.gray"
      print(gray.double(), gray.name, old["and"].gray == gray, count)]]))
  end)

  it("keeps globals of an app strict", function()
    local h = host.start {
      files = {
        ["app.lua"] = [[
          require "old"
          return function()
            return tostring(old.two()) .. tostring(pcall(function() new = 1 end))
          end]],
        ["old.lua"] = 'module("old", package.seeall) function two() return 2 end',
      },
      set = { compat = "5.1" },
    }
    assert.equal("2false", wire.ask(h, "/").body)
    host.finish()
  end)

  it("may stand in the config file as a list", function()
    command.write("atoll.lua", 'return { compat = { 5.1, "ngx" } }')
    local code, out = command.atoll "check DIR"
    assert.equal(0, code)
    assert.truthy(out:find("compat = 5.1,ngx  (", 1, true))
    command.refuses(64, "--compat: compat must be 5.1 or ngx, not '5.0'",
      "check DIR --compat 5.0")
  end)
end)

describe("compat_path", function()
  before_each(command.begin)
  after_each(command.finish)

  it("finds libraries that Debian has for 5.1 to 5.3", function()
    assert.equal("MessagePack redis basexx json\n", run("--compat-path", [[
      for _, name in ipairs { "MessagePack", "redis", "basexx", "json" } do
        assert(type(require(name)) == "table", name)
        io.write(name == "MessagePack" and "" or " ", name)
      end
      print()]]))
  end)

  it("brings libraries in the style of 5.1 to life with compat", function()
    assert.equal("<p>It <em>works</em></p>\n<1><2>\n", run(
      "--compat-path --compat 5.1", [[
      require "markdown"
      print((markdown("It *works*"):gsub("\n", "")))
      local cosmo = require "cosmo"
      print(cosmo.fill("$list[=[<$n>]=]", { list = function()
        for n = 1, 2 do cosmo.yield { n = n } end
      end }))]]))
  end)
end)
