/* atoll.port: the receiving end of messages, and the notes that come with them, by
 * which a call is answered. A port is read in the state that made it, and closed with
 * it.
 *
 * A note that is dropped without an answer tells so to who asked. The isolate's thread.
 */
#ifndef API_PORT_LUA_H
#define API_PORT_LUA_H

#include "isolate/port.h"

#include <lua.h>

/* Pushes the receiving end of p, whose receiver this state becomes; p keeps the
 * reference that the caller has, and gets another. luaopen_atoll_core_port was called.
 */
void port_adopt(lua_State *L, struct port *p);

/* A table with port, register and lookup. */
int luaopen_atoll_core_port(lua_State *L);

#endif
