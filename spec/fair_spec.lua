-- Fibers that always find what they want: others have their turns all the same.
local atoll = require "atoll"
local net = require "atoll.net"

local function spawn(fn, ...) return atoll.spawn(fn, ...):quiet() end

-- What fn returns, and how many turns a neighbour had meanwhile.
local function beside(fn, ...)
  local rounds, over = 0, false
  local neighbour = spawn(function()
    while not over do
      atoll.sleep(0)
      rounds = rounds + 1
    end
  end)
  atoll.sleep(0)
  local results = table.pack(pcall(fn, ...))
  local had = rounds
  over = true
  neighbour:join()
  assert(results[1], results[2])
  return had, table.unpack(results, 2, results.n)
end

-- Some tenths of a millisecond, without a wait.
local function work()
  local done = os.clock() + 0.0002
  repeat until os.clock() > done
end

-- Two ends of a connection.
local function pair()
  local listener <close> = assert(net.listen "127.0.0.1:0")
  local task = spawn(function() return listener:accept() end)
  local client = assert(net.connect(listener:name()))
  return client, assert(task:join())
end

-- The address of an isolate that sends the first text to who connects, and then the
-- other without an end.
local function flood(first, text)
  local path = os.tmpname()
  local f <close> = assert(io.open(path, "w"))
  f:write [[
    local atoll = require "atoll"
    local listener = assert(atoll.net.listen "127.0.0.1:0")
    local it = ...
    it.parent:send(listener:name())
    local socket = assert(listener:accept())
    local piece = it.text:rep((1 << 20) // #it.text)
    socket:write(it.first)
    while socket:write(piece) do end
  ]]
  f:close()
  local port = atoll.port()
  local isolate = assert(atoll.isolate.spawn(path,
    { parent = port:sender(), first = first, text = text }))
  local address = assert(port:receive(30))
  os.remove(path)
  return address, isolate
end

-- Has turns beside fn, whose time is over soon: unless the thread stood still for most
-- of it, which it does not do each time.
local function has_turns(fn)
  local rounds
  for _ = 1, 5 do
    rounds = fn()
    if rounds >= 3 then return end
  end
  error(("%d turns"):format(rounds), 2)
end

describe("a neighbour goes on while a fiber", function()
  it("reads from what has come already", function()
    local a, b = pair()
    a:write(("x"):rep(200))
    b:read(1)
    local rounds = beside(function()
      for _ = 1, 199 do
        assert.equal("x", b:read(1))
        work()
      end
    end)
    assert.is_true(rounds >= 3, rounds)
    a:close()
    b:close()
  end)

  it("accepts who has connected already", function()
    local listener <close> = assert(net.listen "127.0.0.1:0")
    local clients = {}
    for i = 1, 100 do clients[i] = assert(net.connect(listener:name())) end
    local rounds = beside(function()
      for _ = 1, 100 do
        listener:accept():close()
        work()
      end
    end)
    assert.is_true(rounds >= 3, rounds)
    for _, client in ipairs(clients) do client:close() end
  end)

  it("writes to who takes all", function()
    local a, b = pair()
    local reader = spawn(function() return #b:read "all" end)
    local rounds = beside(function()
      for _ = 1, 100 do
        assert(a:write "x")
        work()
      end
    end)
    assert.is_true(rounds >= 3, rounds)
    a:close()
    assert.equal(100, reader:join())
    b:close()
  end)

  it("sends and receives datagrams", function()
    local a <close> = assert(net.udp "127.0.0.1:0")
    local b <close> = assert(net.udp())
    local function each(fn)
      for _ = 1, 100 do
        assert(fn())
        work()
      end
    end
    local to = a:name()
    assert.is_true(beside(each, function() return b:send("x", to) end) >= 3)
    assert.is_true(beside(each, function() return a:receive(10) end) >= 3)
  end)

  it("reads a flood to an end that does not come, until its time is over", function()
    has_turns(function()
      local address, isolate = flood("", "x")
      local socket = assert(net.connect(address))
      local rounds, data, _, code = beside(socket.read, socket, "all", 0.3)
      assert.same({ nil, "ETIMEDOUT" }, { data, code })
      assert.is_true(#socket:read(100000, 30) == 100000)
      socket:close()
      isolate:join(60)
      return rounds
    end)
  end)

  -- A whole answer was gone through in one turn, whatever it cost, and past its time.
  it("reads an answer in chunks of a byte, until its time is over", function()
    local head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    has_turns(function()
      local address, isolate = flood(head, "1\r\nx\r\n")
      local start = atoll.now()
      local rounds, answer, _, code = beside(atoll.http.get, "http://" .. address,
        { timeout = 0.3, body_max = 1 << 29 })
      assert.same({ nil, "ETIMEDOUT" }, { answer, code })
      assert.is_true(atoll.now() - start < 10)
      isolate:join(60)
      return rounds
    end)
  end)

  it("gives no turns where it cannot be suspended", function()
    local a, b = pair()
    a:write(("x"):rep(1000))
    b:read(1)
    local list, read = {}, 0
    for i = 1, 100 do list[i] = (i * 37) % 101 end
    table.sort(list, function(x, y)
      work()
      assert(b:read(1))
      read = read + 1
      return x < y
    end)
    assert.is_true(read > 100)
    a:close()
    b:close()
  end)
end)
