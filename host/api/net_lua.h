/* atoll.net: connect, listen, udp and resolve. Here is connecting: a look-up, as many
 * attempts as there are addresses, one time limit for all of it.
 *
 * What is under way belongs to a userdata that is closed when its fiber leaves, in
 * whatever way. The thread that the state is on. */
#ifndef API_NET_LUA_H
#define API_NET_LUA_H

#include <lua.h>

int luaopen_atoll_net(lua_State *L);

#endif
