/* atoll.core.serve: an app of a script, or of any other Lua code, served on a listener
 * of atoll.net by the same engine that serves an app directory.
 *
 * serve(listener, compiled) has a front of its own, which accepts on a clone of the
 * listener's socket, and returns when the listener was closed and all is answered. When
 * its fiber is cancelled, or its state closed, nothing more is accepted; requests in
 * flight are answered as long as the state lives. The isolate's thread. */
#ifndef API_SERVE_LUA_H
#define API_SERVE_LUA_H

#include <lua.h>

int luaopen_atoll_core_serve(lua_State *L);

#endif
