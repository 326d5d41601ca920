/* A socket as Lua sees it: the methods, and how C code makes one and gets at the
 * struct sock behind it.
 *
 * The userdata is a box with a pointer to the sock, NULL when it is closed. A closed
 * socket answers nil, "closed", "ECLOSED"; one that was transferred (cargo.h) raises.
 * The thread that the state is on. */
#ifndef API_SOCKET_LUA_H
#define API_SOCKET_LUA_H

#include "api/sock.h"

#include <lua.h>

/* Makes the metatable. */
int luaopen_atoll_socket(lua_State *L);

/* Pushes a closed socket; socket_open takes fd for it, also when that fails without
 * memory: 0 or ERR_MEMORY. */
struct sock **socket_push(lua_State *L);
int socket_open(lua_State *L, struct sock **box, int fd);

/* The argument's sock, on the isolate's loop if there is one; NULL when it is closed.
 * Raises unless it is a socket, and here. */
struct sock *socket_check(lua_State *L, int index);

/* What a fiber answers that finds the box of the socket at index empty. */
int socket_gone(lua_State *L, int index);

/* The argument is closed, also if it was transferred: then nothing comes back to it. */
void socket_shut(lua_State *L, int index);

/* The argument's box, which lives as long as the userdata. Raises unless it is one. */
struct sock **socket_box(lua_State *L, int index);

/* nil, the text and the name of a negative error. */
int socket_failure(lua_State *L, int err);

/* The same for an error of that socket's reading or writing: TLS says more. */
int socket_broken(lua_State *L, const struct sock *s, int err);

/* nil, "timed out", "ETIMEDOUT" */
int socket_timed_out(lua_State *L);

/* The deadline of an operation of s: of the argument if there is one. */
int64_t socket_deadline(lua_State *L, const struct sock *s, int argument);

/* Seconds, or nil for none, as a timeout in ns. */
int64_t socket_check_timeout(lua_State *L, int index);

/* Options that are the same for what connects and what is accepted. */
struct socket_options {
    uint32_t line_max;
    int keepalive; /* seconds; 0 off; SOCKET_KEEPALIVE the system's */
    bool nodelay;
};

enum { SOCKET_KEEPALIVE = -1 };

/* The table at index, which may be nil; raises about a key that is in neither
 * socket_option_names nor among the caller's own. */
void socket_read_options(lua_State *L, int index, struct socket_options *o,
                         const char *const *own);

/* What can be told about a descriptor before it is a socket. Errors do not matter. */
void socket_keepalive(int fd, int seconds);

#endif
