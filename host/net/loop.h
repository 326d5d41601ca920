/* One thread's event loop: libev for descriptors, a timerfd for time, an inbox that any
 * thread can post to. What has to die during a turn is freed at its end, so no function
 * must survive the death of its own object; what has to run later in the turn, after
 * all events were read, is deferred.
 *
 * loop_run turns until loop_stop. Each turn: sleep, events, inbox, timers, deferred
 * calls, the last calls, graves. A deferred call made while those run is run before the
 * loop sleeps.
 * Only loop_post and the atomics may be used from another thread; all else from the
 * loop's own. */
#ifndef NET_LOOP_H
#define NET_LOOP_H

#include "base/clock.h"
#include "base/list.h"
#include "net/timer.h"

#include <ev.h>
#include <stdatomic.h>
#include <stdint.h>

struct stream;

/* A message to a loop; lives in whatever is sent. */
struct post {
    struct post *next;
    void (*run)(struct post *self); /* on the receiving loop's thread */
};

/* A call to be made once later in this turn; linked while it waits. */
struct deferred {
    struct link link;
    void (*run)(struct deferred *self);
};

/* Who still has something to send. Whoever ends a loop waits until nobody has, for as
 * long as that is worth; loop_done tells those who are left. */
struct debt {
    struct link link;
    void (*give_up)(struct debt *self);
};

/* Who wants a descriptor while there is none: told once, when a stream of the loop has
 * given one back. */
struct hungry {
    struct link link;
    void (*fed)(struct hungry *self);
};

/* Freed at the end of the turn by calling done. */
struct grave {
    struct grave *next;
    void (*done)(struct grave *self);
};

enum {
    LOOP_SCRATCH = 64 * 1024,
    /* A little more than the blocks that people like to send: who reads into all of it,
       and does not fill it, has found the end of what was there. */
    LOOP_LANDING = LOOP_SCRATCH + 1024,
    LOOP_HEAD = 24, /* bytes before it */
};

struct loop {
    struct ev_loop *ev;
    int64_t now;   /* monotonic ns, refreshed once a turn */
    int64_t asked; /* when the kernel was last asked for events, the same */
    struct timers timers;
    struct link deferred, last;
    struct link debts;
    struct link hungry;
    struct grave *graves, **graves_end; /* in the order of burying */
    struct clock_date date;             /* the Date header's text */
    /* LOOP_SCRATCH bytes, for what is read and parsed in one go from a callback of the
       loop; the handlers that run meanwhile do not use it. */
    char *scratch;
    char *landing; /* a block of malloc's, or NULL: see loop_landing */
    char *block;   /* for the output of a stream; NULL while the borrower has it */
    const struct stream *borrower;
    bool stopping;
    bool looks; /* for events, before its timers run */
    bool deaf;  /* it may not be watching all that it has to: no sleep */
    ev_prepare prepare;
    ev_check check;
    ev_idle idle;
    ev_io wake;                                /* an eventfd */
    _Alignas(64) _Atomic(struct post *) inbox; /* the last posted first */
    /* Threads that are in loop_post: a post may have run, and ended the loop, before
       the wake-up that follows it is sent. */
    atomic_uint posting;
    /* When this turn began, monotonic ns; 0 in, or about to enter, epoll_wait. */
    atomic_llong awake_since;
};

/* 0 or a negative errno. The loop may be made on one thread and run on another. */
int loop_init(struct loop *l);

/* Waits for the threads that are about to post, which are none soon; all posts not yet
 * run are run first, then all graves are freed. */
void loop_done(struct loop *l);

void loop_run(struct loop *l);

/* Runs what has been posted to a loop whose thread has ended. */
void loop_flush(struct loop *l);

/* The loop's thread: loop_run returns at the end of this turn, or, when it has not yet
 * been called, of its first. */
void loop_stop(struct loop *l);

/* Any thread: p->run is called on the loop's thread, in the order of posting. */
void loop_post(struct loop *l, struct post *p);

/* The same in two steps, so that a lock that keeps the loop there can be released
 * between them: the first may be under it, the second wakes the loop if need be. */
bool loop_put(struct loop *l, struct post *p);
void loop_put_done(struct loop *l, bool wake);

void loop_defer(struct loop *l, struct deferred *d);

/* After the deferred calls of this turn, those that run fibers among them: what they
 * have written can then be sent together. */
void loop_defer_last(struct loop *l, struct deferred *d);

void loop_hunger(struct loop *l, struct hungry *h);

/* For stream: a descriptor was closed. */
void loop_feed_all(struct loop *l);
static inline void loop_feed(struct loop *l) {
    if (!list_empty(&l->hungry)) loop_feed_all(l);
}

void loop_bury(struct loop *l, struct grave *g);

/* Wall-clock seconds that belong to l->now; for the Date header. */
struct span loop_date(struct loop *l);

/* LOOP_LANDING bytes for what fibers read, which the next one overwrites; NULL without
 * memory. */
char *loop_landing(struct loop *l);

/* The block of malloc's in which that stands, LOOP_HEAD bytes behind its beginning: it
 * is the caller's now. */
void *loop_take_landing(struct loop *l);

/* Stops io and takes its descriptor out of the loop's epoll at once, so that it can go
 * to another loop (libev would leave it there until an event comes). */
void loop_forget(struct loop *l, ev_io *io);

/* After EV_ERROR, with which libev has stopped watching because epoll_ctl failed. */
void loop_watch_again(struct ev_loop *ev, ev_io *io);

/* Turns the registration of fd, on which an ev_io for reading has been started, into
 * one with EPOLLEXCLUSIVE (epoll_ctl(2)), so that of several loops watching clones of
 * one listening socket only one is woken. 0; -ENOTSUP leaves the plain registration,
 * -EBADF none at all. */
int loop_exclusive(struct loop *l, int fd);

#endif
