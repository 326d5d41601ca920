---@meta atoll.session

---What is remembered of a client from one request to the next.
---@class atoll.session
---@field data table  the program's; req.session is the same
---@field is_new boolean  no request before has brought it
---@field born integer  seconds since 1970 when it began, or was last rotated
local session = {}

---The same content under another name, so that whoever knew it before is out.
function session:rotate() end

---Nothing is remembered any more.
function session:destroy() end

---With a value: keeps it until it has been asked for once. Without: gives it.
---@param name string
---@param value? any
---@return any
function session:flash(name, value) end

---Keeps it now; needed only before the first res:write().
---@async
function session:save() end

---Where sessions are kept: bytes under a key, for some seconds. A failure is nil and a
---message.
---@class atoll.session_store
---@field load fun(key: string): string?, string?
---@field save fun(key: string, bytes: string, ttl: integer): any, string?
---@field delete fun(key: string): any, string?  may say false where nothing is kept
---@field replace? fun(key: string, bytes: string, ttl: integer): any, string?  as save, but false where nothing is kept

---@class atoll.session_options
---@field secret? string|string[]  32 bytes or more; the newest first
---@field store? "cookie"|"shared"|atoll.session_store
---@field name? string  of the cookie, "session" unless given
---@field max_age? integer  seconds, two weeks unless given
---@field idle? integer  seconds without a request
---@field secure? boolean|"auto"
---@field same_site? "Strict"|"Lax"|"None"
---@field path? string
---@field domain? string

---@overload fun(options: atoll.session_options): atoll.middleware
local M = {}

---The session of a request.
---@param req atoll.request
---@return atoll.session
---@nodiscard
function M.of(req) end

return M
