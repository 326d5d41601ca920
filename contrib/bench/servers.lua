-- The servers: those of peers/, `limit`, and what --against names. Each is started on
-- its CPUs and is ready when it has answered.
local uv = require "luv"
local proc = require "proc"

local M = {}

-- b: { build, root, program, npm, files, against, cpu_server, cpu_client, descriptors,
--      peers = a list, upstream = what handlers ask (its port) }
function M.setup(b)
  M.b = b
  b.by_name = {}
  for _, peer in ipairs(b.peers or {}) do b.by_name[peer.name] = peer end
end

local scratch_count = 0

-- What a `serve` is told; see README.md.
local function environment(peer, port, options)
  local b = M.b
  scratch_count = scratch_count + 1
  local scratch = ("%s/scratch/%s-%d"):format(b.build, peer.name, scratch_count)
  assert(os.execute(("rm -rf '%s' && mkdir -p '%s'"):format(scratch, scratch)))
  return {
    "PORT=" .. port, "WORKERS=" .. (options.workers or 1),
    "ACCESS_LOG=" .. (options.log or "off"),
    "UPSTREAM=127.0.0.1:" .. (b.upstream and b.upstream.port or port),
    "FILES=" .. b.files, "SCRATCH=" .. scratch, "NPM=" .. b.npm, "ATOLL=" .. b.program,
    "APP=" .. (options.app or b.root .. "/apps/bench"),
    table.unpack(options.env or {}),
  }
end

-- The command that serves on a port, and its environment.
-- options: workers, log (the access log: "off" or a file), wrapper (a command before
-- it), app and env (another app than apps/bench, and what it finds in its environment)
local function command_of(peer, port, options)
  local b, command = M.b, {}
  for _, word in ipairs(options.wrapper or {}) do command[#command + 1] = word end
  local env = environment(peer, port, options)
  if peer.command then
    for _, word in ipairs({ "sh", "-c", "exec " .. peer.command }) do
      command[#command + 1] = word
    end
    return command, env
  end
  command[#command + 1] = peer.dir .. "/serve"
  if peer.prepare then
    local prepare = proc.start({ peer.dir .. "/serve", "prepare" },
      { cpu = b.cpu_client, env = env, log = b.build .. "/servers.log" })
    if not proc.wait(prepare, 120) or prepare.status ~= 0 then
      proc.stop(prepare)
      return nil, "serve prepare failed (see " .. b.build .. "/servers.log)"
    end
  end
  return command, env
end
M.command_of = command_of

-- Starts what serves on a port and waits for its first answer.
local function launch(command, port, options)
  local b = M.b
  local server = proc.start(command, {
    cpu = options.cpu or b.cpu_server,
    descriptors = b.descriptors,
    env = options.env,
    log = b.build .. "/servers.log",
  })
  server.port, server.cpus = port, tostring(options.cpu or b.cpu_server)
  local begin = uv.now()
  local function late()
    uv.update_time()
    return uv.now() - begin > 30000
  end
  local status
  repeat
    status = proc.fetch(port, "/hello", 5)
    if not status then proc.sleep(0.01) end
  until status or server.status or late()
  if not status then
    proc.stop(server)
    return nil, ("does not serve (see %s/servers.log)"):format(b.build)
  end
  return server
end

-- options: as above, and cpu
function M.start(peer, options)
  options = options or {}
  local port = proc.free_port()
  local command, env = command_of(peer, port, options)
  if not command then return nil, env end
  local server, why = launch(command, port, { cpu = options.cpu, env = env })
  if server then server.peer = peer end
  return server, why
end

-- The product: atoll, or what stands in its place.
function M.start_product(options)
  return M.start(M.b.product, options)
end

-- limit, answering with that many bytes; mode as in limit.c. Frames have a handshake
-- first, so nothing asks those for /hello.
-- options: wrapper, cpu, more (arguments)
function M.start_limit(mode, answer_bytes, options)
  options = options or {}
  local port, command = proc.free_port(), {}
  for _, word in ipairs(options.wrapper or {}) do command[#command + 1] = word end
  for _, word in ipairs({ M.b.build .. "/limit", "-p", tostring(port), "-m", mode, "-a",
    tostring(answer_bytes), table.unpack(options.more or {}) }) do
    command[#command + 1] = word
  end
  return launch(command, port, options)
end

return M
