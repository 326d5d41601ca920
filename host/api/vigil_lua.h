/* The watch that is kept over a request which takes its time: req:on_abort(fn), called
 * when the client has left before the answer was complete; and, for event streams, the
 * heartbeat, sent without Lua, and the end in peace when the client, the code or the
 * host goes.
 *
 * A vigil is made when it is first asked for, as a value of its request, and ends when
 * the request does, or is elsewhere. The isolate's thread. */
#ifndef API_VIGIL_LUA_H
#define API_VIGIL_LUA_H

#include <lua.h>
#include <stdbool.h>

struct exchange;
struct generation;
struct request;

/* http_app.left. */
void vigil_left(struct exchange *x);

/* r is over, or elsewhere: nobody is told any more. */
void vigil_over(struct request *r);

/* The fiber that answers x was cancelled: ends the answer, as well as that can be done.
 */
void vigil_cut(struct exchange *x);

/* The app has written; heartbeats can wait. */
void vigil_wrote(struct request *r);

/* Ends the event streams of g: all, or those that only pass on what is published. Not
 * from inside a fiber. */
void vigil_end_streams(struct generation *g, bool all);

/* Adds on_abort to the table on top: the methods of requests. */
void vigil_open(lua_State *L);

/* keep(res, seconds): an event stream begins; 0: no heartbeat. relays(res, whether): it
 * only passes on what is published. Added to the table on top. */
void vigil_open_res(lua_State *L);

#endif
