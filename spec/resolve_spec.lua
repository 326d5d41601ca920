-- Names are asked for in fibers, of a name server that the spec plays.
local dns = require "support.dns"
local events = require "support.events"
local host = require "support.host"
local json = require "atoll.json"
local wire = require "support.wire"

-- /ask/NAME?timeout=&family=&times= is what resolve returns, times in as many fibers at
-- once.
local APP = [[
local resolve = require("atoll.net").resolve
local function ask(req, name)
  local timeout = tonumber(req.query.timeout or 20)
  local list, message, code = resolve(name, { timeout = timeout,
    family = req.query.family })
  return { list = list, message = message, code = code }
end
app:get("/ask/:name", function(req)
  local tasks, results = {}, {}
  for n = 1, tonumber(req.query.times or 1) do
    local name = req.params.name:gsub("NUMBER", n)
    tasks[n] = atoll.spawn(ask, req, name)
  end
  for n, task in ipairs(tasks) do results[n] = task:join() end
  return #results == 1 and results[1] or atoll.json.array(results)
end)
app:get("/cancel/:name", function(req)
  local task = atoll.spawn(ask, req, req.params.name)
  atoll.timeout(0.02, atoll.sleep, 10)
  task:cancel()
  local result, message, code = task:join()
  return { result = result, message = message, code = code }
end)
app:get("/probe", function() return "probe" end)
]]

