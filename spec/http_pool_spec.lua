-- The connections that atoll.http keeps and uses again.
local atoll = require "atoll"
local http = require "atoll.http"
local pool = require "atoll.http.pool"
local raw = require "support.raw"
local whole = require "support.whole"

local function wait_for(done)
  local till = atoll.now() + 60
  while not done() do
    assert(atoll.now() < till, "waited in vain")
    atoll.sleep(0.001)
  end
end

setup(whole.begin)
teardown(whole.over)

describe("http's pool", function()
  local usual

  before_each(function() usual = http.limits() end)

  after_each(function()
    http.limits(usual)
    raw.finish()
  end)

  it("uses a connection again", function()
    local server = raw.answer(function() return raw.ok "x" end)
    for _ = 1, 5 do assert.equal("x", http.get(server.url).body) end
    assert.same({ 1, 5 }, { server.count, server.requests })
    for _ = 1, 3 do
      local res = http.get(server.url, { stream = true })
      assert.equal("x", res:text())
    end
    assert.equal(1, server.count)
  end)

  it("uses none again that it may not", function()
    for _, answer in ipairs {
      "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nConnection: close\r\n\r\nx",
      "HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\nx",
      "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx" .. raw.ok "nobody asked",
      "HTTP/1.1 204 x\r\nContent-Length: 5\r\n\r\n",
    } do
      local server = raw.answer(function() return answer end)
      for _ = 1, 3 do assert.is_not_nil(http.get(server.url)) end
      assert.equal(3, server.count)
    end
    local server = raw.answer(function() return raw.ok "x" end)
    for _ = 1, 3 do http.get(server.url, { headers = { Connection = "close" } }) end
    assert.equal(3, server.count)
    local res = http.get(server.url, { stream = true })
    res:close()
    http.get(server.url)
    assert.equal(5, server.count)
  end)

  it("keeps apart what leads to other places", function()
    local server = raw.answer(function(request) return raw.ok(request.fields.host) end)
    local port = server.address:match ":(%d+)$"
    assert.equal("localhost:" .. port, http.get("http://localhost:" .. port).body)
    assert.equal("127.0.0.1:" .. port, http.get("http://127.0.0.1:" .. port).body)
    http.get("http://LOCALHOST:" .. port)
    assert.equal(2, server.count)
  end)

  it("notices that a server has closed, or said something", function()
    for _, word in ipairs { "", "HTTP/1.1 408 Timeout\r\n\r\n" } do
      local closed = 0
      local server = raw.serve(function(socket)
        raw.request(socket)
        socket:write(raw.ok "x")
        socket:flush()
        atoll.sleep(0.005)
        socket:write(word)
        socket:close()
        closed = closed + 1
      end)
      for i = 1, 3 do
        assert.equal("x", http.post(server.url, "y").body)
        wait_for(function() return closed == i end)
        atoll.sleep(0.005)
      end
      assert.equal(3, server.count)
    end
  end)

  it("asks once more when a connection dies before it answers", function()
    local asked = {}
    local server = raw.serve(function(socket, number)
      for i = 1, 2 do
        local request = raw.request(socket)
        if not request then return end
        asked[#asked + 1] = number .. request.line:match "^%a+"
        if i == 1 then socket:write(raw.ok(tostring(number))) end
      end
    end)
    assert.equal("1", http.get(server.url).body)
    assert.equal("2", http.get(server.url).body)
    assert.equal("3", http.put(server.url, "x").body)
    local none, _, code = http.post(server.url, "x")
    assert.is_nil(none)
    assert.equal("ECLOSED", code)
    assert.same({ "1GET", "1GET", "2GET", "2PUT", "3PUT", "3POST" }, asked)
    none, _, code = http.post(server.url, "x")
    assert.is_not_nil(none, code)
  end)

  it("asks only once where a new connection dies", function()
    local server = raw.serve(function(socket) raw.request(socket) end)
    local none, _, code = http.get(server.url)
    assert.is_nil(none)
    assert.equal("ECLOSED", code)
    assert.equal(1, server.count)
  end)

  it("reads short rests to keep a connection, and gives up long ones", function()
    for length, connections in pairs { [1000] = 1, [100000] = 2 } do
      local server = raw.answer(function(request)
        if request.line:find "/end" then return raw.ok "end" end
        local head = "HTTP/1.1 302 x\r\nLocation: /end\r\nContent-Length: %d\r\n\r\n"
        return head:format(length) .. ("x"):rep(length)
      end)
      assert.equal("end", http.get(server.url .. "/a").body)
      assert.equal(connections, server.count)
    end
  end)

  it("closes what has been idle for too long", function()
    http.limits { idle = 0.02 }
    local gone = false
    local server = raw.serve(function(socket)
      raw.request(socket)
      socket:write(raw.ok "x")
      gone = socket:read(1) == nil
    end)
    assert.equal("x", http.get(server.url).body)
    wait_for(function() return gone end)
    http.limits { idle = 0 }
    http.get(server.url)
    local _, idle = pool.count()
    http.get(server.url)
    assert.equal(3, server.count)
    assert.equal(idle, (select(2, pool.count())))
  end)

  it("lets no more than so many at a host, the others in line", function()
    for per_host = 1, 3 do
      http.limits { per_host = per_host }
      local open, most, order = 0, 0, {}
      local server = raw.answer(function(request)
        open = open + 1
        most = math.max(most, open)
        order[#order + 1] = request.line:match "/(%d+)"
        while most < per_host do atoll.sleep(0) end
        atoll.sleep(0.002)
        open = open - 1
        return raw.ok "x"
      end)
      local tasks, sent = {}, {}
      for i = 1, 20 do
        sent[i] = tostring(i)
        tasks[i] = atoll.spawn(function()
          return assert(http.get(server.url .. "/" .. i)).body
        end)
      end
      for _, task in ipairs(tasks) do assert.equal("x", task:join()) end
      assert.same({ per_host, per_host }, { most, server.count })
      if per_host == 1 then assert.same(sent, order) end
    end
  end)

  it("lets nobody wait in line for ever", function()
    http.limits { per_host = 1 }
    local go = false
    local server = raw.answer(function()
      while not go do atoll.sleep(0.001) end
      return raw.ok "x"
    end)
    local first = atoll.spawn(http.get, server.url)
    wait_for(function() return server.requests == 1 end)
    local none, message, code = http.get(server.url, { connect_timeout = 0.01 })
    assert.same({ nil, "timed out waiting for a free connection", "ETIMEDOUT" },
      { none, message, code })
    local waiting = atoll.spawn(http.get, server.url)
    local behind = atoll.spawn(http.get, server.url)
    wait_for(function() return select(3, pool.count()) == 2 end)
    waiting:cancel()
    go = true
    assert.equal("x", first:join().body)
    assert.equal("x", behind:join().body)
    assert.equal(2, server.requests)
    assert.equal(1, server.count)
    assert.equal(0, (select(3, pool.count())))
  end)

  -- The room that an answer made which was given up met no line yet, and was nobody's.
  local function collected_on_the_way(fn)
    local core = require "atoll.core.http"
    local place = core.place
    http.limits { per_host = 1 }
    local server = raw.answer(function() return raw.ok "x" end)
    local waits = false
    core.place = function()
      waits = true
      collectgarbage()
      fn()
      return place()
    end
    collectgarbage "stop" -- or it could be gone before anybody waits
    -- Of a fiber that has ended: a stack may still hold what it held once.
    atoll.spawn(function() assert(http.get(server.url, { stream = true })) end):join()
    local answer, message = http.get(server.url, { connect_timeout = 20 })
    core.place = place
    collectgarbage "restart"
    assert.is_true(waits)
    assert.equal("x", answer and answer.body, message)
    assert.equal(0, (select(3, pool.count())))
  end

  it("finds what the collector closes while somebody enters the line", function()
    collected_on_the_way(function() end)
  end)

  -- As if the slice had ended there: it was nobody's, either.
  it("finds what is given back while somebody is suspended on the way", function()
    collected_on_the_way(function()
      for _ = 1, 3 do atoll.sleep(0) end
    end)
  end)

  it("gives the place of one that was cancelled to the next", function()
    http.limits { per_host = 1 }
    local go = false
    local server = raw.answer(function()
      while not go do atoll.sleep(0.001) end
      return raw.ok "x"
    end)
    local first = atoll.spawn(http.get, server.url)
    wait_for(function() return server.requests == 1 end)
    local next_one = atoll.spawn(http.get, server.url)
    wait_for(function() return select(3, pool.count()) == 1 end)
    first:cancel()
    go = true
    assert.equal("x", next_one:join().body)
    assert.equal(2, server.count)
  end)

  it("has a limit for all hosts together", function()
    -- What earlier specs have left idle makes way.
    http.limits { total = 2 }
    local servers = {}
    for i = 1, 4 do
      servers[i] = raw.answer(function() atoll.sleep(0.002) return raw.ok "x" end)
    end
    local tasks = {}
    for i = 1, 20 do
      tasks[i] = atoll.spawn(function()
        return assert(http.get(servers[i % 4 + 1].url)).body
      end)
    end
    for _ = 1, 50 do
      assert.is_true(pool.count() <= 2 or (select(2, pool.count())) == pool.count())
      atoll.sleep(0)
    end
    for _, task in ipairs(tasks) do assert.equal("x", task:join()) end
    assert.is_true(pool.count() <= 2)
  end)

  it("does not let a busy host starve another", function()
    http.limits { total = 1 }
    local busy = raw.answer(function() return raw.ok "busy" end)
    local other = raw.answer(function() return raw.ok "other" end)
    local stop = false
    local tasks = {}
    for i = 1, 3 do
      tasks[i] = atoll.spawn(function()
        while not stop do assert(http.get(busy.url)) end
      end)
    end
    assert.equal("other", assert(http.get(other.url)).body)
    stop = true
    for _, task in ipairs(tasks) do task:join() end
  end)
end)
