-- Sessions: what is remembered of a client from one request to the next. The middleware
-- opens the session that a cookie names, and keeps it again when it has changed, before
-- the answer's head is sent.
local codec = require "atoll.session.codec"
local cookie = require "atoll.cookie"
local host = require "atoll.core.host"
local misuse = require "atoll.misuse"
local response = require "atoll.response"
local secret = require "atoll.secret"
local stores = require "atoll.session.stores"

local M = {}

local FORMAT = "<Bi8i8" -- version, born, seen; then the content
local VERSION = 1

-- request -> its session; of several the one opened last.
local sessions = setmetatable({}, { __mode = "k" })

local function now() return math.floor(host.time()) end

-- A session ---------------------------------------------------------------------------

local methods = {}
local metatable = { __index = methods, __name = "atoll.session" }

local function new(config, req, res)
  return setmetatable({
    data = {},       -- the program's
    is_new = true,   -- no request before has brought it
    born = now(),
    config = config,
    req = req,
    res = res,
    outer = sessions[req],
    id = nil,        -- in the store; the cookie store has none
    flashes = {},
    token = nil,     -- of atoll.csrf
    kept = nil,      -- the content as it is kept
    seen = 0,
    rotated = false,
    ended = false,   -- what is in it now is another one
    written = nil,   -- the Set-Cookie line of this request
  }, metatable)
end

local function content_of(self)
  misuse.expect("table", self.data, "a session's data")
  if next(self.data) == nil and next(self.flashes) == nil and not self.token then
    return nil
  end
  return codec.encode { self.data, self.flashes, self.token or false }
end

-- True when the bytes are a session that is still good.
local function fill(self, bytes)
  if #bytes < string.packsize(FORMAT) then return false end
  local version, born, seen, at = string.unpack(FORMAT, bytes)
  local config, time = self.config, now()
  if version ~= VERSION or time >= born + config.max_age then return false end
  if config.idle and time >= seen + config.idle then return false end
  local content = bytes:sub(at)
  local parts = codec.decode(content)
  if type(parts) ~= "table" then return false end
  self.data, self.flashes, self.token = parts[1], parts[2], parts[3] or nil
  self.born, self.seen, self.kept, self.is_new = born, seen, content, false
  return true
end

local function touch_headers(res) res.headers = res.headers end

local function head_is_sent(res)
  local ok, why = pcall(touch_headers, res)
  if not ok and tostring(why):find("not enough memory", 1, true) then error(why, 0) end
  return not ok
end

