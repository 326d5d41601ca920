---@meta

---What a client asked.
---@class atoll.request
---@field method string
---@field path string  decoded and normalised
---@field target string  as it came
---@field query_string string?  what stands behind the "?", as it came
---@field query table<string, string>  first value of each name
---@field params table<string, string>  of the route's pattern
---@field headers table<string, string>  any case; repeated fields are joined
---@field cookies table<string, string>
---@field host string
---@field scheme "http"|"https"
---@field version "1.0"|"1.1"
---@field remote string  address of the client, with its port where that is known
---@field ip string?  its address alone; nil for unix sockets
---@field peer string  address of who is connected: the client, or a proxy
---@field id string  of this request, also in the logs
---@field route string?  the pattern that matched
---@field ctx table  for the program's own use during this request
---@field session table  its data, where atoll.session is used
---@field last_event_id string?  of pages that take events
---@field trailers table<string, string>?  names in small letters; nil before the body's end
---@field aborted boolean  the client has left before the answer was complete
local request = {}

---The whole body, or nil, a message and a code.
---@async
---@return string?, string?, string?
---@nodiscard
function request:text() end

---At most n bytes of the body; nil at its end.
---@async
---@param n integer
---@return string?, string?, string?
---@nodiscard
function request:read(n) end

---The body in pieces as they come.
---@return async fun(): string?
---@nodiscard
function request:chunks() end

---In place of `handler_timeout`: the answer must begin within so many seconds from now;
---without a number, or with 0, there is no limit.
---@param seconds? number
function request:deadline(seconds) end

---The body as a value; what is not JSON is answered with 400.
---@async
---@return any, string?, string?
---@nodiscard
function request:json() end

---What a form may have, and what becomes of its files.
---@class atoll.form_options
---@field max_parts? integer  form_parts_max unless given
---@field max_size? integer  bytes of a part; form_part_max unless given
---@field max_memory? integer  bytes kept in memory; form_memory_max unless given
---@field to? "memory"|"file"|fun(part: atoll.part, chunk: string?): any, string?, string?

---The fields of a form: first values, and all values; texts, and parts for files. A body
---of another type is answered with 415.
---@async
---@param options? atoll.form_options
---@return table<string, string|atoll.part>? first
---@return table<string, (string|atoll.part)[]>|string all
---@return string? code
---@nodiscard
function request:form(options) end

---The parts of a multipart form as they come, for a loop, which raises when the client
---leaves.
---@param options? atoll.form_options
---@return atoll.parts
---@nodiscard
function request:parts(options) end

---@class atoll.parts
---@overload async fun(): atoll.part?
local parts = {}

---The next part; nil at the end of the form; nil, a message and a code.
---@async
---@return atoll.part?, string?, string?
---@nodiscard
function parts:next() end

---A part of a form. It is to be read before the next one is asked for.
---@class atoll.part
---@field name string
---@field filename string?  without directories; nil when it is no file
---@field filename_sent string?  with them
---@field type string  "text/plain", in small letters
---@field charset string?
---@field headers table<string, string>  names in small letters
---@field size integer  bytes that have come
---@field path string?  of the temporary file that it is in
local part = {}

---All of it.
---@async
---@return string?, string?, string?
---@nodiscard
function part:text() end

---At most n bytes of it, 64 KiB unless given; nil at its end.
---@async
---@param n? integer
---@return string?, string?, string?
---@nodiscard
function part:read(n) end

---It in pieces.
---@return async fun(): string?
---@nodiscard
function part:chunks() end

---Writes it to a file, as a whole or not at all; without a path to one that is removed
---with the request. The path and the number of bytes, or nil, a message and a code.
---@async
---@param path? string
---@return string?, integer|string, string?
function part:save(path) end

---All values of a name in the query; without a name those of every name.
---@param name string
---@return string[]
---@nodiscard
---@overload fun(self: atoll.request): table<string, string[]>
function request:queries(name) end

---Calls fn, in a fiber of its own, when the client leaves before the answer is complete;
---without fn the handler is cancelled then.
---@param fn? fun()
function request:on_abort(fn) end

---Gives the request to another isolate, with what is unread of its body and its
---connection, which comes back when it is answered. Waits until it was taken; nil: it
---is still this one's to answer.
---@async
---@param to atoll.sender|atoll.isolate.handle|string
---@param timeout? number  seconds
---@return true?, string?, string?
function request:transfer(to, timeout) end

---Answers with what a handler would return; for a request that came from another
---isolate. nil, a message and a code when the client has gone.
---@async
---@param ... any
---@return true?, string?, string?
function request:respond(...) end

---The second argument of a handler, for those who prefer it to return values.
---@class atoll.res
---@field status integer
---@field headers atoll.headers  any case
---@field trailers table<string, string|false>  any case; declared if there before the head
---@field request atoll.request
---@field compress boolean  false: sent as it is, whatever the settings say
local res = {}

---Sends a piece of the body, the head first; waits while the client is slow.
---@async
---@param chunk string
---@return true?, string?, string?
function res:write(chunk) end

---Sends now what was written, the head at least, and waits until the kernel has it.
---@async
---@return true?, string?, string?
function res:flush() end

---Ends the body.
---@async
function res:finish() end

---@class atoll.cookie_options
---@field path? string  "/" unless given
---@field domain? string
---@field max_age? integer  seconds
---@field expires? number  as of os.time()
---@field secure? boolean
---@field http_only? boolean  true unless given
---@field same_site? "Strict"|"Lax"|"None"  "Lax" unless given
---@field partitioned? boolean

---Adds a Set-Cookie header; a nil value makes the browser forget the cookie.
---@param name string
---@param value string|number|nil
---@param options? atoll.cookie_options
---@return atoll.res
function res:cookie(name, value, options) end
