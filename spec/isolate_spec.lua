-- What a Lua state of the host is like for the program in it.
local atoll = require "atoll"
local file = require "support.file"

describe("a state", function()
  it("loads text and no bytecode", function()
    local function nothing() end
    local bytes = string.dump(nothing)
    local refused = { n = 2, nil, "bytecode is not loaded, only text" }
    assert.same(refused, table.pack(load(bytes)))
    assert.same(refused, table.pack(load(bytes, "name", "b")))
    assert.same(refused, table.pack(load(bytes, "name", "bt", {})))
    assert.same(refused, table.pack(load("return 1", "name", "b")))
    local pieces = { bytes }
    assert.same(refused, table.pack(load(function() return table.remove(pieces) end)))
    local name = os.tmpname()
    file.write(name, bytes)
    finally(function() os.remove(name) end)
    assert.same(refused, table.pack(loadfile(name)))
    assert.error_matches(function() dofile(name) end, "bytecode is not loaded")
    assert.equal(1, load("return 1")())
    assert.equal(2, load("return x", "name", "t", { x = 2 })())
    assert.is_nil(load("return print", "name", "t", nil)
      and select(2, pcall(load("return print", "name", "t", {}))))
  end)

  it("finds modules by package.path, as text", function()
    local name = os.tmpname()
    finally(function() os.remove(name) end)
    local function write(bytes)
      file.write(name, bytes)
    end
    local path = package.path
    package.path = name
    finally(function()
      package.path = path
      os.remove(name)
    end)
    write("return { ... }")
    assert.same({ "spec.of.text", name }, require "spec.of.text")
    write(string.dump(function() end))
    assert.error_matches(function() require "spec.of.bytes" end, "bytecode")
  end)

  it("keeps the process's locale", function()
    assert.equal("C", os.setlocale())
    assert.equal("C", os.setlocale("C"))
    assert.is_nil(os.setlocale("de_DE.UTF-8"))
    assert.is_nil(os.setlocale("C.UTF-8", "collate"))
  end)

  it("does not lose memory to fibers that end", function()
    local function round()
      local tasks = {}
      for i = 1, 200 do
        tasks[i] = atoll.spawn(function()
          coroutine.wrap(function() atoll.timeout(10, atoll.sleep, 0) end)()
        end)
      end
      while tasks[1] do table.remove(tasks):join() end
      collectgarbage()
      collectgarbage()
      return collectgarbage("count")
    end
    for _ = 1, 3 do round() end
    local before = round()
    for _ = 1, 10 do round() end
    assert.is_true(round() - before < 32)
  end)
end)
