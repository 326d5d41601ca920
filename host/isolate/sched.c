#include "isolate/sched.h"

#include "base/check.h"
#include "base/err.h"
#include "isolate/gate.h"
#include "isolate/isolate.h"
#include "isolate/limit.h"
#include "isolate/place.h"
#include "isolate/scope.h"
#include "isolate/slice.h"

#include <setjmp.h>
#include <stdlib.h>

enum { MAGIC = 0x66696272, SPARE_MAX = 256 };

/* Addresses of keys in the registry. */
static const char CANCELLED_KEY = 0;

struct sched *sched_of(lua_State *L) {
    struct isolate *i = generation_of(L)->isolate;
    return i ? &i->sched : NULL;
}

struct fiber *fiber_of(lua_State *L) {
    struct sched *s = sched_of(L);
    return s && s->running == L ? s->current : NULL;
}

/* The run queue. */

static void enqueue(struct sched *s, struct fiber *f) {
    f->queued = true;
    list_append(&s->runnable, &f->run);
    loop_defer(s->loop, &s->turn);
}

static inline struct sched *sched_for(struct fiber *f) {
    return &f->generation->isolate->sched;
}

static void unpark(struct fiber *f) {
    f->parked = false;
    if (f->waiting && !f->waiting->lasting) waiter_leave(f->waiting);
    if (timer_is_set(&f->deadline)) timer_clear(sched_for(f)->loop, &f->deadline);
}

void fiber_wake(struct fiber *f, enum wake why) {
    if (why == WAKE_CANCEL && f->waiting) waiter_leave(f->waiting); /* it unwinds */
    if (!f->parked) return;
    unpark(f);
    f->woke = (uint8_t)why;
    f->arguments = 0;
    enqueue(sched_for(f), f);
}

void sched_wake(struct waiter *w, enum wake why) {
    struct fiber *f = w->fiber;
    if (!f) return;
    MAGIC_CHECK(f, MAGIC);
    fiber_wake(f, why);
}

static void deadline_over(struct timer *t) {
    fiber_wake(LIST_OF(t, struct fiber, deadline), WAKE_TIMEOUT);
}

void fiber_cancel(struct fiber *f) {
    MAGIC_CHECK(f, MAGIC);
    f->cancelled = true;
    fiber_wake(f, WAKE_CANCEL);
}

static void suspend(struct sched *s, struct fiber *f) {
    f->queued = true;
    f->arguments = 0;
    limit_settle(f);
    list_append(&s->suspended, &f->run);
    loop_defer(s->loop, &s->turn);
    s->overrun = s->loop->now;
}

/* Birth. */

struct birth {
    lua_State *co;
    int registry;
};

static int make_coroutine(lua_State *L) {
    struct birth *b = lua_touserdata(L, 1);
    b->co = lua_newthread(L);
    b->registry = luaL_ref(L, LUA_REGISTRYINDEX);
    return 0;
}

static struct fiber *make(struct generation *g) {
    struct birth b = {0};
    struct fiber *f = malloc(sizeof *f);
    if (!f) return NULL;
    if (!lua_checkstack(g->L, 4)) goto fail;
    lua_pushcfunction(g->L, make_coroutine);
    lua_pushlightuserdata(g->L, &b);
    if (gate_call(g->L, 1, 0, NULL) != 0) goto fail;
    *f = (struct fiber){.magic = MAGIC,
                        .co = b.co,
                        .registry = b.registry,
                        .generation = g,
                        .woke = WAKE_EVENT};
    coro_set(f->co, CORO_BASE);
    list_init(&f->member);
    list_init(&f->run);
    timer_init(&f->deadline, deadline_over);
    limit_init(f);
    return f;
fail:
    free(f);
    return NULL;
}

struct fiber *fiber_new(struct generation *g, enum fiber_kind kind,
                        const struct fiber_owner *owner_ops, void *owner) {
    struct link *first = list_first(&g->spare);
    struct fiber *f;
    if (__builtin_expect(first && g->state != GEN_CLOSING, 1)) {
        f = LIST_OF(first, struct fiber, member);
        list_unlink(first);
        g->spare_count--;
    } else if (g->state == GEN_CLOSING || !(f = make(g))) {
        return NULL;
    }
    f->kind = kind;
    f->owner_ops = owner_ops;
    f->owner = owner;
    list_append(&g->fibers, &f->member);
    g->fiber_count++;
    g->request_count += kind == FIBER_REQUEST;
    g->host_count += kind == FIBER_HOST;
    g->isolate->sched.started++;
    return f;
}

