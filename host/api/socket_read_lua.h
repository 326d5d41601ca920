/* Reading from a socket: so many bytes, whatever is there, a line, all up to a text or
 * to the end. What has come and is not part of the answer stays for the next read,
 * also when the wait ends without an answer.
 *
 * Most often nothing is kept at all: bytes go from the loop's buffer into a Lua string.
 * The thread that the state is on. */
#ifndef API_SOCKET_READ_LUA_H
#define API_SOCKET_READ_LUA_H

#include <lua.h>

/* Methods of a socket. */
int socket_read(lua_State *L);
int socket_read_until(lua_State *L);
int socket_lines(lua_State *L);

#endif
