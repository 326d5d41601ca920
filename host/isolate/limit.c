#include "isolate/limit.h"

#include "base/log.h"
#include "isolate/generation.h"
#include "isolate/isolate.h"

#include <lauxlib.h>
#include <string.h>

static struct loop *loop_of(struct fiber *f) {
    return &f->generation->isolate->loop;
}

static void end_late(struct fiber *f) {
    f->late = f->cancelled = true;
    fiber_wake(f, WAKE_CANCEL);
}

static void over(struct timer *t) {
    struct fiber *f = LIST_OF(t, struct fiber, limit);
    if (!f->owner_ops || !f->owner_ops->late) return;
    switch (f->owner_ops->late(f, f->owner)) {
    case LATE_END: end_late(f); break;
    case LATE_AGAIN: limit_set(f, f->limited_by); break;
    case LATE_NEVER: break;
    }
}

void limit_set(struct fiber *f, int64_t ns) {
    struct loop *l = loop_of(f);
    f->traits |= FIBER_LIMITED;
    if (f->late || !f->owner_ops || !f->owner_ops->late) return;
    f->limited_by = ns;
    if (ns == 0)
        timer_clear(l, &f->limit);
    else if (timer_set(l, &f->limit, l->now + ns) != 0)
        log_warn("a handler has no limit: not enough memory");
}

static bool is_alone(const struct fiber *f) {
    const struct fiber_owner *ops = f->owner_ops;
    return f->cancelled || (ops && ops->left && ops->left(f->owner));
}

void limit_look(struct fiber *f, int64_t now) {
    int64_t stuck = f->generation->plan->stuck_timeout;
    if (f->late || !stuck) return;
    if (!is_alone(f))
        f->alone = 0;
    else if (!f->alone)
        f->alone = now;
    if (!f->alone || now - f->alone < stuck) return;
    f->limited_by = 0;
    f->traits |= FIBER_ALONE;
    end_late(f);
}

bool limit_is_over(struct fiber *f, int64_t now, int64_t ran) {
    int64_t stuck = f->generation->plan->stuck_timeout;
    limit_settle(f);
    if (!f->late && timer_is_set(&f->limit) && f->limit.at <= now) {
        timer_clear(loop_of(f), &f->limit);
        over(&f->limit);
    }
    if (!f->late && stuck && ran >= stuck) {
        f->limited_by = 0;
        end_late(f);
    }
    limit_look(f, now);
    return f->late;
}

/* "app.lua:7: " of the innermost function with lines. */
static void push_place(lua_State *L) {
    lua_Debug ar;
    for (int level = 0; lua_getstack(L, level, &ar); level++) {
        lua_getinfo(L, "Sl", &ar);
        if (ar.currentline <= 0 || strncmp(ar.source, "@lua/atoll/", 11) == 0) continue;
        lua_pushfstring(L, "%s:%d: ", ar.short_src, ar.currentline);
        return;
    }
    lua_pushliteral(L, "");
}

void limit_push(lua_State *L, struct fiber *f) {
    const struct generation_plan *plan = f->generation->plan;
    int64_t limit = f->limited_by ? f->limited_by : plan->stuck_timeout;
    luaL_checkstack(L, 4, NULL);
    push_place(L);
    lua_pushfstring(L,
                    f->limited_by             ? "handler_timeout: %f s are over"
                    : f->traits & FIBER_ALONE ? "for %f s it has gone on for nobody"
                                              : "for %f s it could not be suspended",
                    (lua_Number)limit / (lua_Number)CLOCK_SECOND);
    lua_concat(L, 2);
}

void limit_init(struct fiber *f) {
    timer_init(&f->limit, over);
}

void limit_forget(struct fiber *f) {
    f->traits &= ~(FIBER_LIMITED | FIBER_ALONE);
    f->late = f->told = false;
    f->ending = f->computed = f->spared = f->alone = 0;
    if (timer_is_set(&f->limit)) timer_clear(loop_of(f), &f->limit);
}
