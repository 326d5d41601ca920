-- An isolate to which requests are given away; others ask it by message.
local atoll = require "atoll"
local app = atoll.app()
local headers = { ["X-Host"] = ... }
for _, path in ipairs { "/moved/:n", "/second/moved/:n" } do
  app:get(path, function(req)
    return "moved " .. req.params.n .. "\n", nil, headers
  end)
end
for message, note in atoll.isolate.port:messages() do
  if type(message) == "string" then
    note:reply(message)
  else
    app:handle(message)
  end
end
