-- The client's side of WebSockets: atoll.websocket. The way to the server and the
-- opening handshake (RFC 6455 4.1); what is connected is what a server's handler gets.
local client = require "atoll.core.ws_client"
local crypto = require "atoll.core.crypto"
local dial = require "atoll.http.dial"
local http_core = require "atoll.core.http"
local misuse = require "atoll.misuse"
local task = require "atoll.core.task"
local url_of = require "atoll.http.url"
require "atoll.core.websocket" -- what a WebSocket can do

local M = {}

-- Seconds and bytes, where the caller does not say: a server's.
local TIMEOUT, PING, PING_TIMEOUT, WRITE_TIMEOUT = 30, 30, 10, 60
local MESSAGE_MAX, QUEUE = 1024 * 1024, 64 * 1024

local known = {
  protocols = true, headers = true, timeout = true, tls = true, compress = true,
  message_max = true, ping = true, origin = true, proxy = true, unix = true,
}

-- The handshake's own.
local reserved = {
  ["connection"] = true, ["upgrade"] = true, ["host"] = true, ["content-length"] = true,
  ["expect"] = true, ["origin"] = true,
}

local function fail(message, code, ...)
  return nil, message, code, ...
end

-- ---- options ----

local function seconds(value, default, name)
  if value == nil then return default end
  if type(value) ~= "number" or value ~= value or value <= 0 then
    misuse.raise("%s is a number of seconds above 0", name)
  end
  return value
end

local function bytes(value, default, name)
  if value == nil then return default end
  local n = math.tointeger(value)
  if not n or n < 1 or n > 0x7fffffff then
    misuse.raise("%s is a number of bytes, at least 1", name)
  end
  return n
end

local function check_protocols(list)
  if list == nil then return nil end
  if type(list) == "string" then list = { list } end
  misuse.expect("table", list, "protocols")
  local seen = {}
  for _, name in ipairs(list) do
    if type(name) ~= "string" or name:find "[^%w!#$%%&'*+.^_`|~-]" or name == "" then
      misuse.raise("a protocol is a token, not %q", tostring(name))
    end
    if seen[name] then misuse.raise("the protocol %s is offered twice", name) end
    seen[name] = true
  end
  return #list > 0 and list or nil
end

local function check_headers(headers)
  if headers == nil then return nil end
  for name in pairs(misuse.expect("table", headers, "headers")) do
    local small = tostring(name):lower()
    if reserved[small] or small:find "^sec%-websocket%-" then
      misuse.raise("the header %s belongs to the handshake", name)
    end
  end
  return headers
end

-- false, or whether messages may refer to earlier ones, as the option says.
local function check_compress(compress)
  if compress == nil or compress == true then return { takeover = false } end
  if compress == false then return false end
  for name in pairs(misuse.expect("table", compress, "compress")) do
    if name ~= "takeover" then
      misuse.raise("compress has no option %s", tostring(name))
    end
  end
  return { takeover = compress.takeover == true }
end

local function settings_of(options)
  for name in pairs(options) do
    if not known[name] then
      misuse.raise("a WebSocket has no option %s", tostring(name))
    end
  end
  local ping = options.ping
  return {
    protocols = check_protocols(options.protocols),
    headers = check_headers(options.headers),
    timeout = seconds(options.timeout, TIMEOUT, "timeout"),
    compress = check_compress(options.compress),
    message_max = bytes(options.message_max, MESSAGE_MAX, "message_max"),
    queue_max = QUEUE,
    ping = (ping == false or ping == 0) and 0 or seconds(ping, PING, "ping"),
    ping_timeout = PING_TIMEOUT,
    write_timeout = WRITE_TIMEOUT,
    origin = options.origin ~= nil
      and misuse.expect("string", options.origin, "origin") or nil,
  }
end

-- ---- the handshake ----

