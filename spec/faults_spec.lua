-- System calls of sockets that fail, each kind in turn, many times in a run: who called
-- is told, nobody else is hurt, and nothing is left behind.
local host = require "support.host"

local program = assert(os.getenv "ATOLL", "ATOLL must name the program")

local faults = {
  "accept4 EINTR", "accept4 ECONNABORTED", "accept4 EMFILE", "accept4 EPERM",
  "bind EADDRINUSE", "connect ECONNREFUSED", "connect ETIMEDOUT",
  "getpeername ENOTCONN", "getsockname ENOBUFS", "getsockopt ENOBUFS",
  "listen EADDRINUSE", "recvfrom EINTR", "recvfrom ECONNRESET", "recvfrom ENOMEM",
  "sendto EINTR", "sendto ECONNRESET", "sendto ENOBUFS", "sendto EPIPE",
  "setsockopt ENOPROTOOPT", "socket EMFILE", "socket ENOBUFS",
}

-- Leaks are looked for without strace only.
local command = "ASAN_OPTIONS=$ASAN_OPTIONS:detect_leaks=0 timeout 120 strace -f -q "
  .. "--seccomp-bpf -o /dev/null -e trace=%s -e inject=%s:error=%s:when=%s "
  .. "%s run spec/apps/faults/script.lua %s %d 2>&1"

-- A container may forbid it; net_faults_spec then has to do.
local traces = os.execute "strace -f -q --seccomp-bpf -o /dev/null true 2>/dev/null"

describe("a system call that fails", function()
  if not traces then
    pending "is not tried: strace may not trace here"
    return
  end
  after_each(host.finish)

  -- What the script says last.
  local function run(call, code, when)
    local dir = host.directory {}
    local pipe = io.popen(command:format(call, call, code, when, program, dir, 8))
    local out = pipe:read "a"
    local ok, how, status = pipe:close()
    assert(ok, ("%s %s at %s: %s %s\n%s"):format(call, code, when, how, status, out))
    local right, failed, ticks =
      out:match "(%d+) right, (%d+) failed, (%d+) ticks, 0 descriptors more\n$"
    assert(right, out)
    return tonumber(right), tonumber(failed), tonumber(ticks)
  end

  it("is none at first", function()
    local right, failed = run("getpid", "EPERM", "60000")
    assert.same({ 72, 0 }, { right, failed })
  end)

  for _, fault in ipairs(faults) do
    it(fault .. " hurts only who called", function()
      local call, code = fault:match "^(%w+) (%w+)$"
      local right, failed, ticks = run(call, code, "2+5")
      assert.is_true(right > 0 and ticks > 0)
      if code == "EINTR" then assert.equal(0, failed) end
    end)
  end
end)
