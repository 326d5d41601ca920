/* socket.dns: names and addresses, never blocking the isolate. Names are resolved as
 * everywhere in the host; an address' name is known from the hosts file only.
 * The thread that the state is on. */
#ifndef API_LUASOCKET_DNS_LUA_H
#define API_LUASOCKET_DNS_LUA_H

#include <lua.h>

/* Adds the field dns to the table on top. */
void luasocket_open_dns(lua_State *L);

#endif