local function head_of(url, settings, key)
  local offer = settings.compress and client.offer(settings.compress.takeover)
  local fields = {
    "Host", url.named, "Upgrade", "websocket", "Connection", "Upgrade",
    "Sec-WebSocket-Key", key, "Sec-WebSocket-Version", "13",
  }
  local function add(name, value)
    if value then fields[#fields + 1], fields[#fields + 2] = name, value end
  end
  add("Sec-WebSocket-Extensions", offer)
  add("Sec-WebSocket-Protocol",
    settings.protocols and table.concat(settings.protocols, ", "))
  add("Origin", settings.origin)
  if url.userinfo then
    add("Authorization", "Basic " .. crypto.base64(url_of.credentials(url.userinfo)))
  end
  local text, message = http_core.head("GET", url.target, fields, settings.headers)
  if not text then misuse.raise("%s", message) end
  return text
end

local function has(list, value)
  for _, one in ipairs(list or {}) do
    if one == value then return true end
  end
  return false
end

local function refused(status, reason, headers)
  local what = ("the server answered %d %s"):format(status, reason)
  local location = status >= 300 and status < 400 and headers.location
  if location then what = what .. " to " .. location:sub(1, 200):gsub("%c", "?") end
  return fail(what, "ECONNREFUSED", status)
end

-- Sends the request and judges the answer: the WebSocket, or nil, message, code and the
-- status.
local function greet(conn, url, settings, over)
  local key = client.key()
  local reader, socket = conn.reader, conn.socket
  reader:begin("GET", false, over, true)
  socket:settimeout(dial.left(settings.timeout, over))
  local ok, message, code = socket:write(head_of(url, settings, key))
  if not ok then return fail(message, code) end
  local status, reason, version, headers = reader:head(settings.timeout)
  if not status then return fail(reason, version) end
  if status ~= 101 then return refused(status, reason, headers) end
  local protocol = headers["sec-websocket-protocol"]
  if protocol and not has(settings.protocols, protocol) then
    return fail("the server uses a protocol that was not offered", "EPROTO", status)
  end
  local ws, why = client.open(socket, settings, {
    key = key, version = version, upgrade = headers.upgrade,
    connection = headers.connection, accept = headers["sec-websocket-accept"],
    extensions = headers["sec-websocket-extensions"], protocol = protocol,
  })
  if not ws then return fail(why, "EPROTO", status) end
  return ws
end

local function close_socket(conn)
  if conn.socket then conn.socket:close() end
end

local connection = { __close = close_socket }

-- A proxy is told to make a tunnel even where there is no TLS.
local function way_of(url, options)
  local way, message, code = dial.way(url, {
    tls = options.tls, proxy = options.proxy, unix = options.unix,
  })
  if not way or not way.proxy then return way, message, code end
  return {
    key = way.key, address = way.address, tls = way.tls, proxy = way.proxy,
    tunnel = true,
  }
end

local function parse(text)
  local scheme, rest = misuse.expect("string", text, "the URL"):match "^%s*(%a+)(:.*)$"
  scheme = scheme and scheme:lower()
  if scheme == "ws" or scheme == "http" then return url_of.parse("http" .. rest) end
  if scheme == "wss" or scheme == "https" then return url_of.parse("https" .. rest) end
  return nil, "a WebSocket's URL begins with ws:// or wss://", "ESYNTAX"
end

-- connect("wss://host/path"[, options]) -> ws, or nil, message, code[, status]
function M.connect(text, options)
  if not client.can_wait() then
    misuse.raise("websocket.connect cannot be called while the app loads; call it in "
      .. 'on("start")')
  end
  options = misuse.expect("table", options or {}, "the options of a WebSocket")
  local settings = settings_of(options)
  local url, message, code = parse(text)
  if not url then return nil, message, code end
  local way
  way, message, code = way_of(url, options)
  if not way then return nil, message, code end
  local over = task.now() + settings.timeout
  local conn <close> = setmetatable({ socket = nil, reader = nil, used = 0 },
    connection)
  local ok
  ok, message, code = dial.dial(conn, url, way, {
    connect = settings.timeout, tls = settings.timeout, head = settings.timeout,
    over = over,
  })
  if not ok then return nil, message, code end
  return greet(conn, url, settings, over)
end

return M
