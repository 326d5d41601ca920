-- `atoll test`: busted inside the host, so that specs may wait. It is the main chunk of
-- the first isolate; its arguments are busted's.
return function(...)
  rawset(_G, "arg", { [0] = "atoll test", ... })
  local found, runner = pcall(require, "busted.runner")
  if not found then
    io.stderr:write("atoll: test needs busted for Lua 5.4 (Debian: lua-busted): ",
      tostring(runner):match("^[^\n]*"), "\n")
    os.exit(69)
  end
  runner({ standalone = false })
end
