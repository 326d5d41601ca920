-- Follows the markup of a template to where a value is written, for one question: is
-- escaping & < > " ' enough there? It is in text, in comments and in quoted attributes.
local M = {}

local methods = {}
local metatable = { __index = methods }

function M.new()
  return setmetatable({
    place = "text", -- "tag", "quote", "comment", "script" or "style"
    quote = nil,    -- the quote that ends a quoted attribute
    name = nil,     -- of the tag
    tail = "",      -- what came last in a tag, outside of quotes
  }, metatable)
end

local places = {}

function places.text(self, text, at)
  local lt = text:find("<", at, true)
  if not lt then return #text + 1 end
  if text:find("^<!%-%-", lt) then
    self.place = "comment"
    return lt + 4
  end
  local name, behind = text:match("^</?(%a[%w:-]*)()", lt)
  if not name then return lt + 1 end
  self.place, self.tail = "tag", ""
  self.name = text:sub(lt + 1, lt + 1) ~= "/" and name:lower() or nil
  return behind
end

function places.comment(self, text, at)
  local _, last = text:find("-->", at, true)
  if not last then return #text + 1 end
  self.place = "text"
  return last + 1
end

function places.tag(self, text, at)
  local stop = text:find("[\"'>]", at)
  self.tail = (self.tail .. text:sub(at, (stop or #text + 1) - 1)):sub(-64)
  if not stop then return #text + 1 end
  local mark = text:sub(stop, stop)
  if mark == ">" then
    local raw = self.name == "script" or self.name == "style"
    self.place = raw and self.name or "text"
  else
    self.place, self.quote = "quote", mark
  end
  return stop + 1
end

function places.quote(self, text, at)
  local stop = text:find(self.quote, at, true)
  if not stop then return #text + 1 end
  self.place, self.tail = "tag", ""
  return stop + 1
end

local function raw(self, text, at)
  local stop = text:lower():find("</" .. self.place, at, true)
  if not stop then return #text + 1 end
  self.place, self.name, self.tail = "tag", nil, ""
  return stop + 2
end

places.script, places.style = raw, raw

function methods:read(text)
  local at = 1
  while at <= #text do at = places[self.place](self, text, at) end
end

-- Why a value cannot be written here, or nil.
function methods:problem()
  if self.place == "script" then
    return "in a <script> a value is written <%- json(value) %>"
  elseif self.place == "style" then
    return "in a <style> nothing can be escaped; write <%- value %> if it is yours"
  elseif self.place == "tag" then
    return self.tail:find("=%s*$") and "put quotes around the value of an attribute"
      or "inside a tag only the values of attributes can be escaped; write <%- value %>"
      .. " if it is yours"
  end
end

return M
