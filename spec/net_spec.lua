-- Sockets as Lua code has them: atoll.net.
local atoll = require "atoll"
local net = require "atoll.net"

-- Two ends of a connection.
local function pair(address)
  local listener <close> = assert(net.listen(address or "127.0.0.1:0"))
  local task = atoll.spawn(function() return listener:accept() end)
  local client = assert(net.connect(listener:name()))
  return client, assert(task:join())
end

describe("a connection", function()
  for _, address in ipairs { "127.0.0.1:0", "[::1]:0", "unix:" .. os.tmpname() .. ".s" }
  do
    it("carries bytes both ways, to " .. address:match "^[^0/]*", function()
      local a, b = pair(address)
      assert.is_true(a:write("one ", 2, "\n"))
      assert.equal("one 2", b:read())
      assert.is_true(b:write "three\r\nfour")
      assert.equal("three", a:read "line")
      b:close()
      assert.equal("four", a:read "line")
      assert.is_nil(a:read "line")
      a:close()
    end)
  end
end)
