---@meta

---Routes, middleware and hooks, in the order of their registration.
---
---Patterns are `/users/:id` (one segment) and `/files/*path` (the rest). Static beats
---`:param` beats `*rest`, whatever the order.
---@class atoll.app
local app = {}

---@param pattern string
---@param handler atoll.handler
---@return atoll.app
function app:get(pattern, handler) end

---@param pattern string
---@param handler atoll.handler
---@return atoll.app
function app:post(pattern, handler) end

---@param pattern string
---@param handler atoll.handler
---@return atoll.app
function app:put(pattern, handler) end

---@param pattern string
---@param handler atoll.handler
---@return atoll.app
function app:patch(pattern, handler) end

---@param pattern string
---@param handler atoll.handler
---@return atoll.app
function app:delete(pattern, handler) end

---@param pattern string
---@param handler atoll.handler
---@return atoll.app
function app:options(pattern, handler) end

---@param pattern string
---@param handler atoll.handler
---@return atoll.app
function app:head(pattern, handler) end

---Every method that has no handler of its own.
---@param pattern string
---@param handler atoll.handler
---@return atoll.app
function app:any(pattern, handler) end

---@param methods string|string[]  in capital letters; "*" is every method
---@param pattern string
---@param handler atoll.handler
---@return atoll.app
function app:route(methods, pattern, handler) end

---Puts a function around every handler that is registered after it, or only around
---those under a prefix.
---@param prefix string
---@param fn atoll.middleware
---@return atoll.app
---@overload fun(self: atoll.app, fn: atoll.middleware): atoll.app
function app:use(prefix, fn) end

---Calls fn with an app whose routes lie under the prefix.
---@param prefix string
---@param fn fun(group: atoll.app)
---@return atoll.app
function app:group(prefix, fn) end

---Serves another app under the prefix.
---@param prefix string
---@param other atoll.app
---@return atoll.app
function app:mount(prefix, other) end

---Answers a request that came from another isolate with the routes of this app, in a
---fiber of its own. The first call fixes the routes, which are written without the
---`path` that the app may have in its host.
---@param req atoll.request
function app:handle(req) end

---@class atoll.static_options
---@field cache? number|"immutable"|string|false  Cache-Control: seconds, a year, or a text
---@field index? string|string[]|false  what a directory is; "index.html"
---@field listing? boolean  a page that lists a directory without an index; false
---@field symlinks? "inside"|"none"|"anywhere"  which are followed; as the setting says
---@field precompressed? boolean  send name.br, name.zst, name.gz in place of name; true
---@field headers? table<string, string|string[]>

---Serves the files of a directory, relative to the app's own, under the prefix.
---@param prefix string
---@param directory string
---@param options? atoll.static_options
---@return atoll.app
function app:static(prefix, directory, options) end

---A view of the app as a page: atoll.render.
---@param name string
---@param values? table<string, any>
---@param status? integer
---@param headers? atoll.headers
---@return atoll.response
---@nodiscard
function app:render(name, values, status, headers) end

---Server-sent events at a pattern.
---@param pattern string
---@param fn fun(send: atoll.send, req: atoll.request)
---@param options? atoll.events_options
---@return atoll.app
function app:events(pattern, fn, options) end

---@class atoll.websocket.options
---@field protocols? string[]  that this side speaks, the most wanted first
---@field origin? string|string[]|fun(origin: string?, req: atoll.request): boolean  of the pages that may open it; "*" for all, otherwise those of this host
---@field message_max? integer  bytes
---@field ping? number|false  seconds of silence before it is sent one; false for never
---@field compress? boolean|{ takeover: boolean }  whether to agree on permessage-deflate; takeover lets messages refer to earlier ones, which takes some 340 KiB for each socket

---A WebSocket at a pattern: fn has it, and it is closed when fn returns.
---@param pattern string
---@param fn async fun(ws: atoll.websocket, req: atoll.request)
---@param options? atoll.websocket.options
---@return atoll.app
function app:websocket(pattern, fn, options) end

---Calls fn every so many seconds while this code serves, after on("start"); in each
---isolate or, with once = "host", in one of them.
---@param seconds number
---@param fn fun()
---@param options? { once: "host"? }
---@return atoll.app
function app:every(seconds, fn, options) end

---Calls fn when something happens. What an error or not_found hook returns is an answer,
---with status 500 or 404 unless it names another.
---@param event "start"|"stop"|"reload"|"error"|"not_found"
---@param fn function
---@return atoll.app
---@overload fun(self: atoll.app, event: "start", fn: fun(state: any)): atoll.app
---@overload fun(self: atoll.app, event: "stop", fn: fun()): atoll.app
---@overload fun(self: atoll.app, event: "reload", fn: fun(): any): atoll.app
---@overload fun(self: atoll.app, event: "error", fn: fun(req: atoll.request, err: any, traceback: string): ...): atoll.app
---@overload fun(self: atoll.app, event: "not_found", fn: atoll.handler): atoll.app
function app:on(event, fn) end
