-- Tests of an app without a socket: the request is written as HTTP, the host reads and
-- answers it as if it had come from a client, and the answer is taken apart here.
local core = require "atoll.core.testing"
local form_of = require "atoll.http.form"
local json = require "atoll.json"
local misuse = require "atoll.misuse"
local url_of = require "atoll.http.url"

local M = {}

-- Responses ---------------------------------------------------------------------------

local response_methods = {}
local response_meta = { __index = response_methods, __name = "atoll.testing.response" }

-- All values of a header, in their order.
function response_methods:values(name)
  return self.fields[name:lower()] or {}
end

-- The body as a value; raises when it is not JSON.
function response_methods:json()
  local value, problem = json.decode(self.body)
  if value == nil then
    misuse.raise("the body (status %d) is not JSON: %s", self.status, problem)
  end
  return value
end

local headers_meta = {
  __index = function(headers, name)
    return type(name) == "string" and rawget(headers, name:lower()) or nil
  end,
}

-- name in small letters -> list of values, and the place behind the empty line.
local function parse_fields(bytes, at)
  local fields = {}
  while true do
    local line, next_at = bytes:match("^(.-)\r\n()", at)
    if not line then return nil end
    if line == "" then return fields, next_at end
    local name, value = line:match("^([^%s:]+):[ \t]*(.-)[ \t]*$")
    if not name then return nil end
    name = name:lower()
    fields[name] = fields[name] or {}
    table.insert(fields[name], value)
    at = next_at
  end
end

