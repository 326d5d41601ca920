-- The entries, one line of JSON each in a file that only grows. Every isolate appends a
-- line with a single write and follows what the others have appended, so no isolate
-- owns the file and nothing is lost when one ends.
local atoll = require "atoll"

local M = {}

local KEPT = 100 -- entries that are held in memory and shown
local here = debug.getinfo(1, "S").source:match("^@(.*)/lib/[^/]*$") or "."
local path = os.getenv("GUESTBOOK_FILE") or here .. "/data/entries.jsonl"

local recent = {} -- the latest KEPT entries, the newest last
local read_to = 0 -- bytes of the file that recent stands for

local function remember(line)
  local entry = atoll.json.decode(line)
  if type(entry) ~= "table" then
    atoll.log.warn("guestbook: a line of %s is no entry", path)
    return
  end
  recent[#recent + 1] = entry
  if #recent > KEPT then table.remove(recent, 1) end
end

-- Reads the whole lines that were appended since the last time.
local function follow()
  local file <close> = io.open(path, "rb")
  if not file or file:seek("end") < read_to then recent, read_to = {}, 0 end
  if not file then return end
  file:seek("set", read_to)
  for line in file:lines("L") do
    if line:sub(-1) ~= "\n" then break end -- somebody is still writing it
    read_to = read_to + #line
    remember(line)
  end
end

-- The newest first.
function M.latest()
  follow()
  local list = {}
  for i = #recent, 1, -1 do list[#list + 1] = recent[i] end
  return list
end

function M.find(id)
  follow()
  for _, entry in ipairs(recent) do
    if entry.id == id then return entry end
  end
  return nil
end

local function field(input, name, longest, problems)
  local value = type(input) == "table" and input[name]
  if type(value) ~= "string" then value = "" end
  value = value:gsub("\r\n?", "\n"):match("^%s*(.-)%s*$")
  local length = utf8.len(value)
  if not length then
    problems[name] = "is not UTF-8"
  elseif length == 0 then
    problems[name] = "is missing"
  elseif length > longest then
    problems[name] = ("is longer than %d characters"):format(longest)
  elseif value:find("[\0-\8\11-\31\127]") then
    problems[name] = "has control characters"
  end
  return value
end

-- An entry made of what somebody sent, or nil and field -> what is wrong with it.
function M.check(input)
  local problems = {}
  local name = field(input, "name", 60, problems)
  local message = field(input, "message", 2000, problems)
  if name:find("\n") then problems.name = problems.name or "is more than one line" end
  if next(problems) then return nil, problems end
  return {
    id = ("%x%08x"):format(os.time(), math.random(0, 0xffffffff)),
    name = name, message = message, time = os.date("!%Y-%m-%dT%H:%M:%SZ"),
  }
end

-- true, or nil and a message.
function M.add(entry)
  local line = atoll.json.encode(entry) .. "\n"
  local file <close>, message = io.open(path, "ab")
  if not file then return nil, message end
  file:setvbuf("full", #line + 1) -- one line is one write
  local ok, problem = file:write(line)
  if ok then ok, problem = file:flush() end
  if not ok then return nil, problem end
  return true
end

return M
