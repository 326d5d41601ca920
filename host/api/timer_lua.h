/* atoll.sleep and atoll.now: seconds, fractions allowed.
 *
 * Outside a fiber (while an app loads) a sleep blocks the thread, which is logged once
 * per generation. The thread that the state is on. */
#ifndef API_TIMER_LUA_H
#define API_TIMER_LUA_H

#include <lua.h>
#include <stdint.h>

/* A table with the functions. */
int luaopen_atoll_timer(lua_State *L);

/* The argument as a time limit that starts now: a monotonic ns, INT64_MAX for one
 * beyond any life. Raises unless it is a number of seconds, not negative, not NaN. */
int64_t timer_check_deadline(lua_State *L, int argument);

/* The same where nil or nothing means none: 0. */
int64_t timer_opt_deadline(lua_State *L, int argument);

/* Returns no values when that time (monotonic ns) has come: the fiber waits, or, where
 * there is none, the thread. */
int timer_sleep(lua_State *L, int64_t deadline);

#endif
