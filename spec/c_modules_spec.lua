-- Debian's modules in C, each loaded into every isolate, also again by reloads under
-- load; the one of ours that stands in for another's.
local host = require "support.host"
local load = require "support.load"
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
    host.finish()
  end)

  it("work in every isolate, while the app is loaded again and again", function()
    for _, name in ipairs { "lpeg", "lfs", "luasql.sqlite3", "zlib", "openssl.hmac",
      "lxp", "lyaml" } do
      if not pcall(require, name) then return pending(name .. " is not installed") end
    end
    local h = host.start { app = app, isolates = 4 }
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
end)
