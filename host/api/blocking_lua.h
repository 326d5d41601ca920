/* What lua/atoll/blocking.lua needs of C: packing what a call carries, the errand to a
 * thread of the pool, functions as code.
 *
 * In the module's table `waits` tells whether there is a pool to go to: otherwise,
 * while an app loads or in a function that runs in the pool already, the function is
 * called where it is. The thread that the state is on. */
#ifndef API_BLOCKING_LUA_H
#define API_BLOCKING_LUA_H

#include <lua.h>

int luaopen_atoll_core_blocking(lua_State *L);

#endif
