-- All allocations and system calls fail in turn: what contrib/faults/run runs. Says
-- for each scenario what came of it, and at the end which sites never failed and are
-- not excused (excused.lua).
package.path = "spec/?.lua;contrib/?.lua;" .. package.path
local excused = require "faults.excused"
local sites = require "support.sites"
local sweep = require "support.sweep"

local program = os.getenv "ATOLL"
local options = { calls = 2, all = true }
local verbose, partly = false, #arg > 0
local lua = {} -- offset -> true, of the sites where Lua allocates
local everywhere = sites.all(program)
local list = {}
for offset in pairs(everywhere) do list[#list + 1] = offset end
table.sort(list)
local names = sites.places(program, list)

local memory = { malloc = true, calloc = true, realloc = true, aligned_alloc = true,
  strdup = true, strndup = true, vasprintf = true, open_memstream = true,
  setenv = true }

for _, argument in ipairs(arg) do
  local name, value = argument:match "^(%w+)=(.*)$"
  if argument == "verbose" then
    verbose = true
  elseif not name then
    error("not understood: " .. argument)
  elseif name == "only" then
    options.only = function(scenario)
      for pattern in value:gmatch "[^,]+" do
        if scenario:find(pattern) then return true end
      end
    end
  elseif argument == "call=lua" then
    -- Lua collects garbage and tries again: that has to fail, too.
    options.row = 2
    options.filter = function(site) return site.file == "" and lua[site.offset] end
  elseif name == "call" then
    options.filter = function(site)
      return value == (memory[site.call] and "memory" or "system") or site.call == value
    end
  else
    options[name] = assert(tonumber(value), argument)
  end
end

options.all = options.all == true or options.all == 1

local function place(site)
  if site.file ~= "" then
    return ("%s+0x%x"):format(site.file:match "[^/]*$", site.offset)
  end
  return names[site.offset]
end

-- ---- the run ----

local began = os.time()

local function indent(text)
  return "    " .. text:gsub("\n$", ""):gsub("\n", "\n    ")
end

local function said(r)
  return r.why and ": " .. r.why:sub(1, 200):gsub("\n", " ") or ""
end

options.problem = function(r)
  io.write(("  PROBLEM %s\n"):format(r.what))
  for _, part in ipairs(r.fault) do
    io.write(("    at %s\n"):format(place(part.site)))
  end
  for _, line in ipairs(r.problems) do io.write(indent(line), "\n") end
  io.write(indent(r.log:sub(-5000)), "\n")
end
if verbose then
  options.each = function(r)
    local at = {}
    for i, part in ipairs(r.fault) do at[i] = place(part.site) end
    io.write(("  %s (%s): %s, %d words%s\n"):format(r.what, table.concat(at, "; "),
      r.outcome, #r.words, said(r)))
  end
end

local before = { faults = 0, problems = 0, failed = 0 }
local function size(t)
  local n = 0
  for _ in pairs(t) do n = n + 1 end
  return n
end

options.scenario = function(name, result)
  local failed = size(result.failed)
  io.write(("%-22s %5d faults, %3d new sites, %d problems (%d s)\n"):format(name,
    result.faults - before.faults, failed - before.failed,
    #result.problems - before.problems, os.time() - began))
  io.flush()
  before = { faults = result.faults, problems = #result.problems, failed = failed }
end
io.stdout:setvbuf "line"

for offset, name in pairs(names) do
  lua[offset] = name:find "^alloc%.c:%d+ %l+$" ~= nil
end

local result = sweep.run(options)

-- ---- what has never failed ----

local failed, reached = {}, {}
for _, site in pairs(result.failed) do
  if site.file == "" then failed[site.offset] = true end
end
for _, site in pairs(result.sites) do
  if site.file == "" then reached[site.offset] = true end
end

local groups = { memory = { 0, 0, 0 }, system = { 0, 0, 0 } }
local left, needless = {}, {}
for key in pairs(excused) do needless[key] = true end
for _, offset in ipairs(list) do
  local call = everywhere[offset]
  local group = groups[memory[call] and "memory" or "system"]
  -- Without the line, which changes.
  local key = ("%s: %s"):format(names[offset]:gsub(":[%d?]+", ""), call)
  group[1] = group[1] + 1
  if failed[offset] then
    group[2] = group[2] + 1
  elseif excused[key] then
    group[3] = group[3] + 1
    needless[key] = nil
  else
    left[#left + 1] = ("  %s: %s%s\n"):format(names[offset], call,
      reached[offset] and " (reached)" or "")
  end
end
if #left > 0 then
  io.write("sites that have neither failed nor are excused:\n", table.concat(left))
end
for key in pairs(partly and {} or needless) do
  io.write("needs no excuse: ", key, "\n")
end

local libraries = {}
for _, site in pairs(result.failed) do
  if site.file ~= "" then
    local name = site.file:match "[^/]*$"
    libraries[name] = (libraries[name] or 0) + 1
  end
end
for name, n in pairs(libraries) do
  io.write(("%s: %d sites failed\n"):format(name, n))
end
for outcome, n in pairs(result.outcomes) do
  io.write(("%5d times: %s\n"):format(n, outcome))
end
for _, name in ipairs { "memory", "system" } do
  local group = groups[name]
  io.write(("%s: %d of %d sites failed or excused (%d failed, %d excused)\n"):format(
    name == "memory" and "allocating" or "asking the kernel", group[2] + group[3],
    group[1], group[2], group[3]))
end
io.write(("%d faults, %d problems\n"):format(result.faults, #result.problems))
os.exit(#result.problems == 0 and (partly or #left == 0) and 0 or 1, true)
