-- What answers a request for a WebSocket: whether it may have one is decided here, in
-- front of the middleware's eyes; the host then answers 101 and runs the handler.
local core = require "atoll.core.websocket"
local misuse = require "atoll.misuse"
local response = require "atoll.core.response"

local M = {
  routes = {}, -- pattern -> what handler() gives second, of the app that is served
}

local options_known = {
  compress = true, message_max = "number", origin = true, ping = true,
  protocols = "table",
}

local function same_host(origin, req)
  local host = origin:match("^%a[%w+.-]*://([^/]*)$")
  if not host or not req.host then return false end
  local default = origin:match("^https:") and ":443" or ":80"
  host = host:lower():gsub(default .. "$", "")
  return host == (req.host:lower():gsub(default .. "$", ""))
end

-- Whether the page that asks may: one of the same host, unless the option says which.
-- What names no origin is no browser.
local function origin_fits(wanted, req)
  local origin = req.headers.origin
  if type(wanted) == "function" then return wanted(origin, req) end
  if origin == nil or wanted == "*" then return true end
  if wanted == nil then return same_host(origin, req) end
  if type(wanted) == "string" then return origin == wanted end
  for _, one in ipairs(wanted) do
    if one == origin then return true end
  end
  return false
end

local function refuse(status, why)
  local headers
  if status == 426 then
    headers = {
      Upgrade = "websocket", Connection = "Upgrade", ["Sec-WebSocket-Version"] = "13",
    }
  elseif status == 405 then
    headers = { Allow = "GET" }
  elseif status == 503 then
    headers = { ["Retry-After"] = "1" }
  end
  return status, why .. "\n", headers
end

local function is_origin(text)
  return type(text) == "string"
    and (text == "null" or text:find "^%a[%w+.-]*://[^/%s]+$" ~= nil)
end

local function check_origin(wanted, what)
  if wanted == nil or wanted == "*" or type(wanted) == "function" then return end
  for key, one in pairs(type(wanted) == "table" and wanted or { wanted }) do
    if math.type(key) ~= "integer" or not is_origin(one) then
      misuse.raise("origin of %s is an origin such as \"https://example.org\", a list "
        .. "of them, a function, or \"*\" for any page; without it those of this host "
        .. "may; %s is none of these", what,
        type(one) == "string" and ("%q"):format(one) or tostring(one))
    end
  end
end

local function check_options(options, what)
  misuse.expect("table", options, "the options of " .. what)
  for name, value in pairs(options) do
    local wanted = options_known[name]
    if not wanted then
      misuse.raise("%s has no option %s; they are compress, message_max, origin, ping "
        .. "and protocols", what, tostring(name))
    end
    if wanted ~= true then
      misuse.expect(wanted, value, ("the option %s of %s"):format(name, what))
    end
  end
  local max, ping = options.message_max, options.ping
  if max and not (math.type(max) == "integer" and max > 0 and max <= 0x7fffffff) then
    misuse.raise("message_max of %s is a number of bytes", what)
  end
  if ping and not (type(ping) == "number" and ping > 0 and ping < 1e9) then
    misuse.raise("ping of %s is a number of seconds, or false", what)
  end
  check_origin(options.origin, what)
  local compress = options.compress
  if compress ~= nil and type(compress) ~= "table" and type(compress) ~= "boolean" then
    misuse.raise("compress of %s is true, false or { takeover = true }", what)
  end
  for _, name in ipairs(options.protocols or {}) do
    if type(name) ~= "string" or not name:find("^[%w!#$%%&'*+.^_`|~-]+$") then
      misuse.raise("%s: %s is no name of a subprotocol", what, tostring(name))
    end
  end
end

-- The handler of a route that is a WebSocket: fn(ws, req) runs once it is one. And what
-- the host needs for that.
function M.handler(fn, options, what)
  options = options or {}
  check_options(options, what)
  local info = debug.getinfo(fn, "u")
  local route = {
    handler = fn,
    takes = info.isvararg or info.nparams >= 2,
    compress = options.compress,
    takeover = type(options.compress) == "table" and options.compress.takeover,
    message_max = options.message_max,
    ping = options.ping == false and 0 or options.ping,
    protocols = options.protocols,
  }
  local origin = options.origin
  local function answer(req)
    local status, why = core.check(req)
    if status then return refuse(status, why) end
    if not origin_fits(origin, req) then
      return 403, "this origin may not open the WebSocket\n"
    end
    return setmetatable({ websocket = route }, response.metatable)
  end
  return answer, route
end

return M
