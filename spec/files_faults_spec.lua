-- Files when the kernel does not do as it should: each answer is right, or says that it
-- is not, or is cut off; the next one is right, and nothing is left behind. And when
-- the kernel is so old that it has no openat2.
local certs = require "support.certs"
local faults = require "support.faults"
local host = require "support.host"
local wire = require "support.wire"

local program = assert(os.getenv "ATOLL", "ATOLL must name the program")

local BIG = ("0123456789abcdef"):rep(65536) -- 1 MiB

local h, shim

local app = [[
  app:static("/s", "data")
  app:static("/plain", "data", { symlinks = "none" })
  app:get("/probe", function() return "probe" end)
]]

local function shell(line)
  assert(os.execute(("cd '%s' && %s"):format(h.dir, line)))
end

local function get(path)
  local c = wire.connect(h)
  c:send(("GET %s HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\n\r\n"):format(path))
  local ok, res = pcall(c.receive, c)
  c:close()
  return ok and res or nil
end

describe("a file, when a system call fails,", function()
  before_each(function()
    local control = host.directory() .. "/faults"
    faults.make(control)
    h = host.start {
      files = {
        ["app.lua"] = host.app(app), ["data/big.bin"] = BIG, ["data/a.txt"] = "small",
        ["data/sub/b.txt"] = "below", ["secret.txt"] = "secret",
      },
      set = { open_files = 4 }, env = faults.environment(program, control),
    }
    shim = faults.open(control)
    for call in faults.each() do shim:disarm(call) end
  end)

  after_each(function()
    for call in faults.each() do shim:disarm(call) end
    shim:close()
    wire.finish()
    host.finish()
  end)

  it("is right, or is told to be wrong", function()
    local right, wrong = 0, 0
    for _, call in ipairs { "sendfile", "stat", "openat2", "open", "openat", "pread",
      "send", "writev" } do
      for code in faults.kinds[call]:gmatch "%S+" do
        for n = 1, 3 do
          shell "touch data/a.txt data/big.bin" -- so that they are opened anew
          shim:arm(call, code, n, n == 3 and 1 or 0)
          for _, path in ipairs { "/s/big.bin", "/s/a.txt" } do
            local res = n < 3 and get(path)
            if res and res.status == 200 then
              assert.is_true(res.body == (path == "/s/a.txt" and "small" or BIG))
              right = right + 1
            else
              assert(not res or res.status == 404 or res.status == 403
                or res.status == 503, res and res.status)
              wrong = wrong + 1
            end
          end
          shim:disarm(call)
          assert.is_true(get("/s/big.bin").body == BIG)
          assert.same("small", get("/s/a.txt").body)
        end
      end
    end
    assert.is_true(right > 20 and wrong > 5, right .. " right, " .. wrong .. " wrong")
  end)

  it("goes out in single bytes, and through the queue without sendfile", function()
    shim:arm("sendfile", "SHORT", 1, 3)
    assert.is_true(get("/s/big.bin").body == BIG)
    shim:arm("sendfile", "EINVAL", 1, 1)
    assert.is_true(get("/s/big.bin").body == BIG)
    shim:arm("pread", "SHORT", 1, 2)
    assert.is_true(get("/s/big.bin").body == BIG)
  end)

  it("is 403 when it may not be read", function()
    shim:arm("openat2", "EACCES", 1)
    assert.same(403, get("/s/a.txt").status)
    assert.same(200, get("/s/a.txt").status)
    shim:arm("stat", "EACCES", 1)
    assert.same(403, get("/s/a.txt").status)
  end)

  it("is 503 when there are no descriptors, which is logged", function()
    assert.same("below", get("/s/sub/b.txt").body)
    shim:arm("openat2", "EMFILE", 1, 1)
    assert.same(503, get("/s/a.txt").status)
    h:log_wait "data/a.txt: Too many open files"
    shim:disarm "openat2"
    assert.same(200, get("/s/a.txt").status)
  end)

  for _, code in ipairs { "ENOSYS", "EPERM" } do
    it("is found, and nothing else, without openat2: " .. code, function()
      shim:arm("openat2", code, 1, 1)
      shell [[ln -s ../secret.txt data/out.txt && ln -s "$PWD/secret.txt" data/far.txt
        ln -s a.txt data/in.txt && ln -s "$PWD/data/a.txt" data/in-far.txt
        ln -s sub data/dir && ln -s .. data/up && ln -s loop data/loop]]
      local function statuses(prefix)
        local list = {}
        for _, path in ipairs { "a.txt", "sub/b.txt", "sub//b.txt", "none", "sub/none",
          "a.txt/x", "out.txt", "far.txt", "in.txt", "in-far.txt", "dir/b.txt",
          "up/secret.txt", "loop" } do
          list[#list + 1] = get(prefix .. "/" .. path).status
        end
        return table.concat(list, " ")
      end
      assert.same("200 200 404 404 404 404 404 404 200 200 200 404 404", statuses "/s")
      assert.same("200 200 404 404 404 404 404 404 404 404 404 404 404",
        statuses "/plain")
      assert.is_true(shim:counts "openat2" > 10)
    end)
  end
end)

describe("a file over TLS", function()
  teardown(certs.remove)

  it("is read and encrypted", function()
    local atoll = require "atoll"
    local tempapp = require "tempapp"
    local files = certs.make()
    local dir = tempapp.directory { ["big.bin"] = BIG, ["a.txt"] = "small" }
    local serving = atoll.app():static("/s", dir)
    local listener = assert(atoll.net.listen("127.0.0.1:0",
      { tls = { cert = files.server, key = files.key } }))
    local task = atoll.spawn(function() atoll.http.serve(listener, serving) end)
    local url = "https://" .. listener:name()
    local options = { tls = { ca = files.ca } }
    for _ = 1, 3 do
      local res = assert(atoll.http.get(url .. "/s/big.bin", options))
      assert.same(200, res.status)
      assert.is_true(res.body == BIG)
    end
    options.headers = { Range = "bytes=1000-600000" }
    local res = assert(atoll.http.get(url .. "/s/big.bin", options))
    assert.same(206, res.status)
    assert.is_true(res.body == BIG:sub(1001, 600001))
    options.headers = nil
    assert.same("small", assert(atoll.http.get(url .. "/s/a.txt", options)).body)
    listener:close()
    task:join(10)
    tempapp.clean()
  end)
end)
