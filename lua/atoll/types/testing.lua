---@meta atoll.testing

---Tests of an app without a socket.
---@class atoll.testing
local testing = {}

---Loads the app of a directory; raises what is wrong with it.
---@param directory string
---@return atoll.testing.app
---@nodiscard
function testing.load(directory) end

---@class atoll.testing.app
local app = {}

---@class atoll.testing.options
---@field headers? atoll.headers
---@field body? string
---@field json? any
---@field form? table<string, any>  a file is { filename =, type =, body = }
---@field query? table<string, any>

---@async
---@param method string
---@param target string
---@param options? atoll.testing.options
---@return atoll.testing.response
function app:request(method, target, options) end

---Sends bytes as they are and gives those that were answered.
---@async
---@param bytes string
---@return string
function app:exchange(bytes) end

function app:close() end

---@class atoll.testing.response
---@field status integer
---@field reason string
---@field headers table<string, string>  any case; repeated fields are joined
---@field body string
---@field complete boolean  false when the answer was cut off
local response = {}

---All values of a header.
---@param name string
---@return string[]
function response:values(name) end

---@return any
function response:json() end

---@class atoll.testing.host
---@field url string
---@field port integer
---@field pid integer  the supervisor's
---@field log string[]  what it has logged so far
local host = {}

---The next line of the log with the pattern, and its captures; nil in time.
---@param pattern string
---@param seconds? number
---@return string? line
---@return string? ...
function host:log_wait(pattern, seconds) end

---@param name "HUP"|"TERM"|"INT"|"QUIT"|"KILL"|"USR1"|"TTIN"|"TTOU"
function host:signal(name) end

---Reloads and waits until it is done.
---@return true? ok
---@return string? line  of the log, when it failed
function host:reload() end

---Drains the host.
---@return integer code
function host:stop() end

---A real host for the app of a directory, on a port of its own; options are settings.
---@param directory string
---@param options? table<string, any>
---@return atoll.testing.host
function testing.start(directory, options) end

return testing
