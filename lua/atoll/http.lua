-- The HTTP client, and servers from scripts: atoll.http. Requests are straight code
-- that waits; connections are kept and used again (atoll.http.pool).
local dial = require "atoll.http.dial"
local exchange = require "atoll.http.exchange"
local message_of = require "atoll.http.message"
local misuse = require "atoll.misuse"
local pool = require "atoll.http.pool"
local redirect = require "atoll.http.redirect"
local task = require "atoll.core.task"
local url_of = require "atoll.http.url"

local M = {}

local now = task.now

-- Seconds, where the caller does not say.
local TIMES = {
  connect_timeout = 10, tls_timeout = 10, head_timeout = 60, body_timeout = 60,
  write_timeout = 60,
}
local BODY_MAX = 16 * 1024 * 1024
local REDIRECTS = 10

local plain_limits = {
  connect = TIMES.connect_timeout, tls = TIMES.tls_timeout, head = TIMES.head_timeout,
  body = TIMES.body_timeout, write = TIMES.write_timeout, over = nil,
}

local known = {
  url = true, method = true, headers = true, query = true, body = true, json = true,
  form = true, stream = true, timeout = true, redirects = true, body_max = true,
  decode = true, proxy = true, unix = true, tls = true,
}
for name in pairs(TIMES) do known[name] = true end

local function check_options(options)
  for name in pairs(options) do
    if not known[name] then
      misuse.raise("a request has no option %s", tostring(name))
    end
  end
end

local function seconds(options, name)
  local value = options[name]
  if value == nil then return TIMES[name] end
  if type(value) ~= "number" or value ~= value or value <= 0 then
    misuse.raise("%s is a number of seconds above 0", name)
  end
  return value
end

local function limits_of(options)
  local timeout = seconds(options, "timeout")
  return {
    connect = seconds(options, "connect_timeout"),
    tls = seconds(options, "tls_timeout"),
    head = seconds(options, "head_timeout"),
    body = seconds(options, "body_timeout"),
    write = seconds(options, "write_timeout"),
    over = timeout and now() + timeout,
  }
end

local function whole_number(value, default, name)
  if value == nil then return default end
  value = math.tointeger(value)
  if not value or value < 0 then misuse.raise("%s is a whole number", name) end
  return value
end

-- Runs the request, and those that it is led on to.
local function run(request, options, redirects)
  local follow = redirects > 0
  local message, code, seen
  for count = 0, redirects do
    if not request.head then
      request.way, message, code = dial.way(request.url, options)
      if not request.way then return nil, message, code end
      request.head = message_of.head(request)
    end
    local response
    response, message, code = exchange.run(request, follow)
    if not response then return nil, message, code end
    if not follow or response.status < 300
      or not redirect.is_one(request, response.status, response.headers) then
      return response
    end
    if count == redirects then break end
    if request.shared then request = redirect.copy(request) end
    seen = seen or redirect.history(request)
    local ok
    ok, message, code = redirect.follow(request, response, seen)
    if not ok then return nil, message, code end
    if request.elsewhere and options then options = redirect.elsewhere(options) end
  end
  return nil, ("more than %d redirects"):format(redirects), "ELOOP"
end

-- A request without options, which is the same whoever makes it: made once per URL.
local function plain(method, url)
  local request = {
    method = method, url = url, fields = nil, body = nil, type = nil,
    decode = true, stream = false, body_max = BODY_MAX, limits = plain_limits,
    way = nil, head = nil, shared = true,
  }
  url.plain[method] = request
  return request
end

local function perform(method, text, options)
  misuse.expect("string", text, "the URL")
  if options == nil then
    local url, message, code = url_of.parse(text)
    if not url then return nil, message, code end
    return run(url.plain[method] or plain(method, url), nil, REDIRECTS)
  end
  misuse.expect("table", options, "the options of a request")
  check_options(options)
  if options.query ~= nil then
    text = url_of.with_query(text, misuse.expect("table", options.query, "query"))
  end
  local url, message, code = url_of.parse(text)
  if not url then return nil, message, code end
  local fields = options.headers
  if fields ~= nil then misuse.expect("table", fields, "headers") end
  local body, kind = message_of.body_of(options)
  local redirects = options.redirects
  if redirects == false then redirects = 0 end
  return run({
    method = method, url = url, fields = fields, body = body, type = kind,
    decode = options.decode ~= false, stream = options.stream and true or false,
    body_max = whole_number(options.body_max, BODY_MAX, "body_max"),
    limits = limits_of(options), way = nil, head = nil, shared = false,
  }, options, whole_number(redirects, REDIRECTS, "redirects"))
end

-- { url =, method =, ... }
function M.request(options)
  misuse.expect("table", options, "the options of http.request()")
  local method = options.method or "GET"
  return perform(misuse.expect("string", method, "the method"), options.url, options)
end

for name, method in pairs { get = "GET", head = "HEAD", delete = "DELETE" } do
  M[name] = function(url, options) return perform(method, url, options) end
end

-- With the body as the second argument: a text, a function, or a table, which is sent
-- as JSON.
for name, method in pairs { post = "POST", put = "PUT", patch = "PATCH" } do
  M[name] = function(url, body, options)
    if body == nil then return perform(method, url, options) end
    local copy = { body = body }
    for key, value in pairs(options or {}) do
      if key == "body" then misuse.raise("the body is the second argument") end
      copy[key] = value
    end
    return perform(method, url, copy)
  end
end

-- Sets per_host, total (connections) and idle (seconds) for this isolate; gives what
-- counts from now on.
function M.limits(new)
  for name, value in pairs(new or {}) do
    if pool.limits[name] == nil then
      misuse.raise("http.limits() has no %s; it has per_host, total and idle",
        tostring(name))
    end
    local whole = name ~= "idle"
    if type(value) ~= "number" or value < (whole and 1 or 0)
      or whole and not math.tointeger(value) then
      misuse.raise("%s is a %snumber of %s", name, whole and "whole " or "",
        whole and "connections" or "seconds")
    end
  end
  for name, value in pairs(new or {}) do pool.limits[name] = value end
  pool.adjust()
  return { per_host = pool.limits.per_host, total = pool.limits.total,
    idle = pool.limits.idle }
end

-- Loaded by those who serve.
function M.serve(listener, app, options)
  return require "atoll.http.serve"(listener, app, options)
end

return M
