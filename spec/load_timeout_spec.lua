-- Apps that do not end to load, or to start, fail to; what serves goes on.
local events = require "support.events"
local host = require "support.host"
local wire = require "support.wire"

local APP = [[app:get("/", function() return "here" end)]]

describe("load_timeout", function()
  after_each(function()
    wire.finish()
    host.finish()
  end)

  local PATIENT = "return {}"

  local function start()
    return host.start { isolates = 2, files = { ["app.lua"] = host.app(APP),
      ["atoll.lua"] = PATIENT } }
  end

  local function here(h)
    return wire.ask(h, "GET / HTTP/1.1\r\nHost: x\r\n\r\n").body == "here"
  end
  -- Calls fn with a limit, twice that and so on, until the text that it returns has
  -- this: a slow machine does not come as far in less time.
  local function at_last(pattern, fn)
    local seconds = 0.1
    events.retry(pattern, function()
      seconds = seconds * 2
      local line = fn(seconds)
      assert.matches(("load_timeout: .* for %g s"):format(seconds), line)
      return line:find(pattern)
    end)
  end

  -- Reloads, which fails with that.
  local function fails(h, pattern)
    at_last(pattern, function(seconds)
      h:write("atoll.lua", ("return { load_timeout = %g }"):format(seconds))
      h:hup()
      h:log_wait "reload failed[^\n]*running code goes on"
      return h:log_wait "([^\n]*load_timeout: [^\n]*)"
    end)
  end

  for what, app in pairs {
    ["an endless loop"] = "while true do end",
    ["one around a pcall"] =
      "local function spin() while true do end end while true do pcall(spin) end",
    ["one in a coroutine"] = "coroutine.wrap(function() while true do end end)()",
    ["one in a comparator"] = "table.sort({ 1, 2 }, function() while true do end end)",
  } do
    it("ends the loading of " .. what, function()
      local h = start()
      h:write_app(app)
      fails(h, "app.lua:1: load_timeout: it has been loading for")
      assert.is_true(here(h))
      h:write("atoll.lua", PATIENT)
      h:write_app(APP)
      h:hup()
      h:log_wait "reload: generation %d+ serves"
      assert.is_true(here(h))
      h:stop()
    end)
  end

  it("ends the hooks of an app that starts", function()
    local h = start()
    h:write_app [[app:on("start", function()
      while true do pcall(function() while true do end end) end
    end)]]
    fails(h, "load_timeout: on.*has not ended for")
    assert.is_true(here(h))
    h:stop()
  end)

  it("ends a first start, with exit code 78", function()
    at_last("app.lua:1: load_timeout: it has been loading for", function(seconds)
      local h = host.spawn { app = "while true do end",
        set = { load_timeout = seconds } }
      assert.equal(78, (h:ended()))
      return h.log
    end)
  end)
end)
