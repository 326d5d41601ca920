---@meta atoll.template

---HTML with Lua in tags. What `<%= %>` writes is escaped.
---@class atoll.template
---@field helpers table<string, any>  functions and values that every template has
local template = {}

---Text that is HTML already: it is not escaped.
---@param text string
---@return table
---@nodiscard
function template.raw(text) end

---The text of a value with & < > " ' escaped.
---@param value any
---@return string
---@nodiscard
function template.escape(value) end

---The value as JSON that may stand in a script element.
---@param value any
---@return table
---@nodiscard
function template.json(value) end

---One template: a function that gives the text. name is what errors call it.
---@param source string
---@param name? string
---@return fun(values?: table<string, any>): string
---@nodiscard
function template.compile(source, name) end

---All templates below a directory. Raises with what is wrong in any of them.
---@param directory string
---@return atoll.views
---@nodiscard
function template.views(directory) end

---The text of a view of the app.
---@param name string
---@param values? table<string, any>
---@return string
---@nodiscard
function template.render(name, values) end

---@class atoll.views
local views = {}

---The text of a view, with its layout.
---@param name string
---@param values? table<string, any>
---@return string
---@nodiscard
function views:render(name, values) end

return template
