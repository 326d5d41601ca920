-- What OpenResty's libraries use of `ngx`: its sockets, ctx, and the functions that
-- need nothing of nginx. The setting compat = "ngx" makes it a global. What is not here
-- is nil, so that a library which looks before it leaps takes its other way.
local atoll = require "atoll"
local crypto = require "atoll.core.crypto"
local host = require "atoll.core.host"

local ngx = {
  null = atoll.json.null,
  OK = 0, ERROR = -1, AGAIN = -2, DONE = -4, DECLINED = -5,
  STDERR = 0, EMERG = 1, ALERT = 2, CRIT = 3, ERR = 4, WARN = 5, NOTICE = 6, INFO = 7,
  DEBUG = 8,
  config = {
    debug = false,
    subsystem = "http",
    ngx_lua_version = 10023,
    nginx_version = 1022001,
    prefix = function() return "" end,
  },
}

-- ---- log, clock, texts ----

local levels = { [0] = "error", "error", "error", "error", "error", "warn", "info",
  "info", "debug" }

function ngx.log(level, ...)
  local name = levels[level] or error("bad log level: " .. tostring(level), 2)
  local texts = table.pack(...)
  for i = 1, texts.n do texts[i] = tostring(texts[i]) end
  host.log(name, table.concat(texts))
end

ngx.now = host.time
ngx.sleep = atoll.sleep

function ngx.time() return math.floor(host.time()) end

function ngx.update_time() end

function ngx.get_phase()
  local request, fiber = host.fiber()
  return request and "content" or fiber and "timer" or "init"
end

-- As a component of a URI; with kind 0 as a whole one.
function ngx.escape_uri(text, kind)
  local reserved = kind == 0 and "[%c \127-\255#%%?]" or "[^%w%-._~!*'()]"
  return (tostring(text):gsub(reserved, function(c)
    return ("%%%02X"):format(c:byte())
  end))
end

function ngx.unescape_uri(text)
  return host.percent_decode(text, true)
end

ngx.encode_base64 = crypto.base64
ngx.decode_base64 = crypto.unbase64

local function hex(bytes)
  return (bytes:gsub(".", function(c) return ("%02x"):format(c:byte()) end))
end

function ngx.md5(text) return hex(crypto.digest("md5", text)) end

function ngx.md5_bin(text) return crypto.digest("md5", text) end

function ngx.sha1_bin(text) return crypto.digest("sha1", text) end

function ngx.hmac_sha1(key, text) return crypto.hmac("sha1", key, text) end

-- ---- the request at hand ----

local function weak() return setmetatable({}, { __mode = "k" }) end

-- By request, or by the coroutine of another fiber. A request's is req.ctx until
-- another table is assigned.
local contexts = weak()

local function owner(what)
  local request, fiber = host.fiber()
  return request or fiber or error("no " .. what .. " while the app loads", 3), request
end

local function get_context()
  local key, request = owner("ngx.ctx")
  local context = contexts[key]
  if not context then
    if request then return request.ctx end
    context = {}
    contexts[key] = context
  end
  return context
end

local function set_context(value)
  if type(value) ~= "table" then
    error("attempt to assign a " .. type(value) .. " to ngx.ctx; a table is needed", 3)
  end
  contexts[owner("ngx.ctx")] = value
end

local variables = {
  uri = function(r) return r.path end,
  document_uri = function(r) return r.path end,
  request_uri = function(r) return r.target end,
  request_method = function(r) return r.method end,
  request_id = function(r) return r.id end,
  args = function(r) return r.query_string end,
  query_string = function(r) return r.query_string end,
  is_args = function(r) return (r.query_string or "") == "" and "" or "?" end,
  host = function(r) return (r.host:gsub(":%d+$", ""):lower()) end,
  scheme = function(r) return r.scheme end,
  server_protocol = function(r) return "HTTP/" .. r.version end,
  remote_addr = function(r) return (r.remote:gsub(":%d*$", ""):gsub("[%[%]]", "")) end,
  remote_port = function(r) return r.remote:match(":(%d+)$") or "" end,
}

local assigned = weak()

local variable_meta = {}

function variable_meta.__index(_, name)
  local key, request = owner("ngx.var")
  local own = assigned[key]
  if own and own[name] ~= nil then return own[name] end
  if not request or type(name) ~= "string" then return nil end
  if variables[name] then return variables[name](request) end
  local family, rest = name:match("^(%l+)_(.+)$")
  if family == "http" then return request.headers[(rest:gsub("_", "-"))] end
  if family == "arg" then return request.query[rest] end
  if family == "cookie" then return request.cookies[rest] end
  return nil
end

function variable_meta.__newindex(_, name, value)
  local key = owner("ngx.var")
  assigned[key] = assigned[key] or {}
  assigned[key][name] = value ~= nil and tostring(value) or nil
end

ngx.var = setmetatable({}, variable_meta)

-- ---- workers and timers ----

ngx.worker = {
  id = function() return (host.isolate() or 1) - 1 end,
  pid = host.process,
  count = function() return host.isolates end,
  exiting = host.leaving,
}

ngx.timer = {}

-- Sleeps, but for no more than a second when this code is to end: true then.
local function premature(delay)
  local due = atoll.now() + delay
  repeat
    local left = due - atoll.now()
    if left <= 0 then return false end
    atoll.sleep(math.min(left, 1))
  until host.leaving()
  return due > atoll.now()
end

local function timer(name, delay, fn, round, ...)
  delay = tonumber(delay) or error("bad argument #1 to '" .. name
    .. "' (number expected)", 3)
  if delay < 0 then error("bad argument #1 to '" .. name .. "' (negative)", 3) end
  if type(fn) ~= "function" then
    error("bad argument #2 to '" .. name .. "' (function expected)", 3)
  end
  if not host.isolate() then return nil, "no timers while the app loads" end
  if delay > 0 and host.leaving() then return nil, "process exiting" end
  atoll.spawn(function(...)
    local early
    repeat
      early = premature(delay)
      fn(early, ...)
    until early or not round
  end, ...)
  return 1
end

function ngx.timer.at(delay, fn, ...)
  return timer("at", delay, fn, false, ...)
end

function ngx.timer.every(delay, fn, ...)
  return timer("every", delay, fn, true, ...)
end

-- Loaded when they are first used.
local late = { shared = "atoll.compat.shared_dict", socket = "atoll.compat.cosocket" }

setmetatable(ngx, {
  __index = function(_, name)
    if name == "ctx" then return get_context() end
    if not late[name] then return nil end
    local value = require(late[name])
    rawset(ngx, name, value)
    return value
  end,
  __newindex = function(t, name, value)
    if name == "ctx" then set_context(value) else rawset(t, name, value) end
  end,
})

local M = {}

-- Debian has the libraries of lua-nginx-* as nginx.redis and so on; their authors and
-- everybody who uses them say resty.redis.
local function resty_searcher(name)
  local rest = name:match("^resty%.(.+)$")
  if not rest then return nil end
  local path, message = package.searchpath("nginx." .. rest, package.path)
  if not path then return message end
  return function() return require("nginx." .. rest) end, path
end

function M.install()
  rawset(_G, "ngx", ngx)
  package.loaded.ngx = ngx
  package.preload.bit = package.preload.bit or function()
    return require "atoll.compat.bit"
  end
  table.insert(package.searchers, resty_searcher)
end

return M
