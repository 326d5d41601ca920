-- What the specs of the wire ask for. Served by one isolate, so that handlers can wait
-- for one another.
local atoll = require "atoll"

local app = atoll.app()
local state = { open = {}, seen = {} }

app:get("/probe", function() return "probe" end)
app:get("/", function() return "root" end)
app:post("/echo", function(req) return req:text() end)
app:post("/ignore", function() return "ignored" end)
app:any("/any", function(req) return req.method end)
app:get("/nothing", function() end)
app:get("/unchanged", function() return 304, nil, { ETag = '"1"' } end)
app:get("/reset", function() return 205 end)
app:get("/where", function(req)
  return { path = req.path, target = req.target, host = req.host, query = req.query.q }
end)
app:get("/pieces", function()
  return atoll.stream(function(write)
    write "one"
    write ""
    write "three"
  end)
end)
app:get("/sized", function()
  return atoll.stream(function(write) write "12345" end, 200,
    { ["Content-Length"] = 5 })
end)
app:post("/chunks", function(req)
  local n = 0
  for chunk in req:chunks() do n = n + #chunk end
  return tostring(n)
end)

-- Answered when /open/KEY is asked for; /waiting/KEY tells whether one waits.
app:any("/hold/:key", function(req)
  local key = req.params.key
  state.seen[key] = (state.seen[key] or 0) + 1
  while not state.open[key] do atoll.sleep(0.001) end
  return "held " .. key
end)
app:get("/seen/:key", function(req)
  return tostring(state.seen[req.params.key] or 0)
end)
app:get("/open/:key", function(req)
  state.open[req.params.key] = true
  return "open"
end)

-- Reads its body only once it is opened.
app:post("/late/:key", function(req)
  local key = req.params.key
  while not state.open[key] do atoll.sleep(0.001) end
  local text, message, code = req:text()
  if not text then
    state.seen[key] = code
    return 400, message
  end
  return tostring(#text)
end)

local page = ("0123456789abcdef"):rep(64 * 1024) -- 1 MiB
app:get("/large", function() return page:rep(20) end)
app:get("/endless", function()
  return atoll.stream(function(write)
    repeat local ok = write(page) until not ok
    state.seen.endless = 1
  end)
end)

return app
