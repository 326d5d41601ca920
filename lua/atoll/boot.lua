-- The first chunk of every Lua state: where modules are found, what `require` is, and
-- the guard on globals. The host calls it with
--
--   appdir       the app's directory, or nil for a script
--   script       the script's path, or nil
--   strict       whether assigning a global is an error in the app
--   bare         whether no app is going to be loaded
--   compat_path  whether modules of older Luas are looked for too
--   compat_lua51, compat_ngx  whether Lua 5.1's functions, and ngx, are there
--   embedded     function(name) -> chunk, path of a module inside the program, or nil
local M = {}

-- Of the program's own modules; "atoll" must win over an app's settings file atoll.lua.
local function embedded_searcher(embedded)
  return function(name)
    if name ~= "atoll" and name:sub(1, 6) ~= "atoll." then return nil end
    if name == "atoll.init" then return function() return require "atoll" end, name end
    local chunk, path = embedded(name)
    if not chunk then return ("no module '%s' in the program"):format(name) end
    return chunk, path
  end
end

local function set_path(directory, compat)
  if directory:find("[;?]") then
    error(directory .. ": a path with ; or ? cannot be searched for modules", 0)
  end
  local path = {
    directory .. "/?.lua", directory .. "/?/init.lua",
    directory .. "/lib/?.lua", directory .. "/lib/?/init.lua",
    package.path,
  }
  if compat then
    for _, version in ipairs { "5.3", "5.2", "5.1" } do
      for _, share in ipairs { "/usr/local/share/lua/", "/usr/share/lua/" } do
        path[#path + 1] = share .. version .. "/?.lua"
        path[#path + 1] = share .. version .. "/?/init.lua"
      end
    end
  end
  package.path = table.concat(path, ";")
  package.cpath = directory .. "/?.so;" .. directory .. "/lib/?.so;" .. package.cpath
end

function M.boot(options)
  table.insert(package.searchers, 1, embedded_searcher(options.embedded))
  local directory = options.appdir
  if not directory and options.script then
    directory = options.script:match("^(.*)/[^/]*$") or "."
  end
  directory = directory and directory:gsub("(.)/+$", "%1")
  if directory then set_path(directory, options.compat_path) end
  local loading = require "atoll.loading"
  loading.directory = directory or "."
  rawset(_G, "require", loading.require)
  if options.compat_lua51 then require("atoll.compat.lua51").install() end
  if options.compat_ngx then require("atoll.compat.ngx").install() end
  if options.strict and options.appdir then
    require("atoll.strict").install(directory)
    if options.bare then require("atoll.strict").seal() end
  end
end

return M.boot
