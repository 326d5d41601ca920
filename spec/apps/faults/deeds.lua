-- What a program does with sockets, files and threads, for sweeps in which its calls
-- fail: each deed does what it should, or raises a `failure`, which has a message and a
-- code.
local atoll = require "atoll"
local http = require "atoll.http"
local socket = require "socket"
local unix = require "socket.unix"
local fs, net = atoll.fs, atoll.net

local dir

local patience = 1

-- So many seconds, or more where the machine is slow.
local function within(seconds) return seconds * patience end

-- ---- what a scenario does with what it is given ----

local failure = setmetatable({}, { __name = "failure" })

-- What has come; ends the scenario when that is nil and a reason.
local function need(value, message, code, ...)
  if value ~= nil then return value, message, code, ... end
  error(setmetatable({ message = message, code = code }, failure), 2)
end

-- Of what is read: the end of the file is a reason, too, as another may have failed.
local function have(value, message, code)
  if value == nil and message == nil then message, code = "the end", "EOF" end
  return need(value, message, code)
end

-- LuaSocket has no codes.
local function ls(value, message, ...)
  if value ~= nil then return value, message, ... end
  error(setmetatable({ message = message, code = "LUASOCKET" }, failure), 2)
end

-- Runs a fiber of a scenario, whose failure counts as one of its own.
local function side(fn, ...)
  return atoll.spawn(function(...)
    local ok, why = xpcall(fn, function(e)
      return getmetatable(e) == failure and e or debug.traceback(tostring(e))
    end, ...)
    return ok, why
  end, ...)
end

local function done(task)
  local ok, why = task:join(within(10))
  if ok == nil then error("a side does not end: " .. tostring(why), 0) end
  if not ok then error(why, 0) end
end

local text = ("x"):rep(300000)
local serial = 0

local M = { failure = failure } -- and the deeds, by name

-- From now on each wait may take so many times as long.
function M.be_patient(times) patience = times end

-- ---- atoll.net ----

local function answer(s)
  s:settimeout(within(5))
  local line = s:read "line"
  if line and s:write("echo\n", line, "\n") and s:flush() then
    local data = s:read "all"
    if data then s:write(data) end
  end
end

local function ask(c)
  c:settimeout(within(1))
  need(c:peer())
  need(c:write("hello", "\n"))
  need(c:flush())
  assert(have(c:read "line") == "echo")
  assert(have(c:read(6)) == "hello\n")
  need(c:write(text))
  need(c:flush())
  need(c:shutdown "write")
  local data = need(c:read "all")
  if data ~= text then need(nil, "cut off", "ECUT") end
end

local function echo(address, listen, connect)
  local l <close> = need(net.listen(address, listen))
  local server = atoll.spawn(l.serve, l, answer)
  local ok, why = pcall(function()
    local c <close> = need(net.connect(need(l:name()),
      connect or { timeout = within(5) }))
    ask(c)
  end)
  l:close()
  server:join(within(10))
  if not ok then error(why, 0) end
end

function M.tcp()
  echo("127.0.0.1:0", { backlog = 5 },
    { timeout = within(5), nodelay = true, keepalive = true })
end

function M.unix()
  os.remove(dir .. "/s")
  echo("unix:" .. dir .. "/s")
end

function M.tls()
  echo("127.0.0.1:0", { tls = { cert = dir .. "/server", key = dir .. "/key" } },
    { timeout = within(5), tls = { ca = dir .. "/ca", name = "server.test" } })
end

