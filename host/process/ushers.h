/* The threads that accept and read heads when several apps share a host: workers
 * without Lua, whose fronts take each request to the isolates of its app (usher.h).
 *
 * They start when all apps serve, and end before the first app does, so that an usher
 * always knows live fronts. The host's main thread. */
#ifndef PROCESS_USHERS_H
#define PROCESS_USHERS_H

#include "http/usher.h"
#include "process/heritage.h"
#include "process/worker.h"

struct ushers {
    struct workplace place;
    struct usher map;
    struct worker **workers;
    unsigned count, ready, ended;
    bool draining;
    struct blueprint *blueprint; /* the limits */
    void (*serve)(void *user);   /* all accept */
    void (*over)(void *user);    /* all have ended */
    void *user;
};

/* 0 or a negative error, after which only ushers_done is for it. */
int ushers_init(struct ushers *u, struct loop *main, const struct settings *s,
                void (*serve)(void *user), void (*over)(void *user), void *user);

/* Requests at app are for the fronts of crew; before the start. */
void ushers_app(struct ushers *u, const struct settings_app *app, struct crew *crew);

/* Takes the reference to b. 0, or a negative error, which is logged, when not one of
 * them could be started. */
int ushers_start(struct ushers *u, const struct listeners *listeners,
                 struct blueprint *b, unsigned count);

/* Other limits from now on; takes the reference to b. */
void ushers_limit(struct ushers *u, struct blueprint *b);

/* Whether all have turned since this was last asked. Not once they are to end. */
bool ushers_turned(struct ushers *u);

/* They finish and end; what they have not finished is cut. `over` may be called at
 * once.
 */
void ushers_drain(struct ushers *u);
void ushers_cut(struct ushers *u);

/* After `over`, or without a start; adds to *left. */
void ushers_done(struct ushers *u, struct worker_left *left);

#endif
