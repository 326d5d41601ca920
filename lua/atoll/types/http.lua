---@meta atoll.http

---Requests to HTTP servers, over connections that are kept; and servers from scripts.
---@class atoll.http
local http = {}

---@class atoll.http.options
---@field headers? table<string, string|number|false|string[]>  false leaves a default out
---@field query? table<string, any>  added to the URL
---@field body? string|number|table|fun(): string?  a table is sent as JSON
---@field json? any
---@field form? table<string, any>  a file is { filename =, type =, body = }
---@field stream? boolean  the body is read later
---@field timeout? number  seconds for everything
---@field connect_timeout? number  10 unless given
---@field tls_timeout? number  10 unless given
---@field head_timeout? number  60 unless given
---@field body_timeout? number  between two pieces, 60 unless given
---@field write_timeout? number  60 unless given
---@field body_max? integer  bytes of a body read as a whole, 16 MiB unless given
---@field redirects? integer|false  how many are followed, 10 unless given
---@field decode? boolean  undo gzip and deflate, true unless given
---@field proxy? string|false  "http://host:port"; the environment's unless given
---@field unix? string  path of a socket
---@field tls? atoll.net.tls_options

---@class atoll.http.request: atoll.http.options
---@field url string
---@field method? string  "GET" unless given

---@class atoll.http.response
---@field status integer
---@field reason string
---@field version "1.0"|"1.1"
---@field headers table<string, string>  any case; repeated fields are joined
---@field trailers table<string, string>?  behind a chunked body
---@field url string  that redirects led to
---@field body string?  unless it is streamed
local response = {}

---All values of a header, in their order.
---@param name string
---@return string[]
---@nodiscard
function response:values(name) end

---The body, or what is left of it.
---@async
---@return string?, string?, string?
function response:text() end

---The body as a value.
---@async
---@return any, string?, string?
function response:json() end

---At most n bytes (64 KiB) of a streamed body; nil at its end.
---@async
---@param n? integer
---@return string?, string?, string?
function response:read(n) end

---A streamed body in pieces as they come.
---@return async fun(): string?
---@nodiscard
function response:chunks() end

---Gives up what was not read.
function response:close() end

---@async
---@param url string
---@param options? atoll.http.options
---@return atoll.http.response?, string?, string?
function http.get(url, options) end

---@async
---@param url string
---@param options? atoll.http.options
---@return atoll.http.response?, string?, string?
function http.head(url, options) end

---@async
---@param url string
---@param options? atoll.http.options
---@return atoll.http.response?, string?, string?
function http.delete(url, options) end

---@async
---@param url string
---@param body? string|number|table|fun(): string?
---@param options? atoll.http.options
---@return atoll.http.response?, string?, string?
function http.post(url, body, options) end

---@async
---@param url string
---@param body? string|number|table|fun(): string?
---@param options? atoll.http.options
---@return atoll.http.response?, string?, string?
function http.put(url, body, options) end

---@async
---@param url string
---@param body? string|number|table|fun(): string?
---@param options? atoll.http.options
---@return atoll.http.response?, string?, string?
function http.patch(url, body, options) end

---@async
---@param options atoll.http.request
---@return atoll.http.response?, string?, string?
function http.request(options) end

---Sets how many connections are kept to one place (32) and in total (512), and for how
---long they may be idle (30 seconds); gives what counts now.
---@param new? { per_host?: integer, total?: integer, idle?: number }
---@return { per_host: integer, total: integer, idle: number }
function http.limits(new) end

---Serves an app, of any of the forms that app.lua may return, on a listener of
---atoll.net; returns when that is closed and what was in flight is answered.
---@async
---@param listener atoll.net.listener
---@param app atoll.app|table|fun(req: atoll.request): atoll.answer?, any, atoll.headers?
---@param options? { proxy?: boolean, trusted_proxies?: string|string[], forwarded?: "x-forwarded"|"forwarded" }
---@return true?, string?, string?
function http.serve(listener, app, options) end

return http
