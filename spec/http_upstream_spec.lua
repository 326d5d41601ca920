-- atoll.http inside a host: in handlers, while an app loads, and across reloads.
local command = require "support.command"
local host = require "support.host"
local wire = require "support.wire"

local UPSTREAM = [[
  app:get("/", function() return "up" end)
  app:get("/slow", function() atoll.sleep(0.05) return "slow" end)
  app:get("/cut", function()
    return atoll.stream(function(write)
      write "begin"
      error "cut"
    end, 200, { ["Content-Length"] = "100" })
  end)
]]

local GATE = [[
  local up = "%s"
  app:get("/", function() return atoll.http.get(up).body end)
  app:get("/probe", function() return "probe" end)
  app:get("/three", function()
    local function ask() return assert(atoll.http.get(up .. "/slow")).body end
    local a, b, c = atoll.spawn(ask), atoll.spawn(ask), atoll.spawn(ask)
    return a:join() .. b:join() .. c:join()
  end)
  app:get("/through", function()
    local res = assert(atoll.http.get(up, { stream = true }))
    return atoll.stream(function(write)
      for chunk in res:chunks() do write(chunk) end
    end)
  end)
  app:get("/cut", function()
    local res, message, code = atoll.http.get(up .. "/cut")
    return 502, code
  end)
]]

describe("http in a host", function()
  local up

  before_each(function() up = host.start { app = UPSTREAM } end)

  after_each(function()
    wire.finish()
    host.finish()
  end)

  it("asks upstreams from handlers, and leaves nothing behind", function()
    local h = host.start { app = GATE:format(up.url), isolates = 2 }
    local list = {}
    for i = 1, 20 do
      list[i] = wire.connect(h)
      list[i]:send "GET /three HTTP/1.1\r\nHost: a\r\n\r\n"
    end
    for _, c in ipairs(list) do assert.equal("slowslowslow", c:receive().body) end
    for _, path in ipairs { "/", "/through" } do
      for _, c in ipairs(list) do assert.equal("up", c:ask(path).body) end
    end
    assert.equal("ECLOSED", wire.ask(h, "/cut").body)
    h:stop()
    up:stop()
  end)

  it("goes on after a reload", function()
    local h = host.start { app = GATE:format(up.url) }
    local c = wire.connect(h)
    for generation = 2, 6 do
      assert.equal("up", c:ask("/").body)
      h:hup()
      h:log_wait("generation " .. generation .. " serves")
    end
    assert.equal("up", c:ask("/").body)
    h:stop()
  end)

  it("goes on after the upstream was started again", function()
    local again = host.start { app = UPSTREAM }
    local h = host.start { app = GATE:format(again.url) }
    local c = wire.connect(h)
    assert.equal("up", c:ask("/").body)
    again:stop()
    assert.equal(500, c:ask("/").status)
    host.start { app = UPSTREAM, listen = { "127.0.0.1:" .. again.port } }
    assert.equal("up", c:ask("/").body)
  end)

  it("blocks while an app loads, and works", function()
    local h = host.start { app = ([[
      local text = atoll.http.get("%s").body
      app:get("/", function() return text end)]]):format(up.url) }
    assert.equal("up", wire.ask(h, "/").body)
    h.told = 1
    h:log_wait "network calls outside a fiber block the thread"
  end)

  it("goes through the proxies of the environment", function()
    command.begin()
    command.write("s.lua", [[
      local proxy, url = require "atoll.http.proxy", require "atoll.http.url"
      for _, text in ipairs { "http://a.org/", "https://a.org/", "http://b.org/",
        "http://x.b.org/", "http://xb.org/", "http://c.org/", "http://c.org:81/",
        "http://[::1]/", "http://[::2]/" } do
        local found = proxy.of(url.parse(text))
        print(text, found and found.origin or found)
      end
      print(require("atoll").http.get("http://upstream.invalid/").body)]])
    local environment = ("http_proxy=%s https_proxy=p:1 HTTP_PROXY=http://bad:1 "
      .. "no_proxy='b.org, .c.org:81,::1'"):format(up.url)
    local code, out, err = command.atoll("run DIR/s.lua", environment)
    command.finish()
    assert.same({ 0, "" }, { code, err })
    local expected = {
      { "http://a.org/", up.url }, { "https://a.org/", "http://p:1" },
      { "http://b.org/", "false" }, { "http://x.b.org/", "false" },
      { "http://xb.org/", up.url }, { "http://c.org/", up.url },
      { "http://c.org:81/", "false" }, { "http://[::1]/", "false" },
      { "http://[::2]/", up.url }, { "up" },
    }
    for i, line in ipairs(expected) do expected[i] = table.concat(line, "\t") end
    assert.equal(table.concat(expected, "\n") .. "\n", out)
  end)
end)
