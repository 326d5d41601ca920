-- A room to talk in, line by line: telnet 127.0.0.1 7023
--
-- What is said goes into everybody's channel, from which a fiber of each writes it out.
-- Whose channel is full does not listen, and misses it.
--
--   atoll run contrib/examples/chat.lua [ADDRESS]
local atoll = require "atoll"

local channels = {} -- name -> channel

local function say(...)
  local line = table.concat { ... }
  for _, channel in pairs(channels) do channel:try_send(line) end
end

local function talk(socket, name)
  for line in socket:lines() do say("<", name, "> ", line, "\n") end
end

local listener = assert(atoll.net.listen(arg[1] or "127.0.0.1:7023"))
atoll.log.info("chat on %s", listener:name())

listener:serve(function(socket)
  socket:write "Your name? "
  local name = socket:read("line", 60)
  if not name or name == "" then return end
  if channels[name] then
    socket:write(name, " is here already.\n")
    return
  end
  local channel = atoll.channel(100)
  channels[name] = channel
  say(name, " has come\n")
  atoll.any {
    function() talk(socket, name) return "left" end,
    function()
      for line in channel:values() do socket:write(line) end
    end,
  }
  channels[name] = nil
  say(name, " has gone\n")
end)
