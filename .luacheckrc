-- luacheck 1.1 and later; `make check` runs it over every Lua file here.
std = "lua54"
max_line_length = 88
codes = true
cache = false
exclude_files = { "build/" }

-- Specs describe and it.
files["spec"] = { std = "+busted" }
files["apps/*/spec"] = { std = "+busted" }

-- Runs in nginx.
files["contrib/bench/peers/nginx-lua"] = { std = "+ngx_lua" }

-- Stubs for editors: bodies are empty and parameters are only declared.
files["lua/atoll/types"] = { ignore = { "211", "212", "241", "631" } }
