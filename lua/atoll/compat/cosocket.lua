-- ngx.socket: OpenResty's sockets on top of atoll.net. Times are milliseconds, success
-- is 1, errors are texts without a code. A time-out while reading leaves the connection
-- open; any other error closes it.
--
-- What has come is kept here, not in the socket below, since a read that fails hands
-- out the part that it has, once: `chunk` from `at` on is what nobody has taken.
local net = require "atoll.net"
local pools = require "atoll.compat.pools"

local DEFAULT_TIMEOUT = 60 -- seconds, as lua_socket_*_timeout of nginx

local methods = {}
local metatable = { __index = methods, __name = "ngx.socket.tcp" }

-- ---- arguments ----

local function bad(argument, name, text, level)
  error(("bad argument #%d to '%s' (%s)"):format(argument, name, text),
    (level or 2) + 1)
end

local function seconds(ms, argument, name)
  if ms == nil then return DEFAULT_TIMEOUT end
  local n = tonumber(ms)
  if not n or n < 0 then bad(argument, name, "bad timeout value", 3) end
  return n > 0 and n / 1000 or DEFAULT_TIMEOUT
end

local function address(host, port)
  if host:sub(1, 5) == "unix:" then return host end
  return ("%s:%d"):format(host, port)
end

-- The pieces of a text, a number or a nested list of such.
local function gather(data, out, name)
  local kind = type(data)
  if kind == "string" or kind == "number" then
    out[#out + 1] = data
  elseif kind == "table" then
    for i = 1, #data do gather(data[i], out, name) end
  elseif kind == "nil" or kind == "boolean" then
    out[#out + 1] = tostring(data)
  else
    bad(1, name, "string, number or nested list of them expected, got " .. kind, 3)
  end
  return out
end

local names = {
  ETIMEDOUT = "timeout",
  ECLOSED = "closed",
  ECONNREFUSED = "connection refused",
  ECONNRESET = "connection reset by peer",
  EPIPE = "broken pipe",
}

-- The error's text; nil as a message is the end of the file. "cannot connect to
-- unix:/x: No such file or directory" is only "no such file or directory".
local function text_of(message, code)
  if message == nil then return "closed" end
  return names[code] or (message:match("([^:]*)$"):gsub("^ ", ""):lower())
end

-- ---- one connection ----

local function close(self)
  local socket, pool = self.socket, self.pool
  self.socket, self.pool, self.chunk, self.at = nil, nil, "", 1
  if socket then socket:close() end
  if pool then pools.gone(pool) end
end

-- Waits for more to come: true, or nil and the text of the error.
local function more(self)
  local socket = self.socket
  local data, message, code = socket:read("some", 65536, self.read_timeout)
  if data then
    if self.at > #self.chunk then
      self.chunk = data
    else
      self.chunk = self.chunk:sub(self.at) .. data
    end
    self.at = 1
    return true
  end
  if self.socket ~= socket then return nil, "closed" end
  return nil, text_of(message, code)
end

-- The next n bytes of what has come.
local function take(self, n)
  local at = self.at
  self.at = at + n
  if self.at > #self.chunk then
    local rest = at == 1 and n == #self.chunk and self.chunk or self.chunk:sub(at)
    self.chunk, self.at = "", 1
    return rest
  end
  return self.chunk:sub(at, at + n - 1)
end

local function available(self)
  return #self.chunk - self.at + 1
end

-- nil, the error and what had come until then.
local function failed(self, err)
  local partial = take(self, available(self))
  if err ~= "timeout" then close(self) end
  return nil, err, partial
end

-- ---- ways to read ----

-- Pieces are joined once: a long body does not grow byte by byte.
local function read_all(self)
  local parts = {}
  while true do
    parts[#parts + 1] = take(self, available(self))
    local ok, err = more(self)
    if not ok then
      local data = table.concat(parts)
      if err == "closed" then return data end
      if err ~= "timeout" then close(self) end
      return nil, err, data
    end
  end
end

local function read_bytes(self, n)
  if available(self) >= n then return take(self, n) end
  local parts, have = {}, 0
  while true do
    local piece = take(self, math.min(available(self), n - have))
    parts[#parts + 1], have = piece, have + #piece
    if have == n then return table.concat(parts) end
    local ok, err = more(self)
    if not ok then
      local data = table.concat(parts)
      if err ~= "timeout" then close(self) end
      return nil, err, data
    end
  end
end

local function without_cr(line)
  return line:find("\r", 1, true) and line:gsub("\r", "") or line
end

local function read_line(self)
  local from = self.at
  while true do
    local lf = self.chunk:find("\n", from, true)
    if lf then
      local line = take(self, lf - self.at + 1)
      return (without_cr(line:sub(1, -2)))
    end
    local scanned = available(self)
    local ok, err = more(self)
    if not ok then
      local _, _, partial = failed(self, err)
      return nil, err, (without_cr(partial))
    end
    from = self.at + scanned
  end
end

function methods:receive(what)
  local n = tonumber(what)
  if n then
    if n < 0 or n ~= math.floor(n) then bad(1, "receive", "bad pattern argument") end
  elseif what ~= nil and what ~= "*l" and what ~= "*a" then
    bad(1, "receive", "bad pattern argument: " .. tostring(what))
  end
  if not self.socket then return nil, "closed" end
  if n then return read_bytes(self, math.tointeger(n)) end
  if what == "*a" then return read_all(self) end
  return read_line(self)
end

function methods:receiveany(most)
  local n = math.tointeger(tonumber(most))
  if not n or n <= 0 then bad(1, "receiveany", "max must be a positive number") end
  if not self.socket then return nil, "closed" end
  if available(self) == 0 then
    local ok, err = more(self)
    if not ok then return failed(self, err) end
  end
  return take(self, math.min(available(self), n))
end

-- How many of the last n bytes that have come may be the beginning of the pattern.
local function doubtful(self, pattern, n)
  for k = math.min(#pattern - 1, n), 1, -1 do
    if self.chunk:sub(-k) == pattern:sub(1, k) then return k end
  end
  return 0
end

-- An iterator over what stands before each occurrence of the pattern; with a size, over
-- pieces of that size, and three nils after the last piece before it.
function methods:receiveuntil(pattern, options)
  if type(pattern) ~= "string" and type(pattern) ~= "number" then
    bad(1, "receiveuntil", "string expected, got " .. type(pattern))
  end
  pattern = tostring(pattern)
  if pattern == "" then return nil, "pattern is empty" end
  local inclusive = false
  if options ~= nil then
    if type(options) ~= "table" then bad(2, "receiveuntil", "table expected") end
    inclusive = options.inclusive
    if inclusive ~= nil and type(inclusive) ~= "boolean" then
      bad(2, "receiveuntil", "bad \"inclusive\" option value type: " .. type(inclusive))
    end
  end
  local ended = false

  -- Where the pattern has been found, nothing else of it is handed out.
  local function found(first)
    local data = take(self, first - self.at)
    local mark = take(self, #pattern)
    return inclusive and data .. mark or data
  end

  return function(size)
    if size ~= nil then
      size = math.tointeger(tonumber(size))
      if not size or size <= 0 then bad(1, "iterator", "bad size") end
    end
    if ended then
      ended = false
      return nil, nil, nil
    end
    if not self.socket then return nil, "closed" end
    local from = self.at
    while true do
      local first = self.chunk:find(pattern, from, true)
      if first and (not size or first - self.at < size) then
        ended = size ~= nil
        return found(first)
      end
      local here = available(self)
      if size and here >= size then
        local safe = first and first - self.at or here - doubtful(self, pattern, here)
        if safe >= size then return take(self, size) end
      end
      local scanned = math.max(here - #pattern + 1, 0)
      local ok, err = more(self)
      if not ok then return failed(self, err) end
      from = self.at + scanned
    end
  end
end

-- ---- the rest ----

function methods:send(data)
  local pieces = gather(data, {}, "send")
  local socket = self.socket
  if not socket then return nil, "closed" end
  local text = table.concat(pieces)
  if text == "" then return 0 end
  socket:settimeout(self.send_timeout)
  local ok, message, code = socket:write(text)
  if ok then return #text end
  if self.socket == socket then close(self) end
  return nil, text_of(message, code)
end

function methods:settimeout(ms)
  local s = seconds(ms, 1, "settimeout")
  self.connect_timeout, self.send_timeout, self.read_timeout = s, s, s
end

function methods:settimeouts(connect, send, read)
  self.connect_timeout = seconds(connect, 1, "settimeouts")
  self.send_timeout = seconds(send, 2, "settimeouts")
  self.read_timeout = seconds(read, 3, "settimeouts")
end

local options = {
  keepalive = "keepalive", ["tcp-nodelay"] = "nodelay", sndbuf = "sndbuf",
  rcvbuf = "rcvbuf",
}

function methods:setoption(name, value)
  if not self.socket then return nil, "closed" end
  if name == "reuseaddr" then return 1 end -- of a connection it says nothing
  if not options[name] then return nil, "unsupported option " .. tostring(name) end
  local ok, message = self.socket:setoption(options[name], value)
  if not ok then return nil, message end
  return 1
end

local function check_count(value, name, least)
  if value ~= nil and (math.type(value) ~= "integer" or value < least) then
    bad(3, "connect", ('bad "%s" option value'):format(name), 3)
  end
end

function methods:connect(host, port, settings)
  if type(host) ~= "string" then bad(1, "connect", "string expected") end
  if host:sub(1, 5) == "unix:" then
    settings = type(port) == "table" and port or settings
    port = nil
  else
    if port == nil then return nil, "missing the port number" end
    port = math.tointeger(tonumber(port)) or bad(2, "connect", "number expected")
    if port < 0 or port > 65535 then return nil, "bad port number: " .. port end
  end
  settings = settings or {}
  if type(settings) ~= "table" then bad(3, "connect", "table expected") end
  check_count(settings.pool_size, "pool_size", 1)
  check_count(settings.backlog, "backlog", 0)
  close(self)
  local where = address(host, port)
  local pool, err = pools.enter(settings.pool and tostring(settings.pool) or where,
    settings.pool_size, settings.backlog, self.connect_timeout)
  if not pool then return nil, err end
  self.pool = pool -- from here on the finalizer leaves it, too
  local socket, times, secure = pools.take(pool)
  if not socket then
    local message, code
    socket, message, code = net.connect(where, { timeout = self.connect_timeout })
    if not socket then
      close(self)
      if code == "ENOTFOUND" then
        return nil, host .. " could not be resolved (3: Host not found)"
      end
      return nil, text_of(message, code)
    end
  end
  self.socket, self.times, self.secure = socket, times or 0, secure or false
  return 1
end

-- TLS on the connection, unless it came out of a pool with it. Sessions are not kept:
-- in place of one stands true.
function methods:sslhandshake(_, name, verify)
  if not self.socket then return nil, "closed" end
  if not self.secure then
    local ok, message, code = self.socket:starttls({
      name = name, verify = verify and true or false, timeout = self.connect_timeout,
    })
    if not ok then
      close(self)
      return nil, text_of(message, code)
    end
    self.secure = true
  end
  return true
end

function methods:getreusedtimes()
  if not self.socket then return nil, "closed" end
  return self.times
end

-- Gives the connection to the pool that it was opened for.
function methods:setkeepalive(idle, size)
  local idle_seconds = idle == nil and 60 or tonumber(idle)
  if not idle_seconds or idle_seconds < 0 then
    bad(1, "setkeepalive", "bad timeout value")
  end
  if idle then idle_seconds = idle_seconds / 1000 end
  if size ~= nil then
    size = math.tointeger(tonumber(size))
    if not size or size <= 0 then bad(2, "setkeepalive", "bad pool size") end
  end
  local socket, pool = self.socket, self.pool
  if not socket then return nil, "closed" end
  if available(self) > 0 then return nil, "unread data in buffer" end
  self.socket, self.pool = nil, nil
  return pools.put(pool, socket, self.times, self.secure, idle_seconds, size)
end

function methods:close()
  if not self.socket then return nil, "closed" end
  close(self)
  return 1
end

metatable.__gc = close

local M = {}

function M.tcp()
  return setmetatable({
    socket = nil,
    pool = nil,
    times = 0, -- that it was taken out of a pool
    secure = false,
    chunk = "",
    at = 1,
    connect_timeout = DEFAULT_TIMEOUT,
    send_timeout = DEFAULT_TIMEOUT,
    read_timeout = DEFAULT_TIMEOUT,
  }, metatable)
end

M.stream = M.tcp

-- ngx.socket.connect(host, port[, options]): a tcp socket that is connected.
function M.connect(...)
  local socket = M.tcp()
  local ok, err = socket:connect(...)
  if not ok then return nil, err end
  return socket
end

-- ---- datagrams ----

local udp = {}
local udp_metatable = { __index = udp, __name = "ngx.socket.udp" }

function udp:settimeout(ms)
  self.read_timeout = seconds(ms, 1, "settimeout")
end

function udp:setpeername(host, port)
  if type(host) ~= "string" then bad(1, "setpeername", "string expected") end
  if host:sub(1, 5) ~= "unix:" then
    port = math.tointeger(tonumber(port)) or bad(2, "setpeername", "number expected")
  end
  self:close()
  local socket, message, code = net.udp()
  if not socket then return nil, text_of(message, code) end
  local ok
  ok, message, code = socket:connect(address(host, port))
  if not ok then
    socket:close()
    return nil, text_of(message, code)
  end
  self.socket = socket
  return 1
end

function udp:send(data)
  local pieces = gather(data, {}, "send")
  if not self.socket then return nil, "closed" end
  local ok, message, code = self.socket:send(table.concat(pieces))
  if not ok then return nil, text_of(message, code) end
  return 1
end

-- A datagram, of which at most size bytes.
function udp:receive(size)
  if not self.socket then return nil, "closed" end
  local data, message, code = self.socket:receive(self.read_timeout)
  if not data then return nil, text_of(message, code) end
  return size and data:sub(1, math.tointeger(tonumber(size))) or data
end

function udp:close()
  local socket = self.socket
  if not socket then return nil, "closed" end
  self.socket = nil
  socket:close()
  return 1
end

function M.udp()
  return setmetatable({ socket = nil, read_timeout = DEFAULT_TIMEOUT }, udp_metatable)
end

return M
