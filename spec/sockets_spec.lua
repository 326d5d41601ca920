-- What keeps a host from starting, once its settings are right.
local command = require "support.command"
local refuses, write = command.refuses, command.write

before_each(command.begin)
after_each(command.finish)

describe("sockets", function()
  it("that cannot be bound are named", function()
    refuses(69, "cannot listen on 192.0.2.1:80: cannot assign requested address",
      "serve DIR -l 192.0.2.1:80")
    refuses(69, "cannot listen on unix:/nonexistent/x: no such file or directory",
      "serve DIR -l 127.0.0.1:0 -l unix:/nonexistent/x")
  end)

  it("do not replace a file that is none", function()
    write("precious", "words")
    refuses(69, "cannot listen on unix:DIR/precious: file exists",
      "serve DIR -l unix:DIR/precious")
    assert.equal("words", command.read "precious")
  end)

  it("in use by somebody are left to them", function()
    refuses(69, "cannot listen on unix:DIR/a.sock: address already in use",
      "serve DIR -l unix:DIR/a.sock -l unix:DIR/a.sock")
  end)

  it("leave no file behind when another cannot be bound", function()
    refuses(69, "cannot listen on 192.0.2.1:80",
      "serve DIR -l unix:DIR/a.sock -l 192.0.2.1:80")
    assert.is_false(command.exists "a.sock")
  end)
end)

describe("pid file", function()
  it("that holds something else is not overwritten", function()
    write("pid", "root:x:0:0\n")
    refuses(78, "pid_file 'DIR/pid' exists and holds something else",
      "serve DIR -l 127.0.0.1:0 --pid-file DIR/pid")
    assert.equal("root:x:0:0\n", command.read "pid")
  end)

  it("is gone when the start fails", function()
    write("pid", "1\n") -- left behind by one that was killed
    refuses(69, "cannot listen on", "serve DIR -l 192.0.2.1:80 --pid-file DIR/pid")
    assert.is_nil(command.read "pid")
  end)
end)

describe("start", function()
  it("refuses users and groups that are not there", function()
    refuses(78, "user: there is no user 'no-such-user'",
      "serve DIR -l 127.0.0.1:0 --user no-such-user")
    refuses(78, "group: there is no group 'no-such-group'",
      "serve DIR -l 127.0.0.1:0 --group no-such-group")
  end)

  it("refuses a log that cannot be opened", function()
    refuses(78, "log '/nonexistent/x': no such file or directory",
      "serve DIR -l 127.0.0.1:0 --log /nonexistent/x")
    refuses(78, "log '/nonexistent/y': no such file or directory",
      "serve DIR -l 127.0.0.1:0 --access-log /nonexistent/y")
  end)
end)
