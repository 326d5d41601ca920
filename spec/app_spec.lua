local tempapp = require "tempapp"

describe("app", function()
  local app

  local function load(source)
    app = tempapp.load(source)
  end

  local function get(target, options) return app:request("GET", target, options) end

  after_each(function()
    if app then app:close() end
    app = nil
    tempapp.clean()
  end)

  describe("routes", function()
    it("have a function for each method", function()
      load [[
        for _, name in ipairs { "get", "post", "put", "patch", "delete", "options" } do
          app[name](app, "/x", function(req) return name .. " " .. req.method end)
        end
        app:any("/any", function(req) return "any " .. req.method end)
        app:route({ "GET", "BREW" }, "/pot", function(req) return req.method end)
      ]]
      for _, method in ipairs { "GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS" } do
        assert.same(method:lower() .. " " .. method, app:request(method, "/x").body)
        assert.same("any " .. method, app:request(method, "/any").body)
      end
      assert.same("GET", get("/pot").body)
    end)

    it("prefer static to :param to *rest, whatever the order", function()
      load [[
        app:get("/*rest", function(req) return "rest " .. req.params.rest end)
        app:get("/users/:id", function(req) return "user " .. req.params.id end)
        app:get("/users/me", function() return "me" end)
      ]]
      assert.same("me", get("/users/me").body)
      assert.same("user 7", get("/users/7").body)
      assert.same("rest users/7/posts", get("/users/7/posts").body)
      assert.same("rest ", get("/").body)
    end)

    it("decode params and tell their pattern", function()
      load [[
        app:get("/:a/:b", function(req)
          return { a = req.params.a, b = req.params.b, route = req.route }
        end)
      ]]
      assert.same({ a = "ä/ö", b = "100%", route = "/:a/:b" },
        get("/%C3%A4%2F%C3%B6/100%25"):json())
    end)

    it("answer HEAD as GET without the body", function()
      load [[app:get("/", function() return "four" end)]]
      local res = app:request("HEAD", "/")
      assert.same(200, res.status)
      assert.same("4", res.headers["content-length"])
      assert.same("", res.body)
      assert.is_true(res.complete)
    end)

    it("answer OPTIONS, and other methods with 405, with Allow", function()
      load [[
        app:get("/x", function() return "x" end)
        app:post("/x", function() return "x" end)
      ]]
      local options = app:request("OPTIONS", "/x")
      assert.same(204, options.status)
      assert.same("GET, HEAD, OPTIONS, POST", options.headers.allow)
      local put = app:request("PUT", "/x")
      assert.same(405, put.status)
      assert.same("GET, HEAD, OPTIONS, POST", put.headers.allow)
      assert.same(404, app:request("PUT", "/y").status)
    end)

    it("lie under the prefix of their group and mount", function()
      load [[
        app:group("/api", function(api)
          api:get("/", function() return "root" end)
          api:get("/x", function() return "x" end)
          api:group("/v1/:team", function(v1)
            v1:get("/y", function(req) return "y " .. req.params.team end)
          end)
        end)
        local other = atoll.app()
        other:get("/z", function(req) return req.route end)
        app:mount("/other", other)
        app:mount("/", other)
      ]]
      assert.same("root", get("/api").body)
      assert.same(404, get("/api/").status)
      assert.same("x", get("/api/x").body)
      assert.same("y red", get("/api/v1/red/y").body)
      assert.same("/other/z", get("/other/z").body)
      assert.same("/z", get("/z").body)
    end)
  end)

  describe("forms of app.lua", function()
    it("may be a function", function()
      load { ["app.lua"] = [[
        return function(req) return req.method .. " " .. req.path end
      ]] }
      assert.same("GET /a/b", get("/a/b").body)
      assert.same("POST /", app:request("POST", "/").body)
    end)

    it("may be a table of routes", function()
      load { ["app.lua"] = [[
        return {
          ["/"] = function(req) return "root " .. req.method end,
          ["GET /a"] = function() return "a" end,
          ["/b/:id"] = { GET = function(req) return "get " .. req.params.id end,
                         PUT = function() return 201, "put" end },
        }
      ]] }
      assert.same("root POST", app:request("POST", "/").body)
      assert.same("a", get("/a").body)
      assert.same(405, app:request("POST", "/a").status)
      assert.same("get 1", get("/b/1").body)
      assert.same(201, app:request("PUT", "/b/1").status)
      assert.same(404, get("/c").status)
    end)
  end)

  describe("return values", function()
    local forms = {
      text = { [[return "text"]], 200, "text", "text/plain; charset=utf-8" },
      empty_text = { [[return ""]], 200, "", "text/plain; charset=utf-8" },
      table = { [[return { a = 1 }]], 200, "{\"a\":1}", "application/json" },
      array = { [[return atoll.json.array {}]], 200, "[]", "application/json" },
      json = { [[return atoll.json("x")]], 200, "\"x\"", "application/json" },
      json_status = {
        [[return atoll.json({ 1 }, 202)]], 202, "[1]", "application/json",
      },
      html = { [[return atoll.html("<p>")]], 200, "<p>", "text/html; charset=utf-8" },
      plain = { [[return atoll.text(5)]], 200, "5", "text/plain; charset=utf-8" },
      status = { [[return 418]], 418 },
      status_text = {
        [[return 404, "gone"]], 404, "gone", "text/plain; charset=utf-8",
      },
      status_table = {
        [[return 422, { e = 1 }]], 422, "{\"e\":1}", "application/json",
      },
      status_response = {
        [[return 403, atoll.html("no")]], 403, "no", "text/html; charset=utf-8",
      },
      typed = { [[return 200, "a,b", { ["content-type"] = "text/csv" }]], 200, "a,b",
        "text/csv" },
      body_headers = { [[return "a", nil, { ["Content-Type"] = "text/x" }]], 200, "a",
        "text/x" },
      pieces = { [[
        local i = 0
        return function()
          i = i + 1
          if i <= 3 then return ("x"):rep(i) end
        end
      ]], 200, "xxxxxx", "text/plain; charset=utf-8" },
      stream = { [[
        return atoll.stream(function(write)
          for i = 1, 3 do assert(write(i .. ",")) end
        end)
      ]], 200, "1,2,3,", "text/plain; charset=utf-8" },
      nothing = { [[return]], 204, "" },
      halted_with_nothing = { [[atoll.halt()]], 204, "" },
      reset_content = { [[return 205, "never sent"]], 205, "" },
      failed_call = { [[return nil, "no such table"]], 500 },
      raised = { [[error "boom"]], 500 },
      raised_table = { [[error { "boom" }]], 500 },
      halted = { [[atoll.halt(403, "no")]], 403, "no", "text/plain; charset=utf-8" },
      halted_inside = { [[
        pcall(string.rep)
        local function deep(n) if n == 0 then atoll.halt({ a = 1 }) end deep(n - 1) end
        deep(20)
      ]], 200, "{\"a\":1}", "application/json" },
    }
    for name, form in pairs(forms) do
      it(name .. " gives " .. form[2], function()
        load(("app:get(\"/\", function(req) %s end)"):format(form[1]))
        local res = get("/")
        assert.same(form[2], res.status)
        if form[3] then assert.same(form[3], res.body) end
        if form[4] then assert.same(form[4], res.headers["content-type"]) end
        assert.is_true(res.complete)
      end)
    end

    it("may name several fields of one name", function()
      load [[
        app:get("/", function() return 200, "x", { ["X-A"] = { "1", "2" } } end)
      ]]
      assert.same({ "1", "2" }, get("/"):values("x-a"))
    end)

    it("redirect", function()
      load [[
        app:get("/a", function() return atoll.redirect("/b c?ä") end)
        app:get("/b", function() return atoll.redirect("https://example.org/", 301) end)
      ]]
      assert.same(302, get("/a").status)
      assert.same("/b%20c?%C3%A4", get("/a").headers.location)
      assert.same(301, get("/b").status)
      assert.same("https://example.org/", get("/b").headers.location)
    end)

    it("never carry a header that could split the answer", function()
      load [[
        app:get("/", function(req)
          return 200, "x", { ["X-Evil"] = "a\r\nSet-Cookie: b=c" }
        end)
      ]]
      local res = get("/")
      assert.same(500, res.status)
      assert.same({}, res:values("set-cookie"))
    end)

    it("cut the answer when the stream fails half-way", function()
      load [[
        app:get("/", function()
          return atoll.stream(function(write)
            write("half")
            error("boom")
          end)
        end)
      ]]
      local res = get("/")
      assert.is_false(res ~= nil and res.complete)
    end)
  end)

  describe("res", function()
    it("sets status, headers and cookies, and writes", function()
      load [[
        app:get("/", function(req, res)
          res.status = 201
          res.headers["x-a"] = "1"
          res.headers["X-A"] = "2"
          res:cookie("a", "1"):cookie("b", "2", { path = "/b", secure = true })
          res:write("one ")
          res:write("two")
          res:finish()
        end)
      ]]
      local res = get("/")
      assert.same(201, res.status)
      assert.same("one two", res.body)
      assert.same({ "2" }, res:values("x-a"))
      assert.same({
        "a=1; Path=/; HttpOnly; SameSite=Lax",
        "b=2; Path=/b; Secure; HttpOnly; SameSite=Lax",
      }, res:values("set-cookie"))
    end)

    it("adds its headers to what is returned", function()
      load [[
        app:get("/", function(req, res)
          res.headers["X-A"] = "1"
          res:cookie("a", "1")
          return "text"
        end)
      ]]
      local res = get("/")
      assert.same("text", res.body)
      assert.same("1", res.headers["x-a"])
      assert.same(1, #res:values("set-cookie"))
    end)
  end)

  describe("requests", function()
    it("have a query", function()
      load [[
        app:get("/", function(req)
          return { x = req.query.x, all = req:queries("x"), none = #req:queries("y"),
                   names = req:queries(), again = req.query == req.query }
        end)
      ]]
      assert.same({
        x = "1 &", all = { "1 &", "2" }, none = 0, again = true,
        names = { x = { "1 &", "2" }, z = { "" } },
      }, get("/?x=1+%26&z&x=2"):json())
      assert.same("", get("/", { query = { z = "" } }):json().names.z[1])
    end)

    it("have headers in any case and cookies", function()
      load [[
        app:get("/", function(req)
          return { header = req.headers["X-THING"], none = req.headers.nope == nil,
                   cookie = req.cookies.a, other = req.cookies.b }
        end)
      ]]
      assert.same({ header = "1, 2", none = true, cookie = "x", other = "y z" },
        get("/", { headers = { ["x-Thing"] = { "1", "2" }, Cookie = "a=x; b=y z" } })
          :json())
    end)

    it("give a JSON body, or 400", function()
      load [[app:post("/", function(req) return { got = req:json() } end)]]
      local function post(options) return app:request("POST", "/", options) end
      assert.same({ got = { a = { 1, 2 } } }, post { json = { a = { 1, 2 } } }:json())
      assert.same({ got = false }, post { body = "false" }:json())
      assert.same(400, post { body = "{" }.status)
      assert.same(400, post { body = "" }.status)
    end)

    it("give a form, or 415", function()
      load [[
        app:post("/", function(req)
          local form, all = req:form()
          return { a = form.a, b = form.b, all = all.a }
        end)
      ]]
      local function post(options) return app:request("POST", "/", options) end
      assert.same({ a = "1 ü", b = "", all = { "1 ü", "2" } },
        post { form = { a = { "1 ü", 2 }, b = "" } }:json())
      assert.same(415, post { json = { a = 1 } }.status)
      assert.same(415, post { body = "a=1" }.status)
    end)
  end)

  describe("hooks", function()
    it("answer for errors, with 500 unless they say otherwise", function()
      load [[
        app:on("error", function(req, err, traceback)
          if req.path == "/again" then error("in the hook") end
          if req.path == "/status" then return 503, "later" end
          if req.path == "/nothing" then return end
          return type(err) .. " " .. tostring(err):match("[^:]*$") .. " "
            .. tostring(traceback:find("traceback") ~= nil)
        end)
        app:any("/*path", function() error("boom") end)
      ]]
      local res = get("/")
      assert.same(500, res.status)
      assert.same("string  boom true", res.body)
      assert.same(503, get("/status").status)
      assert.same("later", get("/status").body)
      assert.same(500, get("/again").status)
      assert.same(500, get("/nothing").status)
    end)

    it("of a mounted app are for its own routes", function()
      load [[
        local other = atoll.app()
        other:get("/x", function() error("boom") end)
        other:on("error", function() return "other" end)
        other:on("not_found", function() return "other 404" end)
        app:mount("/other", other)
        app:get("/x", function() error("boom") end)
        app:on("error", function() return "app" end)
        app:on("not_found", function() return "app 404" end)
      ]]
      assert.same("other", get("/other/x").body)
      assert.same("app", get("/x").body)
      assert.same("other 404", get("/other/y").body)
      assert.same("app 404", get("/others").body)
      assert.same(404, get("/others").status)
    end)

    it("answer for what is not there, with 404 unless they say otherwise", function()
      load [[
        app:on("not_found", function(req)
          if req.path == "/html" then return atoll.html("<p>none") end
          if req.path == "/moved" then return atoll.redirect("/") end
          if req.path == "/gone" then return 410 end
          return "no " .. req.path
        end)
      ]]
      assert.same("no /x", get("/x").body)
      assert.same(404, get("/x").status)
      assert.same(404, get("/html").status)
      assert.same("text/html; charset=utf-8", get("/html").headers["content-type"])
      assert.same(302, get("/moved").status)
      assert.same(410, get("/gone").status)
    end)
  end)

  it("sends events", function()
    load [[
      app:get("/a", function()
        return atoll.events(function(send)
          send("one\ntwo")
          send { event = "tick", id = 7, data = { a = 1 }, retry = 1.5 }
        end)
      end)
      app:events("/b", function(send, req) send(req.query.x) end)
    ]]
    local res = get("/a")
    assert.same("text/event-stream", res.headers["content-type"])
    assert.same("no-cache", res.headers["cache-control"])
    assert.same("data: one\ndata: two\n\n"
      .. "event: tick\nid: 7\nretry: 1500\ndata: {\"a\":1}\n\n", res.body)
    assert.same("data: 5\n\n", get("/b?x=5").body)
  end)
end)
