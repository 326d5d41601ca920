-- WebSockets as bytes: frames in and out of a support.wire connection.
local assert = require "luassert"
local events = require "support.events"
local wire = require "support.wire"

local M = {}

M.KEY = "dGhlIHNhbXBsZSBub25jZQ=="
M.ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="

local MASK = { 0x12, 0xf4, 0x56, 0x07 }

local function masked(payload)
  local out, n = {}, 0
  for at = 1, #payload, 4096 do
    local bytes = { payload:byte(at, at + 4095) }
    for i = 1, #bytes do bytes[i] = bytes[i] ~ MASK[(n + i - 1) % 4 + 1] end
    n = n + #bytes
    out[#out + 1] = string.char(table.unpack(bytes))
  end
  return table.concat(out)
end

-- A client's frame. first: its first byte (0x81 is a whole text message). options: mask
-- = false for none.
function M.frame(first, payload, options)
  local bit = options and options.mask == false and 0 or 0x80
  local n = #payload
  local head = n < 126 and string.pack("BB", first, bit | n)
    or n < 65536 and string.pack(">BBI2", first, bit | 126, n)
    or string.pack(">BBI8", first, bit | 127, n)
  if bit == 0 then return head .. payload end
  return head .. string.char(table.unpack(MASK)) .. masked(payload)
end

function M.text(payload) return M.frame(0x81, payload) end

-- A close frame's payload.
function M.reason(code, text) return string.pack(">I2", code) .. (text or "") end

function M.close(code, text)
  return M.frame(0x88, code and M.reason(code, text) or "")
end

-- What asks for a WebSocket.
function M.request(path, fields)
  return ("GET %s HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\n"
    .. "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    .. "Sec-WebSocket-Key: %s\r\n%s\r\n"):format(path, M.KEY, fields or "")
end

local function take(text, at)
  if #text < at + 1 then return nil end
  local first, length = text:byte(at, at + 1)
  local from = at + 2
  if length >= 0x80 then error("the host's frame is masked", 0) end
  if length >= 126 then
    local size = length == 126 and 2 or 8
    if #text < from + size - 1 then return nil end
    length = string.unpack(">I" .. size, text, from)
    from = from + size
  end
  if #text < from + length - 1 then return nil end
  return { first = first, payload = text:sub(from, from + length - 1) }, from + length
end

-- The next frame that the host sends: { first =, payload = }.
function M.next(c, seconds)
  return events.wait(function()
    return ("a frame; there is %q%s"):format(c:rest(),
      c.eof and ", then the end" or "")
  end, function()
    local frame, to = take(c:got(), c.at)
    if frame then
      c.at = to
      if c.at > c.size then c.parts, c.size, c.at = {}, 0, 1 end
      return frame
    end
    if c.eof then
      error(("the end instead of a frame: %q"):format(c:rest()), 0)
    end
  end, seconds)
end

-- Waits for exactly this message.
function M.expect(c, payload, first)
  local frame = M.next(c)
  assert.equal(payload, frame.payload)
  assert.equal(first or 0x81, frame.first)
end

-- Waits for the host's close with that code (nil for one without), and the end.
function M.closed(c, code, reason, seconds)
  local frame = M.next(c, seconds)
  assert.equal(0x88, frame.first)
  local is = #frame.payload >= 2 and string.unpack(">I2", frame.payload) or nil
  assert.equal(code, is)
  if reason then assert.equal(reason, frame.payload:sub(3)) end
  if not c.answered then c:send(M.close(code)) end
  c:finish()
  local rest = c:wait_end(seconds)
  assert.equal("", rest)
end

-- A connection that has become a WebSocket.
function M.open(to, path, fields)
  local c = wire.connect(to)
  local answer = c:ask(M.request(path, fields))
  assert.equal(101, answer.status, answer.body)
  assert.equal(M.ACCEPT, answer.fields["sec-websocket-accept"])
  c.answer = answer
  return c
end

return M
