-- Libraries written for LuaSocket, as Debian packages them, several fibers at a time.
-- Who serves them is another fiber, or a real server.
local atoll = require "atoll"
local events = require "support.events"
local host = require "support.host"
local servers = require "support.servers"
local socket = require "socket"
local wire = require "support.wire"

local path = package.path
local server, handlers

-- Serves each connection to this spec's address in a fiber.
local function serve(fn)
  server = assert(socket.bind("127.0.0.1", 0))
  handlers = atoll.spawn(function()
    while true do
      local c = server:accept()
      if not c then return end
      atoll.spawn(function()
        fn(c)
        c:close()
      end)
    end
  end)
  return math.tointeger((select(2, server:getsockname())))
end

local present

-- Of five that are called at once: none goes on before all are here.
local function meet()
  present = present + 1
  local till = socket.gettime() + 60
  while present < 5 do
    assert(socket.gettime() < till, "they come one after the other")
    socket.sleep(0.001)
  end
end

-- Calls fn in five fibers at once: what each has returned first.
local function five(fn)
  local tasks, results = {}, {}
  present = 0
  for i = 1, 5 do tasks[i] = atoll.spawn(fn, i) end
  for i = 1, 5 do
    local first, message, code = tasks[i]:join()
    assert(code ~= "ELUA", message)
    results[i] = first
  end
  return results
end

