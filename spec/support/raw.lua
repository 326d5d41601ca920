-- Servers of a few lines for specs of clients: each connection is given to a function
-- that reads and writes what it likes.
local atoll = require "atoll"

local M = {}

local running = {}

-- Serves on a free port of this machine, or on another address; options are those of
-- net.listen. fn(socket, number) has a connection; the server has url, address, and
-- count, the connections so far.
function M.serve(fn, address, options)
  local listener = assert(atoll.net.listen(address or "127.0.0.1:0", options))
  local server = { listener = listener, address = listener:name(), count = 0 }
  server.url = (options and options.tls and "https://" or "http://") .. server.address
  server.task = atoll.spawn(function()
    listener:serve(function(socket)
      server.count = server.count + 1
      fn(socket, server.count, server)
    end)
  end)
  running[#running + 1] = server
  return server
end

-- The head of the next request: its first line, and name in small letters -> value; nil
-- when the client has gone.
function M.head(socket)
  local line = socket:read "line"
  if not line then return nil end
  local fields = {}
  while true do
    local field = socket:read "line"
    if not field then return nil end
    if field == "" then return line, fields end
    local name, value = field:match "^([^:]+): (.*)$"
    fields[name:lower()] = value
  end
end

-- The next request with its body.
function M.request(socket)
  local line, fields = M.head(socket)
  if not line then return nil end
  local body = ""
  if fields["content-length"] then
    body = socket:read(tonumber(fields["content-length"])) or ""
  elseif fields["transfer-encoding"] then
    repeat
      local size = tonumber(socket:read "line", 16)
      body = body .. (size > 0 and socket:read(size) or "")
      socket:read "line"
    until size == 0
  end
  return { line = line, fields = fields, body = body }
end

-- A server that answers each request, on kept connections, with what answer(request,
-- number) returns: the bytes, and whether to close then.
function M.answer(answer, address, options)
  return M.serve(function(socket, number, server)
    while true do
      local request = M.request(socket)
      if not request then return end
      server.requests = (server.requests or 0) + 1
      local bytes, close = answer(request, number, socket)
      if bytes then socket:write(bytes) end
      if close then return end
    end
  end, address, options)
end

-- A 200 with that body.
function M.ok(body, fields)
  return ("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n%s\r\n"):format(#body, fields or "")
    .. body
end

-- Ends all servers; for after_each.
function M.finish()
  for _, server in ipairs(running) do
    server.listener:close()
    server.task:cancel()
  end
  running = {}
end

return M
