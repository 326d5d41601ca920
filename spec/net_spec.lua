-- Sockets as Lua code has them: atoll.net.
local atoll = require "atoll"
local file = require "support.file"
local net = require "atoll.net"
local whole = require "support.whole"

local MIB = 1024 * 1024

local open = {}

-- Closed after the spec, whatever happens.
local function keep(socket, ...)
  if socket then open[#open + 1] = socket end
  return socket, ...
end

-- Two ends of a connection.
local function pair(address, options)
  local listener <close> = assert(net.listen(address or "127.0.0.1:0"))
  local task = atoll.spawn(function() return listener:accept() end)
  local client = keep(assert(net.connect(listener:name(), options)))
  return client, keep(assert(task:join()))
end

local function spawn(fn, ...) return atoll.spawn(fn, ...):quiet() end

-- Lets everybody else run until they wait.
local function settle()
  for _ = 1, 3 do atoll.sleep(0) end
end

-- Waits until the kernel has something for the socket that was not read.
local function arrived(socket)
  local port = (":%04X"):format(socket:name():match ":(%d+)$")
  local peer = (":%04X"):format(socket:peer():match ":(%d+)$")
  local pattern = "%x+" .. port .. " %x+" .. peer .. " %x+ %x+:(%x+)"
  repeat
    atoll.sleep(0.001)
    local queued = file.read "/proc/net/tcp":match(pattern)
  until not queued or tonumber(queued, 16) > 0
end

local function timed_out(...)
  assert.same({ n = 3, nil, "timed out", "ETIMEDOUT" }, table.pack(...))
end

local function closed(...)
  assert.same({ n = 3, nil, "closed", "ECLOSED" }, table.pack(...))
end

after_each(function()
  for _, socket in ipairs(open) do socket:close() end
  open = {}
end)

setup(whole.begin)
teardown(whole.over)

describe("a connection", function()
  for _, address in ipairs { "127.0.0.1:0", "[::1]:0", "localhost:0",
    "unix:" .. os.tmpname() .. ".s" } do
    it("carries bytes both ways, to " .. address:match "^[^0/]*", function()
      local a, b = pair(address)
      assert.is_true(a:write("one ", 2, "\n"))
      assert.equal("one 2", b:read())
      assert.is_true(b:write "three\r\nfour")
      assert.equal("three", a:read "line")
      b:close()
      assert.equal("four", a:read "line")
      assert.is_nil(a:read "line")
    end)
  end

  it("knows the names of its ends, in the form that connect takes", function()
    local a, b = pair()
    assert.matches("^127%.0%.0%.1:%d+$", a:name())
    assert.equal(a:name(), b:peer())
    assert.equal(b:name(), a:peer())
    local c = pair "[::1]:0"
    assert.matches("^%[::1%]:%d+$", c:peer())
  end)

  it("is made to a host and a port, too", function()
    local listener <close> = assert(net.listen "127.0.0.1:0")
    local port = listener:name():match ":(%d+)"
    assert.equal(listener:name(), keep(assert(net.connect("127.0.0.1", port))):peer())
    assert.equal(listener:name(), keep(assert(net.connect("localhost", port))):peer())
    assert.equal(listener:name(), keep(assert(net.connect(":" .. port))):peer())
  end)

  it("may come from an address of one's own choice", function()
    local a = pair("127.0.0.1:0", { bind = "127.0.0.2:0" })
    assert.matches("^127%.0%.0%.2:", a:name())
  end)

  it("that is refused says where to and why", function()
    local listener = assert(net.listen "127.0.0.1:0")
    local name = listener:name()
    listener:close()
    assert.same({ n = 3, nil, "cannot connect to " .. name .. ": Connection refused",
      "ECONNREFUSED" }, table.pack(net.connect(name)))
    assert.equal("ENOENT", (select(3, net.connect "unix:/no/such/socket")))
  end)

  it("to what is no address fails with a sentence", function()
    for _, text in ipairs { "", "nonsense", "127.0.0.1", "[::1]", "127.0.0.1:65536",
      "unix:", "[nonsense]:1", "::1:80" } do
      local _, message, code = net.connect(text)
      assert.equal("EINVAL", code)
      assert.matches("^cannot connect to ", message)
    end
    assert.equal("ENOTFOUND", (select(3, net.connect "nobody.invalid:1")))
  end)

  it("with wrong arguments raises", function()
    assert.has_error(function() net.connect() end)
    assert.has_error(function() net.connect({}) end)
    assert.error_matches(function() net.connect("127.0.0.1:1", { timeuot = 1 }) end,
      "unknown option 'timeuot'")
    assert.has_error(function() net.connect("127.0.0.1:1", { timeout = -1 }) end)
    assert.has_error(function() net.connect("127.0.0.1:1", { family = "ipx" }) end)
    assert.error_matches(function()
      net.connect("127.0.0.1:1", { bind = "name:1" })
    end, "no address of this machine")
  end)

  it("never ends up with itself", function()
    -- Both ends at a port where nobody listens: the kernel connects it with itself.
    for _ = 1, 20 do
      local listener = assert(net.listen "127.0.0.77:0")
      local name = listener:name()
      listener:close()
      assert.equal("ECONNREFUSED", (select(3, net.connect(name, { bind = name }))))
    end
  end)

  it("waits for its turn at a unix socket whose queue is full", function()
    local listener <close> = assert(net.listen("unix:" .. os.tmpname() .. ".q",
      { backlog = 1 }))
    local tasks = {}
    for i = 1, 8 do tasks[i] = spawn(net.connect, listener:name()) end
    settle()
    for _ = 1, 8 do keep(assert(listener:accept(10))) end
    for i = 1, 8 do keep(assert(tasks[i]:join())) end
    timed_out(listener:accept(0))
  end)

  it("that does not come in time is given up", function()
    local listener <close> = assert(net.listen("unix:" .. os.tmpname() .. ".t",
      { backlog = 1 }))
    while true do
      local socket, message, code = net.connect(listener:name(), { timeout = 0.02 })
      if not socket then
        assert.matches("^cannot connect to unix:.*: timed out$", message)
        assert.equal("ETIMEDOUT", code)
        break
      end
      keep(socket)
    end
  end)
end)

describe("read", function()
  it("gives so many bytes, and fewer only at the end", function()
    local a, b = pair()
    local task = spawn(function() return b:read(6), b:read(10), b:read(1) end)
    a:write "abc"
    a:flush()
    settle()
    assert.equal("waiting", task:status())
    a:write "defgh"
    a:close()
    assert.same({ n = 3, "abcdef", "gh", nil }, table.pack(task:join()))
    assert.is_nil(b:read(1))
    assert.equal("", b:read(0))
  end)

  it("gives many bytes, in one piece", function()
    local a, b = pair()
    local text = ("0123456789abcdef"):rep(MIB / 4)
    local task = spawn(function() return a:write(text), a:close() end)
    assert.equal(text, b:read(#text))
    assert.is_nil(b:read(1))
    assert.is_true(task:join())
  end)

  it("gives whatever has come", function()
    local a, b = pair()
    a:write "abcdef"
    assert.equal("abcdef", b:read "some")
    a:write "ghijkl"
    assert.equal("ghi", b:read("some", 3))
    assert.equal("jkl", b:read("some", 100))
    a:close()
    assert.is_nil(b:read "some")
  end)

  it("gives lines without their ends", function()
    local a, b = pair()
    a:write "one\ntwo\r\n\n\r\nfi\rve\r\r\nrest\r"
    a:close()
    assert.same({ "one", "two", "", "", "fi\rve\r", "rest\r" },
      { b:read(), b:read(), b:read "line", b:read(), b:read(), b:read() })
    assert.is_nil(b:read())
  end)

  it("finds lines that come in pieces, wherever they are cut", function()
    local text = "first\r\nsecond\nthird\r\n"
    for cut = 0, #text do
      local a, b = pair()
      local task = spawn(function() return b:read(), b:read(), b:read() end)
      a:write(text:sub(1, cut))
      settle()
      a:write(text:sub(cut + 1))
      assert.same({ "first", "second", "third" }, { task:join() })
      a:close()
      b:close()
    end
  end)

  it("gives everything up to the end, and an empty text there", function()
    local a, b = pair()
    local text = ("x"):rep(300000)
    spawn(function() a:write(text) a:close() end)
    assert.equal("xx", b:read(2))
    assert.equal(#text - 2, #b:read "all")
    assert.equal("", b:read "all")
    assert.is_nil(b:read())
  end)

  it("gives what stands before a text", function()
    local a, b = pair()
    local task = spawn(function()
      return b:read_until "\r\n\r\n", b:read_until "END", b:read "all"
    end)
    for c in ("GET / HTTP/1.1\r\nHost: a\r\n\r\nbody EENDrest"):gmatch "." do
      a:write(c)
      atoll.sleep(0)
    end
    a:close()
    assert.same({ "GET / HTTP/1.1\r\nHost: a", "body E", "rest" }, { task:join() })
  end)

  it("up to a text that never comes leaves what has come", function()
    local a, b = pair()
    a:write "no end"
    a:close()
    assert.same({ n = 1, nil }, table.pack(b:read_until "end."))
    assert.equal("no end", b:read "all")
  end)

  it("iterates over lines", function()
    local a, b = pair()
    a:write "1\n2\n3"
    a:close()
    local seen = {}
    for line in b:lines() do seen[#seen + 1] = line end
    assert.same({ "1", "2", "3" }, seen)
  end)

  it("of a line has a limit, and leaves what was too long", function()
    local a, b = pair(nil, { line_max = 10 })
    b:write "0123456789\r\n0123456789a\n"
    assert.equal("0123456789", a:read())
    assert.same({ nil, "the line is longer than 10 bytes", "ETOOLARGE" }, { a:read() })
    assert.equal("ETOOLARGE", (select(3, a:read())))
    assert.equal("0123456789a\n", a:read(12))
    spawn(function() b:write(("y"):rep(100)) end)
    assert.equal("ETOOLARGE", (select(3, a:read())))
    assert.equal("ETOOLARGE", (select(3, a:read_until("z", 50))))
    assert.equal(100, #a:read(100))
    b:write "abcde;"
    assert.equal("ETOOLARGE", (select(3, a:read_until(";", 4))))
    assert.equal("abcde", a:read_until(";", 5))
  end)

  it("takes no longer for much that has no end than for little", function()
    local a, b = pair()
    local task = spawn(function() return b:read_until("ab", MIB) end)
    for _ = 1, 200 do
      a:write(("a"):rep(1000))
      a:flush()
      atoll.sleep(0)
    end
    a:write "b"
    assert.equal(199999, #task:join())
  end)

  it("in time leaves the socket and its bytes as they are", function()
    local a, b = pair()
    timed_out(b:read("some", nil, 0))
    timed_out(b:read(5, 0.005))
    a:write "abc"
    timed_out(b:read(5, 0.005))
    timed_out(b:read("line", 0.005))
    timed_out(b:read_until("x", nil, 0.005))
    repeat timed_out(b:read("all", 0.005)) until b:buffered() > 0 -- it is on its way
    assert.equal(3, b:buffered())
    a:write "de"
    assert.equal("abcde", b:read(5, 10))
    assert.equal(0, b:buffered())
  end)

  it("has the time limit of the socket unless it has its own", function()
    local a, b = pair()
    b:settimeout(0.005)
    timed_out(b:read())
    b:settimeout(0)
    timed_out(b:read())
    a:write "x\n"
    a:flush()
    assert.equal("x", b:read("line", 10))
    b:settimeout(nil)
    spawn(function() atoll.sleep(0.01) a:write "y\n" end)
    assert.equal("y", b:read())
    assert.has_error(function() b:settimeout(-1) end)
  end)

  it("by two fibers at once is an error that says so", function()
    local a, b = pair()
    local task = spawn(function() return b:read() end)
    settle()
    assert.error_matches(function() b:read() end,
      "another fiber is already reading from this socket")
    assert.is_true(b:write "the other direction is free")
    a:write "line\n"
    assert.equal("line", task:join())
  end)

  it("with wrong arguments raises", function()
    local _, b = pair()
    assert.has_error(function() b:read "everything" end)
    assert.has_error(function() b:read(-1) end)
    assert.has_error(function() b:read(1.5) end)
    assert.has_error(function() b:read("some", 0) end)
    assert.has_error(function() b:read(1, "soon") end)
    assert.has_error(function() b:read_until "" end)
    assert.has_error(function() b.read(nil) end)
    assert.has_error(function() b.read(io.stdout) end)
  end)

  it("inside a comparator names it when it would have to wait", function()
    local a, b = pair()
    a:write "ready"
    assert.equal("r", b:read(1))
    table.sort({ 2, 1 }, function()
      assert(b:read(2) == "ea")
      local ok, err = pcall(b.read, b, 100)
      assert(not ok and err:find "cannot wait inside table.sort", err)
      return false
    end)
    assert.equal("dy", b:read("some"))
  end)
end)

describe("write", function()
  it("gathers strings and numbers, and refuses the rest", function()
    local a, b = pair()
    assert.is_true(a:write())
    assert.is_true(a:write("a", 1, 2.5, "", "z"))
    local many = {}
    for i = 1, 100 do many[i] = i end
    a:write(table.unpack(many))
    a:close()
    assert.equal("a12.5z" .. table.concat(many), b:read "all")
    local c = pair()
    assert.has_error(function() c:write "x" c:write({}) end)
    assert.has_error(function() c:write("x", nil) end)
  end)

  it("keeps the order of small and large pieces", function()
    local a, b = pair()
    local parts = {}
    for i = 1, 60 do
      parts[i] = tostring(i % 10):rep(i % 3 == 0 and 20000 or i % 3 == 1 and 7 or 900)
    end
    local task = spawn(function()
      for i = 1, 60, 4 do a:write(table.unpack(parts, i, i + 3)) end
      a:close()
    end)
    assert.equal(table.concat(parts), b:read "all")
    task:join()
  end)

  it("waits while much is unsent, and goes on when it is read", function()
    local a, b = pair()
    local written = 0
    local piece = ("x"):rep(100000)
    local task = spawn(function()
      for _ = 1, 200 do
        if not a:write(piece) then break end
        written = written + 1
      end
      a:close()
    end)
    -- Neither end may hold all of it.
    repeat
      local before = written
      atoll.sleep(0.02)
    until written == before
    assert.is_true(written < 200)
    assert.equal(20000000, #b:read "all")
    assert.equal(200, written)
    task:join()
  end)

  it("that does not get rid of it in time still sends it, whole", function()
    local a, b = pair()
    a:settimeout(0.01)
    local text = ("0123456789"):rep(MIB)
    timed_out(a:write(text))
    timed_out(a:flush(0.01))
    local task = spawn(function() return b:read(#text) end)
    assert.is_true(a:flush(20))
    assert.equal(text, task:join())
  end)

  it("by many fibers at once never tears one's text", function()
    local a, b = pair()
    local tasks = {}
    for i = 1, 20 do
      tasks[i] = spawn(function()
        for _ = 1, 3 do assert(a:write((string.char(64 + i)):rep(70000))) end
      end)
    end
    for _ = 1, 60 do
      local text = b:read(70000)
      assert.equal(text:sub(1, 1):rep(70000), text)
    end
    for i = 1, 20 do tasks[i]:join() end
  end)

  it("to a peer that has gone says so, and so does every later one", function()
    local a, b = pair()
    b:close()
    local ok, message, code
    repeat
      ok, message, code = a:write "x"
      a:flush()
    until not ok
    assert.is_string(message)
    assert.matches("^E", code)
    assert.equal(code, (select(3, a:write "x")))
    assert.equal(code, (select(3, a:flush())))
  end)

  it("is told of a reset while it waits", function()
    local a, b = pair()
    local task = spawn(function() return a:write(("x"):rep(20 * MIB)) end)
    atoll.sleep(0.02)
    assert.equal("waiting", task:status())
    b:close() -- with bytes unread
    local ok, _, code = task:join()
    assert.is_nil(ok)
    assert.is_true(code == "ECONNRESET" or code == "EPIPE", code)
  end)
end)

describe("the end", function()
  it("of one direction leaves the other", function()
    local a, b = pair()
    a:write "question"
    assert.is_true(a:shutdown "write")
    assert.equal("question", b:read "all")
    assert.is_nil(b:read())
    closed(a:write "more")
    b:write(("answer"):rep(50000))
    b:close()
    assert.equal(300000, #a:read "all")
  end)

  it("of writing comes after all that was written", function()
    local a, b = pair()
    local text = ("x"):rep(10 * MIB)
    local task = spawn(function()
      a:settimeout(0)
      a:write(text)
      a:shutdown "write"
      a:settimeout(nil)
      return a:read()
    end)
    assert.equal(#text, #b:read "all")
    b:write "got it\n"
    assert.equal("got it", task:join())
  end)

  it("of reading is the end of file", function()
    local a, b = pair()
    local task = spawn(function() return b:read(), "woken" end)
    settle()
    b:shutdown "read"
    assert.same({ nil, "woken" }, { task:join() })
    assert.is_nil(b:read())
    b:write "still\n"
    assert.equal("still", a:read())
  end)

  it("of a peer that vanished is an error, after what it had sent", function()
    local a, b = pair()
    b:write "last words\n"
    b:flush()
    a:write "never read: closing over it is a reset"
    a:flush()
    arrived(b)
    b:close()
    local line, _, code = a:read()
    if line then -- a reset may overtake what was sent
      assert.equal("last words", line)
      line, _, code = a:read()
    end
    assert.is_nil(line)
    assert.equal("ECONNRESET", code)
    assert.equal("ECONNRESET", (select(3, a:read())))
    assert.equal("ECONNRESET", (select(3, a:read "all")))
  end)

  it("by close wakes those who wait", function()
    local a, text = pair(), ("x"):rep(20 * MIB)
    local reader = spawn(function() return a:read() end)
    local writer = spawn(function() return a:write(text) end)
    local flusher = spawn(function() return a:flush() end)
    atoll.sleep(0.01)
    assert.is_true(a:close())
    closed(reader:join())
    closed(writer:join())
    closed(flusher:join())
  end)

  it("by close sends what was written", function()
    local a, b = pair()
    local text = ("x"):rep(10 * MIB)
    a:settimeout(0)
    timed_out(a:write(text))
    a:close()
    assert.equal(#text, #b:read "all")
  end)

  it("is final, and harmless when it comes again", function()
    local a = pair()
    assert.is_true(a:close())
    assert.is_true(a:close())
    assert.equal("socket (closed)", tostring(a))
    for _, method in ipairs { "read", "write", "flush", "shutdown", "name", "peer",
      "fd" } do
      closed(a[method](a))
    end
    closed(a:read_until "x")
    closed(a:setoption("nodelay", true))
    assert.equal(0, a:buffered())
    assert.is_nil(a:lines()())
    a:settimeout(1)
  end)

  it("comes with the scope of a variable, and with the collector", function()
    local a, b = pair()
    do
      local _ <close> = a
    end
    assert.is_nil(b:read())
    open = {}
    local d = select(2, pair())
    open = { d }
    collectgarbage()
    collectgarbage()
    assert.is_nil(d:read())
  end)
end)

describe("a cancel", function()
  it("of a reader leaves the socket to the next one", function()
    local a, b = pair()
    a:write "half"
    local task = spawn(function() return b:read(8) end)
    atoll.sleep(0.005)
    task:cancel()
    assert.equal("ECANCELED", (select(3, task:join())))
    a:write "full"
    assert.equal("halffull", b:read(8))
    assert.equal("ETIMEDOUT", (select(3, atoll.timeout(0.005, b.read, b, 1))))
    a:write "x"
    assert.equal("x", b:read(1))
  end)

  it("of a writer does not tear what it writes", function()
    local a, b = pair()
    local text = ("x"):rep(10 * MIB)
    local task = spawn(function() a:write(text) end)
    atoll.sleep(0.005)
    assert.equal("waiting", task:status())
    task:cancel()
    task:join()
    collectgarbage()
    spawn(function() a:write "y" a:close() end)
    local all = b:read "all"
    assert.equal(#text + 1, #all)
    assert.equal("y", all:sub(-1))
  end)

  it("of whoever connects or accepts leaves nothing", function()
    local listener <close> = assert(net.listen("unix:" .. os.tmpname() .. ".c",
      { backlog = 1 }))
    local function descriptors() return #atoll.fs.list "/proc/self/fd" end
    local filler = {}
    repeat
      local socket = net.connect(listener:name(), { timeout = 0 })
      filler[#filler + 1] = socket
    until not socket
    local before = descriptors()
    local tasks = {}
    for i = 1, 5 do tasks[i] = spawn(net.connect, listener:name()) end
    settle()
    for i = 1, 5 do tasks[i]:cancel() tasks[i]:join() end
    -- Fewer, when those of another spec have gone meanwhile; more while another thread
    -- reads a file.
    local tries = 0
    repeat
      settle()
      tries = tries + 1
      assert(tries < 1000, "more descriptors than before")
    until descriptors() <= before
    for _, socket in ipairs(filler) do socket:close() end
    local empty <close> = assert(net.listen "127.0.0.1:0")
    local task = spawn(function() return empty:accept() end)
    settle()
    task:cancel()
    task:join()
    local c = keep(assert(net.connect(empty:name())))
    assert.equal(c:name(), keep(empty:accept()):peer())
  end)
end)

describe("a socket", function()
  it("takes options", function()
    local a = pair(nil, { nodelay = false, keepalive = 30 })
    assert.is_true(a:setoption("nodelay", true))
    assert.is_true(a:setoption("keepalive", false))
    assert.is_true(a:setoption("keepalive", 60))
    assert.is_true(a:setoption("sndbuf", 100000))
    assert.is_true(a:setoption("rcvbuf", 100000))
    assert.has_error(function() a:setoption("colour", "red") end)
    assert.has_error(function() a:setoption("nodelay") end)
    assert.is_number(a:fd())
    assert.matches("^socket %(%d+%): ", tostring(a))
    assert.is_table(getmetatable(a).__index)
  end)

  it("serves fibers inside of coroutines, iterators and pcall", function()
    local a, b = pair()
    spawn(function()
      for i = 1, 5 do
        a:write(i, "\n")
        atoll.sleep(0.001)
      end
      a:close()
    end)
    local produce = coroutine.wrap(function()
      while true do
        local ok, line = pcall(b.read, b)
        if not ok or not line then return end
        coroutine.yield(line)
      end
    end)
    local seen = {}
    for line in produce do seen[#seen + 1] = line end
    assert.same({ "1", "2", "3", "4", "5" }, seen)
  end)
end)
