-- Every second the time, to all who are connected. Each has a fiber of its own, which
-- sleeps most of the time: who is slow holds up nobody else.
--
--   atoll run contrib/examples/push.lua [ADDRESS]
local atoll = require "atoll"

local listener = assert(atoll.net.listen(arg[1] or "127.0.0.1:7013"))
atoll.log.info("the time on %s", listener:name())

listener:serve(function(socket)
  repeat
    atoll.sleep(1 - atoll.now() % 1) -- to the next second, the same for everybody
  until not socket:write(os.date "%H:%M:%S\n")
end)
