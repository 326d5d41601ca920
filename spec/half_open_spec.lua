-- Clients that vanish: without a FIN, without a reset. The packets are dropped by the
-- kernel, in a network of their own, which takes a kernel that lets us have one.
describe("half-open connections", function()
  it("are noticed in every state", function()
    local program = os.getenv "ATOLL" or "build/release/atoll"
    local inside = ("unshare -r -n sh -c 'ip link set lo up && %s'")
    if not os.execute(inside:format "iptables -L" .. " >/dev/null 2>&1") then
      pending "needs unshare, ip, iptables, and user namespaces"
      return
    end
    local pipe = io.popen(inside:format(program .. " test spec/inner/vanished.lua")
      .. " 2>&1")
    local text = pipe:read "a"
    assert(pipe:close(), text)
    assert.truthy(text:find "%d successes / 0 failures / 0 errors / 0 pending",
      text)
  end)
end)
