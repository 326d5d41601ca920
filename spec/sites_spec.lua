-- Allocations and system calls fail, each at its own place in the program, while a host
-- starts, is replaced and does all that it can do: a few of them here, all of them by
-- contrib/faults/run. What has been found so stands in sites_found_spec.
local host = require "support.host"
local sweep = require "support.sweep"

local memory = { malloc = true, calloc = true, realloc = true, aligned_alloc = true,
  strdup = true, strndup = true, vasprintf = true, open_memstream = true,
  setenv = true }

-- Every third scenario, and of its faults each stride-th: the same ones each time.
local function run(first, stride, of_memory)
  local mine = {}
  for i = first, #sweep.scenarios, 3 do mine[sweep.scenarios[i].name] = true end
  local result = sweep.run {
    calls = 1, seconds = host.SLOW and 1 or 0.3, stride = stride, seed = first,
    tries = 3, -- who has no CPU for a second is not answered in time
    only = function(name) return mine[name] end,
    filter = function(site) return (memory[site.call] or false) == of_memory end,
  }
  assert.equal("", sweep.text(result))
  assert.is_true(result.faults > 10)
end

describe("a place in the program", function()
  -- None of them ends the process: not even libev's and the compressor's.
  it("may find no memory", function() run(2, 7, true) end)

  it("may find that the kernel does not do what it asks", function()
    run(3, 17, false)
  end)
end)
