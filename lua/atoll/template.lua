-- Templates: HTML with Lua in tags, in the syntax of etlua and ERB. What <%= %> writes
-- is escaped. A template is compiled once; rendering one is a call, in which everything
-- may wait.
local compiler = require "atoll.template.compile"
local host = require "atoll.core.host"
local json = require "atoll.json"
local misuse = require "atoll.misuse"

local M = {}

local concat = table.concat

local LAYOUTS_MAX = 20 -- one around the other

-- Values ------------------------------------------------------------------------------

local raw_meta = { __name = "atoll.template.raw" }

function raw_meta:__tostring() return self.text end

-- Text that is HTML already: it is not escaped.
function M.raw(text)
  if getmetatable(text) == raw_meta then return text end
  return setmetatable({
    text = misuse.expect("string", text, "the text of template.raw()"),
  }, raw_meta)
end

local escapes = {
  ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;", ['"'] = "&quot;", ["'"] = "&#39;",
}

local function text_of(value)
  if value == nil then return "" end
  if type(value) == "table" or type(value) == "userdata" then
    local meta = debug.getmetatable(value)
    if not (meta and meta.__tostring) then
      error(("a %s cannot be written"):format(type(value)), 3)
    end
  elseif type(value) == "function" or type(value) == "thread" then
    error(("a %s cannot be written"):format(type(value)), 3)
  end
  return tostring(value)
end

local function escape(value)
  if type(value) ~= "string" then
    if type(value) == "number" then return value end
    if getmetatable(value) == raw_meta then return value.text end
    value = text_of(value)
  end
  if not value:find("[&<>\"']") then return value end
  return (value:gsub("[&<>\"']", escapes))
end

-- In a quoted attribute: a quote would end it, also one of HTML or JSON.
local function quoted(value)
  if getmetatable(value) ~= raw_meta then return escape(value) end
  return (value.text:gsub("[\"']", escapes))
end

local function plain(value)
  if type(value) == "string" or type(value) == "number" then return value end
  local text = text_of(value)
  return text
end

-- The text of a value with & < > " ' escaped.
function M.escape(value)
  local text = escape(value)
  return type(text) == "number" and tostring(text) or text
end

local json_escapes = {
  ["<"] = "\\u003c", [">"] = "\\u003e", ["&"] = "\\u0026",
}

-- The value as JSON that may stand in a <script>.
function M.json(value)
  local text = json.encode(value):gsub("[<>&]", json_escapes)
  return M.raw((text:gsub("\u{2028}", "\\u2028"):gsub("\u{2029}", "\\u2029")))
end

-- Functions and values that every template has; for the program to add to.
M.helpers = { escape = M.escape, json = M.json, raw = M.raw }

-- Names -------------------------------------------------------------------------------

-- A scope is { values, the scope behind it }.
local SCOPE = {}

local function find(scope, name)
  repeat
    local value = scope[1][name]
    if value ~= nil then return value end
    scope = scope[2]
  until not scope
end

local env_meta = {
  __index = function(env, name)
    local value = find(rawget(env, SCOPE), name)
    if value == nil then value = M.helpers[name] end
    if value == nil then value = _G[name] end
    if value == nil then
      error(("no value named '%s'; values.%s may be missing"):format(name, name), 2)
    end
    return value
  end,
}

-- Rendering ---------------------------------------------------------------------------

local state = {}
local state_meta = { __index = state }

local render

-- values: what may be missing is nil.
function state.lenient(_, scope)
  return setmetatable({}, { __index = function(_, name) return find(scope, name) end })
end

function state:include(scope, name, values)
  if values ~= nil then
    scope = { misuse.expect("table", values, "the values of include()"), scope }
  end
  return M.raw(render(self.views, name, scope, nil))
end

function state:set_layout(name, values)
  misuse.expect("string", name, "the name of a layout")
  self.layout, self.layout_values = name, values
end

