return {
  title = "nginx-lua",
  from = "Debian: nginx-extras lua-nginx-websocket lua-resty-core lua-cjson",
  version = "ls /usr/lib/nginx/modules/ngx_http_lua_module.so "
    .. "/usr/share/lua/5.1/nginx/websocket/server.lua >/dev/null && "
    .. "nginx -v 2>&1 | sed 's/.*nginx.//'",
  set = "worker_processes; access_log off, else buffered; keepalive_requests without "
    .. "end; reuseport where workers are two; sendfile, tcp_nopush; upstream with "
    .. "keepalive; handlers in content_by_lua, the code cache on",
  prepare = true,
  reload = "sighup",
  quit = "sigquit",
  count = true,
}