describe("names", function()
  local server, h

  local function start(options)
    options = options or {}
    -- The server is this very thread, which may have to wait for a CPU.
    local set = options.set or { resolver = server.address, resolver_timeout = 20 }
    for name, value in pairs(options.also or {}) do set[name] = value end
    h = host.start { app = options.app or APP, set = set, env = options.env,
      files = options.files }
  end

  local function ask(path) return json.decode(wire.ask(h, "/ask/" .. path).body) end

  before_each(function()
    server = dns.start {
      ["both.test"] = { A = { "127.0.0.1" }, AAAA = { "::1" } },
      ["four.test"] = { A = { "192.0.2.1", "192.0.2.2" } },
      ["silent.test"] = { silent = true, A = { "192.0.2.9" } },
    }
  end)

  after_each(function()
    wire.finish()
    host.finish()
    dns.finish()
  end)

  it("have addresses of both families", function()
    start()
    local list = ask("both.test").list
    table.sort(list)
    assert.same({ "127.0.0.1", "::1" }, list)
    assert.same({ "127.0.0.1" }, ask("both.test?family=inet").list)
    assert.same({ "::1" }, ask("both.test?family=inet6").list)
    list = ask("four.test").list
    table.sort(list)
    assert.same({ "192.0.2.1", "192.0.2.2" }, list)
  end)

  it("without such an address are not found", function()
    start()
    local result = ask "four.test?family=inet6"
    assert.equal("ENOTFOUND", result.code)
    assert.equal("the name has no such address", result.message)
  end)

  it("that are addresses are not asked for", function()
    start()
    assert.same({ "127.0.0.9" }, ask("127.0.0.9").list)
    assert.same({ "2001:db8::1" }, ask("2001:db8::1").list)
    assert.same("ENOTFOUND", ask("127.0.0.9?family=inet6").code)
    assert.equal(0, server.total)
  end)

  it("that nobody knows are not found", function()
    start()
    local result = ask "none.test"
    assert.equal("ENOTFOUND", result.code)
    assert.equal("host not found", result.message)
  end)

  it("whose servers fail may be there", function()
    server.names["bad.test"] = { code = "SERVFAIL" }
    server.names["no.test"] = { code = "REFUSED" }
    start()
    local result = ask "bad.test"
    assert.equal("EAI_AGAIN", result.code)
    assert.equal("the name servers fail or cannot be reached", result.message)
    assert.equal("EAI_AGAIN", ask("no.test").code)
    server.names["bad.test"] = { A = { "192.0.2.3" } } -- that they fail is not kept
    assert.same({ "192.0.2.3" }, ask("bad.test").list)
  end)

  it("are asked for over TCP when the answer was cut off", function()
    local many = {}
    for n = 1, 60 do many[n] = "192.0.2." .. n end
    server.names["many.test"] = { A = many, truncated = true }
    start()
    local result = ask "many.test?family=inet"
    assert.equal(16, #(result.list or {}), result.message)
    assert.equal(1, server.tcp)
  end)

  it("time out when no server answers", function()
    start { also = { resolver_timeout = 0.05 } }
    local result = ask "silent.test?family=inet"
    assert.equal("ETIMEDOUT", result.code)
    assert.equal("no name server has answered", result.message)
    server:wait("silent.test A", 3)
    assert.equal(3, server:count "silent.test A")
  end)

  it("time out when the caller does not want to wait", function()
    start()
    local result = ask "silent.test?timeout=0.05"
    assert.equal("ETIMEDOUT", result.code)
    assert.equal("timed out", result.message)
    server:wait "silent.test A"
    assert.equal("ETIMEDOUT", ask("silent.test?timeout=0").code)
    assert.equal(1, server:count "silent.test A")
  end)

  it("are asked for at the next server when one is silent", function()
    local other = dns.start { ["there.test"] = { A = { "192.0.2.7" } } }
    server.names["there.test"] = { silent = true }
    -- In whose time the other one, this process, answers: or it is asked once more.
    events.retry("an answer within two seconds", function()
      server.asked = {}
      start { set = { resolver = server.address .. "," .. other.address,
        resolver_timeout = 2 } }
      assert.same({ "192.0.2.7" }, ask("there.test?family=inet").list)
      h:stop()
      assert.is_true(server:count "there.test A" >= 1)
      return server:count "there.test A" == 1
    end)
  end)

  it("are remembered, whatever their case", function()
    start()
    for _, name in ipairs { "both.test", "Both.Test", "both.test" } do
      assert.equal(2, #ask(name).list)
    end
    assert.equal(1, server:count "both.test A")
    assert.equal(1, server:count "both.test AAAA")
  end)

  it("that are not found are remembered, too", function()
    start()
    -- For a moment: not for long enough where the machine stands still.
    local number = 0
    events.retry("an answer that is remembered", function()
      local results = {}
      number = number + 1
      local name = ("none%d.test"):format(number)
      for n = 1, 3 do results[n] = ask(name .. "?family=inet").code end
      assert.same({ "ENOTFOUND", "ENOTFOUND", "ENOTFOUND" }, results)
      return server:count(name .. " A") < 3
    end)
  end)

  it("are asked for again when their time is over", function()
    server.names["short.test"] = { A = { "192.0.2.1" }, ttl = 0 }
    server.names["alias.test"] = { cname = "x.test", cname_ttl = 1,
      A = { "192.0.2.1" } }
    start()
    local function first(name) return ask(name .. ".test?family=inet").list[1] end
    local function ask_both() return first "short", first "alias" end
    assert.same({ "192.0.2.1", "192.0.2.1" }, { ask_both() })
    server.names["short.test"].A = { "192.0.2.2" }
    server.names["alias.test"].A = { "192.0.2.2" }
    events.retry("the new addresses", function()
      local one, two = ask_both()
      return one == "192.0.2.2" and two == one
    end)
  end)

  it("are remembered for the last 256 at most", function()
    for n = 1, 300 do
      server.names["n" .. n .. ".test"] = { A = { "192.0.2.1" }, ttl = 1000 }
    end
    start()
    for n = 1, 300 do ask("n" .. n .. ".test?family=inet") end
    assert.equal(300, server.total)
    for n = 300, 45, -1 do ask("n" .. n .. ".test?family=inet") end
    assert.equal(300, server.total)
    ask "n44.test?family=inet"
    assert.equal(301, server.total)
    ask "n299.test?family=inet" -- the longest unasked for is n300
    assert.equal(301, server.total)
    ask "n300.test?family=inet"
    assert.equal(302, server.total)
  end)

  it("of a hundred fibers are one question", function()
    server.names["four.test"].silent = true
    start()
    local c = wire.connect(h)
    c:send "GET /ask/four.test?family=inet&times=100 HTTP/1.1\r\nHost: a\r\n\r\n"
    server:wait "four.test A"
    assert.equal("probe", wire.ask(h, "/probe").body) -- nobody else waits
    server.names["four.test"].silent = nil
    server:release()
    local results = json.decode(c:receive().body)
    assert.equal(100, #results)
    for _, result in ipairs(results) do assert.equal(2, #result.list) end
    assert.equal(2, server:count "four.test A") -- once, and when it was released
  end)

  it("may have another name", function()
    server.names["www.test"] = { cname = "host.test", A = { "192.0.2.5" } }
    start()
    assert.same({ "192.0.2.5" }, ask("www.test?family=inet").list)
  end)

  it("whose answer is malformed do no harm", function()
    local good
    server.names["good.test"] = { cname = "x.test", A = { "192.0.2.1", "192.0.2.2" },
      forge = function(text) good = text return text end }
    start()
    assert.equal(2, #ask("good.test?family=inet").list)
    h:stop()
    start { also = { resolver_timeout = 0.05 } }
    -- Cut off at every byte, and each byte of it another.
    for n = 1, #good - 1 do
      server.names["a" .. n .. ".test"] = { cname = "x.test",
        A = { "192.0.2.1", "192.0.2.2" },
        forge = function(text) return text:sub(1, n) end }
    end
    for n = 13, #good do
      for i, byte in ipairs { 0, 0x3f, 0xc0, 0xff } do
        server.names[("b%d.test"):format(n * 4 + i)] = { cname = "x.test",
          A = { "192.0.2.1", "192.0.2.2" }, forge = function(text)
            return text:sub(1, n - 1) .. string.char(byte) .. text:sub(n + 1)
          end }
      end
    end
    for _, path in ipairs { "aNUMBER.test?family=inet&times=" .. #good - 1,
      "bNUMBER.test?family=inet&times=" .. #good * 4 + 4 } do
      for _, result in ipairs(ask(path)) do
        assert(result.list or result.code == "EAI_AGAIN" or result.code == "ETIMEDOUT"
          or result.code == "ENOTFOUND", json.encode(result))
      end
    end
    assert.equal("probe", wire.ask(h, "/probe").body)
    h:term()
    h:ended_well()
  end)

  it("that are no longer asked for are remembered when the answer comes", function()
    start()
    local result = json.decode(wire.ask(h, "/cancel/silent.test?family=inet").body)
    assert.equal("ECANCELED", result.code)
    server:wait "silent.test A"
    server.names["silent.test"].silent = nil
    server:release()
    assert.same({ "192.0.2.9" }, ask("silent.test?family=inet").list)
    assert.equal(2, server:count "silent.test A") -- once, and when it was released
  end)

  it("being asked for do not keep the host from ending", function()
    start { also = { drain_timeout = 0.1 } }
    local c = wire.connect(h)
    c:send "GET /ask/silent.test?times=20 HTTP/1.1\r\nHost: a\r\n\r\n"
    server:wait "silent.test A"
    h:term()
    assert.equal(0, (h:ended()))
  end)

  it("are asked for with the system's search domains", function()
    server.names["db.corp.test"] = { A = { "192.0.2.20" } }
    start { env = { LOCALDOMAIN = "lab.test corp.test" } }
    assert.same({ "192.0.2.20" }, ask("db?family=inet").list)
    assert.equal(1, server:count "db.lab.test A")
  end)

  it("stand in the hosts file, which goes first", function()
    local dir = host.directory { hosts = "192.0.2.30 printer.test printer\n" }
    start { env = { CARES_HOSTS = dir .. "/hosts" } }
    assert.same({ "192.0.2.30" }, ask("printer.test").list)
    assert.same({ "192.0.2.30" }, ask("printer").list)
    assert.equal(0, server.total)
  end)

  it("of the machine itself are not asked for", function()
    start()
    assert.same({ "127.0.0.1", "::1" }, ask("localhost").list)
    assert.same({ "127.0.0.1" }, ask("LocalHost.?family=inet").list)
    assert.same({ "::1" }, ask("x.localhost?family=inet6").list)
    assert.equal(0, server.total)
  end)

  it("are asked for elsewhere after a reload that says so", function()
    local other = dns.start { ["both.test"] = { A = { "192.0.2.77" } } }
    local function config(s)
      return ("return { resolver = %q, resolver_timeout = 20 }\n"):format(s.address)
    end
    start { set = {}, files = { ["app.lua"] = host.app(APP),
      ["atoll.lua"] = config(server) } }
    local c = wire.connect(h)
    c:send "GET /ask/silent.test?family=inet HTTP/1.1\r\nHost: a\r\n\r\n"
    assert.same({ "127.0.0.1" }, ask("both.test?family=inet").list)
    server:wait "silent.test A"
    h:write("atoll.lua", config(other))
    h:reload()
    assert.same({ "192.0.2.77" }, ask("both.test?family=inet").list)
    server.names["silent.test"].silent = nil
    server:release() -- who has asked the old one hears from it
    assert.same({ "192.0.2.9" }, json.decode(c:receive().body).list)
  end)

  it("are waited for by the thread while an app loads", function()
    start { app = [[
      local resolve = require("atoll.net").resolve
      local list = assert(resolve("both.test", { family = "inet" }))
      app:get("/", function() return list[1] end) ]] }
    assert.equal("127.0.0.1", wire.ask(h, "/").body)
    h:log_wait "app.lua:2: network calls outside a fiber block the thread"
    h:stop()
    assert.equal(1, h:count "network calls outside a fiber block the thread")
  end)

  it("may take that app's time limit", function()
    start { app = [[
      local resolve = require("atoll.net").resolve
      local list, message, code = resolve("silent.test", { timeout = 0.02 })
      app:get("/", function() return code .. " " .. message end) ]] }
    assert.equal("ETIMEDOUT timed out", wire.ask(h, "/").body)
  end)
end)

describe("net.resolve()", function()
  local resolve = require("atoll.net").resolve

  it("does not ask for names that nobody can have", function()
    for _, name in ipairs { "", "a b", "a/b", "[::1]", "x\0y", "a:80", "a\\.test", ".",
      ("a"):rep(64) .. ".test", ("a."):rep(126) .. "ab" } do
      local list, message, code = resolve(name)
      assert.same({ nil, "no host can have this name", "ENOTFOUND" },
        { list, message, code }, name)
    end
  end)

  it("refuses what makes no sense", function()
    assert.error_matches(function() resolve() end, "string expected")
    assert.error_matches(function() resolve("a", 1) end, "table expected")
    assert.error_matches(function() resolve("a", { family = "ipv4" }) end,
      "family must be 'inet' or 'inet6', not 'ipv4'")
    assert.error_matches(function() resolve("a", { family = 4 }) end,
      "family must be 'inet' or 'inet6', not number")
    assert.error_matches(function() resolve("a", { timeout = -1 }) end, "negative")
  end)
end)

describe("resolver", function()
  local command = require "support.command"
  before_each(command.begin)
  after_each(command.finish)

  it("takes IP addresses only", function()
    for _, value in ipairs { "localhost", "[::1", "127.0.0.1:x", "127.0.0.1:5:3",
      "[::1]5", "[127.0.0.1", ":53", "127.0.0.1:65536" } do
      command.refuses(64, "resolver: '" .. value .. "'",
        "check DIR --resolver '" .. value .. "'")
    end
    for _, value in ipairs { "127.0.0.1", "127.0.0.1:5353,[::1]:53 ::1", "" } do
      assert.equal(0, (command.atoll("check DIR --resolver '" .. value .. "'")))
    end
  end)
end)
