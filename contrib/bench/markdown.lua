-- The tables for a page: ratios by workload, and figures by server.
local report = require "report"
local stats = require "stats"

local M = {}

local function line(out, cells)
  out[#out + 1] = "| " .. table.concat(cells, " | ") .. " |"
end

-- text(row, cell) is what stands for a server, or nil.
local function matrix(out, title, rows, names, product, text)
  if #rows == 0 then return end
  local head, rule = { title }, { "---" }
  for _, name in ipairs(names) do
    head[#head + 1], rule[#rule + 1] = name, "---"
  end
  head[#head + 1], rule[#rule + 1] = "goal", "---"
  line(out, head)
  line(out, rule)
  for _, row in ipairs(rows) do
    local cells = { (row.title:gsub(" %*$", ", to limit's hello")) }
    for _, name in ipairs(names) do
      local cell = row.cells[name]
      local shown = cell and not cell.why and text(row, cell) or "–"
      cells[#cells + 1] = name == product and "**" .. shown .. "**" or shown
    end
    cells[#cells + 1] = row.goal and report.number(row.goal, row.unit) or ""
    line(out, cells)
  end
  out[#out + 1] = ""
end

local function marks(cell)
  return (report.marks(cell):gsub("~", "\\~"):gsub("<", "&lt;"))
end

local function rate(_, cell)
  local ratio = stats.median(cell.ratios)
  if not ratio then return nil end
  return ("%.2f"):format(ratio) .. marks(cell)
end

local function figure(row, cell)
  local value = stats.median(cell.values)
  if not value then return nil end
  return report.number(value, row.unit):gsub("us$", "µs")
    .. (row.unit ~= "" and marks(cell) or "")
end

function M.tables(result)
  local rates, figures, names, versions = {}, {}, {}, {}
  for _, row in ipairs(result.rows) do
    if row.kind == "rate" then rates[#rates + 1] = row end
    if row.kind == "figure" and row.cells then figures[#figures + 1] = row end
  end
  for i, server in ipairs(result.servers) do
    names[i] = server.name
    versions[i] = server.name .. " " .. server.version
  end
  local out, product = {}, names[1]
  matrix(out, "requests per CPU s, to `limit`", rates, names, product, rate)
  matrix(out, "", figures, { "limit", table.unpack(names) }, product, figure)
  out[#out + 1] = ("%s, %s, %s, commit %s; %d rounds of %g s. %s."):format(
    result.date:match("^%d+%-%d+%-%d+"), result.machine.text, result.machine.system,
    result.commit, result.options.rounds, result.options.seconds,
    table.concat(versions, ", "))
  out[#out + 1] = "\n\\~ the rounds are far apart, ! other programs had the server's "
    .. "CPU, &lt; the client was the limit;\n– was not measured: README.md says why."
  return table.concat(out, "\n") .. "\n"
end

return M
