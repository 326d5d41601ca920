-- Clients that vanish without a word: what they would send and what is sent to them is
-- dropped. For half_open_spec, which runs this where there is no network but its own.
local events = require "support.events"
local frames = require "support.frames"
local host = require "support.host"
local wire = require "support.wire"

local APP = [[
local state = { over = 0 }
app:get("/probe", function() return tostring(state.over) end)
app:post("/text", function(req) return req:text() or 400 end)
app:get("/waits", function(req)
  req:on_abort(function() state.over = state.over + 1 end)
  atoll.sleep(60)
end)
app:get("/endless", function()
  return atoll.stream(function(write)
    while write(("x"):rep(10000)) do end
    state.over = state.over + 1
  end)
end)
app:events("/events", function(send, req)
  req:on_abort(function() state.over = state.over + 1 end)
  while true do
    send(("e"):rep(100000))
    atoll.sleep(0)
  end
end)
app:websocket("/socket", function(ws)
  for message in ws:messages() do ws:send(message) end
  state.over = state.over + 1
  atoll.log.info("websocket over %d", ws.code)
end)
app:static("/files", "files")
]]

local function iptables(...)
  local command = "iptables " .. (...):format(select(2, ...)) .. " 2>&1"
  local pipe = io.popen(command)
  local text = pipe:read "a"
  assert(pipe:close(), command .. ": " .. text)
end

-- From now on nothing of it arrives, in neither direction.
local function vanish(c)
  local port = c.stream:getsockname().port
  iptables("-A INPUT -p tcp --sport %d -j DROP", port)
  iptables("-A INPUT -p tcp --dport %d -j DROP", port)
end

local function get(path) return "GET " .. path .. " HTTP/1.1\r\nHost: a\r\n\r\n" end

describe("a client that vanishes", function()
  local h

  setup(function()
    h = host.start { set = { head_timeout = 0.5, body_timeout = 0.5, idle_timeout = 0.5,
      write_timeout = 0.5, websocket_ping = 0.3, websocket_timeout = 0.3,
      drain_timeout = 0.5 },
      files = { ["app.lua"] = host.app(APP), ["files/f"] = ("f"):rep(8000000) } }
  end)
  teardown(host.finish)
  after_each(function()
    -- First, or the host would never hear of the end of those that are closed now.
    iptables "-F INPUT"
    wire.finish()
  end)

  -- Again where this process was late with its head.
  local function over()
    return events.retry("an answer in time", function()
      local ok, answer = pcall(wire.ask, h, "/probe")
      return ok and tonumber(answer.body)
    end)
  end

  local cases = {
    -- All of these are answered, and lingered for, at the same time.
    { "in a head, in a body and in chunks", "GET / HTTP/1.1\r\nHo",
      "POST /text HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nab",
      "POST /text HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5" },
    { "between requests", get "/probe" },
    { "before it has said anything", "" },
    { "while an answer is sent", get "/endless", told = true },
    { "while a file is sent", get "/files/f" },
    { "while it gets events", get "/events", told = true },
    { "as a WebSocket", frames.request "/socket" .. frames.text "hello", told = true },
  }

  for _, case in ipairs(cases) do
    it("is noticed " .. case[1], function()
      local told = over()
      wire.ask(h, "/files/f") -- which is kept open for a while
      local before = h:held()
      local list = {}
      for i = 2, #case do
        local c = wire.connect_deaf(h)
        list[#list + 1] = c
        if not case[1]:find "sent$" then c:resume() end
        c:send(case[i])
      end
      over() -- so that all has been read
      if case[1]:find "requests" then list[1]:receive() end
      for _, c in ipairs(list) do vanish(c) end
      events.retry("its end", function()
        return h:descriptors() <= before and (not case.told or over() == told + 1)
      end, 20)
    end)
  end

  -- Nothing is sent by either side: it is the kernel that has to ask, in a minute.
  it("is asked after while its handler waits", function()
    local c = wire.connect(h):send(get "/waits")
    over()
    local found
    for line in io.lines "/proc/net/tcp" do
      local peer, timer = line:match(("^%%s*%%d+: %%x+:%04X %%x+:(%%x+) 01 "
        .. "%%x+:%%x+ (%%d+):"):format(h.port))
      if peer and tonumber(peer, 16) == c.stream:getsockname().port then
        found = timer
      end
    end
    assert.equal("02", found)
    c:abort()
    events.retry("the handler to be told", function() return over() > 0 end)
  end)
end)
