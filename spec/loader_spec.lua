local tempapp = require "tempapp"

describe("loader", function()
  local app

  local function get(target) return app:request("GET", target) end

  after_each(function()
    if app then app:close() end
    app = nil
    tempapp.clean()
  end)

  describe("routes/", function()
    it("has a route for each file", function()
      app = tempapp.load {
        ["routes/index.lua"] = [[return function() return "root" end]],
        ["routes/users/index.lua"] = [[return { GET = function() return "users" end }]],
        ["routes/users/[id].lua"] = [[
          return {
            GET = function(req) return "user " .. req.params.id end,
            DELETE = function() return 204 end,
          }
        ]],
        ["routes/[team]/list.lua"] = [[
          return function(req) return req.method .. " list " .. req.params.team end
        ]],
        ["routes/docs/[...path].lua"] = [[
          return function(req) return "docs " .. req.params.path end
        ]],
        ["routes/100%.lua"] = [[return function(req) return "percent" end]],
        ["routes/_shared.lua"] = "error 'loaded'",
        ["routes/.hidden.lua"] = "error 'loaded'",
        ["routes/_dir/x.lua"] = "error 'loaded'",
        ["routes/notes.txt"] = "no Lua",
      }
      assert.same("root", get("/").body)
      assert.same("users", get("/users").body)
      assert.same("user 5", get("/users/5").body)
      assert.same(204, app:request("DELETE", "/users/5").status)
      assert.same(405, app:request("POST", "/users/5").status)
      assert.same("POST list red", app:request("POST", "/red/list").body)
      assert.same("docs a/b", get("/docs/a/b").body)
      assert.same("percent", get("/100%25").body)
      for _, path in ipairs { "/_shared", "/.hidden", "/_dir/x", "/notes.txt" } do
        assert.same(404, get(path).status)
      end
    end)

    it("is inside the middleware of app.lua", function()
      app = tempapp.load {
        ["app.lua"] = [[
          local app = require("atoll").app()
          app:use(function(req, next) return next(req) .. "!" end)
          app:get("/a", function() return "a" end)
          return app
        ]],
        ["routes/b.lua"] = [[return function() return "b" end]],
      }
      assert.same("a!", get("/a").body)
      assert.same("b!", get("/b").body)
    end)

    local wrong = {
      ["two routes with the same paths"] = {
        { ["routes/[a].lua"] = "return print", ["routes/[b].lua"] = "return print" },
        "routes/%[b%].lua: route \"/:b\" %(any method%) is there already, "
          .. "at .*routes/%[a%].lua",
      },
      ["a file that returns nothing"] = {
        { ["routes/a.lua"] = "" }, "routes/a.lua: returned nothing",
      },
      ["a syntax error"] = { { ["routes/a.lua"] = "\nx x" }, "routes/a.lua:2: " },
      ["an unknown method's handler"] = {
        { ["routes/a.lua"] = "return { get = print }" },
        "routes/a.lua: route \"/a\": methods have capital letters: \"GET\"",
      },
      ["half a bracket"] = {
        { ["routes/[a.lua"] = "return print" }, "routes/%[a.lua: a name in brackets",
      },
      ["a rest that is not last"] = {
        { ["routes/[...a]/b.lua"] = "return print" }, "has to be last",
      },
    }
    for name, case in pairs(wrong) do
      it("refuses " .. name, function()
        local message = tempapp.problem(case[1])
        assert(message:find(case[2]), message)
      end)
    end
  end)

  describe("public/", function()
    before_each(function()
      local directory
      app, directory = tempapp.load {
        ["app.lua"] = [[
          local app = require("atoll").app()
          app:get("/route.txt", function() return "route" end)
          app:post("/form", function() return "form" end)
          app:static("/files", "data")
          app:on("not_found", function() return "none" end)
          app:get("/send", function()
            return require("atoll").file("data/a.csv", { type = "text/x" })
          end)
          app:get("/lost", function() return require("atoll").file("data/none") end)
          return app
        ]],
        ["public/index.html"] = "<p>index",
        ["public/route.txt"] = "file",
        ["public/style.CSS"] = "css",
        ["public/deep/er/index.html"] = "deeper",
        ["public/empty/.keep"] = "",
        ["public/.env"] = "secret",
        ["public/.git/config"] = "secret",
        ["public/.well-known/x.txt"] = "known",
        ["public/100%.txt"] = "percent",
        ["public/big.bin"] = ("0123456789abcdef"):rep(20000),
        ["public/none"] = "",
        ["secret.txt"] = "secret",
        ["data/a.csv"] = "1,2",
        ["data/index.html"] = "data",
      }
      assert(os.execute(("ln -s ../secret.txt %s/public/link.txt"):format(directory)))
      assert(os.execute(("ln -s style.CSS %s/public/inner.css"):format(directory)))
    end)

    it("is served where no route matches", function()
      local res = get("/")
      assert.same("<p>index", res.body)
      assert.same("text/html; charset=utf-8", res.headers["content-type"])
      assert.same("route", get("/route.txt").body)
      assert.same("text/css; charset=utf-8", get("/style.CSS").headers["content-type"])
      assert.same("percent", get("/100%25.txt").body)
      assert.same("application/octet-stream", get("/none").headers["content-type"])
      assert.same("known", get("/.well-known/x.txt").body)
      assert.same("css", get("/inner.css").body)
      assert.same("none", get("/nothing").body)
      assert.same(404, app:request("POST", "/style.CSS").status)
    end)

    it("answers HEAD and sends big files whole", function()
      local big = get("/big.bin")
      assert.same(320000, #big.body)
      assert.same(("0123456789abcdef"):rep(20000), big.body)
      assert.is_true(big.complete)
      assert.same("320000", big.headers["content-length"])
      local head = app:request("HEAD", "/big.bin")
      assert.same("320000", head.headers["content-length"])
      assert.same("", head.body)
    end)

    it("leads a directory to its slash", function()
      local res = get("/deep/er?x=1")
      assert.same(301, res.status)
      assert.same("/deep/er/?x=1", res.headers.location)
      assert.same("deeper", get("/deep/er/").body)
      assert.same(404, get("/deep").status)
      assert.same(404, get("/empty/").status)
      assert.same(404, get("/style.CSS/").status)
    end)

    it("never leads out", function()
      for _, path in ipairs {
        "/.env", "/.git/config", "/link.txt", "/%2e%2e/secret.txt", "/..%2Fsecret.txt",
        "/deep/..%2f..%2fsecret.txt", "/files/..%2Fsecret.txt", "//secret.txt",
        "/files/%2e%2e/secret.txt", "/files/.%2e/secret.txt",
      } do
        local res = get(path)
        assert.truthy(res.status == 404 or res.status == 400, path)
        assert.is_nil(res.body:find("secret", 1, true), path)
      end
    end)

    it("is also what app:static and atoll.file serve", function()
      local res = get("/files/a.csv")
      assert.same("1,2", res.body)
      assert.same("text/csv; charset=utf-8", res.headers["content-type"])
      assert.same("data", get("/files/").body)
      assert.same("/files/", get("/files").headers.location)
      assert.same("none", get("/files/nothing").body)
      assert.same("text/x", get("/send").headers["content-type"])
      assert.same("1,2", get("/send").body)
      assert.same(404, get("/lost").status)
    end)
  end)

  describe("of an app with a mistake says", function()
    local cases = {
      ["a syntax error"] = { "\n\nx x", "^app.lua:3: .*near" },
      ["an error"] = { "\nerror 'boom'", "^app.lua:2: boom" },
      ["a bad pattern"] = {
        "\n\napp:get('/users/:', print)",
        "^app.lua:3: route \"/users/:\": a param has no name$",
      },
      ["no slash"] = { "app:get('users', print)", "^app.lua:1: .*starts with /" },
      ["a rest in front"] = { "app:get('/*a/b', print)", "has to be last" },
      ["params with one name"] = {
        "app:get('/:a/:a', print)", "^app.lua:1: .*two params have the same name",
      },
      ["params with one name, by prefix"] = {
        "app:group('/:a', function(g)\ng:get('/:a', print) end)",
        "^app.lua:2: route \"/:a/:a\": two params have the same name",
      },
      ["a missing handler"] = {
        "app:get('/', app.nothing)", "^app.lua:1: route \"/\": the handler is nil",
      },
      ["a dot for a colon"] = {
        "\napp.get('/', print)", "^app.lua:2: app.get%(%) needs the app",
      },
      ["a route that is there"] = {
        "app:get('/a/:x', print)\napp:get('/a/:y', print)",
        "^app.lua:2: route \"/a/:y\" %(GET%) is there already, at .*/app.lua:1$",
      },
      ["a small method"] = {
        "app:route('get', '/', print)", "methods have capital letters",
      },
      ["an unknown event"] = {
        "app:on('boot', print)", "^app.lua:1: .*the events are",
      },
      ["a second hook"] = {
        "app:on('error', print)\napp:on('error', print)",
        "^app.lua:2: .*is there already, at .*/app.lua:1$",
      },
      ["an app inside itself"] = { "app:mount('/a', app)", "inside itself" },
      ["a directory that is not there"] = {
        "\napp:static('/a', 'nope')", "^app.lua:2: .*nope is no directory",
      },
      ["an option of a WebSocket that is not there"] = {
        "app:websocket('/a', print, { pong = 1 })", "^app.lua:1: .*no option pong",
      },
      ["a global"] = { "\nfoo = 1", "^app.lua:2: the global 'foo' is assigned" },
    }
    for name, case in pairs(cases) do
      it(name, function()
        local message = tempapp.problem(case[1])
        assert(message:find(case[2]), message)
      end)
    end

    it("a return that is missing", function()
      local message = tempapp.problem { ["app.lua"] = "local app = 1" }
      assert(message:find("^app.lua: returned nothing.*`return app` missing"), message)
      message = tempapp.problem { ["app.lua"] = "return 5" }
      assert(message:find("^app.lua: returned a number; "), message)
    end)

    it("a table with other keys", function()
      local message = tempapp.problem { ["app.lua"] = "return { hello = print }" }
      assert(message:find("app.lua: route \"hello\": a pattern starts with /"), message)
      message = tempapp.problem { ["app.lua"] = "return { print }" }
      assert(message:find("app.lua: 1 is no route"), message)
      message = tempapp.problem { ["app.lua"] = "return {}" }
      assert(message:find("app.lua: the table of routes is empty"), message)
    end)

    it("that nothing is there", function()
      assert(tempapp.problem { ["README"] = "" }:find("no app.lua, no routes/ and no "))
    end)
  end)
end)
