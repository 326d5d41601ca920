-- The two servers that are held against each other, and the client that asks them.
-- Servers run on the first CPU, the client on the second; `rate` and `latency` check
-- that while the load runs.
local uv = require "luv"
local proc = require "proc"

local M = {}

-- b: { build, cpu_server, cpu_client, against, program, app, descriptors }
function M.setup(b)
  M.b = b
end

-- The command that serves on a port, and its environment.
-- options: log (the access log: "off" or a file), wrapper (a command before it), app
-- and env (another app than b.app, and what it finds in its environment)
local function product(port, options)
  local b, command = M.b, {}
  local log = options.log or "off"
  for _, word in ipairs(options.wrapper or {}) do command[#command + 1] = word end
  local own = b.against and { "sh", "-c", "exec " .. b.against }
    or { b.program, "serve", options.app or b.app, "--listen", "127.0.0.1:" .. port,
      "--isolates", "1", "--access-log", log }
  for _, word in ipairs(own) do command[#command + 1] = word end
  return command, { "PORT=" .. port, "ACCESS_LOG=" .. log,
    "FILES=" .. b.build .. "/files",
    table.unpack(options.env or {}) }
end
M.product = product

local function launch(command, port, options, path)
  local b = M.b
  local server = proc.start(command, {
    cpu = options.cpu or b.cpu_server,
    descriptors = b.descriptors,
    env = options.env,
    log = b.build .. "/servers.log",
  })
  server.port = port
  local begin = uv.now()
  repeat
    uv.update_time()
    local status = proc.fetch(port, path, 5)
    if not status then proc.sleep(0.01) end
  until status or server.status or uv.now() - begin > 30000
  uv.update_time()
  if server.status or uv.now() - begin > 30000 then
    proc.stop(server)
    return nil, "does not serve: " .. server.command .. " (see " .. b.build
      .. "/servers.log)"
  end
  return server
end

function M.start_product(options)
  options = options or {}
  local port = proc.free_port()
  local command, env = product(port, options)
  return launch(command, port, { cpu = options.cpu, env = env }, "/hello")
end

-- limit, answering with that many bytes; mode as in limit.c
function M.start_limit(mode, answer_bytes, options)
  options = options or {}
  local port = proc.free_port()
  local command = {}
  for _, word in ipairs(options.wrapper or {}) do command[#command + 1] = word end
  for _, word in ipairs({ M.b.build .. "/limit", "-p", tostring(port), "-m", mode, "-a",
    tostring(answer_bytes) }) do
    command[#command + 1] = word
  end
  return launch(command, port, options, "/hello")
end

function M.start_load(server, path, args, options)
  local command = { M.b.build .. "/load", table.unpack(args) }
  command[#command + 1] = tostring(server.port)
  command[#command + 1] = path
  options = options or {}
  return proc.start(command, {
    cpu = options.cpu or M.b.cpu_client,
    descriptors = M.b.descriptors,
    input = options.input,
    output = true,
    log = M.b.build .. "/load.log",
  })
end

-- The numbers of load's JSON line, or nil and the reason.
function M.result(load)
  local out = {}
  for name, value in load.out:gmatch('"([%w_]+)": ([%d.]+)') do
    out[name] = tonumber(value)
  end
  if load.status ~= 0 or not out.requests then
    local log = proc.slurp(M.b.build .. "/load.log") or ""
    return nil, log:match("load: ([^\n]*)\n*$") or "the client failed"
  end
  return out
end

function M.finish(load, seconds)
  if not proc.wait(load, seconds or 150) then
    proc.stop(load)
    return nil, "the client did not end"
  end
  return M.result(load)
end

-- Runs a load to its end. The result also has cpu, the server's seconds of CPU,
-- placed (false with the reason in `misplaced`), and bad, the requests that went wrong.
-- options: while_running, called each `every` seconds
function M.run_load(server, path, args, options)
  local b = M.b
  local before = proc.cpu_seconds(server.pid)
  local load = M.start_load(server, path, args)
  proc.sleep(0.15)
  local misplaced, checked = nil, false
  if not load.status then
    checked = true
    misplaced = proc.misplaced(load.pid, b.cpu_client)
      or proc.misplaced(server.pid, b.cpu_server)
  end
  while options and options.while_running and not load.status do
    options.while_running()
    proc.sleep(options.every)
  end
  local result, why = M.finish(load)
  if not result then return nil, why end
  result.cpu = proc.cpu_seconds(server.pid) - before
  result.bad = result.errors + result.closed
  if not checked then misplaced = "the load ended before its CPU could be checked" end
  if result.cpu <= 0 then misplaced = "the server used no CPU time" end
  result.placed, result.misplaced = misplaced == nil, misplaced
  return result
end

-- What the product answers to a path: its size, or nil and the reason.
function M.probe(server, path, args)
  local command = { "-n", "1", "-c", "1", table.unpack(args or {}) }
  local result, why = M.finish(M.start_load(server, path, command), 15)
  return result and math.tointeger(result.answer_bytes), why
end

return M
