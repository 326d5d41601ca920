local testing = require "atoll.testing"

local here = debug.getinfo(1, "S").source:match("^@(.*)/spec/[^/]*$") or "."

-- A copy of the app, so that its own entries stay as they are.
local function copy_of_app()
  local copy = os.tmpname()
  os.remove(copy)
  assert(os.execute(("mkdir -p '%s/data' && cp -r '%s/app.lua' '%s/lib' '%s'"):format(
    copy, here, here, copy)))
  return copy
end

describe("guestbook", function()
  local directory, app

  before_each(function()
    directory = copy_of_app()
    app = testing.load(directory)
  end)

  after_each(function()
    app:close()
    assert(os.execute(("rm -r '%s'"):format(directory)))
  end)

  local function sign(name, message)
    return app:request("POST", "/entries", {
      json = { name = name, message = message },
    })
  end

  -- The page as it is seen with a cookie; the cookie, and the token in the form.
  local function visit(cookie)
    local res = app:request("GET", "/", { headers = { Cookie = cookie } })
    local set = res:values "set-cookie" [1]
    return res.body, set and set:match "^[^;]*" or cookie,
      res.body:match "name=\"csrf_token\" value=\"([^\"]+)\""
  end

  -- The form sent from the page; the answer, and the cookie.
  local function send(form)
    local _, cookie, token = visit()
    form.csrf_token = token
    return app:request("POST", "/", { form = form, headers = { Cookie = cookie } }),
      cookie
  end

  it("is empty at first", function()
    assert.same({ entries = {} }, app:request("GET", "/entries"):json())
    assert.same("{\"entries\":[]}", app:request("GET", "/entries").body)
    local page = app:request("GET", "/")
    assert.same("text/html; charset=utf-8", page.headers["content-type"])
    assert.truthy(page.body:find("Nobody has signed yet", 1, true))
  end)

  it("takes an entry as JSON and gives it back", function()
    local res = sign("Ann", "Hello\nthere")
    assert.same(201, res.status)
    local entry = app:request("GET", res.headers.location):json()
    assert.same("Ann", entry.name)
    assert.same("Hello\nthere", entry.message)
    assert.truthy(entry.time:find("^%d+%-%d%d%-%d%dT%d%d:%d%d:%d%dZ$"))
  end)

  it("takes an entry from its form and leads back to the page", function()
    local res, cookie = send { name = "Bob & Co", message = "ü = u umlaut" }
    assert.same(303, res.status)
    assert.same("/", res.headers.location)
    local page = visit(cookie)
    assert.truthy(page:find("<h2>Bob &amp; Co", 1, true))
    assert.truthy(page:find("ü = u umlaut", 1, true))
    -- Who has signed is thanked once and known from then on.
    assert.truthy(page:find("Thank you", 1, true))
    assert.truthy(page:find("value=\"Bob &amp; Co\"", 1, true))
    page = visit(cookie)
    assert.is_nil(page:find("Thank you", 1, true))
    assert.truthy(page:find("value=\"Bob &amp; Co\"", 1, true))
    assert.is_nil(visit():find("value=\"Bob", 1, true))
  end)

  it("takes no form from another site", function()
    local _, cookie, token = visit()
    local form = { name = "Eve", message = "x" }
    for _, headers in ipairs {
      {}, { Cookie = cookie }, { Cookie = cookie, ["X-CSRF-Token"] = token:reverse() },
      { Cookie = cookie, ["X-CSRF-Token"] = token, Origin = "https://evil.example" },
    } do
      local res = app:request("POST", "/", { form = form, headers = headers })
      assert.same(403, res.status)
    end
    assert.same({ entries = {} }, app:request("GET", "/entries"):json())
  end)

  it("shows the newest first", function()
    for _, name in ipairs { "one", "two", "three" } do sign(name, "was here") end
    local names = {}
    for i, entry in ipairs(app:request("GET", "/entries"):json().entries) do
      names[i] = entry.name
    end
    assert.same({ "three", "two", "one" }, names)
  end)

  it("escapes what visitors write", function()
    sign("<script>alert(1)</script>", "\"><img src=x onerror='alert(2)'>{{name}}")
    local page = app:request("GET", "/").body
    assert.is_nil(page:find("<script", 1, true))
    assert.is_nil(page:find("<img", 1, true))
    assert.truthy(page:find("&lt;script&gt;alert(1)&lt;/script&gt;", 1, true))
    assert.truthy(page:find("{{name}}", 1, true))
    local again = send { name = "\"><b>", message = "" }
    assert.is_nil(again.body:find("<b>", 1, true))
    assert.truthy(again.headers["content-security-policy"])
  end)

  it("says what is wrong with an entry", function()
    local res = sign("", ("x"):rep(2001))
    assert.same(422, res.status)
    assert.same({
      name = "is missing", message = "is longer than 2000 characters",
    }, res:json().errors)
    assert.same("is missing", sign({}, "x"):json().errors.name)
    assert.same("is more than one line", sign("a\nb", "x"):json().errors.name)
    assert.same("has control characters", sign("a\27[2J", "x"):json().errors.name)
    local page = send { name = "Ann", message = "" }
    assert.same(422, page.status)
    assert.truthy(page.body:find("The message is missing", 1, true))
    assert.truthy(page.body:find("value=\"Ann\"", 1, true))
    assert.same({ entries = {} }, app:request("GET", "/entries"):json())
  end)

  it("refuses what is not JSON", function()
    local function status(headers, body)
      return app:request("POST", "/entries", { headers = headers, body = body }).status
    end
    assert.same(400, status({ ["Content-Type"] = "application/json" }, "{\"name\":"))
    assert.same(422, status({ ["Content-Type"] = "application/json" }, "null"))
    assert.same(415, status({ ["Content-Type"] = "text/plain" }, "name=Ann"))
    assert.same(415, status({}, "name=Ann"))
    assert.same(415, status({
      ["Content-Type"] = "application/x-www-form-urlencoded",
    }, "name=Ann&message=x"))
    assert.same(422, send({ name = "\xff", message = "x" }).status)
  end)

  it("answers 404 for entries and pages that are not there", function()
    assert.same(404, app:request("GET", "/entries/none").status)
    local res = app:request("GET", "/nowhere")
    assert.same(404, res.status)
    assert.same("There is nothing at /nowhere\n", res.body)
    assert.same(405, app:request("DELETE", "/entries").status)
  end)

  it("keeps its entries when it is loaded again", function()
    sign("Ann", "first")
    app:close()
    app = testing.load(directory)
    assert.same("Ann", app:request("GET", "/entries"):json().entries[1].name)
  end)

  it("sees what others append to its file, whole lines only", function()
    sign("Ann", "first")
    local file = assert(io.open(directory .. "/data/entries.jsonl", "ab"))
    file:write("{\"id\":\"b\",\"name\":\"Bob\",\"message\":\"x\",\"time\":\"now\"}\n")
    file:write("{\"id\":\"c\",\"na")
    file:flush()
    assert.same(2, #app:request("GET", "/entries"):json().entries)
    file:write("me\":\"Cid\",\"message\":\"third\",\"time\":\"now\"}\nno entry\n")
    file:close()
    local entries = app:request("GET", "/entries"):json().entries
    assert.same(3, #entries)
    assert.same("Cid", entries[1].name)
  end)
end)
