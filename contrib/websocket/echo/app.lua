-- Sends back what comes: what test suites want to talk to.
local atoll = require "atoll"
local app = atoll.app()

app:websocket("/", function(ws)
  for message, kind in ws:messages() do ws:send(message, kind) end
end, { message_max = 64 * 1024 * 1024, protocols = { "echo" } })

return app
