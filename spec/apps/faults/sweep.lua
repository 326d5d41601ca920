-- Runs a scenario again and again, for net_faults_spec: each time another system call
-- of it fails. The scenario must do what it should, or say why not; it ends, its
-- neighbour goes on, and no descriptor is left. One line for each failure of which that
-- is not so, then how many faults there were and how many runs went well all the same.
--
-- The arguments: the shim's file, a directory with certificates, how many seconds it
-- may take, the scenario's name, the address of the name server.
local atoll = require "atoll"
package.path = "spec/?.lua;" .. package.path
local deeds = require "apps.faults.deeds"
local faults = require "support.faults"
local fs, net = atoll.fs, atoll.net

local file, dir, seconds, name = arg[1], arg[2], tonumber(arg[3]), arg[4]
local shim = faults.open(file)

local failure = deeds.failure
deeds.within(dir)

-- ---- the runs ----

local function descriptors() return #assert(fs.list "/proc/self/fd") end

local ticks, over = 0, false
atoll.spawn(function()
  repeat
    atoll.sleep(0.001)
    ticks = ticks + 1
  until over
end)

-- A name server of our own: each name is two addresses, the first of which refuses.
local function name_server(address)
  local s = assert(net.udp(address))
  atoll.spawn(function()
    while true do
      local query, from = s:receive()
      if query and #query > 16 then
        local question = query:sub(13, query:find("\0", 13, true) + 4)
        local four = question:byte(-3) == 1
        local reply = query:sub(1, 2) .. "\x81\x80\0\1\0" .. (four and "\2" or "\0")
          .. "\0\0\0\0" .. question
        if four then
          for _, last in ipairs { 9, 1 } do
            reply = reply .. "\xc0\x0c\0\1\0\1\0\0\0\0\0\4"
              .. string.char(127, 0, 0, last)
          end
        end
        s:send(reply, from)
      end
    end
  end)
end

local problems, tried, well = 0, 0, 0

local function problem(what, ...)
  problems = problems + 1
  print(what:format(...))
end

-- After these nobody needs to be told.
local harmless = { EINTR = true, EAGAIN = true, SHORT = true }

-- Whether its time was over. After what is harmless that is the machine's fault.
local function is_late(why)
  if getmetatable(why) ~= failure then return false end
  local message = tostring(why.message)
  return why.code == "ETIMEDOUT" or message:find "time" or message:find "nobody comes"
    or message:find "nothing comes"
end

-- One run; whether its fault has come about. patience: how many times as long each wait
-- may take, where it was not long enough before.
local function run(before, call, code, n, patience)
  deeds.be_patient(patience or 1)
  local title = call and ("%s, %s %d %s: "):format(name, call, n, code) or name .. ": "
  if call then shim:arm(call, code, n) end
  local began = ticks
  local task = atoll.spawn(xpcall, deeds[name], function(e)
    return getmetatable(e) == failure and e or debug.traceback(tostring(e))
  end)
  local ok, fine, why = pcall(task.join, task, 60)
  local _, failed = 0, 0
  if call then
    _, failed = shim:counts(call)
    shim:disarm(call)
  end
  if not ok or fine == nil then
    problem("%sdoes not end: %s %s", title, fine, why)
    return false
  end
  local told = failed == 0 or harmless[code]
  if not fine and told and is_late(why) and (patience or 1) < 100 then
    return run(before, call, code, n, (patience or 1) * 10)
  end
  if failed > 0 then tried = tried + 1 end
  if fine then
    well = well + 1
  elseif getmetatable(why) ~= failure then
    problem("%s%s", title, why)
  elseif type(why.message) ~= "string" or why.message == ""
    or not tostring(why.code):find "^E?%u+$" then
    problem("%sno reason: %s %s", title, why.message, why.code)
  elseif failed == 0 or harmless[code] and call ~= "pthread_create"
    and not (name == "files" and code == "EAGAIN") then
    problem("%sfails: %s (%s)", title, why.message, why.code)
  end
  local deadline = atoll.now() + 30
  atoll.sleep(0)
  if descriptors() ~= before then
    collectgarbage()
    while descriptors() ~= before do
      if atoll.now() > deadline then
        problem("%s%d descriptors more", title, descriptors() - before)
        return false
      end
      atoll.sleep(0.002)
    end
  end
  while ticks == began do atoll.sleep(0.001) end
  return failed > 0
end

local f = assert(io.open(dir .. "/isolate.lua", "w"))
f:write "return ..."
f:close()
if name == "names" then name_server(arg[5]) end

-- The second time nothing is done for the first time.
for _ = 1, 2 do
  local ok, why = pcall(deeds[name])
  if not ok then error(type(why) == "table" and why.message or why, 0) end
end
atoll.sleep(0.05)
collectgarbage()
local before = descriptors()
for call in faults.each() do shim:disarm(call) end
run(before)

-- How it may fail; first every first call, then every second, while there is time.
local list = {}
for call, code in faults.each() do
  if shim:counts(call) > 0 then
    list[#list + 1] = { call = call, code = code, n = 1 }
  end
end
local stop = atoll.now() + seconds
-- With one fault at least, however long that takes.
local function is_over() return tried > 0 and atoll.now() >= stop end
while list[1] and problems < 20 and not is_over() do
  for i = #list, 1, -1 do
    local kind = list[i]
    if is_over() then break end
    if not run(before, kind.call, kind.code, kind.n) then table.remove(list, i) end
    kind.n = kind.n + 1
  end
end
over = true
print(("%s: %d faults, %d runs went well, %d ways left, %d problems"):format(name,
  tried, well, #list, problems))
shim:close()
atoll.exit(problems > 0 and 1 or 0)
