/* atoll.core.spawn: this program as a child, for specs that want a real host.
 *
 * spawn{"serve", dir, ...} -> child, or nil, message, code; child.pid;
 * child:line(seconds) the next line of its stderr, nil at its end or when none comes in
 * time; child:signal("HUP"); child:wait(seconds) its exit code (128 + n for a signal),
 * nil in time. A child that is forgotten is killed. These block. The isolate's thread.
 */
#ifndef API_SPAWN_LUA_H
#define API_SPAWN_LUA_H

#include <lua.h>

int luaopen_atoll_core_spawn(lua_State *L);

#endif
