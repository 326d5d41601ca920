-- Requests that another site makes a browser send are refused: those that change
-- something come from a page of this one, and bring the token that only it knows.
local crypto = require "atoll.core.crypto"
local form = require "atoll.form"
local misuse = require "atoll.misuse"
local pattern = require "atoll.pattern"
local response = require "atoll.response"
local session = require "atoll.session"

local M = {}

local BYTES = 32
local FIELD, HEADER = "csrf_token", "X-CSRF-Token"

local safe = { GET = true, HEAD = true, OPTIONS = true, TRACE = true }

-- What app:use(csrf{...}) of this request was given: the names of field and header.
local configs = setmetatable({}, { __mode = "k" })

-- The token of the session, another text each time: what is compressed together with a
-- secret can be made to tell it (BREACH).
function M.token(req)
  local s = session.of(req)
  s.token = s.token or crypto.random(BYTES)
  local mask = crypto.random(BYTES)
  return crypto.base64url(mask .. crypto.mask(mask, s.token))
end

-- The token as a field of a form; in a multipart one it is the first.
function M.field(req)
  local config = configs[req]
  return ("<input type=\"hidden\" name=\"%s\" value=\"%s\">"):format(
    config and config.field or FIELD, M.token(req))
end

local function good(req, text)
  local token = session.of(req).token
  local bytes = token and type(text) == "string" and crypto.unbase64url(text)
  if not bytes or #bytes ~= 2 * BYTES then return false end
  return crypto.equal(crypto.mask(bytes:sub(1, BYTES), bytes:sub(BYTES + 1)), token)
end

-- The token that came with the request, or nil.
local function sent(req, config)
  local text = req.headers[config.header]
  if text then return text end
  local type = (req.headers["content-type"] or ""):match("^[ \t]*([^;, \t]*)"):lower()
  if type == "application/x-www-form-urlencoded" then
    local fields = form.form(req)
    return fields and fields[config.field]
  end
  if type == "multipart/form-data" then
    -- The first part; whoever reads the form goes on behind it.
    local part = form.state(req):next()
    if part and part.name == config.field then return (part:text()) end
  end
  return nil
end

local default_port = { http = ":80", https = ":443" }

-- "example.org:8080": host and port of an origin, without the scheme's own port.
local function authority(origin)
  local scheme, place = origin:lower():match("^(%a+)://([^/]+)$")
  local port = default_port[scheme]
  if not port then return nil end
  if place:sub(-#port) == port then place = place:sub(1, -#port - 1) end
  return place
end

local function is_own(req, origin)
  local place, own = authority(origin), (req.host or ""):lower()
  if not place then return false end
  return place == own or place .. ":443" == own or place .. ":80" == own
end

-- Why the request is refused, or nil.
local function problem(req, config)
  local origin, site = req.headers.origin, req.headers["sec-fetch-site"]
  if origin and config.origins[origin:lower()] then -- known to the app
    origin, site = nil, nil
  end
  if origin and not is_own(req, origin) then
    return ("it comes from a page of %s"):format(origin)
  end
  if site and site ~= "same-origin" and site ~= "none" then
    return "it comes from a page of another site"
  end
  local text = sent(req, config)
  if not text then
    return ("it has neither the field %s, which is the first of a multipart form, nor "
      .. "the header %s"):format(config.field, config.header)
  end
  if not good(req, text) then
    return "its token is not that of the session; load the page again"
  end
end

local function check_list(value, name, example)
  if value == nil then return {} end
  if type(value) == "string" then value = { value } end
  if type(value) ~= "table" then
    misuse.raise("csrf: %s is a text such as %q, or a list of them, not %s", name,
      example, tostring(value))
  end
  for _, text in ipairs(value) do
    misuse.expect("string", text, ("csrf: one of %s"):format(name))
  end
  return value
end

local function configure(options)
  options = options or {}
  misuse.expect("table", options, "what csrf() is given")
  for key in pairs(options) do
    if key ~= "exempt" and key ~= "field" and key ~= "header" and key ~= "origins" then
      misuse.raise("csrf: there is no option %s; there are exempt, field, header and "
        .. "origins", tostring(key))
    end
  end
  local config = {
    field = misuse.expect("string", options.field or FIELD, "csrf: field"),
    header = misuse.expect("string", options.header or HEADER, "csrf: header"),
    origins = {},
    exempt = {},
  }
  if config.field:find("[^%w_-]") then
    misuse.raise("csrf: field is a word of letters, digits, _ and -")
  end
  local origins = check_list(options.origins, "origins", "https://example.org")
  for _, origin in ipairs(origins) do
    if not authority(origin) then
      misuse.raise("csrf: %q is no origin such as \"https://example.org\"", origin)
    end
    config.origins[origin:lower()] = true
  end
  for i, prefix in ipairs(check_list(options.exempt, "exempt", "/hooks")) do
    local why = pattern.prefix_problem(prefix)
    if why then misuse.raise("csrf: exempt %q: %s", prefix, why) end
    config.exempt[i] = pattern.under(prefix)
  end
  return config
end

local function is_exempt(req, config)
  for _, under in ipairs(config.exempt) do
    if under(req.path) then return true end
  end
  return false
end

local function middleware(_, options)
  local config = configure(options)
  return function(req, next)
    configs[req] = config
    if not safe[req.method] and not is_exempt(req, config) then
      local why = problem(req, config)
      if why then response.halt(403, "the request was refused: " .. why .. "\n") end
    end
    return next(req)
  end
end

return setmetatable(M, { __call = middleware })
