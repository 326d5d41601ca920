-- Turns what an app registered into the flat list of routes that the router takes.
-- Everything is settled here, once per load: prefixes are joined, middleware is put
-- around the handlers, and a handler without middleware is the very function that the
-- program registered.
local pattern = require "atoll.pattern"
local timers = require "atoll.timers"
local response = require "atoll.core.response"

local M = {}

local function fail(where, ...)
  error(where .. ": " .. string.format(...), 0)
end

local function takes(fn, count)
  local info = debug.getinfo(fn, "u")
  return info.isvararg or info.nparams >= count
end

-- The host makes `res` only for functions that take it, so it is passed on only where
-- somebody inside does.
local function around(fn, inner)
  if takes(fn, 3) or takes(inner, 2) then
    return function(req, res)
      return fn(req, function(other) return inner(other or req, res) end, res)
    end
  end
  return function(req)
    return fn(req, function(other) return inner(other or req) end)
  end
end

local function around_below(prefix, fn, inner)
  local under, wrapped = pattern.under(prefix), around(fn, inner)
  if takes(wrapped, 2) then
    return function(req, res)
      if under(req.path) then return wrapped(req, res) end
      return inner(req, res)
    end
  end
  return function(req)
    if under(req.path) then return wrapped(req) end
    return inner(req)
  end
end

-- The handler with the middleware of the list around it, its first outermost. relate
-- tells for a prefix whether the handler lies under it.
local function wrap(handler, list, relate)
  for i = #list, 1, -1 do
    local use = list[i]
    local relation = relate(use.prefix)
    if relation == "always" then
      handler = around(use.call, handler)
    elseif relation == "maybe" then
      handler = around_below(use.prefix, use.call, handler)
    end
  end
  return handler
end

-- The results of a hook, with its status where they name none. A bare status is
-- answered with the host's own text.
local function with_status(status, first, second, ...)
  if math.type(first) == "integer" then return first, second, ... end
  if first == nil then
    if second ~= nil then return first, second, ... end
    return status
  end
  if getmetatable(first) == response.metatable then
    first.status = first.status or status
    return first, second, ...
  end
  return second or status, first, ...
end

local function not_found_of(fn)
  if not fn then return function() return 404 end end
  return function(req)
    return with_status(404, fn(req))
  end
end

local function error_of(fn)
  return function(req, err, traceback)
    return with_status(500, fn(req, err, traceback))
  end
end

-- Adding routes -----------------------------------------------------------------------

