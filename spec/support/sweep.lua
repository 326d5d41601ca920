-- Makes every call of every site fail, one at a time: while a host serves
-- (support/sweep/serving.lua), in whole lives from a start to an end (whole.lua). What
-- must come of it stands in run.lua. For sites_spec, and for contrib/faults/run, which
-- has the time for all of them.
local dns = require "support.dns"
local events = require "support.events"
local host = require "support.host"
local serving = require "support.sweep.serving"
local sites = require "support.sites"
local whole = require "support.sweep.whole"
local wire = require "support.wire"

local M = { scenarios = {} }

-- Last come those that only look for what the others have not found.
for _, rest in ipairs { false, true } do
  for _, list in ipairs { whole.scenarios, serving.scenarios } do
    for _, scenario in ipairs(list) do
      if rest == (scenario.rest or false) then
        M.scenarios[#M.scenarios + 1] = scenario
      end
    end
  end
end

local board

-- What of the sites is ours to fail: the program's own, and of what it is linked with.
local ours = { [""] = true, libev = true, libcares = true, libwslay = true, libz = true,
  libssl = true, libcrypto = true, libbrotlienc = true }

local function may_fail(site, filter)
  local library = site.file:match "([^/.]*)[^/]*$"
  return sites.kinds[site.call] and ours[library] and (not filter or filter(site))
end

-- What no call meets for ever.
local passing = { EINTR = true, SHORT = true, EAGAIN = true }

-- The faults of one round: each way of the n-th call of each site.
local function round(list, n, row, add)
  for _, site in ipairs(list) do
    if n == "all" or site.calls >= n then
      for code in sites.kinds[site.call]:gmatch "%S+" do
        if n ~= "all" then
          add { { site = site, code = code, n = n, row = row } }
        elseif not passing[code] and site.call ~= "accept4" then
          add { { site = site, code = code, n = 1, step = 1 } }
        end
      end
    end
  end
end

-- A scenario while all goes well: which of the sites that it comes by are to fail, and
-- how.
local function plan(scenario, o, result)
  board:reset()
  local r = scenario:once(nil)
  local problem = r.problems[1] or r.outcome ~= "well" and r.why
  if problem then
    error(("%s does not work: %s\n%s"):format(scenario.name, problem, r.log), 0)
  end
  local list, faults = {}, {}
  for _, site in ipairs(board:list()) do
    if may_fail(site, o.filter) and not (scenario.rest and result.failed[site.key])
    then
      list[#list + 1] = site
      result.sites[site.key] = site
    end
  end
  local function add(fault) faults[#faults + 1] = fault end
  for n = 1, o.calls do round(list, n, o.row, add) end
  if o.all and not scenario.whole then round(list, "all", nil, add) end
  return faults
end

-- Calls that are made only because another one fails, fail too.
local function follow(fault, o, result, known, faults)
  if #fault == sites.ARMS or fault[#fault].step then return end
  local new
  for key in pairs(board:keys()) do
    if not known[key] then
      known[key] = true
      new = true
    end
  end
  if not new then return end
  for _, site in ipairs(board:list()) do
    if not result.sites[site.key] and may_fail(site, o.filter) then
      result.sites[site.key] = site
      for code in sites.kinds[site.call]:gmatch "%S+" do
        local more = table.move(fault, 1, #fault, 1, {})
        more[#more + 1] = { site = site, code = code, n = 1 }
        faults[#faults + 1] = more
      end
    end
  end
end

local function describe(scenario, fault)
  local parts = {}
  for i, part in ipairs(fault) do
    parts[i] = ("%s in %s+0x%x, call %d%s: %s"):format(part.site.call,
      part.site.file:match "[^/]*$", part.site.offset, part.n,
      part.step and " and all later" or "", part.code)
  end
  return scenario.name .. ": " .. table.concat(parts, ", then ")
end

-- What no machine is to blame for. What is left over has had all the patience.
local function is_grave(r)
  for _, problem in ipairs(r.problems) do
    if problem:find "^left over" then return true end
  end
  return r.log:find "Sanitizer" or r.log:find "runtime error:"
    or r.log:find "was killed by SIG[SABIF]"
end

-- What has come of a fault; whether that is right, or wrong for the last time.
local function report(o, result, scenario, r, final)
  local last = r.fault[#r.fault]
  r.what = describe(scenario, r.fault)
  if r.met then
    result.faults = result.faults + 1
    result.failed[last.site.key] = result.failed[last.site.key] or last.site
    result.outcomes[r.outcome] = (result.outcomes[r.outcome] or 0) + 1
    if sites.harmless[last.code] and #r.fault == 1 and r.outcome ~= "well"
      and not scenario.tells then
      r:note("%s is no reason: %s", last.code, r.why or r.outcome)
    end
  elseif r.outcome ~= "well" and #r.fault == 1 then
    r:note("nothing has failed, but: %s", r.why or r.outcome)
  end
  r:judge_words(scenario)
  if o.each and r.met then o.each(r) end
  if #r.problems == 0 then return true end
  if not final and not is_grave(r) then return false end
  result.problems[#result.problems + 1] = r
  if o.problem then o.problem(r) end
  return true
end

-- Sweeps through a scenario until all is done or it is too late.
local function sweep(scenario, o, result)
  local tries, ok, faults = o.tries or 1, nil, nil
  for try = 1, tries do
    ok, faults = pcall(function()
      scenario:begin()
      return plan(scenario, o, result)
    end)
    if ok then break end
    if try < tries then serving.give_up() end
  end
  if not ok then -- without any fault
    local r = { what = scenario.name, fault = {}, problems = { faults }, log = "" }
    result.problems[#result.problems + 1] = r
    if o.problem then o.problem(r) end
    serving.give_up()
    return
  end
  local late = o.seconds and events.now() + o.seconds -- however slow it was to begin
  local known = board:keys()
  local stride = o.stride or 1
  local i = 1 + (o.seed or 0) % stride
  while i <= #faults and not (late and events.now() > late) do
    for try = 1, tries do
      local r = scenario:once(faults[i])
      local over = report(o, result, scenario, r, try == tries)
      scenario:after(r)
      if over then break end
    end
    follow(faults[i], o, result, known, faults)
    i = i + (#faults[i] > 1 and 1 or stride)
  end
end

-- Sweeps. o: only(name), which of them; calls, how many of a site's calls fail, one
-- after the other, and row, so many of them in a row; all: also all at once;
-- filter(site); stride and seed: each so many of the faults; seconds for each scenario;
-- tries: what is wrong less often in a row is the machine's;
-- each(run), problem(run) and scenario(name, result) hear of it. Gives what came of it:
-- faults, problems, sites and failed (by key), outcomes.
function M.run(o)
  local result = { faults = 0, problems = {}, sites = {}, failed = {}, outcomes = {} }
  local names = dns.start(setmetatable({}, { __index = function(_, name)
    return name:find "%.test$" and { A = { "127.0.0.9", "127.0.0.1" } } or nil
  end }))
  board = sites.make(os.tmpname())
  assert(os.execute("chmod 666 " .. board.path)) -- also for who is not root any more
  local world = { board = board, resolver = names.address }
  serving.enter(world)
  whole.enter(world)
  local ok, why = pcall(function()
    for _, scenario in ipairs(M.scenarios) do
      if not o.only or o.only(scenario.name) then
        sweep(scenario, o, result)
        if o.scenario then o.scenario(scenario.name, result) end
      end
    end
    serving.leave()
  end)
  if not ok then serving.give_up() end
  os.remove(board.path)
  board:close()
  wire.finish()
  host.finish()
  dns.finish()
  if not ok then error(why, 0) end
  return result
end

-- The problems of what run gave, for people.
function M.text(result)
  local list = {}
  for _, r in ipairs(result.problems) do
    list[#list + 1] = ("%s\n%s\n%s"):format(r.what, table.concat(r.problems, "\n"),
      r.log:sub(-2000))
  end
  return table.concat(list, "\n")
end

return M
