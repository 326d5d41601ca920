-- A call into C cannot be suspended: the log tells of it while it lasts.
local host = require "support.host"
local wire = require "support.wire"

describe("a call into C that does not return", function()
  after_each(function()
    wire.finish()
    host.finish()
  end)

  it("is told while it lasts, once, with the line that made it", function()
    local h = host.start {
      app = [[
        app:get("/", function(req)
          os.execute("read line < " .. req.query.fifo)
          return "back"
        end)]],
      set = { slice_warn = 0.005 },
    }
    local fifo = h.dir .. "/fifo"
    assert(os.execute("mkfifo " .. fifo))
    local client = wire.connect(h)
    client:send("GET /?fifo=" .. fifo .. " HTTP/1.1\r\nHost: x\r\n\r\n")
    h:log_wait "isolate 1 has been inside a C function [^\n]*: %S*app.lua:2\n"
    local f <close> = assert(io.open(fifo, "w"))
    f:write "\n"
    f:flush()
    assert.equal("back", client:receive().body)
    h:stop()
    assert.equal(1, h:count "has been inside a C function")
  end)
end)
