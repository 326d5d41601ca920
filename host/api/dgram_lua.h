/* Datagrams: net.udp, over IPv4, IPv6 or a unix socket, bound, connected, both or
 * neither. Without an address the socket is made for the family of the first one that
 * it is given.
 *
 * A datagram comes whole or not at all. The thread that the state is on. */
#ifndef API_DGRAM_LUA_H
#define API_DGRAM_LUA_H

#include <lua.h>

/* Makes the metatable. */
int luaopen_atoll_dgram(lua_State *L);

/* net.udp([address[, options]]) */
int dgram_udp(lua_State *L);

#endif
