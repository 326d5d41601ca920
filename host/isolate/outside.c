#include "isolate/outside.h"

#include "base/log.h"
#include "isolate/isolate.h"

#define OUTSIDE_MAX CLOCK_SECOND
#define OUTSIDE_AGAIN (20 * CLOCK_MS) /* once something had to be ended */

enum { CLOSING_LOOKS = 1000 }; /* instructions between two looks at the clock */

bool outside_is_over(lua_State *L, int64_t ran) {
    const struct outside *o = &generation_of(L)->outside;
    return o->limited && ran >= (o->ending ? OUTSIDE_AGAIN : OUTSIDE_MAX);
}

void outside_push(lua_State *L, lua_Debug *ar) {
    struct generation *g = generation_of(L);
    static const char why[] = "outside of handlers nothing may go on for long";
    if (!lua_getinfo(L, "Sl", ar)) ar->short_src[0] = 0;
    if (!g->outside.ending)
        log_error("%s:%d: a finalizer, or a __tostring, did not end within %g s; it is "
                  "ended, and so are others of this state",
                  ar->short_src, ar->currentline,
                  (double)OUTSIDE_MAX / (double)CLOCK_SECOND);
    lua_pushfstring(L, "%s:%d: %s", ar->short_src, ar->currentline, why);
}

/* ---- the closing of a state ---- */

static void hasten(lua_State *L, lua_Debug *ar) {
    struct generation *g = generation_of(L);
    int64_t now = clock_ns();
    if (now - g->outside.closed < OUTSIDE_MAX) return;
    outside_push(L, ar);
    g->outside.ending = now;
    preempt_unmask(L);
    luaD_throw(L, LUA_ERRRUN);
}

void outside_close(struct generation *g) {
    g->outside.ending = 0;
    g->outside.closed = clock_ns();
    lua_close(g->L);
}

/* Each finalizer begins where no hook is called. */
static void watch_closing(lua_State *L, const struct generation *g) {
    if (!g->outside.closed || !g->outside.limited) return;
    lua_sethook(L, hasten, LUA_MASKCOUNT, g->outside.ending ? 1 : CLOSING_LOOKS);
    preempt_unmask(L);
}

/* ---- what every protected call of C's goes through ---- */

/* In a fiber that is being ended finalizers are no place to hide. */
static void insist(struct sched *s, lua_State *L) {
    const struct fiber *f = s->current;
    if (f && f->ending && s->preempt.armed == L) preempt_unmask(L);
}

static struct sched *begin(lua_State *L) {
    void *data;
    if (lua_getallocf(L, &data) != alloc_lua) return NULL;
    struct generation *g = LIST_OF(data, struct generation, alloc);
    struct sched *s = g->isolate ? &g->isolate->sched : NULL;
    if (__builtin_expect(g->state == GEN_CLOSING, 0)) watch_closing(L, g);
    if (!s) return NULL;
    if (s->running) {
        insist(s, L);
        return NULL;
    }
    if (g->outside.ending) preempt_unmask(L);
    sched_enter(s, L);
    return s;
}

__attribute__((used)) int __wrap_luaD_pcall(lua_State *L, outside_function f,
                                            void *data, ptrdiff_t top, ptrdiff_t ef) {
    struct sched *s = begin(L);
    int status = __real_luaD_pcall(L, f, data, top, ef);
    if (s) sched_leave(s);
    return status;
}
