-- Sites that the sweep cannot make fail, or not so that anything would come of it:
-- their file and function, and what they call -> why.
local M = {}

local function excuse(why, list)
  for _, site in ipairs(list) do M[site] = why end
end

excuse("known to the program alone: the kernel has no reason to fail", {
  "host.c signalled: read", "log_writer.c rest: read",
  "log_writer.c signal_writer: write", "loop.c loop_put_done: write",
  "loop.c sleeping: write", "loop.c woken: read", "supervisor.c read_signals: read",
  "timer.c expired: read",
})
excuse("taking something out of an epoll needs nothing", {
  "loop.c loop_exclusive: epoll_ctl", "loop.c loop_forget: epoll_ctl",
})
excuse("inlined many times: the same code fails elsewhere", {
  "arena.c arena_alloc: malloc", "buf.c buf_grow: malloc",
})
excuse("only in a process that ends for a broken invariant", {
  "check.c check_failed: write",
})
excuse("Lua's own, in whose place is one of ours", {
  "liolib.o io_popen: popen", "loslib.o os_execute: system",
})
excuse("Lua's own, for chunks that are compiled, which nothing loads", {
  "?? luaL_loadfilex: freopen64",
})
excuse("only for a config that is no file, which is told anyway", {
  "settings_read.c slurp: close",
})
excuse("only in file systems that do not say what an entry is", {
  "disk.c type_of: fstatat",
})
excuse("only at the very moment in which an isolate or a state ends", {
  "front.c take_over: close", "litter.c discard: unlink",
})
excuse("only while a terminal or a pipe accepts nothing for a while", {
  "fd.c fd_write_all: poll",
})

return M
