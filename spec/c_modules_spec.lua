-- Debian's modules in C, each loaded into every isolate, also again by reloads under
-- load; the one of ours that stands in for another's.
local json = require "atoll.json"
local host = require "support.host"
local load = require "support.load"
local servers = require "support.servers"
local wire = require "support.wire"

local app = [[
  local lpeg = require "lpeg"
  local lfs = require "lfs"
  local sqlite = require "luasql.sqlite3".sqlite3()
  local zlib = require "zlib"
  local hmac = require "openssl.hmac"
  local lxp = require "lxp"
  local yaml = require "lyaml"
  local cjson = require "cjson"

  local number = lpeg.C(lpeg.R "09" ^ 1) / tonumber
  local sum = lpeg.Cf(number * ("+" * number) ^ 0, function(a, b) return a + b end)

  local function use()
    local db <close> = setmetatable({ sqlite:connect ":memory:" },
      { __close = function(self) self[1]:close() end })
    db[1]:execute "create table t (x)"
    db[1]:execute "insert into t values (42)"
    local cursor = db[1]:execute "select x from t"
    local row = cursor:fetch()
    cursor:close()
    local names = {}
    local parser = lxp.new { StartElement = function(_, name)
      names[#names + 1] = name
    end }
    parser:parse "<a><b/></a>"
    parser:close()
    local text = ("text "):rep(1000)
    return table.concat({
      sum:match "1+2+39", row, #zlib.inflate()(zlib.deflate()(text, "finish")),
      #hmac.new("key", "sha256"):final "text", table.concat(names), lfs.attributes("/",
      "mode"), yaml.load("a: [1, 2]").a[2], cjson.encode { 9007199254740993 },
    }, " ")
  end

  local expected = "42 42 5000 32 ab directory 2 [9007199254740993]"
  app:get("/", function()
    local result = use()
    assert(result == expected, result)
    return "right"
  end)]]

describe("modules in C", function()
  after_each(function()
    wire.finish()
    servers.finish()
    host.finish()
  end)

  it("work in every isolate, while the app is loaded again and again", function()
    for _, name in ipairs { "lpeg", "lfs", "luasql.sqlite3", "zlib", "openssl.hmac",
      "lxp", "lyaml" } do
      require(name) -- contrib/setup brings them
    end
    local h = host.start { app = app, isolates = 4, set = { drain_timeout = 60 } }
    local l = load.start(h, { check = function(response)
      return response.body ~= "right" and response.body or nil
    end })
    for n = 2, 12 do
      h:hup()
      h:log_wait("generation " .. n .. " serves")
    end
    l:run(100)
    l:stop()
    assert.equal("right", wire.ask(h, "/").body)
  end)

  it("that wait for PostgreSQL do so side by side in threads of their own", function()
    local postgres = servers.postgres()
    local h = host.start { set = { blocking_threads = 5 }, files = {
      ["db.lua"] = ([[
        local driver = require "luasql.postgres"
        local M, connection = {}, nil
        local function execute(text, ...)
          connection = connection or assert(driver.postgres():connect(
            "dbname=postgres gssencmode=disable", "postgres", "", "127.0.0.1", %d))
          return assert(connection:execute(text:format(...)))
        end
        function M.make() return execute "create table rows (n int, name text)" end
        function M.add(n)
          -- None goes on before five are there, each on its connection.
          execute("do $$ begin perform pg_advisory_lock_shared(1); "
            .. "while (select count(*) from pg_locks where locktype = 'advisory') < 5 "
            .. "loop perform pg_sleep(0.01); end loop; end $$")
          return execute("insert into rows values (%%d, 'row %%d')", n, n)
        end
        function M.name(n)
          return execute("select name from rows where n = %%d", n):fetch()
        end
        return M]]):format(postgres.port),
      ["app.lua"] = [[
        local atoll, db = require "atoll", require "db"
        local app = atoll.app()
        local function all(fn)
          local tasks, results = {}, {}
          for i = 1, 5 do tasks[i] = atoll.spawn(atoll.blocking, fn, i) end
          for i = 1, 5 do results[i] = assert(tasks[i]:join()) end
          return results
        end
        app:get("/", function()
          assert(atoll.blocking(db.make))
          return { added = all(db.add), names = all(db.name) }
        end)
        return app]],
    } }
    local answer = json.decode(wire.ask(h, "/").body)
    assert.same({ 1, 1, 1, 1, 1 }, answer.added)
    assert.same({ "row 1", "row 2", "row 3", "row 4", "row 5" }, answer.names)
  end)
end)
