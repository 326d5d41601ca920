#include "isolate/preempt.h"

#include "base/clock.h"
#include "base/log.h"
#include "isolate/generation.h"
#include "isolate/isolate.h"
#include "isolate/limit.h"
#include "isolate/scope.h"
#include "isolate/slice.h"

#include <assert.h>
#include <lauxlib.h>
#include <stdio.h>
#include <string.h>

/* Instructions between two tries, at most. */
enum { PATIENCE_MAX = 256 };

#define GRACE (20 * CLOCK_MS)

/* Functions that a __close is looked for in. */
enum { CLOSING_DEPTH = 50 };

/* From when on hooks are called even where Lua calls none: in finalizers and hooks.
 * Half of it must have been computed: a process that was stopped for so long, or had no
 * CPU, has not overrun. */
#define UNMASK_AFTER (500 * CLOCK_MS)

/* For so long, of the CPU, the program's own Lua code is let go on since it was first
 * met: what it does between two waits is whole for whoever runs next. A step of the
 * collector in it, which may be any length, counts as one of at most OWN_STEP. */
#define OWN_GRACE (2 * CLOCK_MS)
#define OWN_STEP (OWN_GRACE / 4)

/* How lua_State begins in all of 5.4 (its lstate.h). */
struct state {
    void *next;
    unsigned char tt, marked, status, allowhook;
};

static_assert(LUA_VERSION_NUM == 504, "look at how lua_State begins");

void preempt_unmask(lua_State *L) {
    struct state *state = (struct state *)(void *)L;
    state->allowhook = 1;
}

/* ---- arming ---- */

static int64_t elapsed(struct sched *s, int64_t now) {
    int64_t since = atomic_load_explicit(&s->slice_since, memory_order_relaxed);
    return now - since;
}

static void hook(lua_State *L, lua_Debug *ar);

/* Where the program's hook wants lines, a line is where the fiber yields: a count event
 * would be followed by a line event in a coroutine that has yielded already. */
static void set(struct preempt *p, lua_State *L) {
    int mask = p->mask | (p->sharing ? 0 : LUA_MASKCOUNT);
    if (p->patience > 1) mask |= LUA_MASKRET;
    p->armed = L;
    lua_sethook(L, hook, mask, p->sharing ? p->count : p->patience);
}

static void arm(struct preempt *p, lua_State *L) {
    lua_Hook theirs = lua_gethook(L);
    bool inherited = theirs == hook;
    *p = (struct preempt){.unmasked = p->unmasked,
                          .told = p->told,
                          .slice = p->slice,
                          .cpu = p->cpu,
                          .own = p->own,
                          .own_used = p->own_used};
    if (theirs && !inherited) {
        p->theirs = theirs;
        p->mask = lua_gethookmask(L);
        p->count = lua_gethookcount(L);
    }
    p->sharing = p->mask & LUA_MASKLINE ||
                 (p->mask & LUA_MASKCOUNT && p->count <= PREEMPT_SHARED);
    p->patience = 1;
    p->entered = p->mask & LUA_MASKCALL; /* its hook may be running */
    set(p, L);
}

static void disarm(struct preempt *p) {
    lua_State *L = p->armed;
    p->busy = true;
    if (lua_gethook(L) == hook) lua_sethook(L, p->theirs, p->mask, p->count);
    p->armed = NULL;
    p->busy = false;
}

void preempt_hold(struct sched *s, lua_State *of) {
    if (s->preempt.armed == of) disarm(&s->preempt);
    s->preempt.busy = true;
}

void preempt_let(struct sched *s) {
    s->preempt.busy = false;
}

/* What this slice has taken of the CPU since its first signal, ns. */
static int64_t computed(struct sched *s) {
    struct preempt *p = &s->preempt;
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    int64_t now = t.tv_sec * CLOCK_SECOND + t.tv_nsec;
    int64_t slice = atomic_load_explicit(&s->slice_since, memory_order_relaxed);
    if (p->slice != slice) {
        p->slice = slice;
        p->cpu = now;
        p->own = -1;
    }
    return now - p->cpu;
}

/* So many times slice_warn in one call of C are told while it still lasts. */
enum { STUCK_TIMES = 20 };

/* Our hook has not been called since it was armed. Allocates nothing. */
static void note_stuck(struct sched *s, lua_State *L) {
    struct preempt_stuck *stuck = &s->stuck;
    int64_t warn = s->watchdog ? s->watchdog->warn : 0;
    int64_t since = atomic_load_explicit(&s->slice_since, memory_order_relaxed);
    if (s->preempt.called || !warn || since == stuck->noted) return;
    if (elapsed(s, clock_ns()) < STUCK_TIMES * warn) return;
    if (atomic_load_explicit(&stuck->since, memory_order_acquire)) return;
    lua_Debug ar;
    stuck->noted = since;
    stuck->place[0] = 0;
    for (int level = 0; !stuck->place[0] && lua_getstack(L, level, &ar); level++)
        if (lua_getinfo(L, "Sl", &ar) && ar.currentline > 0)
            snprintf(stuck->place, sizeof stuck->place, "%s:%d", ar.short_src,
                     ar.currentline);
    atomic_store_explicit(&stuck->since, since, memory_order_release);
}

