-- Answers with files: what app:static, public/ and atoll.file are called with becomes a
-- place of atoll.core.files, which finds files and sends them.
local core = require "atoll.core.files"
local host = require "atoll.core.host"
local misuse = require "atoll.misuse"
local response = require "atoll.core.response"

local M = {}

local base = "."
local own -- the place of files that the program names itself

-- Relative paths that programs give are relative to this directory, as it is now: a
-- link to it may be switched to a new one before a reload.
function M.set_directory(directory)
  base = host.real_path(directory) or directory
end

local function absolute(path)
  return path:sub(1, 1) == "/" and path or base .. "/" .. path
end

-- Options -----------------------------------------------------------------------------

local function fail(what, ...)
  misuse.raise("%s of %s", string.format(...), what)
end

local YEAR = 31536000

-- The value of Cache-Control: seconds, "immutable", or any text.
local function cache_of(value, what)
  if value == nil or value == false then return nil end
  if value == "immutable" then return ("max-age=%d, immutable"):format(YEAR) end
  if math.type(value) and value >= 0 and value < math.huge then
    return ("max-age=%d"):format(math.floor(value))
  end
  if type(value) == "string" and not value:find("%c") then return value end
  fail(what, "cache = %s: it is a number of seconds, \"immutable\" or a text",
    tostring(value))
end

