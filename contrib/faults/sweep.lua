-- All allocations and system calls fail in turn: what contrib/faults/run runs. Says
-- for each scenario what came of it, and at the end which sites never failed.
package.path = "spec/?.lua;" .. package.path
local sites = require "support.sites"
local sweep = require "support.sweep"

local program = os.getenv "ATOLL"
local options = { calls = 2, all = true }
local verbose = false

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
  elseif name == "call" then
    options.filter = function(site)
      return value == (memory[site.call] and "memory" or "system") or site.call == value
    end
  else
    options[name] = assert(tonumber(value), argument)
  end
end

options.all = options.all == true or options.all == 1

-- ---- where a site is ----

-- offset -> "file:line function", of the program. Where libc's headers are inlined,
-- that is the function that they are inlined in.
local function places(list)
  local names = {}
  if #list == 0 then return names end
  local path = os.tmpname()
  local f = assert(io.open(path, "w"))
  -- The call stands before where it returns to.
  for _, offset in ipairs(list) do f:write(("0x%x\n"):format(offset - 1)) end
  f:close()
  local pipe = assert(io.popen(("addr2line -a -i -f -s -e %s @%s"):format(program,
    path)))
  local offset, name
  for line in pipe:lines() do
    local at = line:match "^0x(%x+)$"
    if at then
      offset, name = tonumber(at, 16) + 1, nil
    elseif not name then
      name = line
    else
      local known = names[offset]
      if not known or known:find "^%w+2?%.h" then
        names[offset] = ("%s %s"):format(line:match "^%S+", name)
      end
      name = nil
    end
  end
  pipe:close()
  os.remove(path)
  return names
end

local function place(site)
  if site.file ~= "" then
    return ("%s+0x%x"):format(site.file:match "[^/]*$", site.offset)
  end
  return places({ site.offset })[site.offset]
end

-- Every call of the program's that the shim can have fail: offset -> function.
local function all_sites()
  local alias = { __asprintf_chk = "vasprintf", asprintf = "vasprintf",
    __poll_chk = "poll", __ppoll_chk = "ppoll", __open_2 = "open", openat64 = "openat",
    __openat_2 = "openat", __realpath_chk = "realpath", open64 = "open" }
  local found, pending = {}, nil
  local pipe = assert(io.popen("objdump -d --no-show-raw-insn " .. program))
  for line in pipe:lines() do
    local at = line:match "^%s+(%x+):"
    if at then
      if pending then
        found[tonumber(at, 16)] = pending
        pending = nil
      end
      local name = line:match "call%s.*<([%w_]+)@"
      name = name and (alias[name] or name)
      if name and sites.kinds[name] then pending = name end
    end
  end
  pipe:close()
  return found
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

local result = sweep.run(options)

local everywhere = all_sites()
local groups = { memory = { 0, 0 }, system = { 0, 0 } }
local never = {}
for offset, call in pairs(everywhere) do
  local group = groups[memory[call] and "memory" or "system"]
  group[2] = group[2] + 1
  local key
  for _, site in pairs(result.failed) do
    if site.file == "" and site.offset == offset then key = site end
  end
  if key then
    group[1] = group[1] + 1
  else
    never[#never + 1] = offset
  end
end
table.sort(never)
local names = places(never)
local lines = {}
for _, offset in ipairs(never) do
  local reached
  for _, site in pairs(result.sites) do
    if site.file == "" and site.offset == offset then reached = true end
  end
  lines[#lines + 1] = ("  %s: %s%s"):format(names[offset], everywhere[offset],
    reached and " (reached)" or "")
end
table.sort(lines)
io.write("sites of the program that never failed:\n", table.concat(lines, "\n"), "\n")
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
io.write(("%d faults; %d of %d sites that allocate and %d of %d that ask the kernel "
  .. "failed at least once; %d problems\n"):format(result.faults, groups.memory[1],
  groups.memory[2], groups.system[1], groups.system[2], #result.problems))
os.exit(#result.problems == 0 and 0 or 1, true)
