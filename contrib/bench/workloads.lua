-- What is asked of the servers while their CPU time is counted.
--   name, title   as --only and the table have them
--   path          what is asked for
--   load, talk    arguments of the client of that name; neither: load
--   mode          of limit; answer: the size of its answer, where that is not the
--                 product's to limit_path or path; limit: more arguments of its own
--   expect        the body, which is looked at before anything is measured;
--                 fields: as JSON in any order; headers and body: what is sent then
--   goal          of the ratio; log: the access log; seconds: times as long a run
local M = {}

local HELLO = "Hello, world\n"
local LANGUAGE = "en-GB,en;q=0.7,de;q=0.3"
local ROUNDS = "2000000" -- some 20 ms in Lua

local function alphabet(bytes)
  return ("abcdefghijklmnopqrstuvwxyz"):rep(bytes // 26 + 1):sub(1, bytes)
end

local function burned()
  local x = 1
  for _ = 1, ROUNDS do x = (x * 421 + 1663) % 7875 end
  return x .. "\n"
end

M.list = {
  { name = "hello", title = "hello, keep-alive 64", path = "/hello", expect = HELLO,
    goal = 0.92 },
  { name = "json", title = "JSON of 5 fields *", path = "/json", limit_path = "/hello",
    fields = { '"id":42', '"name":"Ann Example"', '"admin":false', '"score":17.25',
      '"team":"red"' }, goal = 0.90 },
  { name = "route", title = "route + header, 10 sent", path = "/users/42",
    load = { "-H" }, headers = "Accept-Language: " .. LANGUAGE .. "\r\n",
    expect = "42 " .. LANGUAGE .. "\n", goal = 0.90 },
  { name = "page", title = "64 KiB body", path = "/page",
    expect = ("0123456789abcde\n"):rep(4096), goal = 0.96 },
  { name = "post", title = "1 KiB POST, echoed", path = "/post",
    load = { "-b", "1024" }, body = alphabet(1024), expect = alphabet(1024) },
  { name = "pipelined", title = "pipelined x16", path = "/hello", expect = HELLO,
    load = { "-P", "16" }, mode = "count", goal = 0.75 },
  { name = "connection", title = "connection per request", path = "/hello",
    expect = HELLO, load = { "-e" }, mode = "close", goal = 0.95 },
  { name = "upstream", title = "asks an upstream", path = "/upstream", mode = "relay" },
  { name = "burn", title = "a loop of 2 million", path = "/burn?n=" .. ROUNDS,
    load = { "-c", "4" }, seconds = 2, limit = { "-b", ROUNDS }, make_expect = burned },
  { name = "websocket", title = "WebSocket echo, 128 B", mode = "frames", answer = 128,
    talk = { "-w", "/echo", "-s", "128", "-c", "64" } },
  { name = "news", title = "WebSocket, 1 KB to 500", mode = "news", answer = 1024,
    talk = { "-b", "-w", "/news", "-s", "1024", "-c", "500" }, seconds = 2 },
  { name = "log", title = "hello, access log on", path = "/hello", expect = HELLO,
    log = "/dev/null", goal = 0.85 },
  { name = "file", title = "file of 64 KiB", path = "/files/64k.bin",
    expect = ("\0"):rep(65536) },
  { name = "download", title = "file of 1 MiB", path = "/files/1m.bin" },
  { name = "wrk", title = "hello, by wrk", path = "/hello", client = "wrk",
    goal = 0.92 },
}

return M
