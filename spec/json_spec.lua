local json = require "atoll.json"
local cjson = require "cjson"
local safe = require "cjson.safe"

local null = json.null

-- The names follow JSONTestSuite: y must be taken, n must be refused, i is ours to say.
local taken = {
  -- arrays and objects
  ["[]"] = {}, ["[ ]"] = {}, ["{}"] = {}, ["[[]]"] = { {} }, ["[\"\"]"] = { "" },
  [" [1] "] = { 1 }, ["\t\r\n[1\n,\n2]\r\n"] = { 1, 2 }, ["[null]"] = { null },
  ["[1,null,null]"] = { 1, null, null }, ["[false,true]"] = { false, true },
  ['{"a":1}'] = { a = 1 }, ['{ "a" : 1 , "b" : [ ] }'] = { a = 1, b = {} },
  ['{"":0}'] = { [""] = 0 }, ['{"a":1,"a":2}'] = { a = 2 },
  ['{"a":{"a":{}},"b":[{"c":[]}]}'] = { a = { a = {} }, b = { { c = {} } } },
  ['[[1,[2,[3]]],{"a":[4,{"b":5}]},6]'] = {
    { 1, { 2, { 3 } } }, { a = { 4, { b = 5 } } }, 6,
  },
  -- scalars stand alone
  ["true"] = true, ["false"] = false, ["1"] = 1, ['"x"'] = "x", [" -1.5 "] = -1.5,
  -- numbers
  ["[0]"] = { 0 }, ["[-0]"] = { 0 }, ["[123]"] = { 123 }, ["[-1]"] = { -1 },
  ["[1e2]"] = { 100.0 }, ["[1E+2]"] = { 100.0 }, ["[1e-2]"] = { 0.01 },
  ["[0e1]"] = { 0.0 }, ["[0e+1]"] = { 0.0 }, ["[1.5e3]"] = { 1500.0 },
  ["[123.456]"] = { 123.456 }, ["[1e-400]"] = { 0.0 },
  ["[9223372036854775807]"] = { math.maxinteger },
  ["[-9223372036854775808]"] = { math.mininteger },
  ["[9223372036854775808]"] = { 2.0 ^ 63 }, ["[-9223372036854775809]"] = { -2.0 ^ 63 },
  ["[99999999999999999999]"] = { 1e20 },
  ["[0.1000000000000000055511151231257827]"] = { 0.1 },
  -- strings
  ['"\\"\\\\\\/\\b\\f\\n\\r\\t"'] = "\"\\/\b\f\n\r\t",
  ['"\\u0041\\u00e9\\u20AC"'] = "Aé€",
  ['"\\ud83d\\ude00"'] = "😀", ['"\\uD83D\\uDE00x"'] = "😀x",
  ['"a\\u0000b"'] = "a\0b",
  ['"\\uFFFF\\ufffe\\udbff\\udfff"'] = "\u{FFFF}\u{FFFE}\u{10FFFF}",
  ['"\x7f é € 😀 \u{2028}"'] = "\x7f é € 😀 \u{2028}", ['"/"'] = "/",
  ['"12345678\\n12345678é12345678"'] = "12345678\n12345678é12345678",
  ['{"k\\u00e9y":"\\\\u0041"}'] = { ["kéy"] = "\\u0041" },
}

