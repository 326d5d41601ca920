-- Files over the wire: conditions, ranges, twins, links, and what changes meanwhile.
local events = require "support.events"
local file = require "support.file"
local host = require "support.host"
local uv = require "luv"
local wire = require "support.wire"

local BIG = ("0123456789abcdef"):rep(512 * 1024) -- 8 MiB
local OLD = 1000000000 -- 2001-09-09, long settled
local OLD_DATE = "Sun, 09 Sep 2001 01:46:40 GMT"

local h

local function get(path, fields, method)
  local lines = { ("%s %s HTTP/1.1"):format(method or "GET", path), "Host: a" }
  for _, field in ipairs(fields or {}) do lines[#lines + 1] = field end
  return wire.ask(h, table.concat(lines, "\r\n") .. "\r\n\r\n", method == "HEAD")
end

local function age(name, seconds)
  assert(uv.fs_utime(h.dir .. "/" .. name, seconds or OLD, seconds or OLD))
end

local function shell(line)
  assert(os.execute(("cd '%s' && %s"):format(h.dir, line)))
end

local app = [[
  app:static("/s", "data", { cache = 60, headers = { ["X-From"] = "data" } })
  app:static("/plain", "data", { symlinks = "none", precompressed = false })
  app:static("/open", "data", { symlinks = "anywhere", index = { "a.txt", "b.txt" } })
  app:static("/bare", "data", { index = false, cache = "immutable" })
  app:static("/list", "data", { listing = true })
  app:static("/list-all", "data", { listing = true, symlinks = "anywhere" })
  app:get("/file", function() return atoll.file "data/a.txt" end)
  app:post("/file", function() return atoll.file "data/a.txt" end)
  app:get("/none", function() return atoll.file "data/none" end)
  app:get("/lost", function() return 404, atoll.file "data/a.txt" end)
  app:get("/download", function(req)
    return atoll.file("data/a.txt", { name = req.query.name, type = "x/y", cache = 5 })
  end)
  app:get("/below", function(req)
    return atoll.file(req.query.path, { root = "data" })
  end)
  app:get("/tagged", function(_, res)
    res.headers.etag = '"mine"'
    res.headers["Cache-Control"] = "no-store"
    return atoll.file("data/a.txt", { cache = 60 })
  end)
  app:get("/twice", function()
    local answer = atoll.file "data/a.txt"
    return answer
  end)
  app:on("not_found", function() return "no such page\n" end)
]]

local function start(set, extra)
  local options = {
    files = {
      ["app.lua"] = host.app(app),
      ["public/index.html"] = "<p>index",
      ["public/big.bin"] = BIG,
      ["data/a.txt"] = "0123456789",
      ["data/empty.txt"] = "",
      ["data/page.html"] = "plain html",
      ["data/page.html.gz"] = "gzipped",
      ["data/page.html.br"] = "brotli!",
      ["data/stale.css"] = "new",
      ["data/stale.css.gz"] = "old",
      ["data/photo.png"] = "png",
      ["data/photo.png.gz"] = "not asked",
      ["data/letters.txt"] = ("abcdefghijklmnopqrstuvwxyz"):rep(100),
      ["data/sub/b.txt"] = "below",
      ["secret.txt"] = "secret",
      ["data/.hidden"] = "secret",
      ["data/back\\slash.txt"] = "secret",
    },
    set = set,
  }
  for name, value in pairs(extra or {}) do options[name] = value end
  h = host.start(options)
  for _, name in ipairs { "a.txt", "empty.txt", "page.html", "page.html.gz",
    "page.html.br", "stale.css.gz", "letters.txt" } do
    age("data/" .. name)
  end
end

local function stop()
  wire.finish()
  host.finish()
end

describe("a file", function()
  setup(function() start() end)
  teardown(stop)

  it("comes with its validators", function()
    local res = get "/file"
    assert.same(200, res.status)
    assert.same("0123456789", res.body)
    assert.same(OLD_DATE, res.fields["last-modified"])
    assert.same("bytes", res.fields["accept-ranges"])
    assert.truthy(res.fields.etag:find '^"%x+%-a%-%x+"$')
    assert.same("text/plain; charset=utf-8", res.fields["content-type"])
    assert.is_nil(res.fields["cache-control"])
    local head = get("/file", nil, "HEAD")
    assert.same(200, head.status)
    assert.same("10", head.fields["content-length"])
    assert.same(res.fields.etag, head.fields.etag)
  end)

  local MONTHS = "JanFebMarAprMayJunJulAugSepOctNovDec"

  -- The second in which it was changed, and that in which it was sent, as it says.
  local function told(res)
    local list = {}
    for i, name in ipairs { "last-modified", "date" } do
      local day, month, year, hour, min, sec = res.fields[name]:match(
        "^%a+, (%d+) (%a+) (%d+) (%d+):(%d+):(%d+) GMT$")
      list[i] = os.time { year = year, month = (MONTHS:find(month) + 2) // 3, day = day,
        hour = hour, min = min, sec = sec }
    end
    return table.unpack(list)
  end

  it("has a weak tag while its last change is recent", function()
    local changed, sent
    events.retry("an answer within two seconds", function()
      h:write("data/fresh.txt", "fresh")
      local res = get "/s/fresh.txt"
      changed, sent = told(res)
      if res.fields.etag:find '^W/"' then return true end
      assert.is_true(sent - changed >= 1)
    end)
    age("data/fresh.txt", os.time() + 1000)
    local before, res = sent, get "/s/fresh.txt"
    assert.truthy(res.fields.etag:find '^W/"')
    changed, sent = told(res)
    assert.is_true(before <= changed and changed <= sent)
  end)

  -- Also in the milliseconds in which the clocks of the machine do not agree yet.
  it("has not changed later than it is sent, when a second begins", function()
    h:write("data/late.txt", "late")
    age("data/late.txt", os.time() + 1000)
    local begun = 0
    local _, before = told(get "/s/late.txt")
    while begun < 2 do
      local changed, sent = told(get "/s/late.txt")
      assert.is_true(before <= changed and changed <= sent)
      if sent ~= before then before, begun = sent, begun + 1 end
    end
  end)

  describe("answers conditions", function()
    local BEFORE = "Sun, 09 Sep 2001 01:46:39 GMT"
    local AFTER = "Sun, 09 Sep 2001 01:46:41 GMT"
    local cases = {
      { 304, "If-None-Match: TAG" }, { 304, "If-None-Match: W/TAG" },
      { 304, "If-None-Match: *" }, { 304, 'If-None-Match: "x", TAG' },
      { 200, 'If-None-Match: "x"' }, { 304, "If-Modified-Since: " .. OLD_DATE },
      { 304, "If-Modified-Since: Sunday, 09-Sep-01 01:46:40 GMT" },
      { 304, "If-Modified-Since: Sun Sep  9 01:46:40 2001" },
      { 200, "If-Modified-Since: " .. BEFORE }, { 304, "If-Modified-Since: " .. AFTER },
      { 200, "If-Modified-Since: yesterday" }, { 200, "If-Match: TAG" },
      { 200, "If-Match: *" }, { 412, 'If-Match: "x"' }, { 412, "If-Match: W/TAG" },
      { 412, "If-Unmodified-Since: " .. BEFORE },
      { 200, "If-Unmodified-Since: " .. OLD_DATE },
      { 200, 'If-None-Match: "x"', "If-Modified-Since: " .. OLD_DATE },
      { 304, "If-None-Match: TAG", "If-Modified-Since: " .. BEFORE },
      { 412, 'If-Match: "x"', "If-None-Match: TAG" },
      { 200, "If-Match: TAG", "If-Unmodified-Since: " .. BEFORE },
      { 304, "If-None-Match: TAG", "Range: bytes=0-1" },
      { 206, "If-Match: TAG", "Range: bytes=0-1" },
      { 206, "If-Range: TAG", "Range: bytes=0-1" },
      { 200, "If-Range: W/TAG", "Range: bytes=0-1" },
      { 200, 'If-Range: "x"', "Range: bytes=0-1" },
      { 206, "If-Range: " .. OLD_DATE, "Range: bytes=0-1" },
      { 200, "If-Range: " .. AFTER, "Range: bytes=0-1" },
      { 200, 'If-Range: "x"' },
    }
    for _, case in ipairs(cases) do
      it(table.concat(case, ", ", 2) .. " with " .. case[1], function()
        local tag, fields = get("/file").fields.etag, {}
        for i = 2, #case do fields[i - 1] = case[i]:gsub("TAG", tag) end
        for _, method in ipairs { "GET", "HEAD" } do
          local want = case[1] == 206 and method == "HEAD" and 200 or case[1]
          local res = get("/file", fields, method)
          assert.same(want, res.status)
          if want == 304 then
            assert.same(tag, res.fields.etag)
            assert.is_nil(res.fields["content-length"])
          end
        end
      end)
    end

    it("of GET and HEAD only, and only where it would say 200", function()
      local tag = get("/file").fields.etag
      assert.same(200, get("/file", { "If-None-Match: " .. tag, "Content-Length: 0" },
        "POST").status)
      local res = get("/lost", { "If-None-Match: " .. tag, "Range: bytes=0-1" })
      assert.same(404, res.status)
      assert.same("0123456789", res.body)
      assert.is_nil(res.fields.etag)
    end)

    it("by the tag that the app has set", function()
      local res = get "/tagged"
      assert.same('"mine"', res.fields.etag)
      assert.same("no-store", res.fields["cache-control"])
      res = get("/tagged", { 'If-None-Match: "mine"' })
      assert.same(304, res.status)
      assert.same("no-store", res.fields["cache-control"])
    end)
  end)

  describe("is given in ranges", function()
    local cases = {
      { "0-0", 206, "0", "0-0/10" }, { "2-4", 206, "234", "2-4/10" },
      { "7-", 206, "789", "7-9/10" }, { "-3", 206, "789", "7-9/10" },
      { "-99", 206, "0123456789", "0-9/10" }, { "0-", 206, "0123456789", "0-9/10" },
      { "5-99999999999999999999999", 206, "56789", "5-9/10" },
      { "0-1,1-3", 206, "0123", "0-3/10" }, { "10-", 416 }, { "-0", 416 },
      { "99-100,200-", 416 }, { "4-2", 200 }, { "x", 200 }, { "", 200 },
      { "1-2-", 200 },
      { ("0-,"):rep(100), 200 },
    }
    for _, case in ipairs(cases) do
      it("bytes=" .. case[1]:sub(1, 40), function()
        local res = get("/file", { "Range: bytes=" .. case[1] })
        assert.same(case[2], res.status)
        if case[2] == 200 then assert.same("0123456789", res.body) end
        if case[2] == 206 then
          assert.same(case[3], res.body)
          assert.same("bytes " .. case[4], res.fields["content-range"])
        end
        if case[2] == 416 then
          assert.same("bytes */10", res.fields["content-range"])
        end
      end)
    end

    it("several at once, as parts", function()
      local res = get("/s/letters.txt", { "Range: bytes=0-3,1000-1003,-2" })
      assert.same(206, res.status)
      local boundary = res.fields["content-type"]:match(
        "^multipart/byteranges; boundary=([%w-]+)$")
      assert.is_nil(res.fields["content-range"])
      local function part(range, body)
        return ("--%s\r\nContent-Type: text/plain; charset=utf-8\r\n"):format(boundary)
          .. ("Content-Range: bytes %s/2600\r\n\r\n%s\r\n"):format(range, body)
      end
      assert.same(part("0-3", "abcd") .. part("1000-1003", "mnop")
        .. part("2598-2599", "yz") .. "--" .. boundary .. "--\r\n", res.body)
    end)

    it("of large files, too", function()
      local res = get("/big.bin", { "Range: bytes=1000000-3999999" })
      assert.same(206, res.status)
      assert.is_true(res.body == BIG:sub(1000001, 4000000))
      res = get("/big.bin", { "Range: bytes=0-999999,5000000-" })
      assert.is_true(res.body:find(BIG:sub(1, 1000000), 1, true) ~= nil)
      assert.is_true(#res.body > 4388608 and #res.body < 4389608)
    end)

    it("but not an empty one, and not ten thousand", function()
      assert.same(200, get("/s/empty.txt", { "Range: bytes=0-" }).status)
      local many = {}
      for i = 1, 1500 do many[i] = i * 100 .. "-" .. i * 100 end
      local res = get("/big.bin", { "Range: bytes=" .. table.concat(many, ",") })
      assert.same(200, res.status)
      for i = 1, 10000 do many[i] = i .. "-" .. i end
      res = get("/big.bin", { "Range: bytes=" .. table.concat(many, ",") })
      assert.same(431, res.status)
    end)
  end)

  describe("has a twin", function()
    it("that is sent to who takes it", function()
      local plain = get "/s/page.html"
      assert.same("plain html", plain.body)
      assert.same("Accept-Encoding", plain.fields.vary)
      assert.is_nil(plain.fields["content-encoding"])
      local gzip = get("/s/page.html", { "Accept-Encoding: gzip" })
      assert.same("gzipped", gzip.body)
      assert.same("gzip", gzip.fields["content-encoding"])
      assert.same("text/html; charset=utf-8", gzip.fields["content-type"])
      assert.same("Accept-Encoding", gzip.fields.vary)
      assert.not_same(plain.fields.etag, gzip.fields.etag)
      local any = get("/s/page.html", { "Accept-Encoding: gzip, deflate, br, zstd" })
      assert.same("brotli!", any.body)
      assert.same("gzipped",
        get("/s/page.html", { "Accept-Encoding: gzip, br;q=0.1" }).body)
      assert.same("plain html", get("/s/page.html", { "Accept-Encoding: *;q=0" }).body)
      local part = get("/s/page.html", { "Accept-Encoding: br", "Range: bytes=1-2" })
      assert.same("ro", part.body)
      assert.same("br", part.fields["content-encoding"])
    end)

    it("that is passed over when it is older, or not wanted", function()
      assert.same("new", get("/s/stale.css", { "Accept-Encoding: gzip" }).body)
      local res = get("/s/photo.png", { "Accept-Encoding: gzip" })
      assert.same("png", res.body)
      assert.is_nil(res.fields.vary)
      res = get("/plain/page.html", { "Accept-Encoding: gzip" })
      assert.same("plain html", res.body)
      assert.is_nil(res.fields.vary)
    end)
  end)

  it("has the options of its directory", function()
    local res = get "/s/a.txt"
    assert.same("max-age=60", res.fields["cache-control"])
    assert.same("data", res.fields["x-from"])
    assert.same("max-age=31536000, immutable",
      get("/bare/a.txt").fields["cache-control"])
    assert.same("0123456789", get("/open/").body)
    assert.same("/open/sub/", get("/open/sub").fields.location)
    assert.same("below", get("/open/sub/").body)
    assert.same(404, get("/bare/").status)
    assert.same(404, get("/bare/sub").status)
    assert.same("no such page\n", get("/bare/sub").body)
  end)

  it("is listed with its directory", function()
    h:write("data/100% <b>&'\"ü.txt", "odd")
    shell "mkdir -p outside data/empty && ln -sfn ../outside data/door"
    assert.same("/list/", get("/list").fields.location)
    local res = get "/list/"
    assert.same(200, res.status)
    assert.same("text/html; charset=utf-8", res.fields["content-type"])
    for _, text in ipairs { '<a href="./a.txt">a.txt</a><td>10 B<td>2001-09-09 01:46',
      '<a href="./sub/">sub/</a>', "100% &lt;b&gt;&amp;&#39;&quot;ü.txt</a>" } do
      assert.truthy(res.body:find(text, 1, true), text)
    end
    local odd = res.body:match 'href="%./(100[^"]*)"'
    assert.same("odd", get("/list/" .. odd).body)
    for _, text in ipairs { "hidden", "slash", 'href="../"' } do
      assert.is_nil(res.body:find(text, 1, true), text)
    end
    assert.truthy(get("/list/sub/").body:find('href="../"', 1, true))
    assert.same("/list/sub/", get("/list/sub").fields.location)
    assert.same(200, get("/list/empty/").status)
    assert.same(404, get("/list/none/").status)
    assert.same(404, get("/list/a.txt/").status)
    assert.same(404, get("/list/door/").status)
    assert.same(200, get("/list-all/door/").status)
    assert.same(404, get("/s/").status)
  end)

  it("is what curl takes it for", function()
    local function curl(options, path)
      local pipe = io.popen(("curl -s %s %s%s"):format(options, h.url, path))
      local out = pipe:read "a"
      pipe:close()
      return out
    end
    assert.same("234", curl("-r 2-4", "/file"))
    assert.same("89", curl("-r -2", "/file"))
    assert.same("304", curl("-o /dev/null -w '%{http_code}' -z '" .. OLD_DATE .. "'",
      "/file"))
    assert.same("9 206", curl("-o " .. h.dir .. "/part -w '%{size_download} "
      .. "%{http_code}' -r 1-", "/file"))
    h:write("got.bin", BIG:sub(1, 5000000))
    curl("-C - -o " .. h.dir .. "/got.bin", "/big.bin")
    local f = assert(io.open(h.dir .. "/got.bin", "rb"))
    assert.is_true(f:read "a" == BIG)
    f:close()
  end)

  it("may be larger than 4 GiB", function()
    shell "truncate -s 5368709121 data/huge.bin"
    local f = assert(io.open(h.dir .. "/data/huge.bin", "r+b"))
    f:seek("set", 5368709120)
    f:write "x"
    f:close()
    local res = get("/s/huge.bin", { "Range: bytes=5368709118-" })
    assert.same("\0\0x", res.body)
    assert.same("bytes 5368709118-5368709120/5368709121", res.fields["content-range"])
    assert.same("5368709121", get("/s/huge.bin", nil, "HEAD").fields["content-length"])
    res = get("/s/huge.bin", { "Range: bytes=0-1,-1" })
    assert.truthy(res.body:find("\r\n\r\n\0\0\r\n--", 1, true))
    assert.truthy(res.body:find("\r\n\r\nx\r\n--", 1, true))
  end)

  it("is a download under any name", function()
    local function name(encoded)
      local res = get("/download?name=" .. encoded)
      assert.same("x/y", res.fields["content-type"])
      assert.same("max-age=5", res.fields["cache-control"])
      return res.fields["content-disposition"]
    end
    assert.same('attachment; filename="a b.txt"', name "a%20b.txt")
    assert.same([[attachment; filename="a\"b\\c"]], name "a%22b%5Cc")
    assert.same([[attachment; filename="_.txt"; filename*=UTF-8''%E2%82%AC.txt]],
      name "%E2%82%AC.txt")
    assert.same('attachment; filename="a__b"', name "a%0D%0Ab")
    assert.same([[attachment; filename="50%"; filename*=UTF-8''50%25]], name "50%25")
    assert.same('attachment; filename="_"', name "%FF")
  end)

  it("that is not there is 404, with nothing of what was meant for it", function()
    local res = get "/none"
    assert.same(404, res.status)
    assert.same("404 Not Found\n", res.body)
  end)

  describe("outside of its directory is not to be had", function()
    local hostile = {
      "/../secret.txt", "/%2e%2e/secret.txt", "/.%2e/secret.txt", "/..%2fsecret.txt",
      "/..%2Fsecret.txt", "/%2e%2e%2fsecret.txt", "/%252e%252e%252fsecret.txt",
      "/..%5csecret.txt", "/..\\secret.txt", "/..%255csecret.txt", "/.../secret.txt",
      "/sub/../../secret.txt", "/sub/..%2f..%2fsecret.txt", "//secret.txt",
      "/./../secret.txt", "/sub%00/../secret.txt", "/a.txt%00.html", "/%2Fetc/passwd",
      "//etc/passwd", "/..;/secret.txt", "/%c0%ae%c0%ae/secret.txt",
      "/%u002e%u002e/secret.txt", "/.hidden", "/sub/../.hidden", "/%2ehidden",
      "/back\\slash.txt", "/back%5Cslash.txt", "/sub/", "/a.txt/",
      "/" .. ("a"):rep(5000),
      "/" .. ("a/"):rep(2000),
    }
    it("by any path", function()
      for _, prefix in ipairs { "/s", "/plain", "/open", "" } do
        for _, path in ipairs(hostile) do
          local res = get(prefix .. path)
          local fine = res.status == 404 or res.status == 400
          if path == "/sub/" and prefix == "/open" then fine = true end
          assert(fine, prefix .. path .. " is " .. res.status)
          assert(not res.body:find("secret", 1, true), path)
        end
      end
    end)

    it("nor by a path that the client gives to atoll.file", function()
      for _, path in ipairs { "a.txt", "/a.txt", "sub/b.txt" } do
        assert.same(200, get("/below?path=" .. path).status)
      end
      for _, path in ipairs { "../secret.txt", "/../secret.txt", "/etc/passwd",
        "%2e%2e/secret.txt", "..%2fsecret.txt", "%00", "a.txt%00", ".hidden", "",
        "sub/../../secret.txt", "%252e%252e/secret.txt", "..\\secret.txt" } do
        local res = get("/below?path=" .. path)
        assert(res.status == 404, path .. " is " .. res.status)
      end
    end)

    it("by links, but as the rule says", function()
      shell [[mkdir -p inner && ln -sf ../secret.txt data/out.txt
        ln -sf "$PWD/secret.txt" data/out-absolute.txt
        ln -sf a.txt data/in.txt && ln -sf "$PWD/data/a.txt" data/in-absolute.txt
        ln -sfn sub data/dir && ln -sfn .. data/up && ln -sf loop data/loop
        ln -sfn /proc/self data/self]]
      local function statuses(prefix)
        local list = {}
        for _, path in ipairs { "out.txt", "out-absolute.txt", "in.txt",
          "in-absolute.txt", "dir/b.txt", "up/secret.txt", "loop", "self/environ" } do
          list[#list + 1] = get(prefix .. "/" .. path).status
        end
        return table.concat(list, " ")
      end
      assert.same("404 404 200 200 200 404 404 404", statuses "/s")
      assert.same("404 404 404 404 404 404 404 404", statuses "/plain")
      assert.same("200 200 200 200 200 200 404", statuses("/open"):sub(1, 27))
    end)
  end)

  it("that is none is not opened", function()
    shell "mkfifo data/pipe && mkdir data/folder.txt"
    for _, path in ipairs { "/s/pipe", "/open/pipe", "/s/folder.txt",
      "/below?path=pipe", "/below?path=sub" } do
      assert.same(404, get(path).status)
    end
  end)

  describe("that is changed", function()
    it("is the new one at once", function()
      for i = 1, 20 do
        h:write("data/changing.txt", "replaced " .. i)
        assert.same("replaced " .. i, get("/s/changing.txt").body)
        file.write(h.dir .. "/data/changing.txt", "written " .. i)
        assert.same("written " .. i, get("/s/changing.txt").body)
      end
      assert(os.remove(h.dir .. "/data/changing.txt"))
      assert.same(404, get("/s/changing.txt").status)
      h:write("data/changing.txt", "again")
      assert.same("again", get("/s/changing.txt").body)
    end)

    it("is so with its whole directory", function()
      shell "mkdir data/v && echo one >data/v/x.txt"
      assert.same("one\n", get("/s/v/x.txt").body)
      shell "mv data/v data/w && mkdir data/v && echo two >data/v/x.txt"
      assert.same("two\n", get("/s/v/x.txt").body)
      shell "rm -r data/v"
      assert.same(404, get("/s/v/x.txt").status)
      shell "mv data data.old"
      assert.same(404, get("/s/a.txt").status)
      shell "mv data.old data"
      assert.same(200, get("/s/a.txt").status)
    end)

    -- Waits until the host has begun to send it.
    local function opened(name)
      local dir = ("/proc/%d/fd/"):format(h:serving_pid())
      events.poll(name .. " to be opened", function()
        local list = uv.fs_scandir(dir)
        for fd in function() return uv.fs_scandir_next(list) end do
          local path = uv.fs_readlink(dir .. fd)
          if path and path:find(name .. "$") then return true end
        end
      end)
    end

    it("goes on as it was when another takes its place", function()
      h:write("public/going.bin", BIG)
      local c = wire.connect_deaf(h)
      c:send "GET /going.bin HTTP/1.1\r\nHost: a\r\n\r\n"
      c:send "GET /going.bin HTTP/1.1\r\nHost: a\r\n\r\n"
      opened "going.bin"
      h:write("public/going.bin", "short")
      c:resume()
      assert.is_true(c:receive().body == BIG)
      assert.same("short", c:receive().body)
    end)

    it("and gets shorter while it is sent is cut off", function()
      h:write("public/going.bin", BIG)
      local c = wire.connect(h)
      function c:on_data() self:pause() end -- its size has been told now
      c:send "GET /going.bin HTTP/1.1\r\nHost: a\r\n\r\n"
      events.wait("the head", function() return c.size > 0 end)
      c.on_data = nil
      local f = assert(uv.fs_open(h.dir .. "/public/going.bin", "r+", 0))
      assert(uv.fs_ftruncate(f, 7000000))
      uv.fs_close(f)
      c:resume()
      local bytes = c:wait_end()
      assert.is_true(#bytes < #BIG and #bytes > 100000)
      h:log_wait "/going.bin: the file got shorter while it was sent: cut off"
    end)
  end)

  it("waits for a slow client, and others do not", function()
    local c = wire.connect_deaf(h)
    c:send "GET /big.bin HTTP/1.1\r\nHost: a\r\n\r\n"
    for _ = 1, 20 do assert.same("<p>index", get("/").body) end
    c:resume()
    assert.is_true(c:receive().body == BIG)
    assert.same("<p>index", c:ask("/").body)
  end)

  it("comes in turn on one connection", function()
    local c = wire.connect(h)
    for _ = 1, 5 do
      c:send("GET /big.bin HTTP/1.1\r\nHost: a\r\n\r\nGET /s/a.txt HTTP/1.1\r\n"
        .. "Host: a\r\n\r\nHEAD /big.bin HTTP/1.1\r\nHost: a\r\n\r\n")
    end
    for _ = 1, 5 do
      assert.is_true(c:receive().body == BIG)
      assert.same("0123456789", c:receive().body)
      assert.same(tostring(#BIG), c:receive(true).fields["content-length"])
    end
  end)

  it("is left by a client, and nothing stays", function()
    for _ = 1, 10 do
      local c = wire.connect_deaf(h)
      c:send "GET /big.bin HTTP/1.1\r\nHost: a\r\n\r\n"
      get "/"
      c:abort()
    end
    assert.same(200, get("/").status)
  end)

  it("is served through a reload, and by the new code after it", function()
    local c = wire.connect_deaf(h)
    c:send "GET /big.bin HTTP/1.1\r\nHost: a\r\n\r\n"
    get "/"
    h:write_app(app:gsub('cache = 60, headers', 'cache = 61, headers'))
    assert.truthy(h:reload():find "serves")
    assert.same("max-age=61", get("/s/a.txt").fields["cache-control"])
    c:resume()
    assert.is_true(c:receive().body == BIG)
  end)
end)

describe("files", function()
  after_each(stop)

  it("have no more descriptors than there are", function()
    start({ open_files = 100 }, { shell = "ulimit -n 100" })
    for i = 1, 120 do h:write(("data/n%d.txt"):format(i), "n" .. i) end
    for _ = 1, 2 do
      for i = 1, 120 do
        assert.same("n" .. i, get(("/s/n%d.txt"):format(i)).body)
      end
    end
  end)

  it("are closed when nobody asks for them", function()
    start({ open_files = 0 })
    local before = h:held()
    for _ = 1, 10 do get "/s/a.txt" end
    events.poll("closed files", function() return h:descriptors() <= before end)
  end)

  it("follow links as the setting says", function()
    start({ symlinks = "none" })
    shell "ln -s index.html public/link.html && ln -s a.txt data/link.txt"
    assert.same(404, get("/link.html").status)
    assert.same(404, get("/s/link.txt").status)
    assert.same(200, get("/open/link.txt").status)
  end)

  it("are not sent for ever to who takes nothing", function()
    start({ write_timeout = 0.2, log_level = "debug" })
    local c = wire.connect_deaf(h)
    c:send "GET /big.bin HTTP/1.1\r\nHost: a\r\n\r\n"
    h:log_wait "a client has not read its answer"
    c:resume()
    assert.is_true(#c:wait_end() < #BIG)
  end)
end)

describe("the options of app:static", function()
  local cases = {
    { "{ cache = -1 }", "cache = %-1: it is a number of seconds" },
    { "{ cache = {} }", "it is a number of seconds, \"immutable\" or a text" },
    { "{ index = 7 }", "index = 7: no name" },
    { "{ index = 'a/b' }", "index = a/b: no name of a file" },
    { "{ symlinks = 'some' }", "symlinks = some: it is" },
    { "{ max_age = 1 }", "app:static%(%) has no option max_age; it has cache, " },
    { "7", "the options of app:static%(%) is a table, not number" },
  }
  for _, case in ipairs(cases) do
    it("are refused when they are " .. case[1], function()
      local tempapp = require "tempapp"
      local message = tempapp.problem("\napp:static('/', '.', " .. case[1] .. ")")
      assert(message:find("^app.lua:2: .*" .. case[2]), message)
      tempapp.clean()
    end)
  end
end)
