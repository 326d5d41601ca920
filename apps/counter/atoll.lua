return {
  compat_path = true, -- Debian has the client for Lua 5.1 only,
  compat = "ngx", -- and it wants OpenResty's sockets
}
