-- The programs in contrib/examples do what they say.
local atoll = require "atoll"
local events = require "support.events"
local script = require "support.script"

local net = atoll.net

local function start(name, ...)
  return script.start("contrib/examples/" .. name .. ".lua", ...)
end

local function connect(address)
  local socket = assert(net.connect(address))
  socket:settimeout(60)
  return socket
end

describe("the example", function()
  after_each(script.finish)

  it("echo echoes", function()
    local address = start("echo", "127.0.0.1:0"):says "echo on (%S+)"
    local sockets = {}
    for i = 1, 20 do
      sockets[i] = connect(address)
      sockets[i]:write(("%d "):format(i):rep(20000))
    end
    for i, socket in ipairs(sockets) do
      local text = ("%d "):format(i):rep(20000)
      assert.equal(text, socket:read(#text))
      socket:shutdown "write"
      assert.is_nil((socket:read(1)))
      socket:close()
    end
  end)

  it("push tells everybody the time at the same moment", function()
    local address = start("push", "127.0.0.1:0"):says "the time on (%S+)"
    local times = atoll.all {
      function() return connect(address):read "line" end,
      function() return connect(address):read "line" end,
    }
    assert.match("^%d%d:%d%d:%d%d$", times[1])
    assert.match("^%d%d:%d%d:%d%d$", times[2])
  end)

  it("sleepers wake when they should", function()
    local s, median
    for _ = 1, 10 do
      s = start("sleepers", "20", "0.2")
      assert.equal(0, s:ended())
      median = assert(tonumber(s.out:match "late by (%d+) µs in the median"))
      assert.equal(20, select(2, s.out:gsub(" s and ", "")))
      if median < 100000 then return end -- the machine may have stood still
    end
    error(s.out)
  end)

  it("proxy passes on both directions, and their ends", function()
    local listener = assert(net.listen "127.0.0.1:0")
    local server = atoll.spawn(function()
      listener:serve(function(socket)
        local text = socket:read "all"
        socket:write(text:upper(), "!")
      end)
    end)
    local address = start("proxy", "127.0.0.1:0", listener:name()):says "(%S+) leads to"
    local text = ("half a megabyte "):rep(32768)
    local client = connect(address)
    client:write(text)
    client:shutdown "write"
    assert.equal(text:upper() .. "!", client:read "all")
    client:close()
    listener:close()
    server:join()
    -- Nobody is there now.
    client = connect(address)
    assert.is_nil((client:read "some"))
    client:close()
  end)

  it("clones serves one address with eight isolates", function()
    local s = start("clones", "127.0.0.1:0")
    local address = s:says "eight isolates on (%S+)"
    local seen, count = {}, 0
    events.poll("another isolate to answer", function()
      local tasks = {}
      for i = 1, 16 do
        tasks[i] = function()
          local answer = assert(atoll.http.get("http://" .. address .. "/",
            { headers = { connection = "close" } }))
          return (answer:text():match "served by (.+)\n")
        end
      end
      for _, name in ipairs(atoll.all(tasks)) do
        if not seen[name] then seen[name], count = true, count + 1 end
      end
      return count > 1
    end)
    assert.is_true(count > 1)
  end)

  it("chat tells everybody what one says", function()
    local chat = script.start("-n", "2", "contrib/examples/chat.lua", "127.0.0.1:0")
    local address = chat:says "chat on (%S+)"
    local function enter(name)
      local socket = connect(address)
      assert.equal("Your name? ", socket:read(11))
      socket:write(name, "\n")
      return socket
    end
    local ann = enter "ann"
    assert.equal("ann has come", ann:read "line")
    local bob = enter "bob"
    assert.equal("bob has come", bob:read "line")
    assert.equal("bob has come", ann:read "line")
    bob:write "hi\n"
    assert.equal("<bob> hi", ann:read "line")
    assert.equal("<bob> hi", bob:read "line")
    local other = enter "bob"
    assert.equal("bob is here already.", other:read "line")
    bob:close()
    assert.equal("bob has gone", ann:read "line")
  end)
end)