-- The names of a directory's index, each with a zero byte behind it.
local function index_of(value, what)
  if value == false then return "" end
  if value == nil then value = "index.html" end
  if type(value) == "string" then value = { value } end
  if type(value) ~= "table" then fail(what, "index = %s: no name", tostring(value)) end
  for _, name in ipairs(value) do
    if type(name) ~= "string" or name == "" or name:find("[/%z]") then
      fail(what, "index = %s: no name of a file", tostring(name))
    end
  end
  return table.concat(value, "\0") .. (#value > 0 and "\0" or "")
end

local links = { inside = true, none = true, anywhere = true }

local function links_of(value, what)
  if value == nil or links[value] then return value end
  fail(what, "symlinks = %s: it is \"inside\", \"none\" or \"anywhere\"",
    tostring(value))
end

local function flag_of(value, default, name, what)
  if value == nil then return default end
  if type(value) == "boolean" then return value end
  fail(what, "%s = %s: it is true or false", name, tostring(value))
end

local function check_keys(options, known, what)
  misuse.expect("table", options, "the options of " .. what)
  for key in pairs(options) do
    if not known[key] then
      local names = {}
      for name in pairs(known) do names[#names + 1] = name end
      table.sort(names)
      misuse.raise("%s has no option %s; it has %s", what, tostring(key),
        table.concat(names, ", "))
    end
  end
end

local static_options = {
  cache = true, headers = true, index = true, listing = true, precompressed = true,
  symlinks = true,
}

-- Of app:static: cache (Cache-Control), index (a name, a list of names, false), listing
-- (false), symlinks, precompressed (true) and headers, a table.
function M.check_options(options, what)
  options = options or {}
  check_keys(options, static_options, what)
  if options.headers ~= nil then
    misuse.expect("table", options.headers, "headers of " .. what)
  end
  return {
    links = links_of(options.symlinks, what),
    twins = flag_of(options.precompressed, true, "precompressed", what),
    index = index_of(options.index, what), cache = cache_of(options.cache, what),
    headers = options.headers,
    listing = flag_of(options.listing, false, "listing", what),
  }
end

local function place(root, o)
  return core.place(root, o.links, o.twins, o.index, o.cache, o.headers)
end

-- Directories -------------------------------------------------------------------------

local function to_slash(req)
  local path = req.path:gsub("^/+", "/"):gsub("[^%w%-._~!$&'()*+,;=:@/%%]", function(c)
    return ("%%%02X"):format(c:byte())
  end)
  local query = req.query_string
  return setmetatable({
    status = 301,
    headers = { Location = path .. "/" .. (query and "?" .. query or "") },
  }, response.metatable)
end

-- A function(req) that answers with what lies in the directory under the path behind
-- the prefix, with the way to a directory's slash, or with nil.
local function server(directory, prefix, options)
  local here = place(directory, options)
  local _, depth = prefix:gsub("/[^/]+", "")
  local find, skip = core.find, "^" .. ("/[^/]+"):rep(depth)
  return function(req)
    local answer, has_index = find(here, req, depth)
    if answer == false then
      return (has_index or options.listing) and to_slash(req) or nil
    elseif answer == true then
      if not options.listing then return nil end
      local path = req.path:gsub(skip, "", 1):gsub("%%25", "%%")
      return require("atoll.listing").answer(req, directory, path,
        options.links or core.links())
    end
    return answer
  end
end

-- For public/: the answer to a request under the prefix that no route matches, or nil.
function M.public(directory, prefix)
  local serve = server(absolute(directory), prefix, M.check_options(nil, "public/"))
  return function(req)
    if req.method ~= "GET" and req.method ~= "HEAD" then return nil end
    return serve(req)
  end
end

-- For app:static: a handler for all below the prefix, or nil and a message.
-- missing(req) answers for what is not there.
function M.handler(directory, prefix, missing, options)
  directory = absolute(directory):gsub("(.)/+$", "%1")
  if not host.is_directory(directory) then
    return nil, directory .. " is no directory"
  end
  local serve = server(directory, prefix, options)
  return function(req)
    local answer = serve(req)
    if answer then return answer end
    return missing(req)
  end
end

-- Single files ------------------------------------------------------------------------

-- "attachment" with a name that old and new browsers understand (RFC 6266, RFC 8187).
local function disposition(name)
  local plain = name:gsub("[%c\127]", "_")
  local ascii = plain:gsub("[\128-\255]+", "_")
  local value = ("attachment; filename=\"%s\""):format((ascii:gsub("[\\\"]", "\\%0")))
  if ascii == plain and not plain:find("%%") or not utf8.len(plain) then
    return value
  end
  return value .. "; filename*=UTF-8''" .. plain:gsub("[^%w!#$&+%-.^_`|~]", function(c)
    return ("%%%02X"):format(c:byte())
  end)
end

local file_options = {
  cache = true, name = true, precompressed = true, root = true, symlinks = true,
  type = true,
}

local function file_place(options)
  if options.root == nil then
    if next(options) == nil or not options.cache and not options.precompressed then
      own = own or core.place("", nil, false, "", nil)
      return own
    end
    return core.place("", nil, options.precompressed == true, "",
      cache_of(options.cache, "atoll.file()"))
  end
  local root = absolute(misuse.expect("string", options.root, "root of atoll.file()"))
  return core.place(root, links_of(options.symlinks, "atoll.file()"),
    options.precompressed == true, "", cache_of(options.cache, "atoll.file()"))
end

-- atoll.file(path[, options]): type is the Content-Type in place of that of the
-- extension, name makes it a download of that name, cache is Cache-Control. A missing
-- file is answered with 404. The path is the program's own word; one that comes from a
-- client needs root, the directory that it must not lead out of.
function M.file(path, options)
  misuse.expect("string", path, "the path of atoll.file()")
  options = options or {}
  check_keys(options, file_options, "atoll.file()")
  local headers
  if options.type ~= nil then
    misuse.expect("string", options.type, "type of atoll.file()")
  end
  if options.name ~= nil then
    misuse.expect("string", options.name, "name of atoll.file()")
    headers = { ["Content-Disposition"] = disposition(options.name) }
  end
  if options.root ~= nil then
    if path:sub(1, 1) ~= "/" then path = "/" .. path end
  else
    path = absolute(path)
  end
  return setmetatable({
    type = options.type, headers = headers, file = core.file(file_place(options), path),
  }, response.metatable)
end

return M
