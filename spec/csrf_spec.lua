-- Requests as browsers send them from the app's own pages, and from others'.
local tempapp = require "tempapp"

local APP = [[
  local csrf = require "atoll.csrf"
  app:use(require "atoll.session" { secret = ("secret "):rep(9) })
  app:use(csrf { origins = "https://friend.example", exempt = { "/hooks" } })
  app:get("/token", function(req) return csrf.token(req) end)
  app:get("/field", function(req) return csrf.field(req) end)
  app:get("/login", function(req) require "atoll.session".of(req):rotate() end)
  app:any("/do", function(req) return "done " .. req.method end)
  app:post("/form", function(req)
    local form = req:form()
    return tostring(form.a) .. " " .. tostring(form.csrf_token ~= nil)
  end)
  app:post("/hooks/x", function() return "done" end)
]]

describe("csrf", function()
  local app, jar

  local function ask(method, path, options)
    options = options or {}
    options.headers = options.headers or {}
    options.headers.Cookie = jar
    local res = assert(app:request(method, path, options))
    for _, line in ipairs(res:values "set-cookie") do jar = line:match "^[^;]*" end
    return res
  end

  local function token() return ask("GET", "/token").body end

  before_each(function() app, jar = tempapp.load(APP), nil end)
  after_each(tempapp.clean)

  it("lets through what has the session's token", function()
    local t = token()
    assert.equal(86, #t)
    assert.not_equal(t, token())
    local res = ask("POST", "/do", { headers = { ["X-CSRF-Token"] = t } })
    assert.equal("done POST", res.body)
    res = ask("POST", "/form", { form = { a = "1", csrf_token = t } })
    assert.equal("1 true", res.body)
    assert.truthy(ask("GET", "/field").body:find(
      "^<input type=\"hidden\" name=\"csrf_token\" value=\"[%w_-]+\">$"))
  end)

  it("lets through what changes nothing", function()
    for _, method in ipairs { "GET", "HEAD" } do
      assert.equal(200, ask(method, "/do",
        { headers = { Origin = "https://evil.example" } }).status)
    end
  end)

  it("refuses what has none, or another's", function()
    local t = token()
    local mine = jar
    jar = nil
    local other = token()
    jar = mine
    for _, bad in ipairs { "", "x", other, t .. "A", t:sub(2), ("A"):rep(86) } do
      for _, method in ipairs { "POST", "PUT", "DELETE", "PATCH" } do
        local res = ask(method, "/do", { headers = { ["X-CSRF-Token"] = bad } })
        assert.equal(403, res.status)
        assert.truthy(res.body:find("its token is not that of the session"), res.body)
      end
    end
    for _, options in ipairs { {}, { form = { a = "1" } }, { json = { a = 1 } } } do
      local res = ask("POST", "/form", options)
      assert.equal(403, res.status)
      assert.truthy(res.body:find "neither the field csrf_token", res.body)
    end
    jar = nil
    assert.equal(403, ask("POST", "/do", { headers = { ["X-CSRF-Token"] = t } }).status)
  end)

  it("has another token when the session is rotated", function()
    local t = token()
    ask("GET", "/login")
    assert.equal(403, ask("POST", "/do", { headers = { ["X-CSRF-Token"] = t } }).status)
    assert.equal(200, ask("POST", "/do",
      { headers = { ["X-CSRF-Token"] = token() } }).status)
  end)

  it("looks where the request comes from", function()
    local t = token()
    local cases = {
      { 200, { Origin = "http://localhost" } },
      { 200, { Origin = "HTTPS://LocalHost:443" } },
      { 200, { Origin = "http://a:8080", Host = "a:8080" } },
      { 200, { Origin = "https://a", Host = "a:443" } },
      { 403, { Origin = "http://a", Host = "a:8080" } },
      { 403, { Origin = "http://localhost.evil.example" } },
      { 403, { Origin = "null" } },
      { 403, { Origin = "" } },
      { 200, { ["Sec-Fetch-Site"] = "same-origin" } },
      { 200, { ["Sec-Fetch-Site"] = "none" } },
      { 403, { ["Sec-Fetch-Site"] = "same-site" } },
      { 403, { ["Sec-Fetch-Site"] = "cross-site" } },
      { 200, { Origin = "https://friend.example", ["Sec-Fetch-Site"] = "cross-site" } },
    }
    for i, case in ipairs(cases) do
      case[2]["X-CSRF-Token"] = t
      local res = ask("POST", "/do", { headers = case[2] })
      assert.equal(case[1], res.status, "case " .. i)
    end
    assert.equal(403, ask("POST", "/do",
      { headers = { Origin = "https://friend.example" } }).status)
  end)

  it("takes the token off a multipart form, where it is first", function()
    local function form(...)
      local body = ""
      for _, pair in ipairs { ... } do
        body = body .. ("--B\r\nContent-Disposition: form-data; name=%q\r\n\r\n%s\r\n")
          :format(pair[1], pair[2])
      end
      return { body = body .. "--B--",
        headers = { ["Content-Type"] = "multipart/form-data; boundary=B" } }
    end
    local t = token()
    local res = ask("POST", "/form", form({ "csrf_token", t }, { "a", "1" }))
    assert.equal("1 false", res.body)
    res = ask("POST", "/form", form({ "a", "1" }, { "csrf_token", t }))
    assert.equal(403, res.status)
    assert.equal(403, ask("POST", "/form", form({ "csrf_token", "x" })).status)
    assert.equal(403, ask("POST", "/form", form()).status)
    assert.equal(400, ask("POST", "/form", { body = "x", headers =
      { ["Content-Type"] = "multipart/form-data; boundary=B" } }).status)
  end)

  it("spares exempt paths", function()
    assert.equal("done", ask("POST", "/hooks/x").body)
    assert.equal(403, ask("POST", "/hooksx").status)
  end)

  it("says at load what is wrong", function()
    for options, want in pairs {
      ["{ origins = true }"] = 'such as "https://example.org", or a list .* not true',
      ["{ exempt = true }"] = 'such as "/hooks"',
      ["{ x = 1 }"] = "no option x", ["{ origins = { 'a' } }"] = "is no origin",
      ["{ exempt = 'x' }"] = "exempt", ["{ field = 'a b' }"] = "field is a word",
      ["1"] = "is a table",
    } do
      local problem = tempapp.problem("\napp:use(require \"atoll.csrf\" (" .. options
        .. "))")
      assert.truthy(problem:find("^app.lua:2: "), problem)
      assert.truthy(problem:find(want), problem)
    end
  end)
end)
