-- A part of a multipart form. What it holds is still on its way (then state is the form
-- that it is read from), or in memory, or in a file that is removed with the request.
local crypto = require "atoll.core.crypto"
local fs = require "atoll.fs"
local misuse = require "atoll.misuse"
local multipart = require "atoll.core.multipart"

local M = {}

local CHUNK = 65536

-- Keys of a part that are nobody else's.
local STATE, OVER, HELD, DATA, AT, FILE = {}, {}, {}, {}, {}, {}

local methods = {}
local metatable = { __index = methods, __name = "atoll.part" }

-- A word that no other file is called.
function M.unique()
  return crypto.hex(crypto.random(12))
end

-- fields: name, filename, filename_sent, type, charset, headers.
function M.new(state, fields)
  fields.size = 0     -- bytes that have come
  fields.path = nil   -- of a temporary file
  fields[STATE] = state
  fields[OVER] = false -- true when all of it has come, or "skipped"
  fields[HELD] = false -- and DATA is that
  fields[DATA] = ""    -- bytes that have come, of which those from AT on were not read
  fields[AT] = 1
  fields[FILE] = nil   -- open, for reading
  return setmetatable(fields, metatable)
end

function metatable:__tostring()
  return ("part %q"):format(self.name)
end

-- The next bytes off the form; nil at the end of the part; nil, message, code.
function M.piece(part)
  if part[OVER] == "skipped" then
    misuse.raise("the part %q was skipped when the next one was asked for", part.name)
  end
  if part[OVER] then return nil end
  local piece, message, code = part[STATE]:data(part)
  if not piece and not message then part[OVER] = true end
  return piece, message, code
end

-- Drops what was not read of it: true; nil, message, code.
function M.skip(part)
  if part[OVER] then return true end
  repeat
    local piece, message, code = M.piece(part)
    if not piece and message then return nil, message, code end
  until not piece
  part[OVER] = "skipped"
  return true
end

-- Reading -----------------------------------------------------------------------------

local function read_file(part, n)
  local message, code
  if not part[FILE] then
    part[FILE], message, code = fs.open(part.path)
    if not part[FILE] then return nil, message, code end
  end
  return part[FILE]:read("some", n)
end

local function read(part, n)
  if part.path then return read_file(part, n) end
  local data, at = part[DATA], part[AT]
  if at > #data then
    local piece, message, code = M.piece(part)
    if not piece then return nil, message, code end
    if #piece <= n then return piece end
    data, at = piece, 1
    part[DATA] = data
  end
  part[AT] = at + n
  if at == 1 and n >= #data then return data end
  return data:sub(at, at + n - 1)
end

-- At most n bytes of it (64 KiB); nil at its end; nil, message, code.
function methods:read(n)
  n = n == nil and CHUNK or math.tointeger(n)
  if not n or n < 1 then misuse.raise("part:read() takes a number of bytes above 0") end
  return read(self, n)
end

-- For a loop: it raises when the client leaves, as req:chunks() does.
function methods:chunks()
  return function()
    local piece, message = read(self, CHUNK)
    if not piece and message then
      error(("part %q could not be read to its end: %s"):format(self.name, message), 2)
    end
    return piece
  end
end

-- All of it as one text, or what is left when some has been read.
function methods:text()
  if self[HELD] then return self[DATA] end
  local state = self[STATE]
  if self.path then return fs.read(self.path, state.memory_max) end
  local pieces, some = {}, self.size > 0
  while true do
    local piece, message, code = read(self, CHUNK)
    if not piece then
      if message then return nil, message, code end
      break
    end
    state:keep(#piece)
    pieces[#pieces + 1] = piece
  end
  local text = table.concat(pieces)
  if not some then self[HELD], self[DATA], self[AT] = true, text, 1 end
  return text
end

-- Keeping -----------------------------------------------------------------------------

-- Removes what could not be finished; the request would do it, too.
local function give_up(part, path, message, code)
  fs.remove(path)
  multipart.keep(part[STATE].req, path)
  return nil, message, code
end

-- Writes what is left of it to a new file, which is removed with the request: its size;
-- nil, message, code, and then there is no file. first is what has been read of it.
local function write_to(part, path, first)
  multipart.litter(part[STATE].req, path)
  local file, message, code = fs.open(path, "wx", { mode = "0600" })
  if not file then return give_up(part, path, message, code) end
  local _ <close> = file
  local piece, size, ok = first, 0, nil
  while true do
    if not piece then
      piece, message, code = read(part, CHUNK)
      if not piece then break end
    end
    size = size + #piece
    ok, message, code = file:write(piece)
    if not ok then break end
    piece = nil
  end
  if not message then ok, message, code = file:close() end
  if not ok or message then return give_up(part, path, message, code) end
  return size
end

-- Puts it into a temporary file: true; nil, message, code.
function M.spool(part, first)
  local path = part[STATE].temporary()
  local size, message, code = write_to(part, path, first)
  if not size then return nil, message, code end
  part.path = path
  return true
end

-- Keeps it in memory: true; nil, message, code. With most, in a temporary file when it
-- has more bytes than that.
function M.hold(part, most)
  local pieces, size, state = {}, 0, part[STATE]
  while true do
    local piece, message, code = M.piece(part)
    if not piece then
      if message then return nil, message, code end
      break
    end
    pieces[#pieces + 1] = piece
    size = size + #piece
    if most and size > most then return M.spool(part, table.concat(pieces)) end
    if not most then state:keep(#piece) end
  end
  if most then state:keep(size) end
  part[HELD], part[DATA], part[AT] = true, table.concat(pieces), 1
  return true
end

-- Puts a file that is there already into its place.
local function move(part, path)
  local ok, message, code = fs.rename(part.path, path)
  if not ok and code == "EXDEV" then
    ok, message, code = fs.copy(part.path, path)
    if not ok then return nil, message, code end
    return path, part.size -- the other one goes with the request
  end
  if not ok then return nil, message, code end
  multipart.keep(part[STATE].req, part.path)
  part.path = path
  return path, part.size
end

-- Writes it to a file: the path, and how many bytes that has; nil, message, code. The
-- file is there as a whole or not at all: until then it has another name beside that
-- one. Without a path it is a temporary one.
function methods:save(path)
  if path == nil then
    if not self.path then
      local ok, message, code = M.spool(self)
      if not ok then return nil, message, code end
    end
    return self.path, self.size
  end
  misuse.expect("string", path, "the path of part:save()")
  if self.path then return move(self, path) end
  local beside = path .. "." .. M.unique()
  local size, message, code = write_to(self, beside)
  if not size then return nil, message, code end
  local ok
  ok, message, code = fs.rename(beside, path)
  if not ok then return give_up(self, beside, message, code) end
  multipart.keep(self[STATE].req, beside)
  return path, size
end

return M
