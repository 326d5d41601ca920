-- Who is measured. A peer is a directory in peers/ with
--   peer.lua   what it is: see below
--   serve      a program that serves what apps/bench serves; README.md says with which
--              environment
--   title    as the tables have it        from     what brings it
--   version  a shell command that prints it, and fails where the peer cannot be had
--   set      what was set, for README.md and the result
--   prepare  whether `serve prepare` is to be called before a start
--   lacks    { workload = why } of what it cannot do
--   reload   the signal that brings new code, if any does
--   quit     the signal at which all its processes end in peace, if that is not TERM
--   warm     seconds of CPU that it needs at first, to compile what is asked for
--   count    whether callgrind can count its instructions
local uv = require "luv"

local M = {}

local ORDER = { "atoll", "nginx-lua", "h2o", "bun", "deno", "node", "workerd", "go" }

-- Those that no package brings, and why there is no directory for them.
local ELSEWHERE = {
  { name = "lwan", why = "in no package; built by hand, it can be given to --against" },
  { name = "uWebSockets", why = "in no package of Debian or npm; see lwan" },
  { name = "libreactor", why = "in no package; see lwan" },
  { name = "caddy", why = "serves files and proxies; it has no handlers to write" },
}

local function shell(command, env)
  local pipe = io.popen(env .. " " .. command .. " 2>/dev/null")
  local text = pipe:read("a"):match("^%s*(.-)%s*$")
  return pipe:close() and text ~= "" and text or nil
end

-- Directories beside the known ones count too, at the end.
local function names(dir)
  local list, known = table.move(ORDER, 1, #ORDER, 1, {}), {}
  for _, name in ipairs(ORDER) do known[name] = true end
  local scan = uv.fs_scandir(dir)
  for name in function() return scan and uv.fs_scandir_next(scan) end do
    local there = uv.fs_stat(dir .. "/" .. name .. "/peer.lua")
    if there and not known[name] then list[#list + 1] = name end
  end
  return list
end

function M.names(dir) return table.concat(names(dir), " ") end

-- All that were asked for (a set of names, or nil) and are here, and the others with
-- the reason. what: { dir, npm, atoll }
function M.find(what, asked)
  local here, missing = {}, {}
  local env = ("export NPM='%s' ATOLL='%s';"):format(what.npm, what.atoll)
  for _, name in ipairs(names(what.dir)) do
    if not asked or asked[name] then
      local peer = dofile(what.dir .. "/" .. name .. "/peer.lua")
      peer.name, peer.dir, peer.lacks = name, what.dir .. "/" .. name, peer.lacks or {}
      peer.version = shell(peer.version, env)
      if peer.version then
        here[#here + 1] = peer
      else
        missing[#missing + 1] = { name = name,
          why = "not here; it comes from " .. peer.from }
      end
    end
  end
  for _, one in ipairs(ELSEWHERE) do
    if not asked then missing[#missing + 1] = one end
  end
  return here, missing
end

return M
