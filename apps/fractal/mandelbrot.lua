-- What a worker of the pool does: rows of the Mandelbrot set, a hex digit for a pixel.
local M = {}

local DEPTH = 240
local X, Y = -0.743643887, 0.131825904 -- where it is zoomed to

local function pixel(cx, cy)
  local x, y, n = 0.0, 0.0, 0
  while n < DEPTH and x * x + y * y < 4 do
    x, y, n = x * x - y * y + cx, 2 * x * y + cy, n + 1
  end
  return n == DEPTH and "0" or ("%x"):format(1 + n % 15)
end

-- The rows from top on, as one string; "row" goes to progress after each.
function M.band(progress, zoom, width, height, top, rows)
  local step = 3 / (width * zoom)
  local list = {}
  for row = top, math.min(top + rows, height) - 1 do
    for column = 0, width - 1 do
      list[#list + 1] = pixel(X + (column - width / 2) * step,
        Y + (row - height / 2) * step)
    end
    if not progress:send "row" then return nil end -- nobody looks any more
  end
  return table.concat(list)
end

return M
