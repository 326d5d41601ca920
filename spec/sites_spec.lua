-- Allocations and system calls fail, each at its own place in the program, while a host
-- does all that it can do: a few of them here, all of them by contrib/faults/run.
local host = require "support.host"
local sweep = require "support.sweep"

local memory = { malloc = true, calloc = true, realloc = true, aligned_alloc = true,
  strdup = true, strndup = true, vasprintf = true, open_memstream = true }

-- The same ones each time: so many apart.
local function run(options)
  options.calls = 1
  options.seconds = host.SLOW and 2 or 0.4
  local result = sweep.run(options)
  local list = {}
  for _, r in ipairs(result.problems) do
    list[#list + 1] = ("%s\n%s\n%s"):format(r.what, table.concat(r.problems, "\n"),
      r.log:sub(-2000))
  end
  assert.equal("", table.concat(list, "\n"))
  return result.faults
end

describe("a place in the program", function()
  -- None of them ends the process: not even libev's and the compressor's.
  it("may find no memory", function()
    local faults = run {
      filter = function(site) return memory[site.call] end,
      only = function(name) return name ~= "upgrade" end, stride = 7, seed = 3,
    }
    assert.is_true(faults > 20)
  end)

  it("may find that the kernel does not do what it asks", function()
    local faults = run {
      filter = function(site) return not memory[site.call] end,
      only = function(name) return name ~= "upgrade" end, stride = 17, seed = 5,
    }
    assert.is_true(faults > 20)
  end)

  -- Found by the whole sweep.
  it("may find no memory for an answer's head, a compressor or a loop", function()
    for _, name in ipairs { "http client", "compression", "reload", "websocket" } do
      local faults = run { filter = function(site) return site.call == "malloc" end,
        only = function(is) return is == name end }
      assert.is_true(faults > 0, name)
    end
  end)
end)
