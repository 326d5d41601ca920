/* LuaSocket's sockets and the addresses of the internet: connecting to a name, address
 * after address; binding; what getsockname and getpeername tell.
 *
 * With a time limit of 0 only what is on its way at once succeeds, but a name is still
 * waited for, as LuaSocket does. The thread that the state is on. */
#ifndef API_LSOCK_INET_H
#define API_LSOCK_INET_H

#include "api/lsock.h"

#include <sys/socket.h>

/* The end of an operation: err is 0, negative errno or one of err.h. */
typedef int lsock_done(lua_State *L, int err);

/* Connects the socket at index 1 to a host and a port or service, then calls done, now
 * or after waiting, with what was on the stack at its place. type: SOCK_STREAM or
 * SOCK_DGRAM. */
int lsock_connect(lua_State *L, const char *host, const char *port, int type,
                  lsock_done *done);

/* Binds it; host "*" is any address. */
int lsock_bind(lua_State *L, const char *host, const char *port, int type,
               lsock_done *done);

/* A literal address; 0 or ERR_NOT_FOUND. family may be AF_UNSPEC. */
int lsock_literal(const char *host, const char *port, int family,
                  struct sockaddr_storage *to, socklen_t *len);

/* A number, or a service of /etc/services; negative when there is none. */
int lsock_port(const char *text, int type);

/* Methods: host, port (of the own end a string, as LuaSocket has it), family. */
int lsock_getsockname(lua_State *L, struct lsock *s);
int lsock_getpeername(lua_State *L, struct lsock *s);
int lsock_getfamily(lua_State *L, struct lsock *s);

/* Pushes the address and returns true, or pushes nil and a text. The port, in host
 * order, in *port. */
bool lsock_push_address(lua_State *L, const struct sockaddr_storage *at, socklen_t len,
                        int *port);

/* Pushes the path of a unix address, empty when it has none. */
void lsock_push_path(lua_State *L, const struct sockaddr_storage *at, socklen_t len);

#endif