-- The block of a page that has a layout is kept for that, which writes it, or its own.
function state:block(buffer, name, fn)
  if not self.layout then
    if self.blocks[name] then
      buffer[#buffer + 1] = self.blocks[name]
    elseif fn then
      fn()
    end
  elseif fn and not self.blocks[name] then
    local from = #buffer
    fn()
    self.blocks[name] = concat(buffer, "", from + 1)
    for i = #buffer, from + 1, -1 do buffer[i] = nil end
  end
end

local function run(fn, views, scope, blocks)
  local self = setmetatable({ views = views, blocks = blocks }, state_meta)
  local buffer = {}
  fn(setmetatable({ [SCOPE] = scope }, env_meta), self, buffer, scope, escape, plain,
    quoted)
  return concat(buffer), self.layout, self.layout_values
end

-- The text of a view, with its layouts around it, which get it as content.
function render(views, name, scope)
  local blocks = {}
  for _ = 1, LAYOUTS_MAX do
    local text, layout, values = run(views:find(name), views, scope, blocks)
    if not layout then return text end
    name, scope = layout, { { content = M.raw(text) }, scope }
    if values then
      scope = { misuse.expect("table", values, "the values of layout()"), scope }
    end
  end
  error(("more than %d layouts around each other, the last is %s"):format(LAYOUTS_MAX,
    name), 0)
end

local function scope_of(values, what)
  return { values == nil and {} or misuse.expect("table", values, what) }
end

-- Directories -------------------------------------------------------------------------

local views_methods = {}
local views_meta = { __index = views_methods, __name = "atoll.views" }

-- The extensions of templates, and whether what they hold is markup.
local extensions = {
  html = true, htm = true, xml = true, svg = true, etlua = true, txt = false,
}

-- Looked up, never opened: a name that a client sent leads nowhere else.
function views_methods:find(name)
  local fn = self.list[name]
  if fn then return fn end
  misuse.expect("string", name, "the name of a view")
  local path, where = self.directory .. "/" .. name, misuse.where()
  local tried = name:find("%.[^/.]*$") and "no " .. path
    or ("no %s.html, no %s.etlua"):format(path, path)
  where = where ~= "?" and where .. ": " or "" -- a tail call leaves no line behind
  error(("%sno view '%s': %s"):format(where, name, tried), 0)
end

-- The text of a view, with its layout.
function views_methods:render(name, values)
  return render(self, name, scope_of(values, "the values of a view"))
end

local DEPTH = 32 -- directories inside each other; links may go in circles

local function compile_file(list, path, name, problems)
  local stem, extension = name:match("^(.*)%.([^/.]*)$")
  local markup = extensions[extension]
  if markup == nil then return end
  local file <close> = assert(io.open(path, "rb"))
  local ok, result = pcall(compiler.compile, file:read("a"), path, not markup)
  if not ok then
    problems[#problems + 1] = result
    return
  end
  list[name] = result
  if extension == "html" or extension == "etlua" and not list[stem .. ".html"] then
    list[stem] = result
  end
end

local function walk(self, directory, prefix, problems, depth)
  if depth > DEPTH then
    error(("%s: more than %d directories deep"):format(directory, DEPTH), 0)
  end
  local items, message = host.list(directory)
  if not items then error(directory .. ": " .. message, 0) end
  for _, item in ipairs(items) do
    local path = directory .. "/" .. item.name
    if item.name:sub(1, 1) == "." or item.name:sub(-1) == "~" then
      goto continue
    elseif item.kind == "directory" then
      walk(self, path, prefix .. item.name .. "/", problems, depth + 1)
    elseif item.kind == "file" then
      compile_file(self.list, path, prefix .. item.name, problems)
    end
    ::continue::
  end
end

-- All templates below a directory, compiled: views:render(name, values). Raises with
-- what is wrong in any of them.
function M.views(directory)
  misuse.expect("string", directory, "the directory of template.views()")
  local self = setmetatable({ directory = directory, list = {} }, views_meta)
  local problems = {}
  walk(self, directory, "", problems, 1)
  if problems[1] then error(concat(problems, "\n"), 0) end
  return self
end

-- One template: a function(values) that gives the text. name is what errors call it.
function M.compile(source, name)
  misuse.expect("string", source, "the text of a template")
  local fn = compiler.compile(source, name or "template")
  local views = setmetatable({ directory = "views", list = {} }, views_meta)
  return function(values)
    local text, layout = run(fn, M.app or views, scope_of(values, "the values"), {})
    if layout then misuse.raise("only a view of a directory has a layout") end
    return text
  end
end

-- The app's ---------------------------------------------------------------------------

-- The views of APPDIR/views; nil when there is no such directory.
M.app = nil

function M.load(directory)
  M.app = M.views(directory)
end

-- The text of a view of the app.
function M.render(name, values)
  if not M.app then
    misuse.raise("no view '%s': the app has no directory views/", tostring(name))
  end
  return M.app:render(name, values)
end

return M
