-- Usage: atoll run client.lua cases URL | echo URL
--
-- cases: a client for Autobahn's fuzzing server, which sends back what comes in each of
-- its cases. echo: sends all sorts of messages to a server that sends them back, and
-- fails when something else comes.
local atoll = require "atoll"

local mode, url = arg[1], arg[2]
local options = { message_max = 64 * 1024 * 1024, timeout = 60 }

local function together(count, width, fn)
  local next_one, tasks = 1, {}
  for i = 1, math.min(width, count) do
    tasks[i] = atoll.spawn(function()
      while next_one <= count do
        local n = next_one
        next_one = n + 1
        fn(n)
      end
    end)
  end
  for _, task in ipairs(tasks) do task:join() end
end

local function cases()
  local ws <close> = assert(atoll.websocket.connect(url .. "/getCaseCount", options))
  together(tonumber((ws:receive())), 30, function(n)
    local case <close> = assert(atoll.websocket.connect(url .. "/runCase?case=" .. n,
      options))
    for message, kind in case:messages() do case:send(message, kind) end
  end)
  local last <close> = assert(atoll.websocket.connect(url .. "/finish", options))
  last:receive()
end

local function echo()
  for _, how in ipairs { false, true, "takeover" } do
    local ws <close> = assert(atoll.websocket.connect(url, {
      message_max = options.message_max, protocols = { "echo" },
      compress = how == "takeover" and { takeover = true } or how,
    }))
    assert(ws.protocol == nil or ws.protocol == "echo")
    local text = {}
    for i = 1, 20000 do text[i] = ("%d \u{20ac};"):format(i * i % 4001) end
    text = table.concat(text)
    local messages = {
      "", "a", ("b"):rep(125), ("c"):rep(126), ("d"):rep(65535), ("e"):rep(65536), text,
      text, ("f"):rep(5000000),
    }
    for _, message in ipairs(messages) do
      for _, kind in ipairs { "text", "binary" } do
        assert(ws:send(message, kind))
        local back, same = ws:receive(60)
        assert(back == message and same == kind, back and "something else came")
      end
    end
    assert(ws:ping "x")
    for i = 1, 200 do assert(ws:send("number " .. i)) end
    for i = 1, 200 do assert(ws:receive(60) == "number " .. i) end
    ws:close(1000, "that is all")
    while ws:receive() do end
    assert(ws.code == 1000, ws.code)
  end
end

({ cases = cases, echo = echo })[mode]()
