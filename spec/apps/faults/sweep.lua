-- Runs a scenario again and again, for net_faults_spec: each time another system call
-- of it fails. The scenario must do what it should, or say why not; it ends, its
-- neighbour goes on, and no descriptor is left. One line for each failure of which that
-- is not so, then how many faults there were and how many runs went well all the same.
--
-- The arguments: the shim's file, a directory with certificates, how many seconds it
-- may take, the scenario's name, the address of the name server.
local atoll = require "atoll"
package.path = "spec/?.lua;" .. package.path
local faults = require "support.faults"
local http = require "atoll.http"
local socket = require "socket"
local unix = require "socket.unix"
local fs, net = atoll.fs, atoll.net

local file, dir, seconds, name = arg[1], arg[2], tonumber(arg[3]), arg[4]
local shim = faults.open(file)

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
  local ok, why = task:join(10)
  if ok == nil then error("a side does not end: " .. tostring(why), 0) end
  if not ok then error(why, 0) end
end

local text = ("x"):rep(300000)
local serial = 0

local scenarios = {}

-- ---- atoll.net ----

local function answer(s)
  s:settimeout(5)
  local line = s:read "line"
  if line and s:write("echo\n", line, "\n") and s:flush() then
    local data = s:read "all"
    if data then s:write(data) end
  end
end

local function ask(c)
  c:settimeout(1)
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
    local c <close> = need(net.connect(need(l:name()), connect or { timeout = 5 }))
    ask(c)
  end)
  l:close()
  server:join(10)
  if not ok then error(why, 0) end
end

function scenarios.tcp()
  echo("127.0.0.1:0", { backlog = 5 },
    { timeout = 5, nodelay = true, keepalive = true })
end

function scenarios.unix()
  os.remove(dir .. "/s")
  echo("unix:" .. dir .. "/s")
end

function scenarios.tls()
  echo("127.0.0.1:0", { tls = { cert = dir .. "/server", key = dir .. "/key" } },
    { timeout = 5, tls = { ca = dir .. "/ca", name = "server.test" } })
end

