-- The tables that people read.
local stats = require "stats"

local M = {}

local NOISY, CROWDED, WAITING = 0.25, 0.05, 0.85
local TITLE, COLUMN = 30, 10

local function thousands(n)
  if not n then return "-" end
  if n >= 1e6 then return ("%.2fM"):format(n / 1e6) end
  if n >= 1e4 then return ("%.1fk"):format(n / 1e3) end
  return (n >= 100 and "%.0f" or "%.1f"):format(n)
end

local function number(value, unit)
  if not value then return "-" end
  if unit == "us" and value >= 1e4 then value, unit = value / 1000, "ms" end
  local form = value == math.floor(value) and "%.0f" or math.abs(value) < 10 and "%.2f"
    or math.abs(value) < 100 and "%.1f" or "%.0f"
  return ((form .. " %s"):format(value, unit or ""):gsub(" $", ""))
end
M.number, M.thousands = number, thousands

-- What must be said beside a rate: "~" its rounds are far apart, "!" others had the
-- server's CPU, "<" the server was waiting for the client.
function M.marks(cell)
  local function over(list, most)
    local middle = list and stats.median(list)
    return middle and middle > most
  end
  local spread = cell.ratios and #cell.ratios > 1 and stats.spread(cell.ratios)
    or cell.values and #cell.values > 1 and stats.spread(cell.values)
  local busy = cell.busy and stats.median(cell.busy)
  -- What others had is not the client's fault.
  if busy then busy = busy + (stats.median(cell.others) or 0) end
  return (spread and spread > NOISY and "~" or "")
    .. (over(cell.others, CROWDED) and "!" or "")
    .. (busy and busy < WAITING and "<" or "")
end

local LEGEND = {
  { "~", ("the rounds differ by more than %d %% of their median"):format(NOISY * 100) },
  { "!", ("other programs had more than %d %% of the server's CPU"):format(
    CROWDED * 100) },
  { "<", ("the server had less than %d %% of its CPU to do: the client was the limit")
    :format(WAITING * 100) },
}

local function print_legend(text)
  for _, entry in ipairs(LEGEND) do
    if text:find(entry[1], 1, true) then print("  " .. entry[1] .. "  " .. entry[2]) end
  end
end

local function verdict(value, goal, least)
  if not value or not goal then return "" end
  local met
  if least then met = value >= goal else met = value <= goal end
  return met and "ok" or "MISSED"
end

