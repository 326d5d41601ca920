-- atoll.blocking(fn, ...): runs a function that blocks in a thread of the pool, in a
-- Lua state of that thread's own. Here is both ends: what a call carries there, and
-- what is done with it there.
--
-- A function that a module has under a name goes as that name, and the thread's state
-- requires the module; any other goes as its code with the values of its locals from
-- outside. Among these a function is carried likewise, a module goes as its name, and
-- the table of globals is the thread's own.
local core = require "atoll.core.blocking"
local misuse = require "atoll.misuse"

local M = {}

local getupvalue, setupvalue = debug.getupvalue, debug.setupvalue
local upvalueid, upvaluejoin = debug.upvalueid, debug.upvaluejoin
local getinfo, traceback = debug.getinfo, debug.traceback
local globals, loaded = _G, package.loaded

-- There -------------------------------------------------------------------------------

-- In an error's traceback, what is above the function that was sent.
local above = "\n\t[C]: in function 'xpcall'"

local function trim(text)
  local at, from = nil, 1
  repeat
    local found = text:find(above, from, true)
    at, from = found or at, (found or 0) + 1
  until not found
  text = at and text:sub(1, at - 1) or text
  return (text:gsub("\n\t%(%.%.%.tail calls%.%.%.%)$", ""))
end

local function describe(value)
  local text = tostring(value)
  if type(value) == "table" and not getmetatable(value) then
    text = "(error object is a table value)"
  end
  return { message = text, traceback = trim(traceback(text, 2)) }
end

local function by_name(entry)
  local module = require(entry.module)
  local value = type(module) == "table" and rawget(module, entry.field)
  if type(value) == "function" then return value end
  error(("the module '%s' has no function '%s' here"):format(entry.module,
    entry.field), 0)
end

-- The functions of a parcel.
local function rebuild(parcel)
  local functions, homes = {}, {}
  for i, entry in ipairs(parcel.functions) do
    functions[i] = entry.code and core.revive(entry.code) or by_name(entry)
  end
  for i, entry in ipairs(parcel.functions) do
    for n, cell in ipairs(entry.cells or {}) do
      local home = homes[cell]
      if cell == 0 then
        setupvalue(functions[i], n, globals)
      elseif home then
        upvaluejoin(functions[i], n, home[1], home[2])
      else
        homes[cell] = { functions[i], n }
        local from = parcel.cells[cell]
        local value = from.value
        if from.fn then value = functions[from.fn] end
        if from.module then value = require(from.module) end
        setupvalue(functions[i], n, value)
      end
    end
  end
  return functions
end

local function call(parcel)
  local arguments = parcel.arguments
  return rebuild(parcel)[1](table.unpack(arguments, 1, arguments.n))
end

-- Called with what was sent; deliver takes the answer, a table, and raises when it
-- holds what cannot be sent; and whether this state has seen its last call.
function M.perform(parcel, deliver)
  local results = table.pack(xpcall(call, describe, parcel))
  local failure = results[2]
  if not results[1] then
    if type(failure) == "table" then return deliver(failure) end
    -- Without memory the handler was not called, and with its own error in vain.
    local spent = failure == "not enough memory"
    return deliver({ message = tostring(failure), code = spent and "ENOMEM" }, spent)
  end
  results = table.pack(table.unpack(results, 2, results.n))
  local ok, problem = pcall(deliver, results)
  if not ok then deliver { message = problem, traceback = problem } end
end

-- Here --------------------------------------------------------------------------------

-- Where a function stands by name; the functions of Lua code that are globals are not
-- globals there.
local function name_of(fn)
  local is_code = getinfo(fn, "S").what ~= "C"
  for module, value in next, loaded do
    if type(value) == "table" and not (is_code and value == globals) then
      for field, member in next, value do
        if rawequal(member, fn) and type(field) == "string" then
          return module, field
        end
      end
    end
  end
end

local function module_of(value)
  for name, module in next, loaded do
    if rawequal(module, value) then return name end
  end
end

-- What must be sent so that `rebuild` can make fn and its arguments there; and beside
-- it what each cell is called, for messages.
local function gather(fn, ...)
  local parcel = { functions = {}, cells = {}, arguments = table.pack(...) }
  local names, numbers, cells = {}, {}, {}
  local add

  local function add_cell(id, name, value)
    local number = #parcel.cells + 1
    local cell = {}
    parcel.cells[number], names[number], cells[id] = cell, name, number
    local kind = type(value)
    if kind == "function" then
      cell.fn = add(value, name)
    elseif kind == "table" or kind == "userdata" then
      cell.module = module_of(value)
      if not cell.module then cell.value = value end
    else
      cell.value = value
    end
  end

  function add(f, name)
    if numbers[f] then return numbers[f] end
    local number = #parcel.functions + 1
    local entry = {}
    parcel.functions[number], numbers[f] = entry, number
    entry.module, entry.field = name_of(f)
    if entry.module then return number end
    entry.code = core.dump(f)
    if not entry.code then
      misuse.raise("atoll.blocking(): %s is a C function that no module has by name; "
        .. "call it in a function of yours", name)
    end
    entry.cells = {}
    for i = 1, math.huge do
      local upvalue, value = getupvalue(f, i)
      if not upvalue then break end
      local id = upvalueid(f, i)
      if upvalue == "_ENV" or rawequal(value, globals) then
        cells[id] = 0
      elseif not cells[id] then
        add_cell(id, ("the local '%s'"):format(upvalue), value)
      end
      entry.cells[i] = cells[id]
    end
    return number
  end

  add(fn, "the function")
  return parcel, names
end

-- The packing has failed: with what?
local function blame(parcel, names)
  local arguments = parcel.arguments
  for i = 1, arguments.n do
    local ok, problem = pcall(core.pack, arguments[i], "argument " .. i)
    if not ok then return problem end
  end
  for i, cell in ipairs(parcel.cells) do
    local ok, problem = pcall(core.pack, cell.value, names[i])
    if not ok then return problem end
  end
end

local function unpack_outcome(outcome, message, code)
  if outcome == nil then return nil, message, code end
  if math.type(outcome) == "integer" then os.exit(outcome) end
  if outcome.n then return table.unpack(outcome, 1, outcome.n) end
  return nil, outcome.message, outcome.code or "ELUA", outcome.traceback
end

local function here(ok, ...)
  if ok then return ... end
  local failure = ...
  if type(failure) ~= "table" then return nil, tostring(failure), "ENOMEM" end
  return nil, failure.message, "ELUA", failure.traceback
end

-- What fn(...) returns; or nil, message, code, traceback when it fails.
function M.blocking(fn, ...)
  misuse.expect("function", fn, "what atoll.blocking() is to run")
  if not core.waits() then return here(xpcall(fn, describe, ...)) end
  local parcel, names = gather(fn, ...)
  local ok, packed = pcall(core.pack, parcel, "atoll.blocking()")
  if not ok then
    misuse.raise("atoll.blocking(): %s", blame(parcel, names) or packed)
  end
  return unpack_outcome(core.send(packed))
end

return M
