/* Listeners: accept one connection, or serve all of them, each in a fiber of its own. A
 * listener may be transferred (cargo.h), and by its reference others be made that
 * accept on clones of its socket.
 *
 * When descriptors or memory have run out it is said once in the log, and accepting
 * goes on a tenth of a second later. The thread that the state is on. */
#ifndef API_LISTENER_LUA_H
#define API_LISTENER_LUA_H

#include <lua.h>

/* Makes the metatable. */
int luaopen_atoll_listener(lua_State *L);

/* The argument's descriptor, or -1 when it is closed. Raises unless it is a listener.
 */
int listener_descriptor(lua_State *L, int index);

/* What its connections speak; NULL for plain ones. */
struct tls_ctx *listener_tls(lua_State *L, int index);

/* Parks until the listener at index is closed, then k. Only one fiber may. */
int listener_await_close(lua_State *L, int index, lua_KFunction k,
                         lua_KContext context);

/* net.listen(address[, options]) */
int listener_listen(lua_State *L);

/* net.listener(reference) */
int listener_clone(lua_State *L);

#endif
