-- atoll.shared: one dictionary for all isolates, before a reload and after it.
local atoll = require "atoll"
local events = require "support.events"
local host = require "support.host"
local load = require "support.load"
local testing = require "atoll.testing"
local wire = require "support.wire"

local ISOLATES = 4

-- What it gives, and how many.
local function all(...) return table.pack(...) end

local function failed(message, code) return { n = 3, nil, message, code } end

describe("a shared dictionary", function()
  local d = atoll.shared "spec"

  before_each(function() d:flush() end)

  it("is the same for the same name", function()
    assert.equal(d, atoll.shared "spec")
    assert.not_equal(d, atoll.shared "spec.other")
    atoll.shared("spec.other"):set("a", 1)
    assert.is_nil(d:get "a")
  end)

  it("keeps strings, numbers and booleans as they are", function()
    local values = { "", "text\0with\xff", ("x"):rep(100000), 7, math.mininteger, 1.0,
      -0.0, 1e300, math.huge, true, false }
    for i, value in ipairs(values) do
      assert.same(all(true), all(d:set("k" .. i, value)))
      local got = all(d:get("k" .. i))
      assert.same(all(value), got)
      assert.equal(math.type(value), math.type(got[1]))
    end
    d:set("nan", 0 / 0)
    local nan = d:get "nan"
    assert.is_true(nan ~= nan)
  end)

  it("keeps copies of tables, with what they share and their cycles", function()
    local leaf = { 1, 2.5, "three" }
    local tree = setmetatable({ a = leaf, b = leaf, [1.5] = true }, { __index = {} })
    tree.self = tree
    d:set("tree", tree)
    leaf[1] = "changed later"
    local copy = d:get "tree"
    assert.equal(copy, copy.self)
    assert.equal(copy.a, copy.b)
    assert.same({ 1, 2.5, "three" }, copy.a)
    assert.is_nil(getmetatable(copy))
    assert.not_equal(copy, d:get "tree")
    local rows = {}
    for i = 1, 2000 do rows[i] = { id = i, name = "row " .. i } end
    d:set("rows", rows)
    assert.same(rows, d:get "rows")
  end)

  it("tells texts from integers among its keys, as a table does", function()
    d:set(7, "integer")
    d:set("7", "text")
    d:set("", "empty")
    assert.equal("integer", d:get(7))
    assert.equal("integer", d:get(7.0))
    assert.equal("text", d:get "7")
    assert.equal("empty", d:get "")
    assert.is_nil(d:get(8))
    d:set(("k"):rep(65535), 1)
    assert.equal(1, d:get(("k"):rep(65535)))
    assert.same(failed("the key is too long", "ETOOLARGE"),
      all(d:get(("k"):rep(65536))))
    assert.same(failed("the key is too long", "ETOOLARGE"),
      all(d:set(("k"):rep(65536), 1)))
  end)

  it("removes with delete, and by setting nil", function()
    d:set("a", 1)
    assert.is_true(d:delete "a")
    assert.is_false(d:delete "a")
    assert.same(all(nil), all(d:get "a"))
    d:set("a", 1)
    assert.is_true(d:set("a", nil))
    assert.is_true(d:set("a", nil))
    assert.is_nil(d:get "a")
  end)

  it("adds what is not there, and replaces what is", function()
    assert.same(failed("not found", "ENOENT"), all(d:replace("a", 1)))
    assert.is_true(d:add("a", false))
    assert.same(failed("exists", "EEXIST"), all(d:add("a", 2)))
    assert.equal(false, d:get "a")
    assert.is_true(d:replace("a", 3))
    assert.equal(3, d:get "a")
  end)

  it("counts, integers as integers", function()
    assert.same(failed("not found", "ENOENT"), all(d:incr "n"))
    assert.equal(11, d:incr("n", 1, 10))
    assert.equal(12, d:incr "n")
    assert.equal(2, d:incr("n", -10, 10))
    assert.equal("integer", math.type(d:get "n"))
    assert.equal(2.5, d:incr("n", 0.5))
    assert.equal(2.5, d:get "n")
    d:set("n", math.maxinteger)
    assert.same(failed("overflow", "EOVERFLOW"), all(d:incr "n"))
    assert.equal(math.maxinteger, d:get "n")
    d:set("n", "7")
    assert.same(failed("not a number", "EWRONGTYPE"), all(d:incr "n"))
  end)

  it("puts a value in the place of the version that was read", function()
    assert.same({ n = 2, nil, 0 }, all(d:get_versioned "a"))
    assert.is_true(d:cas("a", 0, { 1 }))
    assert.same(failed("changed meanwhile", "ESTALE"), all(d:cas("a", 0, { 2 })))
    local value, version = d:get_versioned "a"
    assert.same({ 1 }, value)
    assert.is_true(d:cas("a", version, { 2 }))
    assert.same(failed("changed meanwhile", "ESTALE"), all(d:cas("a", version, nil)))
    value, version = d:get_versioned "a"
    assert.same({ 2 }, value)
    d:delete "a"
    d:set("a", { 2 })
    assert.same(failed("changed meanwhile", "ESTALE"), all(d:cas("a", version, 1)))
    version = select(2, d:get_versioned "a")
    assert.is_true(d:cas("a", version, nil))
    assert.is_nil(d:get "a")
  end)

  it("updates with a function, again when another change came between", function()
    local calls = 0
    local function append(list)
      calls = calls + 1
      list = list or {}
      if calls == 1 then d:set("list", { "first" }) end
      list[#list + 1] = "second"
      return list
    end
    assert.same({ "first", "second" }, d:update("list", append))
    assert.equal(2, calls)
    assert.same({ "first", "second" }, d:get "list")
    assert.is_nil(d:update("list", function() return nil end))
    assert.is_nil(d:get "list")
    d:set("kept", 1, 50)
    d:update("kept", function(n) return n + 1 end)
    assert.is_true(d:ttl "kept" < math.huge)
    d:update("kept", function(n) return n + 1 end, math.huge)
    assert.equal(math.huge, d:ttl "kept")
    assert.has_error(function() d:update("kept", function() error "mine" end) end)
    assert.equal(3, d:get "kept")
    local never = all(d:update("kept", function(n) d:incr "kept" return n end))
    assert.same(failed("changed meanwhile", "ESTALE"), never)
  end)

  it("forgets values whose time is over", function()
    d:set("a", 1, 0.005)
    d:set("b", 1, 100)
    d:add("c", 1, 0.005)
    d:incr("d", 1, 0, 0.005)
    assert.is_true(d:ttl "b" > 50 and d:ttl "b" <= 100)
    atoll.sleep(0.01)
    assert.is_nil(d:get "a")
    assert.is_nil(d:get "c")
    assert.same(failed("not found", "ENOENT"), all(d:ttl "d"))
    assert.equal(1, d:get "b")
    assert.is_true(d:add("a", 2))
    assert.equal(math.huge, d:ttl "a")
    assert.is_true(d:expire("a", 0.005))
    assert.is_true(d:expire("b"))
    assert.equal(math.huge, d:ttl "b")
    atoll.sleep(0.01)
    assert.same(failed("not found", "ENOENT"), all(d:expire("a", 1)))
    assert.same({ "b" }, d:keys())
  end)

  it("says how long with the value: a new one has no end, a changed one keeps it",
    function()
      d:set("n", 1, 100)
      d:incr("n")
      assert.is_true(d:ttl "n" <= 100)
      d:set("n", 1)
      assert.equal(math.huge, d:ttl "n")
      d:set("n", 1, math.huge)
      assert.equal(math.huge, d:ttl "n")
      d:set("n", 1, 100)
      local _, version = d:get_versioned "n"
      d:cas("n", version, 2)
      assert.is_true(d:ttl "n" <= 100)
    end)

  it("has lists", function()
    assert.equal(0, d:llen "l")
    assert.same(all(nil), all(d:lpop "l"))
    assert.equal(1, d:rpush("l", "b"))
    assert.equal(2, d:rpush("l", { "c" }))
    assert.equal(3, d:lpush("l", ("a"):rep(5000)))
    assert.equal(4, d:rpush("l", false))
    assert.equal(4, d:llen "l")
    assert.equal(("a"):rep(5000), d:lpop "l")
    assert.equal(false, d:rpop "l")
    assert.same({ "c" }, d:rpop "l")
    d:expire("l", 100)
    d:rpush("l", 2)
    assert.is_true(d:ttl "l" <= 100)
    assert.equal("b", d:lpop "l")
    assert.equal(2, d:lpop "l")
    assert.is_nil(d:rpop "l")
    assert.same({}, d:keys())
    assert.equal(0, d:capacity().used)
  end)

  it("does not take a list for a value, nor a value for a list", function()
    d:rpush("l", 1)
    d:set("v", 1)
    assert.same(failed("is a list", "EWRONGTYPE"), all(d:get "l"))
    assert.same(failed("is a list", "EWRONGTYPE"), all(d:get_versioned "l"))
    assert.same(failed("is a list", "EWRONGTYPE"), all(d:update("l", print)))
    assert.same(failed("not a number", "EWRONGTYPE"), all(d:incr "l"))
    for _, method in ipairs { "rpush", "lpush", "rpop", "lpop", "llen" } do
      assert.same(failed("not a list", "EWRONGTYPE"), all(d[method](d, "v", 1)))
    end
    assert.same(failed("exists", "EEXIST"), all(d:add("l", 1)))
    assert.is_true(d:set("l", 2))
    assert.equal(2, d:get "l")
  end)

  it("lists its keys", function()
    local want = {}
    for i = 1, 3000 do
      d:set("user:" .. i, i)
      want[i] = "user:" .. i
    end
    d:set("other", 1)
    d:set(12, 1)
    local got = d:keys "user:"
    table.sort(want)
    table.sort(got)
    assert.same(want, got)
    assert.equal(3002, #d:keys())
    assert.equal(10, #d:keys(10))
    assert.equal(5, #d:keys("user:", 5))
    assert.same({ "other" }, d:keys "o")
    assert.same({}, d:keys(0))
  end)

  it("lets go what was not used for the longest time when it is full", function()
    local small = atoll.shared("spec.small", { capacity = "64K" })
    local n = 0
    while small:capacity().evictions == 0 do
      n = n + 1
      small:set(n, ("x"):rep(100))
      assert.is_truthy(small:get(1))
    end
    assert.is_nil(small:get(2))
    assert.is_truthy(small:get(1))
    assert.is_truthy(small:get(n))
    local c = small:capacity()
    assert.equal(65536, c.limit)
    assert.is_true(c.used <= c.limit and c.used > c.limit - 1000)
    assert.equal(n, c.entries + c.evictions)
    assert.same(failed("no memory", "ENOMEM"), all(small:set("all", ("x"):rep(65536))))
    assert.same(failed("no memory", "ENOMEM"), all(small:rpush("l", ("x"):rep(65536))))
    assert.equal(c.entries, small:capacity().entries)
    assert.is_true(small:set("most", ("x"):rep(60000)))
    assert.equal(60000, #small:get "most")
    small:flush()
    local length, message
    for _ = 1, 100 do
      length, message = small:rpush("l", ("x"):rep(1000))
      if not length then break end
    end
    assert.equal("no memory", message)
    assert.is_true(small:llen "l" > 50)
    small:flush()
    assert.equal(0, small:capacity().used)
    assert.equal(0, small:capacity().entries)
  end)

  it("changes its capacity", function()
    local room = atoll.shared("spec.room", { capacity = "1M" })
    for i = 1, 1000 do room:set(i, ("x"):rep(500)) end
    assert.equal(1 << 20, room:capacity().limit)
    assert.equal(1000, room:capacity().entries)
    local c = room:capacity "128K"
    assert.equal(1 << 17, c.limit)
    assert.is_true(c.used <= 1 << 17 and c.used > 1 << 16)
    assert.equal(1000, c.entries + c.evictions)
    assert.equal(500, #room:get(1000))
    assert.is_nil(room:get(1))
    assert.equal(65536, room:capacity(65536).limit)
    assert.equal(1 << 30, room:capacity("1G").limit)
    assert.is_true(room:set("large", ("x"):rep(2 << 20)))
    room:capacity "64K"
    assert.is_nil(room:get "large")
    assert.has_error(function() room:capacity "63K" end,
      "capacity is 63K, less than 64K")
  end)

  it("raises when it is used wrongly", function()
    local function refused(pattern, fn, ...)
      local ok, message = pcall(fn, ...)
      assert.is_false(ok)
      assert.matches(pattern, message)
    end
    refused("string or integer expected", d.get, d)
    refused("string or integer expected", d.get, d, 1.5)
    refused("string or integer expected", d.set, d, {}, 1)
    refused("atoll.shared expected", d.get, {}, "a")
    refused("atoll.shared expected", d.get, io.stdout, "a")
    refused("value%.f: a function cannot be sent", d.set, d, "a", { f = print })
    refused("more than 0", d.set, d, "a", 1, 0)
    refused("negative or NaN", d.set, d, "a", 1, -1)
    refused("negative or NaN", d.expire, d, "a", 0 / 0)
    refused("number expected", d.incr, d, "a", "1")
    refused("value expected", d.add, d, "a", nil)
    refused("value expected", d.rpush, d, "a")
    refused("shared_spec.lua:%d+: .* is a string, not nil", atoll.shared)
    refused("shared_spec.lua:%d+: .* 1 to 255 bytes", atoll.shared, "")
    refused("capacity is 1Q", atoll.shared, "spec.bad", { capacity = "1Q" })
    refused("capacity is 1K, less than 64K", atoll.shared, "spec.bad",
      { capacity = "1K" })
    refused("size is no option", atoll.shared, "spec.bad", { size = "1M" })
    assert.same({}, d:keys())
  end)

  it("is seen by an app under test", function()
    d:set("greeting", "hello")
    local app = testing.load(host.directory { ["app.lua"] = host.app [[
      local d = atoll.shared "spec"
      local at_load = d:get "greeting"
      app:get("/", function() d:set("seen", true) return at_load end)]] })
    assert.equal("hello", app:request("GET", "/").body)
    app:close()
    assert.is_true(d:get "seen")
    host.finish()
  end)

  it("is seen by spawned isolates, four at once", function()
    local turns = host.SLOW and 1000 or 5000
    local path = host.directory { ["count.lua"] = ([[
      local d = require("atoll").shared "spec"
      for i = 1, %d do
        d:incr("n", 1, 0)
        -- It gives up when others are quicker a hundred times.
        repeat
          local done, _, code = d:update("t", function(t)
            return { n = (t and t.n or 0) + 1 }
          end)
        until done or code ~= "ESTALE"
      end]]):format(turns) } .. "/count.lua"
    local handles = {}
    for i = 1, ISOLATES do handles[i] = assert(atoll.isolate.spawn(path)) end
    for _, handle in ipairs(handles) do assert.is_nil(select(2, handle:join(300))) end
    assert.equal(ISOLATES * turns, d:get "n")
    assert.same({ n = ISOLATES * turns }, d:get "t")
    host.finish()
  end)

  it("is used by finalizers, in the middle of its own calls too", function()
    d:set("big", ("x"):rep(100000))
    d:set("rows", { {}, {}, ("y"):rep(1000) })
    for i = 1, 2000 do
      setmetatable({}, { __gc = function()
        d:incr("closed", 1, 0)
        assert(#d:get "big" == 100000 and #d:get "rows" == 3)
        d:set("rows", { {}, {}, ("y"):rep(1000) })
      end })
      assert.equal(100000, #d:get "big")
      d:set("table", { i, { i } })
      assert.equal(i, d:get("table")[2][1])
    end
    collectgarbage()
    assert.equal(2000, d:get "closed")
  end)
end)

describe("shared dictionaries", function()
  after_each(function()
    wire.finish()
    host.finish()
  end)

  it("lose no change of four isolates under reload", function()
    local turns = host.SLOW and 500 or 2000
    local APP = [[
      local d = atoll.shared "hits"
      app:on("start", function()
        atoll.spawn(function()
          for i = 1, %d do
            d:incr("spun", 1, 0)
            -- It gives up when others are quicker a hundred times.
            repeat
              local done = d:update("table", function(t)
                t = t or { n = 0 }
                t.n = t.n + 1
                return t
              end)
            until done
            d:rpush("list", i)
            if i %% 2 == 0 then d:lpop "list" end
            d:set("other" .. i, ("x"):rep(i), 0.01)
            if i %% 100 == 0 then atoll.sleep(0) end
          end
          d:incr("ended", 1, 0)
        end)
      end)
      app:get("/", function() return tostring(d:incr("requests", 1, 0)) end)
      app:get("/counts", function()
        local ended = d:get "ended" -- first: then nothing changes any more
        return {
          spun = d:get "spun", ended = ended, requests = d:get "requests",
          table = d:get "table", list = d:llen "list", version = %d,
        }
      end)]]
    local function app(version) return APP:format(turns, version) end
    local h = host.start { app = app(1), isolates = ISOLATES,
      set = { drain_timeout = 60 } }
    local given = {}
    local run = load.start(h, { connections = 8, check = function(response)
      if response.status ~= 200 or given[response.body] then return response.body end
      given[response.body] = true
    end })
    local reloads = host.SLOW and 3 or 8
    for n = 2, reloads do
      h:write_app(app(n))
      h:hup()
      h:log_wait("reload: generation " .. n .. " serves after")
      run:run(50)
    end
    run:stop()
    local counts
    events.retry("the tasks to end", function()
      counts = atoll.json.decode(wire.ask(h, "/counts").body)
      return counts.ended == reloads * ISOLATES
    end, 60)
    assert.same({
      spun = reloads * ISOLATES * turns,
      table = { n = reloads * ISOLATES * turns },
      list = reloads * ISOLATES * turns // 2,
      ended = reloads * ISOLATES,
      requests = run.answers,
      version = reloads,
    }, counts)
  end)

  it("are there while an app loads, and keep their capacity", function()
    local h = host.start { app = [[
      local d = atoll.shared("a", { capacity = "1M" })
      d:incr("loads", 1, 0)
      app:get("/", function() return d:get "loads" .. " " .. d:capacity().limit end)
      app:get("/usual", function()
        return tostring(atoll.shared("b"):capacity().limit)
      end)]], isolates = 2, set = { shared_memory = "128K" } }
    assert.equal("2 1048576", wire.ask(h, "/").body)
    assert.equal("131072", wire.ask(h, "/usual").body)
    h:write_app [[
      local d = atoll.shared("a", { capacity = "2M" })
      app:get("/", function() return d:get "loads" .. " " .. d:capacity().limit end)]]
    h:hup()
    h:log_wait 'atoll.shared%("a"%): the capacity stays at 1048576 bytes'
    h:log_wait "reload: generation 2 serves"
    assert.equal("2 1048576", wire.ask(h, "/").body)
    assert.equal(1, h:count "the capacity stays")
  end)

  it("give their memory back", function()
    local h = host.start { app = [[
      local d = atoll.shared "a"
      app:get("/", function()
        for i = 1, 2000 do d:set(i, { i, ("x"):rep(i), { d:get(i) } }) end
        for i = 1, 100 do d:rpush("l", ("x"):rep(1000)) end
        d:flush()
        return tostring(d:capacity().used)
      end)]], isolates = 1 }
    local function some(n)
      for _ = 1, n do assert.equal("0", wire.ask(h, "/").body) end
    end
    some(3)
    local before = h:memory()
    some(host.SLOW and 3 or 12)
    h:grows_less(4096, before)
  end)
end)
