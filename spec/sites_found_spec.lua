-- What sweeps over all sites have found, each kept found: calls that fail while a host
-- starts, is replaced or serves. What must come of each stands in
-- support/sweep/run.lua: it goes on, or one word names what has failed, and nothing is
-- left.
local host = require "support.host"
local sites = require "support.sites"
local sweep = require "support.sweep"

local program = os.getenv "ATOLL"
local names -- offset -> function

local function function_of(offset)
  if not names then
    local list = {}
    for at in pairs(sites.all(program)) do list[#list + 1] = at end
    names = sites.places(program, list)
    for at, name in pairs(names) do names[at] = name:match "%S+$" end
  end
  return names[offset]
end

-- In a scenario the first calls in some functions of the program fail, or in all;
-- calls: so many of each; all: and also all of them at once.
local function fails(name, functions, calls, all)
  local wanted = {}
  for word in functions:gmatch "%S+" do wanted[word] = true end
  local result = sweep.run {
    tries = 3,
    only = function(scenario) return scenario == name end,
    calls = calls or 1, all = all,
    filter = function(site)
      return wanted[site.call] or site.file == "" and wanted[function_of(site.offset)]
    end,
  }
  assert.equal("", sweep.text(result))
  assert.is_true(result.faults > 0)
end

describe("a host that starts", function()
  it("says that there is no memory for its apps and ushers", function()
    fails("start with everything", "init_apps ushers_init ushers_start blueprint_new")
  end)
  it("ends when its supervisor cannot hear of it", function()
    fails("start", "heritage_say")
  end)
  it("accepts again when it could not wait for connections", function()
    fails("start", "loop_exclusive")
  end)
  it("is not left without its walls when they cannot be built", function()
    fails("start with everything", "landlock allow_app confine_calls")
  end)
  it("says why a user is not found", function()
    fails("start with everything", "find_user find_group")
  end)
  it("leaves no pid file that it could not write", function()
    fails("start with everything", "pid_file_open fd_write_all")
  end)
  it("says why a stale socket cannot go", function()
    fails("start with everything", "find_stale bind_unix")
  end)
end)

describe("a program that is to take over", function()
  it("finds what it was left, or is told not to begin", function()
    fails("upgrade", "bequest_name set_flag seal process_connect upgrade_try "
      .. "upgrade_exec", 2)
  end)
  it("waits for memory where there is no way back", function()
    fails("upgrade", "read_all room take_signals process_new options_parse", 2)
  end)
end)

describe("another verb", function()
  it("says that there is no memory", function()
    fails("check", "commons_new")
    fails("run", "runner_run")
  end)
  it("says that it had nothing instead of standard files", function()
    fails("check without input", "hold_standard_files")
  end)
  it("says once that it cannot accept while an app loads", function()
    fails("check of one that talks", "take_one")
  end)
end)

describe("a host that serves", function()
  it("says that it had no memory for a client", function()
    fails("start", "exchange_new front_take_spare make")
    fails("bodies", "buf_grow")
    fails("websocket given away", "make_room context_take")
  end)
  it("has an isolate that the kernel did not let wait for anything", function()
    fails("isolates come and go", "epoll_ctl", 0, true)
  end)
  it("says that a WebSocket could not move to the new code", function()
    fails("reload", "hand_on")
  end)
  it("gives back what a generation had for which there was no memory", function()
    fails("reload", "generation_new app_open site_load blueprint_new")
  end)
  it("has a buffer, a server and a loop, or says that it has not", function()
    fails("compression", "buf_grow")
    fails("http client", "new_handle front_listen")
    fails("isolates", "loop_init spawn")
  end)
  it("says that an usher had no memory for a request", function()
    fails("start with everything", "make_lender loan_prepare")
  end)
  it("truncates, removes and sends files in spite of signals", function()
    fails("fs, more of it", "work_truncate disk_remove")
    fails("http client", "beneath_open_any")
  end)
  it("does not wait for a connection that is not one", function()
    fails("luasocket", "outcome", 1, true)
  end)
  if not host.SLOW then -- under a sanitizer it is that which tells
    it("tells of a crash whatever is written at once", function()
      fails("crash", "crash_put")
    end)
  end
end)
