-- What the setting compat = "ngx" brings, apart from sockets.
local command = require "support.command"
local host = require "support.host"
local wire = require "support.wire"

-- What a script prints that has ngx.
local function run(text)
  command.write("s.lua", text)
  local code, out, err = command.atoll "run --compat ngx DIR/s.lua"
  assert(code == 0, out .. err)
  return out, err
end

describe("ngx", function()
  before_each(command.begin)
  after_each(function()
    wire.finish()
    host.finish()
    command.finish()
  end)

  it("is a module, too", function()
    assert.equal("true\n", run "print(require 'ngx' == ngx)")
  end)

  it("has the null of JSON", function()
    assert.equal("true\tnull\n", run [[
      local cjson = require "cjson"
      print(ngx.null == cjson.null, cjson.encode(ngx.null))]])
  end)

  it("escapes and unescapes", function()
    assert.equal([[
a%20b%2F%E4%3F
a%20b/%E4%3F
b r56 7
]], run [[
      print(ngx.escape_uri "a b/\xe4?")
      print(ngx.escape_uri("a b/\xe4?", 0))
      print(ngx.unescape_uri "b%20r56+7")]])
  end)

  it("has digests", function()
    assert.equal([[
5d41402abc4b2a76b9719d911017c592
5d41402abc4b2a76b9719d911017c592
qvTGHdzF6KLavt4PO0gs2a6pQ00=
de7c9b85b8b78aa6bc8a7a36f70a90701c9db4d9
]], run [[
      local function hex(s)
        return (s:gsub(".", function(c) return ("%02x"):format(c:byte()) end))
      end
      print(ngx.md5 "hello")
      print(hex(ngx.md5_bin "hello"))
      print(ngx.encode_base64(ngx.sha1_bin "hello"))
      print(hex(ngx.hmac_sha1("key", "The quick brown fox jumps over the lazy dog")))]])
  end)

  it("has base64", function()
    assert.equal([[
 Zg== Zm8= Zm9v Zm9vYg==
Zg Zm8
true
f fo foo foob
f fo
f f nil nil nil
]], run [[
      local e, d = ngx.encode_base64, ngx.decode_base64
      print(e "" .. " " .. e "f" .. " " .. e "fo" .. " " .. e "foo" .. " " .. e "foob")
      print(e("f", true) .. " " .. e("fo", true))
      local all = {}
      for i = 0, 255 do all[#all + 1] = string.char(i) end
      all = table.concat(all)
      print(d(e(all)) == all)
      print(d "Zg==" .. " " .. d "Zm8=" .. " " .. d "Zm9v" .. " " .. d "Zm9vYg==")
      print(d "Zg" .. " " .. d "Zm8")
      local bad = { d "Zg=", d "Zg===", d "Z", d "Z-9v", d "Zg==Zg==" }
      for i = 1, 5 do io.write(i == 1 and "" or " ", tostring(bad[i])) end
      print()]])
  end)

  it("logs with levels of its own", function()
    local _, log = run [[ngx.log(ngx.WARN, "late by ", 3, " ", nil, true)]]
    assert.truthy(log:find(" warn .*late by 3 niltrue\n"), log)
  end)

  it("knows the time, and where it is", function()
    assert.equal("true\ttimer\t0\ttrue\ttrue\n", run [[
      local before, now, time, after = os.time(), ngx.now(), ngx.time(), os.time()
      print(now > before - 2 and now < after + 2 and time > before - 2
        and time < after + 2, ngx.get_phase(), ngx.worker.id(), ngx.worker.pid() > 1,
        ngx.worker.count() >= 1)
      ngx.update_time()
      ngx.sleep(0.001)]])
  end)

  it("runs timers", function()
    assert.equal("false\ta\tb\n", run [[
      local over = false
      assert(ngx.timer.at(0, function(...)
        print(...)
        over = true
      end, "a", "b"))
      while not over do ngx.sleep(0.001) end]])
  end)

  it("has LuaJIT's bits", function()
    assert.equal("-1 255 -2147483648 7 1 -1 16 -1985229329 1985229328 0000ffff FF ff\n",
      run [[
      local bit = require "bit"
      local list = { bit.tobit(0xffffffff), bit.band(0xfff, 0xff),
        bit.lshift(1, 31), bit.bor(1, 2, 4), bit.rshift(-1, 31), bit.arshift(-1, 31),
        bit.rol(1, 4), bit.bswap(0xefcdab89), bit.bxor(0x76543210, 0),
        bit.tohex(0xffff), bit.tohex(255, -2), bit.tohex(255, 2) }
      print(table.concat(list, " "))]])
  end)

  local function serve(body)
    return host.start { app = body, set = { compat = "ngx" } }
  end

  it("has a ctx for each request", function()
    local h = serve [[
      local function note(req) ngx.ctx.name = req.params.name end
      app:get("/:name", function(req)
        note(req)
        atoll.sleep(0.01)
        local inner = coroutine.wrap(function() return ngx.ctx.name end)
        return inner() .. tostring(ngx.ctx == req.ctx)
      end)
      app:get("/own/ctx", function()
        ngx.ctx = { name = "own" }
        return ngx.ctx.name
      end)
      app:get("/task/ctx", function()
        ngx.ctx.name = "request"
        local task = atoll.spawn(function()
          ngx.ctx.name = "task"
          atoll.sleep(0)
          return ngx.ctx.name
        end)
        return task:join() .. ngx.ctx.name
      end)]]
    local a, b = wire.connect(h), wire.connect(h)
    a:send "GET /ann HTTP/1.1\r\nHost: a\r\n\r\n"
    b:send "GET /bob HTTP/1.1\r\nHost: a\r\n\r\n"
    assert.equal("anntrue", a:receive().body)
    assert.equal("bobtrue", b:receive().body)
    assert.equal("own", a:ask("/own/ctx").body)
    assert.equal("taskrequest", a:ask("/task/ctx").body)
  end)

  it("has variables of the request", function()
    local h = serve [[
      app:get("/v/:x", function()
        ngx.var.mine = 7
        local v = ngx.var
        return table.concat({ v.uri, v.request_uri, v.request_method, v.args, v.is_args,
          v.host, v.scheme, v.remote_addr, v.arg_q, v.http_x_tea, v.cookie_c, v.mine,
          tostring(v.nothing), ngx.get_phase() }, " ")
      end)]]
    local c = wire.connect(h)
    c:send("GET /v/a%20b?q=1 HTTP/1.1\r\nHost: Example.org:80\r\nX-Tea: green\r\n"
      .. "Cookie: c=2\r\n\r\n")
    assert.equal("/v/a b /v/a%20b?q=1 GET q=1 ? example.org http 127.0.0.1 1 green 2 7 "
      .. "nil content", c:receive().body)
  end)

  it("ends timers early when the code is replaced", function()
    local h = serve [[
      app:on("start", function()
        assert(ngx.timer.at(3600, function(early, name)
          ngx.log(ngx.WARN, name, " was early: ", early)
        end, "at"))
        assert(ngx.timer.every(3600, function(early)
          ngx.log(ngx.WARN, "every was early: ", early, ngx.worker.exiting())
          local _, problem = ngx.timer.at(1, print)
          ngx.log(ngx.WARN, problem)
        end))
      end)
      app:get("/", function() return tostring(ngx.worker.exiting()) end)]]
    assert.equal("false", wire.ask(h, "/").body)
    h:reload()
    h:log_wait "generation 1 closed"
    for _, text in ipairs { "at was early: true", "every was early: truetrue",
      "process exiting" } do
      assert.truthy(h.log:find(text, 1, true), h.log)
    end
  end)

  it("says what cannot be had while the app loads", function()
    local h = serve [[
      local _, why = pcall(function() return ngx.ctx end)
      local _, timer = ngx.timer.at(0, print)
      local phase = ngx.get_phase()
      app:get("/", function() return why .. "|" .. timer .. "|" .. phase end)]]
    local body = wire.ask(h, "/").body
    assert.truthy(body:find("no ngx.ctx while the app loads|no timers while the app "
      .. "loads|init", 1, true), body)
  end)
end)
