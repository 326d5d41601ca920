-- A TCP echo server.
--
--   atoll run contrib/examples/echo.lua [ADDRESS]
local atoll = require "atoll"

local listener = assert(atoll.net.listen(arg[1] or "127.0.0.1:7007"))
atoll.log.info("echo on %s", listener:name())

listener:serve(function(socket)
  local data = socket:read "some"
  while data and socket:write(data) do data = socket:read "some" end
end)
