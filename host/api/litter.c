#include "api/litter.h"

#include "api/request_lua.h"
#include "base/check.h"
#include "isolate/generation.h"
#include "isolate/isolate.h"
#include "net/pool.h"

#include <lauxlib.h>
#include <stdlib.h>
#include <unistd.h>

enum { MAGIC = 0x6c697474 };

struct litter {
    uint32_t magic;
    struct pool_job job;
    struct generation_hold hold;
    struct generation *generation;
    struct litter *next;
    bool removed; /* of who runs the job */
    char path[];
};

static struct litter *litter_of(struct pool_job *j) {
    struct litter *l = LIST_OF(j, struct litter, job);
    MAGIC_CHECK(l, MAGIC);
    return l;
}

static void discard(struct litter *l) {
    if (!l->removed) unlink(l->path);
    l->magic = 0;
    free(l);
}

/* ---- the job ---- */

static void run(struct pool_job *j, struct pool_place *place) {
    struct litter *l = litter_of(j);
    (void)place;
    unlink(l->path);
    l->removed = true;
}

static void drop(struct pool_job *j) {
    discard(litter_of(j));
}

static void done(struct pool_job *j) {
    struct litter *l = litter_of(j);
    generation_let_go(&l->hold);
    discard(l);
}

static void entered(struct pool_job *j) {
    if (pool_start(j) != 0) done(j);
}

/* The state is being closed; the loop may follow. */
static void ended(struct generation_hold *h) {
    pool_cancel(&LIST_OF(h, struct litter, hold)->job);
}

static void remove_one(struct litter *l) {
    struct generation *g = l->generation;
    struct isolate *isolate = g->isolate;
    if (!isolate || !isolate->files || g->state == GEN_CLOSING) {
        discard(l);
        return;
    }
    l->job =
        (struct pool_job){.entered = entered, .run = run, .done = done, .drop = drop};
    l->hold.ended = ended;
    generation_hold(g, &l->hold);
    if (pool_enter(isolate->files, &isolate->loop, &l->job)) entered(&l->job);
}

void litter_clear(struct litter **list) {
    struct litter *l = *list, *next;
    *list = NULL;
    for (; l; l = next) {
        next = l->next;
        remove_one(l);
    }
}

/* ---- Lua ---- */

int litter_add(lua_State *L) {
    size_t n;
    struct request *r = request_check(L, 1, true);
    const char *path = luaL_checklstring(L, 2, &n);
    struct litter *l = calloc(1, sizeof *l + n + 1);
    if (!l) return budget_raise(L);
    l->magic = MAGIC;
    l->generation = generation_of(L);
    memcpy(l->path, path, n + 1);
    l->next = r->litter;
    r->litter = l;
    return 0;
}

int litter_keep(lua_State *L) {
    struct request *r = request_check(L, 1, true);
    const char *path = luaL_checkstring(L, 2);
    for (struct litter **l = &r->litter; *l; l = &(*l)->next) {
        if (strcmp((*l)->path, path) != 0) continue;
        struct litter *found = *l;
        *l = found->next;
        free(found);
        return 0;
    }
    return 0;
}
