-- atoll.http and TLS.
local atoll = require "atoll"
local certs = require "support.certs"
local http = require "atoll.http"
local raw = require "support.raw"

describe("https", function()
  local c, trust, server

  before_each(function()
    c = certs.make()
    trust = { tls = { ca = c.ca } }
    server = raw.answer(function(request) return raw.ok(request.line) end, nil,
      { tls = { cert = c.server, key = c.key } })
  end)

  after_each(raw.finish)

  teardown(certs.finish)

  it("is spoken, over connections that are kept", function()
    for i = 1, 3 do
      local res = assert(http.get(server.url .. "/" .. i, trust))
      assert.equal(("GET /%d HTTP/1.1"):format(i), res.body)
      assert.equal(server.url .. "/" .. i, res.url)
    end
    assert.equal(1, server.count)
    local body = ("x"):rep(1000000)
    assert.equal("POST / HTTP/1.1", http.post(server.url, body, trust).body)
  end)

  it("verifies the server, and its name", function()
    for _, options in ipairs { {}, { tls = { ca = c.other } },
      { tls = { ca = c.ca, name = "other.test" } } } do
      local none, message, code = http.get(server.url, options)
      assert.is_nil(none)
      assert.match("cannot connect to " .. server.address .. ": certificate verify "
        .. "failed: ", message, 1, true)
      assert.equal("ETLS", code)
    end
    assert.equal(200, http.get(server.url,
      { tls = { ca = c.ca, name = "server.test" } }).status)
    assert.equal(200, http.get(server.url, { tls = { verify = false } }).status)
  end)

  it("shares no connection between those who trust others", function()
    assert.equal(200, http.get(server.url, { tls = { verify = false } }).status)
    assert.equal("ETLS", (select(3, http.get(server.url))))
    assert.equal(200, http.get(server.url, trust).status)
    assert.equal(200, http.get(server.url, { tls = { ca = c.ca } }).status)
    assert.equal(200, http.get(server.url, { tls = { verify = false } }).status)
    assert.equal(3, server.count)
  end)

  it("goes through the tunnel of a proxy", function()
    local asked = {}
    local proxy = raw.serve(function(socket)
      local line, fields = raw.head(socket)
      asked[#asked + 1] = { line, fields["proxy-authorization"] }
      local to <close> = assert(atoll.net.connect(line:match "^CONNECT (%S+)"))
      socket:write "HTTP/1.1 200 Connected\r\n\r\n"
      local back = atoll.spawn(function()
        for bytes in function() return to:read "some" end do socket:write(bytes) end
      end)
      for bytes in function() return socket:read "some" end do to:write(bytes) end
      back:cancel()
    end)
    local options = { proxy = proxy.url:gsub("//", "//u:p@"), tls = trust.tls }
    for _ = 1, 2 do
      assert.equal("GET /x HTTP/1.1", http.get(server.url .. "/x", options).body)
    end
    assert.same({ { ("CONNECT %s HTTP/1.1"):format(server.address), "Basic dTpw" } },
      asked)
    assert.equal(1, server.count)
  end)

  it("does not take what a proxy says in clear for the server's word", function()
    local proxy = raw.serve(function(socket)
      raw.head(socket)
      socket:write("HTTP/1.1 200 Connected\r\n\r\n", raw.ok "false")
      socket:read(1)
    end)
    local none, _, code = http.get(server.url, { proxy = proxy.url, tls = trust.tls })
    assert.is_nil(none)
    assert.equal("ETLS", code)
  end)

  it("has a time limit for the handshake", function()
    local deaf = raw.serve(function(socket) socket:read "all" end)
    local none, message, code = http.get((deaf.url:gsub("http:", "https:")),
      { tls_timeout = 0.02 })
    assert.same({ nil, "timed out in the TLS handshake", "ETIMEDOUT" },
      { none, message, code })
  end)

  it("is left by a redirect, and nothing that was secret goes along", function()
    local seen
    local plain = raw.answer(function(request)
      seen = request.fields
      return raw.ok "plain"
    end)
    local away = raw.answer(function()
      return "HTTP/1.1 307 x\r\nContent-Length: 0\r\nLocation: " .. plain.url
        .. "\r\n\r\n"
    end, nil, { tls = { cert = c.server, key = c.key } })
    assert.equal("plain", http.get(away.url,
      { tls = trust.tls, headers = { Authorization = "x" } }).body)
    assert.is_nil(seen.authorization)
  end)
end)
