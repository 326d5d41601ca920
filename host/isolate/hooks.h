/* debug.sethook and debug.gethook as the program knows them, beside what the host does
 * with hooks (preempt.h): ours is never told of, and theirs is never lost.
 *
 * A hook that counts many instructions is called by one that counts fewer, for whatever
 * puts a hook aside makes it begin to count again. The thread that the state is on. */
#ifndef ISOLATE_HOOKS_H
#define ISOLATE_HOOKS_H

#include <lua.h>

int luaopen_atoll_hooks(lua_State *L);

#endif
