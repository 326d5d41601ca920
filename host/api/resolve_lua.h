/* atoll.net.resolve, and for whatever else takes a host's name a wait for its
 * addresses:
 *
 *     static int resolved(lua_State *L, int status, lua_KContext deadline) {
 *         const struct resolve_query *q = resolve_result(L, -1, status);
 *         if (q->err) return resolve_failed(L, q);
 *         ... q->list[0 .. q->count - 1], in the order to try them ...
 *     }
 *     return resolve_wait(L, host, AF_UNSPEC, port, deadline, resolved, deadline);
 *
 * What needs no question (an address, a name in the cache) never parks: k is called at
 * once, with LUA_OK. Outside a fiber, while an app loads, the thread waits. The thread
 * that the state is on. */
#ifndef API_RESOLVE_LUA_H
#define API_RESOLVE_LUA_H

#include "net/resolve.h"

#include <lua.h>

/* Pushes the query, a userdata, and calls k when it is answered or the deadline
 * (monotonic ns, 0 for none) has come. Raises where sched_park does. family is
 * AF_UNSPEC, AF_INET or AF_INET6. */
int resolve_wait(lua_State *L, const char *name, int family, uint16_t port,
                 int64_t deadline, lua_KFunction k, lua_KContext context);

/* In k: the query at that index, with its err set, be it to -ETIMEDOUT. Lives as long
 * as it is on the stack. */
const struct resolve_query *resolve_result(lua_State *L, int index, int status);

/* Pushes nil, the sentence and the code; returns 3. */
int resolve_failed(lua_State *L, const struct resolve_query *q);

/* "inet", "inet6" or nil at index, as AF_INET, AF_INET6 or AF_UNSPEC; raises for
 * others, naming them as the option family. */
int resolve_check_family(lua_State *L, int index);

/* net.resolve(name[, {family =, timeout =}]) -> list of addresses without ports. */
int resolve_lua(lua_State *L);

#endif
