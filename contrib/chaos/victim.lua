-- The host that suffers: a supervisor with a copy of an app, a link as its program file
-- and a log that is followed line by line.
local atoll = require "atoll"
local proc = require "proc"

local M = {}

local signals = { HUP = 1, INT = 2, KILL = 9, USR1 = 10, SEGV = 11, USR2 = 12,
  TERM = 15, CONT = 18, STOP = 19, TTIN = 21, TTOU = 22 }

local methods = {}
local metatable = { __index = methods }

-- ---- its log ----

local function follow(v)
  local file = assert(io.open(v.log, "rb"))
  local rest = ""
  while not v.over do
    local text = file:read "a"
    if text and text ~= "" then
      rest = rest .. text
      local at = 1
      for line, next_at in rest:gmatch "([^\n]*)\n()" do
        at = next_at
        v.lines[#v.lines + 1] = { at = atoll.now(), text = line }
        if v.on_line then v.on_line(line) end
      end
      rest = rest:sub(at)
    end
    file:seek("cur", 0)
    atoll.sleep(0.02)
  end
  file:close()
end

-- The next line behind number `from` that has the pattern: its number and captures.
function methods:wait(pattern, from, seconds)
  local deadline = atoll.now() + (seconds or 10)
  local i = from or 0
  while true do
    while i < #self.lines do
      i = i + 1
      local found = table.pack(self.lines[i].text:find(pattern))
      if found[1] then return i, table.unpack(found, 3, found.n) end
    end
    if atoll.now() > deadline or self.over then return nil end
    atoll.sleep(0.02)
  end
end

-- ---- files ----

-- Into each app, in one piece, so that nobody sees half of it.
function methods:write(name, text)
  for _, app in ipairs(self.apps) do
    assert(atoll.fs.write(app .. "/" .. name, text, { atomic = true }))
  end
end

-- What the program file is: a program's path, or the text of a shell script.
function methods:become(program)
  local new = self.dir .. "/new"
  if program:sub(1, 1) == "/" then
    assert(os.execute(("ln -s '%s' '%s'"):format(program, new)))
  else
    assert(atoll.fs.write(new, "#!/bin/sh\n" .. program .. "\n", { mode = "0755" }))
  end
  assert(os.rename(new, self.bin))
end

-- ---- its life ----

local CONFIG = [[
return { apps = {
  { path = "/second", dir = "second", isolates = 2 }, { dir = "first", isolates = 2 },
} }
]]

-- options: rough (the module), program, app (a directory), files (more of them, name ->
-- text), settings (name -> value), two (it serves the app twice, each copy as one of
-- several apps).
function M.start(options)
  local dir = assert(atoll.fs.tempdir())
  local v = setmetatable({ rough = options.rough, program = options.program, dir = dir,
    bin = dir .. "/atoll", log = dir .. "/log", lines = {},
    apps = { dir .. "/first", options.two and dir .. "/second" or nil } }, metatable)
  for _, app in ipairs(v.apps) do
    assert(os.execute(("cp -r '%s' '%s' && mkdir -p '%s/public'"):format(options.app,
      app, app)))
  end
  for name, text in pairs(options.files or {}) do v:write(name, text) end
  assert(atoll.fs.write(v.log, ""))
  v:become(options.program)
  local command = { v.bin, "serve", v.apps[1], "-l", "127.0.0.1:0" }
  if options.two then
    assert(atoll.fs.write(dir .. "/atoll.lua", CONFIG))
    table.remove(command, 3)
    table.move({ "--config", dir .. "/atoll.lua" }, 1, 2, #command + 1, command)
  end
  for name, value in pairs(options.settings or {}) do
    command[#command + 1] = "--set"
    command[#command + 1] = name .. "=" .. tostring(value)
  end
  v.pid = assert(v.rough.start(v.log, command))
  v.follower = atoll.spawn(follow, v)
  local _, port = v:wait("^atoll: serving .* on http://127%.0%.0%.1:(%d+)", 0, 30)
  if not port then
    v:finish()
    return nil, "it did not start:\n" .. v:tail(20)
  end
  v.port = math.tointeger(port)
  v.address = "127.0.0.1:" .. port
  return v
end

function methods:signal(name) return self.rough.kill(self.pid, signals[name]) end

-- To one of its hosts.
function methods:hit(pid, name) return self.rough.kill(pid, signals[name]) end

function methods:hosts() return proc.children(self.pid) end

function methods:has(pid)
  for _, host in ipairs(self:hosts()) do if host == pid then return true end end
  return false
end

-- The log's last lines.
function methods:tail(count)
  local list = {}
  for i = math.max(1, #self.lines - count + 1), #self.lines do
    list[#list + 1] = "    | " .. self.lines[i].text
  end
  return table.concat(list, "\n")
end

-- The end of the supervisor: exit code and signal, nil when it does not come in time.
function methods:ended(seconds)
  local deadline = atoll.now() + seconds
  while not self.code do
    local code, signal = self.rough.reap(self.pid)
    if code then
      atoll.sleep(0.1) -- the log's last lines
      self.code, self.signal = code, signal
    elseif atoll.now() > deadline then
      return nil
    else
      atoll.sleep(0.02)
    end
  end
  return self.code, self.signal
end

-- Ends whatever is left, and removes the directory unless it is to be looked at.
function methods:finish(keep)
  for _, pid in ipairs(self:hosts()) do self:hit(pid, "CONT") end
  if not self.code then
    self:signal "TERM"
    if not self:ended(5) then
      for _, pid in ipairs(self:hosts()) do self:hit(pid, "KILL") end
      self:signal "KILL"
      self:ended(5)
    end
  end
  self.over = true
  if self.follower then self.follower:join(1) end
  if not keep then atoll.fs.remove(self.dir, { recursive = true }) end
end

-- When the run is cut short there is no time to wait.
function metatable:__close()
  if self.over then return end
  local hosts = self:hosts()
  self:signal "KILL"
  for _, pid in ipairs(hosts) do self:hit(pid, "KILL") end
  os.execute(("rm -rf '%s'"):format(self.dir))
end

return M
