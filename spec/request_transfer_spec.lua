-- Requests that another isolate answers, with their bodies and connections.
local atoll = require "atoll"
local events = require "support.events"
local host = require "support.host"
local load = require "support.load"
local wire = require "support.wire"

local WORKER = [[
local atoll = require "atoll"
local app = atoll.app()
app:get("/who", function() return "worker " .. atoll.isolate.name() end)
app:get("/id", function(req) return req.id .. " " .. req.remote end)
app:post("/echo", function(req) return req:text() end)
app:post("/half", function(req) return req:text() end)
app:post("/drip", function(req)
  return atoll.stream(function(write)
    for piece in req:chunks() do write(piece) end
  end)
end)
app:post("/ignore", function() return "ignored" end)
app:get("/fail", function() error "on purpose" end)
app:get("/big", function() return ("x"):rep(4000000) end)
app:get("/bye", function() return 200, "bye", { Connection = "close" } end)
app:get("/slow", function() atoll.sleep(0.05) return "slow" end)
app:get("/stuck", function() while true do atoll.sleep(1) end end)
app:get("/early/:name", function(req) return req.params.name end)
while true do
  local value = atoll.isolate.port:receive()
  if value == "sleep" then atoll.sleep(60) end
  local req = value.req or value
  if req.path == "/respond" then
    assert(req:respond(201, { route = req.route, ctx = next(req.ctx) }))
    local ok, message = pcall(req.text, req)
    assert(not ok and message:find "the request is over")
  elseif req.path == "/wrapped" then
    req:respond(value.user)
  elseif req.path == "/body" then
    req:respond(req:text() .. req.headers["x-y"] .. req.query.q)
  elseif req.path == "/bad" then
    local _, message = pcall(req.respond, req, 99, "no")
    assert(req:respond(500, message))
  elseif req.path == "/drop" then
    req, value = nil, nil
    collectgarbage()
    collectgarbage()
  elseif req.path == "/exit" then
    rawset(_G, "kept", req) -- else the collector may answer it first
    break
  else
    app:handle(req)
  end
end
]]

local APP = [[
local worker
app:on("start", function()
  worker = assert(atoll.isolate.spawn("worker", nil, { name = "hands" }))
end)
local function give(req)
  local headers = req.headers
  local ok, message, code = req:transfer(worker)
  if not ok then return 502, message .. " " .. code end
  for _, use in ipairs { function() return req.method end,
    function() return headers.host end, function() req:text() end,
    function() req:transfer(worker) end, function() req:respond "x" end } do
    local used, why = pcall(use)
    if used or not why:find("the request was transferred", 1, true) then
      atoll.log.error("it can be used: " .. tostring(why))
    end
  end
  return "for nobody"
end
app:get("/local", function() return "local" end)
app:get("/early/:name", function(req) return req.params.name, give(req) end)
app:get("/begun", function(req, res)
  res:write("x")
  local ok, message = pcall(req.transfer, req, worker)
  res:write(tostring(ok) .. message:match "[^:]*$")
end)
app:post("/half", function(req)
  assert("first" == req:read(5))
  return give(req)
end)
app:get("/error", function(req) give(req) error "after all" end)
app:get("/wrapped", function(req)
  assert(worker:send { req = req, user = "ann" })
end)
app:get("/back", function(req)
  worker:kill()
  worker:join()
  local ok, message, code = req:transfer(worker)
  return message .. " " .. code .. " " .. req.path .. tostring(ok)
end)
app:get("/lost", function(req)
  assert(worker:send "sleep")
  assert(worker:send(req))
  worker:kill()
end)
app:post("/left", function(req)
  assert(not req:text())
  for _, value in ipairs { req, { req = req } } do
    atoll.log.info("left: %s %s %s", table.unpack({ worker:send(value) }, 1, 3))
  end
end)
app:any("/*", give)
]]

