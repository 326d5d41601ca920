---@meta

---A WebSocket.
---@class atoll.websocket
---@field protocol string?  the subprotocol that was agreed on
---@field code integer?  why it has ended; 1005 when the peer named no code, 1006 when it was cut off
---@field reason string?
---@field req atoll.request?  as what it began; its body and its answer are over
---@field missed integer  messages of topics that did not reach it, see subscribe
---@field resumed boolean  it came from the code before a reload
---@field state any  what that code's on("reload") gave for it
local websocket = {}

---The next message and its kind; nil when the socket has ended; nil, a message and a
---code when it does not come in time.
---@async
---@param timeout? number  seconds
---@return string?, ("text"|"binary"|string)?, string?
function websocket:receive(timeout) end

---All messages until the end, for a loop.
---@return async fun(): string?, ("text"|"binary")?
function websocket:messages() end

---Sends a message; waits while the peer is slow to read.
---@async
---@param message string|atoll.buffer
---@param kind? "text"|"binary"  "text" has to be UTF-8
---@return true?, string?, string?
function websocket:send(message, kind) end

---@async
---@param data? string  at most 125 bytes
---@return true?, string?, string?
function websocket:ping(data) end

---Begins to close it; no further message comes or goes.
---@param code? integer  1000
---@param reason? string  at most 123 bytes
---@return true
function websocket:close(code, reason) end

---Gives it to another isolate, with all that has come and all that is unsent; this
---handle raises then. What nobody takes stays.
---@async
---@param to atoll.sender|atoll.isolate|string
---@param timeout? number
---@return true?, string?, string?
function websocket:transfer(to, timeout) end

---What is published to the topic goes to the peer from now on, without a handler being
---asked: strings as they are (text; binary if they are not UTF-8), other values as JSON.
---Who has more than `capacity` (1000) messages to come is closed with 1013, or, lagging
---= "skip", misses the oldest. Twice is once.
---@param topic string|atoll.topic
---@param options? { binary?: boolean, capacity?: integer, lagging?: "close"|"skip" }
---@return true?
---@return string? message
---@return string? code
function websocket:subscribe(topic, options) end

---Whether it was subscribed.
---@param topic string|atoll.topic
---@return boolean
function websocket:unsubscribe(topic) end

---Calls fn when new code serves, between two messages: what it returns goes with the
---socket to the new code's handler as ws.state; false closes it with 1012; nil leaves it
---here.
---@param event "reload"
---@param fn fun(ws: atoll.websocket): any
function websocket:on(event, fn) end