function scenarios.udp()
  local a <close> = need(net.udp "127.0.0.1:0")
  local b <close> = need(net.udp "127.0.0.1:0")
  a:settimeout(0.05)
  b:settimeout(0.05)
  need(b:connect(need(a:name())))
  need(b:send "hello")
  local data, from = need(a:receive())
  assert(#data <= 5)
  need(a:send("back", from))
  need(b:receive())
end

-- A name of several addresses, of which the last answers.
function scenarios.names()
  local l <close> = need(net.listen "127.0.0.1:0")
  local accepting = side(function()
    local s <close> = need(l:accept(1))
    s:write "hello\n"
  end)
  local port = need(l:name()):match "%d+$"
  serial = serial + 1
  local ok, why = pcall(function()
    local c <close> = need(net.connect(("n%d.test:%s"):format(serial, port),
      { timeout = 3 }))
    assert(have(c:read("line", 1)) == "hello")
  end)
  l:close()
  local end_ok, end_why = pcall(done, accepting)
  if not ok then error(why, 0) end
  if not end_ok then error(end_why, 0) end
end

-- ---- atoll.http ----

function scenarios.http()
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
      local res = need(http.get(url .. "/", { timeout = 1 }))
      if res.status == 503 then need(nil, "turned away", "EBUSY") end
      assert(res.status == 200 and res.body == "hello")
    end
    local res = need(http.post(url .. "/echo", text, { timeout = 1 }))
    assert(res.body == text)
    res = need(http.get(url .. "/stream", { timeout = 1, stream = true,
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
  local ended, message, code = server:join(10)
  if not ok then error(why, 0) end
  need(ended, message, code)
end

-- ---- LuaSocket ----

local function ls_answer(l)
  l:settimeout(5)
  local s, message = l:accept()
  if not s then
    l:close() -- the client need not wait
    ls(s, message)
  end
  s:settimeout(5)
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
  c:settimeout(1)
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
  if not ok then error(why, 0) end
  if not end_ok then error(end_why, 0) end
end

function scenarios.luasocket()
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

function scenarios.select()
  local l = ls(socket.bind("127.0.0.1", 0))
  local a, b
  local ok, why = pcall(function()
    l:settimeout(2)
    local _, port = ls(l:getsockname())
    a = ls(socket.tcp())
    a:settimeout(0)
    local _, message = a:connect("127.0.0.1", port)
    if message ~= "timeout" then ls(nil, message) end
    if not socket.select({ l }, nil, 2)[1] then ls(nil, "nobody comes") end
    b = ls(l:accept())
    b:settimeout(1)
    ls(b:send "hello\n")
    local got, stop = "", socket.gettime() + 2
    repeat
      socket.select({ a }, nil, 1)
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

function scenarios.datagrams()
  local a = ls(socket.udp4())
  local b
  local ok, why = pcall(function()
    b = ls(socket.udp4())
    ls(a:setsockname("127.0.0.1", 0))
    local ip, port = ls(a:getsockname())
    a:settimeout(0.05)
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

function scenarios.files()
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

function scenarios.isolates()
  local path = dir .. "/isolate.lua"
  local isolate = need(atoll.isolate.spawn(path, "hello"))
  local value, message, code = isolate:join(5)
  need(value, message, code)
  assert(value == "hello")
end

-- ---- the runs ----

local function descriptors() return #assert(fs.list "/proc/self/fd") end

local ticks, over = 0, false
atoll.spawn(function()
  repeat
    atoll.sleep(0.001)
    ticks = ticks + 1
  until over
end)

-- A name server of our own: each name is two addresses, the first of which refuses.
local function name_server(address)
  local s = assert(net.udp(address))
  atoll.spawn(function()
    while true do
      local query, from = s:receive()
      if query and #query > 16 then
        local question = query:sub(13, query:find("\0", 13, true) + 4)
        local four = question:byte(-3) == 1
        local reply = query:sub(1, 2) .. "\x81\x80\0\1\0" .. (four and "\2" or "\0")
          .. "\0\0\0\0" .. question
        if four then
          for _, last in ipairs { 9, 1 } do
            reply = reply .. "\xc0\x0c\0\1\0\1\0\0\0\0\0\4"
              .. string.char(127, 0, 0, last)
          end
        end
        s:send(reply, from)
      end
    end
  end)
end

local problems, tried, well = 0, 0, 0

local function problem(what, ...)
  problems = problems + 1
  print(what:format(...))
end

-- After these nobody needs to be told.
local harmless = { EINTR = true, EAGAIN = true, SHORT = true }

-- One run; whether its fault has come about.
local function run(before, call, code, n)
  local title = call and ("%s, %s %d %s: "):format(name, call, n, code) or name .. ": "
  if call then shim:arm(call, code, n) end
  local began = ticks
  local task = atoll.spawn(xpcall, scenarios[name], function(e)
    return getmetatable(e) == failure and e or debug.traceback(tostring(e))
  end)
  local ok, fine, why = pcall(task.join, task, 30)
  local _, failed = 0, 0
  if call then
    _, failed = shim:counts(call)
    shim:disarm(call)
  end
  if not ok or fine == nil then
    problem("%sdoes not end: %s %s", title, fine, why)
    return false
  end
  if failed > 0 then tried = tried + 1 end
  if fine then
    well = well + 1
  elseif getmetatable(why) ~= failure then
    problem("%s%s", title, why)
  elseif type(why.message) ~= "string" or why.message == ""
    or not tostring(why.code):find "^E?%u+$" then
    problem("%sno reason: %s %s", title, why.message, why.code)
  elseif failed == 0 or harmless[code] and call ~= "pthread_create"
    and not (name == "files" and code == "EAGAIN") then
    problem("%sfails: %s (%s)", title, why.message, why.code)
  end
  local deadline = atoll.now() + 5
  atoll.sleep(0)
  if descriptors() ~= before then
    collectgarbage()
    while descriptors() ~= before do
      if atoll.now() > deadline then
        problem("%s%d descriptors more", title, descriptors() - before)
        return false
      end
      atoll.sleep(0.002)
    end
  end
  while ticks == began do atoll.sleep(0.001) end
  return failed > 0
end

local f = assert(io.open(dir .. "/isolate.lua", "w"))
f:write "return ..."
f:close()
if name == "names" then name_server(arg[5]) end

-- The second time nothing is done for the first time.
for _ = 1, 2 do
  local ok, why = pcall(scenarios[name])
  if not ok then error(type(why) == "table" and why.message or why, 0) end
end
atoll.sleep(0.05)
collectgarbage()
local before = descriptors()
for call in faults.each() do shim:disarm(call) end
run(before)

-- How it may fail; first every first call, then every second, while there is time.
local list = {}
for call, code in faults.each() do
  if shim:counts(call) > 0 then
    list[#list + 1] = { call = call, code = code, n = 1 }
  end
end
local stop = atoll.now() + seconds
while list[1] and problems < 20 and atoll.now() < stop do
  for i = #list, 1, -1 do
    local kind = list[i]
    if atoll.now() >= stop then break end
    if not run(before, kind.call, kind.code, kind.n) then table.remove(list, i) end
    kind.n = kind.n + 1
  end
end
over = true
print(("%s: %d faults, %d runs went well, %d ways left, %d problems"):format(name,
  tried, well, #list, problems))
shim:close()
atoll.exit(problems > 0 and 1 or 0)
