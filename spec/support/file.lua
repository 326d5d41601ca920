-- Whole files.
local M = {}

-- What is in it; fails when there is none.
function M.read(path)
  local f <close> = assert(io.open(path, "rb"))
  return f:read "a"
end

function M.write(path, ...)
  local f <close> = assert(io.open(path, "wb"))
  assert(f:write(...))
end

return M
