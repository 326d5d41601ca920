-- The clients: load for HTTP, talk for WebSockets and bare sockets, wrk as a second
-- opinion. A run has the server's CPU time in it, and whether both were where they
-- should be meanwhile.
local proc = require "proc"
local servers = require "servers"

local M = {}

local function start(command, options)
  local b = servers.b
  options = options or {}
  return proc.start(command, {
    cpu = options.cpu or b.cpu_client,
    descriptors = b.descriptors,
    input = options.input,
    output = true,
    log = b.build .. "/load.log",
  })
end

function M.start_load(server, path, args, options)
  local command = { servers.b.build .. "/load", table.unpack(args) }
  command[#command + 1] = tostring(server.port)
  command[#command + 1] = path
  return start(command, options)
end

function M.start_talk(server, args, options)
  local command = { servers.b.build .. "/talk", table.unpack(args) }
  command[#command + 1] = tostring(server.port)
  return start(command, options)
end

-- The numbers of a client's JSON line, or nil and the reason.
local function result_of(client)
  local out = {}
  for name, value in client.out:gmatch('"([%w_]+)": ([%d.]+)') do
    out[name] = tonumber(value)
  end
  if client.status ~= 0 or not out.requests then
    local log = proc.slurp(servers.b.build .. "/load.log") or ""
    return nil, log:match("%l+: ([^\n]*)\n*$") or "the client failed"
  end
  return out
end

function M.finish(client, seconds)
  if not proc.wait(client, seconds or 150) then
    proc.stop(client)
    return nil, "the client did not end"
  end
  return result_of(client)
end

local function wrk_result(client)
  local requests, took, unit = client.out:match("(%d+) requests in ([%d.]+)(%a+)")
  if client.status ~= 0 or unit ~= "s" then return nil, "wrk failed" end
  if client.out:find("Socket errors") or client.out:find("Non%-2xx") then
    return nil, "wrk saw errors"
  end
  return { requests = tonumber(requests), seconds = tonumber(took), errors = 0 }
end

-- Runs a client to its end. The result also has:
--   cpu         the server's seconds of CPU        client_cpu  the client's
--   others      seconds of the server's CPUs that neither had
--   bad         requests that went wrong
--   misplaced   why no ratio may be made of it, or nil
-- options: while_running, called each `every` seconds
local function measure(server, start_client, options, finish)
  local b = servers.b
  local before, busy = proc.cpu_seconds(server.pid), proc.busy_seconds(server.cpus)
  local client = start_client()
  local misplaced, checked, client_cpu = nil, false, 0
  local every = options and options.every or 0.25
  proc.sleep(0.12)
  while not client.status do
    misplaced = misplaced or proc.misplaced(client.pid, b.cpu_client)
      or proc.misplaced(server.pid, server.cpus)
    if client.status then break end
    checked = true
    client_cpu = proc.cpu_seconds(client.pid)
    if options and options.while_running then options.while_running() end
    proc.sleep_unless(every, function() return client.status end)
  end
  local result, why = finish(client)
  if not result then return nil, why end
  result.cpu = proc.cpu_seconds(server.pid) - before
  result.client_cpu = client_cpu
  result.bad = result.errors + (result.closed or 0)
  result.others = math.max(0, proc.busy_seconds(server.cpus) - busy - result.cpu)
  if not checked then misplaced = "the load ended before its CPU could be checked" end
  if result.cpu <= 0 then misplaced = "the server used no CPU time" end
  result.misplaced = misplaced
  return result
end

function M.load(server, path, args, options)
  local function client() return M.start_load(server, path, args) end
  return measure(server, client, options, M.finish)
end

function M.talk(server, args)
  local function client() return M.start_talk(server, args) end
  return measure(server, client, nil, M.finish)
end

function M.wrk(server, path, seconds)
  seconds = math.max(1, math.ceil(seconds))
  local command = { "wrk", "-t1", "-c64", "-d" .. seconds .. "s",
    ("http://127.0.0.1:%d%s"):format(server.port, path) }
  return measure(server, function() return start(command) end, nil, function(client)
    proc.wait(client, seconds + 15)
    return wrk_result(client)
  end)
end

-- What a server answers to a path: its size, or nil and the reason.
function M.probe(server, path, args)
  local command = { "-n", "1", "-c", "1", table.unpack(args or {}) }
  local result, why = M.finish(M.start_load(server, path, command), 15)
  return result and math.tointeger(result.answer_bytes), why
end

return M
