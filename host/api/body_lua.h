/* The body of a request as Lua reads it: whole, in pieces, and what trails behind it.
 *
 * What has come is taken from the exchange; who wants more waits, and only then is the
 * client asked for it. A body that cannot be had is answered as its status says. The
 * isolate's thread. */
#ifndef API_BODY_LUA_H
#define API_BODY_LUA_H

#include <lua.h>

/* Adds text, read and chunks to the table on top: the methods of requests. */
void body_open(lua_State *L);

/* Pushes the trailers of the request at index 1: a table by names in small letters, nil
 * before the end of the body. As a field of req. */
int body_trailers(lua_State *L);

#endif
