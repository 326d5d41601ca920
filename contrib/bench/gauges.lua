-- What is measured. Each gauge takes the options { seconds, rounds, ... } and returns
-- rows for report.lua:
--   a ratio   { kind = "ratio", title, target, ratios, limit = {...}, product = {...} }
--   a figure  { kind = "figure", title, value, limit, target, unit, most = true }
-- A row with `why` was not measured, and says why not.
local uv = require "luv"
local proc = require "proc"
local servers = require "servers"

local M = {}

function M.median(list)
  local sorted = table.move(list, 1, #list, 1, {})
  table.sort(sorted)
  local n = #sorted
  if n == 0 then return nil end
  return n % 2 == 1 and sorted[n // 2 + 1] or (sorted[n // 2] + sorted[n // 2 + 1]) / 2
end
local median = M.median

local function say(...)
  io.stderr:write(string.format(...), "\n")
end
M.say = say

-- Requests per second of the server's CPU ---------------------------------------------

M.rates = {
  { name = "hello", title = "hello, keep-alive 64", path = "/hello", target = 0.85 },
  { name = "pipelined", title = "pipelined x16", path = "/hello", target = 0.50,
    load = { "-P", "16" }, mode = "count" },
  { name = "connection", title = "connection per request", path = "/hello",
    target = 0.88, load = { "-e" }, mode = "close" },
  { name = "json", title = "JSON of 5 fields (to limit's hello)", path = "/json",
    target = 0.75, limit_path = "/hello" },
  { name = "route", title = "route + header, 10 headers sent", path = "/users/42",
    target = 0.75, load = { "-H" } },
  { name = "page", title = "64 KiB body", path = "/page", target = 0.90 },
  { name = "file", title = "file of 64 KiB", path = "/files/64k.bin" },
  { name = "download", title = "file of 1 MiB", path = "/files/1m.bin" },
  { name = "log", title = "hello, access log on", path = "/hello", target = 0.75,
    log = "/dev/null" },
  { name = "upstream", title = "asks itself for hello (to limit's)", path = "/upstream",
    limit_path = "/hello" },
}

local function load_args(w, seconds)
  return { "-d", tostring(seconds), table.unpack(w.load or {}) }
end

-- One round of a workload on one server; adds to `side` and returns the rate per CPU.
local function one_rate(server, w, seconds, side, row)
  local r, why = servers.run_load(server, w.path, load_args(w, seconds))
  if not r then
    row.why = why
  elseif r.bad > 0 then
    row.why = ("%d of %d requests went wrong"):format(r.bad, r.bad + r.requests)
  elseif not r.placed then
    row.why = "no ratio: " .. r.misplaced
  end
  if row.why then return nil end
  local per_cpu = r.requests / r.cpu
  table.insert(side.rps, r.requests / r.seconds)
  table.insert(side.per_cpu, per_cpu)
  table.insert(side.busy, r.cpu / r.seconds)
  return per_cpu
end

function M.rate(w, options)
  local row = { kind = "ratio", name = w.name, title = w.title, target = w.target,
    ratios = {}, limit = { rps = {}, per_cpu = {}, busy = {} },
    product = { rps = {}, per_cpu = {}, busy = {} } }
  local product, limit, answer
  product, row.why = servers.start_product({ log = w.log })
  if product then
    answer, row.why = servers.probe(product, w.limit_path or w.path, w.load)
  end
  if answer then limit, row.why = servers.start_limit(w.mode or "one", answer) end
  if limit then
    for _, server in ipairs({ limit, product }) do -- warm up
      servers.run_load(server, w.path, load_args(w, 0.2))
    end
    for round = 1, options.rounds do
      local a = one_rate(limit, w, options.seconds, row.limit, row)
      local b = a and one_rate(product, w, options.seconds, row.product, row)
      if not b then break end
      table.insert(row.ratios, b / a)
      say("  %s, round %d: %.2f", w.name, round, b / a)
    end
    proc.stop(limit)
  end
  if product then
    local ok, why = proc.stop(product)
    if not ok then row.note = why end
  end
  return row
end

-- The same with another client: it parses, so both servers look slower under it.
function M.wrk(options)
  local row = { kind = "ratio", name = "wrk", title = "hello under wrk (cross-check)",
    target = 0.85, ratios = {}, limit = { rps = {}, per_cpu = {}, busy = {} },
    product = { rps = {}, per_cpu = {}, busy = {} } }
  if not proc.which("wrk") then
    row.why = "wrk is not installed"
    return row
  end
  local product, limit, answer
  product, row.why = servers.start_product()
  if product then answer, row.why = servers.probe(product, "/hello") end
  if answer then limit, row.why = servers.start_limit("one", answer) end
  local b = servers.b
  local seconds = math.max(1, math.floor(options.seconds + 0.5))
  local function one(server, side)
    local before = proc.cpu_seconds(server.pid)
    local wrk = proc.start({ "wrk", "-t1", "-c64", "-d" .. seconds .. "s",
      "http://127.0.0.1:" .. server.port .. "/hello" },
      { cpu = b.cpu_client, output = true, descriptors = b.descriptors })
    proc.sleep(0.15)
    local wrong = proc.misplaced(wrk.pid, b.cpu_client)
      or proc.misplaced(server.pid, b.cpu_server)
    proc.wait(wrk, seconds + 10)
    local requests, took, unit = wrk.out:match("(%d+) requests in ([%d.]+)(%a+)")
    local cpu = proc.cpu_seconds(server.pid) - before
    if wrk.status ~= 0 or unit ~= "s" or cpu <= 0 then wrong = "wrk failed" end
    if wrk.out:find("Socket errors") or wrk.out:find("Non%-2xx") then
      wrong = "wrk saw errors"
    end
    if wrong then
      row.why = "no ratio: " .. wrong
      return nil
    end
    table.insert(side.rps, requests / tonumber(took))
    table.insert(side.per_cpu, requests / cpu)
    table.insert(side.busy, cpu / tonumber(took))
    return requests / cpu
  end
  for round = 1, limit and math.min(3, options.rounds) or 0 do
    local base = one(limit, row.limit)
    local own = base and one(product, row.product)
    if not own then break end
    table.insert(row.ratios, own / base)
    say("  wrk, round %d: %.2f", round, own / base)
  end
  if limit then proc.stop(limit) end
  if product then proc.stop(product) end
  return row
end

-- Latency -----------------------------------------------------------------------------

function M.latency(options)
  local p50 = { kind = "figure", name = "latency", unit = "us", most = true,
    title = "p50 at 16 connections (final: limit + 7)" }
  local p99 = { kind = "figure", name = "latency", unit = "us", most = true,
    title = "p99 at 16 connections (final: 1.3 x limit)" }
  local rows, samples = { p50, p99 }, { { {}, {} }, { {}, {} } }
  local product, why = servers.start_product()
  local answer, limit
  if product then answer, why = servers.probe(product, "/hello") end
  if answer then limit, why = servers.start_limit("one", answer) end
  for _ = 1, limit and options.rounds or 0 do
    for i, server in ipairs({ limit, product }) do
      local r
      r, why = servers.run_load(server, "/hello",
        { "-L", "-c", "16", "-d", tostring(options.seconds) })
      if r and r.bad > 0 then why = r.bad .. " requests went wrong" end
      if r and not r.placed then why = r.misplaced end
      if why then break end
      table.insert(samples[i][1], r.p50_us)
      table.insert(samples[i][2], r.p99_us)
    end
    if why then break end
  end
  for i, row in ipairs(rows) do
    row.why, row.limit, row.value = why, median(samples[1][i]), median(samples[2][i])
  end
  if limit then proc.stop(limit) end
  if product then proc.stop(product) end
  return rows
end

-- Memory ------------------------------------------------------------------------------

function M.idle(options)
  local rss = { kind = "figure", name = "idle", title = "RSS at idle, one isolate",
    unit = "KB", target = 8192, most = true }
  local each = { kind = "figure", name = "idle", unit = "B", target = 512, most = true,
    title = ("private memory per idle connection (%d)"):format(options.idle) }
  local all = { kind = "figure", name = "idle", unit = "B", most = true,
    title = "RSS per idle connection" }
  local rows = { rss, each, all }
  local product, why = servers.start_product()
  if product then
    local m = proc.memory(product.pid)
    rss.value = m.rss / 1024
    rss.title = ("%s (PSS %.0f KB)"):format(rss.title, m.pss / 1024)
    -- What the first thousands of requests leave behind is not the connections'.
    local ok
    ok, why = servers.run_load(product, "/hello", { "-d", "0.5" })
    local before = ok and proc.memory(product.pid)
    local load = ok and servers.start_load(product, "/hello",
      { "-i", "-c", tostring(options.idle) }, { input = true })
    if load then
      proc.wait_output(load, "}", 60)
      local after = proc.memory(product.pid)
      load.stdin:close()
      local r
      r, why = servers.finish(load, 15)
      if r and r.errors > 0 then
        why = ("%d of %d connections failed"):format(r.errors, options.idle)
      elseif r then
        each.value = (after.private - before.private) / options.idle
        all.value = (after.rss - before.rss) / options.idle
      end
    end
    proc.stop(product)
  else
    rss.why = why
  end
  each.why, all.why = why, why
  return rows
end

-- Start -------------------------------------------------------------------------------

function M.start(options)
  local row = { kind = "figure", name = "start", title = "exec to first answer",
    unit = "ms", target = 20, most = true }
  local b = servers.b
  local function one(make)
    local port = proc.free_port()
    local command, env = make(port)
    local first = proc.start({ b.build .. "/first", "-p", tostring(port), "-c",
      tostring(b.cpu_server), "--", table.unpack(command) },
      { cpu = b.cpu_client, env = env, output = true, log = b.build .. "/servers.log" })
    proc.wait(first, 30)
    local us = first.out:match('"first_us": (%d+)')
    if not us then row.why = "no answer, see servers.log" end
    return us and tonumber(us) / 1000
  end
  local floor, own = {}, {}
  for _ = 1, options.starts do
    local a = one(function(port)
      return { b.build .. "/limit", "-p", tostring(port) }, {}
    end)
    local c = a and one(function(port) return servers.product(port, {}) end)
    if not c then break end
    table.insert(floor, a)
    table.insert(own, c)
  end
  row.limit, row.value = median(floor), median(own)
  return { row }
end

-- Reload ------------------------------------------------------------------------------

-- Seconds from HUP until /born answers with another text; nil when it does not.
local function switch_time(server)
  local _, old = proc.fetch(server.port, "/born")
  local begin = uv.hrtime()
  uv.kill(server.pid, "sighup")
  repeat
    local _, text = proc.fetch(server.port, "/born")
    if text and text ~= old then return (uv.hrtime() - begin) / 1e9 end
  until uv.hrtime() - begin > 5e9
end

function M.reload(options)
  local ratio = { kind = "figure", name = "reload", unit = "x", target = 1.5,
    most = true }
  local failed = { kind = "figure", name = "reload", unit = "", target = 0, most = true,
    title = "requests failed or connections closed while reloading" }
  local switch = { kind = "figure", name = "reload", unit = "ms", target = 50,
    most = true, title = "HUP to the first answer of the new code" }
  local server, why = servers.start_product()
  local quiet, busy, ratios, bad, hups = {}, {}, {}, 0, 0
  local function one(list, tick)
    local r
    r, why = servers.run_load(server, "/hello",
      { "-L", "-V", "-c", "16", "-d", tostring(options.reload_seconds) },
      tick and { every = 0.2, while_running = tick })
    if r and not r.placed then why = r.misplaced end
    if r then
      table.insert(list, r.p99_us)
      bad = bad + r.bad
    end
    return not why
  end
  local function hup()
    uv.kill(server.pid, "sighup")
    hups = hups + 1
  end
  if server then one({}) end -- warm up
  for _ = 1, server and not why and options.rounds or 0 do
    if not one(quiet) or not one(busy, hup) then break end
    table.insert(ratios, busy[#busy] / quiet[#quiet])
  end
  ratio.value, ratio.why, failed.why = median(ratios), why, why
  ratio.title = ("p99 with a HUP each 200 ms to p99 without (%.0f, %.0f us)"):format(
    median(busy) or 0, median(quiet) or 0)
  failed.value = not why and bad or nil
  failed.title = ("%s (%d HUPs)"):format(failed.title, hups)
  if server and not why and proc.fetch(server.port, "/born") == 200 then
    local times = {}
    for _ = 1, 5 do table.insert(times, switch_time(server)) end
    switch.value = #times == 5 and median(times) * 1000 or nil
    if not switch.value then
      switch.why = "HUP did not bring new code"
      ratio.why, failed.why = switch.why, switch.why
    end
  else
    switch.why = why or "/born is not served"
  end
  if server then proc.stop(server) end
  return { ratio, failed, switch }
end

return M
