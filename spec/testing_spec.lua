local core = require "atoll.core.testing"
local testing = require "atoll.testing"
local tempapp = require "tempapp"

describe("testing", function()
  describe("reads an answer", function()
    local load = core.load
    local answer

    before_each(function()
      core.load = function()
        return { exchange = function() return answer end, close = function() end }
      end
    end)
    after_each(function() core.load = load end)

    local function request(method, bytes)
      answer = bytes
      return testing.load("."):request(method, "/")
    end

    it("with a length", function()
      local res = request("GET", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc")
      assert.same(200, res.status)
      assert.same("OK", res.reason)
      assert.same("abc", res.body)
      assert.is_true(res.complete)
    end)

    it("in chunks, with extensions and trailers", function()
      local head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
      local res = request("GET", head .. "3;x=y\r\nabc\r\nA\r\n0123456789\r\n0\r\n\r\n")
      assert.same("abc0123456789", res.body)
      assert.is_true(res.complete)
      assert.is_true(request("GET", head .. "0\r\nA: b\r\n\r\n").complete)
    end)

    it("and tells one that was cut off", function()
      local chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
      for _, rest in ipairs {
        "", "3", "3\r\nab", "3\r\nabc", "3\r\nabc\r\n", "0\r\n",
      } do
        assert.is_false(request("GET", chunked .. rest).complete, rest)
      end
      local res = request("GET", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc")
      assert.same("abc", res.body)
      assert.is_false(res.complete)
    end)

    it("without a body, and complains of one", function()
      local head = "HTTP/1.1 204 No Content\r\n\r\n"
      assert.is_true(request("GET", head).complete)
      assert.is_false(request("GET", head .. "x").complete)
      local res = request("HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")
      assert.same("", res.body)
      assert.is_true(res.complete)
    end)

    it("behind informational ones", function()
      local res = request("GET", "HTTP/1.1 100 Continue\r\n\r\n"
        .. "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 404 \r\n\r\nabc")
      assert.same(404, res.status)
      assert.same("", res.reason)
      assert.same("abc", res.body)
      assert.is_nil(res.headers.link)
    end)

    it("with headers in any case, and each of several", function()
      local res = request("GET", "HTTP/1.1 200 OK\r\nX-A:  1 \r\nx-a: 2\r\nB:\r\n\r\n")
      assert.same("1, 2", res.headers["X-A"])
      assert.same({ "1", "2" }, res:values("X-a"))
      assert.same("", res.headers.b)
      assert.is_nil(res.headers.none)
      assert.same({}, res:values("none"))
    end)

    it("or says that it is none", function()
      for _, bytes in ipairs {
        "", "HTTP/1.1 200", "HTTP/1.1 200 OK\r\n", "nonsense\r\n\r\n",
        "HTTP/1.1 200 OK\r\nno colon\r\n\r\n", "HTTP/1.1 100 Continue\r\n\r\n",
      } do
        local res, message = request("GET", bytes)
        assert.is_nil(res)
        assert.truthy(message:find("^that is no HTTP response: "), bytes)
      end
    end)
  end)

  describe("writes a request", function()
    local app

    before_each(function()
      app = tempapp.load { ["app.lua"] = [[
        return function(req)
          return {
            method = req.method, target = req.target, body = req:text(),
            type = req.headers["content-type"], host = req.headers.host,
            length = req.headers["content-length"], x = req.headers.x,
          }
        end
      ]] }
    end)

    after_each(function()
      app:close()
      tempapp.clean()
    end)

    it("with a body", function()
      assert.same({
        method = "POST", target = "/a", body = "x\0y", host = "localhost", length = "3",
      }, app:request("POST", "/a", { body = "x\0y" }):json())
    end)

    it("with JSON", function()
      local seen = app:request("PUT", "/", { json = { a = true } }):json()
      assert.same("application/json", seen.type)
      assert.same("{\"a\":true}", seen.body)
    end)

    it("with a form and a query", function()
      local seen = app:request("POST", "/?z=1", {
        form = { b = { 1, "&" }, a = "ü " }, query = { y = "1 2" },
      }):json()
      assert.same("application/x-www-form-urlencoded", seen.type)
      assert.same("a=%C3%BC%20&b=1&b=%26", seen.body)
      assert.same("/?z=1&y=1%202", seen.target)
    end)

    it("with files in a form", function()
      local seen = app:request("POST", "/", {
        form = {
          a = { filename = "\"x\"\n", type = "a/b", body = "3" }, b = { 1, "2" },
        },
      }):json()
      local boundary = seen.type:match "^multipart/form%-data; boundary=([%w-]+)$"
      assert.same(("--B\r\nContent-Disposition: form-data; name=\"a\"; "
        .. "filename=\"%22x%22%0A\"\r\nContent-Type: a/b\r\n\r\n3\r\n--B\r\n"
        .. "Content-Disposition: form-data; name=\"b\"\r\n\r\n1\r\n--B\r\n"
        .. "Content-Disposition: form-data; name=\"b\"\r\n\r\n2\r\n--B--\r\n")
        :gsub("%-%-B", function() return "--" .. boundary end), seen.body)
    end)

    it("with headers of its own", function()
      local seen = app:request("POST", "/", {
        json = {}, headers = {
          ["content-type"] = "application/x", HOST = "example.org", X = { "1", "2" },
        },
      }):json()
      assert.same("application/x", seen.type)
      assert.same("example.org", seen.host)
      assert.same("1, 2", seen.x)
    end)

    it("unless it makes no sense", function()
      local cases = {
        { "GET" }, { "GET", "/", { jsn = {} } }, { "GET", "/", "body" },
        { "POST", "/", { body = "a", json = {} } }, { "POST", "/", { body = {} } },
      }
      for _, case in ipairs(cases) do
        local ok, message = pcall(app.request, app, table.unpack(case, 1, 3))
        assert.is_false(ok)
        assert.truthy(message:find("testing_spec.lua:%d+: "), message)
      end
    end)
  end)

  it("raises what is wrong with an app", function()
    local message = tempapp.problem("\n\nerror 'boom'")
    assert.truthy(message:find("^app.lua:3: boom"), message)
    tempapp.clean()
  end)

  it("says that an app is closed", function()
    local app = tempapp.load [[app:get("/", function() end)]]
    app:close()
    app:close()
    assert.has_error(function() app:request("GET", "/") end)
    tempapp.clean()
  end)
end)
