local atoll = require "atoll"
local password = atoll.password

local CHEAP = { ln = 10, p = 1 }

describe("a password", function()
  it("is known again by its hash, which is another each time", function()
    local hash = assert(password.hash("correct horse", CHEAP))
    assert.truthy(hash:find "^%$scrypt%$ln=10,r=8,p=1%$[%w+/]+%$[%w+/]+$")
    assert.not_equal(hash, password.hash("correct horse", CHEAP))
    assert.is_true(password.verify("correct horse", hash))
    assert.is_false(password.verify("correct hors", hash))
    assert.is_false(password.verify("", hash))
    assert.is_true(password.verify("a\0b", password.hash("a\0b", CHEAP)))
    assert.is_false(password.verify("a\0c", password.hash("a\0b", CHEAP)))
  end)

  -- RFC 7914 12
  it("is hashed as others do", function()
    local hash = "$scrypt$ln=14,r=8,p=1$U29kaXVtQ2hsb3JpZGU$"
      .. "cCO9yzr9c0hGHAbNgf046/2o+7qQT44+qbVD9lRdofI"
    assert.is_true(password.verify("pleaseletmein", hash))
  end)

  it("takes time and memory by default, and holds nobody up", function()
    local turns, hash
    local function once()
      local over = false
      turns = 0
      local task = atoll.spawn(function()
        while not over do
          turns = turns + 1
          atoll.sleep(0)
        end
      end)
      hash = password.hash "x"
      over = true
      task:join()
      return turns > 10
    end
    -- On a busy machine it may be the other thread that has the CPU.
    for _ = 1, 10 do if once() then break end end
    assert.truthy(hash:find "^%$scrypt%$ln=15,r=8,p=3%$")
    assert.is_true(turns > 10, tostring(turns))
    assert.is_false(password.needs_rehash(hash))
    assert.is_true(password.needs_rehash(hash, { ln = 16 }))
    assert.is_true(password.needs_rehash(password.hash("x", CHEAP)))
    assert.is_true(password.needs_rehash "$2y$10$abc")
  end)

  it("of nobody is wrong", function()
    assert.is_false(password.verify("x", nil))
  end)

  it("is not compared with what is no hash, or would take too much", function()
    for _, text in ipairs {
      "", "x", "$2y$10$abcdefghijklmnopqrstuv", "$scrypt$ln=10,r=8,p=1$$",
      "$scrypt$ln=10,r=8,p=1$AAAA$AAAA", "$scrypt$ln=25,r=8,p=1$AAAA$" .. ("A"):rep(43),
      "$scrypt$ln=10,r=8,p=99$AAAA$" .. ("A"):rep(43),
      "$scrypt$ln=0,r=8,p=1$AAAA$" .. ("A"):rep(43),
      "$scrypt$ln=10,r=8,p=1$AA*A$" .. ("A"):rep(43),
    } do
      local ok, message, code = password.verify("x", text)
      assert.same({ nil, "that is no scrypt hash", "ESYNTAX" }, { ok, message, code })
    end
  end)

  it("is refused with a cost that is none", function()
    for _, cost in ipairs {
      { ln = 30 }, { ln = 0 }, { ln = 1.5 }, { n = 4 }, { p = 65 }, { r = 0 }, "x",
    } do
      assert.is_false(pcall(password.hash, "x", cost))
    end
    assert.is_false(pcall(password.hash, nil))
    assert.is_false(pcall(password.hash, ("x"):rep(5000), CHEAP))
  end)

  it("whose fiber is cancelled leaves nothing behind", function()
    local ok, code
    for _ = 1, 10 do
      local task = atoll.spawn(password.hash, "x")
      atoll.sleep(0.01)
      local early = task:cancel()
      ok, code = task:join(), select(3, task:join())
      if early then break end -- it was done, while this thread stood still
    end
    assert.is_nil(ok)
    assert.equal("ECANCELED", code)
    assert.truthy(password.hash("x", CHEAP))
  end)
end)
