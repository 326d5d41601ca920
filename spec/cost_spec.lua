-- What a request costs, counted: a change that makes it dearer is seen here, whatever
-- else the machine does. The figures are those of gcc 12 on x86-64 and some percent.
local atoll = require "atoll"
local cost = require "support.cost"
local host = require "support.host"

local function get(path, headers)
  return "GET " .. path .. " HTTP/1.1\r\nHost: a\r\n" .. (headers or "") .. "\r\n"
end

local function post(path, body)
  local head = "POST %s HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n"
  return head:format(path, #body) .. body
end

local hello, close = get "/hello", "Connection: close\r\n"
local browser = "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:115.0)\r\n"
  .. "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n"
  .. "Accept-Language: en-GB,en;q=0.5\r\nAccept-Encoding: gzip, deflate, br\r\n"
  .. "Connection: keep-alive\r\nUpgrade-Insecure-Requests: 1\r\n"
  .. "Sec-Fetch-Dest: document\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Site: none\r\n"

local app = [[
  app:get("/hello", function() return "Hello, world\n" end)
  app:get("/users/:id", function(req)
    return req.params.id .. " " .. req.headers["accept-language"] .. "\n"
  end)
  app:get("/json", function()
    return { id = 42, name = "Ann Example", admin = false, score = 17.25, team = "red" }
  end)
  app:post("/echo", function(req) return req:text() end)
  app:get("/upstream", function()
    return atoll.http.get("http://127.0.0.1:PORT/").body
  end)
]]

-- The server that the app asks; its port.
local function upstream()
  local listener <const> = assert(atoll.net.listen "127.0.0.1:0")
  local answer = "HTTP/1.1 200 OK\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\n"
    .. "Content-Type: text/plain\r\nContent-Length: 13\r\n\r\nHello, world\n"
  atoll.spawn(function()
    listener:serve(function(socket)
      while socket:read_until "\r\n\r\n" do socket:write(answer) end
    end)
  end)
  return listener:name():match "%d+$", listener
end

-- What else the process does meanwhile (its watchdog, a timer) only ever adds: of three
-- counts the first that is small enough decides.
local function counted(count, row)
  for _ = 1, 2 do
    local n, calls = count(row)
    if n <= row.most then return n, calls end
  end
  return count(row)
end

local function holds(count, rows)
  local dear = {}
  for _, row in ipairs(rows) do
    local n, calls = counted(count, row)
    if n > row.most then
      local line = ("%s: %.2f, at most %.2f"):format(row.title, n, row.most)
      for name, of in pairs(calls or {}) do line = line .. "; " .. of .. " " .. name end
      dear[#dear + 1] = line
    end
  end
  assert(#dear == 0, table.concat(dear, "\n"))
end

describe("a request", function()
  after_each(host.finish)

  -- A sanitizer's build says nothing about it.
  if host.SLOW then return end

  it("takes no more instructions than it did", function()
    local port, _ <close> = upstream()
    cost.instructions(app:gsub("PORT", port), function(count)
      holds(count, {
        { title = "hello", request = hello, most = 4200 },
        { title = "hello, 10 headers", request = get("/hello", browser),
          most = 4350 },
        { title = "hello, 16 at once", request = hello, batch = 16, most = 2900 },
        { title = "hello, connection each", request = get("/hello", close),
          close = true, most = 6900 },
        { title = "route and header", request = get("/users/42", browser),
          most = 9200 },
        { title = "JSON", request = get "/json", most = 9800 },
        { title = "1 KiB echoed", request = post("/echo", ("x"):rep(1024)),
          most = 10200 },
        { title = "an upstream is asked", request = get "/upstream", most = 34000 },
      })
    end)
  end)

  it("takes no more system calls than it has to", function()
    cost.system_calls(app, function(count)
      holds(count, {
        -- to wait, read and write
        { title = "one at a time", request = hello, most = 3.05 },
        { title = "16 at once", request = hello, batch = 16, most = 3.05 / 16 },
        -- and memory now and then, for the bodies
        { title = "1 KiB echoed", request = post("/echo", ("x"):rep(1024)),
          most = 3.2 },
        -- and accept, another that finds nothing, and close
        { title = "connection each", request = get("/hello", close), close = true,
          most = 6.1 },
      })
    end)
  end)
end)
