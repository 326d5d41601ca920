---@meta atoll.isolate

---@class atoll.isolates
---@field port atoll.port?  in a spawned isolate: what its handle's send and call write to
local isolates = {}

---Runs a module, or a script when its name has a / or ends in .lua, in an isolate of its
---own, which ends when its chunk returns. The chunk gets the argument as `...`.
---@param module string
---@param argument? any  what a message may hold
---@param options? { name: string?, detached: boolean?, inbox: integer?, memory: integer|string? }
---@return atoll.isolate?, string? message, string? code
function isolates.spawn(module, argument, options) end

---The name of this isolate's thread.
---@return string?
function isolates.name() end

---A spawned isolate. It ends with the state that spawned it, unless it is detached.
---@class atoll.isolate
local isolate = {}

---Waits for the end and gives what the chunk returned; nil, the error with its traceback
---and a code when it failed.
---@async
---@param seconds? number
---@return any ...
function isolate:join(seconds) end

---Ends it at its next wait, or in the middle of a computation that goes on for long;
---false when it had ended.
---@return boolean
function isolate:kill() end

---From its next wait on none of its fibers runs until it is resumed.
---@return atoll.isolate
function isolate:pause() end

---@return atoll.isolate
function isolate:resume() end

---fn is called once, in a task: true and the results, or false and the error.
---@param fn fun(ok: boolean, ...)
---@return atoll.isolate
function isolate:on_exit(fn) end

---@async
---@param value any
---@param seconds? number
---@return true?, string? message, string? code
function isolate:send(value, seconds) end

---@async
---@param value any
---@param seconds? number
---@return any answer, string? message, string? code
function isolate:call(value, seconds) end

---The sender of its inbox, which may be sent on.
---@return atoll.sender
function isolate:sender() end

---@return "running"|"done"|"failed"
function isolate:status() end

return isolates
