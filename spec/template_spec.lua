-- Templates: what they write, what they escape, and where they say that something is
-- wrong.
local events = require "support.events"
local host = require "support.host"
local template = require "atoll.template"
local wire = require "support.wire"

local function render(source, values)
  return template.compile(source, "t.html")(values)
end

-- What is wrong with it: line and text.
local function problem(source, values)
  local ok, why = pcall(render, source, values or {})
  assert(not ok, "nothing is wrong")
  local line, text = why:match "^t%.html:(%d+): (.*)$"
  assert(line, why)
  return tonumber(line), text
end

describe("a template", function()
  it("writes text, values and what Lua says", function()
    local cases = {
      { "", "" },
      { "just text\n", "just text\n" },
      { "<%= 1 %>,<%= 1.5 %>,<%= 's' %>,<%= true %>,<%= false %>,<%= nil %>",
        "1,1.5,s,true,false," },
      { "<% for i = 1, 3 do %><%= i %> <% end %>", "1 2 3 " },
      { "<% if x then %>yes<% else %>no<% end %>", "yes" },
      { "<%= x -%>\nnext\n<%= x %>\nline", "7next\n7\nline" },
      { "<% local y = x -%>\r\n<%= y %>", "7" },
      { "a<%# no %>b<%#\n= nor this -%>\nc", "abc" },
      { "<%% is <%= '<%%' %>", "<% is &lt;%%" },
      { "<%= x -- a comment %>!", "7!" },
      { "<% -- a comment %>!", "!" },
      { "<% --[[ a\ncomment ]] %>!", "!" },
      { "<%= ('%s'):format '--' %><%= [==[ ]] ]==] %>", "-- ]] " },
      { "\0\1\r\n\\\"\226\130\172", "\0\1\r\n\\\"\226\130\172" },
      { "<% local function f(a) %>(<%= a %>)<% end f(1) %><%= f(2) %>", "(1)(2)" },
      { "<% y = x + 1 %><%= y %>", "8" },
      { "<% if x then return end %>never", "" },
    }
    for _, case in ipairs(cases) do
      assert.same(case[2], render(case[1], { x = 7 }), case[1])
    end
    assert.is_nil(rawget(_G, "y"))
  end)

  it("escapes what it is not told to leave alone", function()
    local bad, good = [[<a href="x">&'</a>]],
      "&lt;a href=&quot;x&quot;&gt;&amp;&#39;&lt;/a&gt;"
    assert.equal(good, render("<%= v %>", { v = bad }))
    assert.equal('<p class="' .. good .. '">',
      render('<p class="<%= v %>">', { v = bad }))
    assert.equal(bad, render("<%- v %>", { v = bad }))
    assert.equal(bad, render("<%= v %>", { v = template.raw(bad) }))
    assert.equal(bad, render("<%= raw(v) %>", { v = bad }))
    assert.equal(good, render("<%- escape(v) %>", { v = bad }))
    assert.equal([[<p class="<a href=&quot;x&quot;>&&#39;</a>">]],
      render('<p class="<%= raw(v) %>">', { v = bad }))
    assert.equal([[<p data-x='{&quot;a&quot;:&quot;&#39;&quot;}'>]],
      render("<p data-x='<%= json(v) %>'>", { v = { a = "'" } }))
    local object = setmetatable({}, { __tostring = function() return "<&>" end })
    assert.equal("&lt;&amp;&gt;", render("<%= v %>", { v = object }))
    assert.equal([[<script>let v = {"a":"\u003c/script\u003e"}</script>]],
      render("<script>let v = <%- json(v) %></script>", { v = { a = "</script>" } }))
  end)

  it("refuses a value where escaping would not help", function()
    local cases = {
      { '<a href=<%= v %>>', "put quotes around" },
      { "<a title = <%= v %>>", "put quotes around" },
      { "<a <%= v %>>", "inside a tag" },
      { "<<%= v %>>", false },
      { "<SCRIPT>\n'<%= v %>'", "json%(value%)", 2 },
      { "<style>p { color: <%= v %> }</style>", "in a <style>" },
      { "<script></script><p><%= v %></p>", false },
      { "<!-- <a href=<%= v %>> -->", false },
      { "a < b = <%= v %>", false },
      { '<a b="c" d=\'<%= v %>\' e="<%= v %>">', false },
      { "<a <%- v %>><%= v %>", false },
    }
    for _, case in ipairs(cases) do
      if case[2] then
        local line, text = problem(case[1], { v = 1 })
        assert.equal(case[3] or 1, line)
        assert.truthy(text:find(case[2]), text)
      else
        render(case[1], { v = 1 })
      end
    end
  end)

  it("names a value that is not there", function()
    local line, text = problem "<p>\n\n<%= titel %>"
    assert.equal(3, line)
    assert.equal("no value named 'titel'; values.titel may be missing", text)
    assert.equal("", render "<%= values.titel %>")
    assert.equal("none", render "<%= values.titel or 'none' %>")
  end)

  it("says in which of its lines something is wrong", function()
    local cases = {
      { "\n<%= 1 + %>", 2, "unexpected symbol" },
      { "\n<%= 1; 2 %>", 2, "" },
      { "\n<%= %>", 2, "without an expression" },
      { "<% if x then %>\nand so on\n", 3, "'end' expected .to close 'if' at line 1" },
      { "a\n<% end %>\nb", 2, "<eof> expected near 'end'" },
      { "a\n<% x = 'abc %> it's\n", 2, "unfinished string" },
      { "a\n<% x = [[abc %> ]]\n", 2, "unfinished long string" },
      { "a\n<% --[==[ %> ]==]\n", 2, "unfinished long comment" },
      { "a\n\n<% x = 1", 3, "%%> is missing" },
      { "\r\n\r\n<%=\r\n\r\nx %>", 5, "no value named 'x'" },
      { "\n<%= nil .. 'a' %>", 2, "attempt to concatenate" },
      { "\n\n<% error 'on purpose' %>", 3, "on purpose" },
      { "\n<%= {} %>", 2, "a table cannot be written" },
      { "\n<%- print %>", 2, "a function cannot be written" },
      { "<% for i = 1, 2 do\n\n%>\n<% f( %>\n<% end %>", 4, "near ';'" },
    }
    for _, case in ipairs(cases) do
      local line, text = problem(case[1])
      assert.equal(case[2], line, case[1] .. "\n" .. text)
      assert.truthy(text:find(case[3]), text)
    end
  end)

  -- Random templates, and random breakage: what goes wrong is said of a line of theirs.
  it("never speaks of lines that it does not have", function()
    local seed = os.time()
    math.randomseed(seed)
    local pieces = {
      "text", "\n", "\n", "it's \"", "<p a='", "<%= x %>", "<%- x %>", "<%= y %>",
      "]]",
      "<% if x then %>", "<% end %>", "<% for i = 1, 2 do %>", "<% else %>", "--",
      "<% -- c %>", "<% local z = [[\n]] %>", "<%= '%", "%>", "<%", "-%>", "\r\n",
      "<%%",
      "<% return %>", "<% function f() %>", "<% f() %>", "<%# c\n %>", "\\",
      "<%= x\n -- c\n%>",
      "<% goto e %>", "<% break %>", "<% x = 'a\\\nb' %>", "<script>",
      "<% repeat %>", "<% until true %>", "<% until\n\nnope %>", "<% error 'e' %>",
      "\0",
    }
    local good = 0
    for _ = 1, 5000 do
      local list = {}
      for i = 1, math.random(1, 12) do list[i] = pieces[math.random(#pieces)] end
      local source = table.concat(list)
      local ok, why = pcall(render, source, { x = 1 })
      if ok then
        good = good + 1
      else
        local _, lines = source:gsub("\n", "")
        local line = tonumber(tostring(why):match "^t%.html:(%d+): ")
        assert(line and line >= 1 and line <= lines + 1,
          ("seed %d: %q: %s"):format(seed, source, why))
      end
    end
    assert(good > 500, good)
  end)

  it("fails in the very line that fails, whatever is around it", function()
    local lines = {
      "text", "", "<%= x %>", "<% if x then %>a<% end %>", "<%#", "%>",
      "<% local t = {",
      "1, -- one", "'\\z", "  x' } %>", "<% --[[", "]] %>", "<%= [[", "]] -%>", "\r",
    }
    for at = 1, #lines + 1 do
      local inside = { [6] = true, [8] = true, [9] = true, [10] = true, [12] = true,
        [14] = true }
      if not inside[at] then
        local copy = table.move(lines, 1, #lines, 1, {})
        table.insert(copy, at, "<% error 'here' %>")
        local line, text = problem(table.concat(copy, "\n"), { x = 1 })
        assert.equal("here", text)
        assert.equal(at, line)
      end
    end
  end)
end)

describe("views", function()
  after_each(host.finish)

  local function views(files) return template.views(host.directory(files)) end

  it("are found by their names", function()
    local v = views {
      ["page.html"] = "html <%= x %>", ["old.etlua"] = "etlua <%= x %>",
      ["mail/new.txt"] = "<a> <%= x %>", ["both.html"] = "1", ["both.etlua"] = "2",
      ["notes.md"] = "<% no template", [".hidden.html"] = "<%", ["page.html~"] = "<%",
    }
    local values = { x = "<" }
    assert.equal("html &lt;", v:render("page", values))
    assert.equal("html &lt;", v:render("page.html", values))
    assert.equal("etlua &lt;", v:render("old", values))
    assert.equal("<a> <", v:render("mail/new.txt", values))
    assert.equal("1", v:render "both")
    for _, name in ipairs {
      "none", "../page", "/etc/passwd", "mail/../page", "notes.md", ".hidden", "page\0",
    } do
      local ok, why = pcall(v.render, v, name)
      assert.is_false(ok)
      assert.truthy(why:find("template_spec.lua:%d+: no view '"), why)
      assert.truthy(why:find(v.directory, 1, true), why)
    end
  end)

  it("include each other", function()
    local v = views {
      ["list.html"] = "<% for _, it in ipairs(items) do %>"
        .. "<%= include('item', { it = it }) %><% end %>",
      ["item.html"] = "<li><%= it %><%- mark %></li>",
      ["tree.html"] = "(<%= n %><% if n > 1 then %>"
        .. "<%- include('tree', { n = n - 1 }) %><% end %>)",
    }
    assert.equal("<li>a&amp;<b></li><li>c<b></li>",
      v:render("list", { items = { "a&", "c" }, mark = "<b>" }))
    assert.equal("(3(2(1)))", v:render("tree", { n = 3 }))
  end)

  it("have layouts and blocks", function()
    local v = views {
      ["base.html"] = "<title><%= title %></title>"
        .. "<% block('head', function() %>plain<% end) %>"
        .. "|<%= content %>|<% block 'foot' %>",
      ["inner.html"] = "<% layout('base', { title = 'inner' }) %>[<%= content %>]"
        .. "<% block('foot', function() %>inner foot<% end) %>",
      ["bare.html"] = "<% layout 'base' %>bare",
      ["page.html"] = "<% layout 'inner' %>"
        .. "<% block('head', function() %><b><%= x %></b><% end) %>page <%= x %>",
      ["circle.html"] = "<% layout 'circle' %>",
    }
    assert.equal("<title>t</title>plain|bare|", v:render("bare", { title = "t" }))
    assert.equal("<title>inner</title><b>&lt;</b>|[page &lt;]|inner foot",
      v:render("page", { x = "<" }))
    local ok, why = pcall(v.render, v, "circle")
    assert.is_false(ok)
    assert.truthy(why:find "more than 20 layouts around each other")
  end)

  it("are all looked at when they are loaded", function()
    local ok, why = pcall(views, {
      ["a.html"] = "<% if %>", ["b/c.html"] = "\n<%= ) %>", ["d.html"] = "fine",
    })
    assert.is_false(ok)
    assert.truthy(why:find "/a.html:1: ")
    assert.truthy(why:find "/b/c.html:2: ")
  end)

  it("are an app's pages, may wait, and fail with their own lines", function()
    local h = host.start { files = {
      ["app.lua"] = host.app [[
        atoll.template.helpers.shout = string.upper
        app:get("/", function() return atoll.render("page", { name = "<ann>" }) end)
        app:get("/status", function()
          return app:render("page", { name = "b" }, 422, { ["X-A"] = "1" })
        end)
        app:get("/broken", function() return atoll.render("broken") end)
        app:get("/none", function(req) return atoll.render(req.query.name) end)
        app:get("/mail", function()
          return atoll.template.render("mail.txt", { name = "<c>" })
        end)]],
      ["views/page.html"] = "<% require('atoll').sleep(0.001) %>"
        .. "<p><%= shout(name) %></p>",
      ["views/broken.html"] = "\n\n<%= include 'part' %>",
      ["views/part.html"] = "\n<%= nobody.there %>",
      ["views/mail.txt"] = "Dear <%= name %>",
    } }
    local c = wire.connect(h)
    local answer = c:ask "/"
    assert.equal("<p>&lt;ANN&gt;</p>", answer.body)
    assert.equal("text/html; charset=utf-8", answer.fields["content-type"])
    answer = c:ask "/status"
    assert.equal(422, answer.status)
    assert.equal("1", answer.fields["x-a"])
    assert.equal("Dear <c>", c:ask("/mail").body)
    assert.equal(500, c:ask("/broken").status)
    h:log_wait "views/part.html:2: no value named 'nobody'"
    h:log_wait "views/broken.html:3: in "
    assert.equal(500, c:ask("/none?name=../app").status)
    h:log_wait "app.lua:%d+: no view '../app': no [^\n]*/views/../app.html"
    -- Broken ones are not taken over.
    h:write("views/page.html", "a\n<% end %>")
    assert.truthy(h:reload():find "page.html:2: ")
    assert.equal("<p>&lt;ANN&gt;</p>", c:ask("/").body)
    h:write("views/page.html", "new")
    h:hup()
    events.retry("the new code", function() return c:ask("/").body == "new" end)
    c:close()
  end)

  it("are checked by atoll check", function()
    local dir = host.directory {
      ["app.lua"] = host.app 'app:get("/", function() end)',
      ["views/a.html"] = "<% if %>", ["views/b.html"] = "\n<%= ) %>",
    }
    local pipe = io.popen(os.getenv "ATOLL" .. " check " .. dir .. " 2>&1; echo $?")
    local text = pipe:read "a"
    pipe:close()
    assert.truthy(text:find "views/a.html:1: ")
    assert.truthy(text:find "views/b.html:2: ")
    assert.truthy(text:find "\n78\n$")
  end)
end)
