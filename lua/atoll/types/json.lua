---@meta atoll.json

---JSON (RFC 8259). Called, it makes a response.
---@class atoll.json
---@field null lightuserdata
---@overload fun(value: any, status?: integer, headers?: atoll.headers): atoll.response
local json = {}

---@param value any
---@return string
---@nodiscard
function json.encode(value) end

---@param text string
---@return any
---@nodiscard
function json.decode(text) end

---Marks a table as an array, so that it is sent as one even when it is empty.
---@generic T: table
---@param list T
---@return T
function json.array(list) end

return json
