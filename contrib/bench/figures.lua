-- Figures that are no rates: latency at a fixed load, memory, start, reload, two
-- workers. Returns rows for report.lua:
--   { kind = "figure", name, title, unit, goal, cells = { [server] = cell } }
--   cell: { values = a list } or { why }
local uv = require "luv"
local clients = require "clients"
local proc = require "proc"
local progress = require "progress"
local servers = require "servers"

local M = {}

local function row(name, title, unit, goal)
  return { kind = "figure", name = name, title = title, unit = unit, goal = goal,
    cells = {} }
end

local function add(to, server, value)
  to.cells[server] = to.cells[server] or { values = {} }
  table.insert(to.cells[server].values, value)
end

local function refuse(rows, server, why)
  for _, to in ipairs(rows) do to.cells[server] = { why = why } end
end

-- Latency -----------------------------------------------------------------------------

local LOADS, CROWDED = { 5000, 20000 }, 0.1

local function paced(server, rate, seconds)
  local r, why = clients.load(server, "/hello",
    { "-r", tostring(rate), "-c", "64", "-d", tostring(seconds) })
  if r and r.bad > 0 then why = r.bad .. " requests went wrong" end
  if r and r.misplaced then why = "no figure: " .. r.misplaced end
  return r, why
end

-- One run for each server of the list, after which it may be out of it.
local function latency_round(list, rate, seconds, rows)
  for _, one in ipairs(list) do
    local r, why
    if not one.out then r, why = paced(one.server, rate, seconds) end
    if r and r.unsent > 0 then r, why = paced(one.server, rate, seconds) end
    if r and r.unsent > 0 then
      why = r.others > CROWDED * r.seconds and "others had its CPU"
        or ("falls behind: %.0f/s"):format(r.requests / r.seconds)
    end
    if why then
      one.out = true
      refuse(rows, one.name, why)
    elseif r then
      add(rows[1], one.name, r.p50_us)
      add(rows[2], one.name, r.p99_us)
      add(rows[3], one.name, r.p999_us)
      add(rows[4], one.name, r.lag_p99_us)
      for i = 1, 3 do
        local cell = rows[i].cells[one.name]
        cell.others = cell.others or {}
        table.insert(cell.others, r.others / r.seconds)
      end
    end
  end
end

