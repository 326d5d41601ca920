/* What a handler returned into a response (INTERFACE 3), and `res` for those who prefer
 * it. Everything here runs inside the request's fiber: it may raise, and it waits while
 * a slow client takes a long body.
 *
 * Response objects (atoll.html and the like) are tables with the metatable
 * "atoll.response"; halts are tables with "atoll.halt". The isolate's thread. */
#ifndef API_RESPONSE_LUA_H
#define API_RESPONSE_LUA_H

#include "api/request_lua.h"

#define RESPONSE_TEXT SPAN("text/plain; charset=utf-8")

/* A response in the making; indices are of the Lua stack, 0 for none. */
struct answer {
    int status;
    int body;
    int headers;      /* a table */
    struct span type; /* Content-Type */
};

/* A lua_CFunction body: the n values on top of the stack are what the handler returned,
 * index 1 is the request. Sends the response; `return response_send(L, n);`. */
int response_send(lua_State *L, int n);

/* True when the value at index is a halt. */
bool response_is_halt(lua_State *L, int index);

/* Pushes an empty response object. */
void response_new(lua_State *L);

/* Raises a halt with that status and text. */
int response_halt(lua_State *L, int status, const char *text);

/* ---- for res; index 1 is the request ---- */

/* The status, which has to be one that a handler may answer with; raises. */
int response_status(lua_State *L, lua_Integer status);
/* Adds the fields of res, then the answer's own, which win; raises. */
void response_prepare(lua_State *L, struct request *r, struct answer *a);
/* length as for exchange_head; raises, but not when the client is gone. */
void response_head(lua_State *L, struct request *r, const struct answer *a,
                   int64_t length);

/* The answer is complete: its trailers, and the end; raises. */
void response_end(lua_State *L, struct request *r);

/* `return` this after a piece of the body was taken in part: for the client, or only
 * for the others' turn. */
int response_wait(lua_State *L, struct request *r, enum io io, lua_KFunction k,
                  lua_KContext context);

int luaopen_atoll_core_response(lua_State *L);

#endif
