-- A picture of the tables: a panel for each, lines over an axis that is logarithmic.
local svg = require "svg"

local M = {}

local WIDTH, HEIGHT, LEFT, RIGHT, TOP, GAP = 440, 200, 66, 118, 78, 92
local SHAPES = { "circle", "square", "triangle" }

-- A round number that is at least n.
local function ceiling(n)
  local unit = 10 ^ math.floor(math.log(n, 10))
  for _, times in ipairs { 1, 1.5, 2, 3, 4, 5, 6, 8, 10 } do
    if times * unit >= n then return times * unit end
  end
end

local function thousands(n)
  if n < 1000 then return ("%g"):format(n) end
  return (("%d"):format(n):reverse():gsub("(%d%d%d)(%d)", "%1,%2"):reverse())
end

-- Moves texts apart that would touch; they are { y, ... }.
local function spread(labels)
  table.sort(labels, function(a, b) return a.y < b.y end)
  for i = 2, #labels do
    labels[i].y = math.max(labels[i].y, labels[i - 1].y + 15)
  end
end

local function panel(pic, x, y, t)
  local least, most, top = t.rows[1][t.x], t.rows[#t.rows][t.x], 0
  for _, row in ipairs(t.rows) do
    for _, line in ipairs(t.lines) do top = math.max(top, row[line]) end
  end
  top = ceiling(math.max(top, t.at_least or 0))
  local function across(v)
    return x + LEFT + math.log(v / least) / math.log(most / least)
      * (WIDTH - LEFT - RIGHT)
  end
  local function up(v) return y + HEIGHT - math.max(v, 0) / top * HEIGHT end
  pic:text(x, y - 36, t.title, "title")
  pic:text(x, y - 17, t.unit, "dim small")
  for i = 0, 4 do
    local v = top * i / 4
    pic:line(x + LEFT, up(v), x + WIDTH - RIGHT, up(v), "grid")
    pic:text(x + LEFT - 8, up(v) + 4, thousands(v), "dim small", "end")
  end
  local last = -100
  for _, row in ipairs(t.rows) do
    local at = across(row[t.x])
    if at - last > 48 then
      pic:text(at, y + HEIGHT + 17, thousands(row[t.x]), "dim small", "middle")
      last = at
    end
  end
  pic:text(x + (LEFT + WIDTH - RIGHT) / 2, y + HEIGHT + 34, t.x, "dim small", "middle")
  local labels = {}
  for i, name in ipairs(t.lines) do
    local class = i == 1 and "own" or "other"
    for k = 2, #t.rows do
      local a, b = t.rows[k - 1], t.rows[k]
      pic:line(across(a[t.x]), up(a[name]), across(b[t.x]), up(b[name]),
        i == 1 and "range own" or "range")
    end
    for _, row in ipairs(t.rows) do
      pic:dot(across(row[t.x]), up(row[name]), SHAPES[i], class)
    end
    labels[i] = { y = up(t.rows[#t.rows][name]) + 4, name = name, class = class }
  end
  spread(labels)
  for _, label in ipairs(labels) do
    pic:text(x + WIDTH - RIGHT + 12, label.y, label.name, label.class == "own" and "own"
      or "")
  end
end

-- The text of an SVG; tables have title, unit, x, lines (names of columns), rows, and
-- maybe at_least, a value that the axis reaches.
function M.draw(tables, note)
  local pic = svg.new()
  pic:text(24, 30, "What growth costs, counted", "head")
  for i, t in ipairs(tables) do
    panel(pic, 24 + (i - 1) % 2 * (WIDTH + 16), TOP + 40
      + (i - 1) // 2 * (HEIGHT + GAP), t)
  end
  local rows = (#tables + 1) // 2
  local height = TOP + rows * (HEIGHT + GAP) + 20
  pic:text(24, height - 14, note, "dim small")
  return pic:close(WIDTH * 2 + 64, height, "What growth costs, counted")
end

return M
