-- Passwords are kept as what scrypt makes of them (RFC 7914), as texts in the common
-- format: $scrypt$ln=15,r=8,p=3$salt$key. The work is done on the threads for what
-- blocks.
local core = require "atoll.core.password"
local crypto = require "atoll.core.crypto"
local misuse = require "atoll.misuse"

local M = {}

local SALT = 16

-- 32 MB, three times, which is a quarter of a second.
local COST = { ln = 15, r = 8, p = 3 }

local function cost_of(options, name)
  if options == nil then return COST end
  misuse.expect("table", options, ("the options of %s()"):format(name))
  local cost = {}
  for key, value in pairs(COST) do cost[key] = value end
  for key, value in pairs(options) do
    if not COST[key] or not math.tointeger(value) then
      misuse.raise("%s(): the options are the whole numbers ln, r and p, not %s", name,
        tostring(key))
    end
    cost[key] = math.tointeger(value)
  end
  if not core.possible(cost.ln, cost.r, cost.p) then
    misuse.raise("%s(): ln=%d, r=%d, p=%d is no cost of scrypt, or takes more than "
      .. "256 MB or 64 turns", name, cost.ln, cost.r, cost.p)
  end
  return cost
end

local function run(password, salt, cost)
  return core.scrypt(password, salt, cost.ln, cost.r, cost.p)
end

-- The cost, the salt and the key of a text; nil when it is none.
local function parse(text)
  local ln, r, p, salt, key =
    text:match("^%$scrypt%$ln=(%d%d?),r=(%d%d?%d?%d?),p=(%d%d?)%$([%w+/]+)%$([%w+/]+)$")
  if not ln then return nil end
  salt, key = crypto.unbase64(salt), crypto.unbase64(key)
  ln, r, p = math.tointeger(ln), math.tointeger(r), math.tointeger(p)
  if not salt or #salt > 64 or not key or #key ~= 32 then return nil end
  if not core.possible(ln, r, p) then return nil end
  return { ln = ln, r = r, p = p }, salt, key
end

-- What is to be kept of the password; nil, message, code.
function M.hash(password, options)
  misuse.expect("string", password, "the password given to password.hash()")
  local cost = cost_of(options, "password.hash")
  local salt = crypto.random(SALT)
  local key, message, code = run(password, salt, cost)
  if not key then return nil, message, code end
  return ("$scrypt$ln=%d,r=%d,p=%d$%s$%s"):format(cost.ln, cost.r, cost.p,
    crypto.base64(salt, true), crypto.base64(key, true))
end

-- Whether it is the password; nil, message, code when text is none of hash. A nil text,
-- of a user that there is not, is false and takes as long.
function M.verify(password, text)
  misuse.expect("string", password, "the password given to password.verify()")
  local cost, salt, key = COST, ("\0"):rep(SALT), nil
  if text ~= nil then
    misuse.expect("string", text, "the text given to password.verify()")
    cost, salt, key = parse(text)
    if not cost then return nil, "that is no scrypt hash", "ESYNTAX" end
  end
  local made, message, code = run(password, salt, cost)
  if not made then return nil, message, code end
  return key ~= nil and crypto.equal(made, key)
end

-- Whether a new hash would cost more, or otherwise, than this one.
function M.needs_rehash(text, options)
  misuse.expect("string", text, "the text given to password.needs_rehash()")
  local wanted = cost_of(options, "password.needs_rehash")
  local cost = parse(text)
  return not cost or cost.ln ~= wanted.ln or cost.r ~= wanted.r or cost.p ~= wanted.p
end

return M
