-- The tables of contrib/scale/run.
local here = arg[0]:match "^(.*)/[^/]*$"
package.path = here .. "/?.lua;" .. here .. "/../bench/?.lua;" .. here
  .. "/../../spec/?.lua;" .. package.path
local atoll = require "atoll"
local counter = require "counter"
local plot = require "plot"

local work = "build/scale"
local HELLO = "GET %s HTTP/1.1\r\nHost: a\r\n\r\n"

local function write(path, text)
  local f = assert(io.open(path, "w"))
  f:write(text)
  f:close()
end

-- ---- requests under callgrind ----

local function ask(c, path)
  assert(c:write(HELLO:format(path)))
  local line, length = assert(c:read("line", 60))
  assert(line:find "^HTTP/1.1 [24]", line)
  repeat
    line = assert(c:read("line", 60))
    length = length or line:match "^Content%-Length: (%d+)"
  until line == ""
  assert(c:read(tonumber(length), 60))
end

-- Instructions per request, each on the next of the connections, far apart in the order
-- in which they were opened.
local function instructions(h, connections, paths)
  local at = 0
  local function load(n)
    for i = 1, n do
      at = (at + 7919) % #connections
      ask(connections[at + 1], paths[i % #paths + 1])
    end
    return h.dump()
  end
  load(64)
  local few = load(64)
  return (load(64 + 512) - few) / 512
end

local function connect(h, list, n)
  while #list < n do
    -- One address has some 28,000 ports.
    local bind = ("127.0.0.%d:0"):format(2 + #list // 10000)
    list[#list + 1] = assert(atoll.net.connect("127.0.0.1:" .. h.port, { bind = bind }))
    if #list % 64 == 0 then ask(list[#list], "/hello") end -- it keeps pace
  end
end

local tables = {}

function tables.connections()
  local rows = {}
  write(work .. "/app/app.lua", 'collectgarbage "stop"\n'
    .. atoll.fs.read(here .. "/app.lua"))
  counter.callgrind(work .. "/app", function(h)
    local list = {}
    for _, n in ipairs { 1, 10, 100, 1000, 5000, 10000, 19000 } do
      connect(h, list, n)
      rows[#rows + 1] = { connections = n,
        instructions = instructions(h, list, { "/hello" }) }
    end
    for _, c in ipairs(list) do c:close() end
  end)
  return { x = "connections", unit = "instructions", rows = rows, at_least = 8000,
    lines = { "instructions" }, title = "A request, by open connections" }
end

local function routes_app(n)
  local text = { 'collectgarbage "stop"', 'local app = require("atoll").app()',
    'local function answer() return "Hello, world\\n" end' }
  for i = 1, n do
    text[#text + 1] = ('app:get("/area%d/page%d", answer)'):format(i % 100, i)
    text[#text + 1] = ('app:get("/users%d/:id/posts/:post", answer)'):format(i)
  end
  text[#text + 1] = "return app\n"
  return table.concat(text, "\n")
end

-- n stands for half literal ones and half with two params.
function tables.routes()
  local rows = {}
  for _, n in ipairs { 2, 10, 100, 1000, 10000 } do
    write(work .. "/app/app.lua", routes_app(n // 2))
    counter.callgrind(work .. "/app", function(h)
      local literal, params = {}, {}
      for k = 1, 16 do
        local i = 1 + (k * 7919) % (n // 2)
        literal[k] = ("/area%d/page%d"):format(i % 100, i)
        params[k] = ("/users%d/42/posts/7"):format(i)
      end
      local list = {}
      connect(h, list, 1)
      local unknown = { "/area1/nothing", "/users1/42/posts" }
      rows[#rows + 1] = { routes = n, literal = instructions(h, list, literal),
        params = instructions(h, list, params),
        ["not found"] = instructions(h, list, unknown) }
      list[1]:close()
    end)
  end
  return { x = "routes", unit = "instructions", rows = rows,
    lines = { "literal", "params", "not found" }, title = "A request, by routes" }
end

-- ---- threads and what they take from each other ----

function tables.isolates()
  local rows = {}
  write(work .. "/app/app.lua", atoll.fs.read(here .. "/app.lua"))
  for _, n in ipairs { 1, 2, 4, 8, 16, 32, 64 } do
    local row = { isolates = n }
    for what, path in pairs { hello = "/hello", ["own key"] = "/own",
      ["same key"] = "/same" } do
      local cost = counter.requests(work .. "/app", n, path, 20000)
      row[what] = cost.transfers
      row[what .. ", locks"] = cost.locks
      row[what .. ", had to wait"] = cost.contended
    end
    rows[#rows + 1] = row
  end
  return { x = "isolates", unit = "lines of memory taken from another thread",
    rows = rows, lines = { "hello", "own key", "same key" },
    title = "A request, by isolates" }
end

function tables.messages()
  local rows = {}
  for _, senders in ipairs { 1, 4, 16, 64 } do
    local row = { senders = senders }
    for _, batch in ipairs { 1, 10, 100 } do
      local how, by = senders .. " " .. batch, "by " .. batch
      local cost = counter.script(here .. "/messages.lua", how, 19200)
      row[by] = cost.transfers
      row[by .. ", locks"], row[by .. ", had to wait"] = cost.locks, cost.contended
      row[by .. ", wake-ups"] = cost.wakes
    end
    rows[#rows + 1] = row
  end
  return { x = "senders", unit = "lines of memory taken from another thread",
    rows = rows, lines = { "by 100", "by 10", "by 1" },
    title = "A message, by senders" }
end

-- ---- the tables ----

local function show(t)
  local names = {}
  for name in pairs(t.rows[1]) do names[#names + 1] = name end
  table.sort(names, function(a, b)
    return (a == t.x and "" or a) < (b == t.x and "" or b)
  end)
  print("\n" .. t.title)
  print("| " .. table.concat(names, " | ") .. " |")
  print("|" .. (" --- |"):rep(#names))
  for _, row in ipairs(t.rows) do
    local cells = {}
    for i, name in ipairs(names) do
      local v = row[name]
      cells[i] = v >= 100 and ("%.0f"):format(v) or ("%.3g"):format(v)
    end
    print("| " .. table.concat(cells, " | ") .. " |")
  end
end

local ORDER = { "connections", "routes", "isolates", "messages" }

-- What was counted before stays in the result.
local path = work .. "/result.json"
local before = atoll.fs.read(path)
local result = before and atoll.json.decode(before) or {}
for _, name in ipairs(#arg > 0 and arg or ORDER) do
  local count = tables[name]
  if not count then
    io.stderr:write("contrib/scale/run: no table ", name,
      "; there are connections, routes, isolates, messages\n")
    os.exit(64)
  end
  io.stderr:write("counting ", name, "\n")
  result[name] = count()
  show(result[name])
  write(path, atoll.json.encode(result))
end
local drawn = {}
for _, name in ipairs(ORDER) do drawn[#drawn + 1] = result[name] end
local note = "Counts, not times: callgrind, and a build that follows each line of "
  .. "memory from thread to thread. " .. os.date "!%Y-%m-%d"
write(work .. "/scale.svg", plot.draw(drawn, note))
