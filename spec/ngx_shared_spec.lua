-- ngx.shared: what OpenResty's libraries expect of it.
local atoll = require "atoll"
local shared = require "atoll.compat.shared_dict"

-- What it gives, and how many.
local function all(...) return table.pack(...) end

describe("ngx.shared", function()
  local d = shared.spec_ngx

  before_each(function() d:flush_all() end)

  it("has a dictionary for each name, that of atoll.shared", function()
    assert.equal(d, shared["spec_ngx"])
    assert.not_equal(d, shared.spec_ngx_other)
    assert.is_nil(shared[""])
    assert.is_nil(shared[1])
    assert.is_nil(shared[("x"):rep(256)])
    d:set("a", 1)
    assert.equal(1, atoll.shared("spec_ngx"):get "a")
  end)

  it("gets what was set", function()
    assert.same(all(nil), all(d:get "a"))
    assert.same(all(true, nil, false), all(d:set("a", "text")))
    assert.same(all(true, nil, false), all(d:set("b", false)))
    assert.same(all(true, nil, false), all(d:set(7, 1.5)))
    assert.same(all("text"), all(d:get "a"))
    assert.same(all(false), all(d:get "b"))
    assert.same(all(1.5), all(d:get "7"))
    assert.same(all("text", nil, false), all(d:get_stale "a"))
    d:delete "a"
    assert.is_nil(d:get "a")
    d:set("b", nil)
    assert.is_nil(d:get "b")
  end)

  it("keeps flags with values", function()
    d:set("a", 5, 0, 3)
    assert.same(all(5, 3), all(d:get "a"))
    assert.same(all(5, 3, false), all(d:get_stale "a"))
    assert.equal(7, d:incr("a", 2))
    assert.same(all(7, 3), all(d:get "a"))
    d:set("a", "x", 0, 3)
    assert.same(all(nil, "not a number"), all(d:incr("a", 1)))
    d:set("a", 5, 0, 0)
    assert.same(all(5), all(d:get "a"))
  end)

  it("says why not", function()
    assert.same(all(nil, "nil key"), all(d:get(nil)))
    assert.same(all(nil, "empty key"), all(d:set("", 1)))
    assert.same(all(nil, "key too long"), all(d:incr(("k"):rep(65536), 1)))
    assert.same(all(nil, "bad value type"), all(d:set("a", {})))
    assert.same(all(nil, "bad value type"), all(d:rpush("a", true)))
    assert.same(all(false, "not found", false), all(d:replace("a", 1)))
    assert.same(all(true, nil, false), all(d:add("a", 1)))
    assert.same(all(false, "exists", false), all(d:add("a", 2)))
    assert.same(all(false, "attempt to add or safe_set nil values", false),
      all(d:add("a", nil)))
    assert.has_error(function() d:set("a", 1, -1) end, 'bad "exptime" argument')
    assert.has_error(function() d:expire("a") end, 'bad "exptime" argument')
    assert.has_error(function() d:incr("a", 1, nil, 1) end,
      'must provide "init" when providing "init_ttl"')
  end)

  it("counts", function()
    assert.same(all(nil, "not found"), all(d:incr("n", 1)))
    assert.same(all(11, nil, false), all(d:incr("n", 1, 10, 100)))
    assert.same(all(12), all(d:incr("n", 1)))
    assert.is_true(d:ttl "n" > 50)
    d:set("n", "one")
    assert.same(all(nil, "not a number"), all(d:incr("n", 1)))
  end)

  it("knows when values end, 0 for never", function()
    d:set("a", 1, 0)
    assert.equal(0, d:ttl "a")
    assert.is_true(d:expire("a", 100))
    assert.is_true(d:ttl "a" > 50)
    assert.is_true(d:expire("a", 0))
    assert.equal(0, d:ttl "a")
    assert.same(all(nil, "not found"), all(d:ttl "b"))
    assert.same(all(nil, "not found"), all(d:expire("b", 1)))
    d:set("a", 1, 0.005)
    atoll.sleep(0.01)
    assert.is_nil(d:get "a")
    assert.equal(0, d:flush_expired())
  end)

  it("has lists", function()
    assert.equal(1, d:rpush("l", "b"))
    assert.equal(2, d:lpush("l", "a"))
    assert.equal(2, d:llen "l")
    assert.same(all(nil, "value is a list"), all(d:get "l"))
    assert.same(all(nil, "not a number"), all(d:incr("l", 1)))
    assert.equal("a", d:lpop "l")
    assert.equal("b", d:rpop "l")
    assert.is_nil(d:lpop "l")
    d:set("v", 1)
    assert.same(all(nil, "value not a list"), all(d:lpop "v"))
    assert.same(all(nil, "value not a list"), all(d:lpush("v", 1)))
  end)

  it("sets what fits only, when it is to be safe", function()
    atoll.shared("spec_ngx_small", { capacity = "64K" })
    local small = shared.spec_ngx_small
    small:flush_all()
    assert.equal(65536, small:capacity())
    local n = 0
    local ok, message
    repeat
      n = n + 1
      ok, message = small:safe_set(n, ("x"):rep(1000))
    until not ok
    assert.equal("no memory", message)
    assert.is_true(n > 50 and small:free_space() < 1200)
    assert.equal(1000, #small:get(1))
    local large = ("x"):rep(10000)
    assert.same(all(false, "no memory", false), all(small:safe_add("a", large)))
    assert.is_true(small:add("a", large))
    assert.is_nil(small:get(2))
  end)

  it("lists keys, 1024 unless told", function()
    for i = 1, 2000 do d:set("k" .. i, i) end
    assert.equal(1024, #d:get_keys())
    assert.equal(10, #d:get_keys(10))
    assert.equal(2000, #d:get_keys(0))
  end)
end)
