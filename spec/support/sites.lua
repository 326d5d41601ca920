-- The sites of a program, where it allocates or asks the kernel, as spec/shim/sites.c
-- knows them: which there are, and which of their calls are to fail.
local M = {}

M.errors = {
  EPERM = 1, ENOENT = 2, EINTR = 4, EIO = 5, EAGAIN = 11, ENOMEM = 12, EACCES = 13,
  EEXIST = 17, EINVAL = 22, ENFILE = 23, EMFILE = 24, ENOSPC = 28, EPIPE = 32,
  ENOSYS = 38, ENOPROTOOPT = 92, EADDRINUSE = 98, EADDRNOTAVAIL = 99,
  ECONNABORTED = 103, ECONNRESET = 104,
  ENOBUFS = 105, ENOTCONN = 107, ETIMEDOUT = 110, ECONNREFUSED = 111,
  SHORT = -1, -- one byte only
}

M.ARMS = 3 -- so many calls may be to fail at the same time

-- What the program says of them.
M.texts = {
  EPERM = "Operation not permitted", ENOENT = "No such file or directory",
  EINTR = "Interrupted system call", EIO = "Input/output error",
  EAGAIN = "Resource temporarily unavailable", ENOMEM = "Cannot allocate memory",
  EACCES = "Permission denied", EEXIST = "File exists", EINVAL = "Invalid argument",
  ENFILE = "Too many open files in system", EMFILE = "Too many open files",
  ENOSPC = "No space left on device", EPIPE = "Broken pipe",
  ENOSYS = "Function not implemented", ENOPROTOOPT = "Protocol not available",
  EADDRINUSE = "Address already in use",
  EADDRNOTAVAIL = "Cannot assign requested address",
  ECONNABORTED = "Software caused connection abort",
  ECONNRESET = "Connection reset by peer", ENOBUFS = "No buffer space available",
  ENOTCONN = "Transport endpoint is not connected", ETIMEDOUT = "timed out",
  ECONNREFUSED = "Connection refused", SHORT = "one byte only",
}

