-- What the specs of an app do, for spec/support/sweep/whole.lua.
local testing = require "atoll.testing"

local app = assert(testing.load "tiny")
assert(app:request("GET", "/").body == "hello")
app:close()
local h = assert(testing.start("tiny", { isolates = 1 }))
h:stop()
io.stdout:write "done\n"
