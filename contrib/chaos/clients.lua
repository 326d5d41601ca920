-- Clients that go on asking, whatever is done to the host, and check all they are told.
local atoll = require "atoll"
local random = require "random"
local wire = require "wire"

local M = {}

-- ---- what is asked: each gives path, expected body, options of the request ----

local function text(path, body)
  return function(rng)
    local n = rng:int(1, 100000)
    return path .. n, body:format(n)
  end
end

local function twice(path)
  return function(rng)
    local n = rng:int(1, 100000)
    return path .. n, n * 2 .. "\n"
  end
end

local function some_body(rng, ctx, most)
  local size = rng:chance(0.1) and rng:int(0, most) or rng:int(0, 3000)
  local at = rng:int(1, #ctx.noise - size)
  return ctx.noise:sub(at, at + size - 1)
end

local function echo(path, most)
  return function(rng, ctx)
    local body = some_body(rng, ctx, most)
    local chunked = rng:chance(0.3) and rng:int(1, 5000) or nil
    if chunked and #body > 3000 then chunked = 5000 end
    return path, body, { method = "POST", body = body, chunked = chunked }
  end
end

local function sum(rng, ctx)
  local body, total = some_body(rng, ctx, 20000), 0
  for i = 1, #body do total = (total * 31 + body:byte(i)) & 0xffffffff end
  return "/sum", { size = #body, sum = total }, { method = "POST", body = body }
end

local function stream(rng)
  local n, lines = rng:int(1, 60), {}
  for i = 1, n do lines[i] = ("line %d of %d\n"):format(i, n) end
  return "/stream/" .. n, table.concat(lines)
end

local function file(_, ctx) return "/noise.bin", ctx.noise end

local function range(rng, ctx)
  local from = rng:int(0, #ctx.noise - 2)
  local to = math.min(from + rng:int(0, 70000), #ctx.noise - 1)
  return "/noise.bin", ctx.noise:sub(from + 1, to + 1), { status = 206,
    headers = { ("Range: bytes=%d-%d"):format(from, to) } }
end

local function json(rng)
  local n = rng:int(1, 1000)
  return "/json/" .. n, { n = n, list = { 1, 2, 3 } }
end

-- files: it needs a descriptor, so 503 is an answer while there are none.
local asks = {
  { name = "hello", weight = 20, ask = text("/hello/", "hello %d\n") },
  { name = "json", weight = 5, ask = json },
  { name = "count", weight = 15 },
  { name = "sleep", weight = 4, ask = function(rng)
    local n = rng:int(1, 60)
    return "/sleep/" .. n, "slept " .. n .. "\n"
  end },
  { name = "compute", weight = 2, ask = function(rng)
    local n = rng:int(1, 200000)
    return "/compute/" .. n, n * (n + 1) // 2 .. "\n"
  end },
  { name = "echo", weight = 10, ask = echo("/echo", 200000) },
  { name = "copy", weight = 10, ask = echo("/copy", 200000) },
  { name = "sum", weight = 3, ask = sum },
  { name = "stream", weight = 5, ask = stream },
  { name = "file", weight = 3, ask = file, files = true },
  { name = "range", weight = 5, ask = range, files = true },
  { name = "head", weight = 2, ask = function(_, ctx)
    return "/noise.bin", "", { method = "HEAD", length = #ctx.noise }
  end, files = true },
  { name = "moved", weight = 8, ask = text("/moved/", "moved %d\n"), files = true },
  { name = "called", weight = 8, ask = text("/called/", "called %d\n"), files = true },
  { name = "pooled", weight = 6, ask = twice "/pooled/", files = true },
  { name = "blocking", weight = 4, ask = twice "/blocking/", files = true },
  { name = "spawned", weight = 1, ask = twice "/spawned/", files = true },
  { name = "missing", weight = 2, ask = function()
    return "/missing", "404 Not Found\n", { status = 404 }
  end },
  { name = "error", weight = 1, ask = function()
    return "/error", "500 Internal Server Error\n", { status = 500 }
  end },
}

-- ---- a request and its judgement ----

local ids = 0

local function make(client)
  local ctx, rng = client.ctx, client.rng
  local kind = rng:weighed(asks)
  local path, body, options
  if kind.name == "count" then
    path, options = "/count/" .. client.name, nil
  else
    path, body, options = kind.ask(rng, ctx)
  end
  options = options or {}
  local prefix = rng:pick(ctx.prefixes)
  path = prefix .. path
  ids = ids + 1
  options.id = ("%s-%d"):format(client.name, ids)
  local method = options.method or "GET"
  return { kind = kind, method = method, path = path, body = body, prefix = prefix,
    status = options.status or 200, length = options.length,
    bytes = wire.request(method, path, options) }
end

local function same(a, b)
  if type(a) ~= "table" or type(b) ~= "table" then return a == b end
  for key, value in pairs(a) do if not same(value, b[key]) then return false end end
  for key in pairs(b) do if a[key] == nil then return false end end
  return true
end

local function shown(value)
  if type(value) == "table" then value = atoll.json.encode(value) end
  value = tostring(value)
  return #value > 160 and ("%d bytes, %q..."):format(#value, value:sub(1, 100))
    or ("%q"):format(value)
end

-- What is wrong with an answer; nil when nothing is.
local function complaint(client, r, a)
  if a.status ~= r.status then
    return ("status %d, not %d: %s"):format(a.status, r.status, shown(a.body))
  end
  if r.kind.name == "count" then
    local n, host = math.tointeger(tonumber(a.body)), client.connection.host
    local key = host .. r.prefix
    local before = client.counts[key] or 0
    client.counts[key] = n
    if n ~= before + 1 then
      return ("counted %s behind %d on host %d"):format(shown(a.body), before, host)
    end
    return nil
  end
  local body = a.body
  if type(r.body) == "table" then body = atoll.json.decode(body) end
  if not same(r.body, body) then
    return ("body %s, not %s"):format(shown(a.body), shown(r.body))
  end
  if r.length and tonumber(a.fields["content-length"]) ~= r.length then
    return "Content-Length " .. tostring(a.fields["content-length"])
  end
  local code = tonumber(a.fields["x-code"])
  if code and code < r.version and not client.connection.told
    and not client.ctx.ledger.leaving[client.connection.host] then
    return ("the answer is of code %d, %d served already"):format(code, r.version)
  end
end

local function starved(client, r, a)
  local ledger = client.ctx.ledger
  return a.status == 503 and ledger:anyone_starves(r.sent)
    and (r.kind.files or client.connection.answers == 1)
end

-- False when the connection is over with it.
local function await(client, r)
  local ledger, c = client.ctx.ledger, client.connection
  local a, kind, detail = c:answer(r.method)
  local what = ("%s %s"):format(r.method, r.path)
  if not a then
    if kind == "closed" or kind == "reset" or kind == "cut" then
      if ledger:may_end(c, r.idle) then return false end
      if kind == "cut" then kind = "cut off in an answer" end
      ledger:fail(kind, client.name, "%s: the connection to host %s ended (%s), after "
        .. "%d answers", what, c.host, detail or "end of file", c.answers)
    else
      ledger:fail(kind, client.name, "%s: %s, from host %s", what, detail or
        "no answer for too long", c.host)
    end
    return false
  end
  if starved(client, r, a) then
    ledger:excuse "starved"
    return not c.told
  end
  local wrong = complaint(client, r, a)
  if wrong then
    ledger:fail("wrong answer", client.name, "%s: %s, from host %s", what, wrong,
      c.host)
  end
  ledger:answered(r.kind.name, r.sent)
  return true
end

-- ---- a client ----

function M.connect(ctx, who)
  local ledger = ctx.ledger
  local born = atoll.now()
  local c, code, message = wire.connect(ctx.victim.address, ctx.patience)
  if c then
    c.born = born
    return c
  end
  if code ~= "ECONNRESET" or not ledger:may_end { born = born } then
    ledger:fail("not connected", who, "%s", message)
  end
end

-- Whether the connection, on which nothing is expected, is still good to ask.
local function alive(client)
  local c, ledger = client.connection, client.ctx.ledger
  local kind, detail = c:news()
  if not kind then return true end
  local idle = atoll.now() - client.idle_since
  if kind == "garbage" or not ledger:may_end(c, idle) then
    ledger:fail(kind == "garbage" and "garbage" or "idle connection ended", client.name,
      "host %s, after %d answers and %.2f s: %s", c.host, c.answers, idle,
      detail or "end of file")
  end
  return false
end

local function drop(client)
  if client.connection then client.connection:close() end
  client.connection = nil
end

local function send(client, requests)
  local parts = {}
  for i, r in ipairs(requests) do
    parts[i] = r.bytes
    r.sent, r.version = atoll.now(), client.ctx.ledger.version
    r.idle = r.sent - client.idle_since
  end
  local c, all = client.connection, table.concat(parts)
  if not client.slow or #all > 2000 then
    c:send(all)
    return
  end
  local at = 1
  while at <= #all do -- a byte or some at a time
    local n = client.rng:int(1, 60)
    c:send(all:sub(at, at + n - 1))
    at = at + n
    atoll.sleep(client.rng:real(0.001, 0.03))
  end
end

-- Sends some requests at once and reads their answers. What stands behind an answer
-- that said "close" was not looked at, and is asked again.
local function turn(client, requests)
  local ctx, from = client.ctx, 1
  while from <= #requests do
    if client.connection and not alive(client) then drop(client) end
    client.connection = client.connection or M.connect(ctx, client.name)
    if not client.connection then return end
    send(client, table.move(requests, from, #requests, 1, {}))
    if client.halves then client.connection.socket:shutdown "write" end
    local i = from
    while i <= #requests do
      if not await(client, requests[i]) then
        drop(client)
        return
      end
      i = i + 1
      if client.connection.told then break end
    end
    if client.connection.told or client.halves then drop(client) end
    from = i
  end
end

-- options: deep (requests at once), think (seconds between), slow (in pieces), once (a
-- connection for each), halves (it closes its half behind the requests).
function M.start(ctx, name, options)
  local client = { ctx = ctx, name = name, rng = random.new(ctx.seed, name),
    counts = {}, slow = options.slow, halves = options.halves,
    idle_since = atoll.now() }
  return atoll.spawn(function()
    while not ctx.stopping do
      local requests = {}
      for i = 1, client.rng:int(1, options.deep or 1) do requests[i] = make(client) end
      turn(client, requests)
      if options.once then drop(client) end
      client.idle_since = atoll.now()
      atoll.sleep(client.rng:real(0, (options.think or 0.02) * 2 * ctx.slow))
    end
    drop(client)
  end)
end

return M
