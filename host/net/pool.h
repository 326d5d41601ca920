/* Threads for what blocks: files, other people's C libraries. A pool has a bound for
 * its threads, which are started when there is work and end when there has been none
 * for a while, and a bound for the jobs that are queued; who comes when it is full
 * waits in the order of coming. A host has one for files and one for atoll.blocking, so
 * that slow functions do not keep anybody from reading a file.
 *
 * A job owns all that it works with, and has one owner on a loop. pool_enter asks for
 * room; in it the job is filled and pool_start queues it; `run` is called on a thread
 * of the pool and then `done` on the loop, from where on the owner frees the job. Or
 * the owner is not interested any more and calls pool_cancel: then `drop` frees the
 * job, on whatever thread, as soon as it does not run, and nothing of the owner's nor
 * its loop is touched. The loop's thread, but pool_new, pool_tidy and pool_free: the
 * host's. */
#ifndef NET_POOL_H
#define NET_POOL_H

#include "base/list.h"
#include "net/loop.h"

#include <pthread.h>

struct pool;

/* What a thread of the pool keeps for the jobs that it runs; NULL at first. */
struct pool_place {
    void *local;
};

struct pool_job {
    struct post post;
    struct link link; /* of those that are queued, or of those that wait for room */
    struct pool *pool;
    struct loop *loop;
    int state;
    atomic_bool cancelled;               /* run may look, and end early */
    void (*entered)(struct pool_job *j); /* there is room now */
    void (*run)(struct pool_job *j, struct pool_place *place);
    void (*done)(struct pool_job *j);
    void (*drop)(struct pool_job *j);
};

struct pool_plan {
    const char *name; /* of the threads; at most 15 characters */
    unsigned threads; /* at most, from 1 */
    unsigned queue;   /* jobs that have room besides those that run, from 1 */
    int64_t idle;     /* ns after which a thread without work ends */
    size_t stack;     /* bytes of a thread's; 0 for the system's default */
    /* All may be NULL. begin and end are called on a new thread and on one that ends;
       tidy on each idle one after pool_tidy, and on the others when they are idle. */
    void (*begin)(struct pool_place *place);
    void (*tidy)(struct pool_place *place);
    void (*end)(struct pool_place *place);
};

/* Sent to a thread whose job is cancelled while it runs, and unblocked in pools'
 * threads only: a system call that waits ends with EINTR. Its handler is in pool.c and
 * calls what pool_on_interrupt was given. The thread sanitizer holds most signals back
 * until libc is called, which a loop may never do. */
#ifdef __SANITIZE_THREAD__
#define POOL_SIGNAL SIGSYS
#else
#define POOL_SIGNAL SIGRTMIN
#endif

/* Called in a signal handler on threads of pools; one for the process. */
void pool_on_interrupt(void (*call)(void));

/* No thread yet. NULL without memory. */
struct pool *pool_new(const struct pool_plan *plan);

/* Asks for room; the job's callbacks are set. True when there is: pool_start follows in
 * this turn. False: `entered` will be called, and has to call pool_start. */
bool pool_enter(struct pool *p, struct loop *l, struct pool_job *j);

/* The job has all that it needs. 0, or a negative errno when there is no thread at all
 * and none can be started: then the job is its owner's as before pool_enter. */
int pool_start(struct pool_job *j);

/* Until `done` is called: the owner has gone. Calls drop, now or later. */
void pool_cancel(struct pool_job *j);

/* The same, but a job that has begun is to end soon and not to be forgotten:
 * `cancelled` is set, its thread interrupted, and `done` comes. False then. */
bool pool_hasten(struct pool_job *j);

/* Has tidy called on all threads. Any thread. */
void pool_tidy(struct pool *p);

/* Jobs that run or are queued, and threads. */
struct pool_counts {
    unsigned running, queued, waiting, threads;
};
struct pool_counts pool_counts(struct pool *p);

/* When no loop has jobs any more: waits until the monotonic time `deadline` for those
 * that were cancelled and still run, ends the threads and frees the pool. How many
 * still run; then pool and threads are left behind and the process should end. */
unsigned pool_free(struct pool *p, int64_t deadline);

/* Tells the threads that pool_free will follow: those of several pools then end at the
 * same time. */
void pool_stop(struct pool *p);

#endif