-- function -> how it may fail. What cannot be done without (epoll_wait but for EINTR,
-- waitpid) or does not fail when it is used as here is not in it.
M.kinds = {
  malloc = "ENOMEM", calloc = "ENOMEM", realloc = "ENOMEM", aligned_alloc = "ENOMEM",
  strdup = "ENOMEM", strndup = "ENOMEM", vasprintf = "ENOMEM",
  open_memstream = "ENOMEM", setenv = "ENOMEM",
  accept = "EINTR EMFILE", accept4 = "EINTR EAGAIN ECONNABORTED EMFILE ENOBUFS EPERM",
  access = "EACCES", bind = "EADDRINUSE ENOBUFS", chmod = "EPERM", close = "EIO EINTR",
  connect = "ECONNREFUSED ETIMEDOUT EADDRNOTAVAIL ENOBUFS", epoll_create1 = "EMFILE",
  epoll_ctl = "ENOMEM ENOSPC", epoll_wait = "EINTR", eventfd = "EMFILE ENOMEM",
  execv = "ENOMEM", fchmod = "EPERM", fchown = "EPERM", fcntl = "ENOMEM",
  fdopen = "ENOMEM",
  fdopendir = "ENOMEM", flock = "EINTR", fopen = "EMFILE ENOMEM",
  fopen64 = "EMFILE ENOMEM", fork = "EAGAIN ENOMEM", freopen64 = "EMFILE",
  fstat = "ENOMEM", fstatat = "EACCES ENOMEM", fsync = "EIO ENOSPC",
  ftruncate = "EIO EINTR", getaddrinfo = "ENOMEM EAGAIN", getcwd = "ENOMEM",
  getgrnam = "EIO", gethostname = "EPERM", getpeername = "ENOTCONN ENOBUFS",
  getpwnam = "EIO", getpwuid = "EIO", getrandom = "ENOSYS", getrlimit = "EPERM",
  getsockname = "ENOBUFS", getsockopt = "ENOBUFS", initgroups = "EPERM ENOMEM",
  ioctl = "EINVAL", landlock = "EPERM ENOMEM", lchown = "EPERM", link = "ENOSPC EPERM",
  listen = "EADDRINUSE", lstat = "EACCES ENOMEM", memfd_create = "EMFILE ENOMEM",
  mkdir = "ENOSPC", mkstemp64 = "EMFILE ENOSPC", mmap = "ENOMEM",
  open = "EINTR EMFILE ENFILE EACCES", openat = "EMFILE ENFILE EACCES",
  openat2 = "ENOSYS EPERM EAGAIN EMFILE", opendir = "EMFILE ENOMEM",
  pidfd_open = "EMFILE ENOSYS", pipe2 = "EMFILE ENFILE", poll = "EINTR ENOMEM",
  popen = "EMFILE ENOMEM", posix_spawn = "EAGAIN ENOMEM", ppoll = "EINTR ENOMEM",
  prctl = "EINVAL", pread = "EINTR EIO SHORT", pthread_create = "EAGAIN",
  pwrite = "EINTR EIO ENOSPC SHORT",
  read = "EINTR EAGAIN ECONNRESET ETIMEDOUT EIO SHORT", readlink = "EACCES",
  realpath = "EACCES ENOMEM", recv = "EINTR EAGAIN ECONNRESET ENOMEM SHORT",
  recvfrom = "EINTR EAGAIN ECONNREFUSED ENOMEM SHORT", recvmsg = "EINTR EAGAIN ENOMEM",
  remove = "EACCES EIO", rename = "EIO ENOSPC", rmdir = "EACCES", scandir = "ENOMEM",
  sched_getaffinity = "EINVAL", send = "EINTR EAGAIN EPIPE ENOBUFS SHORT",
  sendfile = "EINTR EAGAIN EIO EPIPE EINVAL SHORT",
  sendmsg = "EINTR EAGAIN EPIPE ENOBUFS", sendto = "EINTR EAGAIN EPERM ENOBUFS SHORT",
  setgroups = "EPERM", setresgid = "EPERM", setresuid = "EAGAIN EPERM",
  setrlimit = "EPERM", setsockopt = "ENOPROTOOPT ENOBUFS", shutdown = "ENOTCONN",
  sigaltstack = "ENOMEM", signalfd = "EMFILE ENOMEM", socket = "EMFILE ENOBUFS",
  stat = "EACCES ENOMEM", system = "EAGAIN", timerfd_create = "EMFILE ENOMEM",
  tmpfile64 = "EMFILE", unlink = "EACCES EIO", unlinkat = "EACCES EIO",
  waitpid = "EINTR", write = "EINTR EAGAIN EPIPE ECONNRESET EIO ENOSPC SHORT",
  writev = "EINTR EAGAIN EPIPE ECONNRESET ENOBUFS EIO ENOSPC SHORT",
}

-- After these the call is made again, and nobody need notice.
M.harmless = { EINTR = true, SHORT = true }

local SIZE = 131072
local ARMS, ARM = M.ARMS, "i8i8i8i8i8"
local ARMED = "I8" .. ARM
local FUNCTIONS, FUNCTION = 120, "c24i8" .. ARM
local FILES, FILE = 16, 64
local SITES, SITE = 4096, "I8i8i8"
local FUNCTIONS_AT = ARMS * ARMED:packsize() + 16
local FILES_AT = FUNCTIONS_AT + FUNCTIONS * FUNCTION:packsize()
local SITES_AT = FILES_AT + FILES * FILE

local methods = {}
local metatable = { __index = methods, __name = "spec.sites" }

local function with(f, path)
  f:setvbuf "no"
  return setmetatable({ file = f, path = path }, metatable)
end

-- The board for a program that is about to start, in a file of that name.
function M.make(path)
  local f = assert(io.open(path, "w+b"))
  f:write(("\0"):rep(SIZE))
  return with(f, path)
end

-- That of a program that runs.
function M.open(path) return with(assert(io.open(path, "r+b")), path) end

function methods:read(at, size)
  self.file:seek("set", at)
  return self.file:read(size)
end

function methods:write(at, text)
  self.file:seek("set", at)
  self.file:write(text)
end

-- ---- functions ----

-- Number from 0 on and name of each that can fail.
function methods:functions()
  if not self.names then
    self.names = {}
    for i = 0, FUNCTIONS - 1 do
      local name = self:read(FUNCTIONS_AT + i * FUNCTION:packsize(), 24):match "^[^\0]+"
      self.names[i] = name
    end
  end
  assert(self.names[0], "nothing runs under spec/shim/sites.c")
  return self.names
end

local function function_at(number)
  return FUNCTIONS_AT + number * FUNCTION:packsize() + 24
end

