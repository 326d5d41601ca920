-- A connection of a client that believes nothing: every byte of an answer has a place
-- in its grammar, and what an end of the connection means is for the ledger to judge.
local net = require "atoll.net"

local M = {}

local methods = {}
local metatable = { __index = methods }

local HEADS = 65536

-- How an answer can fail to come. "closed" and "reset" are ends before its first byte,
-- "cut" is one inside of it, "garbage" what is no answer at all.
local function failure(kind, detail) return nil, kind, detail end

function M.connect(address, patience)
  local socket, message, code = net.connect(address, { timeout = patience })
  if not socket then return nil, code, message end
  socket:settimeout(patience)
  return setmetatable({ socket = socket, answers = 0 }, metatable)
end

-- The text of a request. options: body, chunked, id, headers (lines).
function M.request(method, path, options)
  options = options or {}
  local lines = { method .. " " .. path .. " HTTP/1.1", "Host: chaos" }
  if options.id then lines[#lines + 1] = "X-Id: " .. options.id end
  for _, line in ipairs(options.headers or {}) do lines[#lines + 1] = line end
  local body = options.body or ""
  if options.chunked then
    lines[#lines + 1] = "Transfer-Encoding: chunked"
    local parts, at = {}, 1
    while at <= #body do
      local piece = body:sub(at, at + options.chunked - 1)
      parts[#parts + 1] = ("%x\r\n%s\r\n"):format(#piece, piece)
      at = at + #piece
    end
    parts[#parts + 1] = "0\r\n\r\n"
    body = table.concat(parts)
  elseif options.body then
    lines[#lines + 1] = "Content-Length: " .. #body
  end
  return table.concat(lines, "\r\n") .. "\r\n\r\n" .. body
end

function methods:send(...) return self.socket:write(...) end

local function ended(code, begun)
  if code == "ETIMEDOUT" then return failure("silent") end
  if begun then return failure("cut", code) end
  return failure(code and "reset" or "closed", code)
end

local function read_chunked(socket)
  local parts = {}
  while true do
    local line, _, code = socket:read("line")
    if not line then return ended(code, true) end
    local size = line:match "^%x+$"
    if not size then
      return failure("garbage", "a chunk's size: " .. line:sub(1, 80))
    end
    size = tonumber(size, 16)
    local piece = ""
    if size > 0 then
      piece, _, code = socket:read(size)
      if not piece or #piece < size then return ended(code, true) end
    end
    local rest
    rest, _, code = socket:read("line")
    if not rest then return ended(code, true) end
    if rest ~= "" then
      return failure("garbage", "behind a chunk: " .. rest:sub(1, 80))
    end
    if size == 0 then return table.concat(parts) end
    parts[#parts + 1] = piece
  end
end

local function read_fields(socket)
  local fields, size = {}, 0
  while true do
    local line, _, code = socket:read("line")
    if not line then return ended(code, true) end
    if line == "" then return fields end
    size = size + #line
    local name, value = line:match "^([%w%-]+): (.*)$"
    if not name or size > HEADS then
      return failure("garbage", "a field: " .. line:sub(1, 80))
    end
    name = name:lower()
    if fields[name] then return failure("garbage", "two fields " .. name) end
    fields[name] = value
  end
end

-- The next answer: { status, fields, body }; nil, how it failed, a detail.
function methods:answer(method)
  local socket = self.socket
  local line, _, code = socket:read("line")
  if not line then return ended(code, (socket:buffered() or 0) > 0) end
  local status = line:match "^HTTP/1%.1 (%d%d%d) %u[%a ']+$"
  if not status then return failure("garbage", "a status: " .. line:sub(1, 80)) end
  status = tonumber(status)
  if status == 100 then return failure("garbage", "100 that nobody wanted") end
  local fields, kind, detail = read_fields(socket)
  if not fields then return nil, kind, detail end
  local body = ""
  if method == "HEAD" or status == 204 or status == 304 then
    body = ""
  elseif fields["transfer-encoding"] == "chunked" then
    body, kind, detail = read_chunked(socket)
    if not body then return nil, kind, detail end
  else
    local size = tonumber(fields["content-length"])
    if not size then return failure("garbage", "an answer without a length") end
    if size > 0 then
      body, _, code = socket:read(size)
      if not body or #body < size then return ended(code, true) end
    end
  end
  self.answers = self.answers + 1
  self.host = tonumber(fields["x-host"]) or self.host
  self.told = fields.connection == "close"
  return { status = status, fields = fields, body = body }
end

-- What an idle connection has to say: nil while it is silent, as it should be;
-- "closed", "reset", or "garbage" and the bytes that nobody asked for.
function methods:news()
  local bytes, _, code = self.socket:read("some", 200, 0)
  if bytes then return "garbage", bytes end
  if code == "ETIMEDOUT" then return nil end
  return code and "reset" or "closed", code
end

function methods:close() self.socket:close() end

return M
