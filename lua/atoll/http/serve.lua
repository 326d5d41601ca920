-- atoll.http.serve: an app on a listener, with the server that serves app directories.
local loader = require "atoll.loader"
local misuse = require "atoll.misuse"
local serve = require "atoll.core.serve"

local known = { proxy = true, trusted_proxies = true, forwarded = true }
local forms = { ["function"] = true, table = true }

-- Serves the app (an atoll.app(), a function(req) or a table of routes) until the
-- listener is closed and what was in flight is answered.
return function(listener, app, options)
  if not forms[type(app)] then
    misuse.raise("http.serve() serves an atoll.app(), a function(req) or a table of "
      .. "routes, not a %s", type(app))
  end
  for name in pairs(options or {}) do
    if not known[name] then
      misuse.raise("http.serve() has no option '%s'", tostring(name))
    end
  end
  local compiled = loader.compile(app, misuse.where())
  for _, fn in ipairs(compiled.start) do fn() end
  local ok, message, code = serve(listener, compiled, options)
  for _, fn in ipairs(compiled.stop) do fn() end
  return ok, message, code
end
