-- Makes every call of every site fail, one at a time, while a host does all that it
-- can do (spec/apps/sites): what is under way then ends with a clear outcome, the host
-- goes on, nothing is left behind, and the next request is answered. For sites_spec,
-- and for contrib/faults/run, which has the time for all of them.
local certs = require "support.certs"
local dns = require "support.dns"
local events = require "support.events"
local frames = require "support.frames"
local host = require "support.host"
local sites = require "support.sites"
local uv = require "luv"
local wire = require "support.wire"

local M = {}

local PROGRAM = assert(os.getenv "ATOLL", "ATOLL must name the program")
local PATIENCE = host.SLOW and 20 or 8
local DEFLATE = "Sec-WebSocket-Extensions: permessage-deflate\r\n"

local name_server, board, app

local text = ("all work and no play makes "):rep(4000)

-- ---- what a client does ----

-- One run of a scenario: what has come of it.
local methods = {}
local metatable = { __index = methods, __name = "spec.run" }

function methods:note(format, ...)
  self.problems[#self.problems + 1] = format:format(...)
end

-- From now on nothing fails.
function methods:enough()
  if self.failed then return end
  self.seen, self.failed = board:disarm()
end

-- Runs a part of it, which may be cut off but neither hang nor get rubbish.
function methods:try(what, fn, ...)
  local ok, why = pcall(fn, ...)
  if ok then return why end
  why = tostring(why)
  local cut = why:find "connection ended" or why:find "the end instead of"
    or why:find "ECONN" or why:find "EPIPE" or why:find "^told "
  if cut then
    self.outcome = why:match "^told %d+" or "cut off"
    self.why = what .. ": " .. why
  else
    self:note("%s: %s", what, why:sub(1, 600))
  end
end

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

local function reload(r)
  r:websocket("/wskeep", "", function(c)
    c:send(frames.text "a")
    message(c)
    r.h:hup()
    local waiting = true
    -- Requests all the while.
    while waiting do
      r:ask("GET", "/")
      waiting = not r.h.log:find("\n[^\n]*reload[^\n]*\n", r.mark)
      if events.now() > r.began + PATIENCE then
        -- It is the word that may be lost.
        if r.site and (r.site.call == "send" or r.site.call == "write") then break end
        error("no word of a reload", 0)
      end
    end
    c:send(frames.text "b")
    message(c)
  end)
end

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
  { "websocket", websocket },
  { "websocket given away", websocket_moves },
  { "requests given away", function(r)
    r:ask("GET", "/move")
    r:ask("POST", "/moved", { body = text })
  end },
  { "tcp", get "/tcp" },
  { "unix", fresh "/unix" },
  { "tls", get "/tls" },
  { "udp", get "/udp" },
  { "names", fresh "/names" },
  { "sockets given away", get "/give" },
  { "http client", get "/http" },
  { "https client", get "/https" },
  { "websocket client", get "/wsclient" },
  { "isolates", get "/spawn" },
  { "ports", get "/ports" },
  { "topics", fresh "/topics" },
  { "shared", fresh "/shared" },
  { "pool", get "/pool" },
  { "blocking", get "/blocking" },
  { "password", get "/password" },
  { "fs", fresh "/fs" },
  { "popen", get "/popen" },
  { "tasks", get "/tasks" },
  { "reload", reload },
}

-- ---- the host ----


local function environment()
  local env = sites.environment(PROGRAM, board)
  env.CERTS = certs.make().dir
  return env
end

-- What the host is started with; in a directory of its own.
local function options()
  local long = {}
  for i = 1, 1500 do long[i] = ("line %d of a page that is long enough"):format(i) end
  app = host.directory { ["public/long.txt"] = table.concat(long, "\n") }
  assert(os.execute(("cp -r spec/apps/sites/. %s"):format(app)))
  return { dir = app, isolates = 1, env = environment(), program = os.getenv "SWEPT",
    set = { compression = true, access_log = app .. "/access.log",
      resolver = name_server.address, resolver_timeout = 0.2,
      drain_timeout = 0.5, form_directory = app } }
