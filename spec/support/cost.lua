-- What requests cost a host, counted and not timed: instructions in user space
-- (callgrind, asked by vgdb between two loads) and system calls of the isolate's thread
-- (strace). Both count what one connection does that waits for each answer, so that
-- every turn of the loop has one request, or one batch of them.
local atoll = require "atoll"
local callgrind = require "support.callgrind"
local events = require "support.events"
local host = require "support.host"

local M = {}

local program = os.getenv "ATOLL"

-- A host whose processes run under a command that becomes the program.
local function start(app, command, dir)
  local wrapper = dir .. "/atoll"
  local f = assert(io.open(wrapper, "w"))
  f:write("#!/bin/sh\nexec ", command, ' "', program, '" "$@"\n')
  f:close()
  assert(os.execute("chmod +x '" .. wrapper .. "'"))
  return host.start { app = app, program = wrapper }
end

local function read_answers(c, count)
  for _ = 1, count do
    local line, length = assert(c:read("line", 20))
    assert(line == "HTTP/1.1 200 OK", line)
    repeat
      line = assert(c:read("line", 20))
      length = length or line:match "^Content%-Length: (%d+)"
    until line == ""
    assert(c:read(tonumber(length), 20))
  end
end

-- n requests, `batch` of them in one write; with `close` each on its own connection.
local function ask(h, row, n)
  local address = "127.0.0.1:" .. h.port
  local batch, c = row.batch or 1
  for _ = 1, n, batch do
    c = c or assert(atoll.net.connect(address))
    assert(c:write(row.request:rep(batch)))
    read_answers(c, batch)
    if row.close then
      assert(c:read("some", 1, 20) == nil, "the connection stays open")
      c:close()
      c = nil
    end
  end
  if c then c:close() end
end

local function slurp(path)
  local f = io.open(path)
  local text = f and f:read "a"
  if f then f:close() end
  return text
end

-- Calls fn(count) with a function that gives a row's instructions per request.
-- The collector is stopped: when it comes round would decide on the figures.
function M.instructions(app, fn)
  local dir = host.directory()
  app = 'collectgarbage "stop" ' .. app
  local h = start(app, "valgrind -q --tool=callgrind --trace-children=yes "
    .. "--separate-threads=yes --callgrind-out-file='" .. dir .. "/cost.%p'", dir)
  local dump = callgrind.dumper(h:serving_pid(), dir .. "/cost")
  local function load(row, n)
    ask(h, row, n)
    return dump()
  end
  fn(function(row)
    load(row, 32)
    local few, many = load(row, 32), load(row, 32 + 256)
    return (many - few) / 256
  end)
end

-- The calls of the thread that wrote most, by name and in all.
local function calls(trace, from)
  local threads, most = {}, { all = 0, write = 0 }
  for tid, name in trace:sub(from):gmatch "(%d+) +[%d:.]* ?([%w_]+)%(" do
    local t = threads[tid] or { all = 0, write = 0 }
    threads[tid] = t
    t[name] = (t[name] or 0) + 1
    t.all = t.all + 1
    if t.write > most.write then most = t end
  end
  return most
end

-- Calls fn(count) with a function that gives a row's system calls per request, and
-- those of the larger load by name.
function M.system_calls(app, fn)
  local dir = host.directory()
  local file = dir .. "/trace"
  local h = start(app, "strace -D -f -qq -e signal=none -o '" .. file .. "'", dir)
  local function load(row, n)
    local from = #slurp(file) + 1
    ask(h, row, n)
    -- The tracer writes what it has seen a moment later.
    local seen
    events.wait(function() return "the trace of " .. row.title end, function()
      local now = calls(slurp(file), from)
      local still = seen and now.all == seen.all
      seen = now
      return still and now.write >= n / (row.batch or 1)
    end)
    return seen
  end
  fn(function(row)
    load(row, 32)
    local few, many = load(row, 32), load(row, 32 + 320)
    return (many.all - few.all) / 320, many
  end)
end

return M
