/* atoll.isolate: spawning isolates, and what their parent can do with them.
 *
 * A handle belongs to the state that spawned the isolate and lives at least until that
 * has ended; its last words come to a port of the handle's own. With the parent's state
 * all its children end, but those that are detached. The isolate's thread. */
#ifndef API_ISOLATE_LUA_H
#define API_ISOLATE_LUA_H

#include <lua.h>
#include <stdbool.h>

/* Pushes the sender of the inbox if the value at index is a handle of spawn. */
bool isolate_push_sender(lua_State *L, int index);

/* A table with spawn, inbox, name, and methods: the class of handles, for the Lua half
 * to add to. */
int luaopen_atoll_core_isolate(lua_State *L);

#endif
