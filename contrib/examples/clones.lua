-- One address, eight isolates: bind, take a reference, and spawn seven isolates that
-- accept on clones of the socket. The kernel gives each connection to one of them.
--
--   atoll run contrib/examples/clones.lua [ADDRESS]
--   curl http://127.0.0.1:7080/
local atoll = require "atoll"
local http, net = atoll.http, atoll.net

local function serve(listener)
  local app = atoll.app()
  app:get("/", function() return "served by " .. atoll.isolate.name() .. "\n" end)
  http.serve(listener, app)
end

if atoll.isolate.port then -- one of the seven: its argument is the reference
  serve(assert(net.listener(...)))
else
  local listener = assert(net.listen(arg[1] or "127.0.0.1:7080"))
  local reference = assert(listener:reference())
  for i = 1, 7 do
    assert(atoll.isolate.spawn(arg[0], reference, { name = "clone " .. i }))
  end
  atoll.log.info("eight isolates on %s", listener:name())
  serve(listener)
end
