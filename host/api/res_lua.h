/* `res`, for handlers that build their response step by step: res.status, res.headers,
 * res:write(chunk), res:finish(). It belongs to a request and lasts as long.
 *
 * What is set here counts for whatever the handler returns; after the first write the
 * head is on its way. write waits while the client is slow. The isolate's thread. */
#ifndef API_RES_LUA_H
#define API_RES_LUA_H

#include <lua.h>

/* Pushes the `res` of the request at index. */
void res_push(lua_State *L, int index);

/* Pushes the request of the `res` at index. */
void res_request(lua_State *L, int index);

/* Pushes the table of methods, to which Lua adds its own. */
int luaopen_atoll_core_res(lua_State *L);

#endif
