-- The forms that browsers send: urlencoded ones, and multipart ones part by part as
-- they come. What breaks a limit or is malformed is answered by the host; a client that
-- leaves in the middle is nil, message, code.
local host = require "atoll.core.host"
local misuse = require "atoll.misuse"
local multipart = require "atoll.core.multipart"
local part_of = require "atoll.form.part"
local response = require "atoll.response"

local M = {}

local CHUNK = 65536  -- bytes that are asked for at a time
local INLINE = 65536 -- a larger file of req:form() goes to disk
local ANY = 0x7fffffff

local limits = host.forms

-- request -> what is known of its form.
local states = setmetatable({}, { __mode = "k" })

local function type_of(req)
  local type = req.headers["content-type"] or ""
  return (type:match("^[ \t]*([^;, \t]*)") or ""):lower(), type
end

local function refuse(status, ...)
  response.halt(status, string.format(...) .. "\n")
end

-- The reader --------------------------------------------------------------------------

local state_methods = {}
local state_meta = { __index = state_methods, __name = "atoll.form" }

-- The next event of the form and what belongs to it; nil, message, code.
function state_methods:step()
  while true do
    local event, value, reason = self.reader:next()
    if event == "bad" then refuse(value, "the form has %s", reason) end
    if event then return event, value end
    local chunk, message, code = self.req:read(CHUNK)
    if chunk then
      self.reader:push(chunk)
    elseif message then
      return nil, message, code
    else
      refuse(400, "the form breaks off")
    end
  end
end

-- The next bytes of the part that is being read; nil at its end; nil, message, code.
function state_methods:data(part)
  local event, value, code = self:step()
  if event == "data" then
    part.size = part.size + #value
    if part.size > self.part_max then
      refuse(413, "a part of the form is larger than %d bytes", self.part_max)
    end
    return value
  end
  if event then return nil end
  return nil, value, code
end

-- So many bytes more are kept in memory.
function state_methods:keep(bytes)
  self.memory = self.memory + bytes
  if self.memory > self.memory_max then
    refuse(413, "the form has more than %d bytes to keep in memory", self.memory_max)
  end
end

-- The path of a file that is not there yet.
local function temporary()
  local directory = limits.directory
  if directory == "" then directory = os.getenv "TMPDIR" or "/tmp" end
  return directory .. "/atoll-" .. part_of.unique()
end

-- The next part, without what it holds; nil at the end; nil, message, code.
function state_methods:next()
  if self.part then
    local ok, message, code = part_of.skip(self.part)
    if not ok then return nil, message, code end
    self.part = nil
  end
  if self.ended then return nil end
  local event, value, code = self:step()
  if event == "end" then
    self.ended = true
    return nil
  end
  if event ~= "part" then return nil, value, code end
  self.count = self.count + 1
  if self.count > self.parts_max then
    refuse(413, "the form has more than %d parts", self.parts_max)
  end
  self.part = part_of.new(self, value)
  return self.part
end

-- The state of the request's multipart form, which another call may have begun.
function M.state(req)
  local state = states[req]
  if state and state.reader then return state end
  local type, whole = type_of(req)
  if state then misuse.raise("the form has been read as a whole, by req:form()") end
  if type ~= "multipart/form-data" then
    response.halt(415, "the body is not a form in parts\n",
      { Accept = "multipart/form-data" })
  end
  local reader, message = multipart.new(whole, ANY, limits.head_max, limits.name_max)
  if not reader then refuse(400, "the form's boundary is %s", message) end
  state = setmetatable({
    req = req,
    reader = reader,
    part = nil,
    ended = false,
    count = 0,
    memory = 0, -- bytes kept in it
    parts_max = limits.parts_max,
    part_max = limits.part_max,
    memory_max = limits.memory_max,
    values = nil, -- of req:form()
    temporary = temporary,
  }, state_meta)
  states[req] = state
  return state
end

-- Options -----------------------------------------------------------------------------

local known = { max_parts = "parts_max", max_size = "part_max",
  max_memory = "memory_max" }

local function whole_number(value, name)
  local n = math.tointeger(value)
  if not n or n < 0 then
    misuse.raise("%s of a form is a whole number, not %s", name, tostring(value))
  end
  return n
end

local function check_options(options, name)
  if options == nil then return {} end
  misuse.expect("table", options, ("the options of req:%s()"):format(name))
  for key in pairs(options) do
    if key ~= "to" and not known[key] then
      misuse.raise("req:%s() has no option %s; it has max_memory, max_parts, max_size "
        .. "and to", name, tostring(key))
    end
  end
  local to = options.to
  if to ~= nil and to ~= "memory" and to ~= "file" and type(to) ~= "function" then
    misuse.raise("req:%s(): to is \"memory\", \"file\" or a function", name)
  end
  return options
