-- Clients that go with a reset after each byte that they send, and after each byte that
-- they get. Nobody else notices, nothing is logged as an error, and nothing stays.
local events = require "support.events"
local frames = require "support.frames"
local host = require "support.host"
local uv = require "luv"
local wire = require "support.wire"

local APP = [[
app:get("/probe", function() return "probe" end)
app:post("/text", function(req) return req:text() or 400 end)
app:post("/form", function(req)
  local form = req:form()
  return form and form.text or 400
end)
-- A byte at a time, each on its way before the next one.
app:get("/drip", function()
  return atoll.stream(function(write, res)
    for _ = 1, 40 do
      if not write "d" then return end
      res:flush()
    end
  end)
end)
app:post("/both", function(req)
  return atoll.stream(function(write, res)
    for chunk in req:chunks() do
      if not write(chunk) then return end
      res:flush()
    end
  end)
end)
app:events("/events", function(send)
  for i = 1, 10 do
    if not send("event " .. i) then return end
    atoll.sleep(0)
  end
end)
app:static("/files", "files")
app:websocket("/socket", function(ws)
  for message, kind in ws:messages() do ws:send(message, kind) end
end)
]]

local FILE = ("0123456789"):rep(100)

local function request(line, fields, body)
  return ("%s HTTP/1.1\r\nHost: a\r\n%s\r\n%s"):format(line, fields or "",
    body or "")
end

local function sized(path, body, more)
  return request("POST " .. path,
    ("Content-Length: %d\r\n%s"):format(#body, more or ""), body)
end

local CHUNKED = "Transfer-Encoding: chunked\r\n"
local PARTS = '--b\r\nContent-Disposition: form-data; name="text"\r\n\r\n'
  .. "long\r\n--b\r\n"
  .. 'Content-Disposition: form-data; name="file"; filename="f"\r\n\r\n'
  .. ("x"):rep(40) .. "\r\n--b--\r\n"

local sent = {
  ["a body"] = sized("/text", "hello") .. request "GET /probe",
  ["chunks"] = request("POST /text", CHUNKED, "3;a=b\r\nhel\r\n2\r\nlo\r\n"
    .. "0\r\nA: b\r\n\r\n") .. request "GET /probe",
  ["an expectation"] = sized("/text", "hello", "Expect: 100-continue\r\n"),
  ["a form"] = sized("/form", PARTS,
    "Content-Type: multipart/form-data; boundary=b\r\n"),
  ["a range"] = request("GET /files/f.txt", "Range: bytes=3-9,900-909\r\n"):rep(2),
  ["both ways"] = request("POST /both", CHUNKED,
    "3\r\nabc\r\n3\r\ndef\r\n0\r\n\r\n"),
  ["a WebSocket"] = frames.request "/socket" .. frames.text "hello"
    .. frames.frame(0x89, "p") .. frames.frame(0x01, "a") .. frames.frame(0x80, "b")
    .. frames.close(1000),
}

local got = {
  ["a stream"] = request "GET /drip",
  ["events"] = request "GET /events",
  ["a range"] = request("GET /files/f.txt", "Range: bytes=0-99,800-899\r\n"),
  ["an answer in front of another"] = sized("/text", "hello") .. request "GET /drip",
  ["a continuation"] = sized("/text", "hello", "Expect: 100-continue\r\n"),
  ["a WebSocket"] = frames.request "/socket" .. frames.text "hello" .. frames.text "you"
    .. frames.close(1000),
}

local ends = { ["a range"] = "%-%-\r\n$", ["a continuation"] = "hello$" }

describe("a reset", function()
  local h

  setup(function()
    h = host.start { files = { ["app.lua"] = host.app(APP), ["files/f.txt"] = FILE },
      set = { slice_warn = 0 } }
    -- Of one that has just been written the ETag is weak, and so the head longer.
    assert(uv.fs_utime(h.dir .. "/files/f.txt", 1e9, 1e9))
    wire.ask(h, "/files/f.txt") -- from now on it is kept open
  end)
  teardown(host.finish)
  after_each(wire.finish)

  local function probe()
    for _ = 1, 2 do assert.equal("probe", wire.ask(h, "/probe").body) end
  end

  local function nothing_left(before)
    events.retry(function()
      return ("the end of all: %d descriptors, there were %d"):format(h:descriptors(),
        before)
    end, function() return h:descriptors() <= before end)
    for line in h.log:gmatch " error[^\n]*" do
      assert.truthy(line:find("client left in the middle of the body", 1, true), line)
    end
  end

  for name, bytes in pairs(sent) do
    it("after each byte of " .. name .. " costs nobody else anything", function()
      probe()
      local before = h:held()
      -- Read before the reset, or perhaps not.
      for _, fenced in ipairs { true, false } do
        local list = {}
        for i = 0, #bytes do list[i] = wire.open(h) end
        for i = 0, #bytes do list[i]:wait_connected():send(bytes:sub(1, i)) end
        if fenced then probe() end
        for i = 0, #bytes do list[i]:abort() end
        probe()
      end
      nothing_left(before)
    end)
  end

  for name, bytes in pairs(got) do
    it("after each byte of " .. name .. " as an answer is as cheap", function()
      probe()
      local before = h:held()
      local whole = wire.connect(h):send(bytes)
      events.retry("an answer", function()
        probe()
        return whole.eof or whole:got():find(ends[name] or "\r\n0\r\n\r\n$")
      end)
      local list = {}
      for i = 1, whole.size do
        local c = wire.open(h)
        list[i] = c
        c.on_data = function()
          if c.size < i or c.gone then return end
          c.gone = true
          c:abort()
        end
      end
      for i = 1, #list do list[i]:wait_connected():send(bytes) end
      -- One is shorter: nobody is asked for a body that came before its handler began.
      local function is_over(c)
        return c.gone or c.eof or c:got():find(ends[name] or "\r\n0\r\n\r\n$")
      end
      events.wait_all(list, is_over,
        function(c) return ("bytes; there are %d"):format(c and c.size or 0) end)
      probe()
      for _, c in ipairs(list) do c:close() end
      whole:close()
      nothing_left(before)
    end)
  end
end)
