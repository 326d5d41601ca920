-- One request and its answer, on a connection of the pool's or a new one.
local dial = require "atoll.http.dial"
local message_of = require "atoll.http.message"
local pool = require "atoll.http.pool"
local redirect = require "atoll.http.redirect"
local response_of = require "atoll.http.response"

local M = {}

local REST_MAX = 65536 -- bytes of a body that nobody wants, read to keep a connection

-- May be sent again when nobody knows whether they were heard (RFC 9110 9.2.2).
local idempotent = {
  GET = true, HEAD = true, OPTIONS = true, TRACE = true, PUT = true, DELETE = true,
}

-- Sends, and waits for the head: what reader:head gives.
local function ask(conn, request)
  conn.reader:begin(request.method, request.decode, request.limits.over)
  local ok, message, code = message_of.send(conn, request)
  if ok == nil then
    return nil, message, code, conn.used > 0
  end
  return conn.reader:head(request.limits.head)
end

local function dial_again(conn, request)
  conn:close_socket()
  return dial.dial(conn, request.url, request.way, request.limits)
end

-- Takes a connection and gets a head on it. A server may have closed a connection just
-- when it is used again; what can be sent twice then is, once, on a new one.
local function get_head(conn, request)
  if not conn.socket then
    local ok, message, code = dial_again(conn, request)
    if not ok then return nil, message, code end
    return ask(conn, request)
  end
  local again = idempotent[request.method] and type(request.body) ~= "function"
  local status, reason, version, headers, ended = ask(conn, request)
  if status or not headers or not again or version == "ETIMEDOUT" then
    return status, reason, version, headers, ended
  end
  local ok, message, code = dial_again(conn, request)
  if not ok then return nil, message, code end
  return ask(conn, request)
end

-- Whether what is left of the answer was short enough to be read and forgotten.
local function skip(conn, request)
  return conn.reader:text(REST_MAX, request.limits.body) ~= nil
end

-- The response, or nil, message, code. With follow the body of a redirect is of no
-- interest, because another request follows.
function M.run(request, follow)
  local limits = request.limits
  local conn <close>, problem, why = pool.take(request.way.key,
    dial.left(limits.connect, limits.over))
  if not conn then return nil, problem, why end
  local status, reason, version, headers, ended = get_head(conn, request)
  if not status then return nil, reason, version end
  conn.used = conn.used + 1
  local response = response_of.new(request, status, reason, version, headers)
  if follow and status >= 300 and redirect.is_one(request, status, headers) then
    if skip(conn, request) then pool.put(conn) end
    return response
  end
  if request.stream then return response_of.streamed(response, conn, request) end
  local body, message, code = conn.reader:text(request.body_max, limits.body)
  if not body then return nil, message, code end
  response.body = body
  if not ended then response.trailers = conn.reader:trailers() end
  pool.put(conn)
  return response_of.whole(response)
end

return M