/* Death. */

void fiber_discard(struct fiber *f) {
    luaL_unref(f->generation->L, LUA_REGISTRYINDEX, f->registry);
    free(f->chain);
    f->magic = 0;
    free(f);
}

/* The fiber's coroutine is at its base and owes nothing to anybody. */
static void recycle(struct sched *s, struct fiber *f) {
    struct generation *g = f->generation;
    s->ended++;
    list_unlink(&f->member);
    g->fiber_count--;
    g->request_count -= f->kind == FIBER_REQUEST;
    g->host_count -= f->kind == FIBER_HOST;
    if (lua_gettop(f->co)) lua_settop(f->co, 0);
    if (__builtin_expect(f->starved, 0)) budget_look(g);
    if (__builtin_expect(f->traits, 0)) limit_forget(f);
    f->cancelled = f->starved = false;
    f->chain_count = 0;
    f->owner_ops = NULL;
    if (__builtin_expect(g->spare_count < SPARE_MAX && !f->traits &&
                             !lua_gethook(f->co) && g->state < GEN_DRAINING,
                         1)) {
        list_prepend(&g->spare, &f->member);
        g->spare_count++;
        return;
    }
    fiber_discard(f);
    if (g->state == GEN_DRAINING) isolate_drained(g);
}

static inline void count_switch(struct sched *s) {
    /* one writer: no locked instruction is needed */
    unsigned n = atomic_load_explicit(&s->switches, memory_order_relaxed);
    atomic_store_explicit(&s->switches, n + 1, memory_order_relaxed);
}

/* Closes what is to be closed in co; f is current meanwhile, and watched. */
static void reset(struct sched *s, struct fiber *f, lua_State *co) {
    struct fiber *current = s->current;
    lua_State *running = s->running;
    if (!current) count_switch(s);
    s->current = f;
    sched_runs(s, co);
    s->closing = true;
    preempt_unmask(co);
    coro_reset(co, f->generation->L);
    s->closing = false;
    s->running = running;
    s->current = current;
    if (!current) count_switch(s);
    if (s->preempt.armed == co) preempt_move(s, running);
}

static void fail(struct sched *s, struct fiber *f, int code) {
    if (f->scopes) scope_drop(f, NULL);
    if (f->owner_ops) f->owner_ops->ended(f, f->owner, code, f->co, 1);
    reset(s, f, f->co);
    recycle(s, f);
}

/* What its first function has kept for the owner is kept on the state's own stack,
 * until the owner has been told: nothing else may have it when the coroutine is empty.
 */
static int keep_first(struct fiber *f) {
    lua_State *L = f->generation->L;
    int before = lua_gettop(L);
    if (lua_checkstack(L, 1) && coro_push_first(f->co)) lua_xmove(f->co, L, 1);
    return before;
}

void fiber_kill(struct fiber *f) {
    MAGIC_CHECK(f, MAGIC);
    struct sched *s = sched_for(f);
    CHECK(f != s->current);
    f->cancelled = true;
    if (f->parked) unpark(f);
    if (f->waiting) waiter_leave(f->waiting);
    if (f->queued) list_unlink(&f->run);
    f->queued = false;
    f->generation->stack_base = __builtin_frame_address(0);
    scope_drop(f, NULL);
    lua_State *L = f->generation->L;
    int before = keep_first(f);
    for (int i = 0; i < f->chain_count; i++) {
        coro_clear(f->chain[i], CORO_WAITING | CORO_PASSING);
        reset(s, f, f->chain[i]);
    }
    coro_clear(f->co, CORO_WAITING | CORO_PASSING);
    reset(s, f, f->co);
    lua_settop(f->co, 0);
    sched_push_cancelled(f->co);
    fail(s, f, ERR_CANCELLED);
    lua_settop(L, before);
}

/* Running. */

