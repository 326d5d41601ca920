-- Forms from outside: what browsers and curl send, cut anywhere, too large, broken off.
local events = require "support.events"
local faults = require "support.faults"
local host = require "support.host"
local wire = require "support.wire"

local function shell(command)
  local pipe = assert(io.popen(command))
  local text = pipe:read "a"
  assert(pipe:close(), command)
  return text
end

local function files_in(directory)
  return shell("ls -A " .. directory)
end

local function head(name, more)
  return ("--B\r\nContent-Disposition: form-data; name=\"%s\"%s\r\n\r\n"):format(name,
    more or "")
end

local function field(name, value) return head(name) .. value .. "\r\n" end

local function file(name, filename, bytes, type)
  return head(name, ("; filename=\"%s\"\r\nContent-Type: %s"):format(filename,
    type or "text/plain")) .. bytes .. "\r\n"
end

local TYPE = "multipart/form-data; boundary=B"

local function post(path, body, type, length)
  return ("POST %s HTTP/1.1\r\nHost: a\r\nContent-Type: %s\r\nContent-Length: %d"
    .. "\r\n\r\n"):format(path, type or TYPE, length or #body) .. body
end

local function urlencoded(path, body, type)
  return post(path, body, type or "application/x-www-form-urlencoded")
end

describe("a form", function()
  local h, directory

  setup(function()
    directory = host.directory {}
    assert(os.execute("mkdir " .. directory .. "/temporary"))
    h = host.start {
      dir = "spec/apps/forms",
      set = {
        body_max = "300M",
        form_parts_max = 5, form_name_max = 20, form_header_max = 500,
        form_memory_max = "200K", form_directory = directory .. "/temporary",
      },
    }
  end)
  teardown(function()
    assert.equal("", files_in(directory .. "/temporary"))
    host.finish()
  end)
  after_each(wire.finish)

  local function ask(bytes)
    local c = wire.connect(h)
    local answer = c:ask(bytes)
    assert.equal("probe", c:ask("/probe").body)
    return answer
  end

  it("is read however it is cut", function()
    wire.check(h, {
      { name = "fields and a file", want = { { 200,
        body = "a=1\na=2\nf=x.txt|x.txt|text/plain|5|a\r\nb\n" } },
        bytes = post("/form", field("a", "1") .. file("f", "x.txt", "a\r\nb\n")
          .. field("a", "2") .. "--B--\r\n") },
      { name = "urlencoded", want = { { 200, body = "a=1\na=\nb=x y&\nc=%zz%" } },
        bytes = urlencoded("/form", "a=1&b=x+y%26&a=&c=%zz%&&") },
    })
  end)

  it("is read as curl sends it", function()
    local path = directory .. "/a \"b\".bin"
    local f = assert(io.open(path, "wb"))
    f:write(("0123456789"):rep(20000))
    f:close()
    local got = shell(("curl -s -F a=one -F 'a=\xc3\xa4 two' -F 'f=@\"%s\";type=a/b' "
      .. "-F 'empty=;filename=' %s/form"):format(path:gsub("\"", "\\\""), h.url))
    assert.equal("a=one\na=\xc3\xa4 two\n"
      .. "f=a \"b\".bin|a \"b\".bin|a/b|200000|200000", got)
    assert.equal("a=1\nb= 2", shell("curl -s -d a=1 --data-urlencode 'b= 2' " .. h.url
      .. "/form"))
  end)

  it("has names of files without directories", function()
    for sent, name in pairs {
      ["C:\\dir\\x.txt"] = "x.txt", ["../../etc/passwd"] = "passwd", [".."] = "",
      ["dir/"] = "", ["a/.."] = "", ["%22"] = "\"",
    } do
      local answer = ask(post("/form", file("f", sent, "1") .. "--B--"))
      local want = ("f=%s|%s|text/plain|1|1"):format(name, sent:gsub("%%22", "\""))
      assert.equal(want, answer.body)
    end
  end)

  it("has parts that are read while the rest is on its way", function()
    local body = field("first", "1") .. field("second", "2") .. "--B--"
    local c = wire.connect(h)
    c:send(post("/parts", field("first", "1"), nil, #body))
    events.retry("the first part", function()
      return wire.ask(h, "/events").body:find("part first", 1, true)
    end)
    assert.is_nil(wire.ask(h, "/events").body:find("part second", 1, true))
    c:send(body:sub(#field("first", "1") + 1))
    assert.equal("first=1\nsecond=2", c:receive().body)
  end)

  it("has parts that are skipped, or read in pieces", function()
    local body = field("a", "1") .. file("b", "x", ("12345"):rep(40000))
      .. field("c", "") .. "--B--"
    assert.equal("a,b,c", ask(post("/names", body)).body)
    assert.equal("a=1 b=200000 c=0", ask(post("/sizes?n=7", body)).body)
    assert.equal("a=1 b=200000 c=0", ask(post("/sizes?n=100000", body)).body)
    assert.truthy(ask(post("/skipped", body)).body
      :find("app.lua:%d+: the part \"a\" was skipped"))
  end)

  it("has parts that go where the app wants them", function()
    local body = field("a", "1") .. file("b", "x", ("1"):rep(1000)) .. field("c", "2")
      .. "--B--"
    assert.equal("a here 1\nb here 1000\nc here 2", ask(post("/to/memory", body)).body)
    assert.equal("a here 1\nb on disk 1000\nc here 1", ask(post("/to/file", body)).body)
    assert.equal("a here 1\nb had 1000\nb here 1000\nc here 2",
      ask(post("/to/function", body)).body)
    assert.equal("bad had 3\nno such file wanted EPERM",
      ask(post("/to/function", file("bad", "x", "123") .. "--B--")).body)
  end)

  it("is read as a whole once", function()
    local answer = ask(post("/form-then-parts", field("a", "1") .. "--B--"))
    assert.truthy(answer.body:find "^11true")
    assert.truthy(ask(urlencoded("/form-then-parts", "a=1")).body
      :find "^11false")
  end)

  it("that is wrong is answered, and the connection goes on", function()
    local big = ("x"):rep(210000)
    local many = ""
    for i = 1, 6 do many = many .. field("a" .. i, "1") end
    local cases = {
      { 400, "no end", post("/form", field("a", "1")), "breaks off" },
      { 400, "no part", post("/form", "hello"), "breaks off" },
      { 400, "nothing", post("/form", ""), "breaks off" },
      { 400, "no name", post("/form", "--B\r\nContent-Disposition: form-data\r\n\r\n"
        .. "1\r\n--B--"), "without one name" },
      { 400, "a boundary and more", post("/form", "--B x\r\n"), "malformed boundary" },
      { 400, "no boundary", post("/form", "", "multipart/form-data"), "boundary" },
      { 415, "another type", post("/form", "{}", "application/json"), "not a form" },
      { 415, "not in parts", urlencoded("/parts", "a=1"), "not a form in parts" },
      { 415, "other letters", urlencoded("/form", "a=1",
        "application/x-www-form-urlencoded; charset=iso-8859-1"), "iso%-8859%-1" },
      { 413, "many parts", post("/form", many .. "--B--"), "5 parts" },
      { 413, "many fields", urlencoded("/form", "a&b&c&d&e&f"), "5 fields" },
      { 413, "a long name", post("/form", field(("n"):rep(21), "1") .. "--B--"),
        "name too long" },
      { 413, "a long name, urlencoded", urlencoded("/form", ("n"):rep(21) .. "=1"),
        "name too long" },
      { 413, "a long header", post("/form", head("a", "\r\nX: " .. ("x"):rep(500))
        .. "1\r\n--B--"), "header too long" },
      { 413, "fields in memory", post("/form", field("a", big) .. "--B--"), "204800" },
      { 413, "a text in memory", post("/parts", file("a", "x", big) .. "--B--"),
        "204800" },
      { 413, "much, urlencoded", urlencoded("/form", "a=" .. big), "204800" },
      { 413, "a part", post("/sizes?max_size=10", field("a", "12345678901") .. "--B--"),
        "10 bytes" },
      { 413, "parts, by option", post("/sizes?max_parts=1", field("a", "1")
        .. field("b", "2") .. "--B--"), "1 parts" },
    }
    for _, case in ipairs(cases) do
      local answer = ask(case[3])
      assert.equal(case[1], answer.status, case[2])
      assert.truthy(answer.body:find(case[4]), case[2] .. ": " .. answer.body)
    end
    many = many:match "^(.*)%-%-B\r\n" -- but one
    assert.equal(200, ask(post("/form", many .. "--B--")).status)
  end)

  it("over the limit of bodies is refused before it comes", function()
    local c = wire.connect(h)
    assert.equal(413, c:ask(post("/parts", "", nil, 400 * 1024 * 1024)).status)
    c:wait_end()
  end)

  it("is saved as a whole, under its name", function()
    local path = directory .. "/saved"
    local bytes = ("\r\n--C"):rep(50000)
    local answer = ask(post("/save?to=" .. path, file("f", "x", bytes) .. "--B--"))
    assert.equal(("%s %d %d 0600"):format(path, #bytes, #bytes), answer.body)
    local f = assert(io.open(path, "rb"))
    assert.is_true(f:read "a" == bytes)
    f:close()
    answer = ask(post("/move?to=" .. path, file("f", "x", "12345") .. "--B--"))
    assert.equal(path .. " 5 false 5", answer.body)
    answer = ask(post("/save?to=" .. directory .. "/none/x", file("f", "x", "1")
      .. "--B--"))
    assert.equal(500, answer.status)
    assert.truthy(wire.ask(h, "/events").body:find("saved nil [^\n]*ENOENT"))
  end)

  it("leaves no temporary file when its request is over", function()
    local answer = ask(post("/save", file("f", "x", "123") .. "--B--"))
    local path, sizes = answer.body:match "^(%S+) (.*)$"
    assert.equal("3 3 0600", sizes)
    assert.equal(directory .. "/temporary/", path:match "^.*/")
    events.poll("the file to be removed", function()
      return files_in(directory .. "/temporary") == ""
    end)
  end)

  it("that breaks off leaves no file, and tells the handler", function()
    local body = file("f", "x", ("y"):rep(100000))
    for _, to in ipairs { "", "?to=" .. directory .. "/aborted" } do
      local c = wire.connect(h)
      local before = #wire.ask(h, "/events").body
      c:send(post("/save" .. to, body, nil, #body + 100000))
      events.retry("the file to be begun", function()
        local there = files_in(directory .. (to == "" and "/temporary" or ""))
        return wire.ask(h, "/events").body:find("saving f", before, true)
          and there:find "%x%x%x%x%x%x%x%x%x%x%x%x"
      end)
      c:abort()
      events.retry("the end of it", function()
        return wire.ask(h, "/events").body
          :find("saved nil closed ECLOSED", before, true)
      end)
      events.poll("the file to be removed", function()
        return not files_in(directory):find "aborted"
          and files_in(directory .. "/temporary") == ""
      end)
    end
    local c = wire.connect(h)
    c:send(post("/gone", head("a") .. "1", nil, 1000))
    events.retry("the handler to wait", function()
      return wire.ask(h, "/events").body:find("waiting", 1, true)
    end)
    c:abort()
    events.retry("the handler's end", function()
      return wire.ask(h, "/events").body:find(
        "text nil closed ECLOSED\nnext nil ECLOSED\nloop [^\n]*the form could not be")
    end)
  end)

  it("of 200 MB takes no memory", function()
    local big = directory .. "/big"
    assert(os.execute("truncate -s 200M " .. big))
    local size = 200 * 1024 * 1024
    local command = ("curl -s -F a=1 -F f=@%s %s/sizes"):format(big, h.url)
    shell(command)
    local before = h:memory()
    assert.equal("a=1 f=" .. size, shell(command))
    local to = directory .. "/copy"
    assert.equal(("%s %d %d 0600"):format(to, size, size),
      shell(("curl -s -F f=@%s '%s/save?to=%s'"):format(big, h.url, to)))
    assert(os.remove(to))
    h:grows_less(20000, before)
  end)

  it("waits in the kernel while the handler is busy elsewhere", function()
    local size = 30000000
    local body = head("a") .. ("x"):rep(size) .. "\r\n--B--"
    local c = wire.connect(h)
    local before = h:memory()
    assert(os.execute("mkfifo " .. directory .. "/fifo"))
    -- Opening a fifo waits until it is read.
    c:send(post("/wait?for=" .. directory .. "/fifo", body))
    for _ = 1, 50 do wire.ask(h, "/probe") end
    assert.is_nil(c.all_sent)
    h:grows_less(4000, before)
    shell("cat " .. directory .. "/fifo")
    assert.equal("a=" .. size, c:receive().body)
  end)

  it("goes on over a reload", function()
    local body = file("f", "x", ("y"):rep(5000)) .. "--B--"
    local c = wire.connect(h)
    local before = #wire.ask(h, "/events").body
    c:send(post("/save", body:sub(1, 1000), nil, #body))
    events.retry("the upload to begin", function()
      return wire.ask(h, "/events").body:find("saving f", before, true)
    end)
    assert.truthy(h:reload():find "serves")
    c:send(body:sub(1001))
    assert.truthy(c:receive().body:find " 5000 5000 0600$")
    assert.equal("probe", c:ask("/probe").body)
    events.poll("the file to be removed", function()
      return files_in(directory .. "/temporary") == ""
    end)
  end)
end)

describe("an upload that stalls", function()
  after_each(function()
    wire.finish()
    host.finish()
  end)

  it("is ended, and leaves no file", function()
    local dir = host.directory()
    local h = host.start {
      dir = "spec/apps/forms", set = { form_directory = dir, body_timeout = 0.3 },
    }
    local c = wire.connect(h)
    c:send(post("/save", file("f", "x", ("y"):rep(1000)), nil, 5000))
    assert.equal(408, c:receive().status)
    c:wait_end()
    assert.truthy(wire.ask(h, "/events").body:find "saving f$")
    events.poll("the file to be removed", function() return files_in(dir) == "" end)
  end)
end)

describe("an upload to a full disk", function()
  after_each(function()
    wire.finish()
    host.finish()
  end)

  it("is an error, and leaves nothing there", function()
    local dir = host.directory()
    assert(os.execute(("mkdir %s/temporary %s/saved"):format(dir, dir)))
    local control = dir .. "/faults"
    faults.make(control)
    local h = host.start {
      dir = "spec/apps/forms", set = { form_directory = dir .. "/temporary" },
      env = faults.environment(os.getenv "ATOLL", control),
    }
    local full = faults.open(control)
    local body = file("f", "x", ("y"):rep(250000)) .. "--B--"
    for _, to in ipairs { "", "?to=" .. dir .. "/saved/x" } do
      for n = 1, 3, 2 do
        full:arm("pwrite", "ENOSPC", n)
        local c = wire.connect(h)
        local answer = c:ask(post("/save" .. to, body))
        full:disarm "pwrite"
        assert.equal(500, answer.status)
        assert.equal("", files_in(dir .. "/saved") .. files_in(dir .. "/temporary"))
        assert.equal("probe", c:ask("/probe").body)
      end
    end
    full:close()
    local _, count = wire.ask(h, "/events").body:gsub("saved nil [^\n]*ENOSPC", "")
    assert.equal(4, count)
  end)
end)
