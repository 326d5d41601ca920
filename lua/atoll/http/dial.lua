-- The way to a server: straight, by a unix socket, or through a proxy, and with TLS
-- around it or not. Ways that have the same key lead to the same place, so that their
-- connections can be used for each other.
local core = require "atoll.core.http"
local crypto = require "atoll.core.crypto"
local misuse = require "atoll.misuse"
local net = require "atoll.net"
local proxy_of = require "atoll.http.proxy"
local task = require "atoll.core.task"
local url_of = require "atoll.http.url"

local M = {}

local now = task.now

-- Texts and booleans of TLS options, so that other options are another place.
local function tls_key(options)
  local parts = {}
  for name, value in pairs(options) do
    local text = value
    if type(value) == "table" then text = table.concat(value, ",") end
    parts[#parts + 1] = ("%s=%q"):format(name, tostring(text))
  end
  table.sort(parts)
  return table.concat(parts, " ")
end

-- { key, address, tls = options or nil, proxy = URL or nil, tunnel }. The plain way of
-- a URL is kept with it.
function M.way(url, options)
  local plain = not (options and (options.unix or options.tls)) and
    (not options or options.proxy == nil)
  if plain and url.way then return url.way end
  options = options or {}
  local proxy, message, code = proxy_of.of(url, not options.unix and options.proxy)
  if proxy == nil then return nil, message, code end
  local way = {
    key = url.origin, address = url.host .. ":" .. url.port, tls = nil, proxy = nil,
    tunnel = false,
  }
  if options.unix then
    way.address = "unix:" .. misuse.expect("string", options.unix, "unix")
    way.key = way.key .. " " .. way.address
  end
  if url.scheme == "https" then
    local bare = url.host:gsub("^%[(.*)%]$", "%1")
    way.tls = { name = bare, alpn = { "http/1.1" } }
    if options.tls then
      for name, value in pairs(misuse.expect("table", options.tls, "tls")) do
        way.tls[name] = value
      end
      way.key = way.key .. " " .. tls_key(options.tls)
    end
  end
  if proxy then
    way.proxy, way.address = proxy, proxy.host .. ":" .. proxy.port
    way.tunnel = url.scheme == "https"
    -- One that is no tunnel takes requests for all servers.
    local place = way.tunnel and way.key or ""
    way.key = ("%s via %s@%s"):format(place, proxy.userinfo or "", proxy.origin)
  end
  if plain then url.way = way end
  return way
end

-- "Basic ..." for a proxy, or nil.
function M.proxy_authorization(proxy)
  if not proxy or not proxy.userinfo then return nil end
  return "Basic " .. crypto.base64(url_of.credentials(proxy.userinfo))
end

-- The smaller of a phase's seconds and what is left of the whole; nil without either.
local function left(seconds, over)
  if not over then return seconds end
  local rest = math.max(over - now(), 0)
  return seconds and math.min(seconds, rest) or rest
end

M.left = left

local function tunnel(conn, url, way, limits)
  local place = url.host .. ":" .. url.port
  local authorization = M.proxy_authorization(way.proxy)
  local fields = { "Host", place }
  if authorization then
    fields[3], fields[4] = "Proxy-Authorization", authorization
  end
  local text, message = core.head("CONNECT", place, fields)
  if not text then misuse.raise("%s", message) end
  local reader = conn.reader
  reader:begin("CONNECT", false, limits.over)
  local ok, problem, code = conn.socket:write(text)
  if not ok then return nil, problem, code end
  local status, reason, explanation = reader:head(limits.head)
  if not status then return nil, "proxy: " .. reason, explanation end
  if status < 200 or status > 299 then
    return nil, ("the proxy answered %d %s"):format(status, reason), "ECONNREFUSED"
  end
  return true
end

-- Connects conn, which has neither socket nor reader. limits: connect, tls and head in
-- seconds, over as of atoll.now().
function M.dial(conn, url, way, limits)
  local socket, message, code = net.connect(way.address, {
    timeout = left(limits.connect, limits.over), nodelay = not way.unix,
  })
  if not socket then
    return nil, code == "ETIMEDOUT" and "timed out connecting" or message, code
  end
  conn.socket, conn.reader, conn.used = socket, core.reader(socket), 0
  if way.tunnel then
    local ok
    ok, message, code = tunnel(conn, url, way, limits)
    if not ok then return nil, message, code end
  end
  if way.tls then
    local ok
    socket:settimeout(left(limits.tls, limits.over))
    ok, message, code = socket:starttls(way.tls)
    if not ok and code == "ETIMEDOUT" then
      return nil, "timed out in the TLS handshake", code
    elseif not ok then
      return nil, ("cannot connect to %s:%d: %s"):format(url.host, url.port, message),
        code
    end
    socket:settimeout(nil)
  end
  return true
end

return M
