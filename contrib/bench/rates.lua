-- Requests per second of the server's CPU: all servers stand at once, and in each round
-- each is measured after the other, limit first. Returns rows for report.lua:
--   { kind = "rate", name, title, goal, cells = { [server] = cell } }
--   cell: { per_cpu, rps, busy, client_busy, others, ratios = a list each } or { why }
local clients = require "clients"
local proc = require "proc"
local progress = require "progress"
local servers = require "servers"
local workloads = require "workloads"

local M = {}

local WARM, WARM_MOST = 0.3, 16 -- seconds of a run; runs
local fleet = {} -- servers that stay from one workload to the next

local function cell()
  return { per_cpu = {}, rps = {}, busy = {}, client_busy = {}, others = {},
    ratios = {} }
end

-- A peer's server, which may stand already.
local function stands(peer, w)
  if w.log then return servers.start(peer, { log = w.log }) end
  local server = fleet[peer.name]
  if server and not server.status then return server end
  local why
  fleet[peer.name], why = servers.start(peer)
  return fleet[peer.name], why
end

function M.close()
  for _, server in pairs(fleet) do proc.stop(server) end
  fleet = {}
end

local function same_fields(body, fields)
  local inner, seen = body:match("^{(.*)}%s*$"), {}
  if not inner then return false end
  for field in (inner .. ","):gmatch("%s*(.-),") do
    seen[field:gsub('"%s*:%s*', '":')] = true
  end
  for _, field in ipairs(fields) do
    if not seen[field] then return false end
    seen[field] = nil
  end
  return next(seen) == nil
end

-- nil when a server answers what it should, else what is wrong.
local function wrong_answer(w, server)
  if not w.path then return nil end -- talk looks at each byte
  local status, body = proc.fetch(server.port, w.path, 10, w)
  if status ~= 200 then return ("answers %s"):format(status or "nothing") end
  if w.fields then
    return not same_fields(body, w.fields) and "answers other fields" or nil
  end
  if w.expect and body ~= w.expect then return "answers another body" end
end

local function run(w, server, seconds)
  if w.client == "wrk" then return clients.wrk(server, w.path, seconds) end
  local args = { "-d", tostring(seconds), table.unpack(w.load or w.talk or {}) }
  if w.talk then return clients.talk(server, args) end
  return clients.load(server, w.path, args)
end

-- One run; false when this server is out of it from now on.
local function measure(w, server, seconds, to)
  local r, why = run(w, server, seconds)
  if not r then
    to.why = why
  elseif r.bad > 0 then
    to.why = ("%d of %d requests went wrong"):format(r.bad, r.bad + r.requests)
    to.wrong = true
  elseif r.requests == 0 then
    to.why = "answered nothing"
  elseif r.misplaced then
    to.why = "no ratio: " .. r.misplaced
  end
  if to.why then return false end
  table.insert(to.per_cpu, r.requests / r.cpu)
  table.insert(to.rps, r.requests / r.seconds)
  table.insert(to.busy, r.cpu / r.seconds)
  table.insert(to.client_busy, r.client_cpu / r.seconds)
  table.insert(to.others, r.others / r.seconds)
  return true
end

local function start_limit(w, product)
  local answer = w.answer
  local options = { more = w.limit }
  if w.mode == "relay" then
    options.more = { "-u", tostring(servers.b.upstream.port) }
  end
  if not answer then
    local why
    answer, why = clients.probe(product, w.limit_path or w.path, w.load)
    if not answer then return nil, why end
  end
  return servers.start_limit(w.mode or "one", answer, options)
end

-- All that take part: { name, server, cell }, the product first.
local function line_up(w, row)
  local list = {}
  for _, peer in ipairs(servers.b.peers) do
    local to = cell()
    row.cells[peer.name] = to
    local server
    to.why = peer.lacks[w.name]
    if not to.why then server, to.why = stands(peer, w) end
    if server then to.why = wrong_answer(w, server) end
    if server and not to.why then
      list[#list + 1] = { name = peer.name, server = server, cell = to }
    end
  end
  return list
end

-- Until it has had so much CPU time that what makes code at run time has made it.
local function warm_up(w, one)
  local peer = servers.b.by_name[one.name]
  local enough = proc.cpu_seconds(one.server.pid) + (peer and peer.warm or WARM / 2)
  for _ = 1, WARM_MOST do
    run(w, one.server, WARM)
    if one.server.status or proc.cpu_seconds(one.server.pid) >= enough then return end
  end
end

-- On a busy machine a run may fail for want of time: then it has one more. A request
-- that went wrong is final.
local function twice(w, one, seconds)
  if measure(w, one.server, seconds, one.cell) then return true end
  if one.cell.wrong then return false end
  one.cell.why = nil
  return measure(w, one.server, seconds, one.cell)
end

local function rounds(w, row, list, options)
  local seconds = options.seconds * (w.seconds or 1)
  local all = options.rounds + 1
  for _, one in ipairs(list) do
    progress.tick(0, "%s warms up", one.name)
    warm_up(w, one)
  end
  for round = 1, options.rounds do
    local base
    for i, one in ipairs(list) do
      local share = (round + (i - 1) / #list) / all
      progress.tick(share, "round %d of %d, %s", round, options.rounds, one.name)
      if not one.out then one.out = not twice(w, one, seconds) end
      local got = one.cell.per_cpu
      one.last = nil
      if i == 1 then base = got[#got] end
      if not one.out and base then
        table.insert(one.cell.ratios, got[#got] / base)
        one.last = got[#got] / base
      end
      if i == 1 and one.out then
        row.why = "limit: " .. one.cell.why
        return
      end
    end
    local said = {}
    for _, one in ipairs(list) do
      if one.last and one.name ~= "limit" then
        said[#said + 1] = ("%s %.2f"):format(one.name, one.last)
      end
    end
    progress.say("  %s, round %d: %s", w.name, round, table.concat(said, "  "))
  end
end

local function rate(w, options)
  local row = { kind = "rate", name = w.name, title = w.title, goal = w.goal,
    cells = {} }
  if w.client == "wrk" and not proc.which("wrk") then
    row.why = "wrk is not installed"
    return row
  end
  if w.make_expect then w.expect = w.make_expect() end
  local list = line_up(w, row)
  local limit
  if list[1] then limit, row.why = start_limit(w, list[1].server) end
  if limit then
    row.cells.limit = cell()
    table.insert(list, 1, { name = "limit", server = limit, cell = row.cells.limit })
    rounds(w, row, list, options)
    proc.stop(limit)
  end
  if w.log then
    for _, one in ipairs(list) do
      if one.server ~= limit then proc.stop(one.server) end
    end
  end
  return row
end

-- What may run, as { name, title, seconds(options), measure(options) }.
function M.gauges()
  local list = {}
  for i, w in ipairs(workloads.list) do
    list[i] = {
      name = w.name,
      title = w.title,
      seconds = function(o)
        local count, warm = 1, WARM
        for _, peer in ipairs(servers.b.peers) do
          if not peer.lacks[w.name] then
            count, warm = count + 1, warm + (peer.warm or WARM) + 0.2
          end
        end
        local each = o.seconds * (w.seconds or 1)
        if w.client == "wrk" then each = math.max(1, math.ceil(each)) end
        return count * o.rounds * (each + 0.25) + warm
      end,
      measure = function(o) return { rate(w, o) } end,
    }
  end
  return list
end

return M