static void go_on(struct sched *s, struct fiber *f, int arguments) {
    lua_State *co = f->co;
    int results;
    if (__builtin_expect(s->watchdog != NULL, 1)) slices_rouse(s->watchdog);
    f->generation->stack_base = __builtin_frame_address(0);
    f->chain_count = 0;
    if (__builtin_expect(f->waiting != NULL, 0)) waiter_leave(f->waiting);
    coro_clear(co, CORO_WAITING | CORO_PASSING);
    s->current = f;
    count_switch(s);
    sched_runs(s, co);
    s->lucky = 0;
    int status = lua_resume(co, f->generation->L, arguments, &results);
    s->running = NULL;
    count_switch(s);
    s->current = NULL;
    if (__builtin_expect(s->preempt.armed != NULL, 0)) {
        s->overrun = s->loop->now; /* in C, too: events have waited */
        preempt_move(s, NULL);
    }
    if (__builtin_expect(status == LUA_OK, 1)) {
        if (__builtin_expect(f->scopes != NULL, 0)) scope_drop(f, NULL);
        if (f->owner_ops) f->owner_ops->ended(f, f->owner, 0, co, results);
        recycle(s, f);
    } else if (status == LUA_YIELD) {
        if (!s->parking) { /* a C library or a hook gives others their turn */
            lua_pop(co, results);
            f->arguments = 0;
            enqueue(s, f);
        } else if (!f->parked && !f->queued) {
            suspend(s, f);
        }
        s->parking = false;
        if (__builtin_expect(f->starved, 0)) budget_look(f->generation);
    } else {
        int code = ERR_LUA;
        if (status == LUA_ERRMEM) {
            code = ERR_MEMORY;
            budget_noticed(co);
        } else if ((f->cancelled || s->end) && sched_is_cancelled(co, -1))
            code = ERR_CANCELLED;
        fail(s, f, code);
    }
}

void fiber_run(struct fiber *f, int arguments) {
    MAGIC_CHECK(f, MAGIC);
    struct sched *s = sched_for(f);
    CHECK(!s->current);
    go_on(s, f, arguments);
}

void fiber_queue(struct fiber *f, int arguments) {
    MAGIC_CHECK(f, MAGIC);
    f->arguments = arguments;
    enqueue(sched_for(f), f);
}

void sched_enter(struct sched *s, lua_State *L) {
    if (s->watchdog) slices_rouse(s->watchdog);
    count_switch(s);
    sched_runs(s, L);
}

void sched_leave(struct sched *s) {
    s->running = NULL;
    count_switch(s);
    if (__builtin_expect(s->preempt.armed != NULL, 0)) preempt_move(s, NULL);
}

static void run_next(struct sched *s, struct link *queue) {
    struct fiber *f = LIST_OF(list_first(queue), struct fiber, run);
    list_unlink(&f->run);
    f->queued = false;
    go_on(s, f, f->arguments);
}

/* One pass: those who become runnable meanwhile have their turn in the next. It ends
 * when a slice is used up, so that events do not wait for several; whoever was
 * suspended goes on when all others have had their turn. */
static void run_turn(struct deferred *d) {
    struct sched *s = LIST_OF(d, struct sched, turn);
    struct link batch;
    if (s->paused) return;
    list_init(&batch);
    list_splice(&batch, &s->runnable);
    s->overrun = 0;
    while (!list_empty(&batch) && !s->overrun) run_next(s, &batch);
    if (!s->overrun && !list_empty(&s->suspended)) run_next(s, &s->suspended);
    list_splice(&batch, &s->runnable); /* who is left is before those who came */
    list_splice(&s->runnable, &batch);
    if (!list_empty(&s->runnable) || !list_empty(&s->suspended)) loop_defer(s->loop, d);
}

void sched_pause(struct sched *s, bool pause) {
    s->paused = pause;
    if (!pause) loop_defer(s->loop, &s->turn);
}

void sched_init(struct sched *s, struct loop *loop) {
    *s = (struct sched){.loop = loop, .turn = {.run = run_turn}};
    list_init(&s->turn.link);
    list_init(&s->runnable);
    list_init(&s->suspended);
}

void sched_done(struct sched *s) {
    CHECK(s->started == s->ended && !s->current);
    list_unlink(&s->turn.link);
}

/* Parking. */

bool sched_overstays(lua_State *L) {
    static const int64_t LONG = 1000000; /* ns */
    struct sched *s = sched_of(L);
    /* The clock costs more than what is asked for. */
    if (!s || !s->current || s->whole || ++s->lucky % 16) return false;
    return clock_ns() - s->loop->now > LONG && s->running == L && !s->barrier &&
           lua_isyieldable(L);
}

void sched_check_waitable(lua_State *L) {
    struct sched *s = sched_of(L);
    struct fiber *f = s ? s->current : NULL;
    if (!f) luaL_error(L, "cannot wait outside a fiber");
    if (__builtin_expect(f->cancelled || f->scopes, 0)) scope_check(L, f);
    if (__builtin_expect(!lua_isyieldable(L), 0))
        luaL_error(L, "cannot wait inside %s", place_push(L, L));
    if (__builtin_expect(s->barrier != NULL, 0))
        luaL_error(L, "cannot wait inside %s", place_push(L, s->barrier));
    if (__builtin_expect(s->running != L, 0))
        luaL_error(L, "cannot wait inside a coroutine that a C library resumed");
}

