-- C code that crashes: what the log tells of it, and that nobody is refused.
local host = require "support.host"
local wire = require "support.wire"

local MODULE = assert(os.getenv "ATOLL"):match "^(.*)/" .. "/crash.so"

-- Under a sanitizer it is the sanitizer that tells.
local describe = host.SLOW and pending or describe

describe("a crash", function()
  after_each(function()
    wire.finish()
    host.finish()
  end)

  local function start(set)
    return host.start { isolates = 2, set = set, app = ([[
      local crash = package.loadlib("%s", "luaopen_crash")()
      local function inner(name) return 1 + crash[name]() end
      app:get("/crash/:how", function(req) return tostring(inner(req.params.how)) end)
      app:get("/", function() return "hello" end)]]):format(MODULE) }
  end

  local function crash(h, how)
    local victim = h:serving_pid()
    wire.connect(h):send("GET /crash/" .. how .. "?q=1 HTTP/1.1\r\nHost: a\r\n\r\n")
    h:log_wait("host " .. victim .. " was killed by ")
  end

  local function goes_on(h)
    h:log_wait "host restarted"
    assert.equal("hello", wire.ask(h, "/").body)
  end

  it("is told with thread, request, Lua line and addresses", function()
    local h = start()
    crash(h, "null")
    h:log_wait "SIGSEGV.-; restarting now\n"
    h:log_wait "SIGSEGV at 0x0 in isolate %d; build %x+\n"
    h:log_wait "crash.so%(%+0x%x+%)"
    h:log_wait "atoll%([^\n]*%+0x%x+%)"
    h:log_wait "while answering GET /crash/null%?q=1\n"
    h:log_wait "Lua: [^\n]*app.lua:2 in [^\n]*inner\n"
    goes_on(h)
  end)

  it("of an overflown stack is told, too", function()
    local h = start()
    crash(h, "overflow")
    h:log_wait "SIGSEGV at 0x%x+ in isolate %d"
    h:log_wait "while answering GET /crash/overflow"
    goes_on(h)
  end)

  it("may be an abort, and go into a JSON log", function()
    local h = start { log_format = "json" }
    crash(h, "abort")
    h:log_wait "SIGABRT by process %d+ in isolate %d"
    h:log_wait "answering GET /crash/abort[^\n]*\n"
    for line in h.log:gmatch "[^\n]+" do
      assert.truthy(line:find "^{.*}$" or line:find "^atoll: serving", line)
    end
    goes_on(h)
  end)

  it("again and again makes the next start wait", function()
    local h = start()
    local waits = { "now\n", "in 0.1 s %(restart 2%)\n", "in 0.2 s %(restart 3%)\n" }
    for i, pattern in ipairs(waits) do
      crash(h, "null")
      h:log_wait("restarting " .. pattern)
      h:log_wait("host restarted", i * 10)
    end
    goes_on { log_wait = function() end, port = h.port }
  end)
end)
