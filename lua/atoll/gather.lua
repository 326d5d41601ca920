-- atoll.all and atoll.any: several fibers at once, and none left when they return. Each
-- member of a list is a function, or a task that is handed over.
local misuse = require "atoll.misuse"
local task = require "atoll.core.task"

local M = {}

-- The keys of the list, first those of its sequence in their order.
local function keys_of(list, name)
  misuse.expect("table", list, ("what atoll.%s() is given"):format(name))
  local keys, length = {}, #list
  for i = 1, length do keys[i] = i end
  for key in pairs(list) do
    local counted = math.type(key) == "integer" and key >= 1 and key <= length
    if not counted then keys[#keys + 1] = key end
  end
  for _, key in ipairs(keys) do
    local member = list[key]
    if type(member) ~= "function" and not task.is_task(member) then
      misuse.raise("atoll.%s(): %s is a %s, not a function or a task", name,
        tostring(key), type(member))
    end
  end
  return keys
end

-- The tasks, and the group of them; closing it cancels those that still run.
local function start(list, keys)
  local tasks = {}
  for i, key in ipairs(keys) do
    local member = list[key]
    if type(member) == "function" then member = task.spawn(member):quiet() end
    tasks[i] = member
  end
  return tasks, task.group(tasks)
end

-- A function has failed that raised, or that returned nil and a message.
local function outcome(value, message, ...)
  if value == nil and message ~= nil then return false, nil, message, ... end
  return true, value
end

-- Runs all of them; a table with the first result of each at its key. The first that
-- fails ends the others, and all of it: nil, message, code.
function M.all(list)
  local keys = keys_of(list, "all")
  local tasks, group = start(list, keys)
  local _ <close> = group
  local results = {}
  for i in group.next, group do
    local failure = table.pack(outcome(tasks[i]:join()))
    if not failure[1] then return table.unpack(failure, 2, failure.n) end
    results[keys[i]] = failure[2]
  end
  return results
end

-- Runs all of them until one succeeds: its first result and its key. When all have
-- failed: nil, and the message and the code of the last.
function M.any(list)
  local keys = keys_of(list, "any")
  if #keys == 0 then misuse.raise("atoll.any() is given nothing to wait for") end
  local tasks, group = start(list, keys)
  local _ <close> = group
  local last
  for i in group.next, group do
    last = table.pack(outcome(tasks[i]:join()))
    if last[1] then return last[2], keys[i] end
  end
  return table.unpack(last, 2, last.n)
end

return M
