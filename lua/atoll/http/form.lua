-- Forms as they are sent: urlencoded, or in parts when a file is among the values.
local crypto = require "atoll.core.crypto"
local misuse = require "atoll.misuse"
local url_of = require "atoll.http.url"

local M = {}

local escapes = { ["\""] = "%22", ["\r"] = "%0D", ["\n"] = "%0A" } -- as HTML has it

local function quoted(text)
  return "\"" .. tostring(text):gsub("[\"\r\n]", escapes) .. "\""
end

local function is_file(value)
  return type(value) == "table" and value.filename ~= nil
end

local function list_of(value)
  if type(value) == "table" and not is_file(value) then return value end
  return { value }
end

local function has_files(values)
  for _, value in pairs(values) do
    for _, each in ipairs(list_of(value)) do
      if is_file(each) then return true end
    end
  end
  return false
end

local function part(name, value)
  local head = "Content-Disposition: form-data; name=" .. quoted(name)
  if not is_file(value) then return head .. "\r\n\r\n" .. tostring(value) end
  local type = value.type or "application/octet-stream"
  misuse.expect("string", type, "the type of a file")
  misuse.expect("string", value.body, "the body of a file")
  if type:find "%c" then misuse.raise("the type of a file has a control byte") end
  return ("%s; filename=%s\r\nContent-Type: %s\r\n\r\n%s"):format(head,
    quoted(value.filename), type, value.body)
end

-- name -> value, list of values, or file { filename =, type =, body = }: the body and
-- its type. In the order of the names.
function M.encode(values)
  if not has_files(values) then
    return url_of.encode(values), "application/x-www-form-urlencoded"
  end
  local names, pieces = {}, {}
  local boundary = "atoll-" .. crypto.hex(crypto.random(16))
  for name in pairs(values) do names[#names + 1] = name end
  table.sort(names, function(a, b) return tostring(a) < tostring(b) end)
  for _, name in ipairs(names) do
    for _, value in ipairs(list_of(values[name])) do
      pieces[#pieces + 1] = ("--%s\r\n%s\r\n"):format(boundary, part(name, value))
    end
  end
  pieces[#pieces + 1] = "--" .. boundary .. "--\r\n"
  return table.concat(pieces), "multipart/form-data; boundary=" .. boundary
end

return M
