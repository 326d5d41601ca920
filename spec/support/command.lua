-- Runs the program for its exit code and what it prints, beside an app directory made
-- for the test. For what ends by itself; hosts that serve are another matter.
local M = {}

local program = assert(os.getenv "ATOLL", "ATOLL must name the program")
local dir

local function quote(s) return "'" .. s:gsub("'", "'\\''") .. "'" end

-- nil when there is no such file.
function M.read(name)
  local f = io.open(dir .. "/" .. name, "rb")
  if not f then return nil end
  local s = f:read "a"
  f:close()
  return s
end

-- Of whatever type.
function M.exists(name)
  local path = dir .. "/" .. name
  return os.rename(path, path) or false
end

function M.write(name, text)
  local f = assert(io.open(dir .. "/" .. name, "wb"))
  f:write(text)
  f:close()
end

-- Makes an app directory for one test; returns its path.
function M.begin()
  local pipe = assert(io.popen "mktemp -d")
  dir = pipe:read "l"
  pipe:close()
  M.write("app.lua", 'return function() return "hello" end\n')
  return dir
end

function M.finish() assert(os.execute("rm -r " .. quote(dir))) end

-- `line` is for the shell, DIR in it stands for the app directory. Returns the exit
-- code, stdout and stderr.
function M.atoll(line, environment)
  local clean = "env -u PORT -u HOST -u ATOLL_CONFIG " .. (environment or "")
  local command = ("%s timeout 300 %s %s >%s/stdout 2>%s/stderr; echo $?"):format(
    clean, quote(program), line, dir, dir)
  local pipe = assert(io.popen((command:gsub("DIR", dir))))
  local code = tonumber(pipe:read "l")
  pipe:close()
  return code, M.read "stdout", M.read "stderr"
end

-- Expects failure with that code, nothing on stdout, and that text on stderr.
function M.refuses(code, text, line, environment)
  local got, out, err = M.atoll(line, environment)
  text = text:gsub("DIR", dir)
  assert(err:find(text, 1, true), ("expected %q in %q"):format(text, err))
  assert(code == got, ("exit code %d, expected %d"):format(got, code))
  assert(out == "", out)
end

return M
