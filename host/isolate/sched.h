/* Fibers: coroutines that the host schedules. Here stand the only lua_resume and the
 * only lua_yieldk. A fiber runs until it parks, ends or fails; a wake puts it into the
 * run queue of its isolate, which is emptied at the end of the loop's turn. A wake
 * meets only the park that it is meant for: a fiber that was woken, by whatever, is not
 * woken again.
 *
 * A fiber's first function is a C function of the api layer, called inside the
 * coroutine with whatever the starter pushes; so all that it does, from reading the
 * request to sending the answer, may raise and may wait. Ended coroutines are kept and
 * used again.
 *
 * Where a program runs coroutines of its own, the coroutine library of coro.h passes a
 * park through all of them up to sched and the wake back down. The isolate's thread. */
#ifndef ISOLATE_SCHED_H
#define ISOLATE_SCHED_H

#include "base/buf.h"
#include "base/list.h"
#include "isolate/preempt.h"
#include "net/loop.h"

#include <lua.h>
#include <stdatomic.h>

struct fiber;
struct generation;
struct scope;

/* The place in an object where one fiber waits for it; NULL when none does. A lasting
 * one stays set until the fiber has gone on, or was cancelled, so that nobody else
 * comes between the wake and what it does then; its object calls waiter_leave in the
 * end. */
struct waiter {
    struct fiber *fiber;
    bool lasting;
};

enum wake { WAKE_EVENT, WAKE_TIMEOUT, WAKE_CANCEL };

enum fiber_kind {
    FIBER_REQUEST, /* a generation's drain waits for it */
    FIBER_TASK,    /* spawned; a generation's drain waits for it */
    FIBER_HOST,    /* start and reload hooks, scripts */
};

/* What becomes of a fiber whose time is over. */
enum late {
    LATE_END,
    LATE_AGAIN, /* it has as much time once more */
    LATE_NEVER, /* there is no limit any more */
};

/* Told when a fiber ends, on the isolate's thread and outside Lua; the fiber and its
 * coroutine are still whole during the call and recycled after it. status is 0 with the
 * results of the first function on co's stack (count of them), or ERR_LUA, ERR_MEMORY
 * or ERR_CANCELLED with the error value on top of co's stack and co as the error left
 * it, so that a traceback can be taken. May start fibers; must not resume any.
 *
 * late is asked when the fiber has gone on for handler_timeout; without it there is no
 * such limit. left: whether those for whom it does what it does have gone; then, and
 * when it was cancelled, it may not compute for as long without a wait. */
struct fiber_owner {
    void (*ended)(struct fiber *f, void *owner, int status, lua_State *co, int count);
    enum late (*late)(struct fiber *f, void *owner);
    bool (*left)(const void *owner);
};

enum {
    FIBER_EXPOSED = 1, /* the program has co's name: it is not used again */
    FIBER_LIMITED = 2, /* it did not end at once: whether it has a limit is settled */
    FIBER_ALONE = 4,   /* it is being ended since nobody waits for it */
};

struct fiber {
    uint32_t magic;
    enum fiber_kind kind;
    lua_State *co;
    struct generation *generation;
    const struct fiber_owner *owner_ops;
    void *owner;
    struct link member;     /* of the generation's live fibers or of its spare ones */
    struct link run;        /* of the isolate's run queue */
    struct waiter *waiting; /* a lasting one also when it was woken */
    struct timer deadline;
    struct scope *scopes; /* atoll.timeout, innermost first */
    /* While parked: the program's coroutines between the park and co, the innermost
       (which waits) first; none when co itself waits. */
    lua_State **chain;
    uint16_t chain_count, chain_capacity;
    bool parked, queued, cancelled;
    bool late;        /* its time is over: it is being ended */
    bool told;        /* the log has its place already */
    int64_t computed; /* ns without a wait before it was last suspended */
    int64_t ending;   /* when it was first told to end, monotonic ns; 0 */
    int64_t spared;   /* the same of its limit as in struct scope */
    int64_t alone;    /* since when nobody waits for it and it does not wait, or 0 */
    struct timer limit;
    int64_t limited_by; /* ns */
    bool starved;       /* memory ran out in it */
    uint8_t traits;     /* what is not so with most: FIBER_... */
    int registry;       /* reference that keeps co alive */
    uint8_t woke;       /* enum wake */
    int arguments;      /* on co, for when it is first run */
    lua_KFunction k;
    lua_KContext context;
};

struct slices;

/* One per isolate. */
struct sched {
    struct loop *loop;
    struct deferred turn;
    struct link runnable;
    struct link suspended; /* those that have overrun their slice */
    int64_t overrun;       /* the loop's time of the turn in which one did */
    struct fiber *current; /* the fiber that runs now, or NULL */
    /* Its innermost coroutine, or NULL; read by a signal handler on this thread. */
    lua_State *volatile running;
    struct preempt preempt;
    struct preempt_stuck stuck;
    volatile lua_Hook end; /* a hook on whatever runs next, or NULL; see sched_runs */
    lua_State *barrier;    /* has resumed a coroutine of the program where it could
                              not be suspended itself: parks must fail beyond it */
    bool paused;           /* the run queue is left as it is */
    bool whole;            /* for specs: who does not wait is not suspended */
    unsigned lucky;        /* waits of current's that were none, since it went on */
    bool parking;          /* the yield on its way up is a park, or is forced */
    bool closing;          /* what is to be closed in a fiber that was killed */
    uint64_t scopes_made;
    uint64_t started, ended;  /* fibers, for metrics and leftovers */
    struct slices *watchdog;  /* NULL when nobody watches */
    atomic_uint switches;     /* into and out of fibers: odd inside */
    atomic_llong slice_since; /* ns; written by the watchdog before it signals */
};