-- From now on the n-th call of that function, and each step-th after it, fails so;
-- without a code none does.
function methods:arm_function(number, code, n, step)
  self:write(function_at(number), ("i8" .. ARM):pack(0, n or 0, step or 0,
    code and M.errors[code] or 0, 0, 0))
end

-- How often it has been called since, and how often it has failed.
function methods:function_counts(number)
  local size = ("i8" .. ARM):packsize()
  local calls, _, _, _, _, failed = ("i8" .. ARM):unpack(self:read(function_at(number),
    size))
  return calls, failed
end

-- ---- sites ----

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
  local functions = self:functions()
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

-- From now on the n-th call of that site, and each step-th after it (when it is below
-- 0, so many behind it), fails so. which: 1, or up to 3 for others at the same time.
function methods:arm(site, code, n, step, which)
  local at = ((which or 1) - 1) * ARMED:packsize()
  self:write(at, ARMED:pack(0, n, step or 0, M.errors[code], 0, 0))
  self:write(at, ("I8"):pack(site.key))
end

-- How often it has been called since, and how often it has failed.
function methods:counts(which)
  local size = ARMED:packsize()
  local _, _, _, _, seen, failed = ARMED:unpack(self:read(((which or 1) - 1) * size,
    size))
  return seen, failed
end

-- None fails any more.
function methods:disarm()
  for i = 0, ARMS - 1 do self:write(i * ARMED:packsize(), ("I8"):pack(0)) end
end

-- The keys of all that have ever been called.
function methods:keys()
  local keys, size = {}, SITE:packsize()
  local block = self:read(SITES_AT, SITES * size)
  for at = 1, SITES * size, size do
    local key = ("I8"):unpack(block, at)
    if key ~= 0 then keys[key] = true end
  end
  return keys
end

function methods:close() self.file:close() end

-- ---- the program ----

-- offset -> "file:line function", of those offsets in the program. Where libc's headers
-- are inlined, that is the function that they are inlined in.
function M.places(program, list)
  local names = {}
  if #list == 0 then return names end
  local path = os.tmpname()
  local f = assert(io.open(path, "w"))
  -- The call stands before where it returns to.
  for _, offset in ipairs(list) do f:write(("0x%x\n"):format(offset - 1)) end
  f:close()
  local pipe = assert(io.popen(("addr2line -a -i -f -s -e %s @%s"):format(program,
    path)))
  local offset, name
  for line in pipe:lines() do
    local at = line:match "^0x(%x+)$"
    if at then
      offset, name = tonumber(at, 16) + 1, nil
    elseif not name then
      name = line
    else
      local known = names[offset]
      if not known or known:find "^%w+2?%.h" then
        names[offset] = ("%s %s"):format(line:match "^%S+", name)
      end
      name = nil
    end
  end
  pipe:close()
  os.remove(path)
  return names
end

-- Every call of the program's that the shim can have fail: offset -> function.
function M.all(program)
  local alias = { __asprintf_chk = "vasprintf", asprintf = "vasprintf",
    __poll_chk = "poll", __ppoll_chk = "ppoll", __open_2 = "open", openat64 = "openat",
    __openat_2 = "openat", __realpath_chk = "realpath", open64 = "open" }
  local kinds = setmetatable({ syscall = true }, { __index = M.kinds })
  local found, pending = {}, nil
  local pipe = assert(io.popen("objdump -d --no-show-raw-insn " .. program))
  for line in pipe:lines() do
    local at = line:match "^%s+(%x+):"
    if at then
      if pending then
        found[tonumber(at, 16)] = pending
        pending = nil
      end
      local name = line:match "call%s.*<([%w_]+)@"
      name = name and (alias[name] or name)
      if name and kinds[name] then pending = name end
    end
  end
  pipe:close()
  return found
end

-- The environment in which the program runs under the shim, with the board in that
-- file.
function M.environment(program, path)
  local shim = program:match "^(.*)/" .. "/sites.so"
  assert(io.open(shim), "make spec builds " .. shim):close()
  local environment = { LD_PRELOAD = shim, SITES = path }
  -- To make the directory of a report they would call the shim before it can be ready:
  -- what they have to say is on stderr, where it is looked for.
  for _, name in ipairs { "ASAN_OPTIONS", "LSAN_OPTIONS", "UBSAN_OPTIONS" } do
    environment[name] = (os.getenv(name) or ""):gsub("log_path=[^:]*:?", "")
  end
  environment.ASAN_OPTIONS = environment.ASAN_OPTIONS .. ":verify_asan_link_order=0"
  return environment
end

return M
