---@meta atoll.websocket

---The client's side of WebSockets.
---@class atoll.websocket.client
local client = {}

---@class atoll.websocket.options
---@field protocols? string|string[]  subprotocols, the most wanted first
---@field headers? table<string, string|number|string[]>  besides those of the handshake
---@field origin? string
---@field timeout? number  seconds until it is open, 30 unless given
---@field tls? table  as in atoll.net.connect, for wss://
---@field compress? boolean|{ takeover: boolean }  offered unless false
---@field message_max? integer  bytes of a message, 1 MiB unless given
---@field ping? number|false  seconds of silence before the server is asked, 30 unless given
---@field proxy? string|false  as in atoll.http
---@field unix? string  the path of a socket to go to instead

---Opens ws://host:port/path or wss://...; nil, a message, a code, and the status if the
---server has answered with another.
---@async
---@param url string
---@param options? atoll.websocket.options
---@return atoll.websocket?
---@return string? message
---@return string? code
---@return integer? status
function client.connect(url, options) end

return client
