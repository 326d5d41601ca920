-- atoll.http.serve: apps on listeners of a program's own.
local atoll = require "atoll"
local command = require "support.command"
local http = require "atoll.http"
local whole = require "support.whole"

local function listen(address)
  local listener = assert(atoll.net.listen(address or "127.0.0.1:0"))
  return listener, "http://" .. listener:name()
end

-- Serves in a task; close() ends it and waits.
local function serve(app)
  local listener, url = listen()
  local task = atoll.spawn(http.serve, listener, app)
  return {
    url = url, listener = listener, task = task,
    close = function()
      listener:close()
      return task:join(20)
    end,
  }
end

setup(whole.begin)
teardown(whole.over)

describe("http.serve", function()
  it("serves an app, with its hooks and its errors", function()
    local app = atoll.app()
    local seen = {}
    app:on("start", function() seen[#seen + 1] = "start" end)
    app:on("stop", function() seen[#seen + 1] = "stop" end)
    app:on("error", function(req, err) return 500, req.path .. ": " .. err end)
    app:on("not_found", function() return 404, "nothing here" end)
    app:use("/in", function(req, next)
      req.ctx.who = "ann"
      return next(req)
    end)
    app:get("/in/:what", function(req) return req.ctx.who .. " " .. req.params.what end)
    app:post("/echo", function(req, res)
      res.headers["X-Y"] = "z"
      return req:text()
    end)
    app:get("/fail", function() error("oh", 0) end)
    app:get("/halt", function() atoll.halt(403, "no") end)
    app:get("/ticks", function()
      return atoll.stream(function(write) write "12" write "3" end)
    end)
    local server = serve(app)
    assert.equal("ann x", http.get(server.url .. "/in/x").body)
    local res = http.post(server.url .. "/echo", "text")
    assert.same({ "text", "z" }, { res.body, res.headers["x-y"] })
    assert.equal("/fail: oh", http.get(server.url .. "/fail").body)
    assert.equal("no", http.get(server.url .. "/halt").body)
    assert.equal("nothing here", http.get(server.url .. "/none").body)
    assert.equal("123", http.get(server.url .. "/ticks").body)
    assert.equal(405, http.get(server.url .. "/echo").status)
    assert.is_true(server.close())
    assert.same({ "start", "stop" }, seen)
  end)

  it("serves a function and a table of routes, side by side", function()
    local one = serve(function(req) return "one " .. req.path end)
    local two = serve { ["/a/:b"] = { GET = function(req) return req.params.b end },
      ["POST /c"] = function() return "c" end }
    assert.equal("one /a/b", http.get(one.url .. "/a/b").body)
    assert.equal("b", http.get(two.url .. "/a/b").body)
    assert.equal("c", http.post(two.url .. "/c").body)
    assert.equal(404, http.get(two.url .. "/x").status)
    assert.is_true(one.close())
    assert.equal("b", http.get(two.url .. "/a/b").body)
    assert.is_true(two.close())
    assert.equal("ECONNREFUSED", (select(3, http.get(one.url))))
  end)

  it("serves on a unix socket", function()
    local path = os.tmpname()
    os.remove(path)
    local listener <close> = listen("unix:" .. path)
    local task = atoll.spawn(http.serve, listener, function(req) return req.remote end)
    assert.equal("unix:", http.get("http://a/", { unix = path }).body)
    listener:close()
    assert.is_true(task:join())
  end)

  it("answers what is in flight when the listener is closed", function()
    local begun, go = false, false
    local server = serve(function()
      begun = true
      while not go do atoll.sleep(0.001) end
      return "late"
    end)
    local request = atoll.spawn(http.get, server.url)
    while not begun do atoll.sleep(0.001) end
    server.listener:close()
    assert.equal("ETIMEDOUT", (select(3, server.task:join(0.02))))
    go = true
    local res = assert(request:join())
    assert.same({ "late", "close" }, { res.body, res.headers.connection })
    assert.is_true(server.task:join(20))
  end)

  it("answers what is in flight when it is cancelled", function()
    local begun, go = false, false
    local server = serve(function()
      begun = true
      while not go do atoll.sleep(0.001) end
      return "late"
    end)
    local request = atoll.spawn(http.get, server.url)
    while not begun do atoll.sleep(0.001) end
    server.task:cancel()
    assert.equal("ECANCELED", (select(3, server.task:join())))
    go = true
    assert.equal("late", request:join().body)
    server.listener:close()
  end)

  it("can serve a listener again", function()
    local listener <close>, url = listen()
    for _, text in ipairs { "one", "two" } do
      local task = atoll.spawn(http.serve, listener, function() return text end)
      assert.equal(text, http.get(url, { headers = { Connection = "close" } }).body)
      task:cancel()
      task:join()
      atoll.sleep(0)
    end
  end)

  it("says what it cannot serve", function()
    local listener = listen()
    for _, app in ipairs { 1, "x", true } do
      local ok, message = pcall(http.serve, listener, app)
      assert.is_false(ok)
      assert.matches("http_serve_spec.lua:%d+: http.serve%(%) serves", message)
    end
    assert.has_error(function() http.serve(nil, function() end) end)
    assert.has_error(function() http.serve(listener, {}) end)
    assert.has_error(function()
      http.serve(listener, { ["/a/:"] = function() end })
    end)
    listener:close()
    assert.same({ nil, "closed", "ECLOSED" },
      { http.serve(listener, function() end) })
  end)

  it("ends with its script, whatever is open", function()
    command.begin()
    command.write("s.lua", [[
      local atoll = require "atoll"
      local listener = atoll.net.listen("127.0.0.1:0")
      local url = "http://" .. listener:name()
      atoll.spawn(atoll.http.serve, listener, function(req)
        if req.path == "/wait" then atoll.sleep(60) end
        return "hello"
      end)
      atoll.spawn(atoll.http.get, url .. "/wait")
      local res = atoll.http.get(url, { stream = true })
      print(res:text())
      atoll.http.get(url, { stream = true })]])
    local code, out, err = command.atoll "run DIR/s.lua"
    command.finish()
    assert.same({ 0, "hello\n", "" }, { code, out, err })
  end)
end)
