/* atoll.core.shared: dictionaries that all isolates see. lua/atoll/shared.lua makes
 * atoll.shared of it and adds update, which calls Lua and so has no place here.
 *
 * Values are copied in and out; strings, numbers and booleans as they are, tables by
 * pack. No function waits. The thread that the state is on. */
#ifndef API_SHARED_LUA_H
#define API_SHARED_LUA_H

#include <lua.h>

/* A table: open(name[, bytes]) -> dictionary, the same for the same name; the methods
 * that dictionaries have; capacity_min. */
int luaopen_atoll_core_shared(lua_State *L);

#endif
