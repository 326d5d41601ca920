-- What a connection can cost, as the README adds it up, is what the program does.
local file = require "support.file"
local host = require "support.host"
local wire = require "support.wire"

-- The README's table: row -> KiB, and its text.
local function bounds()
  local text = file.read "README.md":match "%*%*Memory per connection%.%*%*(.-)\n## "
  local rows, sum = {}, 0
  local first = text:match "^(.-)\nThat is less"
  for what, kib in first:gmatch "\n| ([^|]-) | (%d+) KiB |" do
    rows[what:match "^%S+ ?%S*"] = tonumber(kib)
    sum = sum + kib
  end
  return rows, sum, text, tonumber(text:match "\n| a WebSocket | (%d+) KiB |")
end

-- The number that a constant of the C code has.
local function constant(path, name)
  local value = file.read(path):match(name .. " = ([%d%s*]+)[,; }]")
  return load("return " .. assert(value, name))()
end

local function default(name)
  local value = file.read "etc/atoll.lua":match("%-%- " .. name .. " = ([^,]+),")
  local n, unit = value:match '"?(%d+)([KM]?)"?'
  return tonumber(n) * (({ K = 1024, M = 1024 * 1024 })[unit] or 1)
end

describe("the memory of a connection", function()
  after_each(function()
    wire.finish()
    host.finish()
  end)

  it("is bounded by the settings and constants that the README names", function()
    local rows, sum, text, websocket = bounds()
    local kib = 1024
    local window = constant("host/http/exchange.h", "BODY_WINDOW")
    local high = constant("host/net/stream.h", "STREAM_HIGH")
    local pipeline = constant("host/http/h1.h", "H1_PIPELINE_MAX")
    local scratch = constant("host/net/loop.h", "LOOP_SCRATCH")
    local head = default "request_line_max" * 2 + default "header_bytes_max"
      + default "header_count_max" * 16
    assert.equal((pipeline + scratch) / kib, rows["input not"])
    assert.truthy(head <= rows["the head,"] * kib, head)
    assert.equal(4 * window / kib, rows["body that"])
    assert.equal(2 * high / kib, rows["output that"])
    assert.truthy(sum < tonumber(text:match "That is less than (%d+) KiB"), sum)
    local message = 2 * default "websocket_message_max" + 2 * default "websocket_queue"
    assert.truthy(rows["input not"] + message / kib + rows["output that"] + 350
      < websocket, message)
    assert.equal(constant("host/http/h1_answer.h", "H1_DISCARD_MAX") / kib,
      tonumber(text:match "at most (%d+) KiB are thrown away"))
  end)

  it("is no more than that, whatever a client sends and does not take", function()
    local h = host.start { set = { slice_warn = 0 }, app = [[
      app:get("/", function() return ("x"):rep(50000) end)
      app:post("/", function() atoll.sleep(30) return "late" end)
    ]] }
    local _, sum = bounds()
    local function misuse(n)
      for i = 1, n do
        local c = wire.connect_deaf(h)
        if i % 2 == 0 then
          c:send(("GET /%s HTTP/1.1\r\nHost: a\r\n\r\n"):format("?" .. ("a"):rep(4000))
            :rep(300))
        else
          c:send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 16000000\r\n\r\n"
            .. ("b"):rep(2000000))
        end
      end
    end
    -- Until it has read what it reads of them, which it does in its turns.
    local function settle()
      for _ = 1, 200 do assert.equal(404, wire.ask(h, "/none").status) end
    end
    misuse(4)
    settle()
    local before = h:memory()
    misuse(20)
    settle()
    h:grows_less(20 * sum, before)
    h:signal "sigint"
    h:signal "sigint"
    h:ended(20)
  end)
end)
