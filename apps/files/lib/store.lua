-- The directory that is shared. Paths are relative to it, without a slash at either
-- end; what a client named is checked here, and what is wrong ends the request.
local atoll = require "atoll"

local M = {}

local here = debug.getinfo(1, "S").source:match("^@(.*)/lib/[^/]*$") or "."
M.root = os.getenv("FILES") or here .. "/data"

-- What a browser may show; all else is saved, so that no page of somebody else's runs
-- here.
local shown = {
  gif = true, jpeg = true, jpg = true, mp3 = true, mp4 = true, ogg = true, pdf = true,
  png = true, txt = true, webm = true, webp = true,
}

local function check_name(name)
  if name == "" or #name > 200 or name:find("^%.") or name:find("[%c/\\]")
    or not utf8.len(name) then
    atoll.halt(400, "a name cannot be that, nor begin with a dot\n")
  end
  return name
end

-- The path that a client asked for.
function M.check(path)
  local names = {}
  for name in path:gmatch("[^/]+") do names[#names + 1] = check_name(name) end
  return table.concat(names, "/")
end

local function full(path, name)
  return M.root .. "/" .. path .. (name and "/" .. check_name(name) or "")
end

-- Ends the request unless the directory is ours, whatever links there are.
local function check_directory(path)
  local root, real = atoll.fs.realpath(M.root), atoll.fs.realpath(full(path))
  local stat = real and atoll.fs.stat(real)
  if not stat or stat.type ~= "directory"
    or real ~= root and real:sub(1, #root + 1) ~= root .. "/" then
    atoll.halt(404)
  end
end

local orders = {
  name = function(a, b) return a.name:lower() < b.name:lower() end,
  size = function(a, b) return a.size > b.size end,
  date = function(a, b) return a.mtime > b.mtime end,
}

-- What is in a directory, directories first: { name =, directory =, size =, mtime = }.
-- Nil when it is none.
function M.list(path, sort)
  local stat = atoll.fs.stat(full(path))
  if not stat then atoll.halt(404) end
  if stat.type ~= "directory" then return nil end
  check_directory(path)
  local entries = {}
  for _, name in ipairs(assert(atoll.fs.list(full(path)))) do
    local of = not name:find("^%.") and atoll.fs.stat(full(path) .. "/" .. name)
    if of and (of.type == "file" or of.type == "directory") then
      local directory = of.type == "directory"
      entries[#entries + 1] = {
        name = name, directory = directory, size = directory and 0 or of.size,
        mtime = of.mtime,
      }
    end
  end
  local order = orders[sort] or orders.name
  table.sort(entries, function(a, b)
    if a.directory ~= b.directory then return a.directory end
    if order(a, b) ~= order(b, a) then return order(a, b) end
    return a.name < b.name
  end)
  return entries
end

local function expect(ok, message, code)
  if ok then return ok end
  atoll.log.error("an upload: %s", message)
  atoll.halt(code == "ENOSPC" and 507 or 500, "the file could not be kept\n")
end

-- A name that nobody had, and that is there now: of two uploads at once each has one.
local function claim(path, wanted)
  local stem, extension = wanted:match("^(.+)(%.[^.]*)$")
  local name, n = wanted, 1
  while true do
    local ok, message, code = atoll.fs.write(full(path, name), "", { exclusive = true })
    if ok then return name end
    if code ~= "EEXIST" then expect(ok, message, code) end
    n = n + 1
    name = ("%s (%d)%s"):format(stem or wanted, n, extension or "")
  end
end

-- Keeps an uploaded file, whole or not at all; the name that it has now.
function M.save(path, part)
  check_directory(path)
  check_name(part.filename)
  local hidden = full(path) .. "/." .. atoll.random(12, "hex")
  expect(part:save(hidden))
  local name = claim(path, part.filename)
  expect(atoll.fs.rename(hidden, full(path, name)))
  return name
end

function M.new_folder(path, name)
  check_directory(path)
  local ok, message, code = atoll.fs.mkdir(full(path, name))
  if not ok and code == "EEXIST" then atoll.halt(409, "there is one already\n") end
  assert(ok, message)
end

-- A file, or an empty directory.
function M.delete(path, name)
  check_directory(path)
  local ok, message, code = atoll.fs.remove(full(path, name))
  if code == "ENOTEMPTY" then atoll.halt(409, "the folder is not empty\n") end
  if not ok and code ~= "ENOENT" then error(message) end
end

-- For the page ------------------------------------------------------------------------

-- Under which name a browser saves a file; nil when it shows it.
function M.download_name(path)
  if shown[(path:match("%.([^./]*)$") or ""):lower()] then return nil end
  return path:match("[^/]*$")
end

-- Of a path; of a directory with its slash, never "//", which would be a host's name.
function M.url(path, directory)
  local escaped = path:gsub("[^%w%-._~/]", function(c)
    return ("%%%02X"):format(c:byte())
  end)
  return "/" .. escaped .. (directory and path ~= "" and "/" or "")
end

-- The path's own directories, from the top: { name =, url = }.
function M.crumbs(path)
  local list, at = { { name = "Files", url = "/" } }, ""
  for name in path:gmatch("[^/]+") do
    at = at .. "/" .. name
    list[#list + 1] = { name = name, url = M.url(at:sub(2), true) }
  end
  return list
end

function M.size_text(bytes)
  if bytes < 1000 then return ("%d B"):format(bytes) end
  for _, unit in ipairs { "kB", "MB", "GB" } do
    bytes = bytes / 1000
    local digits = bytes < 9.95 and 1 or 0
    if bytes < 999.5 then return ("%.*f %s"):gsub("%*", digits):format(bytes, unit) end
  end
  return ("%.1f TB"):format(bytes / 1000)
end

function M.date_text(time) return os.date("%d %b %Y, %H:%M", time // 1 | 0) end

return M
