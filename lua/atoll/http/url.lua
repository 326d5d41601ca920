-- URLs of http and https taken apart, resolved against each other, and made with a
-- query of a table of values. What cannot be one gives nil, message, "ESYNTAX".
local host_of = require "atoll.core.host"

local M = {}

local PORTS = { http = 80, https = 443 }
local CACHE_MAX, CACHED_LENGTH = 256, 1024

local cache, cached = {}, 0

local function fail(text, why)
  text = text:gsub("[%c]", "?")
  if #text > 200 then text = text:sub(1, 200) .. "..." end
  return nil, ("%s: %s"):format(text, why), "ESYNTAX"
end

-- What may not stand in a request line is escaped; control characters are refused
-- before.
local function escape(s)
  return (s:gsub("[^%w!$%%&'()*+,%-./:;=?@%[%]_~]", function(c)
    return ("%%%02X"):format(c:byte())
  end))
end

-- "[::1]:80" -> "[::1]", 80; without a port the scheme's.
local function split_authority(authority, scheme)
  local host, port = authority:match("^(%[[%x:.]+%])(.*)$")
  if not host then host, port = authority:match("^([%w%-._~]+)(.*)$") end
  if not host then return nil end
  if port == "" or port == ":" then return host:lower(), PORTS[scheme] end
  port = tonumber(port:match("^:(%d+)$"))
  if not port or port < 1 or port > 65535 then return nil end
  return host:lower(), math.tointeger(port)
end

local function parse(text)
  if text:find("%c") then return fail(text, "a URL has no control characters") end
  local scheme, authority, rest = text:match("^%s*(%a[%w+.-]*)://([^/?#]*)([^#]*)")
  if not scheme then return fail(text, "that is no absolute URL") end
  scheme = scheme:lower()
  if not PORTS[scheme] then
    return nil, ("%s: only http and https are spoken here"):format(scheme),
      "EPROTONOSUPPORT"
  end
  local userinfo, place = authority:match("^(.*)@(.*)$")
  local host, port = split_authority(place or authority, scheme)
  if not host then
    if authority:find("[\x80-\xff]") then
      return fail(text, "the host has other than ASCII letters; write it in punycode")
    end
    return fail(text, "the host or the port is malformed")
  end
  if rest:sub(1, 1) ~= "/" then rest = "/" .. rest end
  local named = port == PORTS[scheme] and host or host .. ":" .. port
  local origin, target = scheme .. "://" .. named, escape(rest)
  return {
    scheme = scheme,
    host = host,       -- IPv6 in brackets
    port = port,
    named = named,     -- as in Host
    origin = origin,
    target = target,
    text = origin .. target,
    userinfo = userinfo,
    heads = {},        -- method -> head of a plain request, see atoll.http.message
    plain = {},        -- method -> request without options, see atoll.http
  }
end

-- The parts are shared by all who ask for the same text.
function M.parse(text)
  local url = cache[text]
  if url then return url end
  local message, code
  url, message, code = parse(text)
  if not url then return nil, message, code end
  if #text > CACHED_LENGTH then return url end
  if cached >= CACHE_MAX then cache, cached = {}, 0 end
  cache[text] = url
  cached = cached + 1
  return url
end

function M.with_userinfo(url, userinfo)
  return M.parse(("%s://%s@%s%s"):format(url.scheme, userinfo, url.named, url.target))
end

-- RFC 3986 5.2.4
local function without_dots(path)
  local out = {}
  local last
  for segment in path:gmatch("/([^/]*)") do
    last = segment
    if segment == ".." then
      out[#out] = nil
    elseif segment ~= "." then
      out[#out + 1] = segment
    end
  end
  local slash = last == "." or last == ".."
  return "/" .. table.concat(out, "/") .. (slash and #out > 0 and "/" or "")
end

-- The URL that a reference (of a Location) means where url is the base.
function M.resolve(url, reference)
  reference = reference:gsub("#.*$", "")
  if reference:find("^%a[%w+.-]*:") then return M.parse(reference) end
  if reference:sub(1, 2) == "//" then return M.parse(url.scheme .. ":" .. reference) end
  local path, query = reference:match("^([^?]*)(.*)$")
  local base, base_query = url.target:match("^([^?]*)(.*)$")
  if path == "" then
    path = base
    if query == "" then query = base_query end
  else
    if path:sub(1, 1) ~= "/" then path = base:match("^.*/") .. path end
    path = without_dots(path)
  end
  return M.parse(url.origin .. path .. query)
end

-- "user", "pass%20word" -> the two decoded and joined, as Basic has them.
function M.credentials(userinfo)
  local user, password = userinfo:match("^([^:]*):?(.*)$")
  local function decode(s)
    return (s:gsub("%%(%x%x)", function(digits)
      return string.char(tonumber(digits, 16))
    end))
  end
  return decode(user) .. ":" .. decode(password)
end

-- { a = 1, b = { 2, 3 } } -> "a=1&b=2&b=3", in the order of the names.
function M.encode(values)
  local names, parts = {}, {}
  for name in pairs(values) do names[#names + 1] = name end
  table.sort(names, function(a, b) return tostring(a) < tostring(b) end)
  for _, name in ipairs(names) do
    local list = values[name]
    if type(list) ~= "table" then list = { list } end
    for _, value in ipairs(list) do
      parts[#parts + 1] = host_of.percent_encode(tostring(name)) .. "="
        .. host_of.percent_encode(tostring(value))
    end
  end
  return table.concat(parts, "&")
end

-- The text of a URL with these values behind it.
function M.with_query(text, values)
  local before, fragment = text:match("^([^#]*)(.*)$")
  local encoded = M.encode(values)
  if encoded == "" then return text end
  local sign = not before:find("?", 1, true) and "?"
    or before:find("[?&]$") and "" or "&"
  return before .. sign .. encoded .. fragment
end

return M
