local atoll = require "atoll"
local host = require "support.host"
local websocket = require "atoll.websocket"

describe("chat", function()
  after_each(function()
    atoll.sleep(0.02) -- while a host ends nobody is heard
    host.finish()
  end)

  local h

  local function come(name, room, id)
    local ws = assert(websocket.connect(("%s/room/%s?name=%s&id=%s"):format(
      h.url:gsub("^http", "ws"), room or "lobby", name, id or "")))
    return ws
  end

  -- The next that is of this type.
  local function hear(ws, type)
    while true do
      local text, _, code = ws:receive(10)
      assert(text, code)
      local news = atoll.json.decode(text)
      if news.type == type then return news end
    end
  end

  local function sorted(list)
    table.sort(list)
    return list
  end

  local function say(ws, text) assert(ws:send(atoll.json.encode { say = text })) end

  it("reaches all who are in a room, in every isolate", function()
    h = host.start { dir = "apps/chat", isolates = 3 }
    local list = {}
    for i = 1, 9 do
      list[i] = come("guest" .. i)
      hear(list[i], "welcome")
    end
    local elsewhere = come("other", "attic")
    hear(elsewhere, "welcome")
    say(list[1], "hello")
    for _, ws in ipairs(list) do
      local news = hear(ws, "message")
      assert.same({ "guest1", "hello", 1 }, { news.name, news.text, news.id })
    end
    say(elsewhere, "echo")
    assert.equal("echo", hear(elsewhere, "message").text)
    assert(list[2]:send '{"typing":true}')
    assert.equal("guest2", hear(list[3], "typing").name)
    list[2]:close()
    assert.equal("guest2", hear(list[3], "leave").name)
    for _, ws in ipairs(list) do ws:close() end
    elsewhere:close()
  end)

  it("keeps the last 100, for those who come later and over reloads", function()
    h = host.start { dir = "apps/chat", isolates = 2 }
    local ann = come "ann"
    for i = 1, 105 do
      say(ann, "number " .. i)
      assert.equal(i, hear(ann, "message").id)
    end
    h:reload()
    say(ann, "with the new code")
    assert.equal("with the new code", hear(ann, "message").text)
    local ben = come "ben"
    local welcome = hear(ben, "welcome")
    assert.equal(100, #welcome.history)
    assert.same({ 7, "number 7" }, { welcome.history[1].id, welcome.history[1].text })
    assert.equal("number 105", welcome.history[99].text)
    assert.same({ "ann", "ben" }, sorted(welcome.people))
    ann:close()
    ben:close()
  end)

  it("gives no name twice, and his own to who comes back", function()
    h = host.start { dir = "apps/chat", isolates = 2 }
    local first = come("ann", nil, "1")
    assert.equal("ann", hear(first, "welcome").name)
    local second = come("ann", nil, "2")
    local welcome = hear(second, "welcome")
    assert.equal("ann (2)", welcome.name)
    table.sort(welcome.people)
    assert.same({ "ann", "ann (2)" }, welcome.people)
    local again = come("ann", nil, "1")
    assert.equal("ann", hear(again, "welcome").name)
    first:close()
    say(again, "still here")
    assert.equal("still here", hear(second, "message").text)
    for _, ws in ipairs { first, second, again } do ws:close() end
  end)

  it("refuses what it cannot use", function()
    h = host.start { dir = "apps/chat", isolates = 1 }
    for _, row in ipairs {
      { come(""), "please choose another name" },
      { come("a", "a%20b"), "there is no such room" },
    } do
      assert.is_nil(row[1]:receive(10))
      assert.same({ 1008, row[2] }, { row[1].code, row[1].reason })
    end
    local ws = come "ann"
    hear(ws, "welcome")
    ws:send "{"
    while ws:receive(10) do end
    assert.same({ 1008, "no JSON" }, { ws.code, ws.reason })
  end)
end)