end

-- Threads of pools, of which there are as many as there was work at once.
local pooled = { files = true, blocking = true }

-- How many of them it has, and a list of what they are.
local function count(h, what)
  local dir = ("/proc/%d/%s/"):format(h:serving_pid() or 0, what)
  local entries, n, list = uv.fs_scandir(dir), 0, {}
  while entries do
    local name = uv.fs_scandir_next(entries)
    if not name then break end
    local f = what == "task" and io.open(dir .. name .. "/comm")
    local is = f and f:read "l" or uv.fs_readlink(dir .. name) or "gone"
    if f then f:close() end
    if not pooled[is] then
      n = n + 1
      list[n] = is
    end
  end
  return n, table.concat(list, " ")
end

local function start()
  local h = host.start(options())
  h.serving = h:serving_pid()
  return h
end

-- Ends one with which something is wrong.
local function give_up(h)
  if h.code then return end
  local pid = h:serving_pid()
  if pid then uv.kill(pid, "sigkill") end
  uv.kill(h.pid, "sigkill")
  pcall(h.ended, h, 5)
end

local function lines_of(log)
  local n = 0
  for line in log:gmatch "[^\n]+" do
    if line:find "error" or line:find "warn" or line:find "failed" then n = n + 1 end
  end
  return n
end

-- One run of a scenario, in which that call fails if there is one.
local function once(h, scenario, fault)
  local r = setmetatable({ h = h, problems = {}, mark = #h.log, began = events.now(),
    outcome = "well" }, metatable)
  if fault then
    r.site = fault.site
    board:arm(fault.site, fault.code, fault.n, fault.step)
  end
  local ok, why = pcall(scenario[2], r)
  r:enough()
  if not ok then r:note("%s", why) end
  return r
end

-- Whether all is as it was.
local function settled(h, base)
  local fds, files = count(h, "fd")
  local threads, names = count(h, "task")
  if fds <= base.fds and threads <= base.threads then return true end
  return false, ("%d descriptors and %d threads instead of %d and %d: %s; %s"):format(
    fds, threads, base.fds, base.threads, files, names)
end

local function settle(r, base)
  local h = r.h
  local ok, why = pcall(function()
    local c = wire.connect(h)
    c:send(request("GET", "/"))
    local fine, response = pcall(c.receive, c, nil, PATIENCE)
    c:close()
    assert(fine and response.status == 200, fine and response.status or response)
  end)
  if not ok then r:note("the next request: %s", tostring(why):sub(1, 300)) end
  if h:serving_pid() ~= h.serving then
    r:note("the process that serves has gone")
    return
  end
  local deadline = events.now() + PATIENCE
  local same, different = settled(h, base)
  while not same and events.now() < deadline do
    pcall(wire.ask, h, request("GET", "/gc"))
    same, different = settled(h, base)
  end
  if not same then r:note("left over: %s", different) end
end

-- ---- the sweep ----

local function describe(scenario, fault)
  return ("%s: %s in %s+0x%x, call %d%s: %s"):format(scenario[1], fault.site.call,
    fault.site.file:match "[^/]*$", fault.site.offset, fault.n,
    fault.step and " and all later" or "", fault.code)
end

-- Only what the program and what it is linked with does, as far as it can fail.
local ours = { [""] = true, libev = true, libcares = true, libwslay = true, libz = true,
  libssl = true, libcrypto = true, libbrotlienc = true }

local function may_fail(site, filter)
  local library = site.file:match "([^/.]*)[^/]*$"
  return sites.kinds[site.call] and ours[library] and (not filter or filter(site))
end

-- What no call meets for ever.
local passing = { EINTR = true, SHORT = true, EAGAIN = true }

-- The faults of one round: each way of the n-th call of each site.
local function round(list, n, add)
  for _, site in ipairs(list) do
    if n == "all" or site.calls >= n then
      for code in sites.kinds[site.call]:gmatch "%S+" do
        if n ~= "all" then
          add { site = site, code = code, n = n }
        elseif not passing[code] and site.call ~= "accept4" then
          add { site = site, code = code, n = 1, step = 1 }
        end
      end
    end
  end
