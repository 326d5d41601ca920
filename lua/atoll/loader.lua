-- Loads an app directory: app.lua in its three forms, routes/ and public/. Whatever is
-- wrong raises "file:line: what"; the result is what the host serves from.
local app = require "atoll.app"
local compile = require "atoll.compile"
local files = require "atoll.files"
local host = require "atoll.core.host"
local misuse = require "atoll.misuse"
local routes = require "atoll.routes"
-- What they add to req and res is there also for an app that does not require "atoll".
require "atoll.request"
require "atoll.response"

local M = {}

local function sorted_keys(t)
  local keys = {}
  for key in pairs(t) do keys[#keys + 1] = key end
  table.sort(keys, function(a, b) return tostring(a) < tostring(b) end)
  return keys
end

local function place(fn, path)
  local info = type(fn) == "function" and debug.getinfo(fn, "S")
  if not info or info.source:sub(1, 1) ~= "@" then return path end
  return info.source:sub(2) .. ":" .. info.linedefined
end

local function add(to, path, methods, pattern, fn)
  app.add_route(to, methods, pattern, fn, place(fn, path))
end

-- { ["/"] = fn, ["GET /users"] = fn, ["/users/:id"] = { GET = fn, PUT = fn } }
local function from_table(value, path)
  local result = app.new()
  if next(value) == nil then
    error(path .. ": the table of routes is empty", 0)
  end
  for _, key in ipairs(sorted_keys(value)) do
    local handler = value[key]
    if type(key) ~= "string" then
      error(("%s: %s is no route: a key is \"/path\" or \"GET /path\""):format(path,
        tostring(key)), 0)
    end
    local method, pattern = key:match("^(%S+)%s+(/.*)$")
    if method then
      add(result, path, { method }, pattern, handler)
    elseif type(handler) == "table" then
      for _, name in ipairs(sorted_keys(handler)) do
        add(result, path, { name }, key, handler[name])
      end
    else
      add(result, path, { "*" }, key, handler)
    end
  end
  return result
end

-- Whatever app.lua returned, as an app.
local function as_app(value, path, prefix)
  if app.is(value) then return value end
  if type(value) == "function" then
    local result = app.new()
    add(result, path, { "*" }, "/*path", value)
    -- Joined to the prefix that has no slash behind it.
    if prefix ~= "" then add(result, path, { "*" }, "/", value) end
    return result
  end
  if type(value) == "table" then return from_table(value, path) end
  error(("%s: returned %s; it has to return an atoll.app(), a function(req) or a table "
    .. "of routes%s"):format(path, value == nil and "nothing" or "a " .. type(value),
    value == nil and " (is `return app` missing?)" or ""), 0)
end

-- The routes of an app in any of these forms, for one that is in no directory; prefix
-- is as of load.
function M.compile(value, where, prefix)
  prefix = prefix or ""
  local root = as_app(value, where, prefix)
  local compiled = compile.compile(root, {}, files, nil, prefix)
  for _, route in ipairs(compiled.routes) do route.source = route.where end
  return compiled
end

local function run(path)
  local chunk, message = loadfile(path, "t")
  if not chunk then error(message, 0) end
  misuse.loading = path
  local value = chunk()
  misuse.loading = nil
  return value
end

-- prefix: under which all of the app lies, as if another had mounted it there; or "".
function M.load(appdir, prefix)
  appdir, prefix = appdir:gsub("(.)/+$", "%1"), prefix or ""
  local main = appdir .. "/app.lua"
  local tree, public = appdir .. "/routes", appdir .. "/public"
  local has_main, has_tree = host.is_file(main), host.is_directory(tree)
  local has_public = host.is_directory(public)
  if not (has_main or has_tree or has_public) then
    error(("%s: no app.lua, no routes/ and no public/ there"):format(appdir), 0)
  end
  files.set_directory(appdir)
  local views = appdir .. "/views"
  if host.is_directory(views) then require("atoll.template").load(views) end
  local root = has_main and as_app(run(main), main, prefix) or app.new()
  local more = has_tree and routes.read(tree) or {}
  local serve = has_public and files.public("public", prefix) or nil
  local compiled = compile.compile(root, more, files, serve, prefix)
  for _, route in ipairs(compiled.routes) do
    local inside = route.where:sub(1, #appdir + 1) == appdir .. "/"
    route.source = (inside and route.where:sub(#appdir + 2) or route.where)
      .. (route.websocket and " (WebSocket)" or "")
  end
  if next(compiled.sockets) then
    require("atoll.upgrade").routes = compiled.sockets
  end
  compiled.name = appdir
  require("atoll.strict").seal()
  return compiled
end

return M
