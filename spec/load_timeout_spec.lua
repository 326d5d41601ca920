-- Apps that do not end to load, or to start, fail to; what serves goes on.
local host = require "support.host"
local wire = require "support.wire"

local APP = [[app:get("/", function() return "here" end)]]

describe("load_timeout", function()
  after_each(function()
    wire.finish()
    host.finish()
  end)

  local QUICK, PATIENT = "return { load_timeout = 0.2 }", "return {}"

  -- One whose next reload has 0.2 s; what is to load has as long as it takes.
  local function start()
    local h = host.start { isolates = 2, files = { ["app.lua"] = host.app(APP),
      ["atoll.lua"] = PATIENT } }
    h:write("atoll.lua", QUICK)
    return h
  end

  local function here(h)
    return wire.ask(h, "GET / HTTP/1.1\r\nHost: x\r\n\r\n").body == "here"
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
      h:hup()
      h:log_wait "reload failed[^\n]*running code goes on"
      h:log_wait "app.lua:1: load_timeout: it has been loading for 0.2 s"
      assert.is_true(here(h))
      h:write("atoll.lua", PATIENT)
      h:write_app(APP)
      h:hup()
      h:log_wait "generation 3 serves"
      assert.is_true(here(h))
      h:stop()
    end)
  end

  it("ends the hooks of an app that starts", function()
    local h = start()
    h:write_app [[app:on("start", function()
      while true do pcall(function() while true do end end) end
    end)]]
    h:hup()
    h:log_wait "reload failed[^\n]*load_timeout: on[^\n]*has not ended for 0.2 s"
    assert.is_true(here(h))
    h:stop()
  end)

  it("ends a first start, with exit code 78", function()
    local h = host.spawn { app = "while true do end", set = { load_timeout = 0.2 } }
    assert.equal(78, (h:ended()))
    assert.matches("app.lua:1: load_timeout", h.log)
  end)
end)
