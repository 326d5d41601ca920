-- What sweeps over all sites have found, each kept found: a few calls that fail while a
-- host starts, is replaced or serves. What must come of each stands in
-- support/sweep/run.lua: it goes on, or one word names what has failed, and nothing is
-- left.
local host = require "support.host"
local sweep = require "support.sweep"

-- Sweeps through one scenario with those functions only; calls: so many of each.
local function fails(name, functions, calls)
  local wanted = {}
  for call in functions:gmatch "%S+" do wanted[call] = true end
  local result = sweep.run {
    only = function(scenario) return scenario == name end, calls = calls or 1,
    filter = function(site) return site.file == "" and wanted[site.call] end,
    seconds = host.SLOW and 20 or nil,
  }
  local list = {}
  for _, r in ipairs(result.problems) do
    list[#list + 1] = ("%s\n%s\n%s"):format(r.what, table.concat(r.problems, "\n"),
      r.log:sub(-2000))
  end
  assert.equal("", table.concat(list, "\n"))
  assert.is_true(result.faults > 0)
end

describe("a host that starts", function()
  it("says that there is no memory for its apps and ushers", function()
    fails("start with everything", "calloc")
  end)
  it("ends when its supervisor cannot hear of it", function()
    fails("start", "write")
  end)
  it("accepts again when it could not wait for connections", function()
    fails("start", "epoll_ctl")
  end)
  it("is not left without its walls when they cannot be built", function()
    fails("start with everything", "landlock prctl realpath")
  end)
  it("says why a user is not found", function()
    fails("start with everything", "getpwnam getgrnam initgroups setresgid setresuid")
  end)
  it("leaves no pid file that it could not write", function()
    fails("start with everything", "ftruncate write flock")
  end)
  it("says why a stale socket cannot go", function()
    fails("start with everything", "unlink connect lstat")
  end)
end)

describe("a program that is to take over", function()
  it("finds what it was left, or is told not to begin", function()
    fails("upgrade", "setenv fcntl memfd_create pipe2 fork execv", 2)
  end)
  it("waits for memory where there is no way back", function()
    fails("upgrade", "fstat realloc signalfd getsockname", 2)
  end)
end)

describe("another verb", function()
  it("says that there is no memory", function()
    fails("check", "calloc")
    fails("run", "calloc")
  end)
end)

describe("a host that serves", function()
  it("says that it had no memory for a client", function()
    fails("bodies", "malloc")
    fails("websocket given away", "realloc malloc")
  end)
  it("says that a WebSocket could not move to the new code", function()
    fails("reload", "calloc", 2)
  end)
  it("says that an usher had no memory for a request", function()
    fails("several apps", "calloc")
  end)
  it("truncates and removes files in spite of signals", function()
    fails("fs, more of it", "ftruncate openat open")
  end)
end)
