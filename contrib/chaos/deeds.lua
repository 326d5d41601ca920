-- What is done to the host. Each deed has a generator of its own, made from the seed
-- and its number, and returns when what it did is over and mended.
local atoll = require "atoll"
local clients = require "clients"
local wire = require "wire"

local M = {}

local function pause(rng, from, to) atoll.sleep(rng:real(from, to)) end

-- A host of ours, nil between two.
local function some_host(ctx, rng)
  local hosts = ctx.victim:hosts()
  return hosts[1] and rng:pick(hosts)
end

local function missed(ctx, what, form, ...)
  ctx.ledger:fail(what, "the log", form, ...)
end

-- ---- code ----

-- While code is replaced nobody else does; a host that is made anew may read anything.
local function good_code(ctx, rng)
  local v, ledger = ctx.victim, ctx.ledger
  ctx.code = ctx.code + 1
  local number, from, began = ctx.code, #v.lines, atoll.now()
  local hosts = v:hosts()
  v:write("version.lua", ("return { number = %d }\n"):format(number))
  v:signal "HUP"
  ledger:event("reload", "code %d", number)
  if rng:chance(0.3) then -- several at once become one
    for _ = 1, rng:int(1, 5) do v:signal "HUP" end
  end
  local at = from
  for _ = 1, #hosts * #v.apps do
    at = at and v:wait("reload: generation %d+ serves", at, 30 * ctx.slow)
  end
  local calm = ledger.last_death < began and ledger.last_upgrade < began
    and not ledger:anyone_starves(began)
  local now = v:hosts()
  calm = calm and #hosts == 2 and #now == 2 and now[1] == hosts[1]
    and now[2] == hosts[2]
  if at and calm then
    ledger.version = number
  elseif calm then
    missed(ctx, "reload", "code %d does not serve after %.1f s", number,
      atoll.now() - began)
  end
end

local broken = {
  { "a syntax error", "return { number = \n" },
  { "an error", "error 'broken on purpose'\n" },
  { "an error of on(\"start\")", "return { number = 0, start = function() "
    .. "error 'broken on purpose' end }\n" },
  { "nothing returned", "\n" },
  { "a loop that never ends", "while true do end\n", long = true },
  { "too much memory", "local t = {} for i = 1, math.huge do t[i] = "
    .. "('x'):rep(100000) .. i end\n" },
}

local function bad_code(ctx, rng)
  local v, ledger, from = ctx.victim, ctx.ledger, #ctx.victim.lines
  local kind = rng:pick(broken)
  v:write("version.lua", kind[2])
  v:signal "HUP"
  ledger:event("broken reload", "%s", kind[1])
  local began = atoll.now()
  local failed = v:wait("reload failed", from, 20 * ctx.slow)
  if not failed and ledger.last_death < began and ledger.last_upgrade < began then
    missed(ctx, "broken reload", "no word about %s", kind[1])
  end
  good_code(ctx, rng)
end

-- ---- the program ----

local bad_programs = {
  { "no program", "/dev/null" },
  { "one that exits", "exit 3" },
  { "one that crashes", "kill -SEGV $$" },
  { "one that hangs", "exec sleep 60" },
}

local function upgrade(ctx)
  local v, ledger, from = ctx.victim, ctx.ledger, #ctx.victim.lines
  local old = v:hosts()
  ledger.last_upgrade = atoll.now()
  for _, pid in ipairs(old) do ledger:leaves(pid) end
  v:signal "USR2"
  ledger:event("upgrade", "from %s", table.concat(old, ", "))
  local at, what = v:wait("(upgraded? %l+)", from, 70 * ctx.slow)
  ledger.last_upgrade = atoll.now()
  if not at then
    missed(ctx, "upgrade", "no word of it")
    return
  end
  if what ~= "upgraded from" then
    if ledger.last_death < ledger.last_upgrade - 70 * ctx.slow
      and not ledger:anyone_starves(ledger.last_upgrade - 10) then
      missed(ctx, "upgrade", "it failed: %s", v.lines[at].text)
    end
    return
  end
  -- Those that were there go, and those that come are no others.
  local deadline = atoll.now() + 40 * ctx.slow
  for _, pid in ipairs(old) do
    while v:has(pid) do
      if atoll.now() > deadline then
        missed(ctx, "upgrade", "host %d does not go", pid)
        return
      end
      atoll.sleep(0.05)
    end
  end
end

local function bad_upgrade(ctx, rng)
  local v, ledger, from = ctx.victim, ctx.ledger, #ctx.victim.lines
  local kind = rng:pick(bad_programs)
  v:become(kind[2])
  ledger.last_upgrade = atoll.now()
  v:signal "USR2"
  ledger:event("broken upgrade", "%s", kind[1])
  if not v:wait("upgrade failed, what runs goes on", from, 20 * ctx.slow) then
    missed(ctx, "broken upgrade", "no word about %s", kind[1])
  end
  ledger.last_upgrade = atoll.now()
  v:become(v.program)
end

-- ---- processes ----

