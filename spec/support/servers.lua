-- Real servers for specs, on ports that are free, gone with the spec. Each function
-- gives { port, address, pid }; it fails where its program is not installed, which
-- contrib/setup does.
local events = require "support.events"
local host = require "support.host"
local net = require("atoll").net
local uv = require "luv"

local M = {}

local running = {}

local function free_port()
  local listener = assert(net.listen "127.0.0.1:0")
  local port = listener:name():match ":(%d+)$"
  listener:close()
  return tonumber(port)
end

-- Where Debian puts programs, and what only servers call.
local function find(name)
  local dirs = os.getenv "PATH" .. ":/usr/sbin:/usr/local/sbin"
  local versions = uv.fs_scandir "/usr/lib/postgresql"
  for version in versions and uv.fs_scandir_next or function() end, versions do
    dirs = dirs .. ":/usr/lib/postgresql/" .. version .. "/bin"
  end
  for dir in dirs:gmatch "[^:]+" do
    if uv.fs_access(dir .. "/" .. name, "X") then return dir .. "/" .. name end
  end
  error(name .. " is not installed; contrib/setup test does that")
end

-- ready: tells whether it is; without it, it is as soon as it listens.
local function start(name, args, port, ready)
  local path = find(name)
  local server = { name = name, port = port, address = "127.0.0.1:" .. port,
    signal = "sigkill" }
  local null = assert(uv.fs_open("/dev/null", "r+", 0))
  local problem
  server.process, problem = uv.spawn(path, {
    args = args, stdio = { null, null, null },
  }, events.guard(function(code)
    server.code = code
    server.process:close()
  end))
  uv.fs_close(null)
  server.pid = assert(server.process and problem, problem)
  running[#running + 1] = server
  events.poll(name .. " to listen", function()
    assert(not server.code, name .. " has ended")
    if ready then return ready() end
    local socket = net.connect(server.address)
    if socket then socket:close() end
    return socket
  end)
  return server
end

-- The server that fn(port) starts. A port that was free may be another's by then, and
-- it ends: then another one.
local function at_port(fn)
  local ok, server
  for _ = 1, 3 do
    ok, server = pcall(fn, free_port())
    if ok then return server end
  end
  error(server, 0)
end

function M.redis()
  return at_port(function(port)
    return start("redis-server", { "--port", tostring(port), "--bind", "127.0.0.1",
      "--save", "", "--appendonly", "no", "--dir", host.directory {} }, port)
  end)
end

function M.memcached()
  return at_port(function(port)
    return start("memcached", { "-l", "127.0.0.1", "-p", tostring(port), "-U", "0",
      "-u", "nobody", "-m", "16" }, port)
  end)
end

-- One that answers each request with a page about its TLS connection.
function M.openssl(certificate, key)
  return at_port(function(port)
    return start("openssl", { "s_server", "-accept", "127.0.0.1:" .. port, "-quiet",
      "-www", "-cert", certificate, "-key", key }, port)
  end)
end

-- With the user postgres, who needs no password. It does not run as root.
function M.postgres()
  local dir, user = host.directory {}, ""
  if uv.getuid() == 0 then
    user = "setpriv --reuid=postgres --regid=postgres --clear-groups "
    assert(os.execute("chown postgres " .. dir))
  end
  assert(os.execute(("cd / && %s%s -D %s -U postgres -A trust --no-sync >/dev/null")
    :format(user, find "initdb", dir)))
  local server = at_port(function(port)
    local command = ("exec %s%s -D %s -p %d -h 127.0.0.1 -k %s -F"):format(user,
      find "postgres", dir, port, dir)
    local ready = ("%s -q -h 127.0.0.1 -p %d"):format(find "pg_isready", port)
    return start("sh", { "-c", "cd / && " .. command }, port,
      function() return os.execute(ready) end)
  end)
  server.signal = "sigquit" -- it has children, and memory that they share
  return server
end

-- The text with a free port in place of each %PORT%, %PORT2%; and the ports.
local function with_ports(text)
  local ports = {}
  text = text:gsub("%%(PORT%d*)%%", function(name)
    ports[name] = ports[name] or free_port()
    return tostring(ports[name])
  end)
  return text, ports.PORT, ports.PORT2
end

-- With what stands behind its defaults; %PORT% in it is where it listens.
function M.haproxy(text)
  return at_port(function()
    local config, port, port2 = with_ports(text)
    local dir = host.directory { ["haproxy.cfg"] = [[
global
  maxconn 200
defaults
  timeout connect 5s
  timeout client 20s
  timeout server 20s
]] .. config .. "\n" }
    local server = start("haproxy", { "-db", "-f", dir .. "/haproxy.cfg" }, port)
    server.port2 = port2
    return server
  end)
end

-- With these blocks of its configuration beside `events`; %PORT% as above.
function M.nginx(text)
  local config, port = with_ports(text)
  local dir = host.directory {}
  local f = assert(io.open(dir .. "/nginx.conf", "w"))
  f:write("load_module /usr/lib/nginx/modules/ngx_stream_module.so;\ndaemon off;\n",
    uv.getuid() == 0 and "user root;\n" or "", "worker_processes 1;\npid ", dir,
    "/pid;\nerror_log ", dir, "/error;\nevents { worker_connections 200; }\n", config,
    "\n")
  f:close()
  local server = start("nginx", { "-p", dir, "-c", dir .. "/nginx.conf" }, port)
  server.signal = "sigterm" -- it has a child
  return server
end

-- Ends one of them, or all; for after_each.
function M.stop(server)
  if not server.code then uv.kill(server.pid, server.signal) end
  events.wait("the end of " .. server.name, function() return server.code end)
end

function M.finish()
  for _, server in ipairs(running) do M.stop(server) end
  running = {}
end

return M
