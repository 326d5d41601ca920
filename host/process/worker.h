/* An isolate that serves: its thread's isolate and front together, and the steps that
 * the host asks of it: take a generation on, switch to it, give it up, drain, leave.
 *
 * The host's main thread calls worker_ask with a step; the step runs on the worker's
 * thread and its outcome comes back to the main thread as a report. Made and freed by
 * the main thread. */
#ifndef PROCESS_WORKER_H
#define PROCESS_WORKER_H

#include "http/access.h"
#include "http/front.h"
#include "isolate/isolate.h"
#include "isolate/nursery.h"
#include "isolate/once.h"
#include "isolate/slice.h"
#include "net/clones.h"
#include "process/blueprint.h"
#include "process/pools.h"
#include "process/relief.h"

struct worker;

enum step {
    STEP_OFFER,   /* hand over the old state, adopt and start a generation */
    STEP_COMMIT,  /* serve it; a new worker begins to accept */
    STEP_REJECT,  /* give it up */
    STEP_GIVE_UP, /* what is being started is taking too long: end it */
    STEP_PART,    /* the host is to stop, though others bring requests yet */
    STEP_DRAIN,   /* finish what is there and stop */
    STEP_LEAVE,   /* the same, but give the connections to the others */
    STEP_CUT,     /* the time for that is over */
    STEP_CANCEL,  /* the script is to end */
    STEP_SIGNAL,  /* tell those who listen */
    STEP_TURN,    /* be seen to turn */
    STEP_QUIET,   /* say so: what was looked at in a turn before is not any more */
    STEP_COUNT
};

/* Of a generation: with the worker (or there was none), on its way, or taken back
 * before it came there. */
enum offer { OFFER_TAKEN, OFFER_SENT, OFFER_WITHDRAWN };

struct ask {
    struct post post;
    struct worker *worker;
    enum step step;
    struct generation *generation; /* of an offer */
    struct blueprint *blueprint;   /* of a commit: its limits; a reference */
    bool hand_over;                /* run on("reload") in the current one first */
    struct worker *about;          /* of STEP_QUIET: who has ended */
    int number;                    /* of STEP_SIGNAL */
};

enum event {
    EVENT_OFFERED, /* err, text: whether the generation has started */
    EVENT_COMMITTED,
    EVENT_MEMORY, /* the current generation has no room left; text says how much */
    EVENT_EXIT,   /* a script ends the program; err is the code */
    EVENT_OVER,   /* a script has ended; err is the code, or ERR_CANCELLED */
    EVENT_ENDED,  /* drained and stopped: to be joined */
    EVENT_QUIET,  /* the worker (which has ended) is not looked at by this one */
    EVENT_COUNT
};

struct report {
    struct post post;
    struct worker *worker;
    enum event event;
    int err;
    struct buf text;
};

struct worker {
    struct workplace *place;
    struct isolate isolate;
    struct front front;
    struct access access;
    struct generation *offered;
    struct buf state; /* packed, from on("reload") on its way to on("start") */
    struct timer settle;
    bool new;               /* not yet accepting */
    bool serves;            /* HTTP: else it runs a script */
    bool stopping;          /* draining or leaving */
    bool stopped;           /* on("stop") has been run */
    bool ended;             /* its thread is over, or about to be */
    unsigned leaving_looks; /* how often it must still be found idle */
    int64_t leave_by;       /* what is left then is cut, ns; 0: the host decides */
    char log_name[80];      /* "/shop isolate 1" */
    unsigned quiet_wanted;  /* of how many others before it may be freed */
    unsigned turns_asked;   /* the main thread's */
    atomic_uint turns;      /* how many of these were answered */
    struct link member;     /* the main thread's, of those alive or those retired */
    /* One of each kind for when there is no memory: nobody can do without them. */
    struct ask asks[STEP_COUNT];
    struct report reports[EVENT_COUNT];
    atomic_bool asking[STEP_COUNT], reporting[EVENT_COUNT];
    atomic_int offer;     /* how far the last one got: enum offer */
    struct relief relief; /* the main thread's, as what follows */
    bool leaving, over;
    uint64_t number; /* of the generation that it is to serve */
    bool awaited;    /* the job under way wants its answer */
    bool out;        /* that job goes on without it */
    bool late;       /* it still owes an answer that no job waits for any more */
    bool behind;     /* a reload went on without it */
};

/* What all workers share; the host's. */
struct workplace {
    struct loop *main; /* the host's own loop, where reports go */
    struct crew crew;
    atomic_ullong serving;
    struct slices *slices; /* NULL when off */
    struct clones clones;
    struct once once;
    struct nursery nursery;
    struct pools pools;
    enum access_format format;
    const char *name; /* of the app, for the log, where there are several; or NULL */
    /* What its fronts have in place of the isolates' apps, with its data: no Lua runs
       here. NULL for the isolates' apps. */
    const struct http_app *app;
    void *app_data;
    void (*reported)(struct report *r); /* on the main thread */
    void *host;
};

/* A worker that is not started; NULL with *err. doors: the listening sockets it clones.
 */
struct worker *worker_new(struct workplace *w, int index,
                          const struct front_door *doors, unsigned count,
                          const struct blueprint *b, bool serves, int *err);
int worker_start(struct worker *w);
void worker_ask(struct worker *w, enum step step, struct generation *g,
                struct blueprint *b, bool hand_over);

/* After EVENT_ENDED: waits for the thread, and does what had been posted to it. Others
 * may still be looking at its load or posting to its loop. */
void worker_join(struct worker *w);

struct worker_left {
    unsigned connections, fibers, generations;
    uint64_t requests;
};
/* After worker_join, when no other thread can know of it: frees all. *left counts what
 * should not be there any more. */
void worker_free(struct worker *w, struct worker_left *left);

/* Whether the worker has yet to come to its last offer, or to find it taken back. */
bool worker_is_away(const struct worker *w);

/* Takes that offer back, unless it has; false when it had come to it. It will report
 * EVENT_OFFERED with ERR_CANCELLED when it does. */
bool worker_withdraw(struct worker *w);

/* Asks to tell of a signal. */
void worker_ask_signal(struct worker *w, int number);

/* Whether it has turned since this was last asked. */
bool worker_turned(struct worker *w);

/* Asks to report EVENT_QUIET about one that has ended. */
void worker_ask_quiet(struct worker *w, struct worker *about);

/* Makes the options' calls into reports of the worker that the generation is on. */
void worker_options(struct app_options *o);

#endif
