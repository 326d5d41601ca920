/* atoll.port: the receiving end of messages, and the notes that come with them, by
 * which a call is answered. A port is read in the state that made it, and closed with
 * it.
 *
 * A note that is dropped without an answer tells so to who asked. The isolate's thread.
 */
#ifndef API_PORT_LUA_H
#define API_PORT_LUA_H

#include <lua.h>

/* A table with `port`. */
int luaopen_atoll_core_port(lua_State *L);

#endif
