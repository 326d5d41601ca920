-- Answers that are compressed on their way: when, for whom, and piece by piece.
local events = require "support.events"
local file = require "support.file"
local host = require "support.host"
local uv = require "luv"
local wire = require "support.wire"
local zlib = require "zlib"

local TEXT = ("All work and no play makes Jack a dull boy.\n"):rep(200) -- 8,800 bytes

local h

local function ask(path, accepts, fields, method, version)
  local lines = { ("%s %s HTTP/%s"):format(method or "GET", path, version or "1.1"),
    "Host: a" }
  if accepts then lines[#lines + 1] = "Accept-Encoding: " .. accepts end
  for _, field in ipairs(fields or {}) do lines[#lines + 1] = field end
  return wire.ask(h, table.concat(lines, "\r\n") .. "\r\n\r\n", method == "HEAD")
end

local function send(c, path)
  c:send(("GET %s HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\n\r\n"):format(path))
end

local function unzip(bytes)
  local text, eof = zlib.inflate()(bytes)
  return text, eof
end

local function unbrotli(bytes)
  local name = os.tmpname()
  file.write(name, bytes)
  local pipe = io.popen("brotli -dc <" .. name)
  local text = pipe:read "a"
  pipe:close()
  os.remove(name)
  return text
end

local app = [[
  local TEXT = ("All work and no play makes Jack a dull boy.\n"):rep(200)
  app:get("/text", function() return TEXT end)
  app:get("/html", function() return atoll.html(TEXT) end)
  app:get("/json", function() return { text = TEXT } end)
  app:get("/short", function() return "short" end)
  app:get("/long", function() return TEXT:rep(100) end)
  app:get("/noise", function(req, res)
    local t = {}
    for i = 1, 4000 do t[i] = string.char(math.random(0, 255)) end
    return table.concat(t)
  end)
  app:get("/picture", function()
    return TEXT, nil, { ["Content-Type"] = "image/png" }
  end)
  app:get("/coded", function() return TEXT, nil, { ["Content-Encoding"] = "x" } end)
  app:get("/as-is", function()
    return TEXT, nil, { ["Cache-Control"] = "max-age=9, no-transform" }
  end)
  app:get("/never", function(req, res) res.compress = false return TEXT end)
  app:get("/never-html", function()
    local answer = atoll.html(TEXT)
    answer.compress = false
    return answer
  end)
  app:get("/tagged", function()
    return TEXT, nil, { ETag = '"x"', Vary = "Cookie" }
  end)
  app:get("/varied", function()
    return TEXT, nil, { ETag = 'W/"x"', Vary = "cookie, accept-encoding" }
  end)
  app:get("/sorry", function() return 404, TEXT end)
  app:get("/empty", function() return 204 end)
  app:get("/reset", function() return 205 end)
  local gate = atoll.channel(0)
  app:get("/stream", function()
    return atoll.stream(function(write)
      for i = 1, 3 do
        write("piece " .. i .. "\n")
        gate:receive()
      end
    end)
  end)
  app:get("/next", function() gate:send(true) return "next" end)
  app:get("/big-stream", function()
    return atoll.stream(function(write)
      for i = 1, 50 do write(TEXT:rep(20)) end
    end)
  end)
  app:get("/huge-write", function(req, res) res:write(TEXT:rep(300)) end)
  app:get("/promised", function()
    return atoll.stream(function(write) write(TEXT) end, 200,
      { ["Content-Length"] = tostring(#TEXT) })
  end)
  app:get("/broken-promise", function()
    return atoll.stream(function(write) write(TEXT) end, 200,
      { ["Content-Length"] = tostring(#TEXT + 1) })
  end)
  app:get("/broken", function()
    return atoll.stream(function(write) write(TEXT) error "boom" end)
  end)
  app:get("/pieces", function()
    local n = 0
    return function() n = n + 1 return n < 4 and TEXT or nil end
  end)
  app:static("/s", "data")
]]

describe("compression", function()
  setup(function()
    h = host.start {
      files = {
        ["app.lua"] = host.app(app),
        ["data/a.txt"] = TEXT, ["data/long.txt"] = TEXT:rep(100),
        ["data/small.txt"] = "small", ["data/a.png"] = TEXT,
        ["data/twin.css"] = TEXT, ["data/twin.css.gz"] = "twin",
      },
      set = { compression = "on" },
    }
    assert(uv.fs_utime(h.dir .. "/data/twin.css", 1e9, 1e9))
  end)

  teardown(function()
    wire.finish()
    host.finish()
  end)

  local function packed(path, accepts, want)
    local res = ask(path, accepts or "gzip")
    assert.same("gzip", res.fields["content-encoding"])
    assert.same("Accept-Encoding", res.fields.vary)
    local text, eof = unzip(res.body)
    assert.is_true(text == want)
    assert.is_true(eof)
    return res
  end

  it("is for those who accept it", function()
    packed("/text", nil, TEXT)
    packed("/html", "x, gzip;q=0.3", TEXT)
    packed("/json", "gzip, *;q=0.1", '{"text":"' .. TEXT:gsub("\n", "\\n") .. '"}')
    packed("/sorry", nil, TEXT)
    for _, accepts in ipairs { "", "identity", "gzip;q=0", "*;q=0", "deflate",
      "gzip;q=0.1, identity;q=0.2" } do
      local res = ask("/text", accepts)
      assert.is_true(res.body == TEXT)
      assert.is_nil(res.fields["content-encoding"])
      assert.same("Accept-Encoding", res.fields.vary)
    end
    assert.is_true(ask("/text").body == TEXT)
  end)

  it("prefers br for what has a length", function()
    for path, want in pairs { ["/text"] = TEXT, ["/long"] = TEXT:rep(100),
      ["/s/long.txt"] = TEXT:rep(100) } do
      local res = ask(path, "gzip, br")
      assert.same("br", res.fields["content-encoding"])
      assert.is_true(unbrotli(res.body) == want)
    end
    assert.same("gzip", ask("/pieces", "gzip, br").fields["content-encoding"])
  end)

  it("leaves alone what it would not help, or must not touch", function()
    for _, path in ipairs { "/short", "/picture", "/coded", "/as-is", "/never",
      "/never-html", "/empty", "/reset", "/s/small.txt", "/s/a.png" } do
      local res = ask(path, "gzip")
      local coding = res.fields["content-encoding"]
      assert(coding == nil or coding == "x", path)
      assert(res.fields.vary == nil or path == "/s/small.txt", path)
    end
    local res = ask("/noise", "gzip")
    assert.is_nil(res.fields["content-encoding"])
    assert.same(4000, #res.body)
    assert.same("twin", ask("/s/twin.css", "gzip").body)
  end)

  it("makes a strong tag weak, and says Vary once", function()
    local res = ask("/tagged", "gzip")
    assert.same('W/"x"', res.fields.etag)
    local varies = {}
    for _, field in ipairs(res.list) do
      if field[1] == "vary" then varies[#varies + 1] = field[2] end
    end
    assert.same({ "Cookie", "Accept-Encoding" }, varies)
    res = ask("/varied", "gzip")
    assert.same("gzip", res.fields["content-encoding"])
    assert.same('W/"x"', res.fields.etag)
    assert.same("cookie, accept-encoding", res.fields.vary)
    assert.same('"x"', ask("/tagged").fields.etag)
  end)

  it("tells HEAD what it would tell GET, but for the length", function()
    for _, path in ipairs { "/text", "/tagged", "/long", "/pieces", "/s/a.txt",
      "/s/long.txt" } do
      local get, head = ask(path, "gzip"), ask(path, "gzip", nil, "HEAD")
      for _, name in ipairs { "content-encoding", "vary", "etag", "content-type",
        "accept-ranges" } do
        assert.same(get.fields[name], head.fields[name])
      end
      assert.same("gzip", head.fields["content-encoding"])
      assert.is_nil(head.fields["content-length"])
    end
  end)

  it("sends long bodies in pieces", function()
    local res = packed("/long", nil, TEXT:rep(100))
    assert.same("chunked", res.fields["transfer-encoding"])
    packed("/big-stream", nil, TEXT:rep(1000))
    packed("/huge-write", nil, TEXT:rep(300))
    packed("/pieces", nil, TEXT:rep(3))
    packed("/promised", nil, TEXT)
  end)

  it("keeps the next answer in its place", function()
    local c = wire.connect(h)
    for _ = 1, 10 do
      for _, path in ipairs { "/text", "/long", "/short", "/pieces", "/s/long.txt" } do
        send(c, path)
      end
    end
    for _ = 1, 10 do
      assert.is_true(unzip(c:receive().body) == TEXT)
      assert.is_true(unzip(c:receive().body) == TEXT:rep(100))
      assert.same("short", c:receive().body)
      assert.is_true(unzip(c:receive().body) == TEXT:rep(3))
      assert.is_true(unzip(c:receive().body) == TEXT:rep(100))
    end
  end)

  it("lets each write of a stream arrive", function()
    local c, inflate, text = wire.connect(h), zlib.inflate(), ""
    local at
    send(c, "/stream")
    c:read_until "\r\n\r\n"
    for i = 1, 3 do
      local want = ("piece %d\n"):format(i)
      events.wait("piece " .. i, function()
        while true do
          local size, from = c:got():match("^(%x+)\r\n()", c.at)
          size = size and tonumber(size, 16)
          if not size or #c:got() < from + size + 1 then break end
          text = text .. inflate(c:got():sub(from, from + size - 1))
          c.at = from + size + 2
        end
        at = text:find(want, 1, true)
        return at
      end)
      assert.same("next", ask("/next").body)
    end
    c:read_until "0\r\n\r\n"
    assert.same("piece 1\npiece 2\npiece 3\n", text)
  end)

  it("does not hide that an answer is not whole", function()
    for _, path in ipairs { "/broken", "/broken-promise" } do
      local c = wire.connect(h)
      send(c, path)
      local bytes = c:wait_end()
      assert.is_nil(bytes:find("0\r\n\r\n", 1, true))
    end
  end)

  it("is for HTTP/1.0 where the length is known", function()
    local res = ask("/text", "gzip", { "Connection: close" }, nil, "1.0")
    assert.same("gzip", res.fields["content-encoding"])
    assert.is_true(unzip(res.body) == TEXT)
    assert.is_nil(ask("/pieces", "gzip", nil, nil, "1.0").fields["content-encoding"])
  end)

  it("is for files, but not for their ranges", function()
    local plain = ask "/s/a.txt"
    local res = packed("/s/a.txt", nil, TEXT)
    assert.truthy(res.fields.etag:find "^W/")
    assert.is_nil(res.fields["accept-ranges"])
    assert.same("bytes", plain.fields["accept-ranges"])
    packed("/s/long.txt", nil, TEXT:rep(100))
    local part = ask("/s/a.txt", "gzip", { "Range: bytes=0-7" })
    assert.same(206, part.status)
    assert.same("All work", part.body)
    assert.is_nil(part.fields["content-encoding"])
    local again = ask("/s/a.txt", "gzip", { "If-None-Match: " .. res.fields.etag })
    assert.same(304, again.status)
    assert.same(res.fields.etag, again.fields.etag)
    again = ask("/s/a.txt", "gzip",
      { "If-Range: " .. res.fields.etag, "Range: bytes=0-7" })
    assert.same(200, again.status)
  end)

  it("waits for a slow client in bounded memory, and goes on for others", function()
    local slow = {}
    for i = 1, 20 do
      slow[i] = wire.connect_deaf(h)
      send(slow[i], "/big-stream")
      send(slow[i], "/s/long.txt")
    end
    assert.same("short", ask("/short").body)
    for i = 1, 20 do slow[i]:resume() end
    for i = 1, 20 do
      assert.is_true(unzip(slow[i]:receive().body) == TEXT:rep(1000))
      assert.is_true(unzip(slow[i]:receive().body) == TEXT:rep(100))
      slow[i]:close()
    end
  end)

  it("is left by clients, and nothing stays", function()
    for _, path in ipairs { "/long", "/big-stream", "/s/long.txt", "/stream" } do
      local c = wire.connect(h)
      send(c, path)
      c:read_until "\r\n\r\n" -- the handler has begun
      c:pause()
      c:abort()
    end
    for _ = 1, 3 do ask "/next" end
  end)

  it("is switched by a reload", function()
    local again = host.start { files = {
      ["app.lua"] = host.app(app), ["atoll.lua"] = "return { compression = true, "
        .. "compress_min = 10, compress_types = 'application/json' }",
      ["data/none"] = "",
    } }
    local before = h
    h = again
    assert.is_nil(ask("/text", "gzip").fields["content-encoding"])
    assert.same("gzip", ask("/json", "gzip").fields["content-encoding"])
    h:write("atoll.lua", "return { compression = false }")
    assert.truthy(h:reload():find "serves")
    assert.is_nil(ask("/json", "gzip").fields["content-encoding"])
    assert.is_nil(ask("/json", "gzip").fields.vary)
    h = before
  end)
end)
