---@meta atoll.csrf

---@class atoll.csrf_options
---@field field? string  "csrf_token" unless given
---@field header? string  "X-CSRF-Token" unless given
---@field origins? string|string[]  of others whose pages may send, "https://example.org"
---@field exempt? string|string[]  prefixes of paths

---@overload fun(options?: atoll.csrf_options): atoll.middleware
local csrf = {}

---The token of the request's session, another text each time.
---@param req atoll.request
---@return string
---@nodiscard
function csrf.token(req) end

---The same as a hidden input; in a multipart form it is the first field.
---@param req atoll.request
---@return string
---@nodiscard
function csrf.field(req) end

return csrf
