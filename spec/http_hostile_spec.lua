-- atoll.http against servers that lie, break off, or never end.
local atoll = require "atoll"
local http = require "atoll.http"
local pool = require "atoll.http.pool"
local raw = require "support.raw"

local OK = "HTTP/1.1 200 OK\r\n"

-- What a client makes of the bytes, which are sent whole, or byte by byte.
local function answered(bytes, slowly, options)
  local server = raw.serve(function(socket)
    raw.head(socket)
    if slowly then
      for i = 1, #bytes do
        socket:write(bytes:sub(i, i))
        socket:flush()
        if i % 16 == 0 then atoll.sleep(0) end
      end
    else
      socket:write(bytes)
    end
  end)
  return http.get(server.url, options)
end

local function nothing_left()
  local total, idle = pool.count()
  assert.equal(total, idle)
end

describe("http, of an answer", function()
  after_each(raw.finish)

  for name, bytes in pairs {
    ["with two lengths"] = OK .. "Content-Length: 1\r\nContent-Length: 1\r\n\r\na",
    ["with a length beside chunks"] =
      OK .. "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ["with a negative length"] = OK .. "Content-Length: -1\r\n\r\n",
    ["with a length that overflows"] =
      OK .. "Content-Length: 18446744073709551617\r\n\r\na",
    ["with a chunk that overflows"] =
      OK .. "Transfer-Encoding: chunked\r\n\r\n10000000000000001\r\na\r\n0\r\n\r\n",
    ["with a chunk longer than its size"] =
      OK .. "Transfer-Encoding: chunked\r\n\r\n1\r\nab\r\n0\r\n\r\n",
    ["with a bare CR"] = OK .. "A: b\rContent-Length: 0\r\n\r\n",
    ["with a bare LF"] = OK .. "A: b\nContent-Length: 0\r\n\r\n",
    ["with a folded line"] = OK .. "A: b\r\n c\r\nContent-Length: 0\r\n\r\n",
    ["with a NUL"] = OK .. "A: b\0\r\nContent-Length: 0\r\n\r\n",
    ["that is no HTTP"] = "SSH-2.0-OpenSSH_9.2p1\r\n",
    ["of HTTP/2"] = "HTTP/2.0 200 OK\r\n\r\n",
    ["that changes the protocol"] = "HTTP/1.1 101 x\r\nUpgrade: y\r\n\r\n",
    ["with a malformed gzip"] =
      OK .. "Content-Encoding: gzip\r\nContent-Length: 12\r\n\r\nno gzip here",
    ["with half a gzip"] = OK .. "Content-Encoding: gzip\r\nContent-Length: 10\r\n\r\n"
      .. "\31\139\8\0\0\0\0\0\0\3",
    ["with endless 1xx"] = ("HTTP/1.1 102 x\r\n\r\n"):rep(1000),
    ["with an endless head"] = OK .. ("A: b\r\n"):rep(20000),
    ["with an endless line"] = OK .. "A: " .. ("b"):rep(70000),
    ["with endless trailers"] = OK .. "Transfer-Encoding: chunked\r\n\r\n0\r\n"
      .. ("A: b\r\n"):rep(20000),
  } do
    it(name .. " is an error", function()
      for _, slowly in ipairs { false, #bytes < 500 } do
        local res, message, code = answered(bytes, slowly)
        assert.is_nil(res)
        assert.is_string(message)
        assert.equal("EPROTO", code, message)
      end
      nothing_left()
    end)
  end

  for name, bytes in pairs {
    ["that ends before its head does"] = OK .. "A: b\r\n",
    ["that never begins"] = "",
    ["that ends before its length"] = OK .. "Content-Length: 3\r\n\r\nab",
    ["that ends in a chunk"] = OK .. "Transfer-Encoding: chunked\r\n\r\n3\r\nab",
    ["that ends between chunks"] = OK .. "Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n",
    ["that ends in its trailers"] =
      OK .. "Transfer-Encoding: chunked\r\n\r\n0\r\nA: b\r\n",
  } do
    it(name .. " no part is taken for the whole", function()
      local res, message, code = answered(bytes)
      assert.is_nil(res)
      assert.is_string(message)
      assert.equal("ECLOSED", code, message)
      if bytes ~= "" and not name:find "head" then
        res = assert(answered(bytes, false, { stream = true }))
        assert.has_error(function()
          for _ in res:chunks() do end -- luacheck: ignore
        end)
        res:close()
      end
      nothing_left()
    end)
  end

  it("that is cut at any byte no part is taken for the whole", function()
    for _, bytes in ipairs {
      OK .. "Content-Length: 5\r\n\r\nabcde",
      OK .. "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nA: b\r\n\r\n",
    } do
      local cut = 0
      local server = raw.serve(function(socket)
        if cut % 2 == 0 then raw.head(socket) end -- otherwise closing resets
        socket:write(bytes:sub(1, cut))
      end)
      for i = 0, #bytes - 1 do
        cut = i
        for _, stream in ipairs { false, true } do
          local res, message, code = http.get(server.url, { stream = stream })
          if res and stream then res, message, code = res:text() end
          assert.is_nil(res)
          assert.is_string(message)
          assert.is_true(code == "ECLOSED" or code == "ECONNRESET", code)
        end
      end
    end
    nothing_left()
  end)

  it("that is no longer waited for the connection is closed", function()
    local closed = 0
    local server = raw.serve(function(socket)
      local request = raw.request(socket)
      if not request then
        closed = closed + 1
        return
      end
      socket:write(OK .. "Transfer-Encoding: chunked\r\n\r\n")
      repeat
        atoll.sleep(0)
        socket:write "1\r\na\r\n"
      until not socket:flush()
      closed = closed + 1
    end)
    for turns = 0, 40 do
      local task = atoll.spawn(function()
        return http.post(server.url, ("x"):rep(100000))
      end)
      for _ = 1, turns do atoll.sleep(0) end
      task:cancel()
      assert.equal("ECANCELED", (select(3, task:join())))
    end
    local till = atoll.now() + 60
    while closed ~= server.count and atoll.now() < till do atoll.sleep(0.001) end
    assert.equal(server.count, closed)
    nothing_left()
  end)

  it("that comes byte by byte nothing is lost", function()
    local res = assert(answered("HTTP/1.1 103 Early\r\nA: b\r\n\r\n" .. OK
      .. "Transfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n002\r\nde\r\n"
      .. "0\r\nT: z\r\n\r\n", true))
    assert.equal("abcde", res.body)
    assert.equal("z", res.trailers.t)
  end)

  it("without a length the end of the connection is the end", function()
    assert.equal("abc", answered(OK .. "\r\nabc").body)
    assert.equal("abc", answered("HTTP/1.0 200 OK\r\n\r\nabc").body)
    assert.equal("", answered(OK .. "\r\n").body)
  end)

  it("what a bomb unpacks to is bounded", function()
    local pipe = assert(io.popen("head -c 67108864 /dev/zero | gzip -9 -n"))
    local bomb = pipe:read "a"
    pipe:close()
    local bytes = OK .. ("Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n"):format(
      #bomb) .. bomb
    local res, _, code = answered(bytes, false, { body_max = 1000000 })
    assert.is_nil(res)
    assert.equal("ETOOLARGE", code)
    res = assert(answered(bytes, false, { stream = true }))
    local n, longest = 0, 0
    for piece in res:chunks() do
      n, longest = n + #piece, math.max(longest, #piece)
    end
    assert.equal(67108864, n)
    assert.is_true(longest <= 65536)
    res = assert(answered(bytes, false, { decode = false }))
    assert.equal(bomb, res.body)
  end)

  it("gzip and deflate are undone, alone and in chunks", function()
    local function packed(command)
      local pipe = assert(io.popen("printf 'hello hello hello' | " .. command))
      local text = pipe:read "a"
      pipe:close()
      return text
    end
    local gzip = packed "gzip -n"
    local raw_deflate = gzip:sub(11, -9)
    for coding, body in pairs {
      gzip = gzip, ["x-gzip"] = gzip, deflate = raw_deflate,
    } do
      local head = OK .. "Content-Encoding: " .. coding .. "\r\n"
      local bytes = head .. ("Content-Length: %d\r\n\r\n"):format(#body) .. body
      assert.equal("hello hello hello", answered(bytes).body)
      assert.equal("hello hello hello", answered(bytes, true).body)
      local chunks = body:gsub(".", function(c) return "1\r\n" .. c .. "\r\n" end)
      bytes = head .. "Transfer-Encoding: chunked\r\n\r\n" .. chunks .. "0\r\n\r\n"
      assert.equal("hello hello hello", answered(bytes).body)
      assert.equal("hello hello hello", answered(head .. "\r\n" .. body).body)
    end
    local res = answered(OK .. "Content-Encoding: br\r\nContent-Length: 2\r\n\r\nxy")
    assert.equal("xy", res.body)
    res = answered(OK .. "Content-Encoding: gzip\r\nContent-Length: 0\r\n\r\n")
    assert.equal("", res.body)
  end)

  it("that comes before the request was sent the answer is taken", function()
    local server = raw.serve(function(socket)
      raw.head(socket)
      socket:write "HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno"
      socket:read "all" -- until the client closes
    end)
    local sent = 0
    local res = assert(http.post(server.url, function()
      sent = sent + 1
      atoll.sleep(0.001)
      return sent < 5000 and ("x"):rep(1000) or nil
    end))
    assert.same({ 413, "no" }, { res.status, res.body })
    assert.is_true(sent < 5000)
    nothing_left()
  end)
end)
