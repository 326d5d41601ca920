-- A TCP echo server.
--
--   atoll run contrib/examples/echo.lua [ADDRESS]
local atoll = require "atoll"

local listener = assert(atoll.net.listen(arg[1] or "127.0.0.1:7007"))
atoll.log.info("echo on %s", listener:name())

listener:serve(function(socket)
  repeat -- what was sent is not kept while the next is awaited
    local data = socket:read "some"
  until not data or not socket:write(data)
end)
