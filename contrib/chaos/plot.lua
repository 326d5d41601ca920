-- Draws a soak: panels one above the other over one axis of time, as an SVG that is
-- readable on light and on dark, and a page around it.
local M = {}

local WIDTH, LEFT, RIGHT, TOP, GAP, COLUMNS = 860, 62, 130, 58, 44, 300

local STYLE = [[
  .sheet { fill: #ffffff } text { fill: #24292f; font: 12px system-ui, sans-serif }
  .title { font-weight: 600; font-size: 13px } .unit, .tick { fill: #57606a }
  .tick { font-size: 11px } .grid { stroke: #d8dee4 } .mark { stroke: #8c959f }
  .a { stroke: #0a58b0 } .b { stroke: #b3470b } .c { stroke: #8a929b }
  text.a { fill: #0a58b0; stroke: none } text.b { fill: #b3470b; stroke: none }
  text.c { fill: #57606a; stroke: none }
  path { fill: none; stroke-width: 1.6; stroke-linejoin: round }
  path.c { stroke-width: 1 }
  .mark { stroke-dasharray: 2 3 }
  @media (prefers-color-scheme: dark) {
    .sheet { fill: #0d1117 } text { fill: #e6edf3 } .unit, .tick { fill: #9198a1 }
    .grid { stroke: #2a313b } .mark { stroke: #6e7681 }
    .a { stroke: #6cb0ff } .b { stroke: #f59a5b } .c { stroke: #7d8590 }
    text.a { fill: #6cb0ff } text.b { fill: #f59a5b } text.c { fill: #9198a1 }
  }
]]

-- Each line is drawn from what `of` gives for a sample; several samples in one column
-- become their mean, or their largest where `peak` says so.
local panels = {
  { title = "Memory of both hosts", unit = "MB", height = 130, lines = {
    { class = "c", name = "RSS", of = function(s) return s.rss / 1e6 end },
    { class = "a", name = "PSS", of = function(s) return s.pss / 1e6 end },
    { class = "b", name = "Lua, an isolate", of = function(s) return s.lua / 1e6 end },
  } },
  { title = "Latency, from when a request was due", unit = "ms", height = 150,
    log = true, lines = {
      { class = "c", name = "slowest", peak = true,
        of = function(s) return s.max * 1e3 end },
      { class = "b", name = "p99", of = function(s) return s.p99 * 1e3 end },
      { class = "a", name = "p50", of = function(s) return s.p50 * 1e3 end },
    } },
  { title = "Answers", unit = "per second", height = 80, lines = {
    { class = "a", name = "answers", of = function(s) return s.rate end },
  } },
  { title = "Context switches", unit = "thousands per second", height = 80, lines = {
    { class = "a", name = "switches",
      of = function(s) return s.switched and s.switched / 1e3 end },
  } },
  { title = "Open descriptors and threads of both hosts", unit = "number", height = 80,
    lines = {
      { class = "a", name = "descriptors", of = function(s) return s.files end },
      { class = "b", name = "threads", of = function(s) return s.threads end },
    } },
}

-- ---- numbers ----

-- { at, value } for each column that has samples.
local function columns(report, line)
  local list, per = {}, report.seconds / COLUMNS
  for _, s in ipairs(report.samples) do
    local i = math.floor(s.at / per)
    local value, last = line.of(s), list[#list]
    if value and (not last or last.i ~= i) then
      last = { i = i, n = 0, sum = 0, peak = 0, at = 0 }
      list[#list + 1] = last
    end
    if value then
      last.n, last.sum, last.at = last.n + 1, last.sum + value, last.at + s.at
      last.peak = math.max(last.peak, value)
    end
  end
  for i, c in ipairs(list) do
    list[i] = { at = c.at / c.n, value = line.peak and c.peak or c.sum / c.n }
  end
  return list
end

-- A round step so that the axis has some four of them.
local function step_for(range)
  local raw = range / 4
  local power = 10 ^ math.floor(math.log(raw, 10))
  for _, m in ipairs { 1, 2, 2.5, 5, 10 } do
    if raw <= m * power then return m * power end
  end
end

local function text_of(value)
  return value == math.floor(value) and ("%d"):format(value)
    or (("%.2f"):format(value):gsub("0+$", ""))
end

-- How values become heights, and the ticks.
local function axis(panel, series)
  local low, high = math.huge, 0
  for _, points in ipairs(series) do
    for _, p in ipairs(points) do
      high = math.max(high, p.value)
      if p.value > 0 then low = math.min(low, p.value) end
    end
  end
  local ticks = {}
  if high == 0 then high = 1 end
  if panel.log then
    local from = math.floor(math.log(low, 10))
    local to = math.max(from + 1, math.ceil(math.log(high, 10)))
    for e = from, to do ticks[#ticks + 1] = 10.0 ^ e end
    return ticks, function(value)
      return (math.log(math.max(value, 10.0 ^ from), 10) - from) / (to - from)
    end
  end
  local step = step_for(high)
  local top = math.ceil(high * 1.02 / step) * step
  for i = 0, math.floor(top / step + 0.5) do ticks[#ticks + 1] = i * step end
  return ticks, function(value) return value / top end
end

-- ---- the drawing ----

local function escaped(s) return (s:gsub("[&<>]", { ["&"] = "&amp;", ["<"] = "&lt;",
  [">"] = "&gt;" })) end

-- Labels at the lines' ends, moved apart where they would cover each other.
local function apart(labels, from, to)
  table.sort(labels, function(a, b) return a.y < b.y end)
  for i = 2, #labels do
    labels[i].y = math.max(labels[i].y, labels[i - 1].y + 15)
  end
  local over = #labels > 0 and labels[#labels].y - to or 0
  for i = #labels, 1, -1 do
    if over > 0 then labels[i].y = labels[i].y - over end
    if labels[i + 1] then labels[i].y = math.min(labels[i].y, labels[i + 1].y - 15) end
    labels[i].y = math.max(labels[i].y, from)
  end
end

local function latest(points)
  local value = points[#points].value
  return (value >= 100 and "%.0f" or value >= 10 and "%.1f" or "%.2f"):format(value)
end

function M.svg(report)
  local out = {}
  local function add(form, ...) out[#out + 1] = form:format(...) end
  local inner = WIDTH - LEFT - RIGHT
  local function x_of(at) return LEFT + at / report.seconds * inner end
  local height = TOP
  for _, panel in ipairs(panels) do height = height + panel.height + GAP end
  height = height + 6

  add('<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" '
    .. 'height="%d" role="img">', WIDTH, height, WIDTH, height)
  add("<title>A soak of %g minutes: %s</title>", report.seconds / 60,
    escaped(report.words))
  add("<style>%s</style>", STYLE)
  add('<rect class="sheet" width="%d" height="%d"/>', WIDTH, height)
  add('<text x="%d" y="20" class="title">%g minutes, %d requests/s, %d answers, %d '
    .. 'failed</text>', LEFT, math.floor(report.seconds / 6) / 10, report.rate,
    report.answers, report.failed)
  if #report.marks > 0 then
    add('<line class="mark" x1="%d" y1="10" x2="%d" y2="24"/>', WIDTH - RIGHT - 62,
      WIDTH - RIGHT - 62)
    add('<text x="%d" y="21" class="unit">a reload</text>', WIDTH - RIGHT - 54)
  end

  local y = TOP
  for i, panel in ipairs(panels) do
    local bottom = y + panel.height
    local series = {}
    for k, line in ipairs(panel.lines) do series[k] = columns(report, line) end
    local ticks, scaled = axis(panel, series)
    local function y_of(value) return bottom - scaled(value) * panel.height end
    add('<text x="%d" y="%d" class="title">%s <tspan class="unit" font-weight="400">%s'
      .. '</tspan></text>', LEFT, y - 9, panel.title, panel.unit)
    for _, tick in ipairs(ticks) do
      local ty = y_of(tick)
      add('<line class="grid" x1="%d" y1="%.1f" x2="%d" y2="%.1f"/>', LEFT, ty,
        WIDTH - RIGHT, ty)
      add('<text class="tick" x="%d" y="%.1f" text-anchor="end">%s</text>', LEFT - 7,
        ty + 4, text_of(tick))
    end
    for _, at in ipairs(report.marks) do
      add('<line class="mark" x1="%.1f" y1="%d" x2="%.1f" y2="%d"/>', x_of(at), y,
        x_of(at), bottom)
    end
    local labels = {}
    for k, line in ipairs(panel.lines) do
      local path = {}
      for j, p in ipairs(series[k]) do
        path[j] = ("%s%.1f %.1f"):format(j == 1 and "M" or "L", x_of(p.at),
          y_of(p.value))
      end
      add('<path class="%s" d="%s"/>', line.class, table.concat(path))
      local last = series[k][#series[k]]
      labels[k] = { y = y_of(last.value) + 4, class = line.class,
        text = line.name .. " " .. latest(series[k]) }
    end
    apart(labels, y + 4, bottom + 4)
    for _, label in ipairs(labels) do
      add('<text class="%s" x="%d" y="%.1f">%s</text>', label.class, WIDTH - RIGHT + 7,
        label.y, label.text)
    end
    if i == #panels then
      local minutes = report.seconds / 60
      local step = step_for(minutes * 0.7)
      for m = 0, minutes + 1e-9, step do
        add('<text class="tick" x="%.1f" y="%d" text-anchor="middle">%s</text>',
          x_of(m * 60), bottom + 17, text_of(m))
      end
      add('<text class="unit" x="%d" y="%d" text-anchor="end">minutes</text>',
        WIDTH - 4, bottom + 17)
    end
    y = bottom + GAP
  end
  add "</svg>"
  return table.concat(out, "\n") .. "\n"
end

function M.page(report)
  return ([[<!doctype html>
<meta charset="utf-8"><meta name="viewport" content="width=device-width">
<meta name="color-scheme" content="light dark">
<title>A soak of atoll</title>
<style>
  body { max-width: 900px; margin: 2em auto; padding: 0 1em;
    font: 15px/1.5 system-ui, sans-serif; background: Canvas; color: CanvasText }
  svg { max-width: 100%%; height: auto }
</style>
<h1>A soak of atoll</h1>
<p>%s UTC. Two processes with two isolates each; hellos, echoes, files, requests that
another isolate answers, calls of a pool, handlers that fail, and 20 WebSockets.</p>
<p><strong>%s.</strong></p>
%s]]):format(report.when, escaped(report.words), M.svg(report))
end

return M
