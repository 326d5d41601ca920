-- A handler that computes for a second, on as many isolates as there are CPUs: whoever
-- comes meanwhile is answered by another one: atoll serve -n 4 apps/busy
local atoll = require "atoll"
local host = require "atoll.core.host"
local app = atoll.app()

app:get("/", function(req)
  local seconds = tonumber(req.query.seconds) or 1
  local till, sum = os.clock() + seconds, 0
  while os.clock() < till do sum = sum + 1 end
  return ("isolate %d has counted to %d\n"):format(host.isolate(), sum)
end)

app:get("/quick", function() return ("isolate %d\n"):format(host.isolate()) end)

return app