function M.latency(options)
  local rows, list = {}, {}
  for _, rate in ipairs(LOADS) do
    for _, name in ipairs({ "p50", "p99", "p99.9" }) do
      local to = row("latency", ("%s at %d requests/s"):format(name, rate), "us")
      to.percentile, to.rate = name, rate
      rows[#rows + 1] = to
    end
    local lag = ("client late at %d/s, p99"):format(rate)
    rows[#rows + 1] = row("latency", lag, "us")
  end
  local limit = servers.start_limit("one", 150)
  if limit then list[1] = { name = "limit", server = limit } end
  for _, peer in ipairs(servers.b.peers) do
    local server, why = servers.start(peer)
    if server then
      clients.load(server, "/hello", { "-d", tostring(0.5 + 2 * (peer.warm or 0)) })
      list[#list + 1] = { name = peer.name, server = server }
    else
      refuse(rows, peer.name, why)
    end
  end
  for i, rate in ipairs(LOADS) do
    for _, one in ipairs(list) do one.out = nil end
    for round = 1, options.rounds do
      progress.tick(((i - 1) * options.rounds + round) / (#LOADS * options.rounds + 1),
        "%d a second, round %d of %d", rate, round, options.rounds)
      latency_round(list, rate, options.paced_seconds,
        table.move(rows, i * 4 - 3, i * 4, 1, {}))
    end
  end
  for _, one in ipairs(list) do proc.stop(one.server) end
  return rows
end

-- Memory ------------------------------------------------------------------------------

-- The growth of a server's private memory with each of so many connections; or nil and
-- why.
local function idle_growth(server, count)
  -- What the first thousands of requests leave behind is not the connections'.
  local ok, why = clients.load(server, "/hello", { "-d", "1" })
  if not ok then return nil, why end
  local before = proc.memory(server.pid)
  local load = clients.start_load(server, "/hello", { "-i", "-c", tostring(count) },
    { input = true })
  if not proc.wait_output(load, "}", 60) then why = "not all were answered" end
  local after = proc.memory(server.pid)
  load.stdin:close()
  local r, failed = clients.finish(load, 15)
  why = why or failed
  if r and r.errors > 0 then
    why = ("%d of %d connections failed"):format(r.errors, count)
  end
  if why then return nil, why end
  return (after.private - before.private) / count
end

function M.idle(options)
  local rss = row("idle", "RSS when idle, all processes", "KB")
  local once = row("idle", "the same, shared pages once", "KB", 4096)
  local private = row("idle", "memory per idle connection", "B", 320)
  private.note = ("private pages, over %d connections"):format(options.idle)
  local rows = { rss, once, private }
  local function one(name, server)
    local memory = proc.memory(server.pid)
    add(rss, name, memory.rss / 1024)
    add(once, name, memory.once / 1024)
    local each, why = idle_growth(server, options.idle)
    if each then add(private, name, each) else refuse({ private }, name, why) end
    proc.stop(server)
  end
  local limit = servers.start_limit("one", 150)
  if limit then one("limit", limit) end
  for i, peer in ipairs(servers.b.peers) do
    progress.tick(i / (#servers.b.peers + 1), "%s", peer.name)
    local server, why = servers.start(peer)
    if server then one(peer.name, server) else refuse(rows, peer.name, why) end
  end
  return rows
end

-- Start -------------------------------------------------------------------------------

-- Milliseconds from exec to the first answer, all through a shell; or nil and why.
local function start_once(command, env, port)
  local b = servers.b
  if not command then return nil, env end
  local first = proc.start({ b.build .. "/first", "-p", tostring(port), "-c",
    tostring(b.cpu_server), "--", table.unpack(command) },
    { cpu = b.cpu_client, env = env, output = true, log = b.build .. "/servers.log" })
  proc.wait(first, 30)
  local us = first.out:match('"first_us": (%d+)')
  if not us then return nil, "no answer, see servers.log" end
  return tonumber(us) / 1000
end

function M.start(options)
  local to = row("start", "exec to first answer", "ms")
  for turn = 1, options.starts do
    progress.tick(turn / options.starts, "%d of %d", turn, options.starts)
    local port = proc.free_port()
    local floor = start_once({ "sh", "-c", 'exec "$0" -p "$1"',
      servers.b.build .. "/limit", tostring(port) }, nil, port)
    if floor then add(to, "limit", floor) end
    for _, peer in ipairs(servers.b.peers) do
      if not (to.cells[peer.name] or {}).why then
        port = proc.free_port()
        local command, env = servers.command_of(peer, port, {})
        local ms, why = start_once(command, env, port)
        if ms then add(to, peer.name, ms) else refuse({ to }, peer.name, why) end
      end
    end
  end
  return { to }
end

-- Reload ------------------------------------------------------------------------------

-- Seconds from the signal until /born answers with another text; nil when it does not.
local function switch_time(server)
  local _, old = proc.fetch(server.port, "/born")
  local begin = uv.hrtime()
  uv.kill(server.pid, server.peer.reload)
  repeat
    local _, text = proc.fetch(server.port, "/born")
    if text and text ~= old then return (uv.hrtime() - begin) / 1e9 end
  until uv.hrtime() - begin > 5e9
end

local function reload_one(peer, options, rows)
  local server, why = servers.start(peer)
  if not server then return why end
  local quiet, busy, failed, closed, signals = {}, {}, 0, 0, 0
  local function signal()
    uv.kill(server.pid, peer.reload)
    signals = signals + 1
  end
  local function one(list, tick)
    local r
    r, why = clients.load(server, "/hello", { "-L", "-V", "-c", "16", "-d",
      tostring(options.reload_seconds) }, { every = 0.2, while_running = tick })
    if r and r.misplaced then why = r.misplaced end
    if not r or why then return false end
    if tick then failed, closed = failed + r.errors, closed + r.closed end
    table.insert(list, r.p99_us)
    return true
  end
  local going = one({}) -- warm up
  for _ = 1, going and options.rounds or 0 do
    if not one(quiet) or not one(busy, signal) then break end
    add(rows[1], peer.name, busy[#busy] / quiet[#quiet])
  end
  if not why then
    add(rows[2], peer.name, failed)
    add(rows[3], peer.name, closed)
    rows[2].cells[peer.name].note = signals .. " reloads"
    local born = proc.fetch(server.port, "/born") == 200
    for _ = 1, born and 5 or 0 do
      local took = switch_time(server)
      if not took then
        why = "the signal did not bring new code"
        break
      end
      add(rows[4], peer.name, took * 1000)
    end
    if not born then refuse({ rows[4] }, peer.name, "has no /born") end
  end
  proc.stop(server)
  return why
end

function M.reload(options)
  local rows = {
    row("reload", "p99 while reloading to without", "x", 1.2),
    row("reload", "requests failed by reloads", "", 0),
    row("reload", "connections closed by reloads", "", 0),
    row("reload", "signal to new code", "ms", 10),
  }
  for i, peer in ipairs(servers.b.peers) do
    local why = peer.lacks.reload or not peer.reload and "has none"
    progress.tick(i / #servers.b.peers, "%s", peer.name)
    if not why then why = reload_one(peer, options, rows) end
    if why then refuse(rows, peer.name, why) end
  end
  return rows
end

-- Two workers -------------------------------------------------------------------------

-- What two workers on both CPUs do to what one does on its own, of what costs 2 ms (of
-- much dearer ones the last of a run, half done and not counted, would decide); the
-- client, on one of them, costs next to nothing. And with hellos, where the client
-- takes a CPU's time too, what a request costs, two workers to one.
local TWO = {
  { title = "computing, 2 workers to 1", path = "/burn?n=200000",
    args = { "-c", "8" }, goal = 1.97, least = true,
    of = function(r) return r.requests / r.seconds end },
  { title = "CPU per hello, 2 workers to 1", path = "/hello", args = { "-c", "64" },
    of = function(r) return r.cpu / r.requests end },
}

local function two_one(peer, options, rows)
  local b = servers.b
  local one, two, why
  one, why = servers.start(peer)
  if one then
    two, why = servers.start(peer, { workers = 2,
      cpu = b.cpu_server .. "," .. b.cpu_client })
  end
  for i, w in ipairs(two and TWO or {}) do
    for _ = 1, math.min(options.rounds, options.short and 2 or 5) do
      local values = {}
      for k, server in ipairs({ one, two }) do
        local r
        r, why = clients.load(server, w.path,
          { "-d", tostring(options.seconds * 1.5), table.unpack(w.args) })
        if r and r.bad > 0 then why = r.bad .. " requests went wrong" end
        if r and r.misplaced then why = "no figure: " .. r.misplaced end
        if why then break end
        values[k] = w.of(r)
      end
      if why then break end
      add(rows[i], peer.name, values[2] / values[1])
    end
    if why then break end
  end
  if one then proc.stop(one) end
  if two then proc.stop(two) end
  return why
end

function M.two(options)
  local rows = {}
  for i, w in ipairs(TWO) do
    rows[i] = row("two", w.title, "x", w.goal)
    rows[i].least = w.least
  end
  for i, peer in ipairs(servers.b.peers) do
    progress.tick(i / #servers.b.peers, "%s", peer.name)
    local why = peer.lacks.two or two_one(peer, options, rows)
    if why then refuse(rows, peer.name, why) end
  end
  return rows
end

local function peers_of(lack)
  local n = 0
  for _, peer in ipairs(servers.b.peers) do
    if not peer.lacks[lack] then n = n + 1 end
  end
  return n
end

function M.gauges()
  local function gauge(name, title, seconds)
    return { name = name, title = title, seconds = seconds, measure = M[name] }
  end
  return {
    gauge("latency", "latency at a fixed load", function(o)
      return (peers_of "latency" + 1)
        * (#LOADS * o.rounds * (o.paced_seconds + 0.2) + 1.5)
    end),
    gauge("idle", "idle connections", function() return peers_of "idle" * 4 end),
    gauge("start", "start", function(o) return peers_of "start" * o.starts * 0.2 end),
    gauge("reload", "reload under load", function(o)
      return peers_of "reload" * (2 * o.rounds + 1) * (o.reload_seconds + 0.2)
    end),
    gauge("two", "two workers", function(o)
      return peers_of "two" * (#TWO * 2 * math.min(o.rounds, o.short and 2 or 5)
        * (o.seconds * 1.5 + 0.3) + 1)
    end),
  }
end

return M
