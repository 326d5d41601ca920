-- An app that is a mere function and does not require "atoll".
local tempapp = require "tempapp"

describe("an app that does not require atoll", function()
  teardown(tempapp.clean)

  -- The Lua half of req and res was not loaded: req.query called a nil value.
  it("has all of req and res", function()
    local app = tempapp.load { ["app.lua"] = [[
return function(req, res)
  res:cookie("seen", "yes")
  local body, form = pcall(req.json, req)
  return { req.query.a, req.cookies.b, req:queries("a")[1], form.c, body }
end
]] }
    local res = app:request("POST", "/", { query = { a = "1" },
      headers = { Cookie = "b=2" }, json = { c = 3 } })
    assert.same(200, res.status)
    assert.same({ "1", "2", "1", 3, true }, res:json())
    assert.truthy(res.headers["Set-Cookie"]:find "^seen=yes")
  end)
end)