local function start(options)
  options = options or {}
  return host.start { isolates = options.isolates,
    files = { ["app.lua"] = host.app(APP), ["worker.lua"] = WORKER },
    set = options.set, args = options.args }
end

-- An app that serves a listener of its own, too, and what it says of who asks.
local TELL = [[
local function tell(req)
  return ("%s|%s|%s|%s|%s"):format(req.remote, req.ip, req.scheme, req.host, req.id)
end
]]
local OWN = [[
local worker, address
app:on("start", function()
  worker = assert(atoll.isolate.spawn "worker")
  local listener = assert(atoll.net.listen "127.0.0.1:0")
  address = listener:name()
  local own = atoll.app()
  own:get("/here", tell)
  own:get("/there", function(req) return req:transfer(worker) end)
  own:get("/later", function(req)
    local first = tell(req)
    assert(worker:send { req = req, first = first })
  end)
  atoll.spawn(atoll.http.serve, listener, own, { trusted_proxies = TRUSTED }):quiet()
end)
app:get("/address", function() return address end)
]]

local function post(path, body, more)
  return ("POST %s HTTP/1.1\r\nHost: a\r\n%sContent-Length: %d\r\n\r\n%s"):format(path,
    more or "", #body, body)
end

describe("a request given to another isolate", function()
  after_each(function() host.finish() end)

  it("is answered there, and its connection comes back", function()
    local h = start()
    local c = wire.connect(h)
    for _ = 1, 20 do
      assert.equal("worker hands", c:ask("/who").body)
      assert.equal("local", c:ask("/local").body)
    end
    assert.equal("ann", c:ask("/early/ann").body)
    c:close()
    h:term()
    h:ended_well()
    assert.falsy(h.log:find " error ")
  end)

  it("keeps its id and its client's address", function()
    local h = start { set = { access_log = "stdout" } }
    local c = wire.connect(h)
    local id, remote = c:ask("/id").body:match "^(%x+) (.*)$"
    assert.equal(16, #id)
    assert.truthy(remote:find "^127%.0%.0%.1:%d+$")
    c:ask "/local"
    h:term()
    h:ended_well()
    local lines = {}
    for line in h.out:gmatch "[^\n]+" do lines[#lines + 1] = line end
    assert.equal(2, #lines, h.out)
    table.sort(lines)
    assert.truthy(lines[1]:find('"GET /id HTTP/1.1" 200 ', 1, true), h.out)
    assert.truthy(lines[1]:find(id, 1, true), h.out)
  end)

  it("is of the client that it was where it came to", function()
    for _, case in ipairs {
      -- Whom its own listener believes, and whom the app does; what is told.
      { '"127.0.0.1"', nil, "203%.0%.113%.9|203%.0%.113%.9|https|b%.example|from%-it" },
      { "{}", "127.0.0.1", "127%.0%.0%.1:%d+|127%.0%.0%.1|http|a|%x+" },
    } do
      local h = host.start { files = {
        ["app.lua"] = TELL .. host.app((OWN:gsub("TRUSTED", case[1]))),
        ["worker.lua"] = TELL .. [[
          local atoll = require "atoll"
          local app = atoll.app()
          app:any("/*", tell)
          for value in atoll.isolate.port:messages() do
            if value.first then
              assert(value.req:respond(value.first .. " " .. tell(value.req)))
            else
              app:handle(value)
            end
          end]],
      }, set = { trusted_proxies = case[2] } }
      local port = wire.ask(h, "/address").body:match ":(%d+)$"
      local c = wire.connect { port = tonumber(port) }
      local function ask(path)
        return c:ask(("GET %s HTTP/1.1\r\nHost: a\r\nX-Request-Id: from-it\r\n"
          .. "X-Forwarded-For: 203.0.113.9\r\nX-Forwarded-Proto: https\r\n"
          .. "X-Forwarded-Host: b.example\r\n\r\n"):format(path)).body
      end
      assert.matches("^" .. case[3] .. "$", ask "/here")
      assert.matches("^" .. case[3] .. "$", ask "/there")
      local before, after = ask("/later"):match "^(.*) (.*)$"
      assert.equal(before, after)
      c:close()
      h:stop()
    end
  end)

  it("meets routes that lie where those of its app do", function()
    local own = [[
      local worker
      app:on("start", function() worker = assert(atoll.isolate.spawn "worker") end)
      app:any("/*", function(req) return req:transfer(worker) end)
      app:get("/", function(req) return req:transfer(worker) end)]]
    local hands = [[
      local atoll = require "atoll"
      local app = atoll.app()
      app:use("/in", function(req, next) return "in " .. next(req) end)
      app:get("/", function(req) return "root " .. req.path end)
      app:get("/in/:name", function(req)
        return req.params.name .. " " .. req.path .. " " .. req.route
      end)
      for req in atoll.isolate.port:messages() do app:handle(req) end]]
    local h = host.start { config = "atoll.lua", files = {
      ["atoll.lua"] = [[return { apps = {
        { path = "/blog", dir = "blog", isolates = 1 },
        { dir = "site", isolates = 1 } } }]],
      ["blog/app.lua"] = host.app(own), ["blog/worker.lua"] = hands,
      ["site/app.lua"] = host.app(own), ["site/worker.lua"] = hands,
    } }
    local c = wire.connect(h)
    for _ = 1, 2 do
      assert.equal("in ann /blog/in/ann /blog/in/:name", c:ask("/blog/in/ann").body)
      assert.equal("in ann /in/ann /in/:name", c:ask("/in/ann").body)
    end
    assert.equal("root /blog", c:ask("/blog").body)
    assert.equal("root /blog/", c:ask("/blog/").body)
    assert.equal("root /", c:ask("/").body)
    assert.equal(404, c:ask("/blog/none").status)
    assert.equal(404, c:ask("/other").status)
  end)

  it("brings its body, what has come of it and what has not", function()
    local h = start()
    local c = wire.connect(h)
    for _, size in ipairs { 0, 1, 1000, 64 * 1024, 300000 } do
      local body = ("%d "):format(size):rep(size // 4 + 1)
      assert.equal(body, c:ask(post("/echo", body)).body)
      -- An answer that begins while much of the body is still to come closes.
      assert.equal(body, wire.ask(h, post("/drip", body)).body)
      assert.equal(body, c:ask(post("/half", "first" .. body)).body)
    end
    -- In pieces, before and after it has gone.
    local text = post("/drip", "0123456789")
    for cut = 1, #text - 1 do
      c:send(text:sub(1, cut))
      assert.equal("local", wire.ask(h, "/local").body)
      assert.equal("0123456789", c:send(text:sub(cut + 1)):receive().body)
    end
    assert.equal("abc1v2", c:ask("POST /body?q=2 HTTP/1.1\r\nHost: a\r\nX-Y: v\r\n"
      .. "Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n3\r\nbc1\r\n0\r\n\r\n").body)
    local expecting = "POST /echo HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n"
      .. "Content-Length: 3\r\n\r\n"
    c:send(expecting)
    assert.equal(100, c:receive().status)
    assert.equal("abc", c:send("abc"):receive().body)
    assert.equal("ignored", c:ask(post("/ignore", ("x"):rep(20000))).body)
    assert.equal("local", c:ask("/local").body)
  end)

  it("keeps its place among those that were sent at once", function()
    local h = start()
    local c = wire.connect(h)
    local get = "GET %s HTTP/1.1\r\nHost: a\r\n\r\n"
    local sent, expected = {}, {}
    for i = 1, 300 do
      local kind = i % 4
      if kind == 0 then
        sent[i], expected[i] = get:format "/local", "local"
      elseif kind == 1 then
        sent[i], expected[i] = get:format("/early/" .. i), tostring(i)
      elseif kind == 2 then
        expected[i] = ("%d,"):format(i):rep(i)
        sent[i] = post("/echo", expected[i])
      else
        sent[i], expected[i] = get:format "/who", "worker hands"
      end
    end
    c:send(table.concat(sent))
    for i = 1, #expected do assert.equal(expected[i], c:receive().body) end
  end)

  it("is answered in its time, however much has been sent behind it", function()
    local body = ("x"):rep(200000)
    local c = wire.connect(start())
    c:send("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n" .. post("/echo", body))
    assert.equal("slow", c:receive().body)
    assert.equal(body, c:receive().body)
  end)

  it("is answered by whoever holds it", function()
    local h = start()
    local c = wire.connect(h)
    local res = c:ask "/respond"
    assert.same({ 201, '{"route":"/*"}' }, { res.status, res.body })
    assert.equal("ann", c:ask("/wrapped").body)
    assert.truthy(c:ask("/bad").body:find "99 is not a status")
    assert.equal(500, c:ask("/fail").status)
    h:log_wait "GET /fail: .*worker.lua:%d+: on purpose"
    assert.equal(404, c:ask("/nowhere").status)
    assert.equal(4000000, #c:ask("/big").body)
    assert.equal("worker hands", c:ask("/who").body)
  end)

  it("that is dropped is a 500", function()
    local h = start()
    local c = wire.connect(h)
    assert.equal(500, c:ask("/drop").status)
    h:log_wait "GET /drop: the request was dropped unanswered"
    assert.equal("worker hands", c:ask("/who").body)
  end)

  it("ends its connection when the answer says so, or the client leaves", function()
    local h = start()
    local c = wire.connect(h)
    assert.equal("bye", c:ask("/bye").body)
    c:wait_end()
    local other = wire.connect(h)
    other:send "GET /stuck HTTP/1.1\r\nHost: a\r\n\r\n"
    assert.equal("worker hands", wire.ask(h, "/who").body)
    other:abort()
    for _ = 1, 3 do assert.equal("worker hands", wire.ask(h, "/who").body) end
  end)

  it("cannot be given twice, nor when its answer has begun", function()
    local h = start()
    assert.equal("xfalsethe answer to the request has begun",
      wire.ask(h, "/begun").body)
    assert.equal("worker hands", wire.ask(h, "/who").body)
    assert.equal("local", wire.ask(h, "/local").body) -- the handler before has ended
    assert.falsy(h.log:find "it can be used")
  end)

  it("is all that an app handles, which says so in words of its users", function()
    local app = atoll.app()
    local line = debug.getinfo(1, "l").currentline + 1
    local ok, message = pcall(function() app:handle "a text" end)
    assert.is_false(ok)
    assert.equal(("spec/request_transfer_spec.lua:%d: app:handle() answers a request, "
      .. "not a text"):format(line), message)
  end)

  it("lets its handler go on, for nobody", function()
    local h = start()
    assert.equal(404, wire.ask(h, "/error").status)
    h:log_wait "after its request was given away: .*app.lua:%d+: after all"
  end)

  it("comes back when there is nobody to take it", function()
    local h = start()
    assert.equal("closed ECLOSED /backnil", wire.ask(h, "/back").body)
    assert.equal(502, wire.ask(h, "/who").status)
    assert.equal("local", wire.ask(h, "/local").body)
  end)

  it("does not go when its client has left", function()
    local h = start()
    local c = wire.connect(h)
    c:send "POST /left HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nx":abort()
    h:log_wait "left: nil closed ECLOSED[^\n]*\n[^\n]*left: nil closed ECLOSED"
    assert.equal("worker hands", wire.ask(h, "/who").body)
  end)

  it("that nobody will take is a 503", function()
    local h = start()
    local c = wire.connect(h)
    assert.equal(503, c:ask("/lost").status)
    assert.equal("local", wire.ask(h, "/local").body)
  end)

  it("is answered 503 when the isolate that has it ends", function()
    local h = start()
    local c, d = wire.connect(h), wire.connect(h)
    d:send "GET /stuck HTTP/1.1\r\nHost: a\r\n\r\n"
    assert.equal("worker hands", c:ask("/who").body)
    c:send "GET /exit HTTP/1.1\r\nHost: a\r\n\r\n"
    assert.equal(503, d:receive().status)
    assert.equal(503, c:receive().status)
    assert.equal("local", c:ask("/local").body)
    assert.equal("local", d:ask("/local").body)
  end)

  -- Requests with bodies of up to 64 KiB; what comes back is exact, or says that it was
  -- not done.
  local function loaded(h, allowed)
    local count = { exact = 0, refused = 0 }
    local number = 0
    return count, load.start(h, { connections = 8, make = function(c)
      number = number + 1
      local size = number % 7 == 0 and number * 977 % 65536 or number * 31 % 700
      c.expected = ("%d:"):format(number):rep(size // 4 + 1):sub(1, size)
      c.path = number % 3 == 0 and "/drip" or "/echo"
      return post(c.path, c.expected)
    end, may_end = function(c)
      -- What has begun to answer piece by piece can only be cut off.
      return allowed and c.path == "/drip" and c.size >= c.at
    end, check = function(response, c)
      if response.status == 200 then
        count.exact = count.exact + 1
        if response.body ~= c.expected then return "another body than was sent" end
      elseif allowed and (response.status == 503 or response.status == 502) then
        count.refused = count.refused + 1
      else
        return response.status .. " " .. response.body
      end
    end })
  end

  it("is exact under load and reloads", function()
    local h = start { isolates = 2, set = { drain_timeout = 60 } }
    local count, run = loaded(h)
    for n = 2, host.SLOW and 4 or 8 do
      run:run(host.SLOW and 100 or 500)
      h:hup()
      h:log_wait("generation " .. n .. " serves")
    end
    run:run(100)
    run:stop()
    assert.is_true(count.exact > 300)
    h:stop()
    assert.falsy(h.log:find "left over")
  end)

  it("is exact or refused when those who answer are killed at any time", function()
    local h = host.start { isolates = 2, files = { ["worker.lua"] = WORKER,
      ["app.lua"] = host.app [[
        local workers = {}
        local function give(req)
          local n = math.random(2)
          if not workers[n] or workers[n]:status() ~= "running" then
            workers[n] = assert(atoll.isolate.spawn "worker")
          end
          local ok, message, code = req:transfer(workers[n])
          if not ok then return 502, message .. " " .. code end
        end
        app:on("start", function()
          atoll.spawn(function()
            while true do
              atoll.sleep(math.random() * 0.03)
              local worker = workers[math.random(2)]
              if worker then worker:kill() end
            end
          end):quiet()
        end)
        app:any("/*", give)]] }, set = { drain_timeout = 0.3 } }
    local count, run = loaded(h, true)
    run:run(host.SLOW and 300 or 3000)
    -- How many live long enough to answer depends on the machine.
    events.retry(function()
      return ("both: %d exact, %d refused"):format(count.exact, count.refused)
    end, function()
      run:run(100)
      return count.exact > 100 and count.refused > 0
    end, 60)
    run:stop()
    h:stop()
  end)

  it("is not lost by reloads, nor by stopping", function()
    local h = start { isolates = 2, set = { drain_timeout = 60 } }
    local list = {}
    for i = 1, 20 do list[i] = wire.connect(h) end
    for _ = 1, 10 do
      for _, c in ipairs(list) do c:send(post("/echo", "text")) end
      h:hup()
      for _, c in ipairs(list) do assert.equal("text", c:receive().body) end
    end
    for _, c in ipairs(list) do c:send(post("/echo", "text")) end
    h:term()
    for _, c in ipairs(list) do assert.equal("text", c:receive().body) end
    h:ended_well()
  end)
end)
