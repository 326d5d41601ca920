local tempapp = require "tempapp"

-- Middleware that notes its name around what it wraps.
local NOTE = [[
  local function note(name)
    return function(req, next)
      req.ctx.way = (req.ctx.way or "") .. name
      return next(req)
    end
  end
  local function way(req) return req.ctx.way or "-" end
]]

describe("middleware", function()
  local app

  local function load(source)
    app = tempapp.load(NOTE .. source)
  end

  local function get(target) return app:request("GET", target).body end

  after_each(function()
    if app then app:close() end
    app = nil
    tempapp.clean()
  end)

  it("is around the handlers below it, the first outermost", function()
    load [[
      app:get("/before", way)
      app:use(note "a")
      app:get("/between", way)
      app:use(note "b")
      app:get("/after", way)
    ]]
    assert.same("-", get("/before"))
    assert.same("a", get("/between"))
    assert.same("ab", get("/after"))
  end)

  it("returns whatever the handler returned", function()
    load [[
      app:use(function(req, next) return next(req) end)
      app:use(function(req, next) return next() end)
      app:get("/three", function() return 201, "x", { ["X-A"] = "1" } end)
      app:get("/none", function() end)
      app:get("/failed", function() return nil, "failed" end)
      app:get("/res", function(req, res) res.status = 202 return "x" end)
    ]]
    local res = app:request("GET", "/three")
    assert.same(201, res.status)
    assert.same("x", res.body)
    assert.same("1", res.headers["x-a"])
    assert.same(204, app:request("GET", "/none").status)
    assert.same(500, app:request("GET", "/failed").status)
    assert.same(202, app:request("GET", "/res").status)
  end)

  it("may answer in the handler's place, and see its answer", function()
    load [[
      app:use("/closed", function() return 403, "closed" end)
      app:use(function(req, next)
        local body = next(req)
        return body:upper()
      end)
      app:use(function(req, next, res)
        res.headers["X-Seen"] = "yes"
        return next(req)
      end)
      app:get("/closed/x", function() return "x" end)
      app:get("/open", function() return "x" end)
    ]]
    assert.same("closed", get("/closed/x"))
    assert.same("X", get("/open"))
    assert.same("yes", app:request("GET", "/open").headers["x-seen"])
  end)

  it("with a prefix is around what lies under it", function()
    load [[
      app:use("/admin", note "a")
      app:get("/admin", way)
      app:get("/admin/users/:id", way)
      app:get("/administrator", way)
      app:get("/", way)
    ]]
    assert.same("a", get("/admin"))
    assert.same("a", get("/admin/users/1"))
    assert.same("-", get("/administrator"))
    assert.same("-", get("/"))
  end)

  it("with a prefix is not passed by a param or a rest", function()
    load [[
      app:use("/admin", function() return 403, "closed" end)
      app:get("/:section/users", way)
      app:get("/*path", way)
      app:get("/users/:id", way)
    ]]
    assert.same("closed", get("/admin/users"))
    assert.same("closed", get("/admin/anything"))
    assert.same("closed", get("/%61dmin/anything"))
    assert.same("closed", get("/x/../admin"))
    assert.same("-", get("/other/users"))
    assert.same("-", get("/adminx"))
    assert.same("-", get("/users/admin"))
  end)

  it("may have params in its prefix", function()
    load [[
      app:use("/teams/:id", note "t")
      app:get("/teams/:team/x", way)
      app:get("/teams/red", way)
      app:get("/teams", way)
    ]]
    assert.same("t", get("/teams/1/x"))
    assert.same("t", get("/teams/red"))
    assert.same("-", get("/teams"))
  end)

  it("of a group or a mounted app stays inside", function()
    load [[
      app:use(note "a")
      app:group("/g", function(g)
        g:use(note "g")
        g:get("/x", way)
        g:group("/h", function(h) h:use("/i", note "i") h:get("/i/x", way) end)
      end)
      local other = atoll.app()
      other:use(note "o")
      other:get("/x", way)
      app:mount("/o", other)
      app:get("/x", way)
    ]]
    assert.same("ag", get("/g/x"))
    assert.same("agi", get("/g/h/i/x"))
    assert.same("ao", get("/o/x"))
    assert.same("a", get("/x"))
  end)

  it("is around what is not there", function()
    load [[
      app:use(note "a")
      app:use("/admin", function() return 403, "closed" end)
      app:on("not_found", way)
      app:group("/g", function(g) g:use(note "g") g:on("not_found", way) end)
    ]]
    assert.same("a", get("/x"))
    assert.same(404, app:request("GET", "/x").status)
    assert.same("closed", get("/admin/x"))
    assert.same("ag", get("/g/x"))
    assert.same("a", get("/gg"))
  end)

  it("is around what is not there also without a hook", function()
    load [[
      app:use("/admin", function() return 401, "who are you" end)
      app:get("/", way)
    ]]
    assert.same("who are you", get("/admin/x"))
    assert.same(404, app:request("GET", "/x").status)
  end)

  it("may halt, and its errors are those of the handler", function()
    load [[
      app:use(function(req, next)
        if req.query.halt then atoll.halt(403, "halted") end
        if req.query.boom then error("boom") end
        local ok, err = pcall(next, req)
        if not ok and type(err) == "string" then return 500, "caught" end
        if not ok then error(err, 0) end
        return "fine"
      end)
      app:get("/", function(req)
        if req.query.deep then error("deep") end
        if req.query.inner then atoll.halt(402, "inner") end
        return "x"
      end)
    ]]
    assert.same("fine", get("/"))
    assert.same("halted", get("/?halt=1"))
    assert.same(500, app:request("GET", "/?boom=1").status)
    assert.same("caught", get("/?deep=1"))
    assert.same(402, app:request("GET", "/?inner=1").status)
  end)
end)
