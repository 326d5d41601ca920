-- The answers that are more than a text or a table: each function here gives a response
-- object, which a handler returns. The host reads its status, type, headers, body and
-- run; it calls run(res) once the head is sent.
local cookie = require "atoll.cookie"
local core = require "atoll.core.response"
local json = require "atoll.json"
local misuse = require "atoll.misuse"

local M = {}

local TEXT, HTML = "text/plain; charset=utf-8", "text/html; charset=utf-8"

local function check(status, headers, name)
  if status ~= nil
    and not (math.type(status) == "integer" and status >= 200 and status <= 599) then
    misuse.raise("the status of atoll.%s() is a whole number from 200 to 599, not %s",
      name, tostring(status))
  end
  if headers ~= nil then
    misuse.expect("table", headers, ("the headers of atoll.%s()"):format(name))
  end
end

local function new(name, type, body, status, headers)
  check(status, headers, name)
  return setmetatable({ status = status, type = type, body = body, headers = headers },
    core.metatable)
end

local function text_of(value, name)
  if type(value) == "number" then return tostring(value) end
  return misuse.expect("string", value, ("the text of atoll.%s()"):format(name))
end

function M.text(s, status, headers)
  return new("text", TEXT, text_of(s, "text"), status, headers)
end

function M.html(s, status, headers)
  return new("html", HTML, text_of(s, "html"), status, headers)
end

function M.json(value, status, headers)
  return new("json", "application/json", json.encode(value), status, headers)
end

-- atoll.json: the table holds encode, decode, null and array; called it answers.
M.values = json
local json_meta = getmetatable(json) or {}
function json_meta.__call(_, ...)
  return M.json(...)
end
setmetatable(json, json_meta)

-- A view of the app as a page.
function M.render(name, values, status, headers)
  check(status, headers, "render")
  return new("render", HTML, require("atoll.template").render(name, values), status,
    headers)
end

local redirects = {
  [301] = true, [302] = true, [303] = true, [307] = true, [308] = true,
}

-- The way to another URL: 302, or 301, 303, 307, 308. Bytes that a URL cannot hold are
-- percent-encoded.
function M.redirect(url, status)
  misuse.expect("string", url, "the URL of atoll.redirect()")
  if url == "" or url:find("%c") then
    misuse.raise("atoll.redirect(%q): that is no URL", url)
  end
  if status ~= nil and not redirects[status] then
    misuse.raise("the status of atoll.redirect() is 301, 302, 303, 307 or 308, not %s",
      tostring(status))
  end
  local location = url:gsub("[^!-~]", function(c)
    return ("%%%02X"):format(c:byte())
  end)
  return new("redirect", nil, nil, status or 302, { Location = location })
end

-- A body that fn(write, res) writes piece by piece. write(chunk) waits while the client
-- is slow and gives true, or nil, message, code when the client has gone. trailers:
-- name -> text, or a function that is called at the end for the text.
function M.stream(fn, status, headers, trailers)
  misuse.expect("function", fn, "the argument of atoll.stream()")
  local answer = new("stream", TEXT, nil, status, headers)
  local late = {}
  if trailers ~= nil then
    misuse.expect("table", trailers, "the trailers of atoll.stream()")
    answer.trailers = {}
    for name, value in pairs(trailers) do
      if type(value) == "function" then late[name], value = value, false end
      answer.trailers[name] = value
    end
  end
  answer.run = function(res)
    fn(function(chunk) return res:write(chunk) end, res)
    for name, value in pairs(late) do res.trailers[name] = value() end
  end
  return answer
end

-- What is to be done before the handler is ended so; sessions set it.
M.before_halt = nil

-- Ends the handler at once with these return values, from any depth.
function M.halt(...)
  local first = ...
  if type(first) == "number" then check(first, nil, "halt") end
  if M.before_halt then M.before_halt() end
  error(setmetatable({ n = select("#", ...), ... }, core.halt_metatable), 0)
end

-- res:cookie(name, value[, options]): atoll.cookie says what the options are. A nil
-- value makes the browser forget the cookie.
function core.cookie(res, name, value, options)
  local line = cookie.format(name, value, options)
  local present = res.headers["Set-Cookie"]
  if present == nil then
    res.headers["Set-Cookie"] = { line }
  elseif type(present) == "table" then
    present[#present + 1] = line
  else
    res.headers["Set-Cookie"] = { present, line }
  end
  return res
end

return M
