/* The one table of the modules that C gives to Lua: each opens when it is first
 * required.
 *
 * libs_preload puts them all into package.preload. The thread that the state is on. */
#ifndef API_LIBS_H
#define API_LIBS_H

#include <lua.h>

/* May raise. */
void libs_preload(lua_State *L);

int luaopen_atoll_fs(lua_State *L);
int luaopen_atoll_json(lua_State *L);
int luaopen_cjson(lua_State *L);
int luaopen_cjson_safe(lua_State *L);
int luaopen_atoll_core_crypto(lua_State *L);
int luaopen_atoll_core_blocking(lua_State *L);
int luaopen_atoll_core_host(lua_State *L);
int luaopen_atoll_core_isolate(lua_State *L);
int luaopen_atoll_core_password(lua_State *L);
int luaopen_atoll_core_port(lua_State *L);
int luaopen_atoll_core_request(lua_State *L);
int luaopen_atoll_core_response(lua_State *L);
int luaopen_atoll_channel(lua_State *L);
int luaopen_atoll_script(lua_State *L);
int luaopen_atoll_semaphore(lua_State *L);
int luaopen_atoll_stdio(lua_State *L);
int luaopen_atoll_task(lua_State *L);
int luaopen_atoll_ticker(lua_State *L);
int luaopen_atoll_core_shared(lua_State *L);
int luaopen_atoll_core_topic(lua_State *L);
int luaopen_atoll_core_spawn(lua_State *L);
int luaopen_atoll_core_testing(lua_State *L);
int luaopen_atoll_core_fd(lua_State *L);
int luaopen_socket_core(lua_State *L);
int luaopen_socket_unix(lua_State *L);

#endif
