-- Takes what the app gives away, and answers what it asks.
local atoll = require "atoll"
local app = atoll.app()
app:get("/move", function() return "moved" end)
app:post("/moved", function(req) return req:text() end)

local function talk(given)
  local ws <close> = given -- also when it fails: nobody else would end it soon
  for message, kind in ws:messages() do assert(ws:send(message, kind)) end
  if ws.code == 1011 then error(ws.reason) end
end

local function echo(socket)
  local line = socket:read("line", 1)
  if line then socket:write(line, "\n") end
  socket:close()
end

-- What one of them fails with is no reason to end.
local function take(value, note)
  if type(value) == "table" then
    note:reply "answer"
  elseif tostring(value):find "^websocket" then
    atoll.spawn(talk, value)
  elseif tostring(value):find "^socket" then
    atoll.spawn(echo, value)
  else
    app:handle(value)
  end
end

while true do
  local ok, value, note = pcall(atoll.isolate.port.receive, atoll.isolate.port)
  if ok and value == nil then break end
  if ok then ok, value = pcall(take, value, note) end
  if not ok then atoll.log.error("hands: %s", value) end
end