static int awoken(lua_State *L, int status, lua_KContext context) {
    (void)status, (void)context;
    struct fiber *f = sched_of(L)->current;
    coro_clear(L, CORO_WAITING);
    if (__builtin_expect(f->cancelled || f->scopes, 0)) scope_check(L, f);
    return f->k(L, LUA_YIELD, f->context);
}

int sched_park(lua_State *L, struct waiter *w, int64_t deadline, lua_KFunction k,
               lua_KContext context) {
    sched_check_waitable(L);
    struct sched *s = sched_of(L);
    struct fiber *f = s->current;
    if (w && w->fiber) return luaL_error(L, "another fiber waits here already");
    bool over = deadline && deadline <= s->loop->now; /* only gives way to others */
    if (deadline && !over && timer_set(s->loop, &f->deadline, deadline) != 0)
        return budget_raise(L);
    limit_settle(f);
    if (w) w->fiber = f;
    f->waiting = w;
    f->k = k;
    f->context = context;
    f->parked = true;
    f->computed = 0;
    f->told = false;
    s->parking = true;
    coro_set(L, CORO_WAITING);
    if (__builtin_expect(over, 0)) {
        limit_look(f, s->loop->now);
        fiber_wake(f, WAKE_TIMEOUT);
    } else {
        f->alone = 0;
    }
    return lua_yieldk(L, 0, 0, awoken);
}

void sched_suspend(lua_State *L) {
    sched_of(L)->parking = true;
    coro_set(L, CORO_PASSING);
    lua_yield(L, 0); /* happens when the hook has returned */
}

enum wake sched_woke(lua_State *L) {
    return (enum wake)sched_of(L)->current->woke;
}

bool sched_is_late(lua_State *L, int status, int64_t deadline) {
    return status == LUA_YIELD && sched_woke(L) == WAKE_TIMEOUT && deadline &&
           deadline <= clock_ns();
}

/* Without memory the coroutine is not noted: then it cannot be closed while it waits,
 * and a kill does not close its variables. */
void fiber_passed(struct fiber *f, lua_State *co) {
    if (f->chain_count == f->chain_capacity) {
        unsigned capacity = f->chain_capacity ? f->chain_capacity * 2u : 4;
        lua_State **chain = realloc(f->chain, capacity * sizeof(lua_State *));
        if (!chain) return;
        f->chain = chain;
        f->chain_capacity = (uint16_t)capacity;
    }
    f->chain[f->chain_count++] = co;
}

struct fiber *fiber_waiting_in(struct generation *g, lua_State *co) {
    for (struct link *l = g->fibers.next; l != &g->fibers; l = l->next) {
        struct fiber *f = LIST_OF(l, struct fiber, member);
        if (f->chain_count && f->chain[0] == co) return f;
    }
    return NULL;
}

/* What a cancel raises. */

void sched_push_cancelled(lua_State *L) {
    lua_rawgetp(L, LUA_REGISTRYINDEX, &CANCELLED_KEY);
}

bool sched_is_cancelled(lua_State *L, int index) {
    index = lua_absindex(L, index);
    if (!lua_checkstack(L, 1)) return false;
    sched_push_cancelled(L);
    bool is = lua_rawequal(L, index, -1);
    lua_pop(L, 1);
    return is;
}

static int cancelled_text(lua_State *L) {
    lua_pushliteral(L, "cancelled");
    return 1;
}

int luaopen_atoll_sched(lua_State *L) {
    lua_createtable(L, 0, 2);
    lua_pushliteral(L, "ECANCELED");
    lua_setfield(L, -2, "code");
    lua_pushliteral(L, "cancelled");
    lua_setfield(L, -2, "message");
    lua_createtable(L, 0, 2);
    lua_pushcfunction(L, cancelled_text);
    lua_setfield(L, -2, "__tostring");
    lua_pushliteral(L, "cancelled");
    lua_setfield(L, -2, "__name");
    lua_setmetatable(L, -2);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &CANCELLED_KEY);
    return 0;
}

#if ALLOC_PLAIN && !__USE_FORTIFY_LEVEL
/* Debian's Lua is built with fortified longjmp, which sanitizers do not know: without
 * this they believe that the frames left behind are still there. */
void __longjmp_chk(jmp_buf env, int value);
void __longjmp_chk(jmp_buf env, int value) {
    longjmp(env, value);
}
#endif
