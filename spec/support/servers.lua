-- Real servers for specs, on ports that are free, gone with the spec. Each function
-- gives { port, address, pid }, or nil when its program is not installed.
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

local function find(name)
  for dir in (os.getenv "PATH" .. ":/usr/sbin:/usr/local/sbin"):gmatch "[^:]+" do
    if uv.fs_access(dir .. "/" .. name, "X") then return dir .. "/" .. name end
  end
end

local function start(name, args, port)
  local path = find(name)
  if not path then return nil end
  local server = { name = name, port = port, address = "127.0.0.1:" .. port }
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
    local socket = net.connect(server.address)
    if socket then socket:close() end
    return socket
  end)
  return server
end

function M.redis()
  local port = free_port()
  return start("redis-server", { "--port", tostring(port), "--bind", "127.0.0.1",
    "--save", "", "--appendonly", "no", "--dir", host.directory {} }, port)
end

function M.memcached()
  local port = free_port()
  return start("memcached", { "-l", "127.0.0.1", "-p", tostring(port), "-U", "0",
    "-u", "nobody", "-m", "16" }, port)
end

-- One that answers each request with a page about its TLS connection.
function M.openssl(certificate, key)
  local port = free_port()
  return start("openssl", { "s_server", "-accept", "127.0.0.1:" .. port, "-quiet",
    "-www", "-cert", certificate, "-key", key }, port)
end

-- Ends one of them, or all; for after_each.
function M.stop(server)
  if not server.code then uv.kill(server.pid, "sigkill") end
  events.wait("the end of " .. server.name, function() return server.code end)
end

function M.finish()
  for _, server in ipairs(running) do M.stop(server) end
  running = {}
end

return M
