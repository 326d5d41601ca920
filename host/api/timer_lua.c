#include "api/timer_lua.h"

#include "base/clock.h"
#include "base/log.h"
#include "isolate/generation.h"
#include "isolate/isolate.h"
#include "isolate/scope.h"

#include <lauxlib.h>

#define FOREVER_S 1e9 /* some thirty years */

int64_t timer_check_deadline(lua_State *L, int argument) {
    lua_Number seconds = luaL_checknumber(L, argument);
    luaL_argcheck(L, seconds >= 0, argument, "seconds must not be negative or NaN");
    if (seconds > FOREVER_S) return INT64_MAX;
    if (seconds == 0) return 1; /* over, whatever the loop believes it is now */
    return clock_ns() + (int64_t)(seconds * 1e9);
}

int64_t timer_opt_deadline(lua_State *L, int argument) {
    return lua_isnoneornil(L, argument) ? 0 : timer_check_deadline(L, argument);
}

static void block(lua_State *L, int64_t deadline) {
    struct generation *g = generation_of(L);
    if (!g->slept) {
        luaL_where(L, 1);
        log_warn("%sa sleep outside a fiber blocks the thread", lua_tostring(L, -1));
        lua_pop(L, 1);
        g->slept = true;
    }
    struct timespec t = {deadline / CLOCK_SECOND, deadline % CLOCK_SECOND};
    while (!g->halt &&
           clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL) == EINTR) {
    }
}

static int slept(lua_State *L, int status, lua_KContext context) {
    (void)L, (void)status, (void)context;
    return 0;
}

int timer_sleep(lua_State *L, int64_t deadline) {
    struct sched *s = sched_of(L);
    /* Only the loader's thread may block. On an isolate's, without a fiber, are the
       __tostring of an error and the finalizers of a state that is closed: refused. */
    if (s || generation_of(L)->state == GEN_CLOSING)
        return sched_park(L, NULL, deadline, slept, 0);
    block(L, deadline);
    return 0;
}

static int sleep_for(lua_State *L) {
    return timer_sleep(L, timer_check_deadline(L, 1));
}

static int now(lua_State *L) {
    lua_pushnumber(L, (lua_Number)clock_ns() / 1e9);
    return 1;
}

/* check(): raises what ends the fiber, if its time is over: whoever has caught an error
 * knows then whether that was it. */
static int check(lua_State *L) {
    struct fiber *f = fiber_of(L);
    if (f) scope_check(L, f);
    return 0;
}

static const luaL_Reg functions[] = {
    {"check", check},
    {"now", now},
    {"sleep", sleep_for},
    {NULL, NULL},
};

int luaopen_atoll_timer(lua_State *L) {
    luaL_newlib(L, functions);
    return 1;
}
