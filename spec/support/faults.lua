-- System calls that fail, by their function, as spec/shim/sites.c has them do: for
-- specs, and for scripts that run under it and say themselves what shall fail.
local sites = require "support.sites"

local M = { environment = sites.environment }

local names = "accept accept4 bind connect epoll_create1 epoll_ctl epoll_wait eventfd "
  .. "fcntl getpeername getsockname getsockopt listen open openat openat2 pipe2 poll "
  .. "pread pthread_create pwrite read recv recvfrom recvmsg send sendfile sendmsg "
  .. "sendto setsockopt shutdown socket stat timerfd_create write writev"

-- function -> how it may fail.
M.kinds = {}
for name in names:gmatch "%S+" do M.kinds[name] = sites.kinds[name] end

-- Each kind in turn: function, error.
function M.each()
  return coroutine.wrap(function()
    for name in names:gmatch "%S+" do
      for code in M.kinds[name]:gmatch "%S+" do coroutine.yield(name, code) end
    end
  end)
end

local methods = {}
local metatable = { __index = methods, __name = "spec.faults" }

-- Makes the file for a program that is about to start.
function M.make(path) sites.make(path):close() end

-- The file of a program that runs.
function M.open(path)
  local self = setmetatable({ board = sites.open(path), numbers = {} }, metatable)
  for number, name in pairs(self.board:functions()) do self.numbers[name] = number end
  return self
end

-- From now on the n-th call, and each step-th after it, fails in that way.
function methods:arm(name, code, n, step)
  self.board:arm_function(self.numbers[name], code, n, step)
end

function methods:disarm(name) self.board:arm_function(self.numbers[name]) end

-- How often it has been called since, and how often it has failed.
function methods:counts(name) return self.board:function_counts(self.numbers[name]) end

function methods:close() self.board:close() end

return M
