-- System calls that fail, as spec/shim/faults.c has them do: for specs, and for scripts
-- that run under it and say themselves what shall fail.
local M = {}

M.SHORT = -1 -- in place of an errno: one byte only

local errors = {
  EPERM = 1, EINTR = 4, EIO = 5, EAGAIN = 11, ENOMEM = 12, EACCES = 13, EINVAL = 22,
  ENFILE = 23, EMFILE = 24, ENOSPC = 28, EPIPE = 32, ENOSYS = 38, ENOPROTOOPT = 92,
  EADDRINUSE = 98, EADDRNOTAVAIL = 99, ECONNABORTED = 103, ECONNRESET = 104,
  ENOBUFS = 105, ENOTCONN = 107, ETIMEDOUT = 110, ECONNREFUSED = 111, SHORT = -1,
}

-- function -> how it may fail.
M.kinds = {
  accept = "EINTR EMFILE", accept4 = "EINTR EAGAIN ECONNABORTED EMFILE ENOBUFS EPERM",
  bind = "EADDRINUSE ENOBUFS", connect = "ECONNREFUSED ETIMEDOUT EADDRNOTAVAIL ENOBUFS",
  epoll_create1 = "EMFILE", epoll_ctl = "ENOMEM ENOSPC", epoll_wait = "EINTR",
  eventfd = "EMFILE", fcntl = "ENOMEM", getpeername = "ENOTCONN ENOBUFS",
  getsockname = "ENOBUFS", getsockopt = "ENOBUFS", listen = "EADDRINUSE",
  open = "EINTR EMFILE EACCES", openat = "EMFILE EACCES", pipe2 = "EMFILE ENFILE",
  poll = "EINTR ENOMEM", pread = "EINTR EIO SHORT", pthread_create = "EAGAIN",
  pwrite = "EINTR EIO ENOSPC SHORT", read = "EINTR EAGAIN ECONNRESET ETIMEDOUT SHORT",
  recv = "EINTR EAGAIN ECONNRESET ENOMEM SHORT",
  recvfrom = "EINTR EAGAIN ECONNREFUSED ENOMEM SHORT", recvmsg = "EINTR EAGAIN ENOMEM",
  send = "EINTR EAGAIN EPIPE ENOBUFS SHORT", sendmsg = "EINTR EAGAIN EPIPE ENOBUFS",
  sendto = "EINTR EAGAIN EPERM ENOBUFS SHORT", setsockopt = "ENOPROTOOPT ENOBUFS",
  sendfile = "EINTR EAGAIN EIO EPIPE EINVAL SHORT", stat = "EACCES ENOMEM",
  openat2 = "ENOSYS EPERM EAGAIN EMFILE", shutdown = "ENOTCONN",
  socket = "EMFILE ENOBUFS", timerfd_create = "EMFILE",
  write = "EINTR EAGAIN EPIPE ECONNRESET SHORT",
  writev = "EINTR EAGAIN EPIPE ECONNRESET ENOBUFS SHORT",
}

-- Each kind in turn: function, error.
function M.each()
  return coroutine.wrap(function()
    local names = {}
    for name in pairs(M.kinds) do names[#names + 1] = name end
    table.sort(names)
    for _, name in ipairs(names) do
      for code in M.kinds[name]:gmatch "%S+" do coroutine.yield(name, code) end
    end
  end)
end

-- One counter of the file.
local NAME, NUMBERS = "c24", "i8i8i8i8i8"
local SIZE = string.packsize(NAME .. NUMBERS)

local methods = {}
local metatable = { __index = methods, __name = "spec.faults" }

-- Makes the file for a program that is about to start.
function M.make(path)
  local f = assert(io.open(path, "wb"))
  f:write(("\0"):rep(4096))
  f:close()
end

-- The file of a program that runs.
function M.open(path)
  local f = assert(io.open(path, "r+b"))
  f:setvbuf "no"
  local self = setmetatable({ file = f, at = {} }, metatable)
  for at = 0, 4096 - SIZE, SIZE do
    f:seek("set", at)
    local name = f:read(24):match "^[^\0]+"
    if not name then break end
    self.at[name] = at
  end
  assert(next(self.at), "nothing runs under spec/shim/faults.c")
  return self
end

local function write(self, name, ...)
  self.file:seek("set", self.at[name] + 24)
  self.file:write(string.pack(NUMBERS, ...))
end

-- From now on the n-th call, and each step-th after it, fails in that way.
function methods:arm(name, code, n, step)
  write(self, name, 0, 0, n, step or 0, errors[code])
end

function methods:disarm(name) write(self, name, 0, 0, 0, 0, 0) end

-- How often it has been called since, and how often it has failed.
function methods:counts(name)
  self.file:seek("set", self.at[name] + 24)
  return string.unpack("i8i8", self.file:read(16))
end

function methods:close() self.file:close() end

-- The environment in which the program runs under the shim, with that file.
function M.environment(program, path)
  local shim = program:match "^(.*)/" .. "/faults.so"
  assert(io.open(shim), "make spec builds " .. shim):close()
  local asan = os.getenv "ASAN_OPTIONS"
  return { LD_PRELOAD = shim, FAULTS = path,
    ASAN_OPTIONS = (asan and asan .. ":" or "") .. "verify_asan_link_order=0" }
end

return M