local function kill(ctx, rng)
  local pid = some_host(ctx, rng)
  if not pid then return end
  local how = rng:pick { "KILL", "SEGV" }
  ctx.ledger:dies(pid)
  ctx.victim:hit(pid, how)
  ctx.ledger:event("kill", "%s to host %d", how, pid)
end

-- A connection whose host is known.
local function acquainted(ctx, who)
  local c = clients.connect(ctx, who)
  if not c then return nil end
  c:send(wire.request("GET", "/hello/1"))
  local a = c:answer "GET"
  if not a or a.status ~= 200 then
    c:close()
    return nil
  end
  return c
end

local function crash(ctx, rng)
  local how = rng:pick { "null", "abort", "overflow" }
  local c = acquainted(ctx, "crasher")
  if not c then return end
  local from = #ctx.victim.lines
  ctx.ledger:dies(c.host)
  ctx.ledger:event("crash", "%s in host %d", how, c.host)
  c:send(wire.request("GET", "/crash/" .. how))
  local a = c:answer "GET"
  if a then
    ctx.ledger:fail("crash", "crasher", "answered with %d: %s", a.status, a.body)
  elseif not ctx.victim:wait("host " .. c.host .. "[,%l ]* was killed by", from,
    20 * ctx.slow) then
    missed(ctx, "crash", "no word of host %d", c.host)
  end
  c:close()
end

local function stop(ctx, rng)
  local supervisor = rng:chance(0.2)
  local pid = supervisor and ctx.victim.pid or some_host(ctx, rng)
  if not pid then return end
  local seconds = rng:real(0.05, 1.8)
  ctx.victim:hit(pid, "STOP")
  ctx.ledger:event("pause", "%s %d for %.1f s",
    supervisor and "the supervisor" or "host", pid, seconds)
  atoll.sleep(seconds)
  ctx.victim:hit(pid, "CONT")
end

local function grow(ctx, rng)
  local n = rng:int(1, 2)
  ctx.ledger:event("more isolates", "%d", n)
  for _ = 1, n do ctx.victim:signal "TTIN" pause(rng, 0, 0.3) end
  pause(rng, 0.5, 3)
  ctx.ledger:shrinks()
  ctx.ledger:event("fewer isolates", "%d", n)
  for _ = 1, n do ctx.victim:signal "TTOU" pause(rng, 0, 0.3) end
end

local function starve(ctx, rng)
  local v, ledger = ctx.victim, ctx.ledger
  local pid = some_host(ctx, rng)
  if not pid then return end
  local soft = require("proc").files(pid) + rng:int(-3, 8)
  ledger:starves(pid, true)
  local before = v.rough.files(pid, soft)
  if before then
    ledger:event("no descriptors", "host %d has %d", pid, soft)
    pause(rng, 0.3, 1.5)
    v.rough.files(pid, before)
  end
  ledger:starves(pid, false)
end

-- ---- requests that misbehave ----

-- Asks for it on a connection of its own; one of these statuses is right.
local function ask(ctx, who, path, ...)
  local ledger = ctx.ledger
  local c = clients.connect(ctx, who)
  if not c then return end
  local sent = atoll.now()
  c:send(wire.request("GET", path))
  local a, kind, detail = c:answer "GET"
  if a and a.status == 503 and ledger:anyone_starves(sent) then
    ledger:excuse "starved"
  elseif a then
    local right = false
    for _, status in ipairs { ... } do right = right or a.status == status end
    if not right then
      ledger:fail("wrong answer", who, "%s: status %d", path, a.status)
    end
    ledger:answered(who, sent)
  elseif not ledger:may_end(c) then
    ledger:fail(kind, who, "%s: %s, host %s", path, detail or "", c.host)
  end
  c:close()
  return a
end

local function together(n, fn)
  local list = {}
  for i = 1, n do list[i] = fn end
  atoll.all(list)
end

local function loop(ctx, rng)
  local n, path = rng:int(1, 4), rng:pick { "/loop", "/catch" }
  ctx.ledger:event("endless loops", "%d of %s", n, path)
  together(n, function() ask(ctx, "loop", path, 504) end)
end

local function hog(ctx, rng)
  local n = rng:int(1, 2)
  ctx.ledger:event("memory hogs", "%d", n)
  together(n, function() ask(ctx, "hog", "/hog", 503, 504) end)
end

local function leak(ctx)
  ctx.ledger:event("memory leak", nil)
  for _ = 1, 20 do
    local a = ask(ctx, "leak", "/leak", 200, 503)
    if not a or a.status ~= 200 then return end
  end
end

-- ---- clients that misbehave ----

local function flood(ctx, rng)
  local n = rng:int(50, 400)
  ctx.ledger:event("flood", "%d connections", n)
  together(n, function() ask(ctx, "flood", "/hello/7", 200) end)
end

