local cookie = require "atoll.cookie"

describe("cookie", function()
  it("reads the header", function()
    local cases = {
      { nil, {} },
      { "", {} },
      { "a=1", { a = "1" } },
      { "a=1; b=2;c=3", { a = "1", b = "2", c = "3" } },
      { "a=first; a=second", { a = "first" } },
      { "a=", { a = "" } },
      { "a=x=y==", { a = "x=y==" } },
      { "a=\"quoted\"", { a = "quoted" } },
      { "a=\"", { a = "\"" } },
      { " a = 1 ; ;; =x; nothing; b=two words ", { a = "1", b = "two words" } },
      { "a=%20", { a = "%20" } },
    }
    for _, case in ipairs(cases) do
      assert.same(case[2], cookie.parse(case[1]))
    end
  end)

  it("writes the header with defaults that keep it safe", function()
    assert.same("a=1; Path=/; HttpOnly; SameSite=Lax", cookie.format("a", "1"))
    assert.same("a=; Path=/; HttpOnly; SameSite=Lax", cookie.format("a", ""))
    assert.same("a=7; Path=/; HttpOnly; SameSite=Lax", cookie.format("a", 7))
  end)

  it("writes every option", function()
    assert.same("a=1; Path=/x; Domain=example.org; Max-Age=60; "
      .. "Expires=Sun, 06 Nov 1994 08:49:37 GMT; Secure; SameSite=None",
      cookie.format("a", "1", {
        path = "/x", domain = "example.org", max_age = 60, expires = 784111777,
        secure = true, http_only = false, same_site = "none",
      }))
  end)

  it("writes Partitioned", function()
    assert.same("__Host-a=1; Path=/; Secure; HttpOnly; SameSite=None; Partitioned",
      cookie.format("__Host-a", "1", {
        secure = true, same_site = "None", partitioned = true,
      }))
  end)

  it("is what atoll.cookie gives to handlers that return headers", function()
    assert.equal(cookie.format, require "atoll".cookie)
  end)

  it("is read in time, whatever it is", function()
    local blanks = ("; x=" .. ("\t"):rep(3000)):rep(9)
    local header = "a=" .. (" "):rep(30000) .. "b" .. blanks
    local began = os.clock()
    assert.same({ a = "b", x = "" }, cookie.parse(header))
    assert.is_true(os.clock() - began < 1)
  end)

  it("makes the browser forget", function()
    assert.same("a=; Path=/x; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT; "
      .. "HttpOnly; SameSite=Lax", cookie.format("a", nil, { path = "/x" }))
  end)

  it("reads every value that it writes", function()
    for byte = 0, 255 do
      local value = "x" .. string.char(byte) .. "y"
      local ok, line = pcall(cookie.format, "a", value)
      if ok then
        assert.same(value, cookie.parse(line:match("^[^;]*")).a)
      else
        assert.truthy(value:find("[%c \",;\\\127-\255]"), byte)
      end
    end
  end)

  it("refuses what would break out of it, and names the line", function()
    local cases = {
      { "a b", "1" }, { "", "1" }, { "a=", "1" }, { nil, "1" }, { "a;", "1" },
      { "a", "1\r\nX: y" }, { "a", "1;b" }, { "a", "two words" }, { "a", "ä" },
      { "a", {} }, { "a", true },
      { "a", "1", { path = "x" } }, { "a", "1", { path = "/;x" } },
      { "a", "1", { path = "/\n" } }, { "a", "1", { domain = "a b" } },
      { "a", "1", { domain = "" } }, { "a", "1", { max_age = 1.5 } },
      { "a", "1", { max_age = "x" } }, { "a", "1", { expires = "tomorrow" } },
      { "a", "1", { expires = 0 / 0 } }, { "a", "1", { expires = math.huge } },
      { "a", "1", { secure = 1 } }, { "a", "1", { same_site = "maybe" } },
      { "a", "1", { same_site = "None" } }, { "a", "1", { httponly = true } },
      { "a", "1", "secure" }, { "__Secure-a", "1" },
      { "__host-a", "1" }, { "__SECURE-a", "1" }, { "a", "1", { partitioned = true } },
      { "a", ("x"):rep(4096) },
      { "__Host-a", "1", { secure = true, path = "/x" } },
      { "__Host-a", "1", { secure = true, domain = "example.org" } },
    }
    for i, case in ipairs(cases) do
      local ok, message = pcall(function()
        return (cookie.format(case[1], case[2], case[3]))
      end)
      assert.is_false(ok, "case " .. i)
      assert.truthy(message:find("cookie_spec.lua:%d+: "), message)
    end
  end)
end)
