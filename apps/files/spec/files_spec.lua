local atoll = require "atoll"
local events = require "support.events"
local host = require "support.host"
local json = require "atoll.json"
local wire = require "support.wire"

describe("files", function()
  local h, dir

  before_each(function()
    dir = host.directory {
      ["notes.txt"] = "hello, world", ["big.bin"] = ("x"):rep(1400000),
      ["a folder/in.html"] = "<script>", [".hidden"] = "no", ['<b>&".zip'] = "zip",
    }
    h = host.start { dir = "apps/files", env = { FILES = dir } }
  end)

  after_each(function()
    wire.finish()
    host.finish()
  end)

  local function get(path, more)
    local head = "GET %s HTTP/1.1\r\nHost: a\r\n%s\r\n"
    return wire.ask(h, head:format(path, more or ""))
  end

  local function post(path, type, body, more)
    local head = "POST %s HTTP/1.1\r\nHost: a\r\nContent-Type: %s\r\n"
      .. "Content-Length: %d\r\n%s\r\n"
    return wire.ask(h, head:format(path, type, #body, more or "") .. body)
  end

  local function upload(path, files, more)
    local parts = {}
    for i, file in ipairs(files) do
      parts[i] = ('--b\r\nContent-Disposition: form-data; name="file"; '
        .. 'filename="%s"\r\n\r\n%s\r\n'):format(file[1], file[2])
    end
    return post(path, "multipart/form-data; boundary=b", table.concat(parts) .. "--b--",
      more)
  end

  local function read(name)
    local file = io.open(dir .. "/" .. name, "rb")
    local text = file and file:read "a"
    if file then file:close() end
    return text
  end

  -- The names on the page, in their order.
  local function names(path)
    local page, list = get(path), {}
    assert.equal(200, page.status)
    for name in page.body:gmatch 'class="[fo][^"]*">([^<]*)</a></td>' do
      list[#list + 1] = name
    end
    return list
  end

  it("lists what is there", function()
    local zip = "&lt;b&gt;&amp;&quot;.zip"
    assert.same({ "a folder", zip, "big.bin", "notes.txt" }, names "/")
    assert.same({ "a folder", "big.bin", "notes.txt", zip }, names "/?sort=size")
    local page = get("/").body
    assert.truthy(page:find('href="./%3Cb%3E%26%22.zip"', 1, true))
    assert.truthy(page:find(">1.4 MB<", 1, true))
    assert.truthy(get("/a%20folder/").body:find('<a href="/">Files</a>', 1, true))
    assert.equal("/a%20folder/", get("/a%20folder").fields.location)
  end)

  it("sends files, and parts of them", function()
    local answer = get "/notes.txt"
    assert.equal("hello, world", answer.body)
    assert.is_nil(answer.fields["content-disposition"])
    answer = get("/notes.txt", "Range: bytes=7-\r\n")
    assert.equal(206, answer.status)
    assert.equal("world", answer.body)
    answer = get "/a%20folder/in.html" -- is no page of this host
    assert.equal('attachment; filename="in.html"', answer.fields["content-disposition"])
    assert.equal(1400000, #get("/big.bin").body)
  end)

  it("keeps uploads that come at the same time, each under its name", function()
    local function entries() return #atoll.fs.list(dir) end
    local before, list = entries(), {}
    for i = 1, 3 do
      local body = ('--b\r\nContent-Disposition: form-data; name="file"; '
        .. 'filename="new.txt"\r\n\r\n%s\r\n--b--'):format(tostring(i):rep(200000))
      list[i] = wire.connect(h):send(("POST / HTTP/1.1\r\nHost: a\r\n"
        .. "Content-Type: multipart/form-data; boundary=b\r\nAccept: application/json"
        .. "\r\nContent-Length: %d\r\n\r\n%s"):format(#body, body:sub(1, -2)))
      list[i].last = body:sub(-1)
    end
    events.poll("three uploads", function() return entries() == before + 3 end)
    for i, c in ipairs(list) do
      local answer = c:send(c.last):receive()
      assert.equal(201, answer.status)
      local name = i == 1 and "new.txt" or ("new (%d).txt"):format(i)
      assert.same({ saved = { name } }, json.decode(answer.body))
      assert.equal(tostring(i):rep(200000), read(name))
    end
    assert.equal(before + 3, entries())
  end)

  it("keeps uploads, under names of their own", function()
    local accept = "Accept: application/json\r\n"
    local answer = upload("/", { { "new.txt", "one" }, { "notes.txt", "two" } }, accept)
    assert.equal(201, answer.status)
    assert.same({ saved = { "new.txt", "notes (2).txt" } }, json.decode(answer.body))
    assert.equal("one", read "new.txt")
    assert.equal("two", read "notes (2).txt")
    assert.equal("hello, world", read "notes.txt")
    answer = upload("/a%20folder/", { { "../../up.tar.gz", ("y"):rep(300000) } })
    assert.equal(303, answer.status)
    assert.equal("/a%20folder/", answer.fields.location)
    assert.equal(300000, #read "a folder/up.tar.gz")
  end)

  it("makes folders, and deletes", function()
    local form = "application/x-www-form-urlencoded"
    local answer = post("/?folder", form, "name=new+one")
    assert.equal(303, answer.status)
    assert.equal("/", answer.fields.location)
    assert.equal(409, post("/?folder", form, "name=new+one").status)
    assert.equal(409, post("/?delete=a%20folder", form, "").status)
    assert.equal(303, post("/?delete=new%20one", form, "").status)
    assert.equal(303, post("/?delete=notes.txt", form, "").status)
    assert.equal(303, post("/?delete=notes.txt", form, "").status)
    assert.is_nil(read "notes.txt")
  end)

  it("goes nowhere else", function()
    os.execute("ln -s /etc '" .. dir .. "/link'")
    for path, status in pairs {
      ["/.hidden"] = 400, ["/a%20folder/%2e%2e%2f.hidden"] = 400, ["/..%2fx"] = 400,
      ["/a%5cb"] = 400, ["/link/"] = 404, ["/link/hostname"] = 404, ["/none"] = 404,
      ["/none/"] = 404, ["/notes.txt/x"] = 404,
    } do
      assert.equal(status, get(path).status, path)
    end
    local form = "application/x-www-form-urlencoded"
    assert.equal(400, post("/?delete=..%2fx", form, "").status)
    assert.equal(400, post("/?delete=.hidden", form, "").status)
    assert.equal(400, post("/?folder", form, "name=a%2Fb").status)
    assert.equal(404, post("/link/?delete=hostname", form, "").status)
    assert.equal(404, upload("/link/", { { "new.txt", "x" } }).status)
    assert.equal(400, upload("/", { { ".htaccess", "x" } }).status)
    assert.equal(403, post("/?delete=notes.txt", form, "",
      "Sec-Fetch-Site: cross-site\r\n").status)
    for _, origin in ipairs { "http://b", "http://b/?http://a", "null" } do
      assert.equal(403, post("/?delete=notes.txt", form, "",
        "Origin: " .. origin .. "\r\n").status, origin)
    end
    assert.equal(400, post("/?delete=.hidden", form, "", "Origin: http://a\r\n").status)
    assert.equal("hello, world", read "notes.txt")
  end)
end)