local refused = {
  "", " ", "\0", "[", "]", "{", "}", "[1", "[1,", "[1,]", "[,1]", "[,]",
  "[1,,2]", "[1 2]",
  "[1]]", "[1]x", "[1],", "[]\0", "[\"a\"", "[\"a\",", "[a]", "[1:2]", "[*]", "[()]",
  '{"a"}', '{"a":}', '{"a" 1}', '{"a":1,}', "{,}", "{a:1}", "{'a':1}", "{1:1}",
  "{[]:1}",
  '{"a":1 "b":2}', '{"a":1', '{"a"', '{"a":', '{"a":1}}', '{"a":1}#',
  '{"a":"b",,"c":1}',
  '{"a":/*c*/1}', "[1]//c", "<null>", "nul", "nulll", "True", "TRUE", "tru",
  "truefalse",
  "[-]", "[--1]", "[+1]", "[.5]", "[-.5]", "[1.]", "[1.e1]", "[1e]", "[1e+]", "[1E-]",
  "[01]", "[-01]", "[00]", "[0x10]", "[1e1.5]", "[1.2.3]", "[1_000]", "[1a]", "[1 000]",
  "[NaN]", "[-NaN]", "[Infinity]", "[-Infinity]", "[nan]", "[inf]", "[1e400]",
  "[-1e400]",
  "[１]", '"', '"a', '"\\"', '"\\', '"\\x41"', '"\\a"', '"\\u"', '"\\u12"',
  '"\\u123g"',
  '"\\U0041"', "'a'", '"\n"', '"\t"', '"\0"', '"\x1f"', '"\\\0"', '"\\ud800"',
  '"\\ud800x"', '"\\ud800\\n"', '"\\ud800\\ud800"', '"\\udc00"', '"\\ud83d\\u0041"',
  '"\\ud83d\\ude0"', '"\x80"', '"\xbf"', '"\xc0\x80"', '"\xc1\xbf"', '"\xc3"',
  '"\xc3("',
  '"\xe0\x80\x80"', '"\xe0\x9f\xbf"', '"\xe2\x82"', '"\xe2(\xa1"', '"\xed\xa0\x80"',
  '"\xed\xbf\xbf"', '"\xf0\x80\x80\x80"', '"\xf0\x8f\xbf\xbf"', '"\xf0\x9f\x98"',
  '"\xf4\x90\x80\x80"', '"\xf5\x80\x80\x80"', '"\xff"', '"\xfe\xff"', '"1234567\xc3"',
  "\xef\xbb\xbf{}", "\xef\xbb\xbf", "\xff\xfe[\0]\0", "[\x0b1]", "[\x0c]", "[\u{a0}1]",
  "[\u{2060}]", "\x1b", "[" .. ("1"):rep(1001) .. ".0]",
}

describe("json.decode", function()
  it("takes what RFC 8259 has", function()
    for text, value in pairs(taken) do
      local got, message = json.decode(text)
      assert.same(nil, message, text)
      assert.same(value, got, text)
      assert.same(math.type(value), math.type(got), text)
      if type(value) == "table" then
        assert.same(math.type(value[1]), math.type(got[1]), text)
      end
    end
    assert.equal(null, json.decode("null"))
  end)

  it("refuses everything else", function()
    for _, text in ipairs(refused) do
      local value, message, code = json.decode(text)
      assert.equal(nil, value, text)
      assert.match("at byte %d+ %(line %d+, column %d+%)$", message)
      assert.same("ESYNTAX", code)
    end
  end)

  it("refuses each prefix of a text", function()
    local text = '{"a\\u00e9€":[1.5e1,-2,{"b":null,"c":[true,false,""]}]}'
    assert(json.decode(text))
    for n = 0, #text - 1 do assert.equal(nil, (json.decode(text:sub(1, n)))) end
  end)

  it("says what is wrong and where", function()
    local function message(text) return select(2, json.decode(text)) end
    assert.same("expected ',' or ']', found '2' at byte 4 (line 1, column 4)",
      message("[1 2]"))
    assert.same("expected a value, found ']' at byte 9 (line 3, column 2)",
      message("[1,\n2,\n ]"))
    assert.same("expected ':', but the text ends at byte 5 (line 1, column 5)",
      message('{"a"'))
    assert.same("expected nothing more, found byte 0 at byte 3 (line 1, column 3)",
      message("{}\0"))
    assert.same("a string that is not UTF-8 at byte 3 (line 1, column 3)",
      message('"a\xff"'))
  end)

  it("keeps integers and doubles apart both ways", function()
    for _, text in ipairs { "0", "-1", "9007199254740993", "9223372036854775807",
      "-9223372036854775808", "1.0", "-0.0", "0.1", "1e300", "123456789012345.6" } do
      assert.same(text, json.encode(json.decode(text)))
    end
    assert.same("integer", math.type(json.decode("1")))
    assert.same("float", math.type(json.decode("1.0")))
  end)

  it("nests a thousand deep and no deeper", function()
    local function nested(n, open, close) return open:rep(n) .. close:rep(n) end
    assert.same("table", type(json.decode(nested(1000, "[", "]"))))
    assert.same("table", type(json.decode('{"a":' .. nested(999, "[", "]") .. "}")))
    local _, message = json.decode(nested(1001, "[", "]"))
    assert.same("nested too deep at byte 1001 (line 1, column 1001)", message)
    assert.equal(nil, (json.decode(("["):rep(1000000))))
    assert.equal(nil, (json.decode(('{"a":'):rep(1000000))))
  end)

  it("reads what is larger than any guess", function()
    local list, object = {}, {}
    for i = 1, 5000 do
      list[i] = { i, { x = i, y = { -i } }, tostring(i) }
      object["key" .. i] = list[i]
    end
    assert.same(list, json.decode(json.encode(list)))
    assert.same(object, json.decode(json.encode(object)))
    local long = ("é\n"):rep(100000)
    assert.same(long, json.decode(json.encode(long)))
  end)

  it("wants text", function()
    assert.error(function() json.decode() end)
    assert.error(function() json.decode({}) end)
  end)
end)

