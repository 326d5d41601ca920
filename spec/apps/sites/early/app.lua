-- An app that talks while it is loaded, when there is no loop and every wait blocks.
local atoll = require "atoll"
local net = atoll.net

local function got(value, message, code)
  if value ~= nil then return value end
  error(("failed: %s (%s)"):format(message or "the end", code or "EOF"), 2)
end

local l <close> = got(net.listen "127.0.0.1:0")
local c <close> = got(net.connect(got(l:name()), { timeout = 1 }))
local s <close> = got(l:accept(1))
got(c:write "hello\n")
got(c:flush())
assert(got(s:read("line", 1)) == "hello")
local line, _, code = s:read("line", 0.01)
assert(not line)
if code ~= "ETIMEDOUT" then got(nil, "not waited", code) end

return function() return "hello" end
