-- Where sessions are kept. A store opens what the cookie says and gives the bytes that
-- were put there; it closes them again and gives the cookie's new text.
local crypto = require "atoll.core.crypto"
local misuse = require "atoll.misuse"

local M = {}

local ID = 32 -- random bytes
local PAIR_MAX = 4096 -- bytes of a cookie's name and value that browsers take

-- In the cookie itself, sealed --------------------------------------------------------

-- open(text) -> bytes, id; close(bytes, id, ttl) -> text, id, or nil when there is no
-- such id any more; has(id); drop(id) -> false when it knows that there was none.
function M.cookie(name, secrets)
  local context = "atoll session " .. name
  local store = {}

  function store.open(text)
    local sealed = crypto.unbase64url(text)
    if not sealed then return nil end
    for _, secret in ipairs(secrets) do
      local bytes, message, code = crypto.open(secret, context, sealed)
      if bytes then return bytes end
      if code ~= "ESYNTAX" then error("a session cannot be opened: " .. message, 0) end
    end
    return nil
  end

  function store.close(bytes)
    local sealed, message = crypto.seal(secrets[1], context, bytes)
    if not sealed then error("a session cannot be sealed: " .. message, 0) end
    local text = crypto.base64url(sealed)
    if #text + #name > PAIR_MAX then
      error(("the session has %d bytes, its cookie would have %d, and browsers take "
        .. "%d: keep less in it, or set store = \"shared\""):format(#bytes,
        #text + #name, PAIR_MAX), 0)
    end
    return text
  end

  function store.has() return true end

  function store.drop() end

  return store
end

-- Elsewhere, under a key that the cookie is not made of -------------------------------

local function key_of(id)
  return crypto.hex(crypto.digest("sha256", "atoll session " .. id))
end

-- What a store says when it fails ends the request.
local function check(what, value, message, ...)
  if value == nil and message ~= nil then
    error(("a session cannot be %s: %s"):format(what, tostring(message)), 0)
  end
  return value, message, ...
end

-- keeper: load(key) -> bytes or nil, save(key, bytes, ttl), delete(key), and perhaps
-- replace, as save, but false where there is nothing to replace; each may wait, and
-- fails with nil, message; a delete may say false when there was nothing. What another
-- request has ended is not kept again: without replace it is looked for first.
function M.keeper(keeper)
  local store = {}

  function store.has(id)
    return check("loaded", keeper.load(key_of(id))) ~= nil
  end

  local function replace(id, bytes, ttl)
    if keeper.replace then
      return check("saved", keeper.replace(key_of(id), bytes, ttl)) ~= false
    end
    if not store.has(id) then return false end
    check("saved", keeper.save(key_of(id), bytes, ttl))
    return true
  end

  function store.open(id)
    if #id ~= 43 or id:find("[^%w_-]") then return nil end
    local bytes = check("loaded", keeper.load(key_of(id)))
    if bytes ~= nil and type(bytes) ~= "string" then
      error("a session's load() gave a " .. type(bytes) .. ", not the bytes", 0)
    end
    return bytes, id
  end

  function store.close(bytes, id, ttl)
    if id then
      if not replace(id, bytes, ttl) then return nil end
    else
      id = crypto.base64url(crypto.random(ID))
      check("saved", keeper.save(key_of(id), bytes, ttl))
    end
    return id, id
  end

  function store.drop(id)
    return check("deleted", keeper.delete(key_of(id)))
  end

  return store
end

function M.shared(name)
  local dictionary = require "atoll.shared" ("session:" .. name)
  return M.keeper {
    load = function(key) return dictionary:get(key) end,
    save = function(key, bytes, ttl) return dictionary:set(key, bytes, ttl) end,
    delete = function(key) return dictionary:delete(key) end,
    replace = function(key, bytes, ttl)
      local ok, message, code = dictionary:replace(key, bytes, ttl)
      if code == "ENOENT" then return false end
      return ok, message, code
    end,
  }
end

function M.check(keeper)
  for _, name in ipairs { "load", "save", "delete" } do
    if type(keeper[name]) ~= "function" then
      misuse.raise("session: a store has the functions load, save and delete; %s is %s",
        name, type(keeper[name]))
    end
  end
  if keeper.replace ~= nil and type(keeper.replace) ~= "function" then
    misuse.raise("session: a store's replace is a function, not %s",
      type(keeper.replace))
  end
  return M.keeper {
    load = keeper.load, save = keeper.save, delete = keeper.delete,
    replace = keeper.replace,
  }
end

return M
