local atoll = require "atoll"
local loading = require "atoll.loading"
local task = require "atoll.core.task"
local tempapp = require "tempapp"

local load_module = loading.require

describe("require", function()
  local names

  -- Makes a module of this name whose loader is fn.
  local function module(name, fn)
    names[#names + 1] = name
    package.preload[name] = fn
  end

  before_each(function() names = {} end)

  after_each(function()
    for _, name in ipairs(names) do
      package.preload[name] = nil
      package.loaded[name] = nil
    end
  end)

  it("gives the module and what its searcher said", function()
    module("spec.a", function(...) return { ... } end)
    local value, data = load_module "spec.a"
    assert.same({ "spec.a", ":preload:" }, value)
    assert.same(":preload:", data)
    assert.equal(value, load_module "spec.a")
    assert.same(1, select("#", load_module "spec.a"))
  end)

  it("keeps true, false or what the module stored itself", function()
    module("spec.nothing", function() end)
    module("spec.false", function() return false end)
    module("spec.stored", function() package.loaded["spec.stored"] = "own" end)
    assert.is_true((load_module "spec.nothing"))
    assert.is_false((load_module "spec.false"))
    assert.same("own", (load_module "spec.stored"))
  end)

  it("says where it looked", function()
    local ok, message = pcall(load_module, "spec.not.there")
    assert.is_false(ok)
    assert.truthy(message:find("module 'spec.not.there' not found:\n\tno field "
      .. "package.preload['spec.not.there']\n\tno file '", 1, true))
    assert.truthy(message:find("/spec/not/there.lua'\n\tno file '", 1, true))
  end)

  -- A directory that may not be searched, or a name that is too long, was an error of
  -- another text, by which others tell what is missing from what is broken.
  it("says so where it could not look, too", function()
    local path = package.path
    package.path = "./" .. ("x"):rep(300) .. "/?.lua;" .. path
    local ok, message = pcall(require, "spec.not.there")
    package.path = path
    assert.is_false(ok)
    assert.truthy(message:find("module 'spec.not.there' not found:", 1, true), message)
  end)

  it("refuses what is no name, as Lua does", function()
    assert.has_error(function() load_module {} end,
      "bad argument #1 to 'require' (string expected, got table)")
    assert.has_error(function() load_module() end,
      "bad argument #1 to 'require' (string expected, got no value)")
  end)

  it("does not keep a module that raised", function()
    local times = 0
    module("spec.raises", function()
      times = times + 1
      if times == 1 then error("boom", 0) end
      return "fine"
    end)
    assert.has_error(function() load_module "spec.raises" end, "boom")
    assert.same("fine", (load_module "spec.raises"))
    assert.same(0, loading.count())
  end)

  it("tells a module that requires itself", function()
    module("spec.one", function() return load_module "spec.two" end)
    module("spec.two", function() return load_module "spec.one" end)
    local ok, message = pcall(load_module, "spec.one")
    assert.is_false(ok)
    assert.truthy(message:find("module 'spec.one' requires itself while it loads", 1,
      true))
    assert.same(0, loading.count())
  end)

  it("waits for a module that computes in another fiber", function()
    local times = 0
    module("spec.long", function()
      times = times + 1
      local till = atoll.now() + 0.1
      while atoll.now() < till do end
      return { whole = true }
    end)
    local function load() return load_module "spec.long" end
    local function inside() return coroutine.wrap(load)() end
    for _, first in ipairs { load, inside } do
      package.loaded["spec.long"] = nil
      local a, b, c = atoll.spawn(first), atoll.spawn(load), atoll.spawn(inside)
      local value = assert(a:join())
      assert.equal(value, b:join())
      assert.equal(value, c:join())
    end
    assert.equal(2, times)
    assert.same(0, loading.count())
  end)

  -- Who came while it was looked for loaded it a second time.
  it("waits for a module that another fiber still looks for", function()
    local times = 0
    local function searcher(name)
      if name ~= "spec.far" then return nil end
      atoll.sleep(0)
      return function()
        times = times + 1
        return { whole = true }
      end
    end
    table.insert(package.searchers, 1, searcher)
    local tasks, first = {}, nil
    for i = 1, 3 do tasks[i] = atoll.spawn(load_module, "spec.far") end
    for _, t in ipairs(tasks) do
      local value = assert(t:join())
      first = first or value
      assert.equal(first, value)
    end
    table.remove(package.searchers, 1)
    package.loaded["spec.far"] = nil
    assert.equal(1, times)
    assert.same(0, loading.count())
  end)

  describe("while a module waits", function()
    local sleep = task.sleep

    before_each(function() task.sleep = coroutine.yield end)
    after_each(function() task.sleep = sleep end)

    it("lets others wait for the finished module", function()
      local times = 0
      module("spec.slow", function()
        times = times + 1
        coroutine.yield "half"
        return { whole = true }
      end)
      local first = coroutine.create(load_module)
      local second = coroutine.create(load_module)
      assert.same({ true, "half" }, { coroutine.resume(first, "spec.slow") })
      coroutine.resume(second, "spec.slow")
      coroutine.resume(second)
      assert.same("suspended", coroutine.status(second))
      local _, mine = coroutine.resume(first)
      local _, theirs = coroutine.resume(second)
      assert.same("dead", coroutine.status(second))
      assert.is_true(mine.whole)
      assert.equal(mine, theirs)
      assert.same(1, times)
    end)

    it("loads it again when the first load fails or is given up", function()
      local times = 0
      module("spec.fails", function()
        times = times + 1
        if times <= 2 then
          coroutine.yield()
          error("boom", 0)
        end
        return "fine"
      end)
      local function start()
        local co = coroutine.create(load_module)
        coroutine.resume(co, "spec.fails")
        return co
      end
      local failing, waiting = start(), start()
      assert.same({ false, "boom" }, { coroutine.resume(failing) })
      coroutine.resume(waiting) -- loads it itself now
      assert.same(2, times)
      local third = start()
      coroutine.close(waiting)
      assert.same({ true, "fine", ":preload:" }, { coroutine.resume(third) })
      assert.same(0, loading.count())
    end)
  end)
end)

describe("boot", function()
  local app

  after_each(function()
    if app then app:close() end
    app = nil
    tempapp.clean()
  end)

  it("finds modules beside app.lua and in lib/", function()
    app = tempapp.load {
      ["app.lua"] = [[
        local one, two, three = require "one", require "two", require "deep.three"
        local four = require "four"
        return function() return table.concat({ one, two, three, four }, " ") end
      ]],
      ["one.lua"] = "return 'one'",
      ["lib/two.lua"] = "return 'two'",
      ["deep/three.lua"] = "return 'three'",
      ["lib/four/init.lua"] = "return 'four'",
    }
    assert.same("one two three four", app:request("GET", "/").body)
  end)

  it("finds its own modules before files of their names", function()
    app = tempapp.load {
      ["app.lua"] = "local atoll = require 'atoll' return function() "
        .. "return atoll.text(atoll.version) end",
      ["atoll.lua"] = "return {}",
    }
    assert.truthy(app:request("GET", "/").body:find("^%d+%.%d+"))
  end)

  it("names the file and line of a broken module", function()
    local message = tempapp.problem {
      ["app.lua"] = "require 'broken'", ["lib/broken.lua"] = "\nx x",
    }
    assert(message:find("error loading module 'broken' from file '.*/lib/broken.lua':\n"
      .. "\t.*broken.lua:2: "), message)
  end)

  it("loads no bytecode from files", function()
    local code = string.dump(function() return function() end end)
    local message = tempapp.problem { ["app.lua"] = code }
    assert(message:find("bytecode is not loaded, only text"), message)
    message = tempapp.problem {
      ["app.lua"] = "require 'compiled'", ["compiled.lua"] = code,
    }
    assert(message:find("bytecode is not loaded, only text"), message)
    app = tempapp.load {
      ["app.lua"] = [[
        local path = debug.getinfo(1, "S").source:match("^@(.*)/") .. "/compiled"
        return function()
          return { load = loadfile(path) == nil, mode = loadfile(path, "b") == nil,
                   run = pcall(dofile, path) }
        end
      ]],
      ["compiled"] = code,
    }
    assert.same({ load = true, mode = true, run = false },
      app:request("GET", "/"):json())
  end)

  describe("guards globals", function()
    local function get(target) return app:request("GET", target) end

    it("against handlers, and names the line", function()
      app = tempapp.load [[

        app:get("/", function() counter = 1 end)
        app:get("/caught", function()
          local ok, message = pcall(function() counter = 1 end)
          return tostring(ok) .. " " .. message .. " " .. tostring(counter)
        end)
        app:get("/raw", function()
          rawset(_G, "counter", 5)
          return { counter = counter }
        end)
        app:get("/nil", function() counter = nil return "fine" end)
      ]]
      assert.same(500, get("/").status)
      assert.truthy(get("/caught").body:find(
        "^false .*/app.lua:4: the global 'counter' is assigned: .* nil$"))
      assert.same({ counter = 5 }, get("/raw"):json())
      assert.same("fine", get("/nil").body)
    end)

    it("against modules of the app", function()
      local message = tempapp.problem {
        ["app.lua"] = "require 'module'", ["lib/module.lua"] = "\nfoo = 1",
      }
      assert(message:find("lib/module.lua:2: the global 'foo' is assigned"), message)
    end)

    it("but not against libraries while they load", function()
      local library = tempapp.directory {
        ["old.lua"] = "old_library = { set = function() other_global = 1 end } "
          .. "return old_library",
      }
      app = tempapp.load {
        ["app.lua"] = ([[
          package.path = package.path .. ";%s/?.lua"
          local app = require("atoll").app()
          app:get("/", function()
            return { is = require "old" == old_library, set = pcall(old_library.set) }
          end)
          return app
        ]]):format(library),
      }
      assert.same({ is = true, set = false }, get("/"):json())
    end)
  end)
end)
