-- atoll.http against servers that mean well.
local atoll = require "atoll"
local host = require "support.host"
local http = require "atoll.http"
local pool = require "atoll.http.pool"
local raw = require "support.raw"
local whole = require "support.whole"

local APP = [[
  app:get("/", function() return "root" end)
  app:any("/any", function(req)
    return { method = req.method, query = req.query, headers = (function()
      local t = {}
      for k, v in pairs(req.headers) do t[k] = v end
      return t
    end)() }
  end)
  app:any("/echo", function(req)
    return 200, req:text(), { ["X-Length"] = req.headers["content-length"] or "none",
      ["X-Type"] = req.headers["content-type"] or "none" }
  end)
  app:get("/big", function() return ("0123456789abcdef"):rep(65536) end)
  app:get("/stream", function()
    return atoll.stream(function(write)
      for i = 1, 100 do write(("%05d"):format(i)) end
    end)
  end)
  app:get("/cookies", function()
    return 200, "", { ["Set-Cookie"] = { "a=1", "b=2" } }
  end)
  app:get("/nothing", function() return 204 end)
  app:get("/unchanged", function() return 304 end)
  app:any("/to/:status", function(req)
    return tonumber(req.params.status), "", { Location = req.query.at or "/echo" }
  end)
  app:get("/a/b/here", function() return atoll.redirect("../../any?x=1#part") end)
  app:get("/circle", function() return atoll.redirect("/circle") end)
  app:get("/far/:n", function(req)
    return atoll.redirect("/far/" .. tonumber(req.params.n) + 1)
  end)
  app:get("/slow", function() atoll.sleep(0.5) end)
  app:post("/late", function(req) return tostring(#req:text()) end)
]]

setup(whole.begin)
teardown(whole.over)

describe("http", function()
  local h, url

  setup(function()
    h = host.start { app = APP }
    url = h.url
  end)

  teardown(host.finish)

  after_each(raw.finish)

  it("gets", function()
    local res = assert(http.get(url))
    assert.equal(200, res.status)
    assert.equal("OK", res.reason)
    assert.equal("1.1", res.version)
    assert.equal("root", res.body)
    assert.equal("root", res:text())
    assert.equal(url .. "/", res.url)
    assert.equal("4", res.headers["Content-Length"])
    assert.equal("4", res.headers["content-length"])
    assert.is_nil(res.headers.none)
  end)

  it("is there as atoll.http", function()
    assert.equal(http, atoll.http)
  end)

  it("sends queries and headers", function()
    local res = assert(http.get(url .. "/any?a=1", {
      query = { b = "x y&", c = { 1, 2 } },
      headers = { ["X-One"] = "1", ["X-Two"] = { "a", "b" }, ["User-Agent"] = false,
        accept = "text/plain" },
    }))
    local seen = res:json()
    assert.same({ a = "1", b = "x y&", c = "1" }, seen.query)
    assert.equal("1", seen.headers["x-one"])
    assert.equal("a, b", seen.headers["x-two"])
    assert.equal("text/plain", seen.headers.accept)
    assert.is_nil(seen.headers["user-agent"])
  end)

  it("has a function for each method", function()
    for _, name in ipairs { "get", "delete" } do
      assert.equal(name:upper(), http[name](url .. "/any"):json().method)
    end
    for _, name in ipairs { "post", "put", "patch" } do
      assert.equal(name:upper(), http[name](url .. "/any", "x"):json().method)
    end
    local res = http.head(url .. "/any")
    assert.equal(200, res.status)
    assert.equal("", res.body)
    assert.equal("OPTIONS",
      http.request { url = url .. "/any", method = "OPTIONS" }:json().method)
  end)

  it("posts texts, tables and forms", function()
    local res = http.post(url .. "/echo", "text")
    assert.same({ "text", "4", "none" },
      { res.body, res.headers["x-length"], res.headers["x-type"] })
    res = http.post(url .. "/echo", { a = { 1, 2 } })
    assert.same({ '{"a":[1,2]}', "application/json" },
      { res.body, res.headers["x-type"] })
    res = http.request { url = url .. "/echo", method = "PUT", json = "x" }
    assert.equal('"x"', res.body)
    res = http.post(url .. "/echo", nil, { form = { a = "1 &", b = { "x", "y" } } })
    assert.same({ "a=1%20%26&b=x&b=y", "application/x-www-form-urlencoded" },
      { res.body, res.headers["x-type"] })
    assert.equal("0", http.post(url .. "/echo").headers["x-length"])
    assert.equal("none", http.get(url .. "/echo").headers["x-length"])
  end)

  it("posts what a function gives, in chunks or with a length", function()
    local function source()
      local n = 0
      return function()
        n = n + 1
        if n == 2 then return "" end
        return n <= 5 and ("x"):rep(n) or nil
      end
    end
    local res = assert(http.post(url .. "/echo", source()))
    assert.same({ ("x"):rep(13), "none" }, { res.body, res.headers["x-length"] })
    res = assert(http.post(url .. "/echo", source(),
      { headers = { ["content-length"] = 13 } }))
    assert.same({ ("x"):rep(13), "13" }, { res.body, res.headers["x-length"] })
    for _, length in ipairs { 12, 14 } do
      assert.has_error(function()
        http.post(url .. "/echo", source(),
          { headers = { ["Content-Length"] = length } })
      end)
    end
  end)

  it("sends trailers behind chunks", function()
    local bytes
    local server = raw.serve(function(socket)
      raw.head(socket)
      bytes = socket:read_until "\r\n\r\n"
      socket:write(raw.ok "x")
    end)
    local sent
    local function source()
      if sent then return nil, { A = "b", C = { 1 } } end
      sent = true
      return "x"
    end
    assert.equal("x", http.post(server.url, source).body)
    assert.is_true(bytes == "1\r\nx\r\n0\r\nA: b\r\nC: 1"
      or bytes == "1\r\nx\r\n0\r\nC: 1\r\nA: b")
    for _, name in ipairs { "Content-Length", "X\r\n", "Transfer-Encoding" } do
      assert.has_error(function()
        http.post(url .. "/echo", function() return nil, { [name] = "1" } end)
      end)
    end
  end)

  it("posts megabytes", function()
    local body = ("0123456789"):rep(1000000)
    assert.equal("10000000", http.post(url .. "/late", body).body)
  end)

  -- It waits one second for a 100, and sends the body without: where this thread has
  -- stood still, that is done anew.
  local function patient(fn)
    repeat
      local before = atoll.now()
      fn()
    until atoll.now() - before < 1
  end

  it("waits for 100 Continue when it is told to", function()
    local order
    local server = raw.serve(function(socket)
      order = {}
      local _, fields = raw.head(socket)
      order[1] = fields.expect
      order[2] = socket:buffered()
      socket:write "HTTP/1.1 100 Continue\r\n\r\n"
      order[3] = socket:read(4)
      socket:write(raw.ok "done")
    end)
    patient(function()
      local res = assert(http.post(server.url, "body",
        { headers = { Expect = "100-continue", Connection = "close" } }))
      assert.equal("done", res.body)
    end)
    assert.same({ "100-continue", 0, "body" }, order)
  end)

  it("sends no body when the server says no instead of 100", function()
    local rest
    local server = raw.serve(function(socket)
      raw.head(socket)
      socket:write "HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno"
      rest = socket:read "all"
    end)
    patient(function()
      rest = nil
      local res = assert(http.post(server.url, "body",
        { headers = { Expect = "100-continue" } }))
      assert.same({ 413, "no" }, { res.status, res.body })
      while not rest do atoll.sleep(0.001) end
    end)
    assert.equal("", rest)
  end)

  it("reads answers without a body", function()
    assert.same({ 204, "" }, { http.get(url .. "/nothing").status,
      http.get(url .. "/nothing").body })
    assert.equal(304, http.get(url .. "/unchanged").status)
    assert.equal(404, http.get(url .. "/none").status)
  end)

  it("gives all values of a header", function()
    local res = http.get(url .. "/cookies")
    assert.same({ "a=1", "b=2" }, res:values "set-cookie")
    assert.same({}, res:values "none")
    assert.equal("a=1, b=2", res.headers["Set-Cookie"])
    local all = {}
    for name, value in pairs(res.headers) do all[name] = value end
    assert.equal("a=1, b=2", all["set-cookie"])
    assert.has_error(function() res.headers.x = 1 end)
  end)

  it("reads a large body, and no larger one than it may", function()
    local res = assert(http.get(url .. "/big"))
    assert.equal(1048576, #res.body)
    res = assert(http.get(url .. "/big", { body_max = 1048576 }))
    assert.equal(1048576, #res.body)
    for _, path in ipairs { "/big", "/stream" } do
      local none, message, code = http.get(url .. path, { body_max = 499 })
      assert.same({ nil, "the body is larger than body_max", "ETOOLARGE" },
        { none, message, code })
    end
  end)

  it("reads a body as it comes", function()
    local res = assert(http.get(url .. "/stream", { stream = true }))
    assert.equal("00001", res:read(5))
    local n = 5
    for chunk in res:chunks() do n = n + #chunk end
    assert.equal(500, n)
    assert.is_nil(res:read())
    assert.equal("", res:text())
    res = assert(http.get(url .. "/stream", { stream = true }))
    assert.equal("000", res:read(3))
    assert.equal(497, #res:text())
    res = assert(http.get(url .. "/any", { stream = true }))
    assert.equal("GET", res:json().method)
    local read <close> = assert(http.get(url))
    assert.equal("root", read:text())
  end)

  it("gives up a body that nobody reads", function()
    local _, before = pool.count()
    local res = assert(http.get(url .. "/big", { stream = true }))
    assert.is_true(res:close())
    assert.same({ nil, "closed", "ECLOSED", n = 3 },
      table.pack(res:read()))
    assert.same({ nil, "closed", "ECLOSED", n = 3 },
      table.pack(res:text()))
    -- Of a fiber that has ended: a stack may still hold what it held once.
    atoll.spawn(function()
      assert.equal(200, assert(http.get(url .. "/big", { stream = true })).status)
    end):join()
    local total, idle
    repeat -- it is given up in a turn of its own
      collectgarbage()
      atoll.sleep(0.001)
      total, idle = pool.count()
    until total == idle
    assert.is_true(idle <= before + 1)
  end)

  it("follows redirects", function()
    local res = assert(http.get(url .. "/a/b/here"))
    assert.equal(url .. "/any?x=1", res.url)
    assert.same({ x = "1" }, res:json().query)
    for _, status in ipairs { 301, 302, 303 } do
      res = assert(http.post(url .. "/to/" .. status .. "?at=/any", { a = 1 }))
      local seen = res:json()
      assert.equal("GET", seen.method)
      assert.is_nil(seen.headers["content-type"])
      assert.is_nil(seen.headers["content-length"])
    end
    for _, status in ipairs { 307, 308 } do
      res = assert(http.post(url .. "/to/" .. status, { a = 1 }))
      assert.same({ '{"a":1}', "application/json" },
        { res.body, res.headers["x-type"] })
      res = assert(http.post(url .. "/to/" .. status, function() return nil end))
      assert.equal(status, res.status)
    end
    assert.equal("PUT", http.put(url .. "/to/301?at=/any", "x"):json().method)
  end)

  it("stops following where it is told to, or has to", function()
    assert.equal(302, http.get(url .. "/a/b/here", { redirects = 0 }).status)
    assert.equal(302, http.get(url .. "/a/b/here", { redirects = false }).status)
    local none, message, code = http.get(url .. "/circle")
    assert.is_nil(none)
    assert.matches("in circles", message)
    assert.equal("ELOOP", code)
    none, message, code = http.get(url .. "/far/1", { redirects = 3 })
    assert.same({ nil, "more than 3 redirects", "ELOOP" }, { none, message, code })
    none, message, code = http.get(url .. "/to/302?at=ftp://a/")
    assert.is_nil(none)
    assert.matches("only http and https", message)
    assert.equal("EPROTONOSUPPORT", code)
  end)

  it("keeps secrets to the origin that they were for", function()
    local seen
    local other = raw.answer(function(request)
      seen = request.fields
      return raw.ok "other"
    end)
    local first = raw.answer(function(request)
      if request.line:find "/same" then
        seen = request.fields
        return raw.ok "same"
      end
      local to = request.line:find "/away" and other.url or "/same"
      return "HTTP/1.1 302 x\r\nContent-Length: 0\r\nLocation: " .. to .. "\r\n\r\n"
    end)
    local options = { headers = { authorization = "secret", Cookie = "a=1", X = "y" } }
    assert.equal("same", http.get(first.url .. "/here", options).body)
    assert.same({ "secret", "a=1", "y" }, { seen.authorization, seen.cookie, seen.x })
    assert.equal("other", http.get(first.url .. "/away", options).body)
    assert.same({ nil, nil, "y" }, { seen.authorization, seen.cookie, seen.x })
    assert.equal(other.address, seen.host)
    local named = first.url:gsub("//", "//ann:p%%40ss@")
    assert.equal("same", http.get(named .. "/here").body)
    assert.equal("Basic YW5uOnBAc3M=", seen.authorization)
    assert.equal("other", http.get(named .. "/away").body)
    assert.is_nil(seen.authorization)
  end)

  -- Both, with a comma between them, were taken for one path.
  it("follows no redirect to two places", function()
    local both = raw.answer(function()
      return "HTTP/1.1 302 x\r\nContent-Length: 0\r\nLocation: /b\r\n"
        .. "Location: /c\r\n\r\n"
    end)
    assert.same({ nil, "a redirect to several places", "EPROTO" },
      { http.get(both.url .. "/") })
  end)

  it("has limits for each phase and for the whole", function()
    -- In another phase where the machine stands still: then with more time.
    local function late(message, to, options)
      local none, why, code
      for _, times in ipairs { 1, 10, 100 } do
        local longer = {}
        for name, value in pairs(options) do
          longer[name] = name:find "timeout" and value * times or value
        end
        none, why, code = http.get(to, longer)
        if why == message then break end
      end
      assert.same({ nil, "ETIMEDOUT", message }, { none, code, why })
    end
    local silent = raw.serve(function(socket) socket:read "all" end)
    late("timed out waiting for the answer", silent.url, { head_timeout = 0.02 })
    late("timed out waiting for the answer", silent.url, { timeout = 0.02 })
    local server = raw.serve(function(socket)
      raw.head(socket)
      socket:write "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc"
      socket:read(1)
    end)
    late("timed out reading the body", server.url, { body_timeout = 0.02 })
    late("timed out reading the body", server.url, { timeout = 0.05 })
    local res = assert(http.get(server.url, { body_timeout = 0.02, stream = true }))
    assert.equal("abc", res:read())
    assert.same({ nil, "timed out reading the body", "ETIMEDOUT", n = 3 },
      table.pack(res:read()))
    local listener <close> = atoll.net.listen("127.0.0.1:0", { backlog = 1 })
    late("timed out sending the request", "http://" .. listener:name(),
      { method = "POST", body = ("x"):rep(32 * 1024 * 1024), write_timeout = 0.05 })
    local total, idle = pool.count()
    assert.equal(total, idle)
  end)

  it("is cancelled cleanly wherever it waits", function()
    for _, path in ipairs { "/slow", "/big" } do
      local task = atoll.spawn(function()
        local res <close> = http.get(url .. path, { stream = true })
        while true do
          res:read()
          atoll.sleep(1)
        end
      end)
      atoll.sleep(0.01)
      task:cancel()
      task:join()
    end
    local total, idle = pool.count()
    assert.equal(total, idle)
  end)

  it("speaks through unix sockets", function()
    local path = os.tmpname()
    os.remove(path)
    local seen
    raw.answer(function(request)
      seen = request
      return raw.ok "unix"
    end, "unix:" .. path)
    local res = assert(http.get("http://example.org/x", { unix = path }))
    assert.equal("unix", res.body)
    assert.same({ "GET /x HTTP/1.1", "example.org" }, { seen.line, seen.fields.host })
  end)

  it("speaks to IPv6 addresses", function()
    local server = raw.answer(function(request)
      return raw.ok(request.fields.host)
    end, "[::1]:0")
    assert.equal(server.address, http.get(server.url .. "/").body)
  end)

  it("goes through a proxy", function()
    local seen = {}
    local proxy = raw.answer(function(request)
      seen[#seen + 1] = request
      return raw.ok "proxied"
    end)
    local res = assert(http.get("http://example.org:81/x?y", { proxy = proxy.url }))
    assert.equal("proxied", res.body)
    assert.equal("GET http://example.org:81/x?y HTTP/1.1", seen[1].line)
    assert.equal("example.org:81", seen[1].fields.host)
    local named = proxy.url:gsub("//", "//u:p@")
    http.get("http://example.net/", { proxy = named })
    assert.equal("Basic dTpw", seen[2].fields["proxy-authorization"])
    http.get("http://example.net/", { proxy = proxy.url })
    http.get("http://example.org/", { proxy = proxy.url })
    assert.equal(2, proxy.count)
    local none, message, code = http.get("http://a/", { proxy = "socks5://a:1" })
    assert.is_nil(none)
    assert.matches("only http", message)
    assert.equal("EPROTONOSUPPORT", code)
  end)

  it("asks a proxy for a tunnel, and tells when there is none", function()
    local seen
    local proxy = raw.answer(function(request)
      seen = request
      return "HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n"
    end)
    local none, message, code = http.get("https://example.org/", { proxy = proxy.url })
    assert.same({ nil, "the proxy answered 403 No", "ECONNREFUSED" },
      { none, message, code })
    assert.same({ "CONNECT example.org:443 HTTP/1.1", "example.org:443" },
      { seen.line, seen.fields.host })
  end)

  it("reads URLs strictly", function()
    for _, text in ipairs { "", "a", "http:", "http://", "http:///a", "http://a:b/",
      "http://a:0/", "http://a:65536/", "http://a b/", "http://[::1/",
      "http://\xc3\xa4/", "http://a/\r\nX: y", "http://a\0/", "//a/b" } do
      local none, message, code = http.get(text)
      assert.is_nil(none)
      assert.is_string(message)
      assert.equal("ESYNTAX", code)
    end
    local seen
    local server = raw.answer(function(request)
      seen = request.line
      return raw.ok ""
    end)
    http.get(server.url .. "?a b\"<\xc3\xa4>#x")
    assert.equal("GET /?a%20b%22%3C%C3%A4%3E HTTP/1.1", seen)
    http.get(server.url .. "/x", { query = { q = "ä" } })
    assert.equal("GET /x?q=%C3%A4 HTTP/1.1", seen)
  end)

  it("lets nobody smuggle headers in", function()
    for name, value in pairs { ["X\r\nY"] = "z", X = "a\r\nY: b", ["X:"] = "a",
      [""] = "a", Y = "a\0", ["Transfer-Encoding"] = "chunked", Connection = "upgrade",
      ["Content-Length"] = "7", Z = true, Upgrade = "x", Expect = "x" } do
      local ok, message = pcall(http.get, url, { headers = { [name] = value } })
      assert.is_false(ok, name)
      assert.matches("^[^:]*http_client_spec.lua:%d+: the header", message)
    end
    assert.has_error(function() http.request { url = url, method = "GET /\r\n" } end)
    assert.has_error(function() http.request { url = url, method = "" } end)
  end)

  it("says what is wrong with the options", function()
    local function wrong(pattern, ...)
      local ok, message = pcall(...)
      assert.is_false(ok)
      assert.matches("^[^:]*http_client_spec.lua:%d+: " .. pattern, message)
    end
    wrong("a request has no option boddy", http.get, url, { boddy = 1 })
    wrong("the URL is a string, not nil", http.get)
    wrong("timeout is a number", http.get, url, { timeout = "1" })
    wrong("timeout is a number", http.get, url, { timeout = 0 })
    wrong("a request has one of body, json and form", http.post, url, "x", { json = 1 })
    wrong("the body is a text", http.post, url, true)
    wrong("redirects is a whole number", http.get, url, { redirects = 1.5 })
    wrong("http.limits%(%) has no x", http.limits, { x = 1 })
    wrong("per_host is a whole number", http.limits, { per_host = 0 })
  end)
end)
