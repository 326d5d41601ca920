/* atoll.stdin, stdout and stderr: the program's own three descriptors as sockets, read
 * and written by fibers that wait.
 *
 * Whoever started the program may use the same open files, so O_NONBLOCK is never set
 * on them: pipes and terminals are opened anew, sockets are asked not to wait for each
 * call, and what can be neither is looked at before each call. Regular files never
 * wait. The thread that the state is on. */
#ifndef API_STDIO_LUA_H
#define API_STDIO_LUA_H

#include <lua.h>

/* A table with stdin, stdout and stderr: functions that make one. */
int luaopen_atoll_stdio(lua_State *L);

#endif
