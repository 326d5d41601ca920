-- One run of a scenario while a call fails: what has come of it, and what is wrong with
-- that. What is written here is what the host promises of failures:
--
--   an answer of the right kind, or one that says that it failed (5xx, 403), or a
--   connection that is closed, or a start that ends with an exit code of its own;
--   no word in the log, or one, when nobody need notice: what was asked for was done;
--   one word when an answer was refused or the program ended, one at most when a
--   connection was closed; and that one names what has failed.
--
-- A word is a line of the log of the level error or warn, with what is indented below
-- it, or a message of a program that has no log yet. When several calls fail each may
-- have one.
local events = require "support.events"
local sites = require "support.sites"

local M = {}

local methods = {}
local metatable = { __index = methods, __name = "spec.run" }

-- fault: what is to fail, or nil.
function M.new(fields)
  fields.problems, fields.outcome, fields.log = {}, "well", ""
  return setmetatable(fields, metatable)
end

function methods:note(format, ...)
  self.problems[#self.problems + 1] = select("#", ...) > 0 and format:format(...)
    or format
end

-- ---- what fails ----

-- From now on what is to fail fails.
function methods:begin(board)
  self.board = board
  for i, part in ipairs(self.fault or {}) do
    board:arm(part.site, part.code, part.n, part.step or part.row and 1 - part.row, i)
  end
end

-- From now on nothing fails.
function methods:enough()
  if self.met ~= nil then return end
  self.met = false
  if not self.fault then return end
  -- The last one is what the run is about: others only lead to it.
  local _, failed = self.board:counts(#self.fault)
  self.failed = failed
  self.met = failed > 0
  self.board:disarm()
end

-- ---- what has come of it ----

local cut = { "connection ended", "the end instead of", "ECONN", "EPIPE", "^told " }

-- Runs a part of it, which may be cut off but neither hang nor get rubbish.
function methods:try(what, fn, ...)
  local ok, why = pcall(fn, ...)
  if ok then return why end
  why = tostring(why)
  for _, pattern in ipairs(cut) do
    if why:find(pattern) then
      self.outcome = why:match "^told %d+" or "cut off"
      self.why = what .. ": " .. why
      return
    end
  end
  self:note("%s: %s", what, why:sub(1, 600))
end

-- ---- what is said of it ----

function M.words(log)
  local list = {}
  for line in log:gmatch "[^\n]+" do
    local level = line:match "^%d%d%d%d%-%d%d%-%d%dT%S+ (%a+)"
    local old = line:find "works again" -- of what failed before
    if not old and (level == "error" or level == "warn") then
      list[#list + 1] = line
    elseif line:find "^atoll: " and not line:find "atoll: serving " then
      list[#list + 1] = line
    elseif #list > 0 and line:find "^%s" then
      list[#list] = list[#list] .. "\n" .. line
    end
  end
  return list
end

-- After these a connection has gone, which is the peer's affair: no word of it, or what
-- it was to the one who had it.
local gone = { ECONNRESET = true, EPIPE = true, ETIMEDOUT = true, ENOTCONN = true,
  ECONNABORTED = true, ECONNREFUSED = true, ENOBUFS = true }

-- How else it may be said, in small letters. Of a random number that is the seed of a
-- table it is said that there is no memory for that.
local memory = { "not enough memory", "out of memory", "memory allocation failure",
  "cannot allocate memory", "no memory" }
local others = {
  access = { "no such file" }, -- who may not look looks all the same
  bind = { "no such file" }, -- of what should be in the way
  malloc = { "went by", "timed out" }, -- a message that a topic could not keep
  epoll_ctl = memory, -- libev does not say more
  getaddrinfo = { "name resolution", "host or service" },
  getrandom = { "not enough memory", "no randomness", "input/output error" },
  getsockopt = { "listen_fds: descriptor" },
  write = { "timed out" }, -- who was not told of a signal
  recv = { "connection reset" }, -- of bytes that have been seen
  -- As LuaSocket says it.
  poll = { "select failed", "did not start" }, setsockopt = { "setsockopt failed" },
  remove = { "address already in use" },
  mkstemp64 = { "unique filename" },
}

local function names(text, part)
  -- How a library tells of its own failures is its affair, and Lua's what it finds.
  if part.site.file ~= "" or part.site.call == "fopen64" then return true end
  text = text:lower()
  local function has(list)
    for _, said in ipairs(list) do
      if text:find(said, 1, true) then return true end
    end
  end
  return has { part.code:lower(), sites.texts[part.code]:lower() }
    or gone[part.code] or part.code == "ENOMEM" and has(memory)
    or has(others[part.site.call] or {})
end

-- Whether one of the words names one of the failures.
local function named(words, fault)
  for _, word in ipairs(words) do
    for _, part in ipairs(fault) do
      if names(word, part) then return true end
    end
  end
end

-- What may happen at any rate is said once in ten seconds: whether it may be that.
local function limited(r, list)
  local h = r.h or {}
  for _, word in ipairs(list) do
    if word:find "since this was last said" or word:find "cannot accept" then
      h.said_at = events.now()
    end
  end
  return h.said_at and events.now() < h.said_at + 11
end

-- Looks at the words. options: words = how many more there may be; noisy: they are
-- there without a fault, too; quiet: no word is missed.
function methods:judge_words(options)
  local list, last = M.words(self.log), self.fault[#self.fault]
  -- Two in a row may be of two states.
  local most = #self.fault + (options.words or 0) + (last.row and last.row - 1 or 0)
  local said = limited(self, list)
  self.words = list
  if last.step or not self.met then return end
  if #list > most then self:note("%d words instead of %d", #list, most) end
  local quiet = said or self.outcome == "well" or options.quiet
    or self.outcome == "told 403" -- which is all that there is to say
    or #self.fault > 1 and (last.site.call == "write" or last.site.call == "send")
    -- of the word itself
    or self.outcome == "cut off" and gone[last.code]
  if #list == 0 and not quiet then
    self:note("not a word of it: %s", self.why or self.outcome)
  elseif #list > 0 and not (options.noisy or said
    or named(list, self.fault)) then
    self:note("does not say what has failed: %s", list[1])
  end
end

M.methods = methods

return M
