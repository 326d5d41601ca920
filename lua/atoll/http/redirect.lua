-- Where a redirect leads, and what of the request goes along (RFC 9110 15.4).
local core = require "atoll.core.http"
local url_of = require "atoll.http.url"

local M = {}

local moved = { [301] = true, [302] = true, [303] = true, [307] = true, [308] = true }

-- What only the origin that it was meant for may see.
local private = {
  authorization = true, cookie = true, ["proxy-authorization"] = true, host = true,
}

-- What tells of a body.
local of_body = {
  ["content-length"] = true, ["content-type"] = true, ["content-encoding"] = true,
  ["content-language"] = true, ["content-location"] = true, expect = true,
}

local own_tls = { name = true, cert = true, key = true }

local function becomes_get(status, method)
  if method == "GET" or method == "HEAD" then return false end
  return status == 303 or (status <= 302 and method == "POST")
end

-- Whether the answer leads on. One that would need a body twice that can be had only
-- once does not.
function M.is_one(request, status, headers)
  if not moved[status] or not headers.location then return false end
  return type(request.body) ~= "function" or becomes_get(status, request.method)
end

local function visit(request)
  return request.method .. " " .. request.url.text
end

-- What was asked for so far.
function M.history(request)
  return { [visit(request)] = true }
end

local function without(fields, names)
  if not fields then return nil end
  local rest = {}
  for name, value in pairs(fields) do
    if type(name) ~= "string" or not names[name:lower()] then rest[name] = value end
  end
  return rest
end

-- One that may be changed.
function M.copy(request)
  local copy = {}
  for name, value in pairs(request) do copy[name] = value end
  copy.shared = false
  return copy
end

-- Turns the request into the one that the response leads to.
function M.follow(request, response, seen)
  if #core.values(response.headers, "location") > 1 then
    return nil, "a redirect to several places", "EPROTO"
  end
  local url, message, code = url_of.resolve(request.url, response.headers.location)
  if not url then return nil, "redirect to " .. message, code end
  if becomes_get(response.status, request.method) then
    request.method, request.body, request.type = "GET", nil, nil
    request.fields = without(request.fields, of_body)
  end
  request.elsewhere = url.origin ~= request.url.origin
  if request.elsewhere then
    request.fields = without(request.fields, private)
  elseif request.url.userinfo and not url.userinfo then
    url = url_of.with_userinfo(url, request.url.userinfo)
  end
  request.url, request.head = url, nil
  local place = visit(request)
  if seen[place] then
    return nil, "the redirects go in circles: " .. url.text, "ELOOP"
  end
  seen[place] = true
  return true
end

-- The options of a request that goes on to another origin: a unix socket, a server's
-- name and a client's certificate were meant for the first.
function M.elsewhere(options)
  if not options.unix and not options.tls then return options end
  local rest = {}
  for name, value in pairs(options) do rest[name] = value end
  rest.unix = nil
  rest.tls = without(options.tls, own_tls)
  return rest
end

return M
