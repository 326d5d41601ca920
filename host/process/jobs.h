/* The changes that a host goes through, one at a time: the first start, a reload, one
 * isolate more, one less, a generation replaced after its memory ran out. Those that
 * come meanwhile wait; several reloads that wait are one.
 *
 * A job builds generations on a loader thread, so that no isolate's loop stops; offers
 * each to its worker, which starts it beside the running one; and when all have started
 * commits them all by one store, or gives all up and leaves everything as it was. The
 * host's main thread. */
#ifndef PROCESS_JOBS_H
#define PROCESS_JOBS_H

#include "process/heritage.h"
#include "process/worker.h"

struct jobs;

struct jobs_user {
    void (*committed)(struct jobs *j);
    /* The first start failed (it was logged); code is an exit code. */
    void (*failed)(struct jobs *j, int code);
    void (*emptied)(struct jobs *j); /* the last worker has ended */
    /* A blueprint for a reload, or NULL when the settings are wrong (logged). */
    struct blueprint *(*fresh)(struct jobs *j);
    /* A script ends the program; and one has ended, with the code, or ERR_CANCELLED.
       NULL where none runs. */
    void (*exited)(struct jobs *j, int code);
    void (*over)(struct jobs *j, struct worker *w, int code);
    /* A reload has ended, or could not begin; another may wait. NULL where none runs.
     */
    void (*reloaded)(struct jobs *j, bool ok);
};

enum job_kind { JOB_NONE, JOB_FIRST, JOB_RELOAD, JOB_ADD, JOB_REPLACE, JOB_FOLLOW };

/* What the workers' answers are awaited to. */
enum stage { STAGE_OFFER, STAGE_GIVE_UP, STAGE_COMMIT };

enum { WORKERS_MAX = CREW_MAX };

struct jobs {
    struct workplace place;
    struct commons *commons; /* outlives all generations */
    const struct listeners *listeners;
    const struct jobs_user *callbacks;
    void *user;
    struct worker *workers[WORKERS_MAX];
    unsigned count;              /* that serve, or are about to */
    int index;                   /* of the last worker made */
    struct blueprint *blueprint; /* in force */
    uint64_t last;               /* number of the last generation made */

    enum job_kind kind; /* under way */
    uint64_t number;    /* of the generation that it makes */
    struct blueprint *next;
    struct worker *targets[WORKERS_MAX];
    struct generation *built[WORKERS_MAX];
    unsigned target_count, awaited;
    enum stage stage;
    bool broken, told;               /* told: that all are late */
    int64_t began, offered, give_up; /* monotonic ns */
    int64_t left;                    /* of the patience with the workers, in ns */
    pthread_t loader;
    bool loading, loading_told; /* that it does not end */
    atomic_llong load_began;    /* of the state that is being built, monotonic ns */
    struct post loaded;
    struct buf problem;
    struct timer look, patience; /* at loading; for the workers' answers */
    struct timer replace;        /* when states may be replaced that wait for it */

    bool reload_waits, stopping;
    unsigned adds_wait, removes_wait;
    struct link alive;   /* workers whose thread runs, those that leave included */
    struct link retired; /* ended, but maybe still looked at by others */
    struct worker_left left_so_far;
};

/* listeners: to accept from; none in them when requests come on loan; NULL for scripts.
 */
int jobs_init(struct jobs *j, struct loop *main, const struct settings *s,
              const struct listeners *listeners, const struct jobs_user *callbacks,
              void *user);

/* Takes the reference to b. */
void jobs_first(struct jobs *j, struct blueprint *b, unsigned count);
void jobs_reload(struct jobs *j);
void jobs_add(struct jobs *j);
void jobs_remove(struct jobs *j);

/* Scripts are told to end; those of them that listen for a signal are told of it. */
void jobs_cancel(struct jobs *j);
void jobs_signal(struct jobs *j, int number);

/* No more jobs; event streams and WebSockets end, requests are answered yet. */
void jobs_part(struct jobs *j);
/* No more jobs; the workers finish and end. */
void jobs_drain(struct jobs *j);
/* What they have not finished is cut. */
void jobs_cut(struct jobs *j);

/* Used by job: begins what comes next, if nothing is under way; a loader has ended
 * while the workers do; takes one out of those that serve. */
void jobs_next(struct jobs *j);
void jobs_loaded(struct jobs *j);
void jobs_remove_worker(struct jobs *j, const struct worker *w);

/* After the last worker has ended; adds to *left. */
void jobs_done(struct jobs *j, struct worker_left *left);

#endif
