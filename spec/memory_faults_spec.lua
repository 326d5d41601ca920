-- Each allocation of Lua's fails in turn: whatever is under way then ends with a clear
-- outcome, nothing is left behind, and the next time it works.
local command = require "support.command"
local core = require "atoll.core.testing"
local host = require "support.host"

-- Under a sanitizer not every one.
local STEP = host.SLOW and 7 or 1

local APP = [[
local seen = 0
app:use(function(req, next, res)
  seen = seen + 1
  res.headers["X-Seen"] = "yes"
  return next(req)
end)
app:get("/", function() return "hello" end)
app:get("/json", function(req)
  return { list = { 1, 2.5, "three", true }, query = req.query }
end)
app:post("/sum", function(req) local n = req:json() return { sum = n.a + n.b } end)
app:post("/form", function(req) return (req:form()).name end)
app:get("/users/:id", function(req, res)
  res:cookie("id", req.params.id)
  return 201, req.headers["x-name"] .. req.params.id, { ["X-More"] = { "a", "b" } }
end)
app:get("/stream", function()
  return atoll.stream(function(write)
    for i = 1, 3 do write(("piece %d\n"):format(i)) end
  end)
end)
app:get("/error", function() error { code = 1 } end)
app:get("/raise", function() error "on purpose" end)
app:get("/halt", function() atoll.halt(403, "no") end)
app:get("/tasks", function()
  local both = assert(atoll.all {
    function() atoll.sleep(0) return 1 end, function() return 2 end,
  })
  return both[1] + both[2] .. ""
end)
app:get("/co", function()
  local co = coroutine.wrap(function(...)
    for i = 1, 3 do coroutine.yield(i .. ...) end
  end)
  return co "x" .. co "y"
end)
app:group("/session", function(group)
  group:use(require "atoll.session" { secret = ("secret"):rep(6) })
  group:get("/kept", function(req)
    req.session.list = { "one", { "two" } }
    return "kept"
  end)
  group:get("/read", function(req)
    local list = req.session.list or { "none", {} }
    return list[1] .. " " .. tostring(list[2][1])
  end)
end)
app:get("/big", function() return ("x"):rep(300000) end)
app:on("error", function(req, err) return 500, "hooked " .. tostring(err) end)
]]

