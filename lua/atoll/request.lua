-- The part of a request's methods that is written in Lua; the host looks methods up in
-- the table that this module adds to.
local host = require "atoll.core.host"
local json = require "atoll.json"
local misuse = require "atoll.misuse"
local request = require "atoll.core.request"
local response = require "atoll.response"

-- name -> first value, name -> all values; of the flat list of names and values.
local function gather(pairs_list)
  local first, all = {}, {}
  for i = 1, #pairs_list, 2 do
    local name, value = pairs_list[i], pairs_list[i + 1]
    local values = all[name]
    if values then
      values[#values + 1] = value
    else
      first[name], all[name] = value, { value }
    end
  end
  return first, all
end

-- The host calls these two when query and cookies are first read, and keeps the result.
function request.make_query(raw)
  return (gather(host.parse_query(raw or "")))
end

request.make_cookies = host.parse_cookies

-- All values of a name in the query, in their order; without a name all values of all
-- names.
function request:queries(name)
  local _, all = gather(host.parse_query(self.query_string or ""))
  if name == nil then return all end
  misuse.expect("string", name, "the name given to req:queries()")
  return all[name] or {}
end

-- The body as a value. What is not JSON is answered with 400.
function request:json()
  local text, message, code = self:text()
  if not text then return nil, message, code end
  local value, problem = json.decode(text)
  if value == nil then
    response.halt(400, ("the body is not JSON: %s\n"):format(problem))
  end
  return value
end

-- The fields of a form: name -> first value, and name -> list of values.
function request:form(options)
  return require("atoll.form").form(self, options)
end

-- The parts of a multipart form as they come, for a loop or for parts:next().
function request:parts(options)
  return require("atoll.form").parts(self, options)
end

-- req.session: the host calls this each time.
function request.make_session(req)
  return require("atoll.session").of(req).data
end

return request
