-- atoll.fs: files through the pool. A spec runs in a fiber, so every call here waits.
local atoll = require "atoll"
local command = require "support.command"
local host = require "support.host"
local wire = require "support.wire"

local fs = atoll.fs

local directory

local function path(name) return directory .. "/" .. name end

-- What a call gave, which must be a failure with that code; its message.
local function fails(code, ok, message, got)
  assert.is_nil(ok)
  assert.equal(code, got)
  return message
end

before_each(function() directory = assert(fs.tempdir()) end)

after_each(function()
  assert(fs.remove(directory, { recursive = true }))
  wire.finish()
  host.finish()
end)

describe("fs", function()
  it("writes, appends and reads", function()
    assert.is_true(fs.write(path "a", "one\n"))
    assert.is_true(fs.append(path "a", "two\n"))
    assert.is_true(fs.write(path "a", 3, { append = true }))
    assert.equal("one\ntwo\n3", fs.read(path "a"))
    assert.is_true(fs.write(path "a", ""))
    assert.equal("", fs.read(path "a"))
  end)

  it("reads what is as large as allowed and no larger", function()
    local text = ("0123456789abcdef"):rep(65536 * 4)
    assert(fs.write(path "big", text))
    assert.is_true(text == fs.read(path "big"))
    assert.is_true(text == fs.read(path "big", #text))
    assert.equal(path "big" .. ": too large",
      fails("ETOOLARGE", fs.read(path "big", #text - 1)))
    assert.equal("", fs.read("/dev/null", 0))
    fails("ETOOLARGE", fs.read("/dev/zero", 100000))
  end)

  it("reads files that do not say how long they are", function()
    assert.matches("^Name:", fs.read "/proc/self/status")
  end)

  it("says what failed, and how", function()
    local text = path "none" .. ": No such file or directory"
    assert.equal(text, fails("ENOENT", fs.read(path "none")))
    fails("ENOENT", fs.stat(path "none"))
    fails("ENOENT", fs.list(path "none"))
    fails("ENOENT", fs.open(path "none"))
    fails("ENOENT", fs.remove(path "none"))
    fails("ENOENT", fs.realpath(path "none"))
    fails("ENOENT", fs.mkdir(path "none/below"))
    fails("ENOENT", fs.write(path "none/below", ""))
    fails("EISDIR", fs.read(directory))
    fails("EISDIR", fs.write(directory, ""))
    fails("EISDIR", fs.write(directory, "", { atomic = true }))
    fails("EISDIR", fs.open(directory))
    fails("EISDIR", fs.copy(directory, path "a"))
    assert.equal(("%s -> %s: No such file or directory"):format(path "a", path "b"),
      fails("ENOENT", fs.rename(path "a", path "b")))
    fails("ENOTDIR", fs.read "/dev/null/a")
  end)

  it("raises when it is used wrongly", function()
    assert.has_error(function() fs.read "a\0b" end)
    assert.has_error(function() fs.read() end)
    assert.has_error(function() fs.read(path "a", -1) end)
    assert.has_error(function() fs.write(path "a", {}) end)
    assert.has_error(function() fs.write(path "a", "", { atomc = true }) end)
    assert.has_error(function() fs.write(path "a", "", { mode = "9" }) end)
    assert.has_error(function()
      fs.write(path "a", "", { atomic = true, append = true })
    end)
    assert.has_error(function() fs.open(path "a", "q") end)
    assert.has_error(function() fs.open(path "a", "rx") end)
    assert.same({}, fs.list(directory))
  end)

  it("puts a whole file in the place of the old one", function()
    assert(fs.write(path "a", "old", { mode = "0640" }))
    assert(fs.write(path "a", "new", { atomic = true }))
    assert.equal("new", fs.read(path "a"))
    assert.equal("0640", fs.stat(path "a").mode)
    assert(fs.write(path "b", "fresh", { atomic = true, mode = "0600" }))
    assert.equal("0600", fs.stat(path "b").mode)
    assert.same({ "a", "b" }, fs.list(directory))
  end)

  it("writes through a link, atomically too", function()
    assert(fs.write(path "a", "old"))
    assert(os.execute(("ln -s a %s"):format(path "link")))
    assert(fs.write(path "link", "new", { atomic = true }))
    assert.equal("link", fs.stat(path "link", { follow = false }).type)
    assert.equal("new", fs.read(path "a"))
  end)

  it("makes a file only where there is none", function()
    assert(fs.write(path "a", "1", { exclusive = true }))
    fails("EEXIST", fs.write(path "a", "2", { exclusive = true }))
    fails("EEXIST", fs.write(path "a", "3", { exclusive = true, atomic = true }))
    assert(fs.write(path "b", "4", { exclusive = true, atomic = true }))
    assert.equal("1", fs.read(path "a"))
    assert.same({ "a", "b" }, fs.list(directory))
  end)

  it("tells when the disk is full", function()
    fails("ENOSPC", fs.write("/dev/full", "x"))
    fails("ENOSPC", fs.append("/dev/full", "x"))
    local file <close> = assert(fs.open("/dev/full", "w"))
    fails("ENOSPC", file:write "x")
  end)

  it("leaves nothing half-written on a full disk when it is atomic", function()
    local made = os.execute(("mount -t tmpfs -o size=64k none %s 2>/dev/null"):format(
      directory))
    if not made then pending "needs a mount" return end
    assert(fs.write(path "a", "old"))
    fails("ENOSPC", fs.write(path "a", ("x"):rep(1 << 20), { atomic = true }))
    fails("ENOSPC", fs.copy("/proc/self/exe", path "b"))
    assert.equal("old", fs.read(path "a"))
    assert.same({ "a" }, fs.list(directory))
    assert(os.execute("umount " .. directory))
  end)

  it("stats files, directories and links", function()
    assert(fs.write(path "a", "12345", { mode = "0600" }))
    assert(os.execute(("ln -s a %s"):format(path "link")))
    local before = os.time()
    local st = fs.stat(path "a")
    assert.same({ "file", 5, "0600", 1 }, { st.type, st.size, st.mode, st.nlink })
    assert.is_true(math.abs(st.mtime - before) < 100)
    assert.equal("float", math.type(st.mtime))
    assert.equal("directory", fs.stat(directory).type)
    assert.equal("device", fs.stat("/dev/null").type)
    assert.equal("file", fs.stat(path "link").type)
    assert.equal("link", fs.stat(path "link", { follow = false }).type)
    assert.is_true(fs.exists(path "a"))
    assert.is_false(fs.exists(path "b"))
    assert.is_false(fs.exists(path "a/b"))
  end)

  it("lists names in their order", function()
    for _, name in ipairs { "b", "a", ".c", "B" } do
      assert(fs.write(path(name), ""))
    end
    assert(fs.mkdir(path "d"))
    assert.same({ ".c", "B", "a", "b", "d" }, fs.list(directory))
    local last = fs.list(directory, { types = true })[5]
    assert.same({ name = "d", type = "directory" }, last)
  end)

  it("makes and removes trees, and follows no link", function()
    assert(fs.mkdir(path "a/b/c", { parents = true }))
    assert(fs.mkdir(path "a/b/c", { parents = true }))
    fails("EEXIST", fs.mkdir(path "a"))
    assert(fs.write(path "kept", "x"))
    assert(fs.write(path "a/b/file", "x"))
    assert(os.execute(("ln -s %s %s"):format(directory, path "a/b/link")))
    fails("ENOTEMPTY", fs.remove(path "a"))
    fails("ENOTDIR", fs.mkdir(path "kept/b", { parents = true }))
    assert(fs.remove(path "a", { recursive = true }))
    assert.same({ "kept" }, fs.list(directory))
    assert(fs.remove(path "kept", { recursive = true }))
  end)

  it("copies, renames and resolves", function()
    assert(fs.write(path "a", ("x"):rep(1000000), { mode = "0700" }))
    assert(fs.copy(path "a", path "b"))
    assert.equal("0700", fs.stat(path "b").mode)
    assert.is_true(fs.read(path "a") == fs.read(path "b"))
    assert(fs.copy(path "a", path "a"))
    assert(fs.rename(path "b", path "c"))
    assert.equal(fs.realpath(path "c"), fs.realpath(path "./../"
      .. directory:match "[^/]*$" .. "/c"))
    assert.same({ "a", "c" }, fs.list(directory))
  end)

  it("makes temporary files and directories of its own", function()
    local one, two = assert(fs.tempdir(directory)), assert(fs.tempdir(directory))
    assert.not_equal(one, two)
    assert.equal("0700", fs.stat(one).mode)
    local file <close> = assert(fs.tempfile(directory))
    assert.equal("0600", file:stat().mode)
    assert(file:write "x")
    assert.equal("x", fs.read(file:path()))
    fails("ENOENT", fs.tempfile(path "none"))
  end)
end)

describe("a file", function()
  local function open(mode, text, options)
    if text then assert(fs.write(path "f", text)) end
    return assert(fs.open(path "f", mode, options))
  end

  it("is read in any portions", function()
    local f <close> = open("r", "one\ntwo\r\n\nlast")
    assert.equal("one", f:read())
    assert.equal("two\r", f:read "line")
    assert.equal("", f:read "line")
    assert.equal("la", f:read(2))
    assert.equal("", f:read(0))
    assert.equal("st", f:read(10))
    assert.is_nil(f:read(1))
    assert.is_nil(f:read())
    assert.is_nil(f:read "some")
    assert.equal("", f:read "all")
  end)

  it("is read as long as it grows", function()
    local f <close> = open("r", "a")
    assert.equal("a", f:read "all")
    assert(fs.append(path "f", "b"))
    assert.equal("b", f:read "some")
  end)

  it("gives its lines", function()
    local list = {}
    for i = 1, 5000 do list[i] = ("%d"):format(i):rep(i % 40) end
    local f <close> = open("r", table.concat(list, "\n") .. "\n")
    local n = 0
    for line in f:lines() do
      n = n + 1
      assert.equal(list[n], line)
    end
    assert.equal(5000, n)
    assert.equal(0, f:seek "set")
    local size = 0
    for piece in f:lines(1000) do size = size + #piece end
    assert.equal(f:stat().size, size)
  end)

  it("refuses a line that is too long and keeps it", function()
    local f <close> = open("r", ("x"):rep(200000) .. "\nend", { line_max = 150000 })
    fails("ETOOLARGE", f:read())
    assert.equal(200000, #f:read(200000))
    assert.equal("", f:read())
    assert.equal("end", f:read())
    f:seek("set", 0)
    fails("ETOOLARGE", f:read("all", 1000))
  end)

  it("is written where it stands", function()
    local f <close> = open("w+")
    assert.is_true(f:write("abc", 1, "def"))
    assert.equal(7, f:seek())
    assert.equal(0, f:seek "set")
    assert.equal("ab", f:read(2))
    assert(f:write "X")
    assert.equal("1def", f:read "all")
    assert.equal(3, f:seek("set", 3))
    assert.equal(8, f:seek("end", 1))
    assert.equal(6, f:seek("cur", -2))
    fails("EINVAL", f:seek("set", -1))
    assert.is_true(f:truncate(2))
    assert.is_true(f:sync())
    assert.equal("ab", fs.read(path "f"))
  end)

  it("is appended to", function()
    local f <close> = open("a+", "one")
    assert.equal("one", f:read "all")
    assert(fs.append(path "f", "two"))
    assert(f:write "three")
    assert.equal("onetwothree", fs.read(path "f"))
    assert.is_nil(f:read())
  end)

  it("that is closed says so", function()
    local f = open("w")
    assert.is_true(f:close())
    assert.equal("closed", fails("ECLOSED", f:read()))
    fails("ECLOSED", f:close())
    fails("ECLOSED", f:seek())
    assert.equal("file (closed)", tostring(f))
    assert.has_error(f:lines())
  end)

  it("may be used by many fibers, each of which has its turn", function()
    local f <close> = open("w+")
    local tasks = {}
    for i = 1, 50 do
      tasks[i] = atoll.spawn(function() assert(f:write(("%02d "):format(i))) end)
    end
    for i = 1, 50 do tasks[i]:join() end
    f:seek "set"
    local expected = {}
    for i = 1, 50 do expected[i] = ("%02d "):format(i) end
    assert.equal(table.concat(expected), f:read "all")
  end)

  it("survives a cancel of whoever closes it, before a thread has begun", function()
    local files, tasks = {}, {}
    for i = 1, 50 do files[i] = assert(fs.open(path "many", "w")) end
    for i, f in ipairs(files) do tasks[i] = atoll.spawn(f.close, f) end
    atoll.sleep(0) -- all are in the pool's queue
    for _, task in ipairs(tasks) do task:cancel() end
    for _, task in ipairs(tasks) do task:join() end
    assert.is_true(fs.write(path "many", "again"))
  end)

  it("goes on after a fiber was cancelled that used it", function()
    assert(os.execute("mkfifo " .. path "fifo"))
    local writer <close> = assert(io.popen("exec cat >" .. path "fifo", "w"))
    local f <close> = assert(fs.open(path "fifo", "r"))
    local list = {}
    for i = 1, 3 do
      list[i] = atoll.spawn(function() return f:read() end)
    end
    atoll.sleep(0.01)
    list[1]:cancel()
    list[2]:cancel()
    list[1]:join()
    writer:write "text\n"
    writer:flush()
    assert.equal("text", list[3]:join())
  end)

  it("on a pipe waits for what comes, and no longer than it may", function()
    assert(os.execute("mkfifo " .. path "fifo"))
    for _ = 1, 20 do
      fails("ETIMEDOUT", atoll.timeout(0.002, fs.open, path "fifo"))
    end
    assert.equal("ok", assert(fs.write(path "a", "ok")) and fs.read(path "a"))
  end)

  it("closes its descriptor with its variable, or when it is garbage", function()
    -- A call that was given up may still have one for a moment.
    local function held()
      local fewest, same = math.huge, 0
      repeat
        local n = #fs.list "/proc/self/fd"
        if n < fewest then fewest, same = n, 0 else same = same + 1 end
      until same == 25
      return fewest
    end
    assert(fs.write(path "f", "x"))
    local before = held()
    for _ = 1, 10 do
      local f <close> = assert(fs.open(path "f"))
      f:read()
    end
    for _ = 1, 10 do assert(fs.open(path "f")):read() end
    collectgarbage()
    collectgarbage()
    assert.equal(before, held())
  end)
end)

describe("the pool", function()
  it("does a thousand calls at once", function()
    local tasks = {}
    for i = 1, 1000 do
      tasks[i] = atoll.spawn(function()
        assert(fs.write(path(i), tostring(i)))
        return fs.read(path(i))
      end)
    end
    for i = 1, 1000 do assert.equal(tostring(i), tasks[i]:join()) end
  end)

  it("gives up what nobody waits for", function()
    local tasks = {}
    for i = 1, 600 do
      tasks[i] = atoll.spawn(fs.write, path "same", ("x"):rep(10000))
    end
    atoll.sleep(0)
    for _, task in ipairs(tasks) do task:cancel() end
    for _, task in ipairs(tasks) do
      local ok, _, code = task:join()
      assert.is_true(ok == true or code == "ECANCELED")
    end
    assert.is_true(fs.exists(directory))
  end)

  it("has one thread at least, and room for one call", function()
    command.begin()
    command.write("many.lua", [[
      local atoll = require "atoll"
      local tasks = {}
      for i = 1, 200 do
        tasks[i] = atoll.spawn(function()
          assert(atoll.fs.write(arg[1] .. "/" .. i, ("%d"):format(i)))
          return atoll.fs.read(arg[1] .. "/" .. i)
        end)
      end
      for i = 1, 100 do tasks[2 * i]:cancel() end
      for i = 1, 100 do assert(tasks[2 * i - 1]:join() == tostring(2 * i - 1)) end
      print "done"
    ]])
    local code, out, err = command.atoll("run --set file_threads=1 "
      .. "--set blocking_queue=1 DIR/many.lua " .. directory)
    command.finish()
    assert.same({ 0, "done\n", "" }, { code, out, err })
  end)

  it("tells when there are no descriptors left", function()
    command.begin()
    command.write("fds.lua", [[
      local fs, list = require("atoll").fs, {}
      local f, message, code
      repeat
        f, message, code = fs.open "/dev/null"
        list[#list + 1] = f
      until not f
      print(message, code)
      print(select(3, fs.read "/dev/null"), select(3, fs.list "/"), fs.exists "/")
      for _, each in ipairs(list) do each:close() end
      print(fs.read "/dev/null")
    ]])
    local code, out, err = command.atoll("run DIR/fds.lua", "prlimit -n40")
    command.finish()
    assert.same({ 0, "/dev/null: Too many open files\tEMFILE\n"
      .. "EMFILE\tEMFILE\ttrue\n\n", "" }, { code, out, err })
  end)

  it("is not there while an app loads: the loader waits for the disk itself", function()
    local h = host.start { files = { ["app.lua"] = host.app [[
      local dir = assert(atoll.fs.tempdir())
      local f <close> = assert(atoll.fs.tempfile(dir))
      f:write("from ", "the loader")
      f:seek "set"
      local text = f:read "all"
      assert(atoll.fs.remove(dir, { recursive = true }))
      app:get("/", function() return text .. #atoll.fs.list "." end)]] } }
    assert.matches("^from the loader%d+$", wire.ask(h, "/").body)
    h:stop()
    assert.equal(0, h:count "warn")
  end)

  it("serves others while a file waits, and stops with it", function()
    assert(os.execute("mkfifo " .. path "fifo"))
    local h = host.start { set = { drain_timeout = 0.2 }, app = ([[
      app:get("/wait", function() return atoll.fs.read %q end)
      app:get("/", function() return atoll.fs.read %q end)]]):format(path "fifo",
        "/dev/null") }
    local slow = {}
    for i = 1, 3 do
      slow[i] = wire.connect(h)
      slow[i]:send "GET /wait HTTP/1.1\r\nHost: a\r\n\r\n"
    end
    for _ = 1, 20 do assert.equal(200, wire.ask(h, "/").status) end
    h:term()
    h:log_wait "were left when drain_timeout"
    for _, c in ipairs(slow) do
      c:wait_end()
      c:close()
    end
    h:ended_well()
    assert.equal(0, h:count "did not end")
  end)
end)
