-- Cookies (RFC 6265): the Cookie header read, the Set-Cookie header written. Values are
-- neither encoded nor decoded; what a cookie cannot hold is refused, never mangled.
local host = require "atoll.core.host"
local misuse = require "atoll.misuse"

local M = {}

local DAYS = { "Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat" }
local MONTHS = {
  "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
}
local PAIR_MAX = 4096 -- bytes of name and value (RFC 6265bis 5.7)
local LATEST = 253402300799 -- the last second of the year 9999

-- name -> value of a Cookie header. Of two with one name the first counts.
M.parse = host.parse_cookies

-- "Sun, 06 Nov 1994 08:49:37 GMT", whatever the locale.
local function date(seconds)
  local t = os.date("!*t", seconds)
  return ("%s, %02d %s %04d %02d:%02d:%02d GMT"):format(DAYS[t.wday], t.day,
    MONTHS[t.month], t.year, t.hour, t.min, t.sec)
end

local function attribute_text(name, value)
  if type(value) ~= "string" or value == "" or value:find("[%c;]") or value:find("^%s")
    or value:find("%s$") then
    misuse.raise("the cookie's %s is a string without control bytes and ;", name)
  end
  return value
end

local attributes = {}

function attributes.path(value)
  if attribute_text("path", value):sub(1, 1) ~= "/" then
    misuse.raise("the cookie's path begins with /")
  end
  return "; Path=" .. value
end

function attributes.domain(value)
  if not attribute_text("domain", value):find("^[%w.-]+$") then
    misuse.raise("the cookie's domain is a host name")
  end
  return "; Domain=" .. value
end

function attributes.max_age(value)
  local seconds = math.tointeger(value)
  if not seconds then
    misuse.raise("the cookie's max_age is a whole number of seconds")
  end
  return ("; Max-Age=%d"):format(seconds)
end

function attributes.expires(value)
  if type(value) ~= "number" or not (value >= 0 and value <= LATEST) then
    misuse.raise("the cookie's expires is a time as of os.time()")
  end
  return "; Expires=" .. date(math.floor(value))
end

local function flag(name, text)
  attributes[name] = function(value)
    misuse.expect("boolean", value, "the cookie's " .. name)
    return value and text or ""
  end
end

flag("secure", "; Secure")
flag("http_only", "; HttpOnly")
flag("partitioned", "; Partitioned")

local same_site = { strict = "Strict", lax = "Lax", none = "None" }

function attributes.same_site(value)
  local word = type(value) == "string" and same_site[value:lower()]
  if not word then misuse.raise("the cookie's same_site is Strict, Lax or None") end
  return "; SameSite=" .. word
end

local ORDER = {
  "path", "domain", "max_age", "expires", "secure", "http_only", "same_site",
  "partitioned",
}
local DEFAULTS = { path = "/", http_only = true, same_site = "Lax" }
local GONE = { max_age = 0, expires = 0 }

local function check_name(name, options)
  if type(name) ~= "string" or not name:find("^[%w!#$%%&'*+.^_`|~-]+$") then
    misuse.raise("a cookie's name is a token: letters, digits and !#$%%&'*+-.^_`|~")
  end
  local prefix = name:lower():match("^__%l+%-") -- browsers do not look at the case
  local secure = prefix == "__secure-" or prefix == "__host-"
  if secure and not options.secure then
    misuse.raise("cookie %q has to be secure", name)
  end
  if prefix == "__host-" and (options.domain or (options.path or "/") ~= "/") then
    misuse.raise("cookie %q has the path / and no domain", name)
  end
  if options.partitioned and not options.secure then
    misuse.raise("cookie %q: partitioned works only with secure", name)
  end
end

-- The value of a Set-Cookie header; a nil value makes the browser forget the cookie.
-- Options: path ("/"), domain, max_age (seconds), expires (as of os.time()), secure,
-- http_only (true), same_site ("Lax"), partitioned.
function M.format(name, value, options)
  options = options or {}
  misuse.expect("table", options, "a cookie's options")
  for key in pairs(options) do
    if not attributes[key] then
      misuse.raise("a cookie has no option %s; it has %s", tostring(key),
        table.concat(ORDER, ", "))
    end
  end
  check_name(name, options)
  if type(value) == "number" then value = tostring(value) end
  if value ~= nil
    and (type(value) ~= "string" or value:find("[^!-~]") or value:find("[\",;\\]")) then
    misuse.raise("cookie %q: a value is a string without spaces, quotes, commas, "
      .. "semicolons, backslashes and bytes that are not ASCII; encode it", name)
  end
  if options.same_site and tostring(options.same_site):lower() == "none"
    and not options.secure then
    misuse.raise("cookie %q: same_site None works only with secure", name)
  end
  if #name + #(value or "") > PAIR_MAX then
    misuse.raise("cookie %q: name and value have %d bytes; browsers take %d", name,
      #name + #value, PAIR_MAX)
  end
  local parts = { name .. "=" .. (value or "") }
  for _, key in ipairs(ORDER) do
    local set = options[key]
    if set == nil then set = DEFAULTS[key] end
    if value == nil and GONE[key] then set = GONE[key] end
    if set ~= nil then parts[#parts + 1] = attributes[key](set) end
  end
  return table.concat(parts)
end

return M