-- Sets the cookie, in place of what this request has set before.
local function set_cookie(self, value, max_age)
  local config, res = self.config, self.res
  local secure = config.secure
  if secure == "auto" then secure = self.req.scheme == "https" end
  if head_is_sent(res) then
    error("the session has changed after the answer's head was sent: call its save() "
      .. "before the first res:write()", 0)
  end
  local line = cookie.format(config.name, value, {
    path = config.path, domain = config.domain, same_site = config.same_site,
    secure = secure, max_age = max_age,
  })
  local lines = res.headers["Set-Cookie"]
  if type(lines) ~= "table" then lines = { lines } end
  for i, there in ipairs(lines) do
    if there == self.written then table.remove(lines, i) break end
  end
  lines[#lines + 1] = line
  res.headers["Set-Cookie"] = lines
  self.written = line
end

local function forget(self)
  if self.id then self.config.store.drop(self.id) end
  set_cookie(self, nil)
  self.id, self.kept, self.rotated, self.ended = nil, nil, false, false
end

-- Another request has ended it, or given it another name, and has told the client.
local function lose(self)
  self.data, self.flashes, self.token = {}, {}, nil
  self.id, self.kept, self.is_new, self.born = nil, nil, true, now()
  self.rotated, self.ended = false, false
end

local function keep(self, content)
  local config, time = self.config, now()
  local ttl = self.born + config.max_age - time
  if config.idle then ttl = math.min(ttl, config.idle) end
  local old = self.rotated and self.id or nil
  if old and not self.ended and not config.store.has(old) then return lose(self) end
  local bytes = string.pack(FORMAT, VERSION, self.born, time) .. content
  local text, id = config.store.close(bytes, not old and self.id or nil, ttl)
  if not text then return lose(self) end
  if old and config.store.drop(old) == false and not self.ended then
    config.store.drop(id) -- it was destroyed just now
    return lose(self)
  end
  -- A client that has the name already needs to hear nothing.
  if not (id and id == self.id and head_is_sent(self.res)) then
    set_cookie(self, text, ttl)
  end
  self.id, self.kept, self.seen = id, content, time
  self.rotated, self.ended = false, false
end

-- Opens what the request's cookie names. What is to last longer is kept again at once,
-- and a cookie that is worth nothing taken back: the handler may send the head itself.
local function open(config, req, res)
  local self = new(config, req, res)
  sessions[req] = self
  local text = req.cookies[config.name]
  if not text then return self end
  local bytes, id = config.store.open(text)
  if not bytes or not fill(self, bytes) then
    set_cookie(self, nil)
    return self
  end
  self.id = id
  if config.idle and now() - self.seen >= math.max(1, config.idle // 10) then
    keep(self, self.kept)
  end
  return self
end

-- Keeps it now if it has changed, as the middleware does behind the handler.
function methods:save()
  local content = content_of(self)
  if content then
    if content ~= self.kept or self.rotated then keep(self, content) end
  elseif self.kept then
    forget(self)
  end
end

-- The same content under another name, so that whoever knew it before is out: when
-- somebody has logged in, and when his rights change.
function methods:rotate()
  self.born = now()
  self.rotated = true
  self.token = nil
end

-- Nothing is remembered any more. What is put into data afterwards is a new session.
function methods:destroy()
  self.data, self.flashes, self.token = {}, {}, nil
  self:rotate()
  self.ended = true
end

-- With a value: keeps it until it has been asked for once. Without: gives it.
function methods:flash(name, ...)
  misuse.expect("string", name, "the name of a flash")
  if select("#", ...) > 0 then
    self.flashes[name] = (...)
    return
  end
  local value = self.flashes[name]
  self.flashes[name] = nil
  return value
end

-- The middleware ----------------------------------------------------------------------

-- An answer that ends the handler from within is one, too.
function response.before_halt()
  local req = host.fiber()
  local self = req and sessions[req]
  while self do
    self:save()
    self = self.outer
  end
end

local known = {
  secret = true, name = true, max_age = true, idle = true, same_site = true,
  secure = true, store = true, path = true, domain = true,
}

local function seconds(value, fallback, name)
  if value == nil then value = fallback end
  local n = math.tointeger(value)
  if not n or n < 1 then
    misuse.raise("session: %s is a whole number of seconds, not %s", name,
      tostring(value))
  end
  return n
end

local function make_store(options, name)
  local store = options.store
  if store == nil or store == "cookie" then
    return stores.cookie(name, secret.list(options.secret, "session"))
  end
  if options.secret ~= nil then secret.list(options.secret, "session") end
  if store == "shared" then return stores.shared(name) end
  if type(store) == "table" then return stores.check(store) end
  misuse.raise("session: store is \"cookie\", \"shared\" or a table with load, save "
    .. "and delete")
end

local function configure(options)
  misuse.expect("table", options, "what session() is given")
  for key in pairs(options) do
    if not known[key] then
      misuse.raise("session: there is no option %s; there are domain, idle, max_age, "
        .. "name, path, same_site, secret, secure and store", tostring(key))
    end
  end
  local name, secure = options.name, options.secure
  if name == nil then name = "session" end
  if secure == nil then secure = "auto" end
  if secure ~= "auto" then misuse.expect("boolean", secure, "session: secure") end
  local config = {
    name = name,
    secure = secure,
    max_age = seconds(options.max_age, 14 * 86400, "max_age"),
    idle = options.idle and seconds(options.idle, nil, "idle"),
    same_site = options.same_site or "Lax",
    path = options.path,
    domain = options.domain,
  }
  cookie.format(name, "x", { -- raises what is wrong
    path = config.path, domain = config.domain, same_site = config.same_site,
    secure = secure == true,
  })
  config.store = make_store(options, name)
  return config
end

local function middleware(_, options)
  local config = configure(options)
  return function(req, next, res)
    local self = open(config, req, res)
    local results = table.pack(next(req))
    self:save()
    return table.unpack(results, 1, results.n)
  end
end

-- The session of a request: data, is_new, born; save, rotate, destroy, flash.
function M.of(req)
  return sessions[req] or misuse.raise("there is no session here: "
    .. "app:use(require \"atoll.session\" { ... }) comes before what uses it")
end

return setmetatable(M, { __call = middleware })