describe("json.encode", function()
  it("writes scalars", function()
    assert.same("null", json.encode(nil))
    assert.same("null", json.encode(null))
    assert.same("true", json.encode(true))
    assert.same("1", json.encode(1))
    assert.same("1.0", json.encode(1.0))
    assert.same("-0.0", json.encode(-0.0))
    assert.same("0.30000000000000004", json.encode(0.1 + 0.2))
    assert.same("5e-324", json.encode(5e-324))
    assert.same('""', json.encode(""))
  end)

  it("escapes what has to be, wherever it stands", function()
    for prefix = 0, 17 do
      for suffix = 0, 17 do
        local before, after = ("a"):rep(prefix), ("z"):rep(suffix)
        local function written(s) return json.encode(before .. s .. after) end
        local function around(s) return '"' .. before .. s .. after .. '"' end
        assert.same(around('\\"'), written('"'))
        assert.same(around("\\\\"), written("\\"))
        assert.same(around("\\n"), written("\n"))
        assert.same(around("\\u0000"), written("\0"))
        assert.same(around("\\u001f"), written("\x1f"))
        assert.same(around("/\x7f é€😀"), written("/\x7f é€😀"))
        assert.same(around("\\u0001\\b\\t\\f\\r\\u000b"), written("\1\b\t\f\r\v"))
      end
    end
    local all = {}
    for code = 0, 0x10ffff, 17 do
      if code < 0xd800 or code > 0xdfff then all[#all + 1] = utf8.char(code) end
    end
    assert.same(all, json.decode(json.encode(all)))
    assert.same(table.concat(all), json.decode(json.encode(table.concat(all))))
  end)

  it("refuses strings that are not UTF-8, and says at which byte", function()
    for _, text in ipairs(refused) do
      local bad = text:match('^"(.*[\x80-\xff].*)"$')
      if bad then assert.error(function() json.encode(bad) end) end
    end
    assert.error_matches(function() json.encode { name = { "ok", "caf\xe9" } } end,
      "cannot encode name%[2%]: a string is not UTF%-8 at its byte 4")
    assert.error_matches(function() json.encode { ["\xff"] = 1 } end, "not UTF%-8")
  end)

  it("tells arrays from objects", function()
    assert.same("{}", json.encode {})
    assert.same("[]", json.encode(json.array {}))
    assert.same("[]", json.encode(json.array()))
    assert.same("[]", json.encode(json.empty_array))
    assert.same("[]", json.encode(setmetatable({}, json.empty_array_mt)))
    assert.same('{"a":1}', json.encode(setmetatable({ a = 1 }, json.empty_array_mt)))
    assert.same("[1]", json.encode { 1 })
    assert.same("[[[]],{}]", json.encode { { json.array {} }, {} })
    assert.same("[1,[2,[3],4],5]", json.encode { 1, { 2, { 3 }, 4 }, 5 })
    assert.same('{"a":[1,{"b":[2]}]}', json.encode { a = { 1, { b = { 2 } } } })
    local backwards = {}
    for i = 20, 1, -1 do backwards[i] = i end
    assert.same("[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20]",
      json.encode(backwards))
    assert.same('{"1":"x"}', json.encode { ["1"] = "x" })
  end)

  it("fills small holes and refuses large ones", function()
    assert.same("[null,2]", json.encode { nil, 2 })
    assert.same("[null,null,{}]", json.encode { [3] = {} })
    assert.same("[1,null,null,null,null,null,null,null,null,10]",
      json.encode { [1] = 1, [10] = 10 })
    assert.error_matches(function() json.encode { list = { [1] = 1, [11] = 2 } } end,
      "cannot encode list: an array has 2 items in 11 places")
    assert.error(function() json.encode { [math.maxinteger] = 1 } end)
    assert.error(function() json.encode(json.array { [math.maxinteger] = 1 }) end)
  end)

  it("refuses tables that are neither array nor object, and names the key", function()
    local function refuses(value, message)
      local ok, why = pcall(json.encode, value)
      assert.same(false, ok)
      assert.same(message, (why:gsub("^.-: cannot", "cannot")))
    end
    refuses({ 1, 2, x = 3 }, 'cannot encode: an array also has the key "x"')
    refuses({ a = { 1, {}, x = 3 } }, 'cannot encode a: an array also has the key "x"')
    refuses({ { [0] = 1 } }, "cannot encode [1]: a table has the key [0]")
    refuses({ [1.5] = 1 }, "cannot encode: a table has the key [1.5]")
    refuses({ [true] = 1 }, "cannot encode: a table has the key of type boolean")
    refuses(json.array { x = 1 }, 'cannot encode: a table has the key "x"')
  end)

  it("names the place of what JSON cannot hold", function()
    assert.error_matches(function()
      json.encode { users = { {}, { ["a b"] = { fn = print } } } }
    end, 'cannot encode users%[2%]%["a b"%]%.fn: JSON has nothing for a function')
    assert.error_matches(function() json.encode { 1, print } end,
      "cannot encode %[2%]: JSON has nothing for a function")
    assert.error(function() json.encode(io.stdout) end)
    assert.error(function() json.encode(coroutine.create(print)) end)
  end)

  it("refuses NaN and the infinities", function()
    for _, number in ipairs { 0 / 0, 1 / 0, -1 / 0 } do
      assert.error_matches(function() json.encode { number } end, "no NaN")
    end
  end)

  it("ends at a table inside itself", function()
    local t = {}
    t.t = t
    assert.error_matches(function() json.encode(t) end, "more than 1000 deep")
    local list = {}
    list[1] = list
    assert.error_matches(function() json.encode(list) end, "more than 1000 deep")
  end)

  it("calls no metamethod", function()
    local function bad() error("called") end
    local t = setmetatable({ a = 1 },
      { __index = bad, __pairs = bad, __len = bad, __tostring = bad })
    assert.same('{"a":1}', json.encode(t))
  end)

  it("says who called", function()
    local _, message = pcall(function() json.encode(print) end)
    assert.match("json_spec.lua:%d+: cannot encode", message)
  end)

  it("goes on after an error", function()
    assert.error(function() json.encode { ("x"):rep(100000), print } end)
    assert.same("[1]", json.encode { 1 })
  end)
end)

describe("json.array", function()
  it("marks the table itself", function()
    local t = {}
    assert.equal(t, json.array(t))
    assert.equal(json.array_mt, getmetatable(t))
    assert.equal(t, json.array(t))
    assert.error(function() json.array(setmetatable({}, {})) end)
    assert.error(function() json.array("x") end)
  end)
end)

describe("cjson", function()
  it("shares its marks with atoll.json", function()
    assert.equal(json.null, cjson.null)
    assert.equal(json.array_mt, cjson.array_mt)
    assert.equal(json.empty_array, cjson.empty_array)
    assert.same("[]", cjson.encode(json.array {}))
  end)

  it("writes as lua-cjson does", function()
    assert.same([["a\/b"]], cjson.encode("a/b"))
    assert.same("[1,1,0.5]", cjson.encode { 1, 1.0, 0.5 })
    assert.same("[1]", cjson.encode(setmetatable({ 1, x = 2 }, cjson.array_mt)))
    assert.same("[]", cjson.encode(setmetatable({ x = 2 }, cjson.array_mt)))
    local mixed = cjson.decode(cjson.encode { 1, x = 2, [2.5] = 3 })
    assert.same({ ["1"] = 1, x = 2, ["2.5"] = 3 }, mixed)
    assert.same('{"0":1}', cjson.encode { [0] = 1 })
    assert.error(function() cjson.encode { [true] = 1 } end)
  end)

  it("raises, and cjson.safe does not", function()
    assert.error_matches(function() cjson.decode("[") end, "expected a value")
    assert.error_matches(function() cjson.encode(print) end, "JSON has nothing")
    local value, message = safe.decode("[")
    assert.equal(nil, value)
    assert.same("expected a value, but the text ends at byte 2 (line 1, column 2)",
      message)
    assert.same({ nil, "cannot encode: JSON has nothing for a function" },
      { safe.encode(print) })
    assert.same("[1]", safe.encode { 1 })
    assert.same({ nil, "cannot encode: JSON has nothing for a function" },
      { safe.new().encode(print) })
    assert.error(function() safe.encode() end)
    assert.error(function() safe.decode(nil) end)
  end)

  it("keeps the settings of each instance apart", function()
    local one, other = cjson.new(), cjson.new()
    one.encode_escape_forward_slash(false)
    assert.same('"/"', one.encode("/"))
    assert.same([["\/"]], other.encode("/"))
  end)

  it("answers with the settings that hold", function()
    local c = cjson.new()
    assert.same({ false, 2, 10 }, { c.encode_sparse_array() })
    assert.same({ true, 3, 4 }, { c.encode_sparse_array(true, 3, 4) })
    assert.same(1000, c.encode_max_depth())
    assert.same(5, c.decode_max_depth(5))
    assert.same(17, c.encode_number_precision())
    assert.same(14, c.encode_number_precision(14))
    assert.same(false, c.encode_invalid_numbers())
    assert.same("null", c.encode_invalid_numbers("null"))
    assert.same(true, c.encode_invalid_numbers(true))
    assert.same(true, c.decode_invalid_numbers("on"))
    assert.same(true, c.encode_keep_buffer())
    assert.same(false, c.encode_keep_buffer(false))
    assert.same(false, c.encode_empty_table_as_object(false))
    assert.same(true, c.decode_array_with_array_mt(true))
    for _, name in ipairs { "encode_max_depth", "decode_max_depth",
      "encode_number_precision", "encode_max_size", "decode_max_size" } do
      assert.error(function() c[name](0) end)
      assert.error(function() c[name]("x") end)
    end
    assert.error(function() c.encode_invalid_numbers("maybe") end)
    assert.error(function() c.encode_number_precision(18) end)
  end)

  it("does what its settings say", function()
    local c = cjson.new()
    c.encode_sparse_array(true)
    assert.same({ ["1"] = 1, ["100"] = 2 }, c.decode(c.encode { [1] = 1, [100] = 2 }))
    c.encode_sparse_array(false, 0)
    assert.same(99, select(2, c.encode({ [1] = 1, [100] = 2 }):gsub(",", ",")))
    c.encode_max_depth(2)
    assert.same("[[1]]", c.encode { { 1 } })
    assert.error_matches(function() c.encode { { { 1 } } } end, "more than 2 deep")
    c.decode_max_depth(2)
    assert.same({ { 1 } }, c.decode("[[1]]"))
    assert.error(function() c.decode("[[[1]]]") end)
    assert.error(function() c.decode("[[{}]]") end)
    c.encode_number_precision(3)
    assert.same("[0.333,1e+10,12]", c.encode { 1 / 3, 1e10, 12 })
    c.encode_invalid_numbers(true)
    assert.same("[NaN,Infinity,-Infinity]", c.encode { 0 / 0, 1 / 0, -1 / 0 })
    c.encode_invalid_numbers("null")
    assert.same("[null,null]", c.encode { 0 / 0, 1 / 0 })
    c.decode_invalid_numbers(true)
    assert.same({ 1 / 0, -1 / 0, 1 / 0, 16, -255, 1 / 0 },
      c.decode("[Infinity,-inf,INFINITY,0x10,-0xff,1e999]"))
    local nan = c.decode("NaN")
    assert.not_equal(nan, nan)
    for _, text in ipairs { "0x", "0xg", "-", "nanx", "01", "." } do
      assert.error(function() c.decode(text) end)
    end
    c.encode_empty_table_as_object(false)
    assert.same("[[]]", c.encode { {} })
    c.decode_max_depth(3)
    c.decode_array_with_array_mt(true)
    local list = c.decode('[[],{"a":[1]}]')
    assert.equal(c.array_mt, getmetatable(list))
    assert.equal(c.array_mt, getmetatable(list[1]))
    assert.equal(c.array_mt, getmetatable(list[2].a))
    assert.equal(nil, getmetatable(list[2]))
    c.encode_max_size(10)
    assert.same('"12345678"', c.encode("12345678"))
    assert.error_matches(function() c.encode("123456789") end, "longer than 10 bytes")
    assert.error(function() c.encode(("x"):rep(100000)) end)
    c.decode_max_size(4)
    assert.same({ 12 }, c.decode("[12]"))
    assert.error_matches(function() c.decode("[123]") end, "longer than 4 bytes")
  end)

  it("bounds the Lua stack when it is told to nest without end", function()
    local c = cjson.new()
    c.decode_max_depth(2147483647)
    c.encode_max_depth(2147483647)
    local ok, message = pcall(c.decode, ("["):rep(2000000))
    assert.same(false, ok)
    assert.match("nested too deep for the Lua stack", message)
    local t = {}
    t[1] = t
    ok, message = pcall(c.encode, t)
    assert.same(false, ok)
    assert.match("nested too deep", message)
    assert.same({ 1 }, c.decode("[1]"))
  end)
end)
