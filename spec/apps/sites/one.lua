-- Joins what says itself how it is joined, and ends with what it was given.
local both = setmetatable({}, { __concat = function() return "both" end })
assert(both .. 1 == "both")
return ...
