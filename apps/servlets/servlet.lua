-- The isolate of one servlet: it answers what the dispatcher hands over.
local atoll = require "atoll"

local name = ...
local app = atoll.app()
app:mount("/" .. name, require("servlets." .. name))

for req in atoll.isolate.port:messages() do app:handle(req) end
