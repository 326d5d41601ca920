/* Datagrams of LuaSocket's sockets, of the internet and of unix. The thread that the
 * state is on. */
#ifndef API_LSOCK_DGRAM_H
#define API_LSOCK_DGRAM_H

#include "api/lsock.h"

#include <sys/socket.h>

enum { LSOCK_DATAGRAM = 8192 }; /* what receive takes unless it is told */

/* send(data) of a connected one. */
int lsock_send_datagram(lua_State *L, struct lsock *s);

/* One try of sendto, the data being argument 2: 0, -EAGAIN, or the error. */
int lsock_try_sendto(lua_State *L, struct lsock *s, const struct sockaddr_storage *to,
                     socklen_t len);

/* What sendto and send answer: the length of argument 2, or nil and a text. */
int lsock_datagram_sent(lua_State *L, int err);

/* receive([size]): a datagram, cut off at that size; receivefrom also gives where it
 * came from: host and port, or a path. */
int lsock_receive_datagram(lua_State *L, struct lsock *s);
int lsock_receivefrom_inet(lua_State *L, struct lsock *s);
int lsock_receivefrom_unix(lua_State *L, struct lsock *s);

#endif
