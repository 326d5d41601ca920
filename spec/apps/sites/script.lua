-- What a script does beside what an app does, for spec/support/sweep/whole.lua: says
-- "done" at the end, or ends with an error.
local atoll = require "atoll"

local function got(value, message, code)
  if value ~= nil then return value end
  error(("failed: %s (%s)"):format(message or "the end", code or "EOF"), 2)
end

local signals = atoll.signals { "WINCH" } -- which may come when all is over
atoll.spawn(function() got(os.execute "kill -WINCH $PPID") end)
got(signals:wait(2))
signals:close()

got(atoll.stdout:write(got(atoll.stdin:read("line", 5)), "\n"))
got(atoll.stdout:flush(5))
local name = got(os.tmpname())
got(os.rename(name, name .. "x"))
local f = got(io.open(name .. "x", "w"))
got(f:write "text")
got(f:close())
for line in io.lines(name .. "x") do assert(line == "text") end
got(os.remove(name .. "x"))
local temporary = got(io.tmpfile())
got(temporary:write "text")
got(temporary:close())
got(atoll.fs.list ".")
for _, known in ipairs { "here.test", "there.test" } do -- in the system's hosts file
  got(atoll.net.resolve(known))
end
io.stdout:write "done\n"
