-- What a request gives: status, reason, version, headers, url and the body, which is a
-- text, or is read later as it comes.
local core = require "atoll.core.http"
local json = require "atoll.json"
local pool = require "atoll.http.pool"
local task = require "atoll.core.task"

local M = {}

local PIECE = 65536

local whole = {}    -- methods of those whose body is there
local streamed = {} -- of those whose body is still to be read

local whole_meta = { __index = whole, __name = "atoll.http.response" }
local streamed_meta = { __index = streamed, __name = "atoll.http.response" }

-- All values of a header, in their order.
function whole:values(name)
  return core.values(self.headers, name)
end

-- The body as a text.
function whole:text()
  return self.body
end

-- The body as a value; nil, message, "ESYNTAX" when it is not JSON.
function whole:json()
  local text, message, code = self:text()
  if not text then return nil, message, code end
  return json.decode(text)
end

function whole.close()
  return true
end

whole_meta.__close = whole.close

streamed.values, streamed.json = whole.values, whole.json

-- The end of reading; the connection is used again if the answer was read to its end.
local function finish(self, message, code)
  local conn = self.connection
  self.trailers = conn.reader:trailers()
  self.message, self.code = message, code
  if code then pool.drop(conn) else pool.put(conn) end
  self.connection = nil
end

-- At most n bytes; nil at the end of the body; nil, message, code when it broke off.
function streamed:read(n)
  local conn = self.connection
  if not conn then return nil, self.message, self.code end
  local piece, message, code = conn.reader:read(n or PIECE, self.pause)
  if piece then return piece end
  if self.connection then finish(self, message, code) end
  return nil, message, code
end

-- Pieces as they come. A body that breaks off is an error, so that nobody takes half of
-- it for the whole.
function streamed:chunks()
  return function()
    local piece, message, code = self:read()
    if piece then return piece end
    if code then error(("the body broke off: %s"):format(message), 2) end
    return nil
  end
end

-- All that is left.
function streamed:text()
  local conn = self.connection
  if not conn then
    if self.code then return nil, self.message, self.code end
    return ""
  end
  local text, message, code = conn.reader:text(self.body_max, self.pause)
  if self.connection then finish(self, message, code) end
  if text then return text end
  return nil, message, code
end

-- What is not read is given up.
function streamed:close()
  if self.connection then finish(self, "closed", "ECLOSED") end
  return true
end

streamed_meta.__close = streamed.close

-- The collector comes at any time, in the middle of what the pool does, too: so that is
-- told in a turn of its own, if there is to be one.
function streamed_meta:__gc()
  if not self.connection or pcall(task.spawn, streamed.close, self) then return end
  self:close()
end

-- Of the values that a reader's head gives.
function M.new(request, status, reason, version, headers)
  return {
    status = status, reason = reason, version = version, headers = headers,
    url = request.url.text,
    body = nil, trailers = nil,
  }
end

-- With the whole body, read now.
function M.whole(self)
  return setmetatable(self, whole_meta)
end

-- With the connection that the rest of it comes from.
function M.streamed(self, conn, request)
  self.connection, self.pause = conn, request.limits.body
  self.body_max = request.body_max
  setmetatable(self, streamed_meta)
  conn.lent = true
  return self
end

return M
