-- What clients do with a host while calls of it fail: the scenarios of a host that
-- serves (serving.lua), which are also what whole lives do in their middle (whole.lua).
local events = require "support.events"
local frames = require "support.frames"
local introduce = require "support.introduce"
local run = require "support.sweep.run"
local uv = require "luv"
local wire = require "support.wire"

local M = { PATIENCE = require "support.host".SLOW and 20 or 8 }

local PATIENCE = M.PATIENCE
local DEFLATE = "Sec-WebSocket-Extensions: permessage-deflate\r\n"

local text = ("all work and no play makes "):rep(4000)

local methods = run.methods

local function expect(response, want)
  if response.status == want then return response end
  local status = response.status
  if status >= 500 and status <= 504 or status == 403 then
    error(("told %d %s"):format(status, response.body:sub(1, 200)), 0)
  end
  error(("%d instead of %d: %s"):format(status, want, response.body:sub(1, 200)), 0)
end

local function request(method, path, fields, body)
  return ("%s %s HTTP/1.1\r\nHost: a\r\n%s%s\r\n%s"):format(method, path, fields or "",
    body and not (fields or ""):find "chunked"
      and ("Content-Length: %d\r\n"):format(#body) or "", body or "")
end

-- Asks for it; the answer's body.
function M.ask(h, path)
  local c = wire.connect(h)
  local ok, response = pcall(function()
    c:send(request("GET", path))
    return expect(c:receive(nil, PATIENCE), 200)
  end)
  c:close()
  if not ok then error(response, 0) end
  return response.body
end

-- Asks once, on a connection of its own; the answer has that status.
function methods:ask(method, path, options)
  options = options or {}
  return self:try(path, function()
    local c <close> = setmetatable({}, { __close = function(c)
      if c[1] then c[1]:close() end
    end })
    c[1] = wire.connect(self.h)
    c[1]:send(request(method, path, options.fields, options.body))
    return expect(c[1]:receive(nil, PATIENCE), options.status or 200)
  end)
end

local function get(path, options)
  return function(r) r:ask("GET", path, options) end
end

-- A WebSocket, with which fn does something.
function methods:websocket(path, fields, fn)
  self:try(path, function()
    local c = wire.connect(self.h)
    local ok, why = pcall(function()
      c:send(frames.request(path, fields))
      expect(c:receive(nil, PATIENCE), 101)
      fn(c)
      c:send(frames.close(1000))
      c:wait_end(PATIENCE)
    end)
    c:close()
    if not ok then error(why, 0) end
  end)
end

local function message(c)
  local frame = frames.next(c, PATIENCE)
  if frame.first & 0xf == 8 then
    error("the connection ended: " .. (frame.payload:sub(3)), 0)
  end
  return frame
end

local function multipart()
  local parts = {}
  for i, size in ipairs { 10, 5000, 100000 } do
    parts[i] = ('--B\r\nContent-Disposition: form-data; name="f%d"%s\r\n\r\n%s\r\n')
      :format(i, size > 1000 and '; filename="f.txt"' or "", ("x"):rep(size))
  end
  return table.concat(parts) .. "--B--\r\n"
end

local function chunked(body)
  local parts = {}
  for at = 1, #body, 30000 do
    local piece = body:sub(at, at + 29999)
    parts[#parts + 1] = ("%x\r\n%s\r\n"):format(#piece, piece)
  end
  return table.concat(parts) .. "0\r\n\r\n"
end

local serial = 0

-- Like get, and each time something else.
local function fresh(path)
  return function(r)
    serial = serial + 1
    r:ask("GET", ("%s?n=%d&dir=%s"):format(path, serial, r.h.dir))
  end
end

-- Two requests in a row, the second on the same connection.
local function keepalive(r)
  r:try("keepalive", function()
    local c = wire.connect(r.h)
    local ok, why = pcall(function()
      c:send(request("GET", "/") .. request("GET", "/json?a=%20b"))
      expect(c:receive(nil, PATIENCE), 200)
      expect(c:receive(nil, PATIENCE), 200)
      c:send(request("GET", "/cookie"))
      expect(c:receive(nil, PATIENCE), 200)
    end)
    c:close()
    if not ok then error(why, 0) end
  end)
end

local function event_stream(r)
  r:try("/events", function()
    local c = wire.connect(r.h)
    local ok, why = pcall(function()
      c:send(request("GET", "/events"))
      local function came(pattern)
        events.wait(pattern, function()
          if c:got():find(pattern) then return true end
          local status = c:got():match "^HTTP/1.1 (50%d)"
          if status then error("told " .. status, 0) end
          if c.eof then error("the connection ended", 0) end
        end, PATIENCE)
      end
      came "id: 1"
      -- Whoever has subscribed by then gets it; the topic is asked until that is so.
      local deadline = events.now() + PATIENCE
      repeat
        local other = wire.connect(r.h)
        local told, problem = pcall(function()
          expect(other:ask(request("GET", "/publish")), 200)
        end)
        other:close()
        if not told then error(problem, 0) end
        if c.eof then error("the connection ended", 0) end
        -- Without memory for what it keeps, a topic has to lose something.
        if events.now() > deadline - PATIENCE / 2 then r:enough() end
      until c:got():find "data: news" or events.now() > deadline
      came "data: news"
    end)
    c:close()
    if not ok then error(why, 0) end
  end)
end

local function websocket(r)
  r:websocket("/ws", DEFLATE, function(c)
    c:send(frames.text "hello")
    message(c)
    c:send(frames.text(text))
    message(c)
    expect(wire.ask(r.h, request("GET", "/wspublish")), 200)
    message(c)
  end)
end

local function websocket_moves(r)
  r:websocket("/wsmove", "", function(c)
    c:send(frames.text "go")
    c:send(frames.text "hello")
    message(c)
  end)
end

-- Whether it is the log that fails, or something for ever.
local function may_lose_words(r)
  local last = r.fault and r.fault[#r.fault]
  return last and (last.step or last.site.call == "send" or last.site.call == "write")
end

local function reload(r)
  r:websocket("/wskeep", "", function(c)
    c:send(frames.text "a")
    message(c)
    r:ask("GET", "/ballast")
    r.h:hup()
    local waiting = true
    -- Requests all the while.
    while waiting do
      r:ask("GET", "/")
      waiting = not r.h.log:find "[^\n]*reload[^\n]*\n"
      if events.now() > r.began + PATIENCE then
        if may_lose_words(r) then break end
        error("no word of a reload", 0)
      end
    end
    c:send(frames.text "b")
    message(c)
  end)
end

-- ---- clients who do not do what is expected ----

-- One that does not read its answer, and one whose answer fails in its middle when
-- nothing but the end of the connection could tell.
local function deaf(r)
  local c = wire.connect_deaf(r.h)
  c:send(request("GET", "/flood", "Connection: close\r\n"))
  pcall(events.retry, "a cut", function()
    local ok, ended = pcall(M.ask, r.h, "/flooded")
    return ok and ended == "true"
  end, 1)
  c:resume()
  local ok, why = pcall(c.wait_end, c, PATIENCE)
  c:close()
  if not ok then error("never cut: " .. why:sub(1, 100), 0) end
end

local function broken(r)
  local c = wire.connect(r.h)
  c:send "GET /broken HTTP/1.0\r\n\r\n"
  local ok, why = pcall(c.wait_end, c, PATIENCE)
  c:close()
  if not ok then error(why:sub(1, 200), 0) end
end

-- One that answers no ping.
local function unanswered(r)
  r:websocket("/ws", "", function(c) c:wait_end(PATIENCE) end)
end

-- One who leaves while nobody reads what it sends.
local function unheard(r)
  local function count(n)
    return function()
      local ok, now = pcall(M.ask, r.h, "/unheard")
      return ok and tonumber(now) == n
    end
  end
  local c = wire.connect(r.h)
  c:send "POST /unheard HTTP/1.1\r\nHost: a\r\nContent-Length: 10000000\r\n\r\n"
  c:send(text) -- more than it reads, and less than the kernel keeps besides
  local came = pcall(events.retry, "a handler", count(1), 1)
  c:close()
  if came and not pcall(events.retry, "its end", count(0), 3) then
    r:enough()
    events.retry("its end", count(0), PATIENCE)
  end
end

-- ---- hosts of other kinds ----

-- What they are started with beside what all are.
M.houses = {
  crowded = function(o)
    o.set.connections_max = 6
    o.set.connections_per_address = 3
  end,
  proxied = function(o)
    o.listen = { "127.0.0.1:0", "127.0.0.1:0 proxy" }
    o.set.trusted_proxies = "127.0.0.1"
    o.set.connections_per_address = 100
  end,
  several = function(o, dir)
    local f = assert(io.open(dir .. "/atoll.lua", "w"))
    f:write [[return { apps = { { dir = "." }, { path = "/b", dir = "." } } }]]
    f:close()
    o.config = "atoll.lua"
  end,
  two = function(o) o.isolates = 2 end,
  small = function(o) o.set.memory = "24M" end,
  impatient = function(o)
    o.set.write_timeout = 0.1
    o.set.websocket_ping, o.set.websocket_timeout = 0.05, 0.1
  end,
}

-- So many connections, with which fn does something.
local function connections(to, fn)
  local list = {}
  local ok, why = pcall(function()
    for i, at in ipairs(to) do list[i] = wire.connect(at) end
    fn(list)
  end)
  for _, c in ipairs(list) do c:close() end
  if not ok then error(why, 0) end
end

local function crowd(r)
  local to = {}
  for i = 1, 5 do to[i] = { port = r.h.port, from = i > 3 and "127.0.0.9" or nil } end
  connections(to, function(list)
    for i, c in ipairs(list) do
      if i < 4 then
        c:send(request("GET", "/"))
        expect(c:receive(nil, PATIENCE), 200)
      end
    end
    local more = wire.connect(r.h)
    local ok, answer = pcall(function()
      more:send(request("GET", "/"))
      return more:receive(nil, PATIENCE)
    end)
    more:close()
    -- With a fault in the way it may be let in.
    if ok and answer.status ~= 503 and answer.status ~= 429 and answer.status ~= 200
    then
      error(("%d for one too many"):format(answer.status), 0)
    end
  end)
end

local function at_most(r)
  r:try("a crowd", function()
    local deadline = events.now() + PATIENCE
    local ok, why
    repeat -- until those before have gone, for which the host may need a moment
      ok, why = pcall(crowd, r)
      if ok then return end
      pcall(events.wait, "that moment", function() return false end, 0.1)
    until events.now() > deadline
    error(why, 0)
  end)
  r:enough()
  events.retry("room for others", function()
    return (pcall(M.ask, r.h, "/"))
  end, PATIENCE)
end

local function proxied(r)
  local port = tonumber(r.h.urls[2]:match ":(%d+)$")
  local who = "192.0.2.1"
  for _, header in ipairs { introduce.line(who), introduce.binary(who) } do
    r:try("proxied", function()
      connections({ { port = port } }, function(list)
        list[1]:send(header .. request("GET", "/"))
        expect(list[1]:receive(nil, PATIENCE), 200)
      end)
    end)
  end
end

local function not_trusted(r)
  local port = tonumber(r.h.urls[2]:match ":(%d+)$")
  connections({ { port = port, from = "127.0.0.9" } }, function(list)
    list[1]:wait_end(PATIENCE)
  end)
end

local function many(r)
  r:try("many", function()
    local to = {}
    for i = 1, 12 do to[i] = r.h end
    connections(to, function(list)
      for _, c in ipairs(list) do c:send(request("GET", "/")) end
      for _, c in ipairs(list) do expect(c:receive(nil, PATIENCE), 200) end
    end)
  end)
end

-- How many there are, whatever the log may say.
local function count_isolates(h)
  local dir, n = ("/proc/%d/task/"):format(h:serving_pid()), 0
  local entries = uv.fs_scandir(dir)
  for name in function() return entries and uv.fs_scandir_next(entries) end do
    local f = io.open(dir .. name .. "/comm")
    local comm = f and f:read "l" or "" -- of one that has just ended nothing is read
    if comm:find "^isolate" then n = n + 1 end
    if f then f:close() end
  end
  return n
end

local function isolates(r)
  local h = r.h
  local mute = may_lose_words(r)
  local function said(what, ...)
    local patterns = { ... }
    local ok, why = pcall(events.wait, what, function()
      for _, pattern in ipairs(patterns) do
        if h.log:find(pattern) then return true end
      end
    end, mute and 0.5 or PATIENCE)
    if not ok and not mute then error(why, 0) end
  end
  h:signal "sigttin"
  said("one more", "2 isolates", "one isolate more failed", "cannot start an isolate")
  many(r)
  if h.log:find "2 isolates" then
    h:signal "sigttou"
    said("one less", " 1 isolates")
  end
  r:enough()
  for _ = 1, 3 do -- who has not heard is told again
    local function one() return count_isolates(h) == 1 end
    if pcall(events.poll, "one isolate", one, 1) then return end
    h:signal "sigttou"
  end
  error("it has not become one isolate again", 0)
end

local function refused_body(r)
  r:try("a body that is too large", function()
    connections({ r.h }, function(list)
      local c = list[1]
      c:send "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 100000000\r\n\r\n"
      expect(c:receive(nil, PATIENCE), 413)
      c:send(text)
      c:wait_end(PATIENCE)
    end)
  end)
end

local function rotated(r)
  local name = r.h.dir .. "/access.log"
  os.rename(name, name .. ".1")
  r.h:signal "sigusr1"
  local deadline = events.now() + 1
  repeat
    r:ask("GET", "/")
    local f = io.open(name)
    if f then f:close() end
  until f or events.now() > deadline or #r.problems > 0
  r:enough()
  os.rename(name, name .. ".1")
  r.h:signal "sigusr1"
  events.retry("an access log", function()
    M.ask(r.h, "/")
    local f = io.open(name)
    if f then f:close() end
    return f
  end, PATIENCE)
end

-- All memory is taken by something that stays.
local function full(r)
  for try = 1, 3 do -- who asks may be turned away or cut off before anybody has read it
    pcall(M.ask, r.h, "/hog")
    local ok = pcall(events.wait, "a new state", function()
      return r.h.log:find "a new state of generation %d+ serves"
        or r.h.log:find "after memory ran out failed"
    end, try == 3 and PATIENCE or PATIENCE / 4)
    if ok or may_lose_words(r) then return end
  end
  error("no new state", 0)
end

local function gone_websocket(path)
  return function(r)
    r:websocket(path, "Sec-WebSocket-Protocol: chat\r\n", function(c)
      c:send(frames.text "hello")
      message(c)
      c:send(frames.text "end")
    end)
  end
end

-- ---- the scenarios ----

M.scenarios = {
  { "hello", get "/" },
  { "keepalive", keepalive },
  { "bodies", function(r)
    r:ask("POST", "/echo", { body = text })
    r:ask("POST", "/drip", { body = chunked(text),
      fields = "Transfer-Encoding: chunked\r\n" })
    r:ask("GET", "/big")
    r:ask("GET", "/stream")
  end },
  { "multipart", function(r)
    r:ask("POST", "/form", { body = multipart(),
      fields = "Content-Type: multipart/form-data; boundary=B\r\n" })
  end },
  { "files", function(r)
    r:ask("GET", "/long.txt")
    r:ask("GET", "/long.txt", { fields = "Range: bytes=5-50000\r\n", status = 206 })
    r:ask("GET", "/short.txt")
    r:ask("GET", "/none.txt", { status = 404 })
  end },
  { "compression", function(r)
    for _, coding in ipairs { "gzip", "br" } do
      local fields = { fields = ("Accept-Encoding: %s\r\n"):format(coding) }
      for _, path in ipairs { "/big", "/long.txt", "/stream" } do
        r:ask("GET", path, fields)
      end
    end
  end },
  { "views", get "/view" },
  { "sessions", function(r)
    r:ask("GET", "/session/cookie")
    r:ask("GET", "/stored/x")
  end },
  { "events", event_stream },
  { "websocket", websocket, words = 1 },
  { "websocket given away", websocket_moves, words = 1 },
  { "requests given away", function(r)
    r:ask("GET", "/move")
    r:ask("POST", "/moved", { body = text })
  end, words = 1 },
  { "tcp", get "/tcp", words = 1 },
  { "unix", fresh "/unix", words = 1 },
  { "tls", get "/tls", words = 1 },
  { "udp", get "/udp" },
  { "names", fresh "/names" },
  { "sockets given away", get "/give", words = 1 },
  { "http client", get "/http", words = 1 },
  { "https client", get "/https", words = 1 },
  { "websocket client", get "/wsclient", words = 1 },
  { "isolates", get "/spawn", words = 1 },
  { "ports", get "/ports", words = 1 },
  { "topics", fresh "/topics" },
  { "shared", fresh "/shared" },
  { "pool", get "/pool", words = 1 },
  { "blocking", get "/blocking" },
  { "password", get "/password" },
  { "fs", fresh "/fs" },
  { "fs, more of it", fresh "/fs2" },
  { "luasocket", fresh "/deed/luasocket", words = 1 },
  { "luasocket select", fresh "/deed/select" },
  { "luasocket datagrams", fresh "/deed/datagrams" },
  { "luasocket others", fresh "/luasocket" },
  { "binding", get "/bind" },
  { "proxied by ourselves", get "/proxied", words = 1 },
  { "a body refused", refused_body },
  { "websocket ended", gone_websocket "/wsend" },
  { "topics with cargo", fresh "/cargo" },
  { "seldom", fresh "/seldom", words = 1 },
  { "tls of the system", get "/tlstrust" },
  { "tls, left at once", get "/leave", words = 1 },
  { "luasec", get "/luasec", rest = true },
  { "popen", get "/popen" },
  { "tasks", get "/tasks", words = 1 },
  { "reload", reload },
  { "logs", rotated },
  { "broken", broken, words = 1, noisy = true, alone = true },
  { "deaf", deaf, house = "impatient", rest = true },
  { "unanswered", unanswered, house = "impatient", rest = true, words = 1 },
  { "unheard", unheard, alone = true, rest = true },
  { "crowd", at_most, house = "crowded", words = 2, noisy = true },
  { "proxied", proxied, house = "proxied" },
  { "proxied by a stranger", not_trusted, house = "proxied", words = 1, noisy = true },
  { "handed over", many, house = "two" },
  { "isolates come and go", isolates, alone = true },
  { "several apps", function(r)
    r:ask("GET", "/")
    r:ask("GET", "/b/json?a=1")
    r:ask("POST", "/b/echo", { body = text })
    many(r)
  end, house = "several" },
  { "several reload", reload, house = "several" },
  { "memory runs out", full, house = "small", words = 3, noisy = true, anew = true },
}


return M