-- An HTTP server that answers when five have asked.
local function slow_http(c)
  local line = c:receive()
  repeat local field = c:receive() until not field or field == ""
  meet()
  local body = line:match " (%S+) "
  c:send("HTTP/1.1 200 OK\r\nContent-Length: " .. #body .. "\r\n\r\n" .. body)
end

-- A certificate and its key.
local function certificate()
  local dir = host.directory {}
  assert(os.execute(("openssl req -x509 -newkey ec -nodes -days 2 "
    .. "-pkeyopt ec_paramgen_curve:P-256 -subj /CN=localhost "
    .. "-keyout %s/key.pem -out %s/cert.pem 2>&-"):format(dir, dir)))
  return dir .. "/cert.pem", dir .. "/key.pem"
end

describe("libraries for LuaSocket", function()
  setup(function()
    package.path = path .. ";/usr/share/lua/5.3/?.lua;/usr/share/lua/5.2/?.lua"
  end)
  teardown(function() package.path = path end)
  after_each(function()
    if server then
      server:close()
      handlers:join()
      server = nil
    end
    servers.finish()
    wire.finish()
    host.finish()
  end)

  it("socket.http asks several at once", function()
    local http = require "socket.http"
    local port = serve(slow_http)
    local bodies = five(function(i)
      return (http.request(("http://127.0.0.1:%d/%d"):format(port, i)))
    end)
    assert.same({ "/1", "/2", "/3", "/4", "/5" }, bodies)
  end)

  it("socket.http asks a host, in pieces and as a whole", function()
    local http, ltn12 = require "socket.http", require "ltn12"
    local h = host.start { app = [[
      app:get("/pieces", function() return atoll.stream(function(write)
        for i = 1, 100 do write(("x"):rep(1000)) end
      end) end)
      app:post("/echo", function(req) return req:text() end)]] }
    assert.equal(100000, #http.request(h.url .. "/pieces"))
    local got = {}
    local _, status = http.request {
      url = h.url .. "/echo", method = "POST", sink = ltn12.sink.table(got),
      source = ltn12.source.string "some text", headers = { ["content-length"] = 9 },
    }
    assert.same({ 200, "some text" }, { status, table.concat(got) })
    assert.same({ nil, "connection refused" }, { http.request "http://127.0.0.1:1/" })
  end)

  it("socket.smtp sends several mails at once", function()
    local smtp, ltn12, mime = require "socket.smtp", require "ltn12", require "mime"
    local mails = {}
    local port = serve(function(c)
      local mail = {}
      c:send "220 sink\r\n"
      for line in function() return c:receive() end do
        local verb = line:sub(1, 4):upper()
        if verb == "DATA" then
          c:send "354 go on\r\n"
          repeat
            line = c:receive()
            mail[#mail + 1] = line
          until line == "."
          meet()
          mails[#mails + 1] = table.concat(mail, "\n")
          c:send "250 taken\r\n"
        elseif verb == "QUIT" then
          c:send "221 bye\r\n"
          break
        else
          mail[#mail + 1] = line
          c:send "250 sink\r\n"
        end
      end
    end)
    local results = five(function(i)
      local source = smtp.message {
        headers = { subject = "number " .. i },
        body = ltn12.source.chain(ltn12.source.string "Zw\xc3\xb6lf",
          mime.encode "base64"),
      }
      return smtp.send { from = "<a@here>", rcpt = { "<b@there>", "<c@there>" },
        source = source, server = "127.0.0.1", port = port }
    end)
    assert.same({ 1, 1, 1, 1, 1 }, results)
    local subjects = {}
    for i, mail in ipairs(mails) do
      assert.matches("MAIL FROM:<a@here>.*RCPT TO:<c@there>.*WnfDtmxm", mail)
      subjects[i] = mail:match "Subject: number (%d)"
    end
    table.sort(subjects)
    assert.equal("12345", table.concat(subjects))
  end)

  it("socket.ftp gets and puts files, several at once", function()
    local ftp = require "socket.ftp"
    local files = {}
    local port = serve(function(c)
      local data
      local function command(line)
        local verb, name = line:match "^(%a+) ?(.*)$"
        verb = verb:upper()
        if verb == "EPSV" then
          data = assert(socket.bind("127.0.0.1", 0))
          return ("229 here (|||%d|)"):format((select(2, data:getsockname())))
        elseif verb == "RETR" or verb == "STOR" then
          c:send "150 wait\r\n"
          local other = assert(data:accept())
          data:close()
          if verb == "STOR" then
            files[name] = other:receive "*a"
          else
            meet()
            other:send(files[name])
          end
          other:close()
          return "226 done"
        end
        return verb == "USER" and "331 who" or verb == "QUIT" and "221 bye" or "200 yes"
      end
      c:send "220 sink\r\n"
      for line in function() return c:receive() end do
        c:send(command(line) .. "\r\n")
      end
    end)
    local url = "ftp://me:secret@127.0.0.1:" .. port .. "/file"
    local text = ("0123456789abcdef"):rep(64 * 1024)
    local sizes = five(function(i) return (assert(ftp.put(url .. i, text .. i))) end)
    for i = 1, 5 do assert.equal(#text + 1, sizes[i]) end
    local results = five(function(i) return (assert(ftp.get(url .. i))) end)
    for i = 1, 5 do assert.is_true(results[i] == text .. i) end
  end)

  it("redis waits for five lists at a time", function()
    local real = servers.redis()
    local redis = require "redis"
    local results = five(function(i)
      local client = redis.connect("127.0.0.1", real.port)
      assert(client:set("key" .. i, "value " .. i))
      assert(client:rpush("list" .. i % 5 + 1, "x")) -- for the next one
      assert.same({ "list" .. i, "x" }, client:blpop("list" .. i, 60))
      local value = client:get("key" .. i)
      client:quit()
      return value
    end)
    assert.same({ "value 1", "value 2", "value 3", "value 4", "value 5" }, results)
  end)

  it("redis subscribes inside an iterator", function()
    local real = servers.redis()
    local redis = require "redis"
    local listener = redis.connect("127.0.0.1", real.port)
    local heard = {}
    local task = atoll.spawn(function()
      for message, abort in listener:pubsub { subscribe = { "news" } } do
        heard[#heard + 1] = message.payload
        if message.payload == "end" then abort() end
      end
    end)
    local client = redis.connect("127.0.0.1", real.port)
    events.retry("the subscription", function()
      return client:publish("news", "first") == 1
    end)
    client:publish("news", "end")
    task:join()
    assert.same({ 1, "first", "end" }, heard)
  end)

  it("copas schedules its own in one fiber", function()
    package.loaded["socket.http"] = nil -- it wants to be there first
    local copas = require "copas"
    local before = 0
    local others = atoll.spawn(function()
      while true do
        socket.sleep(0)
        before = before + 1
      end
    end)
    local listener = assert(socket.bind("127.0.0.1", 0))
    local port = math.tointeger((select(2, listener:getsockname())))
    local answers, left = {}, 3
    copas.addserver(listener, function(c)
      c = copas.wrap(c)
      local line = c:receive()
      c:send(line:upper() .. "\n")
    end)
    for i = 1, 3 do
      copas.addthread(function()
        local c = socket.tcp()
        assert(copas.connect(c, "127.0.0.1", port))
        c = copas.wrap(c)
        assert(c:send("client " .. i .. "\n"))
        answers[i] = c:receive()
        left = left - 1
      end)
    end
    local began = socket.gettime()
    while left > 0 and socket.gettime() - began < 120 do copas.step(1) end
    others:cancel()
    listener:close()
    assert.same({ "CLIENT 1", "CLIENT 2", "CLIENT 3" }, answers)
    assert.is_true(before > 0)
  end)

  describe("LuaSec", function()
    local ssl, key, cert
    before_each(function()
      ssl = require "ssl"
      cert, key = certificate()
    end)

    -- Serves with TLS.
    local function serve_tls(fn)
      return serve(function(c)
        local conn = assert(ssl.wrap(c, { mode = "server", protocol = "any",
          key = key, certificate = cert }))
        if conn:dohandshake() then fn(conn) end
        conn:close()
      end)
    end

    local function connect(port)
      local c = assert(socket.connect("127.0.0.1", port))
      local conn = assert(ssl.wrap(c, { mode = "client", protocol = "any",
        verify = "none" }))
      assert(conn:dohandshake())
      return conn
    end

    it("asks several at once with ssl.https", function()
      local https = require "ssl.https"
      local port = serve_tls(slow_http)
      local bodies = five(function(i)
        return (https.request(("https://127.0.0.1:%d/%d"):format(port, i)))
      end)
      assert.same({ "/1", "/2", "/3", "/4", "/5" }, bodies)
    end)

    it("reads lines, counts and all, and sends megabytes", function()
      local text = ("0123456789abcdef"):rep(100 * 1024)
      local port = serve_tls(function(conn)
        conn:send "one\r\n"
        socket.sleep(0.01)
        conn:send "two"
        socket.sleep(0.01)
        conn:send "\nthree"
        assert(conn:receive(#text) == text)
        conn:send(text)
      end)
      local conn = connect(port)
      assert.equal("one", conn:receive())
      assert.equal("a two", conn:receive("*l", "a "))
      assert.equal("+three", conn:receive(6, "+"))
      assert.equal(#text, conn:send(text))
      assert.is_true(conn:receive "*a" == text)
      assert.same({ nil, "closed", "" }, { conn:receive "*a" })
      conn:close()
    end)

    it("keeps time limits", function()
      local port = serve_tls(function(conn)
        conn:send "abc"
        conn:receive()
        conn:send "def\n"
      end)
      local conn = connect(port)
      local got = ""
      local function receive()
        local _, err, partial = conn:receive(100)
        assert.equal("wantread", err)
        got = got .. partial
      end
      assert.equal(1, conn:settimeout(0))
      receive()
      conn:settimeout(0.01)
      receive()
      conn:settimeout(0.01, "t")
      conn:settimeout(nil)
      receive()
      conn:settimeout(-1, "t")
      if #got < 3 then got = got .. conn:receive(3 - #got) end
      assert.equal("abc", got)
      conn:send "go on\n"
      assert.equal("def", conn:receive())
      conn:close()
    end)

    it("tells who waits that the connection was closed", function()
      local port = serve_tls(function(conn) conn:receive() end)
      local conn = connect(port)
      local task = atoll.spawn(function() return conn:receive() end)
      socket.sleep(0.01)
      conn:close()
      assert.same({ nil, "closed", "" }, { task:join() })
      assert.equal(-1, conn:getfd())
      task = nil -- luacheck: ignore
    end)

    it("is something to select", function()
      local port = serve_tls(function(conn)
        socket.sleep(0.01)
        conn:send "two\nlines\n"
        conn:receive()
      end)
      local conn = connect(port)
      conn:settimeout(0)
      local line, err = conn:receive()
      while err == "wantread" do
        assert.equal(conn, socket.select({ conn }, nil, 10)[1])
        line, err = conn:receive()
      end
      assert.equal("two", line)
      assert.equal(conn, socket.select({ conn }, nil, 10)[1]) -- it has read ahead
      assert.equal("lines", conn:receive())
      assert.equal(conn, select(2, socket.select(nil, { conn }, 10))[1])
      conn:close()
    end)

    it("stays usable when a wait is cancelled", function()
      local port = serve_tls(function(conn)
        conn:send(conn:receive() .. "\n")
        conn:receive()
      end)
      local conn = connect(port)
      local task = atoll.spawn(function() conn:receive() end)
      socket.sleep(0.001)
      task:cancel()
      task:join()
      conn:send "again\n"
      assert.equal("again", conn:receive())
      conn:close()
    end)

    it("ends wherever its peer vanishes", function()
      -- Between the two ends, it lets n bytes through.
      local function cut(target, n)
        local relay = assert(socket.bind("127.0.0.1", 0))
        local task = atoll.spawn(function()
          local client = relay:accept()
          local far = socket.connect("127.0.0.1", target)
          local function pump(from, to)
            repeat
              from:settimeout(n <= 0 and 0 or nil)
              local piece = n > 0 and from:receive(1)
              n = n - 1
            until not piece or not to:send(piece)
            from:close()
            to:close()
          end
          local other = atoll.spawn(pump, far, client)
          pump(client, far)
          other:join()
          relay:close()
        end)
        return math.tointeger((select(2, relay:getsockname()))), task
      end
      local port = serve_tls(function(conn)
        conn:send(tostring(conn:receive()) .. "\n")
        conn:receive "*a"
      end)
      for n = 0, 4000, 97 do
        local near, task = cut(port, n)
        local c = assert(socket.connect("127.0.0.1", near))
        local conn = assert(ssl.wrap(c, { mode = "client", protocol = "any" }))
        local ok, err = conn:dohandshake()
        local shaken = ok
        if ok then
          conn:send "question\n"
          ok, err = conn:receive()
        end
        assert.is_true(ok == "question" or type(err) == "string")
        if not ok then
          assert.is_true(shaken or not conn:dohandshake()) -- although errno is 0
          conn:send "question\n"
          assert.is_nil((conn:receive()))
        end
        conn:close()
        task:join()
      end
    end)

    it("blocks while an app loads", function()
      local real = servers.openssl(cert, key)
      local h = host.start { files = { ["app.lua"] = ([[
        local body = require "ssl.https".request "https://127.0.0.1:%d/"
        return function() return body end]]):format(real.port) } }
      assert.matches("s_server", wire.ask(h, "/").body)
      h:log_wait "network calls outside a fiber block the thread"
      h:stop()
      assert.equal(1, h:count "network calls outside a fiber block the thread")
    end)

    it("asks a server of openssl's", function()
      local https = require "ssl.https"
      local port = servers.openssl(cert, key)
      local body, status = https.request("https://127.0.0.1:" .. port.port .. "/")
      assert.equal(200, status)
      assert.matches("s_server", body)
    end)
  end)

  it("end in time with atoll.timeout", function()
    local http = require "socket.http"
    local port = serve(function(c) c:receive "*a" end)
    local url = "http://127.0.0.1:" .. port .. "/"
    local _, _, code = atoll.timeout(0.02, http.request, url)
    assert.equal("ETIMEDOUT", code)
    collectgarbage() -- nobody else closes what it had
    collectgarbage()
  end)

  it("block while an app loads, which the log says once", function()
    local other = host.start { app = [[app:get("/", function()
      atoll.sleep(0.01)
      return "at load"
    end)]] }
    local h = host.start { files = { ["app.lua"] = ([[
      local http = require "socket.http"
      local body = http.request "%s"
      return function() return body end]]):format(other.url) } }
    assert.equal("at load", wire.ask(h, "/").body)
    h:log_wait "network calls outside a fiber block the thread"
    h:stop()
    assert.equal(1, h:count "network calls outside a fiber block the thread")
  end)

  it("say when descriptors run out, and go on when there are some", function()
    local h = host.start { shell = "ulimit -n 80", app = [[
      local socket = require "socket"
      local server = socket.bind("127.0.0.1", 0)
      local _, port = server:getsockname()
      app:get("/", function()
        local list, failed = {}, {}
        local function fill()
          repeat
            local c = socket.tcp4()
            list[#list + 1] = c
          until not c
        end
        fill()
        failed[1] = select(2, socket.connect("127.0.0.1", port))
        fill()
        failed[2] = select(2, socket.udp4())
        failed[3] = select(2, require "socket.unix"())
        table.remove(list):close()
        list[#list + 1] = assert(socket.connect("127.0.0.1", port))
        fill()
        failed[4] = select(2, server:accept())
        for _, c in ipairs(list) do c:close() end
        assert(server:accept():close())
        return failed
      end)]] }
    local text = '"Too many open files"'
    local all = "[" .. table.concat({ text, text, text, text }, ",") .. "]"
    -- On one connection: one that ends gives a descriptor back in the middle of it.
    local c = wire.connect(h)
    for _ = 1, 2 do assert.equal(all, c:ask("/").body) end
  end)

  it("leave no descriptor", function()
    local h = host.start { app = [[
      local socket = require "socket"
      local server = socket.bind("127.0.0.1", 0)
      local _, port = server:getsockname()
      app:get("/cancel", function()
        local list = {}
        for i = 1, 20 do
          list[i] = atoll.spawn(function()
            local c = socket.connect("127.0.0.1", port)
            if i % 3 == 0 then socket.select({ c }, nil) end
            c:receive(i % 2)
          end)
        end
        atoll.sleep(0.02)
        for i = 1, 20 do list[i]:cancel() end
        for i = 1, 20 do list[i]:join() end
        server:settimeout(0)
        while server:accept() do end
        list = nil
        collectgarbage()
        collectgarbage()
        return "done"
      end)]] }
    local before = h:held()
    for _ = 1, 3 do assert.equal("done", wire.ask(h, "/cancel").body) end
    wire.finish()
    events.poll(function() return before .. " and " .. h:descriptors() end, function()
      return h:descriptors() <= before
    end)
  end)
end)
