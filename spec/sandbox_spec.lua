-- What a confined host may still do, and what not any more.
local events = require "support.events"
local host = require "support.host"
local uv = require "luv"
local wire = require "support.wire"

local APP = [[
  local lib = require "lib"
  local function try(fn, ...)
    local result, why = fn(...)
    return result and "yes" or tostring(why)
  end
  local function read(path)
    local f, why = io.open(path)
    if not f then return nil, why end
    local ok, problem = f:read(0)
    f:close()
    return ok or problem == nil, problem
  end
  local function write(path)
    local f, why = io.open(path, "w")
    if f then f:close() end
    return f, why
  end
  app:get("/", function() return lib.text end)
  app:get("/read", function(req) return try(read, req.query.path) end)
  app:get("/write", function(req) return try(write, req.query.path) end)
  app:get("/run", function() return tostring(os.execute "true") end)
  app:get("/shell", function() return tostring(os.execute()) end)
  app:get("/module", function() return type(require "lpeg") end)
  app:get("/resolve", function() return atoll.net.resolve "localhost" end)
  app:get("/status", function(req)
    for line in io.lines "/proc/self/status" do
      local value = line:match("^" .. req.query.name .. ":%s*(%S+)")
      if value then return value end
    end
  end)]]

local FILES = {
  ["app.lua"] = host.app(APP),
  ["lib/lib.lua"] = 'return { text = "hello" }',
}

describe("a host", function()
  after_each(host.finish)

  it("lets nothing that it starts gain privileges, unless it is told to", function()
    local h = host.start { files = FILES }
    assert.equal("1", wire.ask(h, "/status?name=NoNewPrivs").body)
    h = host.start { files = FILES, set = { new_privileges = true } }
    assert.equal("0", wire.ask(h, "/status?name=NoNewPrivs").body)
    wire.finish()
  end)

  it("may have as many descriptors as its hard limit says", function()
    local h = host.start { files = FILES, shell = "ulimit -Sn 200; ulimit -Hn 3000" }
    local limits = io.open("/proc/" .. h:serving_pid() .. "/limits")
    assert.match("Max open files%s+3000%s+3000", limits:read "a")
    limits:close()
  end)
end)

describe("a sandbox", function()
  local confined -- by this kernel

  after_each(function()
    wire.finish()
    host.finish()
  end)

  local function start(set, options)
    options = options or {}
    set.sandbox = true
    options.set = set
    options.files = not options.dir and FILES or nil
    -- All of the specs' directories are in /tmp.
    options.env = {
      TMPDIR = host.directory(),
      -- Which looks for leaks as a debugger does.
      ASAN_OPTIONS = (os.getenv "ASAN_OPTIONS" or "") .. ":detect_leaks=0",
    }
    local h = host.start(options)
    h.tmp = options.env.TMPDIR
    confined = not h.log:find "this kernel has no"
    return h
  end

  local function answer(h, path) return wire.ask(h, path).body end

  local function refused(text) return not confined or text:find "[Pp]ermi" end

  it("lets the host serve, reload, find names and load modules", function()
    local h = start { processes = 2 }
    assert.equal("hello", answer(h, "/"))
    h:write("lib/lib.lua", 'return { text = "newer" }')
    h:reload()
    h:log_wait "reload: generation 2"
    assert.equal("newer", answer(h, "/"))
    assert.equal("table", answer(h, "/module"))
    assert.match("127.0.0.1", answer(h, "/resolve"))
    h:signal "sigusr2"
    h:log_wait "upgraded from"
    assert.equal("newer", answer(h, "/"))
  end)

  it("keeps it from what is not its own", function()
    local other = host.directory { secret = "secret" }
    local h = start {}
    assert.equal("yes", answer(h, "/read?path=" .. h.dir .. "/app.lua"))
    assert.truthy(refused(answer(h, "/read?path=" .. other .. "/secret")))
    assert.truthy(refused(answer(h, "/read?path=/proc/1/environ")))
    assert.truthy(refused(answer(h, "/write?path=" .. other .. "/new")))
    assert.truthy(refused(answer(h, "/write?path=" .. h.dir .. "/new")))
    assert.truthy(refused(answer(h, "/write?path=/etc/atoll-new")))
    assert.equal("yes", answer(h, "/write?path=" .. h.tmp .. "/new"))
    assert.equal("yes", answer(h, "/write?path=/dev/null"))
    assert.equal("nil", answer(h, "/run"))
    assert.equal("false", answer(h, "/shell"))
  end)

  it("opens what the settings name", function()
    local other, data = host.directory { secret = "secret" }, host.directory()
    local h = start { sandbox_read = other, sandbox_write = data }
    assert.equal("yes", answer(h, "/read?path=" .. other .. "/secret"))
    assert.truthy(refused(answer(h, "/write?path=" .. other .. "/new")))
    assert.equal("yes", answer(h, "/write?path=" .. data .. "/new"))
  end)

  it("does not stand in the way of new logs", function()
    local logs = host.directory()
    local h = start { access_log = logs .. "/access" }
    answer(h, "/")
    assert(os.rename(logs .. "/access", logs .. "/access.1"))
    h:signal "sigusr1"
    events.retry("a new file", function()
      answer(h, "/")
      return (uv.fs_stat(logs .. "/access") or {}).size
    end)
  end)

  it("lets a link to the app be switched", function()
    local releases = host.directory {
      ["1/app.lua"] = host.app [[app:get("/", function() return "one" end)]],
      ["2/app.lua"] = host.app [[app:get("/", function() return "two" end)]],
    }
    local place = host.directory()
    assert(uv.fs_symlink(releases .. "/1", place .. "/current"))
    local h = start({}, { dir = place .. "/current" })
    assert.equal("one", answer(h, "/"))
    assert(os.remove(place .. "/current"))
    assert(uv.fs_symlink(releases .. "/2", place .. "/current"))
    h:reload()
    assert.equal("two", answer(h, "/"))
  end)

  it("is refused when what it is to open is not there", function()
    local h = host.spawn { files = FILES,
      set = { sandbox = true, sandbox_write = "/nowhere/at/all" } }
    assert.equal(78, (h:ended()))
    local text = "sandbox: sandbox_write '/nowhere/at/all': no such file"
    assert.truthy(h.log:find(text, 1, true), h.log)
  end)
end)
