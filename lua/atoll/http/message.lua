-- A request as it is written: its head from the options, its body from a text, a
-- function or a table, and the way both go out.
local core = require "atoll.core.http"
local crypto = require "atoll.core.crypto"
local dial = require "atoll.http.dial"
local form_of = require "atoll.http.form"
local host = require "atoll.core.host"
local json = require "atoll.json"
local misuse = require "atoll.misuse"
local url_of = require "atoll.http.url"

local M = {}

-- Methods that say by themselves that they have a body, so that one of no bytes has a
-- length, too (RFC 9110 8.6).
local with_body = { POST = true, PUT = true, PATCH = true }

local AGENT = "atoll/" .. host.version
local CONTINUE = 1 -- second that is waited for a 100

-- The body that the options name (text or function), and its type.
function M.body_of(options)
  local body, json_value, form = options.body, options.json, options.form
  if body ~= nil then
    if json_value ~= nil or form ~= nil then
      misuse.raise("a request has one of body, json and form")
    end
    local kind = type(body)
    if kind == "table" then return json.encode(body), "application/json" end
    if kind == "number" then return tostring(body) end
    if kind ~= "string" and kind ~= "function" then
      misuse.raise("the body is a text, a function or a table, not a %s", kind)
    end
    return body
  end
  if json_value ~= nil then
    if form ~= nil then misuse.raise("a request has one of body, json and form") end
    return json.encode(json_value), "application/json"
  end
  if form == nil then return nil end
  misuse.expect("table", form, "form")
  return form_of.encode(form)
end

local function length_of(method, body)
  if type(body) == "function" then return true end
  if body then return #body end
  return with_body[method] and 0 or nil
end

-- The head of the request, as the fields text, chunked, length, close and expects.
-- plain ones, of which there may be many, are made once per URL.
function M.head(request)
  local url, method, way = request.url, request.method, request.way
  local proxied = way.proxy and not way.tunnel
  local plain = not request.fields and not request.body and not proxied
    and request.decode
  local head = plain and url.heads[method]
  if head then return head end
  local defaults = { "Host", url.named, "User-Agent", AGENT, "Accept", "*/*" }
  local function add(name, value)
    if value then defaults[#defaults + 1], defaults[#defaults + 2] = name, value end
  end
  add("Accept-Encoding", request.decode and "gzip, deflate")
  add("Content-Type", request.body and request.type)
  if url.userinfo then
    add("Authorization", "Basic " .. crypto.base64(url_of.credentials(url.userinfo)))
  end
  if proxied then add("Proxy-Authorization", dial.proxy_authorization(way.proxy)) end
  local text, chunked, length, close, expects = core.head(method,
    proxied and url.text or url.target, defaults, request.fields,
    length_of(method, request.body))
  if not text then misuse.raise("%s", chunked) end
  head = {
    text = text, chunked = chunked, length = length, close = close,
    expects = expects and request.body ~= nil,
  }
  if plain then url.heads[method] = head end
  return head
end

-- Pieces until the function gives none. True; false when the server has answered before
-- it was all sent; nil, message, code.
local function send_pieces(conn, head, source)
  local socket, reader = conn.socket, conn.reader
  local rest = head.length
  local trailers
  while true do
    local piece
    piece, trailers = source()
    if piece == nil then break end
    if type(piece) ~= "string" then
      misuse.raise("the body's function gave a %s, not a text", type(piece))
    end
    local n = #piece
    if n > 0 then
      local ok, message, code
      if head.chunked then
        ok, message, code = socket:write(core.chunk_head(n), piece, "\r\n")
      else
        rest = rest - n
        if rest < 0 then
          misuse.raise("the body's function gave more than its Content-Length")
        end
        ok, message, code = socket:write(piece)
      end
      if not ok then return nil, message, code end
      if reader:arrived() then return false end
    end
  end
  if head.chunked then
    if trailers == nil then return socket:write("0\r\n\r\n") end
    local text, problem = core.trailers(misuse.expect("table", trailers, "trailers"))
    if not text then misuse.raise("%s", problem) end
    return socket:write(text)
  end
  if rest > 0 then
    misuse.raise("the body's function gave less than its Content-Length")
  end
  return true
end

-- Writes head and body. true, or false when an answer may be there before all was sent;
-- then the connection is good for that answer only.
function M.send(conn, request)
  local head, body, socket = request.head, request.body, conn.socket
  if head.close then conn.spent = true end
  if not body then return socket:write(head.text) end
  local streams = type(body) == "function"
  if streams or #body > 65536 then
    socket:settimeout(dial.left(request.limits.write, request.limits.over))
  end
  local ok, message, code
  if head.expects then
    ok, message, code = socket:write(head.text)
    if ok then
      local status, _, _, fields = conn.reader:head(CONTINUE, true)
      if status and fields then ok = false end
    end
    if ok and streams then
      ok, message, code = send_pieces(conn, head, body)
    elseif ok then
      ok, message, code = socket:write(body)
    end
  elseif streams then
    ok, message, code = socket:write(head.text)
    if ok then ok, message, code = send_pieces(conn, head, body) end
  else
    ok, message, code = socket:write(head.text, body)
  end
  if ok then return true end
  conn.spent = true
  if ok == false or conn.reader:arrived() then return false end
  if code == "ETIMEDOUT" then message = "timed out sending the request" end
  return nil, message, code
end

return M
