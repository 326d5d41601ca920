/* The Lua states in which atoll.blocking runs functions: made as an app's are, with the
 * same search paths and modules, but without the app. Each thread of the pool keeps
 * those that it has made, so that what a function requires is loaded once, until the
 * app that they belong to is closed, or the thread ends because it is idle.
 *
 * A site is what the states of one app have in common, counted: an app's blueprint
 * makes it and closes it with its last generation; calls on their way and states hold
 * it, too. Inside such a state nothing is a fiber: what waits blocks its thread, which
 * is what it is for. Sites: any thread. The rest: the pool's threads. */
#ifndef API_BLOCKING_STATE_H
#define API_BLOCKING_STATE_H

#include "isolate/generation.h"
#include "net/pool.h"

struct app_options;
struct blocking_site;

/* What is needed of options and plan is copied. NULL without memory. */
struct blocking_site *blocking_site_new(const struct app_options *o,
                                        const struct generation_plan *plan);

/* The last generation of the app is closed: no state is used again. */
void blocking_site_close(struct blocking_site *s);

struct blocking_site *blocking_site_ref(struct blocking_site *s);
void blocking_site_unref(struct blocking_site *s);

/* Whose threads are told when the site is closed. */
void blocking_site_pool(struct blocking_site *s, struct pool *pool);

/* os.exit in a script's state: goes no further, and the script is told. */
int blocking_exit(lua_State *L, int code);

/* For the pool's plan, and for pool_on_interrupt. */
void blocking_begin(struct pool_place *place);
void blocking_tidy(struct pool_place *place);
void blocking_end(struct pool_place *place);
void blocking_interrupted(void);

struct blocking_call {
    struct blocking_site *site;
    uint64_t number; /* of the generation that calls; its state says the same */
    lua_CFunction function;
    void *data; /* light userdata, its argument */
    bool spent; /* set by function: the state is not to be used again */
};

/* Makes the call in the thread's state for the site. 0, or ERR_LUA or
 * ERR_MEMORY with *error; *code is what os.exit was called with, when it was, or -1.
 * When the job is cancelled meanwhile, Lua ends with an error as soon as it can. */
int blocking_state_call(struct pool_place *place, struct pool_job *j,
                        struct blocking_call *c, int *code, struct buf *error);

#endif
