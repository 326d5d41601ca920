-- Answers with what it was sent, in capital letters, while it comes.
local atoll = require "atoll"
local servlet = atoll.app()

servlet:post("/", function(req)
  return atoll.stream(function(write)
    for piece in req:chunks() do write(piece:upper()) end
  end)
end)

return servlet
