-- The table that people read and the JSON that programs do.
local gauges = require "gauges"

local M = {}

local function thousands(n)
  if not n then return "-" end
  if n >= 1e6 then return ("%.2fM"):format(n / 1e6) end
  return ("%.1fk"):format(n / 1e3)
end

local function verdict(value, target, most)
  if not value or not target then return "" end
  local met
  if most then met = value <= target else met = value >= target end
  return met and "ok" or "MISSED"
end

local function print_ratios(rows, base, name)
  print(("%-36s %9s %9s  %9s %9s  %6s %-13s %6s"):format("workload", base, name, base,
    name, "ratio", "", "target"))
  print(("%-36s %19s  %19s  %6s %-13s"):format("", "requests / s",
    "requests / CPU s", "median", "spread"))
  for _, row in ipairs(rows) do
    if row.why then
      print(("%-36s %s"):format(row.title, row.why))
    else
      local ratio = gauges.median(row.ratios)
      row.median = ratio
      local function mid(list) return thousands(gauges.median(list)) end
      print(("%-36s %9s %9s  %9s %9s  %6.2f %-13s %6s %s"):format(row.title,
        mid(row.limit.rps), mid(row.product.rps), mid(row.limit.per_cpu),
        mid(row.product.per_cpu), ratio,
        ("%.2f - %.2f"):format(math.min(table.unpack(row.ratios)),
          math.max(table.unpack(row.ratios))),
        row.target and ("%.2f"):format(row.target) or "",
        verdict(ratio, row.target)))
    end
    if row.note then print("    " .. row.note) end
  end
end

local function number(value, unit)
  if not value then return "-" end
  local form = value == math.floor(value) and "%.0f" or value < 10 and "%.2f"
    or value < 100 and "%.1f" or "%.0f"
  return (form .. " %s"):format(value, unit or ""):gsub(" $", "")
end

local function print_figures(rows, base, name)
  print(("%-66s %9s %10s %10s"):format("figure", base, name, "target"))
  for _, row in ipairs(rows) do
    if row.why then
      print(("%-66s %s"):format(row.title or row.name, row.why))
    else
      local target = row.target and "<= " .. number(row.target, row.unit) or ""
      print(("%-66s %9s %10s %10s %s"):format(row.title, number(row.limit, row.unit),
        number(row.value, row.unit), target, verdict(row.value, row.target, row.most)))
    end
  end
end

local function print_group(rows, base, name)
  local ratios, figures = {}, {}
  for _, row in ipairs(rows) do
    table.insert(row.kind == "ratio" and ratios or figures, row)
  end
  if #ratios > 0 then print_ratios(ratios, base, name) end
  if #ratios > 0 and #figures > 0 then print() end
  if #figures > 0 then print_figures(figures, base, name) end
end

-- Two tables: the HTTP server beside `limit`, the runtime beside what is written in C.
function M.print(rows, name)
  local http, runtime = {}, {}
  for _, row in ipairs(rows) do
    table.insert(row.group == "runtime" and runtime or http, row)
  end
  if #http > 0 then print_group(http, "limit", name) end
  if #http > 0 and #runtime > 0 then print() end
  if #runtime > 0 then print_group(runtime, "C", "atoll") end
end

local function encode(value)
  if type(value) == "table" then
    local parts = {}
    if #value > 0 or next(value) == nil then
      for _, v in ipairs(value) do parts[#parts + 1] = encode(v) end
      return "[" .. table.concat(parts, ",") .. "]"
    end
    local names = {}
    for name in pairs(value) do names[#names + 1] = name end
    table.sort(names)
    for _, name in ipairs(names) do
      parts[#parts + 1] = encode(name) .. ":" .. encode(value[name])
    end
    return "{" .. table.concat(parts, ",") .. "}"
  elseif type(value) == "string" then
    return '"' .. value:gsub('[%c"\\]', function(c)
      return ("\\u%04x"):format(c:byte())
    end) .. '"'
  elseif type(value) == "number" then
    return value == value and ("%.6g"):format(value) or "null"
  end
  return tostring(value)
end

function M.write_json(file, report)
  local out, why = io.open(file, "w")
  if not out then return nil, why end
  out:write(encode(report), "\n")
  return out:close()
end

return M
