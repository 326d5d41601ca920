-- The page. Whatever visitors wrote goes through escape, without exception.
local M = {}

local entities = {
  ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;", ["\""] = "&quot;", ["'"] = "&#39;",
}

local function escape(text)
  return (tostring(text):gsub("[&<>\"']", entities))
end

-- The template with {{name}} replaced by the escaped value, and with {{{name}}} by
-- markup of our own.
local function fill(template, values, markup)
  template = template:gsub("{{{(%w+)}}}", markup or {})
  return (template:gsub("{{(%w+)}}", function(name)
    return escape(values[name] or "")
  end))
end

local ENTRY = [[
<article>
<h2>{{name}} <small>{{time}}</small></h2>
<p>{{message}}</p>
</article>
]]

local HEAD = [[
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Guestbook</title>
<style>
body { font: 1rem/1.5 system-ui, sans-serif; max-width: 40rem; margin: 2rem auto;
  padding: 0 1rem; }
input, textarea { font: inherit; width: 100%; box-sizing: border-box; }
article p { white-space: pre-wrap; overflow-wrap: anywhere; }
small { font-weight: normal; }
.problem { font-weight: bold; }
</style>
<h1>Guestbook</h1>
]]

local FORM = [[
<form method="post" action="/">
{{{token}}}
<p><label>Name <input name="name" maxlength="60" required value="{{name}}"></label>
<p><label>Message
<textarea name="message" maxlength="2000" required rows="4">
{{message}}</textarea></label>
<p><button>Sign</button>
</form>
]]

-- entries, newest first; options: token, the form's hidden field; input, what is in its
-- fields; problems, of one that was not accepted; note, something to say.
function M.render(entries, options)
  local parts, problems = { HEAD }, options.problems
  if options.note then parts[2] = fill("<p>{{note}}\n", options) end
  for _, name in ipairs { "name", "message" } do
    if problems and problems[name] then
      parts[#parts + 1] = fill("<p class=\"problem\">The {{field}} {{problem}}.\n",
        { field = name, problem = problems[name] })
    end
  end
  parts[#parts + 1] = fill(FORM, options.input, { token = options.token })
  for _, entry in ipairs(entries) do parts[#parts + 1] = fill(ENTRY, entry) end
  if #entries == 0 then parts[#parts + 1] = "<p>Nobody has signed yet.\n" end
  return table.concat(parts)
end

return M
