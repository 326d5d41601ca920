-- A global that a handler sets is shared with every other request, which is nearly
-- always a `local` forgotten; so it is an error that names the line. While modules
-- load, code from outside of the app directory may set globals, as old libraries do.
-- rawset(_G, name, value) always works. Reading an unknown global gives nil.
local loading = require "atoll.loading"

local M = {}

local serving = false

function M.install(appdir)
  local own = "@" .. appdir .. "/"
  setmetatable(_G, {
    __newindex = function(globals, name, value)
      if value == nil then return end
      local source = debug.getinfo(2, "S").source
      local free = not serving or loading.count() > 0
      if free and source:sub(1, #own) ~= own then
        rawset(globals, name, value)
        return
      end
      error(("the global '%s' is assigned: make it local (the setting strict = false "
        .. "allows globals)"):format(tostring(name)), 2)
    end,
  })
end

-- The app is loaded: from now on only modules that load later may set globals.
function M.seal()
  serving = true
end

return M
