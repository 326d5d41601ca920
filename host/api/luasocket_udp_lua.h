/* udp(), udp4() and udp6() of socket.core, and the classes udp{unconnected} and
 * udp{connected}. The thread that the state is on. */
#ifndef API_LUASOCKET_UDP_LUA_H
#define API_LUASOCKET_UDP_LUA_H

#include <lua.h>

/* Makes the classes and adds the functions to the table on top. */
void luasocket_open_udp(lua_State *L);

#endif