function M.udp()
  local a <close> = need(net.udp "127.0.0.1:0")
  local b <close> = need(net.udp "127.0.0.1:0")
  a:settimeout(within(0.05))
  b:settimeout(within(0.05))
  need(b:connect(need(a:name())))
  need(b:send "hello")
  local data, from = need(a:receive())
  assert(#data <= 5)
  need(a:send("back", from))
  need(b:receive())
end

-- A name of several addresses, of which the last answers.
function M.names()
  local l <close> = need(net.listen "127.0.0.1:0")
  local accepting = side(function()
    local s <close> = need(l:accept(within(1)))
    s:write "hello\n"
  end)
  local port = need(l:name()):match "%d+$"
  serial = serial + 1
  local ok, why = pcall(function()
    local c <close> = need(net.connect(("n%d.test:%s"):format(serial, port),
      { timeout = within(3) }))
    assert(have(c:read("line", within(1))) == "hello")
  end)
  l:close()
  local end_ok, end_why = pcall(done, accepting)
  if not ok then error(why, 0) end
  if not end_ok then error(end_why, 0) end
end

-- ---- atoll.http ----

function M.http()
  local app = atoll.app()
  app:get("/", function() return "hello" end)
  app:post("/echo", function(req) return req:text() end)
  app:get("/stream", function()
    return atoll.stream(function(write)
      for _ = 1, 3 do write(text) end
    end)
  end)
  local l <close> = need(net.listen "127.0.0.1:0")
  local server = atoll.spawn(function()
    local ended, message, code = http.serve(l, app)
    l:close() -- nobody need wait
    return ended, message, code
  end)
  local ok, why = pcall(function()
    local url = "http://" .. need(l:name())
    for _ = 1, 2 do
      local res = need(http.get(url .. "/", { timeout = within(1) }))
      if res.status == 503 then need(nil, "turned away", "EBUSY") end
      assert(res.status == 200 and res.body == "hello")
    end
    local res = need(http.post(url .. "/echo", text, { timeout = within(1) }))
    assert(res.body == text)
    res = need(http.get(url .. "/stream", { timeout = within(1), stream = true,
      headers = { Connection = "close" } }))
    local size = 0
    repeat
      local piece, message, code = res:read()
      if message then need(piece, message, code) end
      size = size + #(piece or "")
    until not piece
    res:close()
    assert(size == 3 * #text)
  end)
  l:close()
  local ended, message, code = server:join(within(10))
  if not ok then error(why, 0) end
  need(ended, message, code)
end

-- ---- LuaSocket ----

local function ls_answer(l)
  l:settimeout(within(5))
  local s, message = l:accept()
  if not s then
    l:close() -- the client need not wait
    ls(s, message)
  end
  s:settimeout(within(5))
  local ok, why = pcall(function()
    local n = ls(s:receive())
    local data = ls(s:receive(tonumber(n)))
    ls(s:send "echo\n")
    ls(s:send(data))
    ls(s:send(ls(s:receive "*a")))
  end)
  s:close()
  if not ok then error(why, 0) end
end

local function ls_ask(c)
  c:settimeout(within(1))
  ls(c:send "5\n")
  ls(c:send "hello")
  if ls(c:receive()) ~= "echo" or ls(c:receive(5)) ~= "hello" then
    error "not what was sent"
  end
  ls(c:send(text))
  ls(c:shutdown "send")
  local data = ls(c:receive "*a")
  if data ~= text then ls(nil, "cut off") end
end

local function ls_echo(l, connect)
  local server = side(ls_answer, l)
  local c
  local ok, why = pcall(function()
    c = connect()
    ls_ask(c)
  end)
  if c then c:close() end
  l:close()
  local end_ok, end_why = pcall(done, server)
  if not ok and not end_ok and getmetatable(why) == failure then -- one for the other
    local other = getmetatable(end_why) == failure and end_why.message or end_why
    why.message = ("%s; %s"):format(why.message, other)
  end
  if not ok then error(why, 0) end
  if not end_ok then error(end_why, 0) end
end

function M.luasocket()
  local l = ls(socket.bind("127.0.0.1", 0))
  ls_echo(l, function()
    local _, port = ls(l:getsockname())
    local c = ls(socket.connect("127.0.0.1", port))
    c:setoption("tcp-nodelay", true)
    c:getpeername()
    return c
  end)
  os.remove(dir .. "/l")
  l = ls(unix())
  local ok, why = pcall(function()
    ls(l:bind(dir .. "/l"))
    ls(l:listen())
    ls_echo(l, function()
      local c = ls(unix())
      local ok, message = c:connect(dir .. "/l")
      if not ok then
        c:close()
        ls(ok, message)
      end
      return c
    end)
  end)
  l:close()
  if not ok then error(why, 0) end
end

function M.select()
  local l = ls(socket.bind("127.0.0.1", 0))
  local a, b
  local ok, why = pcall(function()
    l:settimeout(within(2))
    local _, port = ls(l:getsockname())
    a = ls(socket.tcp())
    a:settimeout(0)
    local _, message = a:connect("127.0.0.1", port)
    if message ~= "timeout" then ls(nil, message) end
    if not socket.select({ l }, nil, within(2))[1] then ls(nil, "nobody comes") end
    b = ls(l:accept())
    b:settimeout(within(1))
    ls(b:send "hello\n")
    local got, stop = "", socket.gettime() + within(2)
    repeat
      socket.select({ a }, nil, within(1))
      local data, err, partial = a:receive "*l"
      got = got .. (data or partial)
      if err and err ~= "timeout" then ls(nil, err) end
      if socket.gettime() > stop then ls(nil, "nothing comes") end
    until data
    assert(got == "hello")
  end)
  if a then a:close() end
  if b then b:close() end
  l:close()
  if not ok and tostring(why):find "select failed$" then ls(nil, why) end
  if not ok then error(why, 0) end
end

function M.datagrams()
  local a = ls(socket.udp4())
  local b
  local ok, why = pcall(function()
    b = ls(socket.udp4())
    ls(a:setsockname("127.0.0.1", 0))
    local ip, port = ls(a:getsockname())
    a:settimeout(within(0.05))
    ls(b:sendto("hello", ip, port))
    assert(ls(a:receivefrom()) == "hello")
    ls(b:setpeername(ip, port))
    ls(b:send "again")
    assert(ls(a:receive()) == "again")
  end)
  a:close()
  if b then b:close() end
  if not ok then error(why, 0) end
end

-- ---- threads ----

function M.files()
  local path = dir .. "/file"
  need(fs.write(path, text))
  assert(need(fs.read(path)) == text)
  need(fs.append(path, "y"))
  assert(need(fs.stat(path)).size == #text + 1)
  need(fs.copy(path, dir .. "/copy"))
  local f <close> = need(fs.open(dir .. "/copy", "r+"))
  assert(#have(f:read(1000)) == 1000)
  need(f:seek("set", 0))
  need(f:write "abc\n")
  need(f:seek("set", 0))
  assert(have(f:read "line") == "abc")
  need(f:sync())
  need(fs.list(dir))
  need(fs.remove(dir .. "/copy"))
end

function M.isolates()
  local path = dir .. "/isolate.lua"
  local isolate = need(atoll.isolate.spawn(path, "hello"))
  local value, message, code = isolate:join(within(5))
  need(value, message, code)
  assert(value == "hello")
end

-- From now on they do it in that directory, which has certificates.
function M.within(directory) dir = directory end

return M
