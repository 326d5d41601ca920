-- Requests as HTTP/1 knows them, each sent whole, byte by byte and cut at every place.
local host = require "support.host"
local wire = require "support.wire"

local GET, POST = "GET / HTTP/1.1\r\nHost: a\r\n", "POST /echo HTTP/1.1\r\nHost: a\r\n"

local function get(path, more)
  return ("GET %s HTTP/1.1\r\nHost: a\r\n%s\r\n"):format(path, more or "")
end

describe("wire", function()
  local h

  setup(function() h = host.start { dir = "spec/apps/wire" } end)
  teardown(host.finish)
  after_each(wire.finish)

  it("answers plain requests and keeps the connection", function()
    local length = { ["content-length"] = "^4$", connection = false }
    wire.check(h, {
      { name = "a GET", bytes = GET .. "\r\n",
        want = { { 200, body = "root", fields = length } } },
      { name = "white space around values",
        bytes = "GET / HTTP/1.1\r\nHost: \t a \t\r\nX:\r\n\r\n", want = { 200 } },
      { name = "an empty line first", bytes = "\r\n" .. GET .. "\r\n", want = { 200 } },
      { name = "a later minor version", bytes = "GET / HTTP/1.7\r\nHost: a\r\n\r\n",
        want = { 200 } },
      { name = "a query", bytes = get "/where?q=a%20b+c",
        want = { { 200, fields = { ["content-type"] = "^application/json" } } } },
      { name = "an unknown path", bytes = get "/none", want = { 404 } },
      { name = "a path with an escape", bytes = get "/%70robe",
        want = { { 200, body = "probe" } } },
      { name = "a path with dots", bytes = get "/x/../probe",
        want = { { 200, body = "probe" } } },
      { name = "another method", bytes = "DELETE / HTTP/1.1\r\nHost: a\r\n\r\n",
        want = { { 405, fields = { allow = "GET, HEAD" } } } },
      { name = "a method of any", bytes = "PATCH /any HTTP/1.1\r\nHost: a\r\n\r\n",
        want = { { 200, body = "PATCH" } } },
      { name = "what is allowed", bytes = "OPTIONS / HTTP/1.1\r\nHost: a\r\n\r\n",
        want = { { 204, fields = { allow = "GET, HEAD" } } } },
    })
  end)

  it("answers HEAD with the length and no body", function()
    local function head(path)
      return "HEAD " .. path .. " HTTP/1.1\r\nHost: a\r\n\r\n"
    end
    wire.check(h, {
      { name = "of a text", bytes = head "/",
        want = { { 200, head = true, fields = { ["content-length"] = "^4$" } } } },
      { name = "of a stream", bytes = head "/pieces",
        want = { { 200, head = true,
          fields = { ["transfer-encoding"] = "chunked" } } } },
      { name = "of a stream with a length", bytes = head "/sized",
        want = { { 200, head = true, fields = { ["content-length"] = "^5$" } } } },
      { name = "of nothing", bytes = head "/none",
        want = { { 404, head = true } } },
      { name = "where only POST is", bytes = head "/echo",
        want = { { 405, head = true, fields = { allow = "POST" } } } },
    })
  end)

  it("sends no body with 204 and 304", function()
    wire.check(h, {
      { name = "204", bytes = get "/nothing",
        want = { { 204, fields = { ["content-type"] = false } } } },
      { name = "304", bytes = get "/unchanged",
        want = { { 304, fields = { etag = '^"1"$' } } } },
      { name = "205", bytes = get "/reset", want = { { 205, body = "" } } },
    })
  end)

  it("sends streams in chunks, and to 1.0 up to the end", function()
    wire.check(h, {
      { name = "chunks", bytes = get "/pieces",
        want = { { 200, body = "onethree",
          fields = { ["transfer-encoding"] = "chunked" } } } },
      { name = "a length", bytes = get "/sized",
        want = { { 200, body = "12345", fields = { ["content-length"] = "5" } } } },
      { name = "1.0", bytes = "GET /pieces HTTP/1.0\r\n\r\n", close = true,
        want = { { 200, body = "onethree",
          fields = { ["transfer-encoding"] = false } } } },
      { name = "1.0 that would go on",
        bytes = "GET /pieces HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", close = true,
        want = { { 200, body = "onethree" } } },
    })
  end)

  it("knows the forms of a target", function()
    wire.check(h, {
      { name = "absolute", bytes = "GET http://a/probe HTTP/1.1\r\nHost: a\r\n\r\n",
        want = { { 200, body = "probe" } } },
      { name = "absolute beats Host",
        bytes = "GET http://b:81/where HTTP/1.1\r\nHost: a\r\n\r\n",
        want = { { 200, fields = { ["content-type"] = "json" } } } },
      { name = "absolute without a path",
        bytes = "GET http://a HTTP/1.1\r\nHost: a\r\n\r\n",
        want = { { 200, body = "root" } } },
      { name = "asterisk", bytes = "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
        want = { { 204, fields = { allow = "GET" } } } },
      { name = "asterisk with GET", bytes = "GET * HTTP/1.1\r\nHost: a\r\n\r\n",
        want = { 400 }, close = true },
      { name = "CONNECT", bytes = "CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n",
        want = { 501 }, close = true },
      { name = "CONNECT with bytes behind",
        bytes = "CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n" .. get "/probe",
        want = { 501 }, close = true },
    })
  end)

  it("ignores protocols that it does not switch to", function()
    wire.check(h, {
      { name = "websocket on a plain path",
        bytes = get("/", "Connection: Upgrade\r\nUpgrade: websocket\r\n"),
        want = { { 200, body = "root" } } },
      { name = "h2c", bytes = get("/", "Connection: Upgrade, HTTP2-Settings\r\n"
          .. "Upgrade: h2c\r\nHTTP2-Settings: AAA\r\n"), want = { 200 } },
      { name = "an unknown one with a body", bytes = POST
          .. "Connection: upgrade\r\nUpgrade: foo\r\nContent-Length: 2\r\n\r\nok",
        want = { { 200, body = "ok" } } },
    })
  end)

  it("reads bodies", function()
    local chunked = POST .. "Transfer-Encoding: chunked\r\n\r\n"
    wire.check(h, {
      { name = "of a length", bytes = POST .. "Content-Length: 5\r\n\r\nhello",
        want = { { 200, body = "hello" } } },
      { name = "of no length", bytes = POST .. "\r\n", want = { { 200, body = "" } } },
      { name = "of length 0", bytes = POST .. "Content-Length: 0\r\n\r\n",
        want = { { 200, body = "" } } },
      { name = "that look like requests",
        bytes = POST .. "Content-Length: " .. #get "/probe" .. "\r\n\r\n"
          .. get "/probe",
        want = { { 200, body = get "/probe" } } },
      { name = "in chunks",
        bytes = chunked .. "3\r\nabc\r\nA\r\n0123456789\r\n0\r\n\r\n",
        want = { { 200, body = "abc0123456789" } } },
      { name = "in no chunks", bytes = chunked .. "0\r\n\r\n",
        want = { { 200, body = "" } } },
      { name = "with extensions", bytes = chunked
          .. '2;a;b=c\r\nhi\r\n1;q="x;y"\r\n!\r\n000;z\r\n\r\n',
        want = { { 200, body = "hi!" } } },
      { name = "with trailers",
        bytes = chunked .. "1\r\nx\r\n0\r\nX-A: b\r\nX-C:\r\n\r\n",
        want = { { 200, body = "x" } } },
      { name = "with a GET", want = { { 200, body = "GET" } },
        bytes = "GET /any HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nok" },
      { name = "that nobody reads",
        bytes = "POST /ignore HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
        want = { { 200, body = "ignored" } } },
      { name = "in chunks that nobody reads",
        bytes = "POST /ignore HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
          .. "5\r\nhello\r\n0\r\n\r\n",
        want = { { 200, body = "ignored" } } },
      { name = "of what is not there",
        bytes = "POST /none HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
        want = { 404 } },
    })
  end)
end)
