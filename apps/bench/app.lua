-- What contrib/bench asks for: one route for each thing that is measured.
local atoll = require "atoll"

local app = atoll.app()
local page = ("0123456789abcde\n"):rep(4096) -- 64 KiB
local born = string.format("%.9f\n", atoll.now())

app:get("/hello", function() return "Hello, world\n" end)

app:get("/json", function()
  return { id = 42, name = "Ann Example", admin = false, score = 17.25, team = "red" }
end)

app:get("/users/:id", function(req)
  return req.params.id .. " " .. (req.headers["accept-language"] or "-") .. "\n"
end)

app:get("/page", function() return page end)

app:post("/post", function(req) return req:text() end)

-- 64k.bin and 1m.bin
local files = os.getenv "FILES"
if files then app:static("/files", files) end

app:websocket("/echo", function(ws)
  for message, kind in ws:messages() do ws:send(message, kind) end
end)

-- Another text after each reload.
app:get("/born", function() return born end)

-- All who are here get 1 KB when one of them says so.
local kilobyte = ("x"):rep(1024)
app:websocket("/news", function(ws)
  ws:subscribe "bench news"
  ws:send "subscribed"
  for _ in ws:messages() do atoll.topic("bench news"):publish(kilobyte) end
end)

-- What a call of another server costs; without UPSTREAM that is this one.
local upstream = "http://"
  .. (os.getenv "UPSTREAM" or "127.0.0.1:" .. (os.getenv "PORT" or "8080")) .. "/hello"
app:get("/upstream", function() return assert(atoll.http.get(upstream)).body end)

-- About 20 ms of work in Lua; ?n= sets how many rounds.
app:get("/burn", function(req)
  local x = 1
  for _ = 1, tonumber(req.query.n) or 2000000 do x = (x * 421 + 1663) % 7875 end
  return x .. "\n"
end)

return app
