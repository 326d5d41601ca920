-- An HTTP/1 client that sees every byte: connections that a spec feeds and reads as it
-- likes, a strict reader of answers, and tables of cases that are sent whole, byte by
-- byte and cut at every position.
local events = require "support.events"
local uv = require "luv"

local M = {}

-- ---- answers ----

local function field_problem(response)
  local count = {}
  for _, field in ipairs(response.list) do
    count[field[1]] = (count[field[1]] or 0) + 1
  end
  for _, name in ipairs { "content-length", "transfer-encoding", "date",
    "connection" } do
    if (count[name] or 0) > 1 then return "repeated " .. name end
  end
  local fields, status = response.fields, response.status
  local framed = count["content-length"] or count["transfer-encoding"]
  if status < 200 then return framed and "an interim answer with a body" end
  if not fields.date and status < 500 then return "no Date" end
  if count["content-length"] and count["transfer-encoding"] then
    return "both Content-Length and Transfer-Encoding"
  end
  if (status == 204 or status == 304) and framed then return "a body" end
end

-- Reads a chunked body: text and where it ends, or nil, or nil and a problem.
local function read_chunks(text, at)
  local pieces = {}
  while true do
    local size, data = text:match("^(%x+)\r\n()", at)
    if not size then
      local whole = text:find("\r\n", at, true) or #text - at > 20
      return nil, whole and "a bad chunk line"
    end
    local n = tonumber(size, 16)
    if #text < data + n + 1 then return nil end
    if text:sub(data + n, data + n + 1) ~= "\r\n" then return nil, "a bad chunk" end
    if n == 0 then return table.concat(pieces), data + 2 end
    pieces[#pieces + 1] = text:sub(data, data + n - 1)
    at = data + n + 2
  end
end

-- Reads the answer that begins at `at`. Gives it and where the next one begins; nil
-- when it is not all there (and nil and how much there has to be, if that is known);
-- nil and a text when it is not well formed. head: to a HEAD.
function M.parse(text, at, head, eof)
  local stop = select(2, text:find("\r\n\r\n", at, true))
  if not stop then return nil end
  local status, reason, from = text:match("^HTTP/1%.1 (%d%d%d) ([^\r\n]*)\r\n()", at)
  if not status then return nil, "no status line" end
  local response = { status = tonumber(status), reason = reason, list = {},
    fields = {} }
  while from < stop - 1 do
    local name, value, to = text:match("^([!-9;-~]+): ([^\r\n]*)\r\n()", from)
    if not name then return nil, "a malformed header line" end
    from, name = to, name:lower()
    table.insert(response.list, { name, value })
    response.fields[name] = response.fields[name] or value
  end
  local problem = field_problem(response)
  if problem then return nil, problem end
  local length = response.fields["content-length"]
  response.body = ""
  status = response.status
  if head or status < 200 or status == 204 or status == 304 then
    return response, stop + 1
  end
  if length then
    local n = math.tointeger(tonumber(length))
    if not n then return nil, "a bad Content-Length" end
    if #text < stop + n then return nil, nil, stop + n end
    response.body = text:sub(stop + 1, stop + n)
    return response, stop + n + 1
  end
  if response.fields["transfer-encoding"] then
    if response.fields["transfer-encoding"] ~= "chunked" then
      return nil, "an unknown Transfer-Encoding"
    end
    local body, next_at = read_chunks(text, stop + 1)
    if not body then return nil, next_at end
    response.body = body
    return response, next_at
  end
  if response.fields.connection ~= "close" then return nil, "no end to the body" end
  if not eof then return nil end
  response.body = text:sub(stop + 1)
  return response, #text + 1
end

-- ---- connections ----

local methods = {}
local metatable = { __index = methods, __name = "spec.connection" }
local open_ones = {}

local function ended(c, why)
  c.eof = true
  if why ~= "EOF" then c.reset = why end
end

local function start_reading(c)
  c.stream:read_start(events.guard(function(err, data)
    if data then
      c.parts[#c.parts + 1] = data
      c.size = c.size + #data
      if c.on_data then c:on_data() end
    else
      ended(c, err or "EOF")
      if c.on_end then c:on_end() end
    end
  end))
end

-- Begins to connect to a host, or to { port =, ip =, path = }; at once, if it has to.
function M.open(to)
  local c = setmetatable({
    parts = {}, -- what came and is not put together
    size = 0,   -- bytes that came
    at = 1,     -- of got(), where the next answer begins
    to = to,
  }, metatable)
  open_ones[c] = true
  c.stream = to.path and uv.new_pipe(false) or uv.new_tcp()
  local done = events.guard(function(err)
    c.connected, c.refused = not err, err
    if err then ended(c, err) return end
    if not to.path then c.stream:nodelay(true) end
    if not c.paused then start_reading(c) end
    if c.on_connect then c:on_connect() end
  end)
  local ok, err
  if to.path then
    ok, err = c.stream:connect(to.path, done)
  else
    if to.receive_buffer or to.from then c.stream:bind(to.from or "127.0.0.1", 0) end
    ok, err = c.stream:connect(to.ip or "127.0.0.1", to.port, done)
  end
  if not ok then error(err) end
  return c
end

function methods:wait_connected()
  events.wait("a connection", function() return self.connected or self.refused end)
  assert(self.connected, self.refused)
  return self
end

function M.connect(to) return M.open(to):wait_connected() end

-- One that does not read until resume().
function M.connect_deaf(to)
  local c = M.open(to)
  c.paused = true
  c:wait_connected()
  return c
end

function methods:pause()
  self.paused = true
  self.stream:read_stop()
end

function methods:resume()
  self.paused = false
  start_reading(self)
end

-- All that came.
function methods:got()
  if #self.parts > 1 then self.parts = { table.concat(self.parts) } end
  return self.parts[1] or ""
end

-- Sends; what the socket does not take at once follows by itself.
function methods:send(bytes)
  if self.unwritable then return self end
  local n, err, name = self.stream:try_write(bytes)
  if n and n == #bytes then return self end
  if not n and name ~= "EAGAIN" then
    self.unwritable = err
    return self
  end
  self.stream:write(n and bytes:sub(n + 1) or bytes, events.guard(function(problem)
    self.unwritable = problem
    self.all_sent = not problem
  end))
  return self
end

-- Says that nothing more will be sent.
function methods:finish()
  self.stream:shutdown(events.guard(function() end))
  return self
end

-- The beginning of what was not taken, for messages.
function methods:rest() return self:got():sub(self.at, self.at + 500) end

-- Takes the next answer off what came: nil when it is not all there.
function methods:take(head)
  if self.size < (self.needed or self.at) then return nil end
  local response, next_at, needed = M.parse(self:got(), self.at, head, self.eof)
  self.needed = needed
  if response then
    self.at = next_at
    return response
  end
  if next_at then error(("%s in %q"):format(next_at, self:got():sub(self.at)), 0) end
end

-- Waits for the next answer.
function methods:receive(head, seconds)
  return events.wait(function()
    return ("an answer; there is %q%s"):format(self:rest(),
      self.eof and ", then the end" or "")
  end, function()
    local response = self:take(head)
    if not response and self.eof then
      error(("the connection ended (%s) with %q instead of an answer"):format(
        self.reset or "EOF", self:rest()), 0)
    end
    return response
  end, seconds)
end

-- Sends a request (a GET of that path when it has no line end) and waits for its
-- answer.
function methods:ask(request, head)
  if not request:find("\n", 1, true) then
    request = "GET " .. request .. " HTTP/1.1\r\nHost: a\r\n\r\n"
  end
  return self:send(request):receive(head)
end

-- Waits until bytes with this pattern came, in front of which nothing is looked at
-- again.
function methods:read_until(pattern, seconds)
  return events.wait(function()
    return ("%q; there is %q"):format(pattern, self:rest())
  end, function()
    local found = table.pack(self:got():find(pattern, self.at))
    if not found[1] then return nil end
    self.at = found[2] + 1
    return found[3] or true
  end, seconds)
end

-- Waits for the server's end; what came before it and was not taken.
function methods:wait_end(seconds)
  events.wait(function()
    return ("the end of the connection; there is %q"):format(
      self:rest())
  end, function() return self.eof end, seconds)
  return self:got():sub(self.at), self.reset
end

function methods:close()
  if open_ones[self] then
    open_ones[self] = nil
    if not self.stream:is_closing() then self.stream:close() end
  end
end

-- Closes with a reset.
function methods:abort()
  open_ones[self] = nil
  self.stream:close_reset()
end

-- Closes what specs left open; for after_each.
function M.finish()
  for c in pairs(open_ones) do c:close() end
  uv.run "nowait" -- luv does not survive the end of its state in the middle of that
end

-- One request on a connection of its own.
function M.ask(to, request, head)
  local c = M.connect(to)
  local response = c:ask(request, head)
  c:close()
  return response
end

-- ---- tables of cases ----

local PROBE = "GET /probe HTTP/1.1\r\nHost: a\r\n\r\n"

-- Two round trips to a host with one isolate: what was sent before has been read.
local function fence(h)
  local c = M.connect(h)
  for _ = 1, 2 do
    c:send(PROBE)
    assert(c:receive().body == "probe")
  end
  c:close()
end

local function show(text)
  if #text > 1500 then text = text:sub(1, 1500) .. "..." end
  return (("%q"):format(text):gsub("\\\n", "\\n"):gsub("\\13", "\\r"))
end

local function differs(response, want)
  if type(want) == "number" then want = { want } end
  if response.status ~= want[1] then
    return ("status %d instead of %d"):format(response.status, want[1])
  end
  if want.body and response.body ~= want.body then
    return "body " .. show(response.body) .. " instead of " .. show(want.body)
  end
  for name, value in pairs(want.fields or {}) do
    local is = response.fields[name]
    if value == false and is or value and (not is or not is:find(value)) then
      return ("header %s is %s"):format(name, is and show(is) or "missing")
    end
  end
end

-- What a run of one case has to answer by now; true when it is through.
local function step(run)
  local case, c = run.case, run.c
  while run.answers < #case.want do
    local want = case.want[run.answers + 1]
    local response = c:take(type(want) == "table" and want.head)
    if not response then
      if c.eof then error("the connection ended (" .. (c.reset or "EOF") .. ")", 0) end
      return false
    end
    if case.interim and response.status == 100 then goto continue end
    run.answers = run.answers + 1
    local problem = differs(response, want)
    if problem then error(problem .. " in answer " .. run.answers, 0) end
    run.last = response
    ::continue::
  end
  if case.close then
    if run.last and not case.silent and run.last.fields.connection ~= "close" then
      error("the last answer does not say Connection: close", 0)
    end
    if not c.eof then return false end
    if #c:got() >= c.at then error("more came than was to come", 0) end
    return true
  end
  if not run.probed then
    run.probed = true
    c:send(PROBE)
  end
  local response = c:take()
  if not response then
    if c.eof then error("the connection was closed", 0) end
    return false
  end
  if response.body ~= "probe" or #c:got() >= c.at then
    error("an answer that nobody asked for: " .. show(response.body), 0)
  end
  return true
end

local function report(h, run, problem)
  error(("%s\n  case: %s\n  sent: %s, %s\n  came: %s\n  log: %s"):format(problem,
    run.case.name, show(run.case.bytes), run.how, show(run.c and run.c:got() or ""),
    h.log:sub(-1500)), 0)
end

local function feed(h, batch)
  local more, index = true, 0
  for _, run in ipairs(batch) do run.c = M.open(h) end
  events.wait_all(batch, function(run) return run.c.connected or run.c.refused end,
    function(run) return "a connection for " .. run.case.name end)
  while more do
    more, index = false, index + 1
    for _, run in ipairs(batch) do
      if run.pieces[index] then run.c:send(run.pieces[index]) end
      if run.pieces[index + 1] then more = true end
      if run.case.finish and index == #run.pieces then run.c:finish() end
    end
    if more then fence(h) end
  end
  for _, run in ipairs(batch) do
    local ok, problem = pcall(events.wait, "more", function() return step(run) end)
    if not ok then report(h, run, problem) end
    run.c:close()
  end
end

local function variants(case)
  local list, bytes = {}, case.bytes
  local function add(how, pieces)
    list[#list + 1] = { case = case, how = how, pieces = pieces, answers = 0 }
  end
  add("whole", { bytes })
  if case.whole then return list end
  local single = {}
  for i = 1, #bytes do single[i] = bytes:sub(i, i) end
  add("byte by byte", single)
  for i = 1, #bytes - 1 do
    add("cut at " .. i, { bytes:sub(1, i), bytes:sub(i + 1) })
  end
  return list
end

-- Sends each case in all ways to a host with one isolate whose app has GET /probe. A
-- case: name; bytes; want, a list of statuses or of { status, body =, fields = { name =
-- pattern or false }, head = true when it answers a HEAD }; close: the connection ends
-- behind the last answer, and that says so (unless silent); otherwise a further request
-- is answered. interim: 100 Continue may come before. finish: the client says that
-- nothing follows. whole: sent in one way.
function M.check(h, cases)
  local batch, steps = {}, 0
  local function flush()
    if #batch > 0 then feed(h, batch) end
    batch, steps = {}, 0
  end
  for _, case in ipairs(cases) do
    for _, run in ipairs(variants(case)) do
      batch[#batch + 1] = run
      steps = math.max(steps, #run.pieces)
      if #batch == 250 then flush() end
    end
  end
  flush()
end

return M
