-- A line for each request, whatever became of it.
local events = require "support.events"
local host = require "support.host"
local wire = require "support.wire"

local function get(path, more)
  return ("GET %s HTTP/1.1\r\nHost: a\r\n%s\r\n"):format(path, more or "")
end

describe("access log", function()
  local h

  -- The line of stdout that has this text.
  local function line(pattern)
    return events.wait(function() return pattern .. " in " .. h.out end, function()
      return h.out:match("[^\n]*" .. pattern .. "[^\n]*\n")
    end)
  end

  after_each(function()
    wire.finish()
    host.finish()
  end)

  it("is combined, with the request's id and how long it took", function()
    h = host.start { dir = "spec/apps/wire", set = { access_log = "stdout" } }
    wire.ask(h, get("/probe?x=1", "Referer: http://r/\r\nUser-Agent: spec/1\r\n"))
    local text = line "/probe%?x=1"
    assert.truthy(text:find('^127%.0%.0%.1 %- %- %[%d%d/%a%a%a/%d%d%d%d:%d%d:%d%d:%d%d '
      .. '[+-]%d%d%d%d%] "GET /probe%?x=1 HTTP/1%.1" 200 5 "http://r/" "spec/1" '
      .. '%x+ %d+%.%d+\n$'), text)
    wire.ask(h, get "/none")
    assert.truthy(line("/none"):find '" 404 %d+ "%-" "%-" %x+')
  end)

  it("has no line that a client can forge", function()
    h = host.start { dir = "spec/apps/wire", set = { access_log = "stdout" } }
    wire.ask(h, get("/probe", 'User-Agent: a" 200 "b\t\200\r\n'))
    local text = line "/probe"
    assert.is_nil(text:find "[%c\128-\255][^\n]")
    assert.is_nil(text:find('a" 200', 1, true))
    wire.ask(h, get('/"quote"'))
    assert.is_nil(line("quote"):find('/"quote', 1, true))
  end)

  it("tells what was refused and who went away", function()
    h = host.start { dir = "spec/apps/wire", set = { access_log = "stdout" } }
    wire.ask(h, "GET / HTTP/1.1\r\n\r\n")
    assert.truthy(line('" 400 '))
    local c = wire.connect(h):send(get "/hold/away")
    events.retry("the handler", function()
      return wire.ask(h, "/seen/away").body == "1"
    end)
    c:abort()
    local text = line "/hold/away"
    assert.truthy(text:find('" 499 - ', 1, true), text)
    wire.ask(h, "/open/away")
  end)

  it("is JSON when that is asked for", function()
    h = host.start { dir = "spec/apps/wire",
      set = { access_log = "stdout", log_format = "json" } }
    wire.ask(h, get("/probe", 'User-Agent: "\\\r\n'))
    local json = require "atoll.json"
    local entry = json.decode(line "/probe")
    assert.equal(200, entry.status)
    assert.equal('"\\', entry.user_agent)
  end)

  it("has the id of the error beside it", function()
    h = host.start { app = [[app:get("/", function() error "x" end)]],
      set = { access_log = "stdout" } }
    wire.ask(h, "/")
    local id = line("GET / "):match '" 500 %d+ "%-" "%-" (%x+)'
    h:log_wait("request_id=" .. id)
  end)

  it("never makes an isolate wait for its reader", function()
    -- Nobody reads from the pipe that is stdout.
    h = host.start { dir = "spec/apps/wire", set = { access_log = "stdout" } }
    h.pipes[1]:read_stop()
    local c = wire.connect(h)
    local requests = get("/probe?" .. ("x"):rep(1000)):rep(100)
    for _ = 1, 30 do
      c:send(requests)
      for _ = 1, 100 do assert.equal("probe", c:receive().body) end
    end
    h.pipes[1]:read_start(events.guard(function(_, data)
      if not data then
        h.open = h.open - 1
        h.pipes[1]:close()
      end
    end))
  end)
end)
