-- The command line, the config file and the environment, as a user meets them.
local command = require "support.command"
local atoll, refuses, write = command.atoll, command.refuses, command.write
local dir

-- Which address serve would listen on: one that nobody has is named in the refusal.
local function listens_on(address, line, environment)
  refuses(69, "atoll: cannot listen on " .. address .. ": ", "serve DIR " .. line,
    environment)
end

before_each(function() dir = command.begin() end)
after_each(command.finish)

describe("command line", function()
  it("prints help to stdout", function()
    for _, line in ipairs { "help", "--help", "-h", "help serve", "serve --help",
      "help settings", "check -h", "help settings-file", "run --help", "help test" } do
      local code, out, err = atoll(line)
      assert.equal(0, code)
      assert.equal("", err)
      assert(#out > 100, line)
    end
  end)

  it("tells its version and that of what is in it", function()
    for _, line in ipairs { "version", "--version", "-V" } do
      local code, out = atoll(line)
      assert.equal(0, code)
      assert.match("^atoll %d+%.%d+%.%d+ %(Lua 5%.4%.%d+, libev %d.*, llhttp %d.*, "
        .. "OpenSSL %d.*%)\n$", out)
    end
  end)

  it("without a verb prints usage to stderr", function()
    refuses(64, "usage: atoll VERB", "")
  end)

  it("says what may have been meant", function()
    refuses(64, "unknown verb 'serv'; did you mean 'serve'?", "serv")
    refuses(64, "unknown option '--lisen'; did you mean '--listen'?", "serve --lisen x")
    refuses(64, "unknown option '--body-mxa=3'; did you mean '--body-max'?",
      "serve --body-mxa=3")
    refuses(64, "unknown setting 'bodymax'; did you mean 'body_max'?",
      "serve --set bodymax=3")
    refuses(64, "no help about 'setings'; did you mean 'settings'?", "help setings")
    refuses(64, "did you mean 'atoll serve DIR'?", "DIR")
  end)

  it("refuses wrong use", function()
    refuses(64, "unknown option '-x'", "serve -x")
    refuses(64, "unknown option '--=3'", "serve --=3")
    refuses(64, "'--isolates' needs a value", "serve --isolates")
    refuses(64, "'-n' needs a value", "serve -n")
    refuses(64, "--set needs NAME=VALUE", "serve --set user")
    refuses(64, "one argument too many: 'b'", "serve a b")
    refuses(64, "a script to run is missing", "run -n 2")
    refuses(64, "'--help' takes no value", "serve --help=yes")
    refuses(64, "a verb comes before options", "-n 2 serve")
  end)

  it("names the option whose value is wrong", function()
    refuses(64, "-n: isolates must be from 1 to 1024, not 0", "check DIR -n 0")
    refuses(64, "-n: isolates must be from 1 to 1024, not -1", "check DIR -n-1")
    refuses(64, "--body-max: body_max must be bytes", "check DIR --body-max 3X")
    refuses(64, "--strict: strict must be true or false", "check DIR --strict=maybe")
    refuses(64, "--set: gc must be incremental or generational, not 'x'",
      "check DIR --set gc=x")
    refuses(64, "-l: listen: '::1:80': an IPv6 address stands in brackets",
      "check DIR -l ::1:80")
  end)

  it("takes values in every spelling", function()
    local option = "unix:/nonexistent/option"
    for _, line in ipairs { "-l %s", "-l%s", "--listen %s", "--listen=%s",
      "--set listen=%s", "--no-strict -l %s", "--body_max 1 --body-max=1 -l %s",
      "--reuseport -n1 -l %s", "--reuseport off -l %s" } do
      listens_on(option, line:format(option))
    end
  end)

  it("ends options at --", function()
    refuses(66, "no app directory '--listen'", "serve -- --listen")
  end)

  it("wants an app directory", function()
    refuses(66, "no app directory 'DIR/none': no such file", "serve DIR/none")
    refuses(66, "'DIR/app.lua' is not a directory", "check DIR/app.lua")
    os.remove(dir .. "/app.lua")
    refuses(66, "'DIR' is not an app directory: it has no app.lua, routes/ or public/",
      "serve DIR")
  end)
end)

describe("settings", function()
  it("from the command line go before environment, file and default", function()
    write("atoll.lua", 'return { listen = "unix:/nonexistent/file" }')
    listens_on("unix:/nonexistent/file", "", "PORT=1 HOST=192.0.2.1")
    local environment = "ATOLL_LISTEN=unix:/nonexistent/environment"
    listens_on("unix:/nonexistent/environment", "", environment)
    listens_on("unix:/nonexistent/option", "-l unix:/nonexistent/option", environment)
  end)

  it("take the default address from HOST and PORT", function()
    listens_on("192.0.2.1:8080", "", "HOST=192.0.2.1")
    listens_on("192.0.2.1:81", "", "HOST=192.0.2.1 PORT=81")
    listens_on("[2001:db8::1]:81", "", "HOST=2001:db8::1 PORT=81")
    refuses(78, "PORT: listen: '127.0.0.1:x': the port must be a number", "serve DIR",
      "PORT=x")
  end)

  it("are read from the file that --config or ATOLL_CONFIG names", function()
    write("atoll.lua", "this is not read")
    write("other.lua", 'return { listen = "unix:/nonexistent/other" }')
    listens_on("unix:/nonexistent/other", "-c DIR/other.lua")
    listens_on("unix:/nonexistent/other", "", ("ATOLL_CONFIG=%s/other.lua"):format(dir))
    refuses(78, "DIR/none.lua: no such file", "check DIR --config DIR/none.lua")
  end)

  it("name the variable whose value is wrong", function()
    refuses(78, "ATOLL_ISOLATES: isolates must be from 1 to 1024, not 2000",
      "check DIR", "ATOLL_ISOLATES=2000")
    refuses(78, "ATOLL_LOG_LEVEL: log_level must be debug, info, warn or error, not ''",
      "check DIR", "ATOLL_LOG_LEVEL=")
  end)

  it("print a file that says what is the case anyway", function()
    local _, out = atoll "help settings-file"
    assert.same({}, assert(load(out, "settings", "t", {}))())
    -- All of it uncommented: every default is a value that is accepted.
    write("atoll.lua", (out:gsub("\n  %-%- ([%l_]+ = )", "\n  %1")))
    listens_on("unix:/nonexistent/option", "-l unix:/nonexistent/option")
  end)

  it("are all in the help", function()
    local _, help = atoll "help settings"
    local _, file = atoll "help settings-file"
    local count = 0
    for name in file:gmatch "\n  %-%- ([%l_]+) = " do
      count = count + 1
      assert(help:find("\n" .. name .. "%*? = "), name)
    end
    assert(count >= 20)
  end)
end)

describe("config file", function()
  local function config(text, problem)
    write("atoll.lua", text)
    refuses(78, problem, "check DIR")
  end

  it("refuses unknown keys at their line", function()
    config('return {\n  -- body_mx = 1\n  log = "x", body_mx = 1,\n}',
      "DIR/atoll.lua:3: unknown setting 'body_mx'; did you mean 'body_max'?")
    config('local s = [[\nxyzzy = 1]]\nreturn { ["xyzzy"] = s }',
      "DIR/atoll.lua:3: unknown setting 'xyzzy'\n")
    config('return { ["body-max"] = 1 }', "unknown setting 'body-max'")
  end)

  it("refuses wrong values at their line", function()
    config("return {\n\n isolates = 0 }",
      "DIR/atoll.lua:3: isolates must be from 1 to 1024, not 0")
    config("return { isolates = 1.5 }", "isolates must be a whole number or auto")
    config("return { isolates = 0/0 }", "isolates must be a whole number or auto")
    config("return { isolates = 1e20 }", "isolates must be from 1 to 1024, not 1000")
    config("return { isolates = 1e300 }", "isolates must be a whole number or auto")
    config("return { body_max = 1/0 }", "body_max must be bytes")
    config("return { body_max = true }", "body_max must be bytes")
    config("return { log = string.format }", "log must be a path, not a function")
    config('return { log = "a\\0b" }', "log must be a path, not text with a zero byte")
    config("return { user = { 1 } }", "user must be text, not a table")
    config("return { listen = { a = 1 } }", "listen must be addresses, not a table")
    config("return { listen = {} }", "listen must be addresses, not an empty table")
    config('return { listen = { ":0", ":x" } }', "listen: ':x': the port must be")
  end)

  it("refuses what is no table of settings", function()
    config("", "must return a table, not nothing")
    config("return 3", "must return a table, not number")
    config("return { 3 }", "a value without a name")
    config("return {", "DIR/atoll.lua:1: ")
    config("\27Lua", "attempt to load a binary chunk")
    config("\n\nerror 'boom'", "DIR/atoll.lua:3: boom")
    config("error {}", "DIR/atoll.lua: an error that is no text")
  end)

  it("reaches nothing but values", function()
    for _, name in ipairs { "os", "io", "require", "load", "print", "debug",
      "setmetatable", "coroutine", "pcall", "_G", "dofile", "collectgarbage" } do
      config("return " .. name .. ".x",
        ("there is no '%s' in a config file"):format(name))
    end
  end)

  it("ends when it runs too long or grows too large", function()
    config("\nwhile true do end", "DIR/atoll.lua:2: runs too long")
    config('local s = "x" while true do s = s .. s end', "not enough memory")
  end)

  it("reads the environment with env", function()
    write("atoll.lua", 'return { listen = env("WHERE", "unix:/nonexistent/default") }')
    listens_on("unix:/nonexistent/default", "")
    listens_on("unix:/nonexistent/where", "", "WHERE=unix:/nonexistent/where")
  end)

  it("may compute", function()
    write("atoll.lua", [[
      local dir = "/nonexistent"
      local all = {}
      for i = 1, 2 do all[i] = ("unix:%s/%d"):format(dir, i) end
      return { listen = all, slice_warn = 0.00001, isolates = 4 // 2.0 }]])
    listens_on("unix:/nonexistent/1", "")
  end)
end)
