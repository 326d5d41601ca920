local pattern = require "atoll.pattern"

describe("pattern", function()
  it("judges as the router does", function()
    local good = {
      "/", "/a", "/a/", "/:a", "/:a/:b2/c", "/*", "/*path", "/a/*path", "/ä b",
      "/100%25", "/a%2Fb", "/a:b", "/a*", "/:_x", "/" .. ("x/"):rep(63),
    }
    for _, p in ipairs(good) do assert.is_nil(pattern.problem(p), p) end
    local bad = {
      "", "a", "//", "/a//b", "/.", "/a/../b", "/:", "/:a-b", "/:1", "/*a/b", "/*a-b",
      "/:a/:a", "/:a/*a", "/a?b", "/a#b", "/a\0", "/a\n", "/a%20b", "/100%",
      "/" .. ("x/"):rep(64), "/" .. ("x"):rep(2048), ("/:p%d"):rep(17),
    }
    for _, p in ipairs(bad) do assert.is_string(pattern.problem(p), p) end
    local many = {}
    for i = 1, 17 do many[i] = "/:p" .. i end
    assert.is_string(pattern.problem(table.concat(many)))
    assert.is_nil(pattern.problem(table.concat(many, "", 1, 16)))
  end)

  it("joins with a prefix", function()
    assert.same("/a", pattern.join("", "/a"))
    assert.same("/a", pattern.join("/", "/a"))
    assert.same("/p/a", pattern.join("/p", "/a"))
    assert.same("/p/a", pattern.join("/p/", "/a"))
    assert.same("/p", pattern.join("/p", "/"))
    assert.same("/p", pattern.join("/p", ""))
    assert.same("/", pattern.join("", ""))
  end)

  it("tells whether a route lies under a prefix", function()
    local cases = {
      { "", "/x", "always" }, { "/", "/x", "always" }, { "/a", "/a", "always" },
      { "/a/", "/a", "always" }, { "/a", "/a/b", "always" }, { "/a", "/ab", "never" },
      { "/a", "/", "never" }, { "/a/b", "/a", "never" }, { "/a", "/:x", "maybe" },
      { "/a", "/*x", "maybe" }, { "/a/b", "/a/*x", "maybe" },
      { "/a", "/a/*x", "always" },
      { "/:x", "/a", "always" }, { "/:x", "/:y", "always" }, { "/:x", "/", "never" },
      { "/:x/b", "/a/:y", "maybe" }, { "/:x/b", "/:y/c", "never" },
      { "/:x", "/*y", "maybe" }, { "/a/b", "/:x/c", "never" },
    }
    for _, case in ipairs(cases) do
      local prefix, path, expected = table.unpack(case)
      assert.same(expected, pattern.relation(prefix, path), prefix .. " " .. path)
    end
  end)

  it("tells whether a path lies under a prefix", function()
    local cases = {
      { "", "/x", true }, { "/a", "/a", true }, { "/a", "/a/", true },
      { "/a/", "/a", true }, { "/a", "/a/b", true }, { "/a", "/ab", false },
      { "/a.b", "/a.b/c", true }, { "/a.b", "/axb", false },
      { "/:x/b", "/q/b/c", true }, { "/:x/b", "/b", false },
      { "/100%25", "/100%25/x", true }, { "/a", "/b/a", false },
    }
    for _, case in ipairs(cases) do
      local prefix, path, expected = table.unpack(case)
      assert.same(expected, pattern.under(prefix)(path), prefix .. " " .. path)
    end
  end)
end)
