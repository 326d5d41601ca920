local atoll = require "atoll"
local host = require "support.host"
local http = require "atoll.http"

describe("fractal", function()
  after_each(function() host.finish() end)

  it("sends all bands, and how far it is meanwhile", function()
    local h = host.start { dir = "apps/fractal", isolates = 1 }
    local text = assert(http.get(h.url .. "/picture?zoom=1", { timeout = 60 })).body
    local seen, last, pixels = {}, 0, 0
    for event, data in text:gmatch "event: (%l+)\ndata: ([^\n]*)\n" do
      seen[event] = (seen[event] or 0) + 1
      if event == "progress" then
        assert.is_true(tonumber(data) >= last)
        last = tonumber(data)
      elseif event == "band" then
        pixels = pixels + #atoll.json.decode(data).pixels
      end
    end
    assert.same({ progress = 320, band = 40, done = 1 }, seen)
    assert.same({ 100, 480 * 320 }, { last, pixels })
  end)

  it("stops when its client has left", function()
    local h = host.start { dir = "apps/fractal", isolates = 1 }
    local res = assert(http.get(h.url .. "/picture?zoom=2000", { stream = true }))
    res:chunks()()
    res:close()
    local status
    repeat
      status = http.get(h.url .. "/status"):json()
      atoll.sleep(0.01)
    until status.waiting == 0 and status.busy == 0
    assert.truthy(http.get(h.url .. "/").body:find "<canvas")
  end)
end)
