-- What two readers could read apart is refused, and nothing behind it is answered; what
-- only looks like it is not.
local host = require "support.host"
local wire = require "support.wire"

local HOST = "Host: a\r\n"
local GET, POST = "GET / HTTP/1.1\r\n", "POST /echo HTTP/1.1\r\n"
local PROBE = "GET /probe HTTP/1.1\r\n" .. HOST .. "\r\n"

describe("smuggling", function()
  local h

  setup(function() h = host.start { dir = "spec/apps/wire" } end)
  teardown(host.finish)
  after_each(wire.finish)

  -- list: name, bytes in turn. Each is refused with that status, whatever is behind it.
  local function refuses(status, list)
    local cases = {}
    for i = 1, #list, 2 do
      cases[#cases + 1] = {
        name = list[i], bytes = list[i + 1], want = { status }, close = true,
      }
      cases[#cases + 1] = {
        name = list[i] .. ", more behind", bytes = list[i + 1] .. PROBE,
        want = { status }, close = true, whole = true,
      }
    end
    wire.check(h, cases)
  end

  it("with line ends is refused", function()
    refuses(400, {
      "LF after the request line", "GET / HTTP/1.1\n" .. HOST .. "\r\n",
      "LF after a field", GET .. "Host: a\n\r\n",
      "LF at the end of the head", GET .. HOST .. "\n",
      "CR and no LF", GET .. "Host: a\rX: b\r\n\r\n",
      "CR before another field",
      GET .. HOST .. "X:\rTransfer-Encoding: chunked\r\n\r\n",
      "two CR", GET .. HOST .. "X: b\r\r\n\r\n",
      "CR, CRLF, CRLF", GET .. HOST .. "\r\r\n\r\n",
      "CRLF, CR, another byte", GET .. HOST .. "\r\rX",
      "an empty line of LF first", "\n" .. GET .. HOST .. "\r\n",
      "obs-fold", GET .. HOST .. "X: b\r\n c\r\n\r\n",
      "obs-fold with a tab", GET .. HOST .. "X: b\r\n\tc\r\n\r\n",
      "obs-fold of Host", GET .. "Host:\r\n a\r\n\r\n",
      "obs-fold of Transfer-Encoding",
      POST .. HOST .. "Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
      "obs-fold before the first field", GET .. " X: b\r\n" .. HOST .. "\r\n",
    })
  end)

  it("with request lines is refused", function()
    refuses(400, {
      "no version", "GET /\r\n" .. HOST .. "\r\n",
      "no version and no fields", "GET /\r\n\r\n",
      "two spaces before the target", "GET  / HTTP/1.1\r\n" .. HOST .. "\r\n",
      "two spaces before the version", "GET /  HTTP/1.1\r\n" .. HOST .. "\r\n",
      "a space at the end", "GET / HTTP/1.1 \r\n" .. HOST .. "\r\n",
      "a space first", " GET / HTTP/1.1\r\n" .. HOST .. "\r\n",
      "a tab", "GET\t/ HTTP/1.1\r\n" .. HOST .. "\r\n",
      "a space in the target", "GET /a b HTTP/1.1\r\n" .. HOST .. "\r\n",
      "ICE", "SOURCE / ICE/1.0\r\n" .. HOST .. "\r\n",
      "RTSP", "OPTIONS * RTSP/1.0\r\n" .. HOST .. "\r\n",
      "lower-case http", "GET / http/1.1\r\n" .. HOST .. "\r\n",
      "HTTP/1.10", "GET / HTTP/1.10\r\n" .. HOST .. "\r\n",
      "HTTP/1", "GET / HTTP/1\r\n" .. HOST .. "\r\n",
      "TLS", "\22\3\1\0\165\1\0\0\161\3\3",
      "a fragment", "GET /a#b HTTP/1.1\r\n" .. HOST .. "\r\n",
      "NUL in the path", "GET /%00 HTTP/1.1\r\n" .. HOST .. "\r\n",
      "a bad escape", "GET /%zz HTTP/1.1\r\n" .. HOST .. "\r\n",
      "a path above the root", "GET /../x HTTP/1.1\r\n" .. HOST .. "\r\n",
      "no slash", "GET x HTTP/1.1\r\n" .. HOST .. "\r\n",
      "a byte beyond ASCII", "GET /\xc3\xa4 HTTP/1.1\r\n" .. HOST .. "\r\n",
    })
    refuses(505, {
      "HTTP/2.0", "GET / HTTP/2.0\r\n" .. HOST .. "\r\n",
      "HTTP/0.9", "GET / HTTP/0.9\r\n" .. HOST .. "\r\n",
      "HTTP/3.1", "GET / HTTP/3.1\r\n" .. HOST .. "\r\n",
      "the preface of HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    })
    refuses(501, {
      "an unknown method", "FOO / HTTP/1.1\r\n" .. HOST .. "\r\n",
      "a method in small letters", "get / HTTP/1.1\r\n" .. HOST .. "\r\n",
    })
  end)

  it("with Host is refused", function()
    refuses(400, {
      "no Host", GET .. "\r\n",
      "two Hosts", GET .. HOST .. HOST .. "\r\n",
      "two Hosts apart", GET .. HOST .. "X: y\r\nhost: b\r\n\r\n",
      "a Host with a space", GET .. "Host: a b\r\n\r\n",
      "a Host with a slash", GET .. "Host: a/b\r\n\r\n",
      "a Host with a user", GET .. "Host: u@a\r\n\r\n",
      "a Host with a list", GET .. "Host: a, b\r\n\r\n",
      "a Host with a bad port", GET .. "Host: a:x\r\n\r\n",
      "a Host with a great port", GET .. "Host: a:65536\r\n\r\n",
      "half an address", GET .. "Host: [::1\r\n\r\n",
      "two Hosts on 1.0", "GET / HTTP/1.0\r\n" .. HOST .. HOST .. "\r\n",
      "a bad Host beside an absolute target",
      "GET http://a/ HTTP/1.1\r\nHost: b c\r\n\r\n",
      "a bad authority", "GET http://a b/ HTTP/1.1\r\nHost: a\r\n\r\n",
      "a user in an absolute target", "GET http://u@a/ HTTP/1.1\r\nHost: a\r\n\r\n",
    })
  end)

  it("with fields is refused", function()
    refuses(400, {
      "a space before the colon", GET .. HOST .. "X : y\r\n\r\n",
      "a space before Host's colon", GET .. "Host : a\r\n\r\n",
      "a tab before the colon", GET .. HOST .. "X\t: y\r\n\r\n",
      "no name", GET .. HOST .. ": y\r\n\r\n",
      "no colon", GET .. HOST .. "X\r\n\r\n",
      "a space in a name", GET .. HOST .. "X Y: z\r\n\r\n",
      "a byte beyond ASCII in a name", GET .. HOST .. "X\xe4: z\r\n\r\n",
      "a brace in a name", GET .. HOST .. "X{: z\r\n\r\n",
      "NUL in a name", GET .. HOST .. "X\0: z\r\n\r\n",
      "NUL in a value", GET .. HOST .. "X: \0\r\n\r\n",
      "a control byte in a value", GET .. HOST .. "X: a\1b\r\n\r\n",
      "DEL in a value", GET .. HOST .. "X: \127\r\n\r\n",
      "ESC in a value", GET .. HOST .. "X: \27[2J\r\n\r\n",
    })
  end)

  it("with lengths is refused", function()
    refuses(400, {
      "both framings",
      POST .. HOST
        .. "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
      "both framings, chunked first",
      POST .. HOST
        .. "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
      "two lengths", POST .. HOST .. "Content-Length: 1\r\nContent-Length: 2\r\n\r\nab",
      "the same length twice",
      POST .. HOST .. "Content-Length: 2\r\nContent-Length: 2\r\n\r\nab",
      "a list of lengths", POST .. HOST .. "Content-Length: 2, 2\r\n\r\nab",
      "a sign", POST .. HOST .. "Content-Length: +2\r\n\r\nab",
      "a negative length", POST .. HOST .. "Content-Length: -2\r\n\r\nab",
      "a hexadecimal length", POST .. HOST .. "Content-Length: 0x2\r\n\r\nab",
      "no length", POST .. HOST .. "Content-Length:\r\n\r\n",
      "words", POST .. HOST .. "Content-Length: two\r\n\r\nab",
      "a space inside", POST .. HOST .. "Content-Length: 1 2\r\n\r\nab",
      "a fraction", POST .. HOST .. "Content-Length: 2.0\r\n\r\nab",
      "2^64 and more", POST .. HOST .. "Content-Length: 18446744073709551618\r\n\r\nab",
    })
  end)

  it("with Transfer-Encoding is refused", function()
    local function te(value) return POST .. HOST .. value .. "\r\n\r\n0\r\n\r\n" end
    refuses(400, {
      "on 1.0", "POST /echo HTTP/1.0\r\n" .. HOST
        .. "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
      "on 1.0 with a length", "POST /echo HTTP/1.0\r\n" .. HOST
        .. "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
      "chunked, identity", te "Transfer-Encoding: chunked, identity",
      "chunked twice", te "Transfer-Encoding: chunked, chunked",
      "chunked in two fields",
      te "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
      "a vertical tab", te "Transfer-Encoding: \11chunked",
      "in quotes", te 'Transfer-Encoding: "chunked"',
      "a parameter", te "Transfer-Encoding: chunked;q=1",
      "an empty element", te "Transfer-Encoding: , chunked",
      "empty", te "Transfer-Encoding:",
    })
    refuses(501, {
      "gzip", te "Transfer-Encoding: gzip",
      "gzip, chunked", te "Transfer-Encoding: gzip, chunked",
      "identity", te "Transfer-Encoding: identity",
      "identity, chunked", te "Transfer-Encoding: identity, chunked",
      "xchunked", te "Transfer-Encoding: xchunked",
      "xchunked beside another name",
      te "Transfer_Encoding: chunked\r\nTransfer-Encoding: xchunked",
    })
  end)

  it("with chunks is refused", function()
    local function body(bytes)
      return POST .. HOST .. "Transfer-Encoding: chunked\r\n\r\n" .. bytes
    end
    refuses(400, {
      "no size", body "\r\nabc",
      "words", body "x\r\nabc",
      "0x", body "0x3\r\nabc\r\n",
      "a sign", body "+3\r\nabc\r\n0\r\n\r\n",
      "a negative size", body "-3\r\nabc\r\n0\r\n\r\n",
      "a space before the size", body " 3\r\nabc\r\n0\r\n\r\n",
      "a space behind the size", body "3 \r\nabc\r\n0\r\n\r\n",
      "LF behind the size", body "3\nabc\r\n0\r\n\r\n",
      "CR behind the size", body "3\rabc\r\n0\r\n\r\n",
      "LF in an extension", body "3;a\nb\r\nabc\r\n0\r\n\r\n",
      "CR in an extension", body "3;a\rb\r\nabc\r\n0\r\n\r\n",
      "NUL in an extension", body "3;a\0b\r\nabc\r\n0\r\n\r\n",
      "a chunk that is longer", body "3\r\nabcd\r\n0\r\n\r\n",
      "LF behind the data", body "3\r\nabc\n0\r\n\r\n",
      "2^64", body "10000000000000000\r\nabc\r\n0\r\n\r\n",
      "a size that overflows", body "fffffffffffffffff3\r\nabc\r\n0\r\n\r\n",
      "LF behind the last size", body "0\n\r\n",
      "LF at the end", body "0\r\n\n",
      "a fold in a trailer", body "0\r\nX: a\r\n b\r\n\r\n",
      "a trailer without a name", body "0\r\n: a\r\n\r\n",
      "a trailer with a control byte", body "0\r\nX: \1\r\n\r\n",
      "a framing in a trailer", body "0\r\nTransfer-Encoding: chunked\r\n\r\n",
    })
  end)

  it("of a request behind a body is not seen inside of it", function()
    local hidden = "0\r\n\r\n" .. PROBE
    wire.check(h, {
      { name = "with a length", want = { { 200, body = hidden } },
        bytes = POST .. HOST .. "Content-Length: " .. #hidden .. "\r\n\r\n" .. hidden },
      { name = "Content-Length in a trailer", want = { { 200, body = "x" } },
        bytes = POST .. HOST .. "Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n"
          .. "Content-Length: 50\r\n\r\n" },
      { name = "with an ignored body", want = { { 200, body = "ignored" } },
        bytes = "POST /ignore HTTP/1.1\r\n" .. HOST .. "Content-Length: " .. #hidden
          .. "\r\n\r\n" .. hidden },
      { name = "Content-Length with another name", want = { { 200, body = "" } },
        bytes = POST .. HOST .. "Content_Length: 5\r\nX-Content-Length: 9\r\n\r\n" },
    })
  end)
end)
