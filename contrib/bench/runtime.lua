-- What is measured of the runtime under the HTTP server: the programs in
-- contrib/examples, held against the same in C where there is one. Returns rows with
-- group = "runtime":
--   a ratio   { kind = "ratio", title, target, ratios, limit = {...}, product = {...} }
--   a figure  { kind = "figure", title, value, limit, target, unit, most = true }
-- A row with `why` was not measured, and says why not. "limit" is echo.c.
local uv = require "luv"
local clients = require "clients"
local proc = require "proc"
local servers = require "servers"
local stats = require "stats"

local M = {}

-- Seconds that each takes, more or less.
local SECONDS = { echo = 30, sockets = 8, crowd = 12, sleepers = 3, fibers = 2,
  isolates = 3, together = 8, broadcast = 12, reloads = 14, ports = 4, spread = 10,
  neighbours = 6, push = 6, proxy = 4, first = 4, counter = 4 }

local SIZES = {
  { bytes = 128, title = "128 B" },
  { bytes = 4096, title = "4 KiB" },
  { bytes = 65536, title = "64 KiB", target = 0.90 },
  { bytes = 131072, title = "128 KiB" },
}

local median = stats.median

local function row(fields)
  fields.group = "runtime"
  return fields
end

-- ---- servers and clients ----

local function accepts(port)
  local socket, done, result = uv.new_tcp(), false, false
  socket:connect("127.0.0.1", port, function(err)
    done, result = true, not err
  end)
  while not done do uv.run("once") end
  socket:close()
  return result
end

local function launch(command, port)
  local b = servers.b
  local server = proc.start(command, { cpu = b.cpu_server, descriptors = b.descriptors,
    log = b.build .. "/servers.log" })
  server.port = port
  for _ = 1, 300 do
    if server.status then break end
    if accepts(port) then return server end
    proc.sleep(0.01)
  end
  proc.stop(server)
  return nil, "does not serve: " .. server.command
end

local function example(name, port, ...)
  local b = servers.b
  local script = b.root .. "/contrib/examples/" .. name .. ".lua"
  return launch({ b.program, "run", script, "127.0.0.1:" .. port, ... }, port)
end

local function start_echo_c()
  local port = proc.free_port()
  return launch({ servers.b.build .. "/echo", tostring(port) }, port)
end

local function start_echo()
  return example("echo", proc.free_port())
end

local start_talk = clients.start_talk

-- Numbers of talk's line, and the server's seconds of CPU meanwhile.
local function talk(server, args)
  local before = proc.cpu_seconds(server.pid)
  local result, why = clients.finish(start_talk(server, args), 90)
  if not result then return nil, why end
  if result.errors > 0 then return nil, result.errors .. " connections failed" end
  result.cpu = proc.cpu_seconds(server.pid) - before
  if result.cpu <= 0 then return nil, "the server used no CPU time" end
  return result
end

-- ---- echo ----

local function echo_row(c, own, size, connections, options)
  local r = row { kind = "ratio", name = "echo", target = size.target, ratios = {},
    title = ("echo %s, %d connection%s"):format(size.title, connections,
      connections == 1 and "" or "s"),
    limit = { rps = {}, per_cpu = {}, busy = {} },
    product = { rps = {}, per_cpu = {}, busy = {} } }
  local function one(server, side, seconds)
    local result
    result, r.why = talk(server, { "-c", tostring(connections), "-s",
      tostring(size.bytes), "-d", tostring(seconds) })
    if not result then return nil end
    table.insert(side.rps, result.requests / result.seconds)
    table.insert(side.per_cpu, result.requests / result.cpu)
    table.insert(side.busy, result.cpu / result.seconds)
    return result.requests / result.cpu
  end
  local seconds = math.min(options.seconds, 0.7)
  for _ = 1, math.min(options.rounds, 3) do
    local a = one(c, r.limit, seconds)
    local b = a and one(own, r.product, seconds)
    if not b then break end
    table.insert(r.ratios, b / a)
  end
  return r
end

function M.echo(options)
  local rows = {}
  local c, why = start_echo_c()
  local own
  if c then own, why = start_echo() end
  if not own then
    rows[1] = row { kind = "ratio", name = "echo", title = "echo", why = why }
  end
  for _, connections in ipairs(own and { 1, 64 } or {}) do
    for _, size in ipairs(SIZES) do
      table.insert(rows, echo_row(c, own, size, connections, options))
    end
  end
  if own then proc.stop(own) end
  if c then proc.stop(c) end
  return rows
end

-- ---- a crowd: many clients once ----

-- Waits until the server has as many descriptors; false when that takes too long.
local function has_accepted(server, count)
  for _ = 1, 100 do
    if proc.descriptors(server.pid) >= count then return true end
    proc.sleep(0.1)
  end
  return false
