/* What a handler returned into a response (INTERFACE 3), and `res` for those who prefer
 * it. Everything here runs inside the request's fiber: it may raise, and it waits while
 * a slow client takes a long body.
 *
 * Response objects (atoll.html and the like) are tables with the metatable
 * "atoll.response"; halts are tables with "atoll.halt". The isolate's thread. */
#ifndef API_RESPONSE_LUA_H
#define API_RESPONSE_LUA_H

#include "api/request_lua.h"

/* A lua_CFunction body: the n values on top of the stack are what the handler returned,
 * index 1 is the request. Sends the response; `return response_send(L, n);`. */
int response_send(lua_State *L, int n);

/* Pushes the `res` of the request at index. */
void response_push(lua_State *L, int index);

/* True when the value at index is a halt. */
bool response_is_halt(lua_State *L, int index);

/* Raises a halt with that status and text. */
int response_halt(lua_State *L, int status, const char *text);

int luaopen_atoll_core_response(lua_State *L);

#endif
