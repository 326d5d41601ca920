-- Which proxy a URL goes through: the one that the caller names, or the environment's:
-- http_proxy (small letters only: HTTP_PROXY may have come from a client, since CGI
-- makes it of a Proxy header), https_proxy, all_proxy and no_proxy, read once.
local misuse = require "atoll.misuse"
local url_of = require "atoll.http.url"

local M = {}

local settings

local function read_environment()
  local function get(name)
    local value = os.getenv(name) or os.getenv(name:upper())
    return value ~= "" and value or nil
  end
  local http = os.getenv "http_proxy"
  return {
    http = http ~= "" and http or get "all_proxy",
    https = get "https_proxy" or get "all_proxy",
    except = get "no_proxy",
  }
end

-- "*", "name", ".domain", "name:port": the name itself and all below it.
local function is_excepted(list, url)
  local host = url.host:gsub("^%[(.*)%]$", "%1")
  for item in list:lower():gmatch("[^,%s]+") do
    if item == "*" then return true end
    local name, port = item:match("^%[?([^%]]-)%]?:(%d+)$")
    if not name or name:find(":", 1, true) and not item:find("^%[") then
      name, port = item:gsub("^%[(.*)%]$", "%1"), nil
    end
    name = name:gsub("^%*?%.", "")
    if (not port or tonumber(port) == url.port)
      and (host == name or host:sub(-#name - 1) == "." .. name) then
      return true
    end
  end
  return false
end

local function parse(text)
  if not text:find("://", 1, true) then text = "http://" .. text end
  local proxy, message, code = url_of.parse(text)
  if not proxy then return nil, "proxy " .. message, code end
  if proxy.scheme ~= "http" then
    return nil, "only proxies that are spoken to in http are supported",
      "EPROTONOSUPPORT"
  end
  return proxy
end

-- given is the request's option: nil for the environment's, false for none. The proxy
-- as a parsed URL, false for none, or nil, message, code.
function M.of(url, given)
  if given == false then return false end
  if given ~= nil then return parse(misuse.expect("string", given, "the proxy")) end
  settings = settings or read_environment()
  local text = settings[url.scheme]
  if not text or settings.except and is_excepted(settings.except, url) then
    return false
  end
  return parse(text)
end

-- For specs: what the environment says now.
function M.reread()
  settings = nil
end

return M
