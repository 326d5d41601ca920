-- Patterns of routes, judged while an app registers them, so that the message can name
-- the line. The rules and sentences are those of the router, which judges again.
local M = {}

local LONGEST, SEGMENTS, PARAMS = 2048, 64, 16

-- The list of segments, or nil and what is wrong.
function M.split(pattern)
  if pattern:sub(1, 1) ~= "/" then return nil, "a pattern starts with /" end
  if #pattern > LONGEST then return nil, "the pattern is too long" end
  if pattern:find("%c") then return nil, "a control byte is in the pattern" end
  if pattern:find("[?#]") then return nil, "a pattern has no ? and no #" end
  if pattern:gsub("%%2[5Ff]", ""):find("%", 1, true) then
    return nil, "a pattern is not percent-encoded, except that % is %25"
  end
  local segments = {}
  for segment in pattern:gmatch("/([^/]*)") do segments[#segments + 1] = segment end
  return segments
end

local function bad_segment(segment, is_last, names)
  if segment == "" and not is_last then return "the pattern has an empty segment" end
  if segment == "." or segment == ".." then
    return "a path never has a . or .. segment"
  end
  local sigil, name = segment:match("^([:*])(.*)$")
  if not sigil then return nil end
  if sigil == "*" and not is_last then
    return "*name takes the rest and has to be last"
  end
  if sigil == ":" and name == "" then return "a param has no name" end
  if name ~= "" and not name:find("^[%a_][%w_]*$") then
    return "a param is a whole segment: a name of letters, digits and _"
  end
  if names[name] then return "two params have the same name" end
  names[name] = true
  names[#names + 1] = name
  return #names > PARAMS and "the pattern has too many params" or nil
end

-- nil, or what is wrong.
function M.problem(pattern)
  local segments, why = M.split(pattern)
  if not segments then return why end
  if #segments > SEGMENTS then return "the pattern has too many segments" end
  local names = {}
  for i, segment in ipairs(segments) do
    why = bad_segment(segment, i == #segments, names)
    if why then return why end
  end
  return nil
end

-- A prefix is a pattern without *rest; "" and "/" are none at all.
function M.prefix_problem(prefix)
  if prefix == "" or prefix == "/" then return nil end
  if prefix:find("/*", 1, true) then return "a prefix has no *name" end
  return M.problem((prefix:gsub("/$", "")))
end

-- "/api" and "/users" give "/api/users", "/api" and "/" give "/api".
function M.join(prefix, pattern)
  prefix = prefix:gsub("/$", "")
  if prefix == "" then return pattern == "" and "/" or pattern end
  return pattern == "/" and prefix or prefix .. pattern
end

-- The same for all patterns that match the same paths.
function M.shape(pattern)
  return (pattern:gsub("/:[^/]+", "/:"):gsub("/%*[^/]*$", "/*"))
end

-- Whether paths that the pattern matches lie under the prefix: "always", "never" or
-- "maybe" (the path decides, as with /:section under the prefix /admin).
function M.relation(prefix, pattern)
  if prefix == "" or prefix == "/" then return "always" end
  local segments, answer = M.split(pattern), "always"
  for i, wanted in ipairs(M.split((prefix:gsub("/$", "")))) do
    local segment = segments[i]
    local sigil = segment and segment:sub(1, 1)
    if not segment then return "never" end
    if sigil == "*" then return "maybe" end
    if wanted:sub(1, 1) == ":" then
      if segment == "" then return "never" end
    elseif sigil == ":" then
      answer = "maybe"
    elseif segment ~= wanted then
      return "never"
    end
  end
  return answer
end

-- A function that tells whether a path lies under the prefix.
function M.under(prefix)
  prefix = prefix:gsub("/$", "")
  if prefix == "" then return function() return true end end
  local wanted = prefix:gsub("[^%w/:_]", "%%%0"):gsub("/:[^/]+", "/[^/]+")
  local whole, below = "^" .. wanted .. "$", "^" .. wanted .. "/"
  return function(path) return path:find(whole) ~= nil or path:find(below) ~= nil end
end

return M
