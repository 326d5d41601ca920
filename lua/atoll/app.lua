-- What atoll.app() returns: a list of what an app registered, in order. Nothing is
-- decided here but whether each call makes sense; atoll.compile turns the list into
-- routes when all of it is there.
local misuse = require "atoll.misuse"
local pattern = require "atoll.pattern"

local M = {}

local methods = {}
local metatable = { __index = methods, __name = "atoll.app" }

-- Each event, and whether an app may listen to it more than once.
local events = {
  start = true, stop = true, reload = false, error = false, not_found = false,
}

function M.new()
  return setmetatable({
    entries = {}, -- routes, uses, mounts and statics in the order of their calls
    hooks = {},   -- event -> list of { call =, where = }
    timers = {},  -- of app:every: list of { seconds =, call =, once = }
    sites = {},   -- what app:handle answers with, by the place in the host
  }, metatable)
end

function M.is(value)
  return getmetatable(value) == metatable
end

local function check_self(self, name)
  if not M.is(self) then
    misuse.raise("app.%s() needs the app: write app:%s(...), with a colon", name, name)
  end
end

local function handler_problem(fn)
  if type(fn) == "function" then return nil end
  return ("the handler is %s, not a function"):format(
    fn == nil and "nil" or "a " .. type(fn))
end

local function check_handler(fn, what)
  local why = handler_problem(fn)
  if why then misuse.raise("%s: %s", what, why) end
end

local function check_prefix(prefix, name)
  misuse.expect("string", prefix, ("the prefix of app:%s()"):format(name))
  local why = pattern.prefix_problem(prefix)
  if why then misuse.raise("app:%s(%q): %s", name, prefix, why) end
end

local function method_problem(method)
  if type(method) ~= "string" or not method:find("^[%w!#$%%&'*+.^_`|~-]+$") then
    return ("%s is no method"):format(tostring(method))
  end
  if method:find("%l") then
    return ("methods have capital letters: %q, not %q"):format(method:upper(), method)
  end
end

local function route_problem(names, path, fn)
  if type(path) ~= "string" then
    return ("the pattern of a route is a string, not %s"):format(type(path))
  end
  local why = pattern.problem(path) or handler_problem(fn)
  for _, method in ipairs(names) do why = why or method_problem(method) end
  return why and ("route %q: %s"):format(path, why)
end

local function add(self, entry)
  entry.where = entry.where or misuse.where()
  self.entries[#self.entries + 1] = entry
  return self
end

-- Adds a route for each of the methods. where is what messages begin with, as in
-- "app.lua:7"; nil for the line of the caller.
function M.add_route(self, names, path, fn, where, websocket)
  local why = route_problem(names, path, fn)
  if why then error((where or misuse.where()) .. ": " .. why, 0) end
  for _, method in ipairs(names) do
    add(self, {
      kind = "route", method = method, pattern = path, handler = fn, where = where,
      websocket = websocket,
    })
  end
  return self
end

for name, method in pairs {
  get = "GET", post = "POST", put = "PUT", patch = "PATCH", delete = "DELETE",
  options = "OPTIONS", head = "HEAD", any = "*",
} do
  methods[name] = function(self, path, fn)
    check_self(self, name)
    return M.add_route(self, { method }, path, fn)
  end
end

-- names is one method or a list of them; "*" is every method.
function methods:route(names, path, fn)
  check_self(self, "route")
  if type(names) == "string" then names = { names } end
  misuse.expect("table", names, "the list of methods of app:route()")
  if #names == 0 then misuse.raise("app:route(): the list of methods is empty") end
  return M.add_route(self, names, path, fn)
end

-- Puts fn(req, next, res) around every handler that is registered after it.
function methods:use(prefix, fn)
  check_self(self, "use")
  if fn == nil and type(prefix) ~= "string" then prefix, fn = "", prefix end
  check_prefix(prefix, "use")
  check_handler(fn, "app:use()")
  return add(self, { kind = "use", prefix = prefix, call = fn })
end

-- Calls fn with an app of its own, all of whose routes lie under the prefix.
function methods:group(prefix, fn)
  check_self(self, "group")
  check_prefix(prefix, "group")
  check_handler(fn, "app:group()")
  local group = M.new()
  add(self, { kind = "mount", prefix = prefix, app = group })
  fn(group)
  return self
end

-- Serves all of another app under the prefix; also what it registers later on.
function methods:mount(prefix, app)
  check_self(self, "mount")
  check_prefix(prefix, "mount")
  if not M.is(app) then
    misuse.raise("app:mount(%q): what is mounted is an atoll.app(), not a %s", prefix,
      type(app))
  end
  return add(self, { kind = "mount", prefix = prefix, app = app })
end

-- Serves the files of a directory, which is relative to the app's own; the options are
-- those of atoll.files.
function methods:static(prefix, directory, options)
  check_self(self, "static")
  check_prefix(prefix, "static")
  misuse.expect("string", directory, "the directory of app:static()")
  options = require("atoll.files").check_options(options, "app:static()")
  return add(self, {
    kind = "static", prefix = prefix, directory = directory, options = options,
  })
end

-- A view of the app as a page: atoll.render.
function methods:render(...)
  check_self(self, "render")
  return require("atoll.response").render(...)
end

-- GET pattern is answered with server-sent events: fn(send, req), as in atoll.events.
function methods:events(path, fn, options)
  check_self(self, "events")
  check_handler(fn, "app:events()")
  return M.add_route(self, { "GET" }, path,
    require("atoll.events").handler(fn, options))
end

-- GET pattern becomes a WebSocket, with which fn(ws, req) is called; it is closed when
-- that returns. Options: protocols, origin, message_max, ping, compress.
function methods:websocket(path, fn, options)
  check_self(self, "websocket")
  check_handler(fn, "app:websocket()")
  local upgrade = require "atoll.upgrade"
  local handler, route = upgrade.handler(fn, options, "app:websocket()")
  return M.add_route(self, { "GET" }, path, handler, nil, route)
end

function methods:on(event, fn)
  check_self(self, "on")
  if events[event] == nil then
    misuse.raise("app:on(%s): the events are start, reload, stop, error and not_found",
      type(event) == "string" and ("%q"):format(event) or tostring(event))
  end
  check_handler(fn, ("app:on(%q)"):format(event))
  local list = self.hooks[event] or {}
  self.hooks[event] = list
  if list[1] and not events[event] then
    misuse.raise("app:on(%q) is there already, at %s", event, list[1].where)
  end
  list[#list + 1] = { call = fn, where = misuse.where() }
  return self
end

-- Calls fn every so many seconds while this code serves, in each isolate or, with
-- { once = "host" }, in one of them.
function methods:every(seconds, fn, options)
  check_self(self, "every")
  local once = require("atoll.timers").check("app:every()", seconds, fn, options)
  self.timers[#self.timers + 1] = { seconds = seconds, call = fn, once = once }
  return self
end

-- Answers a request that came from another isolate (or that this handler has been
-- given) with the routes of this app, in a fiber of its own. The first call fixes them.
-- They lie where those of the app lie that the host has given the request.
function methods:handle(req)
  check_self(self, "handle")
  local loan = require "atoll.core.loan"
  local place = loan.place(req) or misuse.raise("app:handle() answers a request, "
    .. "not %s", tostring(req))
  if not self.sites[place] then
    local compile = require("atoll.loader").compile
    self.sites[place] = loan.site(compile(self, misuse.where(), place))
  end
  loan.handle(req, self.sites[place])
end

return M