void preempt_arm(struct sched *s) {
    struct preempt *p = &s->preempt;
    lua_State *L = s->running;
    if (!L) return;
    int64_t cpu = computed(s);
    if (elapsed(s, clock_ns()) > UNMASK_AFTER && cpu > UNMASK_AFTER / 2) {
        preempt_unmask(L);
        p->unmasked = true;
    }
    if (p->armed == L) {
        note_stuck(s, L);
        return;
    }
    /* A memory error may have left it so: nothing is busy for two signals. */
    if (p->busy && p->put_off++ < 2) return;
    p->busy = false;
    p->put_off = 0;
    if (p->armed) disarm(p);
    arm(p, L);
}

/* ---- the hook ---- */

static void note(lua_State *L, lua_Debug *ar, int64_t ran, bool first) {
    char place[SLICE_PLACE];
    snprintf(place, sizeof place, "%s:%d", ar->short_src, ar->currentline);
    slices_note(sched_of(L)->watchdog, place, ran, first);
}

static void tell(lua_State *L, lua_Debug *ar, int64_t ran) {
    long long ms = ran / CLOCK_MS;
    if (!lua_getinfo(L, "Sln", ar)) return;
    note(L, ar, ran, true);
    const char *who = sched_of(L)->current ? "a handler" : "what is in no handler";
    if (ar->name)
        log_warn("%s has run for %lld ms without waiting: %s:%d (in %s '%s')", who, ms,
                 ar->short_src, ar->currentline,
                 *ar->namewhat ? ar->namewhat : "function", ar->name);
    else
        log_warn("%s has run for %lld ms without waiting: %s:%d "
                 "(in function <%s:%d>)",
                 who, ms, ar->short_src, ar->currentline, ar->short_src,
                 ar->linedefined);
}

static bool can_suspend(struct sched *s, lua_State *L) {
    return s->current && s->watchdog->slice && s->running == L && !s->barrier &&
           !s->closing && !s->whole && lua_isyieldable(L);
}

static bool is_own(lua_State *L, lua_Debug *ar) {
    static const char own[] = "@lua/atoll/";
    return lua_getinfo(L, "S", ar) && strncmp(ar->source, own, sizeof own - 1) == 0;
}

/* Not from the signal on: that may have come in the middle of a long call of C, or of
 * the collector, behind which there would be no grace left. */
static bool is_let_go_on(struct sched *s, lua_State *L, lua_Debug *ar) {
    struct preempt *p = &s->preempt;
    if (!is_own(L, ar)) return false;
    int64_t now = computed(s);
    int64_t step = p->own < 0 ? 0 : now - p->own;
    if (p->own < 0) p->own_used = 0;
    p->own_used += step < OWN_STEP ? step : OWN_STEP;
    p->own = now;
    return p->own_used < OWN_GRACE;
}

/* What could not be suspended may have been left. */
static void returned(struct preempt *p, lua_State *L, lua_Debug *ar) {
    if (p->patience == 1 || (!is_own(L, ar) && *ar->what != 'C')) return;
    p->patience = 1;
    set(p, L);
}

/* Ends what runs with the value on top; no message handler is called, as it might be
 * what does not end. */
static _Noreturn void throw(lua_State * L) {
    preempt_unmask(L); /* who is left does not do it where the coroutine ends */
    luaD_throw(L, LUA_ERRRUN);
}

/* The first time whoever catches it, or closes something, has a while to clean up; from
 * then on each instruction is the last. It may be that the thread stood still for that
 * while: so it is looked twice (*ending is negative then). */
static bool insists(struct preempt *p, lua_State *L, int64_t *ending, int64_t now) {
    if (*ending == 0) {
        *ending = now;
        disarm(p);
        return true;
    }
    if (*ending > 0) {
        if (now - *ending < GRACE) return false;
        *ending = -*ending;
        p->patience = PATIENCE_MAX / 2; /* overrun doubles it, or suspends */
        return false;
    }
    p->theirs = NULL;
    p->mask = p->count = 0;
    p->sharing = false;
    p->patience = 1;
    set(p, L);
    return true;
}

/* At the regular end of a block: where an error unwinds, and in what a __close calls as
 * its last, Lua does not know it. */
static bool is_closing(lua_State *L) {
    lua_Debug ar;
    for (int level = 0; level < CLOSING_DEPTH && lua_getstack(L, level, &ar); level++)
        if (lua_getinfo(L, "n", &ar) && ar.name && strcmp(ar.name, "close") == 0 &&
            strcmp(ar.namewhat, "metamethod") == 0)
            return true;
    return false;
}

/* What closes something when its time is over does so yet, for as long as it would have
 * had if it closed for that reason. all: ns computed since the last wait; *since: when
 * it was found closing. */
