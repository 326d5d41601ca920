-- Answers that end in unusual ways: after very many pieces, from inside their own body,
-- and while a task still waits for the client.
local host = require "support.host"
local wire = require "support.wire"

describe("an answer", function()
  local h

  setup(function()
    h = host.start { files = {
      ["app.lua"] = [[
local atoll = require "atoll"
local app, task = atoll.app()
app:get("/pieces", function()
  local n = 0
  return function()
    n = n + 1
    return n <= 300000 and "x" or nil
  end
end)
app:get("/finish", function(_, res)
  local n = 0
  return function()
    n = n + 1
    if n == 2 then res:finish() end
    return "x"
  end
end)
app:post("/read", function(req)
  task = atoll.spawn(function() return req:text() end):quiet()
  atoll.sleep(0)
  return "over"
end)
app:get("/write", function(_, res)
  local text = ("x"):rep(65536)
  task = atoll.spawn(function()
    for _ = 1, 1000 do res:write(text) end
  end):quiet()
  local one = task
  repeat atoll.sleep(0.001) until one:status() == "waiting"
  res:finish()
end)
app:get("/task", function()
  while not task do atoll.sleep(0.001) end -- its request may come after this one
  local one = task
  task = nil
  local _, message = one:join(10)
  return tostring(message)
end)
local seen, go_on
app:get("/look", function(req, res)
  res:write("x")
  res:finish()
  while not go_on do atoll.sleep(0.001) end
  seen = req.target .. " " .. tostring(req.headers["x-name"])
end)
app:get("/seen", function()
  go_on = true
  while not seen do atoll.sleep(0.001) end
  return seen
end)
app:get("/", function() return "probe" end)
return app
]],
    }, isolates = 1 }
  end)
  teardown(host.finish)
  after_each(wire.finish)

  -- Each piece left a frame on the C stack: 20,000 of them ended the host.
  it("may come in very many pieces", function()
    assert.equal(300000, #wire.ask(h, "/pieces").body)
  end)

  -- The piece that was returned then met an answer that was done: the host ended.
  it("may be finished by the function that makes its pieces", function()
    local c = wire.connect(h)
    assert.equal("x", c:ask("/finish").body)
    assert.equal("probe", c:ask("/").body)
  end)

  -- Nobody woke them, and so they and their generation lived forever.
  it("that is over ends the waits of tasks for its request", function()
    local c = wire.connect(h)
    c:send "POST /read HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n"
    assert.truthy(wire.ask(h, "/task").body:find "the request is over")
    c = wire.connect_deaf(h)
    c:send "GET /write HTTP/1.1\r\nHost: a\r\n\r\n"
    assert.truthy(wire.ask(h, "/task").body:find "the request is over")
  end)

  -- The head was left in the read buffer, and others' bytes were seen instead.
  it("that is over leaves the request as it was", function()
    local c = wire.connect(h)
    c:send "GET /look HTTP/1.1\r\nHost: a\r\nX-Name: its own\r\n\r\n"
    assert.equal("x", c:receive().body)
    local filler = "GET / HTTP/1.1\r\nHost: a\r\nX-Other: " .. ("y"):rep(99)
    assert.equal("probe", wire.ask(h, filler .. "\r\n\r\n").body)
    assert.equal("/look its own", wire.ask(h, "/seen").body)
  end)
end)
