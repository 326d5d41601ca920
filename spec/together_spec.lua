-- Dictionaries, topics, ports, spawned isolates and blocking threads, all at once under
-- load and reload: for the sanitizers, and for what is left over at the end.
local host = require "support.host"
local load = require "support.load"
local wire = require "support.wire"

local APP = [[
  local atoll = require "atoll"
  local app = atoll.app()
  local d = atoll.shared("all", { capacity = "256K" })
  local topic = atoll.topic "all"

  local heard
  app:on("start", function()
    heard = topic:subscribe(20)
    atoll.spawn(function()
      for _, missed in heard:messages() do d:incr("missed", missed, 0) end
    end)
  end)
  app:on("reload", function() heard:close() end) -- or the old code would go on

  local function ask(n)
    local port = atoll.port()
    local room = atoll.topic("room" .. n % 3)
    local s <close> = room:subscribe(5)
    room:publish { to = port:sender(), n = n }
    local question = s:receive(1)
    if question then question.to:send(n, 0.1) end
    port:receive(0.1)
    port:close()
  end

  app:get("/", function()
    local n = d:incr("n", 1, 0) or 0
    d:set("k" .. n % 500, { n, ("x"):rep(n % 3000) }, n % 7 == 0 and 0.01 or nil)
    d:get("k" .. n * 7 % 500)
    d:rpush("list", n)
    if n % 2 == 0 then d:lpop "list" end
    if n % 5 == 0 then
      d:update("u", function(t) return { (t and t[1] or 0) + 1 } end)
    end
    if n % 50 == 0 then d:keys("k", 100) end
    if n % 97 == 0 then d:capacity(n % 2 == 0 and "128K" or "256K") end
    if n % 131 == 0 then d:flush() end
    topic:publish { n = n, text = ("y"):rep(n % 2000) }
    if n % 10 == 0 then ask(n) end
    if n % 40 == 0 then
      local h = atoll.isolate.spawn("child.lua", n, { detached = n % 80 == 0 })
      if h and n % 120 == 0 then h:kill() end
    end
    if n % 30 == 0 then
      atoll.blocking(function() require("atoll").topic("all"):publish "thread" end)
    end
    return "ok"
  end)
  return app]]

local CHILD = [[
  local atoll = require "atoll"
  local s = atoll.topic("all"):subscribe(3)
  for i = 1, 20 do
    atoll.topic("all"):publish { i }
    atoll.shared("all"):incr("child", 1, 0)
    s:receive(0.01)
  end]]

describe("isolates together", function()
  after_each(function()
    wire.finish()
    host.finish()
  end)

  it("leave nothing behind under load and reload", function()
    local h = host.start { files = { ["app.lua"] = APP, ["child.lua"] = CHILD },
      isolates = 3, set = { drain_timeout = 60 } }
    local run = load.start(h, { connections = 6, check = function(response)
      if response.body ~= "ok" then return response.body end
    end })
    local reloads = host.SLOW and 3 or 8
    for n = 2, reloads do
      h:hup()
      h:log_wait("reload: generation " .. n .. " serves after")
      run:run(host.SLOW and 500 or 2000)
    end
    run:stop()
    assert.equal(0, h:count " error ")
  end)
end)
