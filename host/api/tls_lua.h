/* TLS for the sockets of Lua code: the tables of options, handshakes that park, and
 * what a handshake came to.
 *
 * Contexts are kept per Lua state, one for equal options and unchanged files, so that
 * authorities are read once and sessions are found again. The thread that the state is
 * on. */
#ifndef API_TLS_LUA_H
#define API_TLS_LUA_H

#include "api/sock.h"
#include "net/tls_ctx.h"

#include <lua.h>

/* Of starttls the option server tells which, and timeout is one, too. */
enum tls_side { TLS_CLIENT, TLS_SERVER, TLS_EITHER };

/* Pushes the context (a userdata) for the options at index: true or a table with name,
 * verify, ca, cert, key and alpn, of a client or a server. Raises for others. NULL with
 * a sentence in why and nothing pushed when files cannot be read. */
struct tls_ctx *tls_push_ctx(lua_State *L, int index, enum tls_side side,
                             char why[TLS_WHY]);

/* Pushes the name that a client at the options at index wants to reach: theirs, or that
 * given, or nil, which raises unless verify is false. The text, or NULL. */
const char *tls_push_name(lua_State *L, int index, const char *name);

/* On the stack: a text to go in front of an error, the results of success, and, on top,
 * the socket. Turns the socket, which is plain, into TLS, makes the handshake until
 * deadline (ns; 0 for none) and returns the result; or nil, a sentence and a code, with
 * the socket closed. */
int tls_begin(lua_State *L, struct tls_ctx *c, const char *name, int64_t deadline);

/* socket:starttls([options]) and socket:tls(). */
int tls_starttls(lua_State *L);
int tls_facts(lua_State *L);

#endif
