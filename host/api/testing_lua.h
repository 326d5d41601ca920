/* atoll.core.testing: an app loaded beside the program that tests it, in a Lua state of
 * its own on the same isolate, and asked through a connection that lives in memory; so
 * the same parser, limits, router and handlers answer as in a host.
 *
 * load(dir) -> harness, or nil, message. harness:exchange(bytes) -> bytes waits until
 * the app has closed the connection. harness:close(). The isolate's thread. */
#ifndef API_TESTING_LUA_H
#define API_TESTING_LUA_H

#include <lua.h>

int luaopen_atoll_core_testing(lua_State *L);

#endif
