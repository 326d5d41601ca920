-- The sites of a program, where it allocates or asks the kernel, as spec/shim/sites.c
-- knows them: which there are, and which of their calls are to fail.
local M = {}

M.errors = {
  EPERM = 1, ENOENT = 2, EINTR = 4, EIO = 5, EAGAIN = 11, ENOMEM = 12, EACCES = 13,
  EEXIST = 17, EINVAL = 22, ENFILE = 23, EMFILE = 24, ENOSPC = 28, EPIPE = 32,
  ENOSYS = 38, ENOPROTOOPT = 92, EADDRINUSE = 98, ECONNABORTED = 103, ECONNRESET = 104,
  ENOBUFS = 105, ENOTCONN = 107, ETIMEDOUT = 110, ECONNREFUSED = 111,
  SHORT = -1, -- one byte only
}

-- function -> how it may fail. What cannot be done without (epoll_wait but for EINTR,
-- waitpid) or does not fail when it is used as here is not in it.
M.kinds = {
  malloc = "ENOMEM", calloc = "ENOMEM", realloc = "ENOMEM", aligned_alloc = "ENOMEM",
  strdup = "ENOMEM", strndup = "ENOMEM", vasprintf = "ENOMEM",
  open_memstream = "ENOMEM",
  accept4 = "EINTR EAGAIN ECONNABORTED EMFILE ENOBUFS", access = "EACCES",
  bind = "EADDRINUSE ENOBUFS", chmod = "EPERM", close = "EIO EINTR",
  connect = "ECONNREFUSED ETIMEDOUT ENOBUFS", epoll_create1 = "EMFILE",
  epoll_ctl = "ENOMEM ENOSPC", epoll_wait = "EINTR", eventfd = "EMFILE ENOMEM",
  execv = "ENOMEM", fchmod = "EPERM", fchown = "EPERM", fcntl = "ENOMEM",
  fdopendir = "ENOMEM", flock = "EINTR", fopen = "EMFILE ENOMEM",
  fopen64 = "EMFILE ENOMEM", fork = "EAGAIN ENOMEM", fstat = "ENOMEM",
  fstatat = "EACCES ENOMEM", fsync = "EIO ENOSPC", ftruncate = "EIO EINTR",
  getaddrinfo = "ENOMEM EAGAIN", getcwd = "ENOMEM", getpeername = "ENOTCONN ENOBUFS",
  getrandom = "ENOSYS", getrlimit = "EPERM", getsockname = "ENOBUFS",
  getsockopt = "ENOBUFS", link = "ENOSPC EPERM", listen = "EADDRINUSE",
  lstat = "EACCES ENOMEM", memfd_create = "EMFILE ENOMEM", mkdir = "ENOSPC",
  mkstemp64 = "EMFILE ENOSPC", mmap = "ENOMEM", open = "EINTR EMFILE ENFILE EACCES",
  openat = "EMFILE ENFILE EACCES", opendir = "EMFILE ENOMEM",
  openat2 = "ENOSYS EAGAIN EMFILE", pidfd_open = "EMFILE ENOSYS",
  pipe2 = "EMFILE ENFILE", poll = "EINTR ENOMEM", posix_spawn = "EAGAIN ENOMEM",
  ppoll = "EINTR ENOMEM", pread = "EINTR EIO SHORT", pthread_create = "EAGAIN",
  pwrite = "EINTR EIO ENOSPC SHORT", read = "EINTR EAGAIN ECONNRESET EIO SHORT",
  readlink = "EACCES", realpath = "EACCES ENOMEM",
  recv = "EINTR EAGAIN ECONNRESET ENOMEM SHORT",
  recvfrom = "EINTR EAGAIN ECONNREFUSED ENOMEM", recvmsg = "EINTR EAGAIN ENOMEM",
  rename = "EIO ENOSPC", rmdir = "EACCES", sched_getaffinity = "EINVAL",
  send = "EINTR EAGAIN EPIPE ENOBUFS SHORT",
  sendfile = "EINTR EAGAIN EIO EPIPE EINVAL SHORT",
  sendmsg = "EINTR EAGAIN EPIPE ENOBUFS", sendto = "EINTR EAGAIN EPERM ENOBUFS",
  setrlimit = "EPERM", setsockopt = "ENOPROTOOPT ENOBUFS", shutdown = "ENOTCONN",
  sigaltstack = "ENOMEM", signalfd = "EMFILE ENOMEM", socket = "EMFILE ENOBUFS",
  stat = "EACCES ENOMEM", timerfd_create = "EMFILE ENOMEM",
  unlink = "EACCES EIO", unlinkat = "EACCES EIO", waitpid = "EINTR",
  write = "EINTR EAGAIN EPIPE ECONNRESET EIO ENOSPC SHORT",
  writev = "EINTR EAGAIN EPIPE ECONNRESET ENOBUFS EIO ENOSPC SHORT",
}

