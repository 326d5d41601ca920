-- Clients that stay: pages that listen to events and come back with Last-Event-ID, and
-- WebSockets whose messages are echoed while a topic's come in between. A host counts
-- its ticks; nobody may miss one or hear one twice as long as he is on the same host.
local atoll = require "atoll"
local clients = require "clients"
local random = require "random"
local wire = require "wire"

local M = {}

-- Takes "tick PID:N"; complains unless it is the one behind the last.
local function hear(t, tick, skipped)
  local host, n = tick:match "^tick (%d+):(%d+)$"
  host, n = tonumber(host), tonumber(n)
  if not host then
    t.ctx.ledger:fail("garbage", t.name, "%q is no tick", tick)
    return
  end
  local expected = t.host == host and t.heard + 1 + (skipped or 0)
  if expected and n ~= expected then
    t.ctx.ledger:fail(n < expected and "heard twice" or "missed", t.name,
      "tick %d came behind %d from host %d", n, t.heard, host)
  elseif not expected and t.seen[host] and n <= t.seen[host] then
    t.ctx.ledger:fail("heard twice", t.name, "tick %d came again from host %d", n, host)
  end
  t.host, t.heard, t.seen[host] = host, n, n
  t.ctx.ledger:answered(t.kind, atoll.now())
end

-- ---- events ----

local function event(t, lines)
  local fields = {}
  for line in lines:gmatch "[^\n]+" do
    local name, value = line:match "^(%w*): ?(.*)$"
    if not name then
      t.ctx.ledger:fail("garbage", t.name, "a line of an event: %q", line)
    elseif name ~= "" then
      fields[name] = value
    end
  end
  if fields.event == "missed" then
    t.skipped = tonumber(fields.data:match '"count":(%d+)')
  elseif fields.data then
    t.id = fields.id
    hear(t, fields.data, t.skipped)
    t.skipped = nil
  end
end

-- Reads chunks until the end: true when it ended in peace, else how.
local function listen(t, c)
  local rest = ""
  while not t.ctx.stopping do
    local size, _, code = c.socket:read "line"
    if not size then return code == "ETIMEDOUT" and "silent" or "cut" end
    local n = size:match "^%x+$" and tonumber(size, 16)
    if not n then return "garbage" end
    local piece = n > 0 and c.socket:read(n) or ""
    if not piece or #piece < n or c.socket:read "line" ~= "" then return "cut" end
    if n == 0 then return rest == "" or "half an event" end
    rest = rest .. piece
    while true do
      local lines, next_at = rest:match "^(.-\n)\n()"
      if not lines then break end
      event(t, lines)
      rest = rest:sub(next_at)
    end
  end
  return true
end

-- The head of the stream's answer; nil when it is none.
local function begin(c)
  local line = c.socket:read "line"
  if not line then return nil, "closed" end
  if line:find "^HTTP/1.1 503 " then return nil, "503" end
  if line ~= "HTTP/1.1 200 OK" then return nil, line end
  while true do
    line = c.socket:read "line"
    if not line then return nil, "cut" end
    if line == "" then return true end
    c.host = tonumber(line:match "^X%-Host: (%d+)$") or c.host
  end
end

local function page(t)
  local ctx, ledger = t.ctx, t.ctx.ledger
  local c = clients.connect(ctx, t.name)
  if not c then return end
  local sent = atoll.now()
  local before = t.host
  c:send(wire.request("GET", "/ticks", { headers = t.id
    and { "Last-Event-ID: " .. t.id } or nil }))
  local ok, how = begin(c)
  if ok then
    -- An id of another host says nothing here: all that is kept comes.
    if c.host ~= before then t.host, t.seen[c.host or 0] = nil, nil end
    ok = listen(t, c)
    how = ok
  end
  if ok ~= true and not (how == "503" and ledger:anyone_starves(sent)
    and ledger:excuse "starved") and not ledger:may_end(c) then
    ledger:fail("events", t.name, "the stream of host %s: %s", c.host, how)
  end
  c:close()
end

function M.page(ctx, name)
  local t = { ctx = ctx, name = name, kind = "event", seen = {} }
  return atoll.spawn(function()
    while not ctx.stopping do
      page(t)
      atoll.sleep(0.02)
    end
  end)
end

-- ---- WebSockets ----

local function over(t, ws, c)
  local ledger = t.ctx.ledger
  if t.ctx.stopping then return end
  if ws.code == 1001 and (c.host and ledger.leaving[c.host]
    or ledger.last_shrink > c.born - 60) then
    ledger:excuse "leaving"
  elseif ws.code == 1006 and ledger:may_end(c) then
    return
  else
    ledger:fail("WebSocket closed", t.name, "with %s %q, by host %s, after %.1f s",
      ws.code, ws.reason or "", c.host, atoll.now() - c.born)
  end
end

-- The next message that is no tick; nil at the end.
local function next_echo(t, ws, c)
  while true do
    local message, _, code = ws:receive(t.ctx.patience)
    if not message then
      if code == "ETIMEDOUT" then
        t.ctx.ledger:fail("silent", t.name, "no message from host %s", c.host)
        ws:close()
      else
        over(t, ws, c)
      end
      return nil
    end
    if not message:find "^tick " then return message end
    hear(t, message)
  end
end

local function talk(t)
  local ctx, ledger, rng = t.ctx, t.ctx.ledger, t.rng
  local c = { born = atoll.now() }
  local ws, message, code, status = atoll.websocket.connect("ws://"
    .. ctx.victim.address .. "/talk", { compress = rng:chance(0.5),
    timeout = ctx.patience })
  if not ws then
    if not (status == 503 and ledger:anyone_starves(c.born) or ledger:may_end(c)) then
      ledger:fail("no WebSocket", t.name, "%s (%s)", message, code)
    end
    return
  end
  local first = next_echo(t, ws, c)
  if not first then return end
  c.host = tonumber(first:match "^host (%d+)$")
  t.host = nil
  if not c.host then ledger:fail("garbage", t.name, "%q", first) end
  local said = 0
  local life = rng:int(20, 2000)
  while said < life and not ctx.stopping do
    local burst, sent = {}, atoll.now()
    for i = 1, rng:int(1, 5) do
      local size = rng:chance(0.05) and 60000 or 400
      local at, n = rng:int(1, 100000), rng:int(0, size)
      local binary = rng:chance(0.5)
      burst[i] = binary and ctx.noise:sub(at, at + n)
        or ("word %d "):format(at):rep(n // 9)
      ws:send(burst[i], binary and "binary" or "text")
    end
    for _, text in ipairs(burst) do
      local answer = next_echo(t, ws, c)
      if not answer then return end
      said = said + 1
      if answer ~= said .. " " .. text then
        ledger:fail("wrong answer", t.name, "message %d (%d bytes) came back as %q "
          .. "(%d bytes)", said, #text, answer:sub(1, 60), #answer)
        ws:close()
        return
      end
      ledger:answered("message", sent)
    end
    atoll.sleep(rng:real(0, 0.08 * ctx.slow))
  end
  ws:close()
end

function M.talker(ctx, name)
  local t = { ctx = ctx, name = name, kind = "tick", seen = {},
    rng = random.new(ctx.seed, name) }
  return atoll.spawn(function()
    while not ctx.stopping do
      talk(t)
      atoll.sleep(0.02)
    end
  end)
end

return M
