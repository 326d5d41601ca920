-- A TCP proxy: who connects to LISTEN talks with TARGET. When one side has said all,
-- the other is told so and may still answer; when one side breaks, both do.
--
--   atoll run contrib/examples/proxy.lua LISTEN TARGET
local atoll = require "atoll"

local listen, target = arg[1], arg[2]
if not target then
  io.stderr:write "usage: atoll run proxy.lua LISTEN TARGET\n"
  os.exit(64)
end

local function pump(from, to)
  local data, problem = from:read "some"
  while data and to:write(data) do data, problem = from:read "some" end
  if problem then return nil, problem end
  return to:shutdown "write"
end

local listener = assert(atoll.net.listen(listen))
atoll.log.info("%s leads to %s", listener:name(), target)

listener:serve(function(client)
  local server <close>, problem = atoll.net.connect(target, { timeout = 10 })
  if not server then
    atoll.log.warn("%s: %s", target, problem)
    return
  end
  atoll.all {
    function() return pump(client, server) end,
    function() return pump(server, client) end,
  }
end)
