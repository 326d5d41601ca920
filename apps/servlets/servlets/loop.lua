-- Never comes back from /loop/forever.
local atoll = require "atoll"
local servlet = atoll.app()

servlet:get("/", function() return "still here\n" end)
servlet:get("/forever", function() while true do end end)

return servlet