-- After these the call is made again, and nobody need notice.
M.harmless = { EINTR = true, SHORT = true }

local SIZE, HEAD = 131072, "i8i8i8i8i8i8"
local FUNCTIONS, FUNCTION, FILES, FILE = 120, 24, 16, 64
local SITES, SITE = 4096, "I8i8i8"
local FUNCTIONS_AT = 64
local FILES_AT = FUNCTIONS_AT + FUNCTIONS * FUNCTION
local SITES_AT = FILES_AT + FILES * FILE

local methods = {}
local metatable = { __index = methods, __name = "spec.sites" }

-- The board for a program that is about to start, in a file of that name.
function M.make(path)
  local f = assert(io.open(path, "w+b"))
  f:write(("\0"):rep(SIZE))
  f:setvbuf "no"
  return setmetatable({ file = f, path = path }, metatable)
end

function methods:read(at, size)
  self.file:seek("set", at)
  return self.file:read(size)
end

function methods:write(at, text)
  self.file:seek("set", at)
  self.file:write(text)
end

local function texts(block, count, size)
  local list = {}
  for i = 0, count - 1 do
    list[i] = block:sub(i * size + 1, i * size + size):match "^[^\0]*"
  end
  return list
end

-- All sites that were called since the last reset(): a list of { key =, call =, file =
-- (the program is ""), offset =, calls =, failed = }, in the order of their keys.
function methods:list()
  local functions = texts(self:read(FUNCTIONS_AT, FUNCTIONS * FUNCTION), FUNCTIONS,
    FUNCTION)
  local files = texts(self:read(FILES_AT, FILES * FILE), FILES, FILE)
  local size, list = SITE:packsize(), {}
  local block = self:read(SITES_AT, SITES * size)
  for at = 1, SITES * size, size do
    local key, calls, failed = SITE:unpack(block, at)
    if key ~= 0 and calls > 0 then
      list[#list + 1] = { key = key, call = functions[(key >> 56) - 1],
        file = files[key >> 48 & 0xff], offset = key & 0xffffffffffff, calls = calls,
        failed = failed }
    end
  end
  table.sort(list, function(a, b) return a.key < b.key end)
  assert(#list > 0, "nothing runs under spec/shim/sites.c")
  return list
end

-- Forgets how often each was called.
function methods:reset()
  local size = SITE:packsize()
  local block, parts = self:read(SITES_AT, SITES * size), {}
  for at = 1, SITES * size, size do
    parts[#parts + 1] = SITE:pack(SITE:unpack(block, at), 0, 0)
  end
  self:write(SITES_AT, table.concat(parts))
end

-- From now on the n-th call of that site, and each step-th after it, fails so.
function methods:arm(site, code, n, step)
  self:write(0, HEAD:pack(0, n, step or 0, M.errors[code], 0, 0))
  self:write(0, ("I8"):pack(site.key))
end

-- How often it has been called since, and how often it has failed.
function methods:counts()
  local _, _, _, _, seen, failed = HEAD:unpack(self:read(0, HEAD:packsize()))
  return seen, failed
end

function methods:disarm()
  local seen, failed = self:counts()
  self:write(0, ("I8"):pack(0))
  return seen, failed
end

function methods:close() self.file:close() end

-- The environment in which the program runs under the shim, with that board.
function M.environment(program, board)
  local shim = program:match "^(.*)/" .. "/sites.so"
  assert(io.open(shim), "make spec builds " .. shim):close()
  local environment = { LD_PRELOAD = shim, SITES = board.path }
  -- To make the directory of a report they would call the shim before it can be ready:
  -- what they have to say is on stderr, where it is looked for.
  for _, name in ipairs { "ASAN_OPTIONS", "LSAN_OPTIONS", "UBSAN_OPTIONS" } do
    environment[name] = (os.getenv(name) or ""):gsub("log_path=[^:]*:?", "")
  end
  environment.ASAN_OPTIONS = environment.ASAN_OPTIONS .. ":verify_asan_link_order=0"
  return environment
end

return M