end

local function apply(state, options)
  for option, field in pairs(known) do
    if options[option] ~= nil then
      state[field] = whole_number(options[option], option)
    end
  end
end

-- Parts -------------------------------------------------------------------------------

local function give(part, to)
  while true do
    local piece, message, code = part_of.piece(part)
    if not piece and message then return nil, message, code end
    local ok, problem, problem_code = to(part, piece)
    if ok == nil and problem ~= nil then return nil, problem, problem_code end
    if not piece then return true end
  end
end

-- Takes all of the part to where it belongs.
local function take(part, to)
  if not part.filename or to == "memory" then return part_of.hold(part) end
  if to == "file" then return part_of.spool(part) end
  return give(part, to)
end

local parts_methods = {}
local parts_meta = { __index = parts_methods, __name = "atoll.parts" }

-- The next part; nil at the end of the form; nil, message, code.
function parts_methods:next()
  local part, message, code = self.state:next()
  if not part then return nil, message, code end
  if self.to then
    local ok
    ok, message, code = take(part, self.to)
    if not ok then return nil, message, code end
  end
  return part
end

-- For a loop, which has no place for an error: half a form must not look whole.
function parts_meta:__call()
  local part, message = self:next()
  if not part and message then
    error(("the form could not be read to its end: %s"):format(message), 2)
  end
  return part
end

function M.parts(req, options)
  options = check_options(options, "parts")
  local state = M.state(req)
  apply(state, options)
  return setmetatable({ state = state, to = options.to }, parts_meta)
end

-- Whole forms -------------------------------------------------------------------------

local function add(first, all, name, value)
  local values = all[name]
  if values then
    values[#values + 1] = value
  else
    first[name], all[name] = value, { value }
  end
end

-- A file that is small stays in memory, others go to disk.
local function store(state, part, to)
  if to or not part.filename then return take(part, to) end
  return part_of.hold(part, math.min(INLINE, state.memory_max - state.memory))
end

local function read_parts(req, options)
  local state = M.state(req)
  if state.values then return state.values end
  apply(state, options)
  local first, all = {}, {}
  while true do
    local part, message, code = state:next()
    if not part then
      if message then return nil, message, code end
      break
    end
    local ok
    ok, message, code = store(state, part, options.to)
    if not ok then return nil, message, code end
    if not part.filename then
      add(first, all, part.name, part:text())
    elseif part.filename ~= "" or part.size > 0 then -- else no file was chosen
      add(first, all, part.name, part)
    end
  end
  state.values = { first, all }
  return state.values
end

local function check_charset(whole)
  local charset = whole:lower():match(";[ \t]*charset=\"?([^;\" \t]*)")
  if charset and charset ~= "utf-8" and charset ~= "utf8" and charset ~= "us-ascii" then
    refuse(415, "the form is in %s; it is read in UTF-8", charset)
  end
end

local function read_pairs(req, options, whole)
  local state = states[req]
  if state then return state.values end
  local most, count = limits.memory_max, limits.parts_max
  if options.max_memory then most = whole_number(options.max_memory, "max_memory") end
  if options.max_parts then count = whole_number(options.max_parts, "max_parts") end
  check_charset(whole)
  if (tonumber(req.headers["content-length"]) or 0) > most then
    refuse(413, "the form has more than %d bytes", most)
  end
  local text, message, code = req:text()
  if not text then return nil, message, code end
  if #text > most then refuse(413, "the form has more than %d bytes", most) end
  local list = host.parse_query(text, count)
  if not list then refuse(413, "the form has more than %d fields", count) end
  local first, all = {}, {}
  for i = 1, #list, 2 do
    if #list[i] > limits.name_max then refuse(413, "the form has a name too long") end
    add(first, all, list[i], list[i + 1])
  end
  states[req] = { values = { first, all } }
  return states[req].values
end

-- name -> first value, and name -> list of values: texts, and parts for files.
function M.form(req, options)
  options = check_options(options, "form")
  local type, whole = type_of(req)
  local values, message, code
  if type == "multipart/form-data" then
    values, message, code = read_parts(req, options)
  elseif type == "application/x-www-form-urlencoded" then
    values, message, code = read_pairs(req, options, whole)
  else
    response.halt(415, "the body is not a form\n",
      { Accept = "application/x-www-form-urlencoded, multipart/form-data" })
  end
  if not values then return nil, message, code end
  return values[1], values[2]
end

return M
