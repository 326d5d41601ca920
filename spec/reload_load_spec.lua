-- Reload under load, each answer checked. RELOADS=1000 makes it the long version.
local events = require "support.events"
local host = require "support.host"
local load = require "support.load"
local wire = require "support.wire"

local RELOADS = tonumber(os.getenv "RELOADS") or 50

-- Says its version twice, so that a mixture would be seen, and allocates a little.
local APP = [[
  local version, rows = %d, {}
  for i = 1, 2000 do rows[i] = { id = i, name = "row " .. i .. " of %d" } end
  app:get("/", function(req)
    return ("%d %%d %%s"):format(version, rows[1 + version %% #rows].name)
  end)]]

local function app(n) return APP:format(n, n, n) end

describe("reload under load", function()
  after_each(function()
    wire.finish()
    host.finish()
  end)

  it("fails, closes and mixes nothing, and its memory is given back", function()
    local h = host.start { app = app(1), isolates = 2, set = { drain_timeout = 60 } }
    local least, newest, run_from = 1, 1, 0
    local run = load.start(h, { connections = 8, check = function(response, c)
      if response.status ~= 200 then return "status " .. response.status end
      local a, b, d = response.body:match "^(%d+) (%d+) row %d+ of (%d+)$"
      if not a or a ~= b or a ~= d then return "mixed: " .. response.body end
      local n = tonumber(a)
      -- Old code may answer what began before the reload was reported.
      if n > newest or n < least and c.request > run_from then
        return ("version %d, at least %d"):format(n, least)
      end
    end })
    run:run(200)
    local early
    for n = 2, RELOADS + 1 do
      h:write_app(app(n))
      newest = n
      h:hup()
      h:log_wait("reload: generation " .. n .. " serves after")
      run_from, least = run.asked, n
      run:run(16)
      if n == 11 then early = h:memory() end
      -- The log of a long run is not needed again.
      if n % 50 == 0 then h.log, h.told = h.log:sub(h.told), 1 end
    end
    run:stop()
    h:grows_less(8192, early)
  end)

  it("of broken code fails nothing", function()
    local h = host.start { app = app(1), isolates = 2, set = { drain_timeout = 60 } }
    local run = load.start(h, { connections = 8, check = function(response)
      if response.status ~= 200 or not response.body:find "^1 1 " then
        return response.status .. " " .. response.body
      end
    end })
    for i = 1, 20 do
      h:write_app(i % 2 == 0 and "syntax error here" or "error 'at load'")
      h:hup()
      h:log_wait "reload failed"
      run:run(50)
    end
    run:stop()
  end)

  it("with signals in quick succession ends with the last edit", function()
    local h = host.start { app = app(1), isolates = 2, set = { drain_timeout = 60 } }
    local run = load.start(h, { connections = 8, check = function(response)
      if response.status ~= 200 then return "status " .. response.status end
    end })
    for n = 2, 40 do
      h:write_app(app(n))
      h:hup()
      run:run(2)
    end
    run:run(10)
    run:stop()
    events.retry("the last version", function()
      return wire.ask(h, "/").body:find "^40 40 "
    end)
  end)

  it("leaves one generation for each isolate", function()
    local h = host.start { app = app(1), isolates = 2, set = { drain_timeout = 60 } }
    for n = 2, 6 do
      h:hup()
      h:log_wait("reload: generation " .. n .. " serves")
    end
    -- 5 old ones on 2 isolates.
    events.wait("the old ones to be closed", function()
      return h:count "generation %d+ closed after" == 10
    end)
  end)
end)
