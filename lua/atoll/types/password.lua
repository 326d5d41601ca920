---@meta atoll.password

---What is kept of passwords, by scrypt, on the threads for what blocks.
---@class atoll.password
local password = {}

---@class atoll.password_cost
---@field ln? integer  15: 2^ln blocks of r * 128 bytes
---@field r? integer  8
---@field p? integer  3: so many times

---A text to keep of the password.
---@async
---@param plain string
---@param cost? atoll.password_cost
---@return string?, string?, string?
---@nodiscard
function password.hash(plain, cost) end

---Whether it is the password; a nil text, of nobody, takes as long and is false.
---@async
---@param plain string
---@param text string?
---@return boolean?, string?, string?
---@nodiscard
function password.verify(plain, text) end

---Whether a new hash would have another cost.
---@param text string
---@param cost? atoll.password_cost
---@return boolean
---@nodiscard
function password.needs_rehash(text, cost) end

return password
