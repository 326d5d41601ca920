---@meta atoll

---What `require "atoll"` returns.
---@class atoll
---@field version string
---@field http atoll.http
---@field websocket atoll.websocket.client
---@field json atoll.json
---@field fs atoll.fs
---@field log atoll.log
---@field net atoll.net
---@field password atoll.password
---@field stdin atoll.net.socket
---@field stdout atoll.net.socket
---@field stderr atoll.net.socket
local atoll = {}

---What a handler may return first: a text, a table (sent as JSON), a response, a
---function that gives the body in pieces, or a status.
---@alias atoll.answer
---| string
---| table
---| atoll.response
---| fun(): string?
---| integer

---Names of header fields; a list makes a field of each value.
---@alias atoll.headers table<string, string|string[]>

---@alias atoll.handler fun(req: atoll.request, res: atoll.res): atoll.answer?, any, atoll.headers?

---@alias atoll.middleware fun(req: atoll.request, next: fun(req?: atoll.request): ..., res: atoll.res): ...

---An answer that a handler returns.
---@class atoll.response
---@field status integer?
---@field type string?
---@field headers atoll.headers?
---@field compress boolean?  false: sent as it is, whatever the settings say

---A new app.
---@return atoll.app
---@nodiscard
function atoll.app() end

---A plain text.
---@param s string|number
---@param status? integer
---@param headers? atoll.headers
---@return atoll.response
---@nodiscard
function atoll.text(s, status, headers) end

---An HTML page. Nothing is escaped.
---@param s string|number
---@param status? integer
---@param headers? atoll.headers
---@return atoll.response
---@nodiscard
function atoll.html(s, status, headers) end

---The way to another URL; status is 302, or 301, 303, 307, 308.
---@param url string
---@param status? 301|302|303|307|308
---@return atoll.response
---@nodiscard
function atoll.redirect(url, status) end

---n random bytes, as they are or as a text.
---@param n integer
---@param encoding? "hex"|"base64url"
---@return string
---@nodiscard
function atoll.random(n, encoding) end

---The value with a proof behind it that it comes from who has the secret.
---@param value string
---@param secret string|string[]  32 bytes or more; the newest first
---@param purpose? string
---@return string
---@nodiscard
function atoll.sign(value, secret, purpose) end

---The value of what atoll.sign gave for the same purpose and one of the secrets; else
---nil.
---@param signed string?
---@param secrets string|string[]
---@param purpose? string
---@return string?
---@nodiscard
function atoll.verify(signed, secrets, purpose) end

---The value of a Set-Cookie header, as res:cookie() sends it.
---@param name string
---@param value string|number|nil
---@param options? atoll.cookie_options
---@return string
---@nodiscard
function atoll.cookie(name, value, options) end

---@class atoll.file_options
---@field type? string  Content-Type in place of that of the name
---@field name? string  makes it a download of that name
---@field cache? number|"immutable"|string|false  Cache-Control: seconds, a year, or a text
---@field root? string  the directory that the path must not lead out of
---@field symlinks? "inside"|"none"|"anywhere"  below root
---@field precompressed? boolean  send path.br, path.zst, path.gz in its place; false

---A file, relative to the app's directory; 404 when it is not there. A path that comes
---from a client needs the option root.
---@param path string
---@param options? atoll.file_options
---@return atoll.response
---@nodiscard
function atoll.file(path, options) end

---A body that fn writes piece by piece. write waits while the client is slow; nil, a
---message and a code tell that it has gone. Trailers are texts, or functions that are
---called at the end.
---@param fn fun(write: (async fun(chunk: string): true?, string?, string?), res: atoll.res)
---@param status? integer
---@param headers? atoll.headers
---@param trailers? table<string, string|fun(): string>
---@return atoll.response
---@nodiscard
function atoll.stream(fn, status, headers, trailers) end

---A view of the app as a page.
---@param name string
---@param values? table<string, any>
---@param status? integer
---@param headers? atoll.headers
---@return atoll.response
---@nodiscard
function atoll.render(name, values, status, headers) end

---@class atoll.event
---@field data? any    text, or what JSON can hold
---@field event? string
---@field id? string|number
---@field retry? number  seconds

---@class atoll.events_options
---@field heartbeat? number  seconds without an event after which a comment is sent: 15; 0 for none
---@field retry? number  seconds after which a page that was cut off comes back

---@class atoll.subscribe_options
---@field event? string  the events' name
---@field filter? fun(value: any): boolean
---@field map? fun(value: any): string|atoll.event?
---@field capacity? integer  events that may be unsent: 100
---@field missed? false|fun(count: integer): string|atoll.event
---@field replay? boolean  the history also for pages that come for the first time

