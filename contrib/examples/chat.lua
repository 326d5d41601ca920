-- A room to talk in, line by line: telnet 127.0.0.1 7023
--
-- Every isolate accepts at the same address. What is said is published to the room, and
-- a fiber of each guest writes it out, in whatever isolate he is. Who does not keep up
-- is told how much he has missed; nobody waits for him.
--
--   atoll run -n 2 contrib/examples/chat.lua [ADDRESS]
local atoll = require "atoll"

local room = atoll.topic "chat"
local guests = atoll.shared "chat"

local function say(...) room:publish(table.concat { ... }) end

local function talk(socket, name)
  for line in socket:lines() do say("<", name, "> ", line, "\n") end
end

local function listen(socket, subscription)
  for line, missed in subscription:messages() do
    if missed > 0 then socket:write("(", missed, " lines are missing here)\n") end
    socket:write(line)
  end
end

local listener = assert(atoll.net.listen(arg[1] or "127.0.0.1:7023"))
atoll.log.info("chat on %s", listener:name())

listener:serve(function(socket)
  socket:write "Your name? "
  local name = socket:read("line", 60)
  if not name or name == "" then return end
  if not guests:add(name, true) then
    socket:write(name, " is here already.\n")
    return
  end
  local _ <close> = setmetatable({}, { __close = function()
    guests:delete(name)
    say(name, " has gone\n")
  end })
  local subscription <close> = room:subscribe(100)
  say(name, " has come\n")
  atoll.any {
    function() talk(socket, name) return "left" end,
    function() listen(socket, subscription) end,
  }
end)