local function header(title, names)
  local line = title .. (" "):rep(TITLE - #title)
  for _, name in ipairs(names) do line = line .. ("%" .. COLUMN .. "s"):format(name) end
  return line
end

local function pad(text) return (" "):rep(COLUMN - #text) .. text end

-- A line for each reason why something is not there: the servers and the gauges.
local function print_reasons(rows, names)
  local order, by = {}, {}
  local function note(why, server, gauge)
    local entry = by[why]
    if not entry then
      entry = { servers = {}, gauges = {}, seen = {} }
      by[why], order[#order + 1] = entry, why
    end
    for word, list in pairs({ [server] = entry.servers, [gauge] = entry.gauges }) do
      if not entry.seen[word] then list[#list + 1] = word end
      entry.seen[word] = true
    end
  end
  for _, row in ipairs(rows) do
    if row.why then note(row.why, "all", row.name) end
    for _, name in ipairs(names) do
      local cell = row.cells[name]
      if cell and cell.why then note(cell.why, name, row.name) end
    end
  end
  for _, why in ipairs(order) do
    print(("  -  %s (%s): %s"):format(table.concat(by[why].servers, ", "),
      table.concat(by[why].gauges, ", "), why))
  end
end

-- A table of rows by servers; text(row, cell, name) is what stands in it.
local function print_matrix(title, rows, names, text)
  print(header(title, names))
  local seen = ""
  for _, row in ipairs(rows) do
    local line = ("%-" .. TITLE .. "s"):format(row.title:sub(1, TITLE))
    for _, name in ipairs(names) do
      local cell = row.cells[name]
      local shown = cell and not cell.why and text(row, cell, name) or "-"
      seen = seen .. shown
      line = line .. pad(shown)
    end
    print(line)
  end
  print_legend(seen)
end

-- Where the product is held against what is wanted of it.
local function print_goals(rows, product)
  local shown = {}
  for _, row in ipairs(rows) do
    local cell = row.cells and row.cells[product]
    local value = cell and not cell.why
      and stats.median(row.kind == "rate" and cell.ratios or cell.values)
    if value and row.goal then
      local least = row.kind == "rate" or row.least
      shown[#shown + 1] = ("  %-44s %10s  %s %-9s %s"):format(row.title,
        number(value, row.unit), least and ">=" or "<=", number(row.goal, row.unit),
        verdict(value, row.goal, least))
    end
  end
  if #shown == 0 then return end
  print(("\n%s and what is wanted of it"):format(product))
  print(table.concat(shown, "\n"))
end

local function of_kind(rows, kind)
  local list = {}
  for _, row in ipairs(rows) do
    if row.kind == kind and not row.group then list[#list + 1] = row end
  end
  return list
end

local function print_servers(result)
  print("\nservers")
  for _, server in ipairs(result.servers) do
    print(("%-12s %s"):format(server.name, server.version))
  end
  for _, one in ipairs(result.missing) do
    print(("%-12s %s"):format(one.name, one.why))
  end
end

local function print_http(result)
  local rates, figures = of_kind(result.rows, "rate"), of_kind(result.rows, "figure")
  local names = {}
  for i, server in ipairs(result.servers) do names[i] = server.name end
  local all = { "limit", table.unpack(names) }
  if #rates > 0 then
    print_matrix("ratio to limit, per CPU s", rates, names, function(_, cell)
      local ratio = stats.median(cell.ratios)
      return ratio and ("%.2f"):format(ratio) .. M.marks(cell)
    end)
    print()
    print_matrix("requests / s of server CPU", rates, all, function(_, cell)
      return thousands(stats.median(cell.per_cpu))
    end)
    print("  *  to limit's hello")
    print_reasons(rates, all)
  end
  if #figures > 0 then
    if #rates > 0 then print() end
    print_matrix("figure", figures, all, function(row, cell)
      return number(stats.median(cell.values), row.unit)
        .. (row.unit ~= "" and M.marks(cell) or "")
    end)
    print_reasons(figures, all)
  end
  print_goals(result.rows, names[1])
  print_servers(result)
end

-- The runtime under the HTTP server, beside what is written in C.
local function print_ratios(rows)
  print(("%-36s %9s %9s  %9s %9s  %6s %-13s %6s"):format("echo, by talk", "C", "atoll",
    "C", "atoll", "ratio", "", "goal"))
  print(("%-36s %19s  %19s  %6s %-13s"):format("", "requests / s", "requests / CPU s",
    "median", "spread"))
  for _, row in ipairs(rows) do
    if row.why then
      print(("%-36s %s"):format(row.title, row.why))
    else
      local ratio = stats.median(row.ratios)
      local function mid(list) return thousands(stats.median(list)) end
      print(("%-36s %9s %9s  %9s %9s  %6.2f %-13s %6s %s"):format(row.title,
        mid(row.limit.rps), mid(row.product.rps), mid(row.limit.per_cpu),
        mid(row.product.per_cpu), ratio, ("%.2f - %.2f"):format(stats.least(row.ratios),
          stats.most(row.ratios)), row.target and ("%.2f"):format(row.target) or "",
        verdict(ratio, row.target, true)))
    end
  end
end

local function print_figures(rows)
  print(("%-76s %9s %10s %10s"):format("figure", "C", "atoll", "goal"))
  for _, row in ipairs(rows) do
    if row.why then
      print(("%-76s %s"):format(row.title or row.name, row.why))
    else
      local goal = row.target and "<= " .. number(row.target, row.unit) or ""
      print(("%-76s %9s %10s %10s %s"):format(row.title, number(row.limit, row.unit),
        number(row.value, row.unit), goal, verdict(row.value, row.target)))
    end
  end
end

function M.print(result)
  local ratios, figures, http = {}, {}, false
  for _, row in ipairs(result.rows) do
    if row.group ~= "runtime" then
      http = true
    else
      table.insert(row.kind == "ratio" and ratios or figures, row)
    end
  end
  if http then print_http(result) end
  if http and #ratios + #figures > 0 then print() end
  if #ratios > 0 then print_ratios(ratios) end
  if #ratios > 0 and #figures > 0 then print() end
  if #figures > 0 then print_figures(figures) end
end

return M