end

-- Which of the sites that a scenario comes by are to fail, and how: a list.
local function plan(h, scenario, o)
  board:reset()
  once(h, scenario)
  local list, faults = {}, {}
  for _, site in ipairs(board:list()) do
    if may_fail(site, o.filter) then list[#list + 1] = site end
  end
  for n = 1, o.calls do
    round(list, n, function(fault) faults[#faults + 1] = fault end)
  end
  if o.all then round(list, "all", function(fault) faults[#faults + 1] = fault end) end
  return faults, list
end

local function warm(h, scenario)
  local problem
  for _ = 1, 3 do
    local r = once(h, scenario)
    problem = r.problems[1] or r.outcome ~= "well" and r.why
    if problem then
      pcall(events.wait, "the log", function() return false end, 0.2)
      error(("%s does not work: %s\n%s"):format(scenario[1], problem, h.log), 0)
    end
  end
  -- Until what ends by itself has ended.
  local base
  for _ = 1, 20 do
    pcall(wire.ask, h, request("GET", "/gc"))
    local now = { fds = (count(h, "fd")), threads = (count(h, "task")) }
    base = base or now
    base.fds, base.threads = math.min(base.fds, now.fds),
      math.min(base.threads, now.threads)
  end
  base.fds = base.fds + (scenario.slack or 0)
  return base
end

-- What has come of a fault; of one that was not met there should be nothing.
local function report(o, result, scenario, fault, r)
  result.faults = result.faults + 1
  local key = fault.site.key
  result.failed[key] = result.failed[key] or fault.site
  local what = describe(scenario, fault)
  local said = lines_of(r.h.log:sub(r.mark + 1))
  result.outcomes[r.outcome] = (result.outcomes[r.outcome] or 0) + 1
  if sites.harmless[fault.code] and r.outcome ~= "well" and not scenario.tells then
    r:note("%s is no reason: %s", fault.code, r.why or r.outcome)
  end
  if o.each then o.each(what, r, said) end
  if #r.problems > 0 then
    result.problems[#result.problems + 1] = { what = what, site = fault.site,
      list = r.problems, log = r.h.log:sub(r.mark + 1) }
    if o.problem then o.problem(result.problems[#result.problems]) end
  end
end

-- Sweeps through a scenario until all is done or it is too late. h: the host, or nil.
local function sweep(h, scenario, o, result)
  local base
  local function ready()
    if h then return end
    h = start()
    base = nil
  end
  ready()
  base = warm(h, scenario)
  local faults, list = plan(h, scenario, o)
  for _, site in ipairs(list) do result.sites[site.key] = site end
  local stride = o.stride or 1
  for i = 1 + (o.seed or 0) % stride, #faults, stride do
    if o.deadline and events.now() > o.deadline then break end
    ready()
    if not base then base = warm(h, scenario) end
    local fault = faults[i]
    local r = once(h, scenario, fault)
    settle(r, base)
    if r.failed > 0 then
      report(o, result, scenario, fault, r)
    elseif #r.problems > 0 or r.outcome ~= "well" then
      table.insert(r.problems, 1, r.why or "nothing has failed")
      report(o, result, scenario, fault, r)
    end
    if #r.problems > 0 then
      give_up(h)
      h = nil
    end
  end
  return h
end

-- ---- what is done before and behind the serving ----

-- A host that starts while a call fails either serves or says why not, and ends.
local function start_once(fault)
  local o = options()
  if fault then board:arm(fault.site, fault.code, fault.n, fault.step) end
  local h = host.spawn(o)
  local r = setmetatable({ h = h, problems = {}, mark = 0, began = events.now(),
    outcome = "well" }, metatable)
  local ok = pcall(events.wait, "a start", function()
    return h.code and h.open == 0 or h.log:find "atoll: serving [^\n]*\n"
  end, 2 * PATIENCE)
  if not ok then
    r:note("neither starts nor ends")
  elseif h.code then
    r.outcome = "ends"
    r.why = ("exit code %d: %s"):format(h.code, h.log:sub(-300))
    if h.code == 0 or h.code > 100 or h.signal ~= 0 or #h.log < 10 then
      r:note("ends with code %d, signal %d: %s", h.code, h.signal, h.log:sub(-500))
    end
  else
    h.port = tonumber(h.log:match "on http://[^ ,]*:(%d+)")
    r.seen, r.failed = board:counts()
    r:ask("GET", "/")
  end
  if h.log:find "crash" or h.log:find "aborting" then r:note("crashes") end
  r.seen, r.failed = board:disarm()
  if h.code then
    pcall(h.ended, h, 1)
  elseif #r.problems > 0 then
    give_up(h)
  else
    ok = pcall(h.stop, h)
    if not ok then
      r:note("does not stop well: %s", h.log:sub(-500))
      give_up(h)
    end
  end
  os.execute("rm -rf " .. app)
  return r
end

local START = { "start", tells = true }

local function sweep_start(o, result)
  board:reset()
  assert(start_once().outcome == "well")
  local list, faults = {}, {}
  for _, site in ipairs(board:list()) do
    if may_fail(site, o.filter) then
      list[#list + 1] = site
      result.sites[site.key] = site
    end
  end
  for n = 1, o.calls do
    round(list, n, function(fault) faults[#faults + 1] = fault end)
  end
  local stride = o.stride or 1
  for i = 1 + (o.seed or 0) % stride, #faults, stride do
    if o.deadline and events.now() > o.deadline then break end
    local r = start_once(faults[i])
    if r.failed > 0 then report(o, result, START, faults[i], r) end
  end
end

-- The program file is replaced by itself: either the new one serves, or the old one.
local function upgrade(r)
  local h = r.h
  local before = #h.log
  h:signal "sigusr2"
  local c = wire.connect(h)
  c:close()
  events.wait(function() return "word of an upgrade:\n" .. h.log:sub(before + 1) end,
    function()
      local news = h.log:sub(before + 1)
      return news:find "upgraded from [^\n]*\n" or news:find "[^\n]*upgrade[^\n]*\n"
    end, 3 * PATIENCE)
  r:ask("GET", "/")
  events.wait("one process that serves", function()
    return #h:serving_pids() == 1
  end, PATIENCE)
  h.serving = h:serving_pid()
end

M.scenarios[#M.scenarios + 1] = { "upgrade", upgrade, tells = true }

local function wanted(o, name) return not o.only or o.only(name) end

-- Sweeps. o: only(name), which of them; calls, how many of a site's calls fail, one
-- after the other; all: also all at once; filter(site); stride and seed: each so many
-- of the faults; seconds for each scenario; each(what, run, lines), problem(p) and
-- scenario(name, result) hear of it. Gives what came of it: faults, problems, sites
-- and failed (by key), outcomes.
function M.run(o)
  local result = { faults = 0, problems = {}, sites = {}, failed = {}, outcomes = {} }
  name_server = dns.start(setmetatable({}, { __index = function(_, name)
    return name:find "%.test$" and { A = { "127.0.0.9", "127.0.0.1" } } or nil
  end }))
  board = sites.make(os.tmpname())
  local function begin()
    o.deadline = o.seconds and events.now() + o.seconds
  end
  local h
  local ok, why = pcall(function()
    if wanted(o, "start") then
      begin()
      sweep_start(o, result)
      if o.scenario then o.scenario("start", result) end
    end
    for _, scenario in ipairs(M.scenarios) do
      if wanted(o, scenario[1]) then
        begin()
        h = sweep(h, scenario, o, result)
        if o.scenario then o.scenario(scenario[1], result) end
      end
    end
    if h then h:stop() end
  end)
  if not ok and h then give_up(h) end
  os.remove(board.path)
  board:close()
  wire.finish()
  host.finish()
  dns.finish()
  if not ok then error(why, 0) end
  return result
end

return M
