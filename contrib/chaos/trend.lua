-- Whether a series of samples grows: a line through it by least squares, the error of
-- its slope, and words for both.
local M = {}

-- The slope of y over x, and its standard error. Neighbouring samples resemble each
-- other, so they tell less than their number says: the error is larger by as much as
-- their correlation makes it.
function M.slope(xs, ys)
  local n, sx, sy = #xs, 0, 0
  if n < 3 then return 0, math.huge end
  for i = 1, n do sx, sy = sx + xs[i], sy + ys[i] end
  local mx, my, sxx, sxy = sx / n, sy / n, 0, 0
  for i = 1, n do
    sxx = sxx + (xs[i] - mx) ^ 2
    sxy = sxy + (xs[i] - mx) * (ys[i] - my)
  end
  local slope = sxy / sxx
  local rest, lagged, before = 0, 0, nil
  for i = 1, n do
    local r = ys[i] - my - slope * (xs[i] - mx)
    rest = rest + r * r
    if before then lagged = lagged + r * before end
    before = r
  end
  if rest == 0 then return slope, 0 end
  local likeness = math.min(0.99, math.max(0, lagged / rest))
  return slope, math.sqrt(rest / (n - 2) / sxx * (1 + likeness) / (1 - likeness))
end

local function series(samples, warm, value)
  local xs, ys = {}, {}
  for _, s in ipairs(samples) do
    if s.at > warm then
      xs[#xs + 1], ys[#ys + 1] = s.at / 3600, value(s)
    end
  end
  return xs, ys
end

-- It drifts when the slope is more than three of its errors, and what came of it in the
-- time that was looked at more than a twentieth of all.
local function judged(samples, warm, value)
  local xs, ys = series(samples, warm, value)
  local slope, err = M.slope(xs, ys)
  local sum = 0
  for _, y in ipairs(ys) do sum = sum + y end
  local gain = #xs > 0 and slope * (xs[#xs] - xs[1]) or 0
  return slope, err, slope - 3 * err > 0 and gain > sum / #ys / 20
end

-- { text, grows }
function M.words(samples, warm)
  local m, merr, grows = judged(samples, warm, function(s) return s.pss / 1e6 end)
  local l, lerr, drifts = judged(samples, warm, function(s) return s.p99 * 1e3 end)
  local text = ("in the second half memory %s: %+.1f ± %.1f MB an hour; p99 %s: "
    .. "%+.1f ± %.1f ms an hour"):format(grows and "GROWS" or "does not grow", m, merr,
    drifts and "DRIFTS" or "does not drift", l, lerr)
  return { grows = grows, text = text }
end

return M