-- Connections that are left in any state, in any manner.
local function vandals(ctx, rng)
  local n, left = rng:int(5, 60), {}
  ctx.ledger:event("vandals", "%d", n)
  for i = 1, n do
    local c = wire.connect(ctx.victim.address, ctx.patience)
    if c then
      local request = rng:pick {
        wire.request("POST", "/copy", { body = ("x"):rep(rng:int(0, 200000)) }),
        wire.request("GET", "/stream/60"), wire.request("GET", "/noise.bin"),
        wire.request("GET", "/moved/1"), wire.request("GET", "/called/1"),
        wire.request("GET", "/sleep/50"), wire.request("GET", "/spawned/1"),
        wire.request("GET", "/pooled/1"),
        wire.request("GET", "/ticks"), "\0\1\2\3\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
      }
      if rng:chance(0.5) then request = request:sub(1, rng:int(1, #request)) end
      if rng:chance(0.3) then
        request = request .. wire.request("GET", "/hello/1"):rep(50)
      end
      c:send(request)
      left[i] = c
    end
    if i % 10 == 0 then atoll.sleep(0.01) end
  end
  pause(rng, 0, 0.2)
  for _, c in pairs(left) do
    local how = rng:int(1, 3)
    if how == 1 then
      ctx.victim.rough.abort(c.socket:fd())
    elseif how == 2 then
      c.socket:shutdown "write"
      pause(rng, 0, 0.05)
    end
    c:close()
  end
end

-- Reads an answer, or a stream, so slowly that all buffers fill.
local function slow_reader(ctx, rng)
  local ledger, c = ctx.ledger, clients.connect(ctx, "slow reader")
  if not c then return end
  local n, sent = rng:int(20, 60), atoll.now()
  ledger:event("slow reader", "%d files", n)
  c:send(wire.request("GET", "/noise.bin"):rep(n))
  for i = 1, n do
    local a, kind, detail = c:answer "GET"
    if not a then
      if not ledger:may_end(c) and not c.told then
        ledger:fail(kind, "slow reader", "answer %d, host %s: %s", i, c.host, detail)
      end
      break
    end
    if a.status == 503 and ledger:anyone_starves(sent) then
      ledger:excuse "starved"
    elseif a.status ~= 200 or a.body ~= ctx.noise then
      ledger:fail("wrong answer", "slow reader", "answer %d: status %d, %d bytes", i,
        a.status, #a.body)
    end
    ledger:answered("slow reader", sent)
    if c.told then break end
    pause(rng, 0, 0.1)
  end
  c:close()
end

local function storm(ctx, rng)
  local n = rng:int(20, 150)
  ctx.ledger:event("WebSocket storm", "%d", n)
  together(n, function()
    local born = atoll.now()
    local ws, message, _, status = atoll.websocket.connect("ws://"
      .. ctx.victim.address .. "/talk", { timeout = ctx.patience })
    if not ws then
      if not (status == 503 and ctx.ledger:anyone_starves(born)
        or ctx.ledger:may_end { born = born }) then
        ctx.ledger:fail("no WebSocket", "storm", "%s", message)
      end
      return
    end
    for i = 1, 20 do ws:send("storm " .. i) end
    local echoes = 0
    while echoes < 20 do
      local text = ws:receive(ctx.patience)
      if not text then break end
      if text == ("%d storm %d"):format(echoes + 1, echoes + 1) then
        echoes = echoes + 1
        ctx.ledger:answered("message", born)
      elseif not text:find "^tick " and not text:find "^host " then
        ctx.ledger:fail("wrong answer", "storm", "%q behind %d", text, echoes)
      end
    end
    if echoes < 20 and ws.code ~= 1001 and not ctx.ledger:may_end { born = born } then
      ctx.ledger:fail("WebSocket closed", "storm", "with %s after %d echoes", ws.code,
        echoes)
    end
    if #ctx.victim.lines % 3 > 0 then ws:close() end -- others are just dropped
  end)
end

-- ---- all of them ----

-- Of those in one group only one is under way at any time.
M.list = {
  { name = "reload", weight = 18, group = "code", run = good_code },
  { name = "broken reload", weight = 7, group = "code", run = bad_code },
  { name = "upgrade", weight = 7, group = "program", run = upgrade },
  { name = "broken upgrade", weight = 4, group = "program", run = bad_upgrade },
  { name = "kill", weight = 5, run = kill },
  { name = "crash", weight = 4, group = "crash", run = crash },
  { name = "pause", weight = 9, group = "pause", run = stop },
  { name = "isolates", weight = 5, group = "isolates", run = grow },
  { name = "no descriptors", weight = 4, group = "starve", run = starve },
  { name = "endless loops", weight = 8, group = "loop", run = loop },
  { name = "memory hogs", weight = 5, group = "memory", run = hog },
  { name = "memory leak", weight = 3, group = "memory", run = leak },
  { name = "flood", weight = 5, group = "flood", run = flood },
  { name = "vandals", weight = 9, group = "vandals", run = vandals },
  { name = "slow reader", weight = 5, run = slow_reader },
  { name = "WebSocket storm", weight = 4, group = "storm", run = storm },
}

M.good_code = good_code

return M
