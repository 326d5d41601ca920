-- Certificates for specs, made with the openssl program: two authorities, and what they
-- have signed for server.test and 127.0.0.1. And that program's own server and client.
local atoll = require "atoll"
local uv = require "luv"

local M = {}

local made, processes = nil, {}

local KEY = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes"

local function run(dir, format, ...)
  local command = format:format(...)
  local pipe = assert(io.popen(("cd %s && openssl %s 2>&1"):format(dir, command)))
  local out = pipe:read "a"
  assert(pipe:close(), out)
end

-- Names of files: ca, other (an authority that nobody trusts), server, expired, client,
-- and key, which goes with these three. Made once.
function M.make()
  if made then return made end
  local dir = assert(uv.fs_mkdtemp((os.getenv "TMPDIR" or "/tmp") .. "/atoll-XXXXXX"))
  local f = assert(io.open(dir .. "/ext", "w"))
  f:write "subjectAltName=DNS:server.test,IP:127.0.0.1\n"
  f:close()
  for _, name in ipairs { "ca", "other" } do
    run(dir, "req -x509 %s -keyout %s.key -out %s -days 2 -subj '/CN=%s of a spec'",
      KEY, name, name, name)
  end
  run(dir, "req %s -keyout key -out csr -subj /CN=server.test", KEY)
  for name, days in pairs { server = 2, expired = -1, client = 2 } do
    run(dir, "x509 -req -in csr -CA ca -CAkey ca.key -CAcreateserial -out %s -days %d"
      .. " -extfile ext", name, days)
  end
  made = { dir = dir }
  for _, name in ipairs { "ca", "other", "server", "expired", "client", "key" } do
    made[name] = dir .. "/" .. name
  end
  return made
end

-- Lets fibers and luv run until fn returns something.
function M.wait(what, fn)
  local deadline = atoll.now() + 60
  repeat
    uv.run "nowait"
    local result = fn()
    if result then return result end
    atoll.sleep(0.002)
  until atoll.now() > deadline
  error("waited in vain for " .. (type(what) == "function" and what() or what), 2)
end

local methods = {}

-- Waits until the program has said that (a pattern); its capture.
function methods:wait(pattern)
  return M.wait(function() return ("%q in %s"):format(pattern, self.out) end,
    function() return self.out:match(pattern) end)
end

function methods:send(text) self.stdin:write(text) end

-- Ends its input.
function methods:finish() self.stdin:close() end

-- Waits for its end.
function methods:ended()
  return M.wait(function() return "the end of\n" .. self.out end, function()
    return self.code
  end)
end

-- Starts openssl with these arguments; out is all that it says.
function M.openssl(arguments)
  local p = setmetatable({ out = "", stdin = uv.new_pipe() }, { __index = methods })
  local pipes = { uv.new_pipe(), uv.new_pipe() }
  local list = {}
  for word in arguments:gmatch "%S+" do list[#list + 1] = word end
  p.handle = assert(uv.spawn("openssl", { args = list,
    stdio = { p.stdin, pipes[1], pipes[2] } }, function(code)
    p.code = code
    p.handle:close()
  end))
  for _, pipe in ipairs(pipes) do
    pipe:read_start(function(_, data)
      if data then p.out = p.out .. data else pipe:close() end
    end)
  end
  processes[#processes + 1] = p
  return p
end

-- Ends all that was started; for after_each.
function M.finish()
  for _, p in ipairs(processes) do
    if not p.code then p.handle:kill "sigkill" end
    if not p.stdin:is_closing() then p.stdin:close() end
    p:ended()
  end
  processes = {}
  for _ = 1, 3 do uv.run "nowait" end
end

-- Removes the files.
function M.remove()
  if made then os.execute("rm -r " .. made.dir) end
  made = nil
end

return M
