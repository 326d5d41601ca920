-- What contrib/scale asks for; answers to a path are of one length.
local atoll = require "atoll"

local app = atoll.app()
local shared = atoll.shared("scale")
local mine = tostring({})

app:get("/hello", function() return "Hello, world\n" end)
app:get("/same", function() return ("%09d\n"):format(shared:incr("k", 1, 0)) end)
app:get("/own", function() return ("%09d\n"):format(shared:incr(mine, 1, 0)) end)

return app