-- The same with what a script does, in a process of its own.
local SCRIPT = [[
local atoll = require "atoll"
local core = require "atoll.core.testing"
local net = atoll.net
local dir, step = arg[1], tonumber(arg[2])

-- What is not answered for want of memory is not waited for long.
local function survives(what, f)
  f(10)
  local n, late, again = 1, 0, nil
  repeat
    core.fault(n)
    local ok, err = pcall(f, 0.05)
    local failed = core.fault()
    local text = tostring(err)
    again = not failed and text:find "ETIMEDOUT" and late < 100 -- a slow machine
    late = again and late + 1 or late
    assert(ok or again or text:find "not enough memory" or text:find "ENOMEM"
      or failed and (text:find "ETIMEDOUT" or text:find "ECLOSED"), text)
    n = again and n or n + step
  until not failed and not again
  f(10)
  print(what, n > 5)
end
local function got(value, message, code)
  if value == nil then error(code or message or "nothing", 0) end
  return value
end

survives("ports and what they carry", function(patience)
  local port <close> = atoll.port()
  local sender = port:sender()
  sender:send { 1, "two", { three = ("x"):rep(1000) }, sender, atoll.buffer "four" }
  assert(#port:receive()[5] == 4)
  local task = atoll.spawn(function()
    local question, note = port:receive()
    note:reply(question)
  end)
  task:quiet()
  local asked, answer, why, code = pcall(sender.call, sender, { 5 }, patience)
  task:cancel()
  if not asked or not answer then error(code or why or answer, 0) end
  assert(answer[1] == 5)
end)

survives("templates", function()
  local page = atoll.template.compile("<% if a then %><%= a .. 'b' %><% end %>", "page")
  assert(page { a = 1 } == "1b")
end)

survives("topics", function()
  local topic = atoll.topic "faults"
  local subscription <close> = topic:subscribe()
  topic:publish { "news", ("x"):rep(300) }
  assert(subscription:receive(1)[1] == "news")
end)

survives("shared dictionaries", function()
  local d = atoll.shared "faults"
  got(d:set("a", { 1, 2, { 3 } }))
  assert(d:get("a")[3][1] == 3)
  got(d:rpush("l", "x"))
  assert(d:lpop "l" == "x")
end)

survives("isolates that are spawned", function(patience)
  local h = assert(atoll.isolate.spawn(dir .. "/one.lua", { 1 }))
  got(h:join(math.max(patience, 5)))
end)

survives("sockets that are transferred", function(patience)
  local listener <close> = got(net.listen "127.0.0.1:0")
  local client <close> = got(net.connect(listener:name()))
  local server <close> = got(listener:accept(patience))
  local port <close> = atoll.port()
  local task = atoll.spawn(function() return port:receive(patience) end)
  task:quiet()
  local ok, why, code = server:transfer(port:sender(), patience)
  local moved <close> = task:join(patience)
  if not ok or not moved then error(code or why or "ENOMEM", 0) end
  client:write "ping\n"
  assert(got(moved:read(nil, patience)) == "ping")
end)

-- But those that work for all.
local function threads()
  local n = 0
  for _, id in ipairs(assert(atoll.fs.list "/proc/self/task")) do
    local name = atoll.fs.read(("/proc/self/task/%s/comm"):format(id))
    if name and name ~= "files\n" then n = n + 1 end
  end
  return n
end
local before = threads()
survives("pools", function(patience)
  local pool <close> = atoll.pool { module = "sums", timeout = patience }
  assert(got(pool:call("sum", 1, 2)) == 3)
end)
local one = atoll.pool { module = "sums", size = 1 }
survives("calls that wait for one worker", function()
  local tasks, problem = {}, nil
  for i = 1, 3 do tasks[i] = atoll.spawn(one.call, one, "sum", i, 1):quiet() end
  for i, task in ipairs(tasks) do
    local value, message, code = task:join(10)
    assert(code ~= "ETIMEDOUT", "it waits in vain")
    if value then assert(value == i + 1) else problem = message .. " " .. code end
  end
  assert(one:status().waiting == 0, "somebody waits")
  if problem then error(problem, 0) end
end)
one:close()
for _ = 1, 6000 do -- each of its isolates ends by itself
  collectgarbage()
  if threads() <= before then break end
  atoll.sleep(0.01)
end
if threads() > before then print("left:", threads() - before) end

-- Room for a connection that is lost would be missed: there is only one.
local port = atoll.port()
local server = assert(atoll.isolate.spawn(dir .. "/server.lua", port:sender()))
local url = "http://" .. port:receive(10)
atoll.http.limits { per_host = 1, total = 1 }
survives("requests that wait for a connection", function()
  local tasks, problem = {}, nil
  for i = 1, 3 do tasks[i] = atoll.spawn(atoll.http.get, url):quiet() end
  for _, task in ipairs(tasks) do
    local answer, message, code = task:join(10)
    assert(code ~= "ETIMEDOUT", "it waits in vain")
    if not answer then problem = message .. " " .. code end
  end
  if problem then error(problem, 0) end
end)
server:kill()

survives("tasks, channels and semaphores", function(patience)
  local channel = atoll.channel(1)
  local one = atoll.semaphore(1)
  local t = atoll.spawn(function()
    for i = 1, 3 do channel:send(i) end
    channel:close()
  end)
  t:quiet()
  local sum = 0
  local all = atoll.spawn(function() for v in channel:values() do sum = sum + v end end)
  all:quiet()
  local ok, why, code = t:join(patience)
  if code then
    all:cancel()
    error(code, 0)
  end
  ok, why, code = all:join(patience)
  if code then error(code, 0) end
  one:with(function() assert(sum == 6) end)
end)
]]

-- That one has all the memory that it wants.
local SERVER = [[
local listener = assert(require "atoll.net".listen "127.0.0.1:0")
local sender = ...
sender:send(listener:name())
listener:serve(function(socket)
  while socket:read_until "\r\n\r\n" do
    socket:write "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
  end
end)
]]

local REQUESTS = {
  ["/sum"] = { "POST /sum", 'Content-Length: 13\r\n\r\n{"a":1,"b":2}' },
  ["/form"] = { "POST /form", "Content-Length: 8\r\nContent-Type: "
    .. "application/x-www-form-urlencoded\r\n\r\nname=ann" },
  ["/json"] = { "GET /json?a=1&b=%20x" },
  ["/users"] = { "GET /users/a%20b", "X-Name: me\r\n\r\n" },
}
local plain = "/ /stream /error /raise /halt /tasks /co /big /none /session/kept"
for name in plain:gmatch "%S+" do
  REQUESTS[name] = { "GET " .. name }
end
for name, parts in pairs(REQUESTS) do
  REQUESTS[name] = parts[1] .. " HTTP/1.1\r\nHost: a\r\nConnection: close\r\n"
    .. (parts[2] or "\r\n")
end

-- Calls f(n) for n = 1, ... until nothing has failed: ended() says whether it has.
local function each(f, ended)
  local n = 1
  repeat
    f(n)
    local failed = ended()
    n = n + (n < 100 and 1 or STEP)
    assert(n < 100000, "it never works")
  until not failed
  return n
end

describe("memory that runs out", function()
  local dir

  setup(function()
    dir = host.directory { ["app.lua"] = host.app((APP:gsub("\n", " "))) }
  end)
  teardown(host.finish)

  it("while an app loads fails that, whichever allocation it is", function()
    local n, app, why, failed = 1
    repeat
      app, why = core.load(dir, n)
      assert(app or why:find "not enough memory", why)
      failed = not app or app:fault() -- or it did without
      if app and failed then app:close() end
      n = n + (n < 300 and 1 or 17 * STEP)
    until not failed
    assert.truthy(n > 500, n)
    assert.truthy(app:exchange(REQUESTS["/"]):find "hello")
    app:close()
  end)

  for name, request in pairs(REQUESTS) do
    it("in a request is answered: " .. name, function()
      local app = assert(core.load(dir))
      local whole = app:exchange(request)
      local status = whole:match "^HTTP/1.1 (%d+)"
      local outcomes = {}
      each(function(n)
        app:fault(n)
        local answer = app:exchange(request)
        local got = answer:match "^HTTP/1.1 (%d+)"
        -- Cut off is what has begun.
        local clear = answer == "" or got == status or got == "503" or got == "500"
        assert(clear, answer)
        local of_memory = got ~= "500" or got == status or answer:find "memory"
        assert(of_memory, answer)
        outcomes[got or "cut"] = true
      end, function() return app:fault() end)
      assert.is_true(outcomes[status])
      local again = app:exchange(request)
      assert.equal(status, again:match "^HTTP/1.1 (%d+)")
      app:close()
    end)
  end

  -- What could not be unpacked was taken for no session, and its cookie taken back.
  it("ends no session", function()
    local app = assert(core.load(dir))
    local cookie = app:exchange(REQUESTS["/session/kept"]):match "Set%-Cookie: ([^;]*)"
    local request = "GET /session/read HTTP/1.1\r\nHost: a\r\nConnection: close\r\n"
      .. "Cookie: " .. cookie .. "\r\n\r\n"
    local whole = app:exchange(request)
    assert.matches("\r\n\r\none two$", whole)
    each(function(n)
      app:fault(n)
      local answer = app:exchange(request)
      if answer:find "^HTTP/1.1 200 " then assert.matches("\none two$", answer) end
      assert.is_nil(answer:find("Set-Cookie", 1, true), answer)
    end, function() return app:fault() end)
    app:close()
  end)

  it("in a script is an error there, and nothing else", function()
    command.begin()
    command.write("main.lua", SCRIPT)
    command.write("one.lua", "return ...\n")
    command.write("server.lua", SERVER)
    command.write("sums.lua", "return { sum = function(a, b) return a + b end }\n")
    local code, out, err = command.atoll(("run DIR/main.lua DIR %d"):format(STEP))
    command.finish()
    assert.equal(0, code, err)
    assert.is_nil(out:find "left")
    assert.equal(10, select(2, out:gsub("\ttrue\n", "")), out)
  end)
end)
