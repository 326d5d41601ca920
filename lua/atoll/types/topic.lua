---@meta atoll.topic

---What is published to a topic reaches all who are subscribed, in every isolate, and all
---of them in the same order.
---@class atoll.topic
local topic = {}

---Gives the value, a copy each, to all who are subscribed now; to how many. Never waits.
---What it may hold: booleans, numbers, strings, tables of such, senders, references.
---@param value any  not nil
---@return integer
function topic:publish(value) end

---Reads what is published from now on. Who has more than so many messages (1000) unread
---loses the oldest.
---after: reads first what the history has behind that id; "": all of it.
---@param capacity? integer
---@param after? string
---@return atoll.subscription
---@nodiscard
function topic:subscribe(capacity, after) end

---Whether it has a history.
---@return boolean
---@nodiscard
function topic:keeps() end

---How many are subscribed now, in all isolates.
---@return integer
---@nodiscard
function topic:subscribers() end

---@return string
---@nodiscard
function topic:name() end

---@class atoll.subscription
---@operator len: integer
local subscription = {}

---The next message, and how many were lost before it; nil, a message and a code after so
---many seconds or when it is closed.
---@async
---@param seconds? number
---@return any value
---@return integer|string missed
---@return string? code
function subscription:receive(seconds) end

---For a generic for; ends when it is closed.
---@return async fun(): any, integer
function subscription:messages() end

---The id of the message received last, for `after`.
---@return string?
---@nodiscard
function subscription:id() end

---Reads no more; who waits is told. Collected ones are closed, too.
function subscription:close() end
