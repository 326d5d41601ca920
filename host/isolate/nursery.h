/* The isolates that programs spawn, as opposed to those that serve: each a thread, a
 * loop and a state of its own, made by some other isolate, which is its parent. The
 * state is built on the child's own thread, so that the parent waits for nothing.
 *
 * A child ends when its main function has ended or when it is killed. Its last words, a
 * message, then go to the port that the parent gave; the thread is joined on the host's
 * main loop. The host stops when the nursery is empty. child_new, child_kill and the
 * like: any thread; nursery_init, nursery_done and nursery_empty: the main one. */
#ifndef ISOLATE_NURSERY_H
#define ISOLATE_NURSERY_H

#include "isolate/isolate.h"
#include "isolate/port.h"

struct slices;
struct child;

struct nursery {
    struct loop *main;
    struct slices *slices; /* NULL when nobody watches */
    struct pool *files, *blocking;
    pthread_mutex_t lock;
    struct link children;
    unsigned count; /* whose threads are not joined yet */
    unsigned made;
    bool closed;                        /* no more are made */
    void (*emptied)(struct nursery *n); /* on the main thread, while it is closed */
    void *user;
};

void nursery_init(struct nursery *n, struct loop *main,
                  void (*emptied)(struct nursery *n), void *user);

/* Kills all; no more are made. True when none was left: emptied is not called then. */
bool nursery_close(struct nursery *n);
void nursery_done(struct nursery *n); /* it is empty */

/* What a child is made of: filled by who calls child_start, which takes over the
 * argument. */
struct child_plan {
    struct generation_plan state; /* of the child's state */
    /* On the child's thread, when the state is there: starts its main function. */
    void (*begin)(struct child *c, struct generation *g);
    /* Frees `data`, on whatever thread is last. */
    void (*done)(void *data);
    void *data;
    struct message *argument;
    char name[16]; /* of the thread; empty: "child N" */
};

struct child {
    struct isolate isolate;
    atomic_uint references;
    struct nursery *nursery;
    struct link member;
    struct child_plan plan;
    struct port *inbox;         /* a reference; the child's state reads it */
    struct port *exit;          /* a reference; gets the last words */
    struct message *last_words; /* kept ready for when there is no memory */
    atomic_ullong serving;
    pthread_mutex_t lock; /* of what follows */
    bool gone;            /* the loop is no more: nothing can be posted */
    bool kill_posted, pause_posted, paused;
    struct post kill, pause, funeral;
};

/* Makes a child and starts its thread, with one reference for the caller. exit_port
 * gets one message: what child_over was given, or one that `failed` with a text. NULL
 * with *err: then plan->argument and plan->data are the caller's still. */
struct child *child_start(struct nursery *n, const struct child_plan *plan,
                          unsigned inbox_capacity, struct port *exit_port, int *err);
struct child *child_ref(struct child *c);
void child_unref(struct child *c);

/* Ends it at its next wait. */
void child_kill(struct child *c);

/* No fiber of it runs until it is resumed; its loop goes on. */
void child_pause(struct child *c, bool pause);

/* The child's thread: its main function has ended, and these are its last words, which
 * are taken over; or NULL and a text, when it failed. */
void child_over(struct child *c, struct message *words, struct span text);

/* The child that the isolate is, or NULL when it is one that serves. */
struct child *child_of(struct isolate *i);

#endif
