-- The handlers in LuaJIT; nginx.conf (see serve) says which path has which.
local cjson = require "cjson"
local websocket = require "nginx.websocket.server"
local semaphore = require "ngx.semaphore"

local M = {}

local page = ("0123456789abcde\n"):rep(4096)
local kilobyte = ("x"):rep(1024)
local news = {}
local born = ("%.9f %s\n"):format(os.clock(), tostring {}) -- another after each reload

local function text(body)
  ngx.header["Content-Length"] = #body
  ngx.print(body)
end

function M.hello() text "Hello, world\n" end

function M.born() text(born) end

function M.json()
  text(cjson.encode {
    id = 42, name = "Ann Example", admin = false, score = 17.25, team = "red",
  })
end

function M.user()
  text(ngx.var[1] .. " " .. (ngx.var.http_accept_language or "-") .. "\n")
end

function M.page() text(page) end

function M.post()
  ngx.req.read_body()
  text(ngx.req.get_body_data())
end

function M.upstream() text(ngx.location.capture("/proxied").body) end

function M.burn()
  local x = 1
  for _ = 1, tonumber(ngx.var.arg_n) do x = (x * 421 + 1663) % 7875 end
  text(x .. "\n")
end

local function open()
  return assert(websocket:new { timeout = 600000, max_payload_len = 1048576 })
end

function M.echo()
  local socket = open()
  while true do
    local data, kind = socket:recv_frame()
    if kind == "text" then
      socket:send_text(data)
    elseif kind == "binary" then
      socket:send_binary(data)
    elseif not data or kind == "close" then
      return
    end
  end
end

-- A connection of nginx is written to by its own threads only: each has one that reads
-- and one that waits for news.
function M.news()
  local socket, mine = open(), { waits = semaphore.new(), count = 0 }
  news[mine] = true
  socket:send_text "subscribed"
  local writer = ngx.thread.spawn(function()
    while true do
      if mine.waits:wait(600) then socket:send_text(kilobyte) end
    end
  end)
  while true do
    local data, kind = socket:recv_frame()
    if not data or kind == "close" then break end
    for one in pairs(news) do one.waits:post(1) end
  end
  news[mine] = nil
  ngx.thread.kill(writer)
end

return M