end

-- What the server has grown by for each connection while talk runs with these
-- arguments, and talk's numbers; or nil and why.
local function growth(start, args, count)
  local server, why = start()
  if not server then return nil, why end
  local each, result
  -- One connection warms up without leaving much garbage.
  result, why = clients.finish(start_talk(server, { "-d", "0.1" }), 10)
  if result then
    local before = proc.memory(server.pid).private
    local client = start_talk(server, { "-c", tostring(count), table.unpack(args) },
      { input = true })
    if not proc.wait_output(client, "}", 70) then why = "not all were answered" end
    if not has_accepted(server, count) then why = "not all were accepted" end
    each = (proc.memory(server.pid).private - before) / count
    client.stdin:close()
    local failed
    result, failed = clients.finish(client, 20)
    why = why or failed
  end
  proc.stop(server)
  if result and result.errors > 0 then why = result.errors .. " connections failed" end
  if why then return nil, why end
  return each, result
end

function M.crowd(options)
  local count = math.min(options.crowd, servers.b.descriptors - 100)
  local fewer = count < options.crowd and ", for want of descriptors" or ""
  local took = row { kind = "figure", name = "crowd", unit = "ms", most = true,
    title = ("%d clients connect, send 1 KiB and are answered%s"):format(count,
      fewer) }
  local each = row { kind = "figure", name = "crowd", unit = "B", target = 512,
    most = true, title = "private memory per open socket, with its fiber" }
  local after = row { kind = "figure", name = "crowd", unit = "B", most = true,
    title = "the same when all have just been answered" }
  local result
  after.limit, result = growth(start_echo_c, { "-o" }, count)
  took.limit = after.limit and result.seconds * 1000
  after.value, result = growth(start_echo, { "-o" }, count)
  if after.value then
    took.value = result.seconds * 1000
    if result.requests < count then
      took.why = ("%d of %d were answered"):format(result.requests, count)
    end
  else
    took.why, after.why = result, result
  end
  each.limit = growth(start_echo_c, { "-i" }, count)
  each.value, result = growth(start_echo, { "-i" }, count)
  if not each.value then each.why = result end
  return { took, each, after }
end

-- ---- sleepers ----

function M.sleepers(options)
  local seconds = options.short and 2 or 10
  local rows = {
    row { kind = "figure", name = "sleepers", unit = "us", target = 100, most = true,
      title = ("20 sleepers up to %d s, late in the median"):format(seconds) },
    row { kind = "figure", name = "sleepers", unit = "us", target = 700, most = true,
      title = "the same, at most" },
  }
  local b = servers.b
  local run = proc.start({ b.program, "run",
    b.root .. "/contrib/examples/sleepers.lua", "20", tostring(seconds) },
    { cpu = b.cpu_server, output = true, log = b.build .. "/servers.log" })
  proc.wait(run, seconds + 20)
  local middle, most = run.out:match("late by (%d+) %S+ in the median, (%d+)")
  rows[1].value, rows[2].value = tonumber(middle), tonumber(most)
  if not middle then
    rows[1].why, rows[2].why = "sleepers.lua failed", "sleepers.lua failed"
  end
  return rows
end

function M.fibers()
  local r = row { kind = "figure", name = "fibers", unit = "B", target = 1536,
    most = true, title = "private memory per sleeping fiber (10000)" }
  local b = servers.b
  local function memory(count)
    local run = proc.start({ b.program, "run", b.here .. "/asleep.lua",
      tostring(count) }, { cpu = b.cpu_server, output = true,
      log = b.build .. "/servers.log" })
    local asleep = proc.wait_output(run, "asleep", 20)
    local m = asleep and proc.memory(run.pid).private
    proc.stop(run)
    return m
  end
  local none, many = memory(0), memory(10000)
  if none and many then r.value = (many - none) / 10000 else r.why = "did not run" end
  return { r }
end

-- Both CPUs: parent and child may run at the same time.
function M.isolates()
  local count = 100
  local soon = row { kind = "figure", name = "isolates", unit = "us", target = 300,
    most = true, title = "an isolate is spawned, until its first message" }
  local each = row { kind = "figure", name = "isolates", unit = "KiB", target = 150,
    most = true, title = ("private memory per spawned isolate (%d)"):format(count) }
  local b = servers.b
  local function run(n)
    local program = proc.start({ b.program, "run", b.here .. "/spawned.lua",
      tostring(n) }, { cpu = b.cpu_server .. "," .. b.cpu_client, output = true,
      log = b.build .. "/servers.log" })
    local told = proc.wait_output(program, "us", 30)
    local m = told and proc.memory(program.pid).private
    local took = told and tonumber(program.out:match "(%d+) us")
    proc.stop(program)
    return m, took
  end
  local none, many = run(0), { run(count) }
  if none and many[1] then
    soon.value, each.value = many[2], (many[1] - none) / count / 1024
  else
    soon.why, each.why = "did not run", "did not run"
  end
  return { soon, each }
