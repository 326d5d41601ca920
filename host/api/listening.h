/* What a listener of Lua code is apart from the userdata that names it: a clone of its
 * socket, and how the connections are to be. A listener owns one, and takes it along
 * to another isolate; a reference, from which listeners are made, is one that nobody
 * accepts on, shared by all its copies.
 *
 * Counted. Any thread. */
#ifndef API_LISTENING_H
#define API_LISTENING_H

#include "api/socket_lua.h"
#include "net/clones.h"
#include "net/tls_ctx.h"

#include <stdatomic.h>

struct listening {
    atomic_uint references;
    struct clone *clone; /* NULL until it listens */
    struct socket_options options;
    struct tls_ctx *tls; /* a reference, or NULL */
};

/* One reference; NULL without memory. */
struct listening *listening_new(void);
struct listening *listening_ref(struct listening *l);
void listening_unref(struct listening *l); /* the last closes; NULL is none */

/* Another one on the same socket. 0 or a negative errno. */
int listening_again(const struct listening *l, const void *holder,
                    struct listening **out);

/* References as Lua sees them, which may be sent: the metatable, and a new one for l,
 * whose reference it takes over once it is `filled`. */
int luaopen_atoll_reference(lua_State *L);
struct listening **reference_push(lua_State *L);

/* The argument's, or NULL when it is closed. Raises unless it is one. */
struct listening *reference_check(lua_State *L, int index);

#endif