-- The body of a chunked message, and whether its end came.
local function parse_chunked(bytes, at)
  local parts = {}
  while true do
    local digits, start = bytes:match("^(%x+)[^\r\n]*\r\n()", at)
    if not digits then return table.concat(parts), false end
    local size = tonumber(digits, 16)
    if size == 0 then
      return table.concat(parts), parse_fields(bytes, start) ~= nil
    end
    parts[#parts + 1] = bytes:sub(start, start + size - 1)
    at = start + size + 2
    if bytes:sub(at - 2, at - 1) ~= "\r\n" then return table.concat(parts), false end
  end
end

local function parse_body(bytes, at, fields, bodiless)
  local length = fields["content-length"] and tonumber(fields["content-length"][1])
  if bodiless then return "", at > #bytes end
  if fields["transfer-encoding"] then return parse_chunked(bytes, at) end
  local body = bytes:sub(at)
  return body, not length or #body == length
end

-- The last response in the bytes (what comes before it are 1xx), or nil and a message.
local function parse_response(bytes, method)
  local at = 1
  while true do
    local status, reason, next_at =
      bytes:match("^HTTP/1%.%d (%d%d%d) ([^\r\n]*)\r\n()", at)
    local fields, body_at
    if status then fields, body_at = parse_fields(bytes, next_at) end
    if not fields then
      return nil, ("that is no HTTP response: %q"):format(bytes:sub(at, at + 200))
    end
    status = tonumber(status)
    if status >= 200 then
      local bodiless = method == "HEAD" or status == 204 or status == 304
      local body, complete = parse_body(bytes, body_at, fields, bodiless)
      local headers = {}
      for name, values in pairs(fields) do
        headers[name] = table.concat(values, ", ")
      end
      return setmetatable({
        status = status, reason = reason, fields = fields,
        headers = setmetatable(headers, headers_meta),
        body = body, complete = complete,
      }, response_meta)
    end
    at = body_at
  end
end

-- Requests ----------------------------------------------------------------------------

local known = { headers = true, body = true, json = true, form = true, query = true }

local function body_of(options)
  local body, content_type
  local count = 0
  for _, key in ipairs { "body", "json", "form" } do
    if options[key] ~= nil then count = count + 1 end
  end
  if count > 1 then misuse.raise("a request has one of body, json and form") end
  if options.body ~= nil then
    body = misuse.expect("string", options.body, "the body of a request")
  elseif options.json ~= nil then
    body, content_type = json.encode(options.json), "application/json"
  elseif options.form ~= nil then
    body, content_type = form_of.encode(options.form)
  end
  return body, content_type
end

local function format_request(method, target, options)
  for key in pairs(options) do
    if not known[key] then
      misuse.raise("a request has no option %s; it has headers, body, json, form and "
        .. "query", tostring(key))
    end
  end
  if options.query then
    target = target .. (target:find("?", 1, true) and "&" or "?")
      .. url_of.encode(options.query)
  end
  local body, content_type = body_of(options)
  local lines, given = { ("%s %s HTTP/1.1"):format(method, target) }, {}
  local function add(name, value)
    lines[#lines + 1] = ("%s: %s"):format(name, value)
  end
  for name in pairs(options.headers or {}) do given[name:lower()] = true end
  if not given.host then add("Host", "localhost") end
  for name, values in pairs(options.headers or {}) do
    if type(values) ~= "table" then values = { values } end
    for _, value in ipairs(values) do add(name, value) end
  end
  if content_type and not given["content-type"] then
    add("Content-Type", content_type)
  end
  local framed = given["content-length"] or given["transfer-encoding"]
  if body and not framed then add("Content-Length", #body) end
  if not given.connection then add("Connection", "close") end
  return table.concat(lines, "\r\n") .. "\r\n\r\n" .. (body or "")
end

-- Apps --------------------------------------------------------------------------------

local methods = {}
local metatable = { __index = methods, __name = "atoll.testing.app" }

-- Sends a request and waits for the whole answer. Options: headers (a value may be a
-- list), body, or json, or form (a table), and query (a table). The response has
-- status, reason, headers, body, complete (false when it was cut off), values(name) and
-- json(). nil, message when no response came.
function methods:request(method, target, options)
  misuse.expect("string", method, "the method of a request")
  misuse.expect("string", target, "the target of a request")
  options = options or {}
  misuse.expect("table", options, "the options of a request")
  local bytes, message, code = self:exchange(format_request(method, target, options))
  if not bytes then return nil, message, code end
  return parse_response(bytes, method)
end

-- Sends bytes as they are and returns the bytes that were answered.
function methods:exchange(bytes)
  if not self.handle then misuse.raise("the app is closed") end
  return self.handle:exchange(bytes)
end

function methods:close()
  if self.handle then self.handle:close() end
  self.handle = nil
end

metatable.__close = methods.close

-- Loads the app of a directory; raises what is wrong with it.
function M.load(directory)
  misuse.expect("string", directory, "the directory of testing.load()")
  local handle, message = core.load(directory)
  if not handle then error(message, 0) end
  return setmetatable({ handle = handle }, metatable)
end

-- Hosts ------------------------------------------------------------------------------

local host_methods = {}
local host_meta = { __index = host_methods, __name = "atoll.testing.host" }

-- The next line of the host's log that has the (Lua) pattern, and what it captured; nil
-- when none comes in so many seconds (10).
function host_methods:log_wait(pattern, seconds)
  while true do
    local line = self.child:line(seconds or 10)
    if not line then return nil end
    self.log[#self.log + 1] = line
    if line:find(pattern) then return line, line:match(pattern) end
  end
end

-- Sends "HUP", "TERM", "KILL" ... to the supervisor.
function host_methods:signal(name)
  return self.child:signal(name)
end

-- Reloads and waits for the word that it is done; nil and the log line when it failed.
function host_methods:reload()
  self:signal("HUP")
  local line = self:log_wait("reload")
  if line and line:find("reload: generation %d+ serves") then return true end
  return nil, line
end

-- Drains the host and returns its exit code.
function host_methods:stop()
  self.child:signal("TERM")
  local code = self.child:wait(60)
  while self.child:line(1) do end -- so that nothing is left unread
  return code
end

host_meta.__close = host_methods.stop

-- A real host for the app of the directory, on a port of its own. Options are settings:
-- testing.start("apps/hello", { isolates = 2 }). It has url, port, pid, log.
function M.start(directory, options)
  misuse.expect("string", directory, "the directory of testing.start()")
  local arguments =
    { "serve", directory, "--listen", "127.0.0.1:0", "--access-log", "off" }
  for name, value in pairs(options or {}) do
    arguments[#arguments + 1] = "--set"
    arguments[#arguments + 1] = ("%s=%s"):format(name, tostring(value))
  end
  local child, message = require("atoll.core.spawn")(arguments)
  if not child then error("cannot start a host: " .. message, 2) end
  local self = setmetatable({ child = child, pid = child.pid, log = {} }, host_meta)
  local line, url = self:log_wait("^atoll: serving .* on (http://%S+)", 30)
  if not line then
    error("the host did not start: " .. table.concat(self.log, "\n"), 2)
  end
  self.url, self.port = url, tonumber(url:match(":(%d+)$"))
  return self
end

return M
