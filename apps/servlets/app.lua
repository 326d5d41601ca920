-- A dispatcher: /NAME/... is answered by the servlet of that name, servlets/NAME.lua,
-- in an isolate of its own, which is spawned when it is first asked for. One that fails
-- or never returns is the trouble of its own clients only: atoll serve apps/servlets
local atoll = require "atoll"
local app = atoll.app()

local isolates = {} -- name -> handle

local function servlet(name)
  local known = isolates[name]
  if known and known:status() == "running" then return known end
  local path = package.path
  if not name:find "^%w+$" or not package.searchpath("servlets." .. name, path) then
    atoll.halt(404)
  end
  local handle, message = atoll.isolate.spawn("servlet", name, { name = name })
  if not handle then atoll.halt(503, message) end
  isolates[name] = handle
  return handle
end

local function dispatch(req)
  local name = req.params.servlet
  local ok, message = req:transfer(servlet(name), 5)
  if not ok then return 503, name .. ": " .. message .. "\n" end
end

app:any("/:servlet", dispatch)
app:any("/:servlet/*", dispatch)

app:get("/", function()
  local list = {}
  for name, handle in pairs(isolates) do list[name] = handle:status() end
  return list
end)

return app
