-- Answers with files. What a client names never leads out of the served directory: no
-- dot names, no encoded slashes, and no link to a place outside. Small files are sent
-- whole, big ones in pieces as fast as the client takes them.
local core = require "atoll.core.response"
local host = require "atoll.core.host"
local mime = require "atoll.mime"
local misuse = require "atoll.misuse"

local M = {}

local PIECE = 65536

local base = "."

-- Relative paths that programs give are relative to this directory.
function M.set_directory(directory)
  base = directory
end

local function absolute(path)
  return path:sub(1, 1) == "/" and path or base .. "/" .. path
end

local function response(fields)
  return setmetatable(fields, core.metatable)
end

-- Writes the size bytes that were promised; a file that got shorter is an error, so
-- that nobody takes the part for the whole.
local function send(res, path, size)
  local file <close> = assert(io.open(path, "rb"))
  while size > 0 do
    local piece = file:read(math.min(PIECE, size))
    if not piece then error(path .. " got shorter while it was sent", 0) end
    local ok, message, code = res:write(piece)
    if not ok then return nil, message, code end
    size = size - #piece
  end
  return true
end

-- The answer with the file's bytes, or nil when it is no readable regular file.
local function file_response(path, type)
  if not host.is_file(path) then return nil end
  local file <close> = io.open(path, "rb")
  local size = file and file:seek("end")
  if not size then return nil end
  type = type or mime.of(path)
  if size <= PIECE then
    file:seek("set")
    return response { type = type, body = file:read(PIECE) or "" }
  end
  return response {
    type = type,
    headers = { ["Content-Length"] = tostring(size) },
    run = function(res) return send(res, path, size) end,
  }
end

-- atoll.file(path[, options]): options.type is the Content-Type in place of that of the
-- extension. A missing file is answered with 404. The path is the program's own word;
-- what comes from a client belongs behind app:static.
function M.file(path, options)
  misuse.expect("string", path, "the path of atoll.file()")
  options = options or {}
  misuse.expect("table", options, "the options of atoll.file()")
  return file_response(absolute(path), options.type) or response { status = 404 }
end

-- The file name that a normalised request path stands for below a directory, or nil.
-- In such a path %2F and %25 are what is left of the encoding.
local function relative(path)
  if path:find("%%2[Ff]") or path:find("//", 1, true) then return nil end
  for segment in path:gmatch("/([^/]+)") do
    if segment:sub(1, 1) == "." and segment ~= ".well-known" then return nil end
  end
  return (path:gsub("%%25", "%%"))
end

local function inside(root, path)
  local real = host.real_path(path)
  return real and (real == root or real:sub(1, #root + 1) == root .. "/"
    or root == "/") and real
end

local function to_slash(req)
  local path = req.path:gsub("^/+", "/"):gsub("[^%w%-._~!$&'()*+,;=:@/%%]", function(c)
    return ("%%%02X"):format(c:byte())
  end)
  local query = req.query_string
  return response {
    status = 301,
    headers = { Location = path .. "/" .. (query and "?" .. query or "") },
  }
end

-- A function(req, path) that answers with the file at path below the directory, with
-- the index.html of a directory, with the way to a directory's slash, or with nil.
local function server(directory)
  local root = host.real_path(directory)
  return function(req, path)
    local name = root and relative(path)
    local real = name and inside(root, root .. name)
    if not real then return nil end
    if not host.is_directory(real) then
      if path:sub(-1) == "/" then return nil end
      return file_response(real, mime.of(name))
    end
    local index = inside(root, real .. "/index.html")
    if not index or not host.is_file(index) then return nil end
    if path:sub(-1) ~= "/" then return to_slash(req) end
    return file_response(index)
  end
end

-- For public/: the answer to a request under the prefix that no route matches, or nil.
function M.public(directory, prefix)
  local serve, from = server(directory), #prefix + 1
  return function(req)
    if req.method ~= "GET" and req.method ~= "HEAD" then return nil end
    return serve(req, req.path:sub(from))
  end
end

-- For app:static: a handler for all below the prefix, or nil and a message.
-- missing(req) answers for what is not there.
function M.handler(directory, prefix, missing)
  directory = absolute(directory)
  if not host.is_directory(directory) then
    return nil, directory .. " is no directory"
  end
  local serve = server(directory)
  local _, depth = prefix:gsub("/[^/]+", "")
  local skip = "^" .. ("/[^/]+"):rep(depth)
  return function(req)
    local answer = serve(req, (req.path:gsub(skip, "", 1)))
    if answer then return answer end
    return missing(req)
  end
end

return M
