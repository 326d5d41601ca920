#include "isolate/errand.h"

#include "isolate/generation.h"

#include <lauxlib.h>

static const char NAME[] = "atoll.errand";

struct handle {
    struct errand *errand; /* NULL when closed */
    lua_KFunction k;
};

struct errand **errand_push(lua_State *L) {
    struct handle *h = lua_newuserdatauv(L, sizeof *h, 0);
    *h = (struct handle){0};
    luaL_setmetatable(L, NAME);
    lua_toclose(L, -1);
    return &h->errand;
}

struct errand *errand_at(lua_State *L, int index) {
    return ((struct handle *)luaL_checkudata(L, index, NAME))->errand;
}

/* ---- what the pool tells ---- */

static void entered(struct pool_job *j) {
    sched_wake(&LIST_OF(j, struct errand, job)->waiter, WAKE_EVENT);
}

static void run(struct pool_job *j, struct pool_place *place) {
    struct errand *e = LIST_OF(j, struct errand, job);
    e->run(e, place);
}

static void done(struct pool_job *j) {
    struct errand *e = LIST_OF(j, struct errand, job);
    e->under_way = false;
    if (e->forgotten)
        e->over(e);
    else
        sched_wake(&e->waiter, WAKE_EVENT);
}

static void drop(struct pool_job *j) {
    struct errand *e = LIST_OF(j, struct errand, job);
    e->drop(e);
}

/* ---- the fiber ---- */

static int close_handle(lua_State *L) {
    struct handle *h = luaL_checkudata(L, 1, NAME);
    struct errand *e = h->errand;
    h->errand = NULL;
    if (!e) return 0;
    if (!e->under_way) {
        e->drop(e);
    } else if (e->over) {
        e->forgotten = true;
        pool_hasten(&e->job); /* may have dropped it */
    } else {
        pool_cancel(&e->job);
    }
    return 0;
}

/* Nobody was there to close it: the state is, and the loop may be. */
static int collect(lua_State *L) {
    struct handle *h = luaL_checkudata(L, 1, NAME);
    struct errand *e = h->errand;
    h->errand = NULL;
    if (e && e->under_way)
        pool_cancel(&e->job);
    else if (e)
        e->drop(e);
    return 0;
}

static int finish(lua_State *L, int status, lua_KContext context) {
    struct handle *h = (struct handle *)context;
    return h->k(L, status, 0);
}

static int start(lua_State *L, int status, lua_KContext context) {
    struct handle *h = (struct handle *)context;
    struct errand *e = h->errand;
    int err = e->fill ? e->fill(L, e) : 0;
    if (err == 0) err = pool_start(&e->job);
    if (err == 0) return sched_park(L, &e->waiter, 0, finish, context);
    h->errand = NULL;
    pool_cancel(&e->job);
    return h->k(L, status, err);
}

static int run_here(lua_State *L, struct handle *h, lua_KFunction k) {
    struct errand *e = h->errand;
    int err = e->fill ? e->fill(L, e) : 0;
    if (err == 0) {
        struct pool_place place = {0};
        e->run(e, &place);
    } else {
        h->errand = NULL;
        e->drop(e);
    }
    return k(L, LUA_OK, err);
}

int errand_run(lua_State *L, struct pool *pool, lua_KFunction k) {
    struct handle *h = luaL_checkudata(L, -1, NAME);
    struct errand *e = h->errand;
    struct sched *s = sched_of(L);
    atomic_store_explicit(&e->job.cancelled, false, memory_order_relaxed);
    if (!s) return run_here(L, h, k);
    sched_check_waitable(L);
    e->job.entered = entered;
    e->job.run = run;
    e->job.done = done;
    e->job.drop = drop;
    h->k = k;
    e->under_way = true;
    if (pool_enter(pool, s->loop, &e->job)) return start(L, LUA_OK, (lua_KContext)h);
    return sched_park(L, &e->waiter, 0, start, (lua_KContext)h);
}

int luaopen_atoll_errand(lua_State *L) {
    luaL_newmetatable(L, NAME);
    lua_pushcfunction(L, close_handle);
    lua_setfield(L, -2, "__close");
    lua_pushcfunction(L, collect);
    lua_setfield(L, -2, "__gc");
    lua_pop(L, 1);
    return 0;
}
