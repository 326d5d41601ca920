-- The plots: the ratios to limit by workload, latency at a fixed load, and other
-- figures by server. Each is an SVG that needs nothing else.
local report = require "report"
local stats = require "stats"
local svg = require "svg"

local M = {}

local COLUMNS, PANEL, GAP, LEFT = 3, 300, 24, 78
local ROW, TOP = 18, 62
local WIDTH = COLUMNS * PANEL + (COLUMNS + 1) * GAP

local function caption(result, what)
  return ("%s; %s, %s, %s"):format(what, result.machine.text,
    result.date:match("^%d+%-%d+%-%d+"), "commit " .. result.commit)
end

local function measured(row, names)
  local count = 0
  for _, name in ipairs(names) do
    local cell = row.cells and row.cells[name]
    local list = cell and not cell.why and (row.kind == "rate" and cell.ratios
      or cell.values)
    if list and #list > 0 then count = count + 1 end
  end
  return count
end

local function class_of(name, names) return name == names[1] and "own" or "other" end

-- A bar for each server. how: { of(cell) -> values, show(value), mark = a line there,
-- ticks = values with a label each }
local function panel(pic, x, y, row, all, how)
  local names = {}
  for _, name in ipairs(all) do
    local cell = row.cells[name]
    if how.mark or cell and not cell.why then names[#names + 1] = name end
  end
  pic:text(x, y + 13, row.title:gsub(" %*$", ""), "title")
  local most, medians = how.mark or 0, {}
  for i, name in ipairs(names) do
    local cell = row.cells[name]
    local list = cell and not cell.why and how.of(cell) or {}
    medians[i] = stats.median(list)
    if medians[i] then most = math.max(most, medians[i]) end
  end
  if most <= 0 then most = 1 end
  local bars, width = x + LEFT, PANEL - LEFT - 58
  local function at(value)
    return bars + math.max(0, math.min(value / most, 1.06)) * width
  end
  local top = y + 22
  local bottom = top + #names * ROW
  for _, tick in ipairs(how.ticks or {}) do
    pic:line(at(tick), top, at(tick), bottom, "grid")
    pic:text(at(tick), bottom + 13, ("%g"):format(tick), "dim small", "middle")
  end
  local values = {} -- above the lines
  for i, name in ipairs(names) do
    local middle = top + (i - 0.5) * ROW
    local class = class_of(name, all)
    pic:text(bars - 6, middle + 4.5, name, class == "own" and "own" or "", "end")
    if medians[i] then
      local list = how.of(row.cells[name])
      local far = at(medians[i])
      pic:bar(bars, middle - 6, math.max(far - bars, 1), 12, class)
      if #list > 1 then
        pic:line(at(stats.least(list)), middle, at(stats.most(list)), middle, "whisker")
        far = math.max(far, at(stats.most(list)))
      end
      values[#values + 1] = { far + 5, middle + 4.5, how.show(medians[i]) }
    else
      pic:text(bars + 4, middle + 4, "\u{2013}", "dim")
    end
  end
  if how.mark then
    pic:line(at(how.mark), top - 2, at(how.mark), bottom + 2, "mark")
  end
  for _, value in ipairs(values) do
    pic:text(value[1], value[2], value[3], "value")
  end
end

-- Rows of panels, each as high as its highest.
local function panels(title, subtitle, rows, names, how)
  local pic, y = svg.new(), TOP
  pic:text(GAP, 28, title, "head")
  pic:text(GAP, 47, subtitle, "dim small")
  for first = 1, #rows, COLUMNS do
    local most = 0
    for i = first, math.min(first + COLUMNS - 1, #rows) do
      local one = how(rows[i])
      panel(pic, GAP + (i - first) * (PANEL + GAP), y, rows[i], names, one)
      most = math.max(most, one.mark and #names or measured(rows[i], names))
    end
    y = y + most * ROW + 44 + (how(rows[first]).ticks and 16 or 0)
  end
  return pic:close(WIDTH, y, title)
end

local function ratios(result, names)
  local rows = {}
  for _, row in ipairs(result.rows) do
    if row.kind == "rate" and measured(row, names) > 1 then rows[#rows + 1] = row end
  end
  if #rows == 0 then return nil end
  local how = {
    of = function(cell) return cell.ratios end,
    show = function(value) return ("%.2f"):format(value) end,
    mark = 1,
    ticks = { 0, 0.5, 1 },
  }
  return panels("Requests per second of server CPU, 1 = the limit of the kernel",
    caption(result, "median of the rounds, lines from the least to the most"), rows,
    names, function() return how end)
end

local function figures(result, names)
  local rows = {}
  for _, row in ipairs(result.rows) do
    local plain = row.kind == "figure" and not row.group and row.name ~= "latency"
    if plain and measured(row, names) > 1 then rows[#rows + 1] = row end
  end
  if #rows == 0 then return nil end
  local title = "Memory, start, reload, costs per request: "
  return panels(title .. "less is better, but for workers",
    caption(result, "median of the rounds"), rows, names, function(row)
      return {
        of = function(cell) return cell.values end,
        show = function(value)
          return (report.number(value, row.unit):gsub("us$", "µs"))
        end,
      }
    end)
end

-- Latency -----------------------------------------------------------------------------

local SHAPES = { { "p50", "circle" }, { "p99", "square" }, { "p99.9", "triangle" } }
local DECADES = { { 10, "10 µs" }, { 100, "0.1 ms" }, { 1e3, "1 ms" }, { 1e4, "10 ms" },
  { 1e5, "0.1 s" }, { 1e6, "1 s" } }

-- { rate, p50 = row, ... } for each load that was measured
local function loads(result)
  local list, by = {}, {}
  for _, row in ipairs(result.rows) do
    if row.name == "latency" and row.percentile then
      if not by[row.rate] then
        by[row.rate] = { rate = row.rate }
        list[#list + 1] = by[row.rate]
      end
      by[row.rate][row.percentile] = row
    end
  end
  return list
end

local function latency_panel(pic, x, y, width, load, names)
  local all = { "limit", table.unpack(names) }
  pic:text(x, y + 13, ("%d requests a second, whatever comes back"):format(load.rate),
    "title")
  local left, top = x + LEFT, y + 24
  local bottom = top + #all * 24
  local function at(us)
    local share = math.log(math.max(us, 10) / 10, 10) / 5
    return left + math.min(share, 1) * (width - LEFT - 20)
  end
  for _, decade in ipairs(DECADES) do
    pic:line(at(decade[1]), top, at(decade[1]), bottom, "grid")
    pic:text(at(decade[1]), bottom + 14, decade[2], "dim small", "middle")
  end
  for i, name in ipairs(all) do
    local middle = top + (i - 0.5) * 24
    local class = class_of(name, names)
    pic:text(left - 8, middle + 4.5, name, class == "own" and "own" or "", "end")
    local values = {}
    for k, shape in ipairs(SHAPES) do
      local cell = load[shape[1]].cells[name]
      values[k] = cell and not cell.why and stats.median(cell.values)
    end
    local cell = load.p50.cells[name]
    if cell and cell.why then
      pic:text(left + 6, middle + 4, cell.why, "dim small")
    elseif values[1] and values[3] then
      pic:line(at(values[1]), middle, at(values[3]), middle, "range " .. class)
      for k, shape in ipairs(SHAPES) do
        pic:dot(at(values[k]), middle, shape[2], class)
      end
    end
  end
end

local function latency(result, names)
  local list = loads(result)
  if #list == 0 then return nil end
  local pic, title = svg.new(), "Latency of a hello at a fixed load"
  pic:text(GAP, 28, title, "head")
  pic:text(GAP, 47, caption(result, "64 connections; from when a request was due"),
    "dim small")
  local x = WIDTH - 230
  for _, shape in ipairs(SHAPES) do
    pic:dot(x, 23, shape[2], "other")
    pic:text(x + 11, 28, shape[1])
    x = x + 72
  end
  local width = (WIDTH - GAP * (#list + 1)) / #list
  for i, load in ipairs(list) do
    latency_panel(pic, GAP + (i - 1) * (width + GAP), TOP + 4, width, load, names)
  end
  return pic:close(WIDTH, TOP + 4 + 24 + (#names + 1) * 24 + 28, title)
end

-- The pictures by name; those for which something was measured.
function M.draw(result)
  local names = {}
  for i, server in ipairs(result.servers) do names[i] = server.name end
  return { ratios = ratios(result, names), latency = latency(result, names),
    figures = figures(result, names) }
end

return M
