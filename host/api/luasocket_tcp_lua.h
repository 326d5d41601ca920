/* tcp(), tcp4(), tcp6() and connect() of socket.core, and the classes tcp{master},
 * tcp{client} and tcp{server}. The thread that the state is on. */
#ifndef API_LUASOCKET_TCP_LUA_H
#define API_LUASOCKET_TCP_LUA_H

#include <lua.h>

/* Makes the classes and adds the functions to the table on top. */
void luasocket_open_tcp(lua_State *L);

#endif
