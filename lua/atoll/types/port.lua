---@meta atoll.port

---Where messages arrive. Only the state that made it reads it.
---@class atoll.port
---@operator len: integer
local port = {}

---The next message, and a note by which a call is answered; nil, a message and a code
---after so many seconds or when the port is closed.
---@async
---@param seconds? number
---@return any value
---@return atoll.message|string note
---@return string? code
function port:receive(seconds) end

---For a generic for; ends when the port closes, or at a message that is nil.
---@return async fun(): any, atoll.message
function port:messages() end

---@return atoll.sender
---@nodiscard
function port:sender() end

---Nothing arrives any more; who waits is told.
function port:close() end

---A way to a port; may be sent in messages. Equal when the port is the same.
---@class atoll.sender
local sender = {}

---Waits while the port's queue is full. What it may hold: nil, booleans, numbers,
---strings, tables of such, senders; sockets, listeners and requests, which move; and
---references to listeners.
---@async
---@param value any
---@param seconds? number
---@return true?, string? message, string? code
function sender:send(value, seconds) end

---Waits for the answer.
---@async
---@param value any
---@param seconds? number
---@return any answer, string? message, string? code
function sender:call(value, seconds) end

---@return boolean
function sender:closed() end

---@class atoll.message
local message = {}

---Answers a call, once.
---@param value any
---@return true?, string? message, string? code
function message:reply(value) end

---Whether somebody waits for an answer.
---@return boolean
function message:wanted() end
