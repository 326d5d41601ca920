-- The functions that Lua 5.1 had and 5.4 has not, for libraries that still call them:
-- the setting compat = "5.1" puts them where they were. What 5.4 has is left alone.
--
-- An environment is the upvalue _ENV here. So setfenv gives one function an _ENV of its
-- own, which the functions made inside of it from then on share: what 5.1 did, too. A
-- function that uses no global has no such upvalue, and its environment is only noted.
local M = {}

local getinfo = debug.getinfo
local noted = setmetatable({}, { __mode = "k" }) -- function -> environment

local function upvalue_of(fn)
  for i = 1, 255 do
    local name, value = debug.getupvalue(fn, i)
    if name == "_ENV" then return i, value end
    if not name then return nil end
  end
end

-- The function that `what` stands for in setfenv(what): itself, or a level of the
-- stack, where 1 is the caller of that function. nil for level 0, the thread.
local function resolve(what, name)
  if type(what) == "function" then return what end
  local level = math.tointeger(what == nil and 1 or what)
  if not level or level < 0 then
    error(("bad argument #1 to '%s' (%s)"):format(name, level and
      "level must be non-negative" or "number expected, got " .. type(what)), 3)
  end
  if level == 0 then return nil end
  local info = getinfo(level + 2, "f")
  if not info then
    error(("bad argument #1 to '%s' (invalid level)"):format(name), 3)
  end
  return info.func
end

local function is_c(fn)
  return getinfo(fn, "S").what == "C"
end

local function set(fn, env)
  local index = upvalue_of(fn)
  if index then
    debug.upvaluejoin(fn, index, function() return env end, 1)
  else
    noted[fn] = env
  end
end

function M.getfenv(what)
  local fn = resolve(what, "getfenv")
  if not fn or is_c(fn) then return _G end
  local index, env = upvalue_of(fn)
  if index then return env end
  return noted[fn] or _G
end

function M.setfenv(what, env)
  if type(env) ~= "table" then
    error("bad argument #2 to 'setfenv' (table expected, got " .. type(env) .. ")", 2)
  end
  local fn = resolve(what, "setfenv")
  if not fn or is_c(fn) then
    error("'setfenv' cannot change environment of given object", 2)
  end
  set(fn, env)
  return fn
end

-- The table at a path such as "a.b.c" below the globals, made where it is missing; nil
-- when something else stands there.
local function global_table(path)
  local at = _G
  for name in path:gmatch("[^.]+") do
    local below = rawget(at, name)
    if below == nil then
      below = {}
      rawset(at, name, below)
    end
    if type(below) ~= "table" then return nil end
    at = below
  end
  return at
end

-- Declares the calling chunk to be a module: its globals are the module's fields, and
-- the module is a global itself, whatever the setting strict says.
function M.module(name, ...)
  if type(name) ~= "string" then
    error("bad argument #1 to 'module' (string expected, got " .. type(name) .. ")", 2)
  end
  local t = package.loaded[name]
  if type(t) ~= "table" then
    t = global_table(name)
    if not t then error(("name conflict for module '%s'"):format(name), 2) end
    package.loaded[name] = t
  end
  if t._NAME == nil then
    t._M, t._NAME, t._PACKAGE = t, name, name:match("^(.*%.)") or ""
  end
  local caller = getinfo(2, "f")
  if not caller or is_c(caller.func) then
    error("'module' not called from a Lua function", 2)
  end
  set(caller.func, t)
  for _, option in ipairs { ... } do option(t) end
end

function M.seeall(t)
  local meta = getmetatable(t)
  if not meta then
    meta = {}
    setmetatable(t, meta)
  end
  meta.__index = _G
end

function M.loadstring(text, name)
  if type(text) ~= "string" then
    error(("bad argument #1 to 'loadstring' (string expected, got %s)"):format(
      type(text)), 2)
  end
  return load(text, name)
end

local function getn(t)
  return rawlen(t)
end

local function maxn(t)
  local most = 0
  for key in next, t do
    if type(key) == "number" and key > most then most = key end
  end
  return most
end

local function foreach(t, fn)
  for key, value in next, t do
    local result = fn(key, value)
    if result ~= nil then return result end
  end
end

local function foreachi(t, fn)
  for i = 1, rawlen(t) do
    local result = fn(i, rawget(t, i))
    if result ~= nil then return result end
  end
end

local function fill(t, functions)
  for name, value in pairs(functions) do
    if rawget(t, name) == nil then rawset(t, name, value) end
  end
end

function M.install()
  fill(_G, { unpack = table.unpack, loadstring = M.loadstring, module = M.module,
    getfenv = M.getfenv, setfenv = M.setfenv })
  fill(package, { seeall = M.seeall, loaders = package.searchers })
  fill(table, { getn = getn, maxn = maxn, foreach = foreach, foreachi = foreachi })
  fill(string, { gfind = string.gmatch })
  fill(math, {
    mod = math.fmod,
    pow = function(x, y) return x ^ y end,
    log10 = function(x) return math.log(x, 10) end,
    ldexp = function(m, e) return m * 2.0 ^ e end,
  })
end

return M
