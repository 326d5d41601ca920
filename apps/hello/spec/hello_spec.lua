local testing = require "atoll.testing"

local here = debug.getinfo(1, "S").source:match("^@(.*)/spec/[^/]*$") or "."

describe("hello", function()
  local app

  setup(function() app = testing.load(here) end)
  teardown(function() app:close() end)

  it("greets the world", function()
    local res = app:request("GET", "/")
    assert.same(200, res.status)
    assert.same("Hello, world\n", res.body)
    assert.same("text/plain; charset=utf-8", res.headers["Content-Type"])
  end)

  it("greets by name", function()
    assert.same("Hello, ann\n", app:request("GET", "/hello/ann").body)
    assert.same("Hello, Zoë\n", app:request("GET", "/hello/Zo%C3%AB").body)
    assert.same("Hello, a/b\n", app:request("GET", "/hello/a%2Fb").body)
  end)

  it("adds two numbers", function()
    local res = app:request("POST", "/sum", { json = { a = 2, b = 40 } })
    assert.same(200, res.status)
    assert.same("application/json", res.headers["content-type"])
    assert.same({ sum = 42 }, res:json())
  end)

  it("says what is wrong with a sum", function()
    assert.same(422, app:request("POST", "/sum", { json = { a = "two" } }).status)
    assert.same(400, app:request("POST", "/sum", { body = "{" }).status)
    assert.same(405, app:request("GET", "/sum").status)
  end)

  it("answers 404 with a text of its own", function()
    local res = app:request("GET", "/missing")
    assert.same(404, res.status)
    assert.same("nothing here\n", res.body)
  end)

  it("redirects", function()
    local res = app:request("GET", "/old")
    assert.same(302, res.status)
    assert.same("/", res.headers.location)
  end)

  it("streams", function()
    local res = app:request("GET", "/ticks")
    assert.same("1\n2\n3\n4\n5\n", res.body)
    assert.is_true(res.complete)
  end)
end)
