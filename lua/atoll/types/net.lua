---@meta atoll.net

---TCP, unix and UDP sockets; `require "atoll.net"`, also `atoll.net`.
---
---Addresses: "127.0.0.1:80", "[::1]:80", "name:80", ":80", "unix:/path". What fails at run
---time gives nil, a message and a code.
---@class atoll.net
local net = {}

---@class atoll.net.socket_options
---@field nodelay? boolean  true unless given
---@field keepalive? boolean|number  or after how many seconds of silence
---@field line_max? integer  65536 unless given

---@class atoll.net.tls_options
---@field name? string  whom to verify; the host unless given
---@field verify? boolean
---@field ca? string  a file or a directory of authorities
---@field cert? string  a PEM file, with its chain
---@field key? string  in the file of cert unless given
---@field alpn? string|string[]

---@class atoll.net.starttls_options : atoll.net.tls_options
---@field server? boolean
---@field timeout? number  seconds

---@class atoll.net.connect_options : atoll.net.socket_options
---@field timeout? number  seconds for all of it
---@field bind? string  the address to come from
---@field family? "inet"|"inet6"
---@field tls? boolean|atoll.net.tls_options

---@class atoll.net.listen_options : atoll.net.socket_options
---@field tls? atoll.net.tls_options
---@field backlog? integer
---@field reuseport? boolean

---Connects to whichever of the address's hosts answers first.
---@async
---@param address string
---@param options? atoll.net.connect_options
---@return atoll.net.socket?, string?, string?
---@overload fun(host: string, port: integer|string, options?: atoll.net.connect_options): atoll.net.socket?, string?, string?
function net.connect(address, options) end

---@async
---@param address string
---@param options? atoll.net.listen_options
---@return atoll.net.listener?, string?, string?
function net.listen(address, options) end

---A listener that accepts on the same socket as the one that the reference is of, with
---its options and TLS; in whatever isolate.
---@param reference atoll.net.reference
---@return atoll.net.listener?, string? message, string? code
---@nodiscard
function net.listener(reference) end

---Datagrams: bound to an address, or of the family of the first that it is given.
---@param address? string
---@param options? { broadcast: boolean?, reuseport: boolean? }
---@return atoll.net.udp?, string?, string?
function net.udp(address, options) end

---The addresses of a host, without ports, in the order to try them.
---@async
---@param name string
---@param options? { family: ("inet"|"inet6")?, timeout: number? }
---@return string[]?, string?, string?
function net.resolve(name, options) end

---A connection. Two fibers may use it, one for each direction.
---@class atoll.net.socket
local socket = {}

---So many bytes (fewer only at the end of file), a line without its end, whatever has
---come ("some", and how much at most), or all. nil at the end of file.
---@async
---@param what? integer|"line"|"some"|"all"
---@param timeout? number  seconds
---@return string?, string?, string?
---@overload fun(self: atoll.net.socket, what: "some", max?: integer, timeout?: number): string?, string?, string?
function socket:read(what, timeout) end

---The bytes before a text, which is taken, too.
---@async
---@param text string
---@param max? integer  line_max unless given
---@param timeout? number  seconds
---@return string?, string?, string?
function socket:read_until(text, max, timeout) end

---Lines for a `for`.
---@return async fun(): string?
function socket:lines() end

---Hands all of it over to be sent, and waits while much is unsent.
---@async
---@param ... string|number
---@return true?, string?, string?
function socket:write(...) end

---Waits until all is sent.
---@async
---@param timeout? number  seconds
---@return true?, string?, string?
function socket:flush(timeout) end

---A limit for each wait from now on; nil for none.
---@param seconds number?
function socket:settimeout(seconds) end

---@param what? "both"|"read"|"write"
---@return true?, string?, string?
function socket:shutdown(what) end

---Sends what is left, then ends the connection.
---@return true
function socket:close() end

---The address of this end.
---@return string?, string?, string?
---@nodiscard
function socket:name() end

---The address of the other end.
---@return string?, string?, string?
---@nodiscard
function socket:peer() end

---@param name "nodelay"|"keepalive"|"sndbuf"|"rcvbuf"
---@param value boolean|number
---@return true?, string?, string?
function socket:setoption(name, value) end

---From here on the connection is TLS; of a client unless options say that it is a
---server's. Closed when that fails.
---@async
---@param options? atoll.net.starttls_options
---@return true?, string?, string?
function socket:starttls(options) end

---What the handshake came to; nil when the connection is plain.
---@return { version: string, cipher: string, name: string?, alpn: string?, resumed: boolean }?
---@return string?, string?
---@nodiscard
function socket:tls() end

---Gives the socket, with all that it has read ahead and not yet sent, to another isolate
---(a sender of its port, its handle, or a name), which receives it as a message, and
---waits until it has. From then on this socket raises; when it fails, it is here again.
---@async
---@param to atoll.sender|atoll.isolate|string
---@param timeout? number  seconds; "timed out", "ETIMEDOUT"
---@return true?
---@return string? message  "closed" when nobody receives any more
---@return string? code
function socket:transfer(to, timeout) end

---Bytes that were read ahead.
---@return integer
---@nodiscard
function socket:buffered() end

---@return integer?, string?, string?
---@nodiscard
function socket:fd() end

---@class atoll.net.listener
local listener = {}

---@async
---@param timeout? number  seconds
---@return atoll.net.socket?, string?, string?
function listener:accept(timeout) end

---Calls fn in a fiber for each connection, which is closed behind it; returns when the
---listener is closed.
---@async
---@param fn fun(socket: atoll.net.socket)
---@return true?, string?, string?
function listener:serve(fn) end

---@return string?, string?, string?
---@nodiscard
function listener:name() end

---What leads to more listeners on this one's socket: it may be sent, any number of times.
---The socket stays open until the reference is closed or collected, too.
---@return atoll.net.reference?, string? message, string? code
---@nodiscard
function listener:reference() end

---Gives the listener itself to another isolate, as socket:transfer does.
---@async
---@param to atoll.sender|atoll.isolate|string
---@param timeout? number  seconds
---@return true?, string? message, string? code
function listener:transfer(to, timeout) end

---@class atoll.net.reference
local reference = {}

---@return string?, string? message, string? code
function reference:name() end

function reference:close() end

---@return true
function listener:close() end

---@return integer?, string?, string?
---@nodiscard
function listener:fd() end

---@class atoll.net.udp
local udp = {}

---@async
---@param data string
---@param address? string
---@param timeout? number  seconds
---@return true?, string?, string?
function udp:send(data, address, timeout) end

---A datagram and where it came from.
---@async
---@param timeout? number  seconds
---@return string?, string?, string?
function udp:receive(timeout) end

---@async
---@param address string
---@param timeout? number  seconds, for a name
---@return true?, string?, string?
function udp:connect(address, timeout) end

---@param seconds number?
function udp:settimeout(seconds) end

---@return string?, string?, string?
---@nodiscard
function udp:name() end

---@return string?, string?, string?
---@nodiscard
function udp:peer() end

---@return true
function udp:close() end

---@return integer?, string?, string?
---@nodiscard
function udp:fd() end

return net
