-- A chat whose rooms reach everyone in every isolate: atoll serve apps/chat
local atoll = require "atoll"
local app = atoll.app()

local HISTORY, TEXT_MAX, NAME_MAX = 100, 2000, 24
local rooms = atoll.shared "chat rooms"   -- room -> what was said, the newest last
local people = atoll.shared "chat people" -- room/name -> the connection of who has it

-- The key of a name that nobody else has in this room. Who has lost his connection is
-- known by his id, and gets his name back even if the old one has not ended yet.
local function come_in(room, name, id, connection)
  if not utf8.len(name) then return nil end
  name = name:gsub("%c", ""):match("^%s*(.-)%s*$")
  name = name:sub(1, (utf8.offset(name, NAME_MAX + 1) or 0) - 1)
  if name == "" then return nil end
  local free, n = name, 1
  while true do
    local has = people:update(room .. "/" .. free, function(other)
      if other and (id == "" or other.id ~= id) then return other end
      return { id = id, connection = connection }
    end)
    if has.connection == connection then return free end
    n = n + 1
    free = ("%s (%d)"):format(name, n)
  end
end

-- True when he is not there by another connection.
local function go(room, name, connection)
  local key = room .. "/" .. name
  local has, version = people:get_versioned(key)
  return has and has.connection == connection and people:cas(key, version, nil)
end

local function names_in(room)
  local list = people:keys(room .. "/")
  for i, key in ipairs(list) do list[i] = key:sub(#room + 2) end
  return list
end

local function say(topic, room, name, text)
  local message = { type = "message", name = name, text = text, at = os.time() }
  rooms:update(room, function(list)
    list = list or {}
    message.id = #list > 0 and list[#list].id + 1 or 1
    list[#list + 1] = message
    if #list > HISTORY then table.remove(list, 1) end
    return list
  end)
  topic:publish(message)
end

-- Who has just connected, or nil when he cannot stay.
local function welcome(ws, req)
  local room = req.params.room
  if not room:find "^[a-z0-9_-]+$" or #room > NAME_MAX then
    return nil, ws:close(1008, "there is no such room")
  end
  local name = come_in(room, req.query.name or "", req.query.id or "", req.id)
  if not name then return nil, ws:close(1008, "please choose another name") end
  ws:subscribe("chat/" .. room)
  ws:send(atoll.json.encode {
    type = "welcome", name = name, people = atoll.json.array(names_in(room)),
    history = atoll.json.array(rooms:get(room) or {}),
  })
  return { room = room, name = name, connection = req.id }
end

app:websocket("/room/:room", function(ws, req)
  local me = ws.resumed and ws.state or welcome(ws, req)
  if not me then return end
  local topic, moved = atoll.topic("chat/" .. me.room), false
  ws:on("reload", function() -- the new code goes on with the same socket
    moved = true
    return me
  end)
  local _ <close> = setmetatable({}, { __close = function()
    if moved or not go(me.room, me.name, me.connection) then return end
    topic:publish { type = "leave", name = me.name }
  end })
  if not ws.resumed then topic:publish { type = "join", name = me.name } end
  for text in ws:messages() do
    local ok, message = pcall(atoll.json.decode, text)
    if not ok or type(message) ~= "table" then return ws:close(1008, "no JSON") end
    if message.typing then
      topic:publish { type = "typing", name = me.name }
    elseif type(message.say) == "string" and utf8.len(message.say) <= TEXT_MAX then
      say(topic, me.room, me.name, message.say)
    end
  end
end)

app:static("/", "public")

return app