---Called, it sends an event: true, or nil, a message and a code when the client has gone.
---@class atoll.send
---@field last_event_id string?
---@operator call(string|atoll.event): true?
local send = {}

---A comment, which no page sees.
---@async
---@param text string
---@return true?, string?, string?
function send:comment(text) end

---Sends what is published to the topic, until the client has gone.
---@async
---@param topic string|atoll.topic
---@param options? atoll.subscribe_options
---@return nil, string?, string?
function send:subscribe(topic, options) end

---Server-sent events. fn is cancelled when the client leaves.
---@param fn fun(send: atoll.send, req: atoll.request)
---@param options? atoll.events_options
---@return atoll.response
---@nodiscard
function atoll.events(fn, options) end

---Ends the handler at once, from any depth, with what it would return.
---@param answer atoll.answer
---@param body? any
---@param headers? atoll.headers
function atoll.halt(answer, body, headers) end

---Ends the program; for scripts of `atoll run`.
---@param code? integer|boolean
function atoll.exit(code) end

---@alias atoll.signalname "INT"|"TERM"|"HUP"|"QUIT"|"USR1"|"USR2"|"CONT"|"WINCH"

---@class atoll.listener.signals
---@overload async fun(): atoll.signalname?
local listener = {}

---@async
---@param seconds? number
---@return atoll.signalname?, string?, string?
function listener:wait(seconds) end

function listener:close() end

---The same.
function listener:cancel() end

---Waits for signals: `for name in atoll.signals { "HUP", "TERM" } do`.
---@param names atoll.signalname|atoll.signalname[]
---@return atoll.listener.signals
function atoll.signals(names) end

---Calls fn in a task each time that one of the signals comes.
---@param names atoll.signalname|atoll.signalname[]
---@param fn fun(name: atoll.signalname)
---@return atoll.listener.signals
function atoll.signal(names, fn) end

---A dictionary that every isolate sees, kept across reloads: the same for the same name.
---The capacity (a number of bytes, or "8M") counts when it is opened first.
---@param name string
---@param options? { capacity: integer|string }
---@return atoll.shared
---@nodiscard
function atoll.shared(name, options) end

---Waits; only this fiber does.
---@async
---@param seconds number
function atoll.sleep(seconds) end

---Seconds on a clock that never jumps.
---@return number
---@nodiscard
function atoll.now() end

---Seconds for which, at most, events have waited for this isolate in the last ten
---seconds or so.
---@return number
---@nodiscard
function atoll.lag() end

---Where this app's fibers have run for `slice_warn` or longer without a wait: how often,
---and for how many seconds at most; the 64 places that are met most, in no order.
---@return { place: string, count: integer, longest: number }[]
---@nodiscard
function atoll.slow() end

---The memory that this isolate's Lua state has in use, and its limit, if it has one.
---@return integer bytes, integer? limit
function atoll.memory() end

---@class atoll.task
local task = {}

---Waits for the end and gives the results; nil, a message and a code when the task
---failed, or when it has not ended after so many seconds.
---@async
---@param seconds? number
---@return any ...
function task:join(seconds) end

---Ends it at its next wait; false when it had ended.
---@return boolean
function task:cancel() end

---@return string
---@nodiscard
function task:status() end

---Its failure is not logged, whether or not somebody joins it.
---@return atoll.task
function task:quiet() end

---Runs fn in a fiber of its own.
---@param fn fun(...)
---@param ... any
---@return atoll.task
function atoll.spawn(fn, ...) end

---Runs fn; nil, a message and "ETIMEDOUT" when it takes longer.
---@async
---@param seconds number
---@param fn fun(...): ...
---@param ... any
---@return any ...
function atoll.timeout(seconds, fn, ...) end

---Runs a function that blocks in a thread and a Lua state of its own. The locals that it
---uses, its arguments and its results are copied: nil, booleans, numbers, strings, tables
---of such; modules go by name. What it returns; or nil, message, code, traceback.
---@async
---@param fn fun(...): ...
---@param ... any
---@return any ...
function atoll.blocking(fn, ...) end

---Isolates that answer calls to the functions of a module: `size` (2) of them, spawned
---when they are needed; up to `queue` (1000) calls wait in line. A call that takes longer
---than `timeout` seconds ends with its worker.
---@param options { module: string, size?: integer, queue?: integer, timeout?: number, name?: string, memory?: integer|string }
---@return atoll.pool
---@nodiscard
function atoll.pool(options) end

---@class atoll.pool
local pool = {}