local function add_route(out, route, error_hook)
  local why = pattern.problem(route.pattern)
  if why then fail(route.where, "route %q: %s", route.pattern, why) end
  local key = route.method .. " " .. pattern.shape(route.pattern)
  local twin = out.seen[key]
  if twin then
    fail(route.where, "route %q (%s) is there already, at %s", route.pattern,
      route.method == "*" and "any method" or route.method, twin.where)
  end
  out.seen[key] = route
  out.routes[#out.routes + 1] = route
  if route.websocket then out.sockets[route.pattern] = route.websocket end
  if error_hook then
    out.error_hooks[route.method .. " " .. route.pattern] = error_hook
  end
end

local function always_or(prefix_of_route)
  return function(prefix) return pattern.relation(prefix, prefix_of_route) end
end

local walk

local entry_kinds = {}

-- The "/" of an app that has a place of its own in the host is the bare prefix, and the
-- prefix with its slash: people type either.
function entry_kinds.route(out, scope, entry)
  local path = pattern.join(scope.prefix, entry.pattern)
  local function route(at)
    return {
      method = entry.method, pattern = at, where = entry.where,
      handler = wrap(entry.handler, scope.uses, always_or(at)),
      websocket = entry.websocket,
    }
  end
  add_route(out, route(path), scope.error_hook)
  if entry.pattern == "/" and out.place ~= "" and path == out.place then
    out.late[#out.late + 1] = {
      route = route(path .. "/"), error_hook = scope.error_hook,
    }
  end
end

function entry_kinds.use(_, scope, entry)
  local uses = table.move(scope.uses, 1, #scope.uses, 1, {})
  uses[#uses + 1] = {
    prefix = pattern.join(scope.prefix, entry.prefix), call = entry.call,
  }
  scope.uses, scope.has_uses = uses, true
end

function entry_kinds.mount(out, scope, entry)
  walk(out, scope, entry.app, pattern.join(scope.prefix, entry.prefix), entry.where)
end

-- A directory is a route for all below the prefix, and one for the bare prefix, which
-- leads to its slash unless the program has a route of its own there.
function entry_kinds.static(out, scope, entry)
  local prefix = pattern.join(scope.prefix, entry.prefix):gsub("/$", "")
  local serve, message = out.files.handler(entry.directory, prefix, function(req)
    return scope.not_found(req)
  end, entry.options)
  if not serve then fail(entry.where, "app:static(%q): %s", entry.prefix, message) end
  local function route(path)
    return {
      method = "GET", pattern = path, where = entry.where,
      handler = wrap(serve, scope.uses, always_or(path)),
    }
  end
  add_route(out, route(prefix .. "/*path"), scope.error_hook)
  if prefix ~= "" then
    out.late[#out.late + 1] = { route = route(prefix), error_hook = scope.error_hook }
  end
end

local function collect_hooks(out, app)
  for _, event in ipairs { "start", "stop" } do
    for _, hook in ipairs(app.hooks[event] or {}) do
      table.insert(out[event], hook.call)
    end
  end
  table.move(app.timers, 1, #app.timers, #out.timers + 1, out.timers)
  local reload = app.hooks.reload and app.hooks.reload[1]
  if reload and out.reload then
    fail(reload.where, "app:on(\"reload\") is there already, at %s", out.reload.where)
  end
  out.reload = reload or out.reload
end

local function own_hook(app, event)
  local list = app.hooks[event]
  return list and list[1].call
end

-- Adds all that app registered, below the prefix and inside what is around parent.
function walk(out, parent, app, prefix, where)
  if out.within[app] then fail(where, "the app is mounted inside itself") end
  out.within[app] = true
  local error_hook, not_found = own_hook(app, "error"), own_hook(app, "not_found")
  local scope = {
    prefix = prefix,
    uses = parent and parent.uses or {},
    error_hook = error_hook and error_of(error_hook) or parent and parent.error_hook,
    not_found = not_found and not_found_of(not_found) or parent and parent.not_found
      or not_found_of(nil),
    has_not_found = not_found ~= nil,
    has_uses = false, -- of its own
  }
  out.scopes[#out.scopes + 1] = scope
  collect_hooks(out, app)
  for _, entry in ipairs(app.entries) do entry_kinds[entry.kind](out, scope, entry) end
  out.within[app] = nil
  return scope
end

-- What no route answers ---------------------------------------------------------------

-- One handler for a scope, with its middleware around the file or the hook. nil when
-- the host's own answer does.
local function fallback(scope, public)
  local inner = scope.not_found
  if public then
    local hook = inner
    inner = function(req)
      local answer = public(req)
      if answer then return answer end
      return hook(req)
    end
  elseif #scope.uses == 0 and not scope.has_not_found then
    return nil
  end
  local root = scope.prefix == "" or scope.prefix == "/"
  return wrap(inner, scope.uses, function(prefix)
    if prefix == "" or prefix == "/" then return "always" end
    return not root and pattern.relation(prefix, scope.prefix) == "always" and "always"
      or "maybe"
  end)
end

-- The deepest scope that a path lies in answers, so longer prefixes go first.
local function not_found(scopes, public)
  local root = fallback(scopes[1], public)
  local deeper = {}
  for i = 2, #scopes do
    local scope = scopes[i]
    if scope.has_not_found or scope.has_uses then
      local _, depth = scope.prefix:gsub("/[^/]", "")
      deeper[#deeper + 1] = {
        under = pattern.under(scope.prefix), depth = depth, order = i,
        call = fallback(scope, public),
      }
    end
  end
  if #deeper == 0 then return root end
  table.sort(deeper, function(a, b)
    if a.depth ~= b.depth then return a.depth > b.depth end
    return a.order > b.order
  end)
  root = root or not_found_of(nil)
  return function(req, res)
    for _, scope in ipairs(deeper) do
      if scope.under(req.path) then return scope.call(req, res) end
    end
    return root(req, res)
  end
end

-- One function for the errors of all routes: that of the app that the route is from.
local function error_hook(out, root)
  if next(out.error_hooks) == nil then return root.error_hook end
  local hooks, default = out.error_hooks, root.error_hook
  local several = false
  for _, hook in pairs(hooks) do several = several or hook ~= default end
  if not several then return default end
  return function(req, err, traceback)
    local route, method = req.route or "", req.method
    local hook = hooks[method .. " " .. route]
      or method == "HEAD" and hooks["GET " .. route]
      or hooks["* " .. route] or default
    if hook then return hook(req, err, traceback) end
    return 500
  end
end

-- app and the list `more` of entries that come after its own; files makes handlers for
-- directories; public, if any, is what serves files where no route matches. All of it
-- lies under the prefix.
function M.compile(app, more, files, public, prefix)
  local out = {
    routes = {}, seen = {}, late = {}, scopes = {}, within = {}, error_hooks = {},
    sockets = {}, start = {}, stop = {}, reload = nil, files = files, timers = {},
    place = (prefix or ""):gsub("/$", ""),
  }
  local root = walk(out, nil, app, prefix or "")
  for _, entry in ipairs(more) do entry_kinds.route(out, root, entry) end
  for _, late in ipairs(out.late) do
    local route = late.route
    if not out.seen[route.method .. " " .. pattern.shape(route.pattern)] then
      add_route(out, late.route, late.error_hook)
    end
  end
  if #out.timers > 0 then table.insert(out.start, timers.starter(out.timers)) end
  return {
    routes = out.routes,
    sockets = out.sockets,
    not_found = not_found(out.scopes, public),
    error = error_hook(out, root),
    start = out.start,
    stop = out.stop,
    reload = out.reload and out.reload.call,
  }
end

return M
