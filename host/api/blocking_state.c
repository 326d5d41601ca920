#include "api/blocking_state.h"

#include "api/app_lua.h"
#include "api/hook_lua.h"
#include "base/check.h"
#include "isolate/gate.h"

#include <lauxlib.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

/* Of a state that nobody uses, beyond which what it holds is looked through. */
enum { STATES = 2, KEPT_BYTES = 4 * 1024 * 1024 };

struct blocking_site {
    atomic_uint references;
    atomic_bool closed;
    _Atomic(struct pool *) pool;
    char *appdir;
    struct app_options options;
    struct generation_plan plan;
};

/* What a thread of the pool has. */
struct bench {
    struct {
        struct generation *generation; /* NULL when there is none */
        struct blocking_site *site;
    } states[STATES]; /* that used last first */
    /* While a function runs; read by a signal handler on this thread. */
    struct generation *volatile running;
    struct pool_job *volatile job;
    int code; /* of os.exit; -1 */
};

static _Thread_local struct bench *volatile here;

/* ---- sites ---- */

struct blocking_site *blocking_site_new(const struct app_options *o,
                                        const struct generation_plan *plan) {
    struct blocking_site *s = calloc(1, sizeof *s);
    if (!s) return NULL;
    if (o->appdir && !(s->appdir = strdup(o->appdir))) {
        free(s);
        return NULL;
    }
    atomic_init(&s->references, 1);
    s->options = *o;
    s->options.appdir = s->appdir;
    s->options.argc = 0;
    s->options.argv = NULL;
    s->options.bare = true;
    s->options.blocking = NULL;
    s->options.once = NULL;
    s->options.signals = NULL;
    s->options.limits = NULL;
    s->options.nursery = NULL;
    s->options.child = false;
    s->options.copied = NULL;
    s->options.out_of_memory = NULL;
    s->options.exit = NULL;
    s->options.closed = NULL;
    s->options.owner = NULL;
    s->plan = *plan;
    s->plan.open = app_open;
    s->plan.data = &s->options;
    return s;
}

struct blocking_site *blocking_site_ref(struct blocking_site *s) {
    atomic_fetch_add(&s->references, 1);
    return s;
}

void blocking_site_unref(struct blocking_site *s) {
    if (atomic_fetch_sub(&s->references, 1) != 1) return;
    free(s->appdir);
    free(s);
}

void blocking_site_close(struct blocking_site *s) {
    atomic_store(&s->closed, true);
    struct pool *pool = atomic_load(&s->pool);
    if (pool) pool_tidy(pool);
    blocking_site_unref(s);
}

void blocking_site_pool(struct blocking_site *s, struct pool *pool) {
    atomic_store(&s->pool, pool);
}

/* ---- the states of a thread ---- */

static void close_state(struct bench *b, int i) {
    struct generation *g = b->states[i].generation;
    if (!g) return;
    generation_free(g);
    blocking_site_unref(b->states[i].site);
    b->states[i].generation = NULL;
}

void blocking_begin(struct pool_place *place) {
    struct bench *b = calloc(1, sizeof *b);
    place->local = b;
    here = b;
}

void blocking_tidy(struct pool_place *place) {
    struct bench *b = place->local;
    for (int i = 0; b && i < STATES; i++)
        if (b->states[i].generation && atomic_load(&b->states[i].site->closed))
            close_state(b, i);
}

void blocking_end(struct pool_place *place) {
    struct bench *b = place->local;
    for (int i = 0; b && i < STATES; i++) close_state(b, i);
    here = NULL;
    free(b);
}

static void move_to_front(struct bench *b, int i) {
    for (; i > 0; i--) {
        struct generation *g = b->states[i].generation;
        struct blocking_site *s = b->states[i].site;
        b->states[i] = b->states[i - 1];
        b->states[i - 1].generation = g;
        b->states[i - 1].site = s;
    }
}

/* Makes the site's state the first, and returns it; NULL with *error. */
static struct generation *find(struct bench *b, const struct blocking_call *c,
                               struct buf *error) {
    struct blocking_site *s = c->site;
    int i = 0;
    while (i < STATES - 1 && b->states[i].generation && b->states[i].site != s) i++;
    if (b->states[i].generation && b->states[i].site != s) close_state(b, i);
    if (!b->states[i].generation) {
        struct generation *g = generation_new(&s->plan, c->number, error);
        if (!g) return NULL;
        g->slept = g->waited = true; /* here that is no news */
        b->states[i].generation = g;
        b->states[i].site = blocking_site_ref(s);
    }
    move_to_front(b, i);
    return b->states[0].generation;
}

/* ---- interrupting ---- */

/* Raises at whatever runs next, until the function is over. */
static void halt(lua_State *L, lua_Debug *ar) {
    (void)ar;
    struct generation *g = generation_of(L);
    if (g->halt)
        luaL_error(L, "cancelled");
    else
        lua_sethook(L, NULL, 0, 0);
}

static void halt_now(struct generation *g) {
    g->halt = halt;
    lua_sethook(g->running, halt, LUA_MASKCOUNT, 1);
}

void blocking_interrupted(void) {
    struct bench *b = here;
    struct pool_job *j = b ? b->job : NULL;
    if (j && atomic_load_explicit(&j->cancelled, memory_order_relaxed))
        halt_now(b->running);
}

int blocking_exit(lua_State *L, int code) {
    here->code = code & 0xff;
    halt_now(generation_of(L));
    return luaL_error(L, "exit");
}

/* ---- calls ---- */

static int enter(lua_State *L) {
    const struct blocking_call *c = lua_touserdata(L, 1);
    if (!app_of(L)->options->appdir) hook_take_exit(L);
    lua_settop(L, 0);
    lua_pushlightuserdata(L, c->data);
    return c->function(L);
}

int blocking_state_call(struct pool_place *place, struct pool_job *j,
                        struct blocking_call *c, int *code, struct buf *error) {
    struct bench *b = place->local;
    struct generation *g = b ? find(b, c, error) : NULL;
    *code = -1;
    if (!b) return ERR_MEMORY;
    if (!g) return ERR_LUA;
    b->code = -1;
    b->running = g;
    g->running = g->L;
    b->job = j;
    if (atomic_load_explicit(&j->cancelled, memory_order_relaxed)) halt_now(g);
    lua_pushcfunction(g->L, enter);
    lua_pushlightuserdata(g->L, c);
    int err = gate_call(g->L, 1, 0, error);
    b->job = NULL;
    atomic_signal_fence(memory_order_seq_cst);
    g->halt = NULL;
    lua_sethook(g->L, NULL, 0, 0);
    *code = b->code;
    if (err == ERR_MEMORY || c->spent)
        close_state(b, 0);
    else if (generation_bytes(g) > KEPT_BYTES)
        lua_gc(g->L, LUA_GCCOLLECT);
    return err;
}