---What the module's function of that name returns; or nil, a message and a code: its
---error with the traceback and "ELUA", "ENOMEM", "ETIMEDOUT", "EAGAIN" when the queue is full.
---@async
---@param name string
---@param ... any
---@return any ...
function pool:call(name, ...) end

---@return { workers: integer, busy: integer, waiting: integer }
function pool:status() end

---No more calls; those under way end first.
function pool:close() end

---Bytes that do not change and that isolates share: a message carries a reference. What
---is given stands in it one behind the other. As a body, and in socket:write, it is not
---copied either.
---@param ... string|number|atoll.buffer
---@return atoll.buffer
---@nodiscard
function atoll.buffer(...) end

---tostring() gives all of it; .. makes a string; == compares the bytes.
---@class atoll.buffer
---@operator len: integer
---@operator concat(string|atoll.buffer): string
local buffer = {}

---As string.sub.
---@param i integer
---@param j? integer
---@return string
---@nodiscard
function buffer:sub(i, j) end

---A new port whose queue holds so many messages (1000).
---@param capacity? integer
---@return atoll.port
---@nodiscard
function atoll.port(capacity) end

---Gives a port a name that all isolates of the host know. The name is free again when
---the port closes, or with nil for the sender.
---@param name string
---@param sender atoll.sender|atoll.isolate|nil
---@return true?
---@return string? message  "taken", "EEXIST"
---@return string? code
function atoll.register(name, sender) end

---A sender of the open port that has this name.
---@param name string
---@return atoll.sender?
---@nodiscard
function atoll.lookup(name) end

---The topic of that name, the same in every isolate. With a history it keeps so many
---messages for those who come late.
---@param name string
---@param options? { history: integer? }
---@return atoll.topic
---@nodiscard
function atoll.topic(name, options) end

---One argument is the text as it is; more are formatted as by string.format.
---@class atoll.log
---@field debug fun(text: any, ...: any)
---@field info fun(text: any, ...: any)
---@field warn fun(text: any, ...: any)
---@field error fun(text: any, ...: any)

---Runs all at once: the first result of each, at its key. The first that fails (it
---raises, or returns nil and a message) ends the others: nil, message, code.
---@async
---@param list table<any, (fun(): ...)|atoll.task>
---@return table?, string?, string?
function atoll.all(list) end

---Runs all at once: the first result of the first that succeeds, and its key; the
---others are ended. nil, and message and code of the last, when all have failed.
---@async
---@param list table<any, (fun(): ...)|atoll.task>
---@return any, any, string?
function atoll.any(list) end

---Runs fn in a fiber of its own, later.
---@param seconds number
---@param fn fun(...)
---@param ... any
---@return atoll.task
function atoll.after(seconds, fn, ...) end

---@class atoll.timer
local timer = {}

---Its function is not called again; false when it would not have been anyway.
---@return boolean
function timer:cancel() end

---Calls fn every so many seconds while this code serves; in one isolate of the host
---with once = "host".
---@param seconds number
---@param fn fun()
---@param options? { once: "host"? }
---@return atoll.timer
function atoll.every(seconds, fn, options) end

---@class atoll.semaphore
local semaphore = {}

---Waits for a permit: the semaphore, which as a `<close>` variable releases; nil, a
---message and a code after so many seconds.
---@async
---@param seconds? number
---@return atoll.semaphore?, string?, string?
function semaphore:acquire(seconds) end

---The same without waiting; the code is "EAGAIN".
---@return atoll.semaphore?, string?, string?
function semaphore:try_acquire() end

function semaphore:release() end

---What fn returns, called with a permit.
---@async
---@param fn fun(...): ...
---@param ... any
---@return any ...
function semaphore:with(fn, ...) end

---At most so many fibers of this isolate at a time.
---@param permits integer
---@return atoll.semaphore
---@nodiscard
function atoll.semaphore(permits) end

---@class atoll.channel
local channel = {}

---Waits while as many values are under way as the channel holds.
---@async
---@param value any  not nil
---@param seconds? number
---@return true?, string?, string?
function channel:send(value, seconds) end

---@async
---@param seconds? number
---@return any, string?, string?
function channel:receive(seconds) end

---Without waiting; the code is "EAGAIN".
---@param value any
---@return true?, string?, string?
function channel:try_send(value) end

---@return any, string?, string?
function channel:try_receive() end

---What is received until the channel is closed and empty.
---@return async fun(): any
function channel:values() end

---Nothing can be sent any more; what was sent can be received.
function channel:close() end

---Values from fiber to fiber of this isolate; the sender of one more than it holds (0)
---waits.
---@param holds? integer
---@return atoll.channel
---@nodiscard
function atoll.channel(holds) end

return atoll
