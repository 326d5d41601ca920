local atoll = require "atoll"
local app = atoll.app()

app:get("/", function() return "Hello, world\n" end)

app:get("/hello/:name", function(req) return "Hello, " .. req.params.name .. "\n" end)

app:post("/sum", function(req)
  local n = req:json()
  if type(n) ~= "table" or type(n.a) ~= "number" or type(n.b) ~= "number" then
    return 422, { error = "a and b have to be numbers" }
  end
  return { sum = n.a + n.b } -- a plain table is sent as JSON
end)

app:get("/missing", function() return 404, "nothing here\n" end)

app:get("/old", function() return atoll.redirect("/") end)

app:get("/ticks", function()
  return atoll.stream(function(write) -- chunked; write waits when the client is slow
    for i = 1, 5 do
      write(i .. "\n")
      atoll.sleep(0.2)
    end
  end)
end)

return app
