/* atoll.semaphore(n): at most n fibers of this isolate at a time; the others stand in
 * line.
 *
 * acquire gives the semaphore itself, which as a to-be-closed variable releases. The
 * isolate's thread. */
#ifndef API_SEMAPHORE_LUA_H
#define API_SEMAPHORE_LUA_H

#include <lua.h>

/* The function that makes one. */
int luaopen_atoll_semaphore(lua_State *L);

#endif
