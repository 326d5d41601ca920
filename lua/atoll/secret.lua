-- Secrets and what is made with them: random tokens, and values that somebody else
-- keeps for us and cannot change.
local crypto = require "atoll.core.crypto"
local misuse = require "atoll.misuse"

local M = {}

local LEAST = 32 -- bytes of a secret
local encodings = {
  bytes = function(bytes) return bytes end,
  hex = crypto.hex,
  base64url = crypto.base64url,
}

-- n random bytes, as they are or as "hex" or "base64url".
function M.random(n, encoding)
  n = math.tointeger(n)
  if not n or n < 0 or n > 1048576 then
    misuse.raise("atoll.random() takes a number of bytes, at most 1048576")
  end
  local encode = encodings[encoding == nil and "bytes" or encoding]
  if not encode then
    misuse.raise("atoll.random(): the second argument is \"hex\" or \"base64url\"")
  end
  return encode(crypto.random(n))
end

-- The list of secrets, the newest first; raises unless each is long enough.
function M.list(secrets, what)
  if type(secrets) == "string" then secrets = { secrets } end
  if type(secrets) ~= "table" or #secrets == 0 then
    misuse.raise("%s needs a secret, or a list of them with the newest first: %d bytes "
      .. "or more that nobody can guess, such as `openssl rand -hex 32` prints, out of "
      .. "a file or the environment", what, LEAST)
  end
  local list = {}
  for i, secret in ipairs(secrets) do
    if type(secret) ~= "string" then
      misuse.raise("%s: a secret is a %s, not a string", what, type(secret))
    end
    if #secret < LEAST then
      misuse.raise("%s: a secret has %d bytes and needs %d or more; `openssl rand -hex "
        .. "32` prints one", what, #secret, LEAST)
    end
    list[i] = secret
  end
  return list
end

local function proof(value, secret, purpose)
  local key = crypto.hmac("sha256", secret, "atoll sign 1 " .. purpose)
  return crypto.base64url(crypto.hmac("sha256", key, value))
end

local function check_purpose(purpose, name)
  if purpose == nil then return "" end
  return misuse.expect("string", purpose, ("the purpose given to %s()"):format(name))
end

-- The value with a proof behind it that it comes from somebody who has the secret.
-- What is signed for one purpose is none for another.
function M.sign(value, secret, purpose)
  misuse.expect("string", value, "the value given to atoll.sign()")
  local newest = M.list(secret, "atoll.sign()")[1]
  purpose = check_purpose(purpose, "atoll.sign")
  return value .. "." .. proof(value, newest, purpose)
end

-- The value of what sign gave for the same purpose and any of the secrets; else nil.
function M.verify(signed, secrets, purpose)
  secrets = M.list(secrets, "atoll.verify()")
  purpose = check_purpose(purpose, "atoll.verify")
  if type(signed) ~= "string" then return nil end
  local value, mac = signed:sub(1, -45), signed:sub(-43)
  if #signed < 44 or signed:sub(-44, -44) ~= "." then return nil end
  for _, secret in ipairs(secrets) do
    if crypto.equal(mac, proof(value, secret, purpose)) then return value end
  end
  return nil
end

return M