void sched_init(struct sched *s, struct loop *loop);
void sched_done(struct sched *s); /* no fiber may be left */

/* While it is paused no fiber is taken out of the run queue. */
void sched_pause(struct sched *s, bool pause);

/* Of the isolate that L's generation is on; NULL before it is adopted. */
struct sched *sched_of(lua_State *L);

/* A fiber ready for fiber_run: push arguments onto f->co, then call it. NULL when
 * memory has run out or the generation is being closed. owner_ops may be NULL. Pooled:
 * no allocation in the steady state.
 */
struct fiber *fiber_new(struct generation *g, enum fiber_kind kind,
                        const struct fiber_owner *owner_ops, void *owner);

/* Runs the function on f->co below its n arguments now, until it first parks or ends
 * (the owner may have been told, and f be recycled, on return). Not from inside a
 * fiber. */
void fiber_run(struct fiber *f, int arguments);

/* The same at the end of the turn; from anywhere. */
void fiber_queue(struct fiber *f, int arguments);

/* The fiber's park (the present one, or its next) ends with an error that carries text,
 * and every later one too, so that only its to-be-closed variables run on. From
 * anywhere. */
void fiber_cancel(struct fiber *f);

/* Ends a parked or queued fiber at once, closing its to-be-closed variables, without
 * letting it run on; its owner is told ERR_CANCELLED. For the closing of a generation.
 */
void fiber_kill(struct fiber *f);

/* The fiber of the coroutine L, or NULL outside any (at load time, in a finalizer). */
struct fiber *fiber_of(lua_State *L);

/* `return sched_park(L, &object->reader, deadline, k, context);`
 * Parks the running fiber until sched_wake(w), or until the monotonic time `deadline`
 * (ns; 0 for none) or a cancel; w may be NULL for a mere sleep. Then k(L, LUA_YIELD,
 * context) runs with L's stack as it was, and asks sched_woke. A cancel raises instead
 * of calling k. Raises at once, naming the place, where L cannot be suspended ("cannot
 * wait inside table.sort (a comparator)"), and when another fiber waits at w. */
int sched_park(lua_State *L, struct waiter *w, int64_t deadline, lua_KFunction k,
               lua_KContext context);

/* For waits that find what they want at once, over and over: true when the loop's turn
 * has lasted for long, so that others should have theirs, and L can be suspended: then
 * park without a waiter until the deadline 1, which is over. */
bool sched_overstays(lua_State *L);

/* In k: WAKE_EVENT or WAKE_TIMEOUT. */
enum wake sched_woke(lua_State *L);

/* In k, with its status: whether it was the operation's deadline that ended the park,
 * and not the one that sched_overstays asked for. */
bool sched_is_late(lua_State *L, int status, int64_t deadline);

/* Puts the fiber waiting at w, if any, into the run queue, and clears w unless it is
 * lasting. */
void sched_wake(struct waiter *w, enum wake why);

/* Raises unless a park at this place would succeed; for functions that have side
 * effects before they park. */
void sched_check_waitable(lua_State *L);

/* Pushes the error value that a cancel raises; it prints as "cancelled" and its field
 * code is "ECANCELED". */
void sched_push_cancelled(lua_State *L);
bool sched_is_cancelled(lua_State *L, int index);

/* Used by preempt.h, in a hook: L, which can be suspended, goes on after others. */
void sched_suspend(lua_State *L);

/* Whether a fiber has used up its slice in this turn of the loop: what could begin had
 * better be queued. */
static inline bool sched_overran(const struct sched *s) {
    return s->overrun == s->loop->now;
}

/* Used by outside.h: L, which no fiber has resumed, is about to run, and has run. */
void sched_enter(struct sched *s, lua_State *L);
void sched_leave(struct sched *s);

/* Used by generation.h, coro.h and scope.h. */

/* Frees a spare fiber that is in no list. */
void fiber_discard(struct fiber *f);

/* While f is on its way up from a park: co was resumed by another coroutine. */
void fiber_passed(struct fiber *f, lua_State *co);

/* The parked fiber whose innermost coroutine is co, or NULL. */
struct fiber *fiber_waiting_in(struct generation *g, lua_State *co);

/* Ends f's park, if it is parked: queues it. */
void fiber_wake(struct fiber *f, enum wake why);

int luaopen_atoll_sched(lua_State *L);

/* Used by coro.h, too: co is about to run, or to go on. */
static inline void sched_runs(struct sched *s, lua_State *co) {
    s->running = co;
    if (__builtin_expect(s->end != NULL, 0)) lua_sethook(co, s->end, LUA_MASKCOUNT, 1);
}

static inline bool waiter_is_set(const struct waiter *w) {
    return w->fiber != NULL;
}

/* Whoever waits, or was woken there, has nothing to do with w any more. */
static inline void waiter_leave(struct waiter *w) {
    if (w->fiber) w->fiber->waiting = NULL;
    w->fiber = NULL;
}

#endif
