-- Lua that no handler runs: finalizers, and what describes an error. It is ended, too.
local events = require "support.events"
local host = require "support.host"
local wire = require "support.wire"

local APP = [[
  local function spin() while true do pcall(function() while true do end end) end end
  local kept = {}
  local function leave(n, where)
    for i = 1, n do where[i] = setmetatable({}, { __gc = spin }) end
  end
  app:get("/ok", function() return "ok" end)
  app:get("/keep", function() leave(1000, kept) return "kept" end)
  app:get("/drop", function() leave(1000, {}) return "dropped" end)
  app:get("/collect", function() leave(1000, {}) collectgarbage() end)
  app:get("/error", function() error(setmetatable({}, { __tostring = spin })) end)
]]

local ENDED = "app.lua:%d+: a finalizer, or a __tostring, did not end within 1 s"

describe("what runs in no handler and does not end", function()
  after_each(function()
    wire.finish()
    host.finish()
  end)

  local function start()
    return host.start { app = APP, set = { handler_timeout = 0.3 } }
  end

  local function ask(h, path)
    return wire.ask(h, "GET " .. path .. " HTTP/1.1\r\nHost: x\r\n\r\n")
  end

  -- One that has time enough: again, where the machine stood still for all of it.
  local function prompt(h, path)
    return events.retry("an answer in time", function()
      local answer = ask(h, path)
      return answer.status ~= 504 and answer
    end)
  end

  for _, path in ipairs { "/keep", "/drop" } do
    it("is ended where its state is closed: " .. path, function()
      local h = start()
      assert.equal(200, prompt(h, path).status)
      h:reload()
      assert.equal("ok", prompt(h, "/ok").body)
      h:stop()
      assert.equal(1, h:count(ENDED))
    end)
  end

  it("is ended in a handler that is late, as often as it is met", function()
    local h = start()
    assert.equal(504, ask(h, "/collect").status)
    assert.equal("ok", prompt(h, "/ok").body)
    h:stop()
  end)

  it("is ended where it is to describe an error", function()
    local h = start()
    for _ = 1, 2 do assert.equal(500, prompt(h, "/error").status) end
    assert.equal("ok", prompt(h, "/ok").body)
    h:stop()
    assert.equal(1, h:count(ENDED))
    assert.equal(2, h:count "GET /error: [^\n]*the error's __tostring failed")
  end)

  it("is ended where an app does not load", function()
    local h = start()
    h:write("app.lua", [[
      rawset(_G, "kept", setmetatable({}, { __gc = function() while true do end end }))
      error "no app"]])
    assert.matches("no app", h:reload())
    h:write_app(APP)
    assert.matches("generation %d+ serves", h:reload())
    h:stop()
    assert.equal(1, h:count(ENDED))
  end)
end)