end

-- What a program prints, one line for each of the list: its name, the value, its unit.
local function printed(group, list, ...)
  local b = servers.b
  local program = proc.start(
    { b.program, "run", b.here .. "/" .. group .. ".lua", ... },
    { cpu = b.cpu_server .. "," .. b.cpu_client, output = true,
      log = b.build .. "/servers.log" })
  local last = list[#list]
  local told = proc.wait_output(program, last[1] .. " %S+ " .. last[2], 60)
  proc.stop(program)
  local rows = {}
  for i, item in ipairs(list) do
    local name, unit, title, target = table.unpack(item)
    rows[i] = row { kind = "figure", name = group, unit = unit, most = true,
      title = title, target = target,
      value = told and tonumber(program.out:match(name .. " (%S+) " .. unit)) }
    if not rows[i].value then rows[i].why = "did not run" end
  end
  return rows
end

-- On both CPUs, too.
function M.together()
  return printed("together", {
    { "get", "ns", "shared dictionary: get of 40 bytes, one isolate" },
    { "set", "ns", "set of 40 bytes" },
    { "incr", "ns", "incr" },
    { "table", "ns", "set and get of a table of two" },
    { "own", "ns", "incr by two isolates at once, each its own key: one" },
    { "same", "ns", "incr by two isolates at once, of one key: one" },
    { "broadcast", "ms", "topic: 1 KiB is read by 10000 fibers of two isolates",
      200 },
  })
end

-- The server has one CPU, the clients the other.
function M.reloads()
  return printed("reloads", {
    { "slowest", "ms", "10000 WebSockets, after a reload: an echo and a number each" },
    { "lost", "sockets", "of them lost, or with a message lost, after ten reloads", 0 },
  })
end

function M.broadcast()
  local b = servers.b
  local r = row { kind = "figure", name = "broadcast", unit = "ms", most = true,
    title = "1 KB published to 10000 WebSockets in two isolates, all have read it",
    target = 200 }
  local port = proc.free_port()
  local server
  server, r.why = launch({ b.program, "serve", b.root .. "/apps/bench", "-n", "2",
    "-l", "127.0.0.1:" .. port, "--set", "access_log=off" }, port)
  if not server then return { r } end
  local crowd = proc.start({ b.program, "run", b.here .. "/broadcast.lua",
    "ws://127.0.0.1:" .. port .. "/news" },
    { cpu = b.cpu_client, output = true, log = b.build .. "/servers.log" })
  local told = proc.wait_output(crowd, "websockets %S+ ms", 120)
  proc.stop(crowd)
  proc.stop(server)
  r.value = told and tonumber(crowd.out:match "websockets (%S+) ms")
  if not r.value then r.why = "did not run" end
  return { r }
end

function M.neighbours()
  return printed("neighbours", {
    { "p50", "ms", "a hello beside an endless loop in its isolate, p50" },
    { "p99", "ms", "the same, p99", 20 }, { "hundred", "ms", "beside 100, p99", 20 },
  })
end

-- Beside a call stands what two threads in C take that wake each other.
function M.ports()
  local rows = printed("ports", {
    { "send", "ns", "a message to another isolate, one after the other", 670 },
    { "call", "us", "a call of another isolate, until its answer", 15 },
    { "transfer", "us", "a socket moves, until that is confirmed" },
    { "moved", "us", "100 sockets move to and fro: one move" },
  })
  local b = servers.b
  local wake = proc.start({ b.build .. "/wake" },
    { cpu = b.cpu_server .. "," .. b.cpu_client, output = true })
  if proc.wait_output(wake, "call %S+ us", 5) then
    rows[2].limit = tonumber(wake.out:match "call (%S+) us")
  end
  proc.stop(wake)
  return rows
end

function M.spread()
  local others = ": largest share, over an equal one"
  return printed("spread", {
    { "over", "percent", "1000 connections on 2, 4, 8 isolates at once" .. others, 1 },
    { "piled", "percent", "1000 that came while all but one computed" .. others },
    { "after", "percent", "the same, after five more requests of each" .. others, 1 },
    { "late", "clients", "new clients, of 1200, that wait for one that computes", 0 },
  }, servers.b.root .. "/apps/busy")
end

-- ---- push and proxy ----

function M.push(options)
  local r = row { kind = "figure", name = "push", unit = "ms", most = true,
    title = "push.lua: 1000 clients are told, first to last" }
  local server
  server, r.why = example("push", proc.free_port())
  if not server then return { r } end
  local result
  result, r.why = clients.finish(start_talk(server, { "-p", "-c", "1000", "-d",
    options.short and "3.5" or "5.5" }), 30)
  if result and (result.ticks == 0 or result.errors > 0) then
    r.why = "not all were told"
  elseif result then
    r.value = result.spread_us / 1000
  end
  proc.stop(server)
  return { r }
end

-- Behind the proxy stands the echo in C, on the client's CPU.
function M.proxy(options)
  local r = row { kind = "figure", name = "proxy", unit = "MB",
    title = "proxy.lua: megabytes per second of its CPU, 64 KiB echoed" }
  local b = servers.b
  local port = proc.free_port()
  local echo = proc.start({ b.build .. "/echo", tostring(port) },
    { cpu = b.cpu_client, log = b.build .. "/servers.log" })
  proc.wait_port(port)
  local server
  server, r.why = example("proxy", proc.free_port(), "127.0.0.1:" .. port)
  if server then
    local list = {}
    for _ = 1, math.min(options.rounds, 3) do
      local result
      result, r.why = talk(server, { "-c", "16", "-s", "65536", "-d", "0.7" })
      if not result then break end
      table.insert(list, 2 * 65536 * result.requests / result.cpu / 1e6)
    end
    r.value = median(list)
    proc.stop(server)
  end
  proc.stop(echo)
  return { r }
end

-- ---- apps that ask others, which run on the client's CPU ----

local function app_row(name, title, other, env, options)
  local r = row { kind = "figure", name = name, unit = "", title = title }
  local b = servers.b
  local server
  server, r.why = servers.start_product({ app = b.root .. "/apps/" .. name, env = env })
  if server then
    local list = {}
    for _ = 1, math.min(options.rounds, 3) do
      local result
      result, r.why = clients.load(server, "/", { "-c", "16", "-d", "0.7" })
      if result and result.bad > 0 then r.why = result.bad .. " requests went wrong" end
      if r.why then break end
      table.insert(list, result.requests / result.cpu)
    end
    r.value = median(list)
    proc.stop(server)
  end
  proc.stop(other)
  return { r }
end

function M.first(options)
  local title = "apps/first: answers per CPU second, each the first of three"
  local b = servers.b
  local upstream, why = servers.start_limit("one", 200, { cpu = b.cpu_client })
  if not upstream then return { row { kind = "figure", title = title, why = why } } end
  local url = "http://127.0.0.1:" .. upstream.port .. "/"
  return app_row("first", title, upstream,
    { ("MIRRORS=%sa %sb %sc"):format(url, url, url) }, options)
end

function M.counter(options)
  local title = "apps/counter: answers per CPU second, each from Redis"
  local b = servers.b
  local path = proc.which("redis-server")
  if not path then
    return { row { kind = "figure", title = title, why = "redis is not installed" } }
  end
  local port = tostring(proc.free_port())
  local redis = proc.start({ path, "--port", port, "--bind", "127.0.0.1", "--save", "",
    "--appendonly", "no", "--dir", b.build },
    { cpu = b.cpu_client, log = b.build .. "/servers.log" })
  if not proc.wait_port(port) then
    proc.stop(redis)
    return { row { kind = "figure", title = title, why = "Redis does not start" } }
  end
  return app_row("counter", title, redis, { "REDIS=127.0.0.1:" .. port }, options)
end

-- ---- WebSockets ----

function M.sockets(options)
  local r = row { kind = "figure", name = "sockets", unit = "B", target = 2048,
    most = true,
    title = ("private memory per idle WebSocket (%d)"):format(options.idle) }
  local product, why = servers.start_product()
  local function open(count)
    local client = start_talk(product, { "-i", "-w", "/echo", "-c", tostring(count) },
      { input = true })
    proc.wait_output(client, "}", 60)
    local m = proc.memory(product.pid).private
    client.stdin:close()
    local result, problem = clients.finish(client, 15)
    why = why or problem or result.errors > 0 and "connections failed" or nil
    return m
  end
  if product then
    local few = open(100) -- what the first leave behind is not the others'
    local many = open(options.idle)
    r.value = not why and (many - few) / (options.idle - 100) or nil
    proc.stop(product)
  end
  r.why = why
  return { r }
end

-- As rates.lua has them.
function M.gauges()
  local list = {}
  for i, name in ipairs({ "echo", "sockets", "crowd", "sleepers", "fibers", "isolates",
    "together", "broadcast", "reloads", "ports", "spread", "neighbours", "push",
    "proxy", "first", "counter" }) do
    list[i] = { name = name, title = name, measure = M[name], runtime = true,
      seconds = function() return SECONDS[name] end }
  end
  return list
end

return M
