/* atoll.core.http: what the HTTP client, which is written in Lua, has in C: the readers
 * of answers (answer_lua), the head of a request, and places in a queue.
 *
 * `head(method, target, defaults, fields, body)` makes the text of a head and lets
 * nothing through that could end a line. `place()` makes a place to wait at: `wait`
 * parks the fiber until somebody calls `call`, or until the time is over.
 *
 * The thread that the state is on. */
#ifndef API_HTTP_LUA_H
#define API_HTTP_LUA_H

#include <lua.h>

int luaopen_atoll_core_http(lua_State *L);

#endif
