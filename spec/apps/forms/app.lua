-- What the specs of forms ask for. Served by one isolate, so that handlers can tell one
-- another what they have seen.
local atoll = require "atoll"

local app = atoll.app()
local events = {} -- what was noted

local function note(...) events[#events + 1] = table.concat({ ... }, " ") end

local function show(value)
  if type(value) == "string" then return value end
  local text = value:text()
  return ("%s|%s|%s|%d|%s"):format(value.filename, value.filename_sent, value.type,
    value.size, #text < 100 and text or #text)
end

app:get("/probe", function() return "probe" end)
app:get("/events", function() return table.concat(events, "\n") end)

-- name=value of all values, in their order, by name.
app:post("/form", function(req)
  local _, all = req:form()
  local names, lines = {}, {}
  for name in pairs(all) do names[#names + 1] = name end
  table.sort(names)
  for _, name in ipairs(names) do
    for _, value in ipairs(all[name]) do
      lines[#lines + 1] = name .. "=" .. show(value)
    end
  end
  return table.concat(lines, "\n")
end)

app:post("/parts", function(req)
  local lines = {}
  for part in req:parts() do
    note("part", part.name)
    lines[#lines + 1] = part.name .. "=" .. part:text()
  end
  return table.concat(lines, "\n")
end)

app:post("/names", function(req)
  local names = {}
  for part in req:parts() do names[#names + 1] = part.name end
  return table.concat(names, ",")
end)

-- Bytes of each part, read in pieces of ?n=.
app:post("/sizes", function(req)
  local sizes, n = {}, math.tointeger(req.query.n)
  for part in req:parts { max_size = math.tointeger(req.query.max_size),
    max_parts = math.tointeger(req.query.max_parts) } do
    local size = 0
    repeat
      local piece = part:read(n)
      size = size + #(piece or "")
    until not piece
    sizes[#sizes + 1] = part.name .. "=" .. size
  end
  return table.concat(sizes, " ")
end)

app:post("/to/:where", function(req)
  local lines, to = {}, req.params.where
  if to == "function" then
    local sums = {}
    to = function(part, piece)
      sums[part] = (sums[part] or 0) + #(piece or "")
      if piece then return true end
      lines[#lines + 1] = part.name .. " had " .. sums[part]
      if part.name == "bad" then return nil, "no such file wanted", "EPERM" end
    end
  end
  local parts = req:parts { to = to }
  while true do
    local part, message, code = parts:next()
    if not part then
      lines[#lines + 1] = message and ("%s %s"):format(message, code)
      break
    end
    local where = part.path and "on disk" or "here"
    local text = to ~= "file" and not part.filename and part:text() or part.size
    lines[#lines + 1] = ("%s %s %s"):format(part.name, where, text)
  end
  return table.concat(lines, "\n")
end)

-- Saves the first part in ?to=, or in a temporary file, which is told.
app:post("/save", function(req)
  local part = req:parts():next()
  note("saving", part.name)
  local path, size, code = part:save(req.query.to)
  note("saved", tostring(path), tostring(size), tostring(code))
  if not path then return 500, size end
  local there = atoll.fs.stat(path)
  return ("%s %d %d %s"):format(path, size, there.size, there.mode)
end)

-- Twice: to a temporary file and then to its place.
app:post("/move", function(req)
  local part = req:parts():next()
  local path = assert(part:save())
  local moved, size = assert(part:save(req.query.to))
  return ("%s %d %s %d"):format(moved, size, atoll.fs.exists(path), #part:text())
end)

-- Goes on when somebody reads the fifo.
app:post("/wait", function(req)
  local part = req:parts():next()
  assert(atoll.fs.open(req.query["for"], "a")):close()
  local size = 0
  for piece in part:chunks() do size = size + #piece end
  return part.name .. "=" .. size
end)

app:post("/form-then-parts", function(req)
  local form = req:form()
  local again = req:form()
  return form.a .. again.a .. tostring(pcall(req.parts, req))
end)

app:post("/skipped", function(req)
  local parts = req:parts()
  local first = parts:next()
  parts:next()
  return tostring(select(2, pcall(first.text, first)))
end)

app:post("/gone", function(req)
  local parts = req:parts()
  local part = parts:next()
  note("waiting")
  local text, message, code = part:text()
  note("text", tostring(text), message, code)
  note("next", tostring((parts:next())), tostring(select(3, parts:next())))
  note("loop", tostring(select(2, pcall(req:parts()))))
end)

app:on("reload", function() return events end)
app:on("start", function(old) events = old or events end)

return app
