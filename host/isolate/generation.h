/* A generation is one Lua state and what was loaded into it: built, started, serving,
 * draining, closed. It is built away from any loop, on the loader's thread;
 * adopted by an isolate; and closed when its last fiber ends after it was replaced.
 *
 * What the api layer keeps about the loaded app hangs at `app`, freed by `app_free`
 * right before the state is closed. Generations are numbered per host; all isolates'
 * generations of one load share the number. The thread that it is on: the loader's
 * until adopted, then the isolate's. */
#ifndef ISOLATE_GENERATION_H
#define ISOLATE_GENERATION_H

#include "base/buf.h"
#include "isolate/alloc.h"
#include "isolate/budget.h"
#include "isolate/coro.h"
#include "isolate/outside.h"
#include "isolate/sched.h"
#include "net/dns.h"

enum generation_state {
    GEN_BUILT,
    GEN_STARTED,
    GEN_SERVING,
    GEN_DRAINING,
    GEN_CLOSING
};

enum { GEN_PASSING = 16 };

struct isolate;
struct commons;

/* Something of a generation's that goes on elsewhere and comes back: while it drains it
 * does not end before that. */
struct generation_hold {
    struct link link;
    struct generation *generation; /* NULL: it has ended all the same, or let go */
    /* The generation has ended; the hold is in no list any more. */
    void (*ended)(struct generation_hold *h);
};

/* How a state is made; one for all of a host. Borrowed, must outlive the generations.
 */
struct generation_plan {
    /* Opens libraries and loads the app or script; runs under the gate on the new
       state. May raise. g->L is L. */
    int (*open)(lua_State *L, struct generation *g, void *data);
    /* In its place, when there was not the memory for an app; or NULL. */
    void (*unopened)(void *data);
    void *data;
    bool generational;       /* collector mode; incremental otherwise */
    size_t memory;           /* bytes that the state may have in use; 0: any */
    unsigned fault;          /* for specs: alloc_fail; 0: none */
    int64_t drain_timeout;   /* ns */
    int64_t load_timeout;    /* ns for what `open` does, and for the app's hooks */
    int64_t handler_timeout; /* ns in which a request's answer must begin; 0: any */
    int64_t stuck_timeout;   /* ns for which no fiber may be where it cannot be
                                suspended; 0: any */
    struct commons *commons; /* NULL where there are none */
    struct dns_options names;
};

struct generation {
    uint32_t magic;
    enum generation_state state;
    uint64_t number;
    lua_State *L;
    struct alloc alloc;
    struct budget budget;
    struct isolate *isolate; /* NULL until adopted */
    const struct generation_plan *plan;
    struct link fibers; /* live: running, parked or queued */
    struct link spare;
    unsigned fiber_count, spare_count;
    unsigned request_count, host_count; /* of fiber_count, those of that kind */
    struct link holds;
    const char *stack_base;             /* where the thread's stack was at the entry */
    lua_CFunction passing[GEN_PASSING]; /* C functions that a park passes through */
    /* Where there is no isolate: the innermost coroutine, which may be halted by a
       signal handler; and the hook that then ends them all. */
    lua_State *volatile running;
    volatile lua_Hook halt;
    bool slept, waited; /* outside a fiber; it was logged */
    bool warns;         /* warn("@on") */
    struct buf warning; /* the pieces so far */
    int64_t retired;    /* monotonic ns when it began to drain */
    struct timer drain;
    struct grave grave;
    struct link member; /* of the isolate's generations */
    struct outside outside;
    void *app;
    void (*app_free)(struct generation *g);
    /* Another one is current now, and this one drains; outside Lua. */
    void (*replaced)(struct generation *g);
    /* Memory has run out and does not come back; outside Lua, on the isolate's thread.
       Once, unless there was room in between. */
    void (*exhausted)(struct generation *g);
};

/* Builds a state: standard libraries, host's coroutine library, then plan->open. NULL
 * on failure with *error saying why (file:line: message and traceback). */
struct generation *generation_new(const struct generation_plan *plan, uint64_t number,
                                  struct buf *error);

/* In a signal handler, on a thread that is in generation_new: it fails. */
void generation_interrupt(void);

/* Frees one that was never adopted, or whose isolate has given it up; fibers left are
 * killed first. Runs finalizers. */
void generation_free(struct generation *g);

/* Of the state that L belongs to. */
static inline struct generation *generation_of(lua_State *L) {
    return (struct generation *)(*coro_extra(L) & ~(uintptr_t)CORO_MARKS);
}

/* The C function f calls Lua with lua_callk or lua_pcallk and may wait: an error that
 * names where waiting is impossible does not blame it. At most a few; not checked. */
void generation_lets_through(struct generation *g, lua_CFunction f);

/* Ends all fibers now, those of the host too. How many there were. */
unsigned generation_kill(struct generation *g);

/* Whether so much of the C stack is used that what Lua does not count as nesting (the
 * __close methods of a coroutine closed by another one) must be refused. */
bool generation_stack_is_deep(const struct generation *g);

/* On the isolate's thread. h->ended is set. */
void generation_hold(struct generation *g, struct generation_hold *h);
void generation_let_go(struct generation_hold *h);

/* Bytes in use now, native ones that belong to its values included. */
size_t generation_bytes(struct generation *g);

#endif