static bool is_spared(int64_t *since, lua_State *L, int64_t ending, int64_t all) {
    if (ending || !is_closing(L)) return false;
    if (!*since) *since = all;
    return all - *since < GRACE;
}

static void end_if_over(struct sched *s, lua_State *L, int64_t now, int64_t ran) {
    struct preempt *p = &s->preempt;
    struct fiber *f = s->current;
    int64_t all = ran + f->computed;
    if (s->closing) { /* in a fiber that was killed */
        f->ending = f->ending ? f->ending : now - ran;
        if (!insists(p, L, &f->ending, now)) return;
        sched_push_cancelled(L);
        throw(L);
    }
    if (limit_is_over(f, now, ran)) {
        if (is_spared(&f->spared, L, f->ending, all)) return;
        if (!insists(p, L, &f->ending, now)) return;
        limit_push(L, f);
        throw(L);
    }
    struct scope *over = f->scopes ? scope_over(f) : NULL;
    if (over && !is_spared(&over->spared, L, over->ending, all) &&
        insists(p, L, &over->ending, now)) {
        scope_push(L, over);
        throw(L);
    }
}

static void end_outside(struct sched *s, lua_State *L, lua_Debug *ar, int64_t now,
                        int64_t ran) {
    struct outside *o = &generation_of(L)->outside;
    if (!outside_is_over(L, ran)) return;
    outside_push(L, ar);
    if (insists(&s->preempt, L, &o->ending, now)) throw(L);
    lua_pop(L, 1);
}

static void overrun(struct sched *s, lua_State *L, lua_Debug *ar) {
    struct preempt *p = &s->preempt;
    struct fiber *f = s->current;
    int64_t now = clock_ns(), run = elapsed(s, now), all = run + (f ? f->computed : 0);
    int64_t warn = s->watchdog ? s->watchdog->warn : 0;
    if (warn && all >= warn && !(f ? f->told : p->told)) {
        *(f ? &f->told : &p->told) = true;
        tell(L, ar, all);
    }
    bool later = is_let_go_on(s, L, ar);
    if (f && !later) end_if_over(s, L, now, run);
    if (!f) end_outside(s, L, ar, now, run);
    if (!later && p->armed == L && can_suspend(s, L)) {
        if (f->told && lua_getinfo(L, "Sl", ar)) note(L, ar, all, false);
        disarm(p);
        f->computed = all;
        sched_suspend(L);
        return;
    }
    if (p->sharing || p->patience >= PATIENCE_MAX) return;
    p->patience *= 2;
    set(p, L);
}

/* Theirs may raise, and may set another hook. */
static void pass_on(struct preempt *p, lua_State *L, lua_Debug *ar) {
    int wanted = ar->event == LUA_HOOKTAILCALL ? LUA_MASKCALL : 1 << ar->event;
    bool is_ours = ar->event == LUA_HOOKCOUNT && !p->sharing;
    if (p->mask & wanted && !is_ours && !p->unmasked) p->theirs(L, ar);
}

static void hook(lua_State *L, lua_Debug *ar) {
    struct sched *s = sched_of(L);
    struct preempt *p = &s->preempt;
    if (p->armed != L) { /* inherited by a coroutine made meanwhile */
        p->busy = true;
        lua_sethook(L, p->armed ? p->theirs : NULL, p->mask, p->count);
        p->busy = false;
        return;
    }
    p->called = true;
    if (p->theirs) {
        pass_on(p, L, ar);
        if (p->armed != L) return;
    }
    switch (ar->event) {
    case LUA_HOOKCALL: /* would be told twice if the first instruction were yielded at
                        */
    case LUA_HOOKTAILCALL: p->entered = true; break;
    case LUA_HOOKRET: returned(p, L, ar); break;
    case LUA_HOOKCOUNT:
        if (p->mask & LUA_MASKLINE) break;
        /* fall through */
    case LUA_HOOKLINE:
        if (!p->entered) overrun(s, L, ar);
        p->entered = false;
    }
}

void preempt_move(struct sched *s, lua_State *L) {
    struct preempt *p = &s->preempt;
    bool called = p->called;
    disarm(p);
    if (L) {
        p->busy = true;
        arm(p, L);
        p->busy = false;
        return;
    }
    p->unmasked = p->told = false;
    int64_t warn = s->watchdog ? s->watchdog->warn : 0, ran = elapsed(s, clock_ns());
    if (!called && warn && ran >= warn)
        log_warn("a handler has run for %lld ms without waiting, inside a C function",
                 (long long)(ran / CLOCK_MS));
}

/* ---- for specs ---- */

static void always(lua_State *L, lua_Debug *ar) {
    struct sched *s = sched_of(L);
    if (s->end != always)
        lua_sethook(L, NULL, 0, 0);
    else if (can_suspend(s, L) && !is_own(L, ar))
        sched_suspend(L);
}

void preempt_always(struct sched *s, bool on) {
    s->end = on ? always : NULL;
    if (on && s->running) lua_sethook(s->running, always, LUA_MASKCOUNT, 1);
}
