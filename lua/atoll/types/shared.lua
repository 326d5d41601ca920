---@meta atoll.shared

---What a shared dictionary may hold. Tables are copied, with all that is in them, and
---without metatables.
---@alias atoll.shared.value string|number|boolean|table

---@alias atoll.shared.key string|integer

---Keys and values that every isolate sees, kept across reloads. Where a function fails it
---gives nil, a message and a code.
---@class atoll.shared
local dictionary = {}

---The value; nil when there is none.
---@param key atoll.shared.key
---@return any value
---@return string? message
---@return string? code
---@nodiscard
function dictionary:get(key) end

---The value and its version, for cas; nil and 0 when there is none.
---@param key atoll.shared.key
---@return any value
---@return integer|string version
---@return string? code
---@nodiscard
function dictionary:get_versioned(key) end

---Puts a value in the place of whatever there was; nil removes it.
---@param key atoll.shared.key
---@param value atoll.shared.value?
---@param ttl? number  seconds; without end when there is none
---@return true?
---@return string? message
---@return string? code
function dictionary:set(key, value, ttl) end

---The same, when there is none: nil, "exists", "EEXIST".
---@param key atoll.shared.key
---@param value atoll.shared.value
---@param ttl? number
---@return true?
---@return string? message
---@return string? code
function dictionary:add(key, value, ttl) end

---The same, when there is one: nil, "not found", "ENOENT".
---@param key atoll.shared.key
---@param value atoll.shared.value?
---@param ttl? number
---@return true?
---@return string? message
---@return string? code
function dictionary:replace(key, value, ttl) end

---Puts a value (nil: none) in the place of the one with this version: nil, "changed
---meanwhile", "ESTALE". Without a ttl the one that it has goes on.
---@param key atoll.shared.key
---@param version integer
---@param value atoll.shared.value?
---@param ttl? number
---@return true?
---@return string? message
---@return string? code
function dictionary:cas(key, version, value, ttl) end

---Puts what fn makes of the value in its place, and gives that. fn is called again when
---somebody else has changed the value meanwhile; it may wait.
---@param key atoll.shared.key
---@param fn fun(value: any): atoll.shared.value?
---@param ttl? number
---@return any value
---@return string? message
---@return string? code
function dictionary:update(key, fn, ttl) end

---Adds n (1) to a number and gives the sum. Where there is none it adds to initial, with
---that ttl, or gives nil, "not found", "ENOENT".
---@param key atoll.shared.key
---@param n? number
---@param initial? number
---@param ttl? number
---@return number?
---@return string? message
---@return string? code
function dictionary:incr(key, n, initial, ttl) end

---Whether there was one.
---@param key atoll.shared.key
---@return boolean?
---@return string? message
---@return string? code
function dictionary:delete(key) end

---The seconds left; math.huge when there is no end.
---@param key atoll.shared.key
---@return number?
---@return string? message
---@return string? code
---@nodiscard
function dictionary:ttl(key) end

---Gives what is there another time to end, or none.
---@param key atoll.shared.key
---@param ttl? number
---@return true?
---@return string? message
---@return string? code
function dictionary:expire(key, ttl) end

---Puts a value at the left end of a list; the length.
---@param key atoll.shared.key
---@param value atoll.shared.value
---@return integer?
---@return string? message
---@return string? code
function dictionary:lpush(key, value) end

---The same at the right end.
---@param key atoll.shared.key
---@param value atoll.shared.value
---@return integer?
---@return string? message
---@return string? code
function dictionary:rpush(key, value) end

---Takes the value at the left end of a list; nil when there is none.
---@param key atoll.shared.key
---@return any value
---@return string? message
---@return string? code
function dictionary:lpop(key) end

---The same at the right end.
---@param key atoll.shared.key
---@return any value
---@return string? message
---@return string? code
function dictionary:rpop(key) end

---The length of a list; 0 when there is none.
---@param key atoll.shared.key
---@return integer?
---@return string? message
---@return string? code
---@nodiscard
function dictionary:llen(key) end

---The keys in no order: all, or those that begin with the prefix, and at most so many.
---@param prefix? string
---@param most? integer
---@return atoll.shared.key[]
---@overload fun(self: atoll.shared, most: integer): atoll.shared.key[]
---@nodiscard
function dictionary:keys(prefix, most) end

---Bytes that are used, of how many; entries, and how many of them had to go for others
---or were removed when their time was over. With a size (a number of bytes, or "8M") it
---is changed first.
---@param size? integer|string
---@return { used: integer, limit: integer, entries: integer, evictions: integer, expirations: integer }
---@nodiscard
function dictionary:capacity() end

---Removes everything.
---@return true?
---@return string? message
---@return string? code
function dictionary:flush() end

return dictionary
