/* atoll.channel(n): values from fiber to fiber of this isolate, in the order in which
 * they were sent; a sender waits while n of them have not been received, with 0 until
 * somebody takes its own.
 *
 * After close() what was sent can still be received. nil cannot be sent: it is the end.
 * The isolate's thread. */
#ifndef API_CHANNEL_LUA_H
#define API_CHANNEL_LUA_H

#include <lua.h>

/* The function that makes one. */
int luaopen_atoll_channel(lua_State *L);

#endif
