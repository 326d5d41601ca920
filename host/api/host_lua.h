/* atoll.core.host: what the Lua half needs of the host and its files: listing
 * directories, percent-encoding, the log, who and where it is.
 *
 * The file functions block; they are for loading an app, and for the small files that
 * it serves itself. The isolate's thread, or the loader's. */
#ifndef API_HOST_LUA_H
#define API_HOST_LUA_H

#include <lua.h>

int luaopen_atoll_core_host(lua_State *L);

#endif
