/* atoll.spawn and atoll.timeout, and with them atoll.sleep and atoll.now.
 *
 * A task is the handle of a spawned fiber; each knows the other until the fiber ends,
 * and the handle keeps its outcome. It may be joined by any number of fibers. A task
 * that fails while nobody joins it is logged, unless task:quiet() was called. The
 * isolate's thread. */
#ifndef API_TASK_LUA_H
#define API_TASK_LUA_H

#include <lua.h>

/* A table with the functions. */
int luaopen_atoll_task(lua_State *L);

#endif
