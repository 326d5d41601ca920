/* atoll.core.ws_client: what the client's side of a WebSocket's handshake has in C. The
 * rest, which is the way to the server, is atoll.websocket, in Lua.
 *
 * The thread that the state is on. */
#ifndef API_WS_CLIENT_LUA_H
#define API_WS_CLIENT_LUA_H

#include <lua.h>

int luaopen_atoll_core_ws_client(lua_State *L);

#endif
