-- Turns the text of a template into a Lua function. Each line of the template is one
-- line of the Lua that is made of it, so whatever Lua says about that is said about the
-- template: nothing is translated back.
local context = require "atoll.template.context"

local M = {}

local function fail(name, line, ...)
  error(("%s:%d: %s"):format(name, line, string.format(...)), 0)
end

local function count_lines(text)
  local _, n = text:gsub("\n", "")
  return n
end

-- A string literal in one line.
local function literal(text)
  return (("%q"):format(text):gsub("\\\n", "\\n"):gsub("\r", "\\r"))
end

-- Lua in a tag ------------------------------------------------------------------------

-- Where the token that begins at `at` ends: the place behind it, or nil and what it is
-- that does not end.
local function long_bracket(code, at, what)
  local level, from = code:match("^%[(=*)%[()", at)
  if not level then return at + 1 end
  local _, last = code:find("]" .. level .. "]", from, true)
  if not last then return nil, "unfinished long " .. what end
  return last + 1
end

local function short_string(code, at)
  local quote, i = code:sub(at, at), at + 1
  while i <= #code do
    local c = code:sub(i, i)
    if c == "\\" then
      local _, skipped = code:find("^\\z%s*", i)
      i = skipped and skipped + 1 or i + 2
    elseif c == quote then
      return i + 1
    elseif c == "\n" then
      break
    else
      i = i + 1
    end
  end
  return nil, "unfinished string"
end

-- Lua that stands on its own: no string and no comment of it goes on behind the tag. A
-- line comment at its end goes.
local function closed(code, name, line)
  local at = 1
  while true do
    local found = code:find("[\"'%[%-]", at)
    if not found then return code end
    local next_at, problem
    local c = code:sub(found, found)
    if c == "-" then
      if code:sub(found, found + 1) ~= "--" then
        next_at = found + 1
      elseif code:find("^%[=*%[", found + 2) then
        next_at, problem = long_bracket(code, found + 2, "comment")
      else
        next_at = code:find("\n", found, true)
        if not next_at then return code:sub(1, found - 1) end
      end
    elseif c == "[" then
      next_at, problem = long_bracket(code, found, "string")
    else
      next_at, problem = short_string(code, found)
    end
    if not next_at then
      fail(name, line + count_lines(code:sub(1, found)), "%s in a tag", problem)
    end
    at = next_at
  end
end

-- Raises unless the code is an expression.
local function check_expression(code, name, line)
  if not code:find("%S") then fail(name, line, "a tag without an expression") end
  local ok, message = load("return " .. code, "=e", "t")
  if ok and not code:find("^%s*;") and not code:find(";%s*$") then return end
  local at, why = (message or "e:1: ';' in an expression"):match("^e:(%d+): (.*)$")
  if not at then error(message, 0) end -- there is no memory to look at it
  fail(name, line + tonumber(at) - 1, "%s", why)
end

-- Tags --------------------------------------------------------------------------------

-- Splits the text at its tags: calls on.text(text, line) and on[mark](code, line) with
-- mark "=", "-" or "".
local function each_piece(source, name, on)
  local at, line = 1, 1
  while true do
    local open = source:find("<%", at, true)
    local text = source:sub(at, (open or #source + 1) - 1)
    if open and source:sub(open + 2, open + 2) == "%" then
      on.text(text .. "<%", line)
      line = line + count_lines(text)
      at = open + 3
    else
      if text ~= "" then on.text(text, line) end
      if not open then return end
      line = line + count_lines(text)
      local close = source:find("%>", open + 2, true)
      if not close then fail(name, line, "a tag without its end: %%> is missing") end
      local mark = source:match("^[=#-]", open + 2) or ""
      local code = source:sub(open + 2 + #mark, close - 1)
      code = code:gsub("\r\n", "\n"):gsub("\r", " ") -- as Lua counts its lines
      local trims = code:sub(-1) == "-"
      if trims then code = code:sub(1, -2) end
      if mark == "#" then
        on.comment(code)
      else
        on[mark](closed(code, name, line), line)
        -- A comment's lines are lines, too.
        on.comment(code, true)
      end
      line = line + count_lines(code)
      at = close + 2
      if trims then
        local newline = source:match("^\r?\n", at)
        if newline then
          on.comment("\n")
          line, at = line + 1, at + #newline
        end
      end
    end
  end
end

-- Names that a template has as functions of its own rendering.
local own = {
  { "include", "local function include(n,v)return _s:include(_v,n,v)end " },
  { "layout", "local function layout(n,v)_s:set_layout(n,v)end " },
  { "block", "local function block(n,f)return _s:block(_b,n,f)end " },
  { "values", "local values=_s:lenient(_v)" },
}

-- The function(env, state, buffer, scope, escape, plain, quoted) of a template's text.
-- name is what errors call it; is_plain: it is no markup, and nothing is escaped.
function M.compile(source, name, is_plain)
  local lua, used = {}, {}
  local markup = context.new()
  local function add(text) lua[#lua + 1] = text end
  local written = 0 -- lines, of the present tag
  local function lines(n) if n > 0 then add(("\n"):rep(n)) end end
  local function code_of(code)
    for word in code:gmatch("[%a_][%w_]*") do used[word] = true end
    written = count_lines(code)
    return code
  end
  -- The value first: its code may write, too.
  local function write(how, code)
    add(";do local _t=" .. how .. "(" .. code_of(code) .. ")_b[#_b+1]=_t end")
  end
  each_piece(source, name, {
    text = function(text)
      markup:read(text)
      add(";_b[#_b+1]=" .. literal(text))
      lines(count_lines(text))
    end,
    comment = function(code, behind)
      lines(count_lines(code) - (behind and written or 0))
    end,
    [""] = function(code) add(";" .. code_of(code) .. " ") end,
    ["="] = function(code, line)
      check_expression(code, name, line)
      local why = not is_plain and markup:problem()
      if why then fail(name, line, "%s", why) end
      local escape = markup.place == "quote" and "_q" or "_e"
      write(is_plain and "_r" or escape, code)
    end,
    ["-"] = function(code, line)
      check_expression(code, name, line)
      write("_r", code)
    end,
  })
  local head = { "local _ENV,_s,_b,_v,_e,_r,_q=... " }
  for _, item in ipairs(own) do
    if used[item[1]] then head[#head + 1] = item[2] end
  end
  local text = table.concat(head) .. table.concat(lua)
  local fn, message = load(text, "@" .. name, "t", {})
  if not fn then error(message, 0) end
  return fn
end

return M
