/* An isolate: a thread, its loop, its fibers' scheduler, and the generations living on
 * it: the current one, at most one adopted and waiting to become current, and those
 * that drain.
 *
 * Made and joined by the host's main thread; everything else happens on its own thread,
 * reached from outside by loop_post. It knows nothing of HTTP: whoever serves on it
 * hangs its own object at `user`. */
#ifndef ISOLATE_ISOLATE_H
#define ISOLATE_ISOLATE_H

#include "isolate/generation.h"
#include "net/loop.h"
#include "net/resolve.h"

#include <pthread.h>

/* Of a thread that runs Lua, which nests 200 C calls, each at most some 2.5 KiB; see
 * generation_stack_is_deep. Only pages that are touched count. Sanitizers make frames
 * bigger. */
enum { ISOLATE_STACK = (ALLOC_PLAIN ? 4 : 1) * 1024 * 1024 };

struct isolate {
    uint32_t magic;
    int index; /* 1.. */
    struct loop loop;
    struct sched sched;
    struct resolver *resolver; /* NULL until it is asked for */
    struct generation *current;
    struct generation *next; /* adopted, not yet current */
    bool held; /* it is not to be that when a request comes: its number serves already,
                  but it has yet to start */
    struct link generations; /* all on this isolate */
    /* The number that all isolates of this host should serve; set by one store at the
       moment of a switch. */
    const atomic_ullong *serving;
    struct pool *files, *blocking; /* the host's, shared by its isolates */
    void *user;
    void (*begin)(struct isolate *i); /* on the new thread, before the loop runs */
    void (*end)(struct isolate *i);   /* on the thread, after the loop has ended and all
                                         fibers were killed; the generations still are */
    bool signals;       /* its thread, and so what it starts, is open to signals */
    atomic_bool killed; /* it is to end; the watchdog sees to it if it does not wait */
    bool leaving; /* it finishes what it has: nothing is to be begun for the host */
    pthread_t thread;
    bool started;
    char name[16]; /* "isolate 1" */
};

/* The loop and scheduler are made; no thread runs yet. 0 or a negative errno. */
int isolate_init(struct isolate *i, int index, const atomic_ullong *serving);

/* Starts the thread. 0 or a negative errno. */
int isolate_start(struct isolate *i);

/* Waits for the thread. It ends after loop_stop: kills all fibers, calls end, and frees
 * all generations. A started isolate must be joined before isolate_done. */
void isolate_join(struct isolate *i);
void isolate_done(struct isolate *i);

/* The isolate's thread: the adopted generation becomes `next`. */
void isolate_adopt(struct isolate *i, struct generation *g);

/* The isolate's thread: makes `next` current and lets the old one drain; called through
 * isolate_follow, and by the host to make idle isolates follow at once. Does nothing
 * where there is no `next`. */
void isolate_switch(struct isolate *i);

/* The same for a request, where another number is to serve than does: if `next` has
 * that one, and is not held. */
void isolate_follow(struct isolate *i);

/* The generation that the next request goes to. */
static inline struct generation *isolate_generation(struct isolate *i) {
    struct generation *g = i->current;
    if (__builtin_expect(
            g->number != atomic_load_explicit(i->serving, memory_order_acquire), 0)) {
        isolate_follow(i);
        g = i->current;
    }
    return g;
}

/* The isolate's thread: gives up an adopted generation that will not be served; it is
 * freed at the end of the turn. */
void isolate_reject(struct isolate *i, struct generation *g);

/* The isolate's thread: asks for names as the current generation wants it. NULL without
 * memory. */
struct resolver *isolate_resolver(struct isolate *i);

/* Used by sched: a fiber of g, which drains, has ended. */
void isolate_drained(struct generation *g);

#endif
