-- One isolate of a pool: answers calls to the functions of a module, one after another.
local isolate = require "atoll.isolate"

local module = ...
local functions = require(module)
if type(functions) ~= "table" then
  error(("the module '%s' returns a %s; a pool needs a table of functions"):format(
    module, type(functions)), 0)
end

local function failed(err)
  if type(err) ~= "string" then
    local text = tostring(err)
    err = type(err) == "table" and not getmetatable(err)
      and "(error object is a table value)" or text
  end
  return debug.traceback(err, 2)
end

-- Without memory no message handler has run.
local function answer(ok, ...)
  local code = ... == "not enough memory" and "ENOMEM" or "ELUA"
  return { ok = ok, code = not ok and code or nil, n = select("#", ...), ... }
end

local function run(job)
  local fn = functions[job.name]
  if type(fn) ~= "function" then
    return { ok = false, code = "EINVAL", n = 1,
      ("the module '%s' has no function '%s'"):format(module, job.name) }
  end
  return answer(xpcall(fn, failed, table.unpack(job, 1, job.n)))
end

for job, note in isolate.port:messages() do
  local result = run(job)
  local sent, message = pcall(note.reply, note, result)
  if not sent then
    note:reply { ok = false, code = "ELUA", n = 1,
      ("what '%s' returned cannot be sent: %s"):format(job.name, message) }
  end
end
