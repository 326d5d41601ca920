#include "api/ticker_lua.h"

#include "api/app_lua.h"
#include "base/check.h"
#include "base/err.h"
#include "base/log.h"
#include "isolate/budget.h"
#include "isolate/gate.h"
#include "isolate/once.h"

#include <lauxlib.h>

enum { MAGIC = 0x7469636b };

static const char TICKER[] = "atoll.timer";

/* Its user value is the function. */
struct ticker {
    uint32_t magic;
    int anchor; /* registry reference while it is to go on, or runs */
    bool over;
    struct generation *generation;
    struct fiber *fiber; /* that runs the function now, or NULL */
    struct once_job *job;
    struct timer timer;
    int64_t period, due; /* ns */
};

static void stop(struct ticker *t) {
    t->over = true;
    timer_clear(&t->generation->isolate->loop, &t->timer);
    if (t->fiber) return;
    luaL_unref(t->generation->L, LUA_REGISTRYINDEX, t->anchor);
    t->anchor = LUA_NOREF;
}

/* ---- a run ---- */

static int called(lua_State *L, int status, lua_KContext context) {
    (void)L, (void)status, (void)context;
    return 0;
}

static int run(lua_State *L) {
    lua_getiuservalue(L, 1, 1);
    lua_callk(L, 0, 0, 0, called);
    return 0;
}

static void ended(struct fiber *f, void *owner, int status, lua_State *co, int count) {
    struct ticker *t = owner;
    (void)f, (void)count;
    MAGIC_CHECK(t, MAGIC);
    t->fiber = NULL;
    if (t->job) once_over(t->job);
    if (status && status != ERR_CANCELLED) {
        struct buf text;
        buf_init(&text);
        buf_printf(&text, "a timer's function failed: ");
        gate_describe(co, -1, co, &text);
        log_lines(LEVEL_ERROR, SPAN(""), buf_span(&text));
        buf_reset(&text);
    }
    if (t->over) stop(t);
}

static const struct fiber_owner owner_ops = {.ended = ended};

static void begin(struct ticker *t) {
    if (t->job && !once_claim(t->job, t->due)) return;
    struct fiber *f = fiber_new(t->generation, FIBER_TASK, &owner_ops, t);
    if (!f) {
        if (t->job) once_over(t->job);
        log_error("a timer's function is not called: not enough memory");
        return;
    }
    t->fiber = f;
    lua_pushcfunction(f->co, run);
    lua_rawgeti(f->co, LUA_REGISTRYINDEX, t->anchor);
    fiber_queue(f, 1);
}

/* ---- time ---- */

/* The first time due after now. */
static void set(struct ticker *t, int64_t now) {
    if (t->due <= now) t->due += ((now - t->due) / t->period + 1) * t->period;
}

static bool serves(struct generation *g) {
    struct isolate *i = g->isolate;
    return g->state == GEN_SERVING && !i->leaving && isolate_generation(i) == g;
}

static void fire(struct timer *timer) {
    struct ticker *t = LIST_OF(timer, struct ticker, timer);
    MAGIC_CHECK(t, MAGIC);
    struct generation *g = t->generation;
    bool now = serves(g);
    if (g->state >= GEN_DRAINING || g->isolate->leaving) {
        stop(t);
        return;
    }
    if (now && !t->fiber) begin(t);
    set(t, clock_ns());
    if (timer_set(&g->isolate->loop, timer, t->due) == 0) return;
    log_error("a timer ends: not enough memory");
    stop(t);
}

/* ---- what Lua sees ---- */

static struct ticker *check(lua_State *L) {
    struct ticker *t = luaL_checkudata(L, 1, TICKER);
    MAGIC_CHECK(t, MAGIC);
    return t;
}

static int cancel(lua_State *L) {
    struct ticker *t = check(L);
    lua_pushboolean(L, !t->over);
    if (!t->over) stop(t);
    return 1;
}

static int gc(lua_State *L) {
    struct ticker *t = check(L);
    timer_clear(&t->generation->isolate->loop, &t->timer);
    if (t->fiber) {
        t->fiber->owner_ops = NULL;
        if (t->job) once_over(t->job);
    }
    t->fiber = NULL;
    t->over = true;
    if (t->job) once_unref(t->job);
    t->job = NULL;
    return 0;
}

static int text(lua_State *L) {
    const struct ticker *t = check(L);
    lua_pushfstring(L, "timer (%f s%s): %p", (lua_Number)t->period / 1e9,
                    t->over ? ", over" : "", (const void *)t);
    return 1;
}

static int ticker(lua_State *L) {
    lua_Number seconds = luaL_checknumber(L, 1);
    luaL_argcheck(L, seconds >= 0.001 && seconds <= 1e9, 1,
                  "the seconds of a timer are between 0.001 and 1e9");
    luaL_checktype(L, 2, LUA_TFUNCTION);
    const char *name = luaL_optstring(L, 3, NULL);
    struct generation *g = generation_of(L);
    struct once *once = app_of(L)->options->once;
    CHECK(g->isolate);
    struct ticker *t = lua_newuserdatauv(L, sizeof *t, 1);
    *t = (struct ticker){.magic = MAGIC,
                         .anchor = LUA_NOREF,
                         .generation = g,
                         .period = (int64_t)(seconds * 1e9)};
    timer_init(&t->timer, fire);
    luaL_setmetatable(L, TICKER);
    lua_pushvalue(L, 2);
    lua_setiuservalue(L, -2, 1);
    int64_t now = clock_ns();
    t->due = now + t->period;
    if (name && once) {
        t->job = once_ref(once, name);
        t->due = 0; /* the same phase everywhere, and in every generation */
        set(t, now);
    }
    lua_pushvalue(L, -1);
    t->anchor = luaL_ref(L, LUA_REGISTRYINDEX);
    if ((name && once && !t->job) ||
        timer_set(&g->isolate->loop, &t->timer, t->due) != 0)
        return budget_raise(L);
    return 1;
}

static const luaL_Reg methods[] = {{"cancel", cancel},
                                   {"__close", cancel},
                                   {"__gc", gc},
                                   {"__tostring", text},
                                   {NULL, NULL}};

int luaopen_atoll_ticker(lua_State *L) {
    luaL_newmetatable(L, TICKER);
    luaL_setfuncs(L, methods, 0);
    lua_pushvalue(L, -1);
    lua_setfield(L, -2, "__index");
    lua_pop(L, 1);
    lua_pushcfunction(L, ticker);
    return 1;
}
