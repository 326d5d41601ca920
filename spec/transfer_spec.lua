-- What moves from one isolate to another: sockets in whatever state, with one owner at
-- any time, and back home when they do not arrive.
local atoll = require "atoll"
local whole = require "support.whole"
local certs = require "support.certs"
local file = require "support.file"
local net = require "atoll.net"

local paths, isolates, closing, files = {}, {}, {}, nil

local function keep(thing)
  closing[#closing + 1] = thing
  return thing
end

-- An isolate that runs this text; its argument is `...`.
local function spawn(text, argument, options)
  local path = os.tmpname()
  file.write(path, 'local atoll = require "atoll" local isolate = atoll.isolate ',
    text, "\n")
  paths[#paths + 1] = path
  local h = assert(atoll.isolate.spawn(path, argument, options))
  isolates[#isolates + 1] = h
  return h
end

-- Two ends of a connection, the second speaking TLS as a server, if at all.
local function pair(tls)
  local how = tls and { cert = files.server, key = files.key } or nil
  local listener <close> = assert(net.listen("127.0.0.1:0", { tls = how }))
  local ends = atoll.all {
    function()
      local s = assert(listener:accept(10))
      if tls then assert.equal("!", s:read(1)) end
      return s
    end,
    function()
      local s = assert(net.connect(listener:name(), {
        tls = tls and { ca = files.ca, name = "server.test" } or nil, timeout = 10 }))
      if tls then s:write "!" end
      return s
    end,
  }
  for _, s in ipairs(ends) do keep(s):settimeout(20) end
  return ends[2], ends[1]
end

-- Answers each socket it gets: what it reads until the end, in capitals.
local ECHO = [[
  for s in isolate.port:messages() do
    atoll.spawn(function()
      for data in function() return s:read "some" end do s:write(data) end
      s:close()
    end)
  end
]]

local function refuses(text, fn, ...)
  local ok, message = pcall(fn, ...)
  assert.is_false(ok)
  assert.truthy(message:find(text, 1, true), message)
end

setup(function() files = certs.make() end)

teardown(function()
  certs.remove()
  for _, path in ipairs(paths) do os.remove(path) end
end)

after_each(function()
  for _, h in ipairs(isolates) do
    h:kill()
    h:join(20)
  end
  for _, thing in ipairs(closing) do thing:close() end
  isolates, closing = {}, {}
end)

setup(whole.begin)
teardown(whole.over)

for _, tls in ipairs { false, true } do
  describe(tls and "a TLS socket" or "a socket", function()
    it("goes on in another isolate, which has never heard of atoll.net", function()
      local here, there = pair(tls)
      local h = spawn(ECHO)
      assert.is_true(there:transfer(h))
      here:write "hello"
      assert.equal("hello", here:read(5))
      here:shutdown "write"
      assert.is_nil((here:read(1)))
    end)

    it("takes along what it has read ahead", function()
      local here, there = pair(tls)
      here:write "first\nsecond\nthird"
      here:shutdown "write"
      assert.equal("first", (there:read "line"))
      local h = spawn [[
        local s = isolate.port:receive()
        return s:buffered(), s:read "line", s:read "all", s:read(1)
      ]]
      assert.is_true(there:transfer(h))
      assert.same({ 12, "second", "third" }, { h:join(20) })
    end)

    it("takes along what it has not sent yet, and its half-close", function()
      local here, there = pair(tls)
      local text = ("0123456789"):rep(200000)
      there:setoption("sndbuf", 4096)
      local writer = atoll.spawn(function() return there:write(text) end):quiet()
      atoll.sleep(0.01)
      writer:cancel() -- what was written is written
      there:shutdown "write"
      local h = spawn [[
        local s = isolate.port:receive()
        return s:flush(20), s:write "more"
      ]]
      assert.is_true(there:transfer(h))
      assert.equal(text, (here:read "all"))
      assert.same({ true, nil, "closed", "ECLOSED" }, { h:join(20) })
    end)

    it("keeps its limits", function()
      local _, there = pair(tls)
      there:settimeout(0.05)
      local h = spawn [[
        local s = isolate.port:receive()
        return { s:read "line" }, { s:read("line", 0.01) }, s:peer()
      ]]
      local peer = there:peer()
      assert.is_true(there:transfer(h))
      local late = { nil, "timed out", "ETIMEDOUT" }
      assert.same({ late, late, peer }, { h:join(20) })
    end)

    it("raises where it was left behind; closing it does no harm", function()
      local here, there = pair(tls)
      local h = spawn(ECHO)
      assert.is_true(there:transfer(h))
      for name in ("read lines flush shutdown name peer fd buffered tls settimeout")
        :gmatch "%a+" do
        refuses("the socket was transferred", there[name], there)
      end
      refuses("the socket was transferred", there.write, there, "x")
      refuses("the socket was transferred", there.transfer, there, h)
      refuses("value.s: the socket was transferred", h.send, h, { s = there })
      assert.equal("socket (transferred)", tostring(there))
      do local _ <close> = there end
      assert.same({ nil, "closed", "ECLOSED" }, { there:read() })
      here:write "still"
      assert.equal("still", here:read(5))
    end)

    it("does not go while a fiber waits for it, nor when it is closed", function()
      local here, there = pair(tls)
      local port = atoll.port()
      local to = port:sender()
      local reader = atoll.spawn(function() return there:read(1) end)
      atoll.sleep(0)
      refuses("value: a fiber reads from the socket", to.send, to, there)
      refuses("a fiber reads from the socket", there.transfer, there, to)
      here:write "x"
      assert.equal("x", (reader:join()))
      there:setoption("sndbuf", 4096)
      local text = ("x"):rep(3000000)
      local writer = atoll.spawn(function() return there:write(text) end)
      atoll.sleep(0)
      refuses("value.a[1]: a fiber waits to write to the socket", to.send, to,
        { a = { there } })
      assert.equal(#text, #here:read(#text))
      assert.is_true((writer:join()))
      there:close()
      local closed = { nil, "closed", "ECLOSED" }
      assert.same(closed, { to:send(there) })
      assert.same(closed, { to:send { s = { there } } })
      assert.same(closed, { to:call(there) })
      assert.same(closed, { there:transfer(to) })
      assert.same("ECLOSED", (select(3, atoll.isolate.spawn("m", { there }))))
      assert.equal(0, #port)
    end)

    it("comes home when its port closes with it, and works again", function()
      local here, there = pair(tls)
      local port = atoll.port()
      here:write "before\n"
      assert.is_true(port:sender():send { there, "x", { there } })
      refuses("transferred", there.read, there)
      port:close()
      atoll.sleep(0.001)
      assert.equal("before", (there:read "line"))
      there:write "after\n"
      assert.equal("after", (here:read "line"))
    end)

    it("is taken back when nobody takes it in time", function()
      local here, there = pair(tls)
      local port = atoll.port(1)
      local to = port:sender()
      assert.same({ nil, "timed out", "ETIMEDOUT" }, { there:transfer(to, 0.01) })
      assert.equal(0, #port)
      to:send "full"
      assert.same({ nil, "timed out", "ETIMEDOUT" }, { there:transfer(to, 0.01) })
      port:close()
      assert.same({ nil, "closed", "ECLOSED" }, { there:transfer(to) })
      there:write "here\n"
      assert.equal("here", (here:read "line"))
    end)

    it("is taken back when the fiber that transfers it is cancelled", function()
      local here, there = pair(tls)
      local port = atoll.port()
      local task = atoll.spawn(function() there:transfer(port:sender()) end):quiet()
      atoll.sleep(0)
      assert.equal(1, #port)
      task:cancel()
      task:join()
      assert.equal(0, #port)
      there:write "here\n"
      assert.equal("here", (here:read "line"))
    end)

    it("comes back when the receiver has closed its port meanwhile", function()
      local here, there = pair(tls)
      local port = atoll.port()
      local task = atoll.spawn(function()
        return table.pack(there:transfer(port:sender()))
      end)
      atoll.sleep(0)
      port:close()
      assert.same({ n = 3, nil, "closed", "ECLOSED" }, (task:join()))
      there:write "here\n"
      assert.equal("here", (here:read "line"))
    end)

    it("is closed when it comes home to nobody", function()
      local here, there = pair(tls)
      local port = atoll.port()
      port:sender():send(there)
      there:close()
      port:close()
      local data, _, code = here:read "line"
      assert.is_nil(data)
      assert.is_true(({ [""] = true, ECONNRESET = true })[code or ""], code)
    end)

    it("arrives though its sender has gone, and is closed when it can go nowhere",
      function()
        for _, taken in ipairs { true, false } do
          local here, there = pair(tls)
          local port = atoll.port()
          local h = spawn("local to, s = table.unpack(...) to:send(s) atoll.sleep(100)",
            { port:sender(), there })
          while #port == 0 do atoll.sleep(0.001) end
          h:kill()
          h:join(20)
          if taken then
            local s = keep(assert(port:receive(20)))
            s:write "from the dead\n"
            assert.equal("from the dead", here:read "line")
          end
          port:close()
          if not taken then assert.is_nil((here:read "line")) end
        end
      end)

    it("is an argument, a result, a question and an answer", function()
      local here, there = pair(tls)
      local first = spawn("local s = (...).s s:write 'first\\n' return s",
        { s = there })
      local s = keep(assert(first:join(20)))
      local second = spawn [[
        local s, message = isolate.port:receive()
        s:write "second\n"
        message:reply { s }
        atoll.sleep(100)
      ]]
      local answer = assert(second:call(s, 20))
      keep(answer[1]):write "third\n"
      for _, word in ipairs { "first", "second", "third" } do
        assert.equal(word, (here:read "line"))
      end
    end)

    it("is here again when an isolate could not start with it", function()
      local here, there = pair(tls)
      local h = assert(atoll.isolate.spawn("no.such.module", there))
      assert.is_nil((h:join(20)))
      there:write "here\n"
      assert.equal("here", (here:read "line"))
    end)
  end)
end

for _, tls in ipairs { false, true } do
  local how = function()
    return { tls = tls and { cert = files.server, key = files.key } or nil }
  end
  local function connect(address)
    return keep(assert(net.connect(address, { timeout = 20,
      tls = tls and { ca = files.ca, name = "server.test" } or nil })))
  end

  -- Says its number to every connection.
  local ACCEPT = [[
    local number, listener = table.unpack(...)
    if type(listener) ~= "userdata" then return "?" end
    if listener.serve == nil then listener = atoll.net.listener(listener) end
    listener:serve(function(s) s:write(number, "\n") end)
  ]]

  describe(tls and "a TLS listener" or "a listener", function()
    it("is accepted on in other isolates, by its reference", function()
      local listener = assert(net.listen("127.0.0.1:0", how()))
      local reference <close> = assert(listener:reference())
      assert.equal(listener:name(), reference:name())
      local address, accepting, seen = listener:name(), {}, {}
      for i = 1, 3 do accepting[tostring(i)] = spawn(ACCEPT, { i, reference }) end
      -- Closing what they come from closes none of them.
      listener:close()
      for i = 1, 3 do
        local number = assert(connect(address):read("line", 20))
        seen[i] = number
        -- Which of them it is, is the kernel's choice: now it is one of the others.
        accepting[number]:kill()
        accepting[number]:join(60)
      end
      table.sort(seen)
      assert.same({ "1", "2", "3" }, seen)
    end)

    it("is closed with the last of its clones and references", function()
      local listener = assert(net.listen("127.0.0.1:0", how()))
      local reference = assert(listener:reference())
      local clone = assert(net.listener(reference))
      local address = listener:name()
      assert.equal(address, clone:name())
      listener:close()
      reference:close()
      assert.same({ nil, "closed", "ECLOSED" }, { net.listener(reference) })
      local port = atoll.port()
      refuses("value: the reference is closed", port:sender().send, port:sender(),
        reference)
      keep(assert(net.connect(address)))
      clone:close()
      -- An isolate of the test before may still be closing its own.
      local code
      local deadline = atoll.now() + 20
      repeat
        code = select(3, net.connect(address))
        atoll.sleep(0.001)
      until code or atoll.now() > deadline
      assert.equal("ECONNREFUSED", code)
    end)

    it("moves", function()
      local listener = assert(net.listen("127.0.0.1:0", how()))
      local address = listener:name()
      local h = spawn("return isolate.port:receive():accept(20):read 'line'")
      assert.is_true(listener:transfer(h))
      refuses("the listener was transferred", listener.accept, listener)
      refuses("the listener was transferred", listener.reference, listener)
      assert.truthy(tostring(listener):find("transferred", 1, true))
      local s = connect(address)
      s:write "hello\n"
      assert.equal("hello", (h:join(20)))
      listener:close()
      assert.same({ nil, "closed", "ECLOSED" }, { listener:accept() })
    end)

    it("comes home, and does not go while a fiber accepts", function()
      local listener = keep(assert(net.listen("127.0.0.1:0", how())))
      local port = atoll.port()
      port:sender():send { listener }
      port:close()
      atoll.sleep(0.001)
      local accepting = atoll.spawn(function() return listener:accept(20) end)
      atoll.sleep(0)
      refuses("a fiber accepts from the listener", listener.transfer, listener,
        spawn "")
      keep(assert(net.connect(listener:name())))
      keep(assert((accepting:join())))
    end)
  end)
end

-- Those who have it answer with what they read, and now and then give it to another.
local HOPS = [[
  local peers = isolate.port:receive()
  math.randomseed(peers.seed)
  local function own(s)
    while true do
      local data = s:read("some", math.random(20000))
      if not data then return s:close() end
      s:write(data)
      if math.random(3) == 1 then
        local to = peers[math.random(#peers)]
        if math.random(2) == 1 then
          if s:transfer(to) then return end
        elseif to:send { s } then
          return
        end
      end
    end
  end
  for m in isolate.port:messages() do
    atoll.spawn(own, type(m) == "table" and m[1] or m)
  end
]]

-- Those at the other end write what is known and read it again, and move it likewise.
local ASKERS = [[
  local peers = isolate.port:receive()
  math.randomseed(peers.seed)
  local pattern = peers.pattern .. peers.pattern
  local size = #peers.pattern
  local function piece(at, n) return pattern:sub(at % size + 1, at % size + n) end
  local function own(job)
    local s = job.socket
    while job.got < job.total do
      local n = math.min(math.random(30000), job.total - job.sent)
      if n > 0 and job.sent - job.got < 200000 then
        s:write(piece(job.sent, n))
        job.sent = job.sent + n
        if job.sent == job.total then s:shutdown "write" end
      end
      local patience = job.sent == job.total and 20 or 0
      local data, message, code = s:read("some", math.random(30000), patience)
      if not data and code ~= "ETIMEDOUT" then
        return peers.results:send(("%d: %s at %d of %d"):format(job.id,
          message or "the end", job.got, job.total))
      end
      if data then
        if data ~= piece(job.got, #data) then
          return peers.results:send(job.id .. ": wrong bytes at " .. job.got)
        end
        job.got = job.got + #data
      end
      if math.random(3) == 1 then
        job.moves = job.moves + 1
        peers[math.random(#peers)]:send(job)
        return
      end
    end
    local rest = s:read "all"
    s:close()
    peers.results:send { rest == "" and job.moves or "more than there was" }
  end
  for job in isolate.port:messages() do
    atoll.spawn(function()
      local ok, message = pcall(own, job)
      if not ok then peers.results:send(message) end
    end)
  end
]]

local function ring(text, count, more)
  local list = { seed = math.random(1 << 30) }
  for key, value in pairs(more or {}) do list[key] = value end
  local handles = {}
  for i = 1, count do
    handles[i] = spawn(text)
    list[i] = handles[i]:sender()
  end
  for _, h in ipairs(handles) do h:send(list) end
  return handles
end

local function descriptors()
  local n = 0
  for _ in pairs(assert(atoll.fs.list "/proc/self/fd")) do n = n + 1 end
  return n
end

for _, tls in ipairs { false, true } do
  describe(tls and "a TLS connection" or "a connection", function()
    it("loses no byte while both its ends move to and fro", function()
      local pattern = {}
      for i = 1, 4099 do pattern[i] = string.pack("<I8", math.random(0)) end
      local results = atoll.port()
      local hops = ring(HOPS, 3)
      local askers = ring(ASKERS, 2,
        { pattern = table.concat(pattern), results = results:sender() })
      local count, total, moves = 6, tls and 300000 or 1000000, 0
      for id = 1, count do
        local here, there = pair(tls)
        assert(there:transfer(hops[id % #hops + 1]))
        assert(askers[id % #askers + 1]:send {
          id = id, socket = here, sent = 0, got = 0, total = total, moves = 0 })
      end
      for _ = 1, count do
        local result = assert(results:receive(60))
        assert.equal("table", type(result), result)
        assert.equal("integer", math.type(result[1]), result[1])
        moves = moves + result[1]
      end
      assert.is_true(moves > count)
    end)

    it("has one owner, whenever its transfer is given up", function()
      local here, there = pair(tls)
      local back = atoll.port()
      local h = spawn([[
        local back = ...
        while true do
          local s = isolate.port:receive(math.random() * 0.002)
          if s then
            s:write "there\n"
            assert(s:transfer(back))
          end
          if math.random(2) == 1 then atoll.sleep(math.random() * 0.002) end
        end
      ]], back:sender())
      local moved, stayed = 0, 0
      for round = 1, 300 do
        local patience = math.random() * 0.002
        local left
        if round % 2 == 0 then
          left = there:transfer(h, patience)
        else
          atoll.timeout(patience, function() there:transfer(h) end)
          left = not pcall(there.peer, there)
        end
        if left then
          moved = moved + 1
          there:close()
          there = keep(assert(back:receive(20)))
          assert.equal("there", here:read "line")
        else
          stayed = stayed + 1
          there:write "here\n"
          assert.equal("here", here:read "line")
        end
        assert.equal(0, #back)
      end
      assert.equal(300, moved + stayed)
    end)

    it("is here or there, whenever the receiver is killed", function()
      local before = descriptors()
      local here, there
      local ends = { home = 0, gone = 0 }
      for round = 1, 60 do
        if not here then here, there = pair(tls) end
        local h = assert(spawn(round % 2 == 0 and ECHO or "atoll.sleep(100)"))
        local killer = atoll.spawn(function()
          atoll.sleep(math.random() * 0.003)
          h:kill()
        end)
        local sends = round % 3 == 0
        local done = sends and h:send(there) or there:transfer(h)
        if not sends and not done then assert(there:peer()) end
        killer:join()
        h:join(20)
        local deadline, is = atoll.now() + 20, nil
        repeat
          if pcall(there.peer, there) then
            is = "home"
          else
            local data, _, code = here:read("some", nil, 0.001)
            assert.is_nil(data)
            if code ~= "ETIMEDOUT" then is = "gone" end
          end
        until is or atoll.now() > deadline
        ends[is] = ends[is] + 1
        if is == "home" then
          here:write "question\n"
          assert.equal("question", there:read "line")
          there:write "answer\n"
          assert.equal("answer", here:read "line")
        else
          here:close()
          here = nil
        end
      end
      assert.is_true(ends.home > 0)
      if here then
        here:close()
        there:close()
      end
      local deadline = atoll.now() + 20
      repeat
        collectgarbage()
        atoll.sleep(0.005)
      until descriptors() <= before or atoll.now() > deadline
      assert.is_true(descriptors() <= before, "descriptors are left")
    end)
  end)
end

describe("transfer", function()
  -- The loop finds its epoll among all descriptors: else it would have to give a copy.
  it("goes as it is from a process with many descriptors", function()
    local held = {}
    for i = 1, 150 do held[i] = assert(io.open "/dev/null") end
    for i = 3, 150 do keep(held[i]) end
    for i = 1, 2 do held[i]:close() end -- the loop's own are near, epoll is far
    local listener = keep(assert(net.listen "127.0.0.1:0"))
    local port = keep(atoll.port())
    local h = spawn([[
      local at, back = table.unpack(...)
      local s = assert(atoll.net.connect(at))
      assert(s:read "line")
      back:send { s, s:fd() }
    ]], { listener:name(), port:sender() })
    keep(assert(listener:accept(20))):write "hello\nrest"
    local sent = assert(port:receive(20))
    assert.equal(sent[2], keep(sent[1]):fd())
    assert.equal("rest", sent[1]:read(4, 20))
    h:join(20)
  end)

  it("knows isolates and ports by their names", function()
    local here, there = pair()
    spawn(ECHO, nil, { name = "spec.echo" })
    assert.is_true(there:transfer "spec.echo")
    here:write "hello"
    assert.equal("hello", here:read(5))
    assert.same({ nil, "nobody has the name 'spec.none'", "ENOTFOUND" },
      { here:transfer "spec.none" })
  end)

  it("wants a sender or an isolate, and something that moves", function()
    local here = pair()
    refuses("sender or isolate expected", here.transfer, here, 7)
    refuses("sender or isolate expected", here.transfer, here)
    local sender = atoll.port():sender()
    refuses("something that can be transferred expected", here.transfer, sender, sender)
  end)
end)
