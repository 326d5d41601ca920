-- Figures of several rounds.
local M = {}

function M.median(list)
  local sorted = table.move(list, 1, #list, 1, {})
  table.sort(sorted)
  local n = #sorted
  if n == 0 then return nil end
  return n % 2 == 1 and sorted[n // 2 + 1] or (sorted[n // 2] + sorted[n // 2 + 1]) / 2
end

function M.least(list) return math.min(table.unpack(list)) end
function M.most(list) return math.max(table.unpack(list)) end

-- How far apart the rounds are, as a share of the median; nil of fewer than two.
function M.spread(list)
  local middle = M.median(list)
  if #list < 2 or middle == 0 then return nil end
  return (M.most(list) - M.least(list)) / middle
end

return M
