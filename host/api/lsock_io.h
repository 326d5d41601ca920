/* Reading and writing the byte streams among LuaSocket's sockets, by its rules: what
 * came before an error is handed out with it, once; a prefix counts toward the wanted
 * length; a write's result is the index of the last byte that was sent.
 *
 * A pattern is looked for in the socket's own buffer, which grows as far as it must, so
 * that a wait that is cancelled has lost nothing. The thread that the state is on. */
#ifndef API_LSOCK_IO_H
#define API_LSOCK_IO_H

#include "api/lsock.h"

/* Methods of a client: receive([pattern[, prefix]]), send(data[, i[, j]]), getstats,
 * setstats. The caller has checked argument 1. */
int lsock_receive(lua_State *L, struct lsock *s);
int lsock_send(lua_State *L, struct lsock *s);
int lsock_getstats(lua_State *L, struct lsock *s);
int lsock_setstats(lua_State *L, struct lsock *s);
int lsock_shutdown(lua_State *L, struct lsock *s);

/* accept() of a server: the new socket is of that class. */
int lsock_accept(lua_State *L, struct lsock *s, enum lsock_class class);

/* listen([backlog]): becomes one of that class. */
int lsock_listen(lua_State *L, struct lsock *s, enum lsock_class class);

#endif
