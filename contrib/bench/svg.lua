-- Small pieces of SVG: text, lines, bars. The colours are classes, so that a picture is
-- light or dark as its reader's page is.
local M = {}
M.__index = M

local STYLE = [[
<style>
  svg { background: #ffffff; color-scheme: light dark; }
  text { font: 13px system-ui, "DejaVu Sans", Helvetica, Arial, sans-serif;
    fill: #1f2328; }
  .head { font-size: 17px; font-weight: 600; }
  .title { font-weight: 600; }
  .dim { fill: #59636e; }
  .small { font-size: 11.5px; }
  .value { paint-order: stroke; stroke: #ffffff; stroke-width: 4px;
    stroke-linejoin: round; }
  .own { fill: #0f62a8; }
  text.own { font-weight: 600; }
  .other { fill: #a8b4c0; }
  .grid { stroke: #d1d9e0; stroke-width: 1; }
  .mark { stroke: #1f2328; stroke-width: 1; stroke-dasharray: 3 3; }
  .whisker { stroke: #1f2328; stroke-width: 1; opacity: 0.75; }
  .range { stroke: #a8b4c0; stroke-width: 3; }
  .range.own { stroke: #0f62a8; }
  @media (prefers-color-scheme: dark) {
    svg { background: #0d1117; }
    text { fill: #f0f6fc; }
    .dim { fill: #9198a1; }
    .value { stroke: #0d1117; }
    .own { fill: #58a6ff; }
    .other { fill: #5b6570; }
    .grid { stroke: #2c333b; }
    .mark, .whisker { stroke: #f0f6fc; }
    .range { stroke: #5b6570; }
    .range.own { stroke: #58a6ff; }
  }
</style>
]]

local ESCAPES = { ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;", ['"'] = "&quot;" }

local function escape(text) return (tostring(text):gsub('[&<>"]', ESCAPES)) end

function M.new() return setmetatable({ parts = {} }, M) end

function M:add(form, ...)
  self.parts[#self.parts + 1] = form:format(...)
end

-- anchor: start, middle or end
function M:text(x, y, text, class, anchor)
  self:add('<text x="%.1f" y="%.1f" class="%s" text-anchor="%s">%s</text>\n', x, y,
    class or "", anchor or "start", escape(text))
end

function M:line(x1, y1, x2, y2, class)
  self:add('<line x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f" class="%s"/>\n', x1, y1, x2,
    y2, class)
end

function M:bar(x, y, width, height, class)
  self:add('<rect x="%.1f" y="%.1f" width="%.1f" height="%.1f" rx="1.5" class="%s"/>\n',
    x, y, width, height, class)
end

-- shape: circle, square or triangle
function M:dot(x, y, shape, class)
  if shape == "circle" then
    self:add('<circle cx="%.1f" cy="%.1f" r="5" class="%s"/>\n', x, y, class)
  elseif shape == "square" then
    self:bar(x - 4.5, y - 4.5, 9, 9, class)
  else
    self:add('<path d="M%.1f %.1fl6 10h-12z" class="%s"/>\n', x, y - 6, class)
  end
end

function M:close(width, height, title)
  return ('<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" '
    .. 'height="%d" role="img" aria-label="%s">\n%s%s</svg>\n'):format(width, height,
    width, height, escape(title), STYLE, table.concat(self.parts))
end

return M
