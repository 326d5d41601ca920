/* atoll.core.topic: topics and subscriptions. A string that many fibers of a state read
 * is made once for all of them; tables are made anew for each.
 *
 * The thread that the state is on. */
#ifndef API_TOPIC_LUA_H
#define API_TOPIC_LUA_H

#include <lua.h>

struct topic;

/* A reference to the topic that the argument is, or names. */
struct topic *topic_of_argument(lua_State *L, int index);

/* A table: topic(name) -> topic. */
int luaopen_atoll_core_topic(lua_State *L);

#endif
