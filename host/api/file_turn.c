#include "api/file_turn.h"

#include "base/err.h"
#include "base/fd.h"
#include "isolate/closing.h"
#include "isolate/generation.h"
#include "isolate/isolate.h"

#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>

static const char NAME[] = "atoll.file.turn";

void file_unref(struct file *f) {
    if (atomic_fetch_sub(&f->references, 1) != 1) return;
    fd_close(&f->fd);
    buf_reset(&f->ahead);
    free(f->path);
    f->magic = 0;
    free(f);
}

struct file *file_new(const char *path) {
    struct file *f = calloc(1, sizeof *f);
    if (!f) return NULL;
    f->magic = FILE_MAGIC;
    atomic_init(&f->references, 1);
    f->fd = -1;
    list_init(&f->turns);
    f->path = strdup(path);
    if (f->path) return f;
    free(f);
    return NULL;
}

/* ---- turns ---- */

/* The holder has finished. */
static void pass_on(struct file *f) {
    struct link *first = list_first(&f->turns);
    f->orphaned = false;
    if (f->closed) fd_close(&f->fd);
    if (first) list_unlink(first);
    f->holder = first ? LIST_OF(first, struct turn, link) : NULL;
    if (first) sched_wake(&f->holder->waiter, WAKE_EVENT);
}

static int turn_close(lua_State *L) {
    struct turn *t = luaL_checkudata(L, 1, NAME);
    struct file *f = t->file;
    t->file = NULL;
    if (!f) return 0;
    list_unlink(&t->link);
    if (f->holder == t) {
        if (f->task)
            f->orphaned = true;
        else
            pass_on(f);
    }
    file_unref(f);
    return 0;
}

int turn_failure(lua_State *L, const struct turn *turn, int err) {
    const struct file *f = turn->file;
    luaL_pushfail(L);
    if (err == ERR_CLOSED)
        lua_pushstring(L, err_text(err));
    else
        lua_pushfstring(L, "%s: %s", f->path, err_text(err));
    if (turn->raises) return lua_error(L);
    lua_pushstring(L, err_name(err));
    return 3;
}

static int has_turn(lua_State *L, int status, lua_KContext context) {
    struct turn *turn = (struct turn *)context;
    (void)status;
    if (turn->file->closed) return turn_failure(L, turn, ERR_CLOSED);
    return turn->step(L, turn);
}

struct turn *turn_push(lua_State *L, struct file *f,
                       int (*step)(lua_State *L, struct turn *t)) {
    int arguments = lua_gettop(L);
    struct turn *turn = lua_newuserdatauv(L, sizeof *turn, 0);
    *turn = (struct turn){.arguments = arguments, .step = step};
    list_init(&turn->link);
    luaL_setmetatable(L, NAME);
    lua_toclose(L, -1);
    turn->file = f;
    atomic_fetch_add(&f->references, 1);
    return turn;
}

int turn_take(lua_State *L, struct turn *turn) {
    struct file *f = turn->file;
    if (!f->holder) {
        f->holder = turn;
        return has_turn(L, LUA_OK, (lua_KContext)turn);
    }
    sched_check_waitable(L);
    list_append(&f->turns, &turn->link);
    return sched_park(L, &turn->waiter, 0, has_turn, (lua_KContext)turn);
}

/* ---- tasks ---- */

/* On the loop unless it is detached; then the file is nobody else's. */
static void task_drop(struct errand *e) {
    struct task *t = LIST_OF(e, struct task, errand);
    struct file *f = t->file;
    if (f && !t->detached && f->task == t) {
        f->task = NULL;
        if (f->orphaned) pass_on(f);
    }
    if (f) file_unref(f);
    buf_reset(&t->data);
    free(t);
}

static void run_task(struct errand *e, struct pool_place *place) {
    struct task *t = LIST_OF(e, struct task, errand);
    (void)place;
    t->work(t);
}

struct turn *turn_below(lua_State *L) {
    return luaL_checkudata(L, -2, NAME);
}

static int came_back(lua_State *L, int status, lua_KContext err) {
    (void)status;
    struct turn *turn = turn_below(L);
    struct errand *e = errand_at(L, -1);
    if (!e) return turn_failure(L, turn, (int)err);
    struct task *t = LIST_OF(e, struct task, errand);
    if (t->err) return turn_failure(L, turn, t->err);
    return t->answer(L, turn, t);
}

struct task *task_push(lua_State *L, struct file *f) {
    struct errand **handle = errand_push(L);
    struct task *t = calloc(1, sizeof *t);
    if (!t) budget_raise(L);
    t->errand.run = run_task;
    t->errand.drop = task_drop;
    t->file = f;
    if (f) atomic_fetch_add(&f->references, 1);
    *handle = &t->errand;
    return t;
}

static struct pool *pool_of(lua_State *L) {
    const struct generation *g = generation_of(L);
    return g->isolate ? g->isolate->files : NULL;
}

int task_go(lua_State *L, struct task *t) {
    t->errand.over = task_drop;
    t->file->task = t;
    return errand_run(L, pool_of(L), came_back);
}

int task_run(lua_State *L, struct task *t, lua_KFunction k) {
    (void)t;
    return errand_run(L, pool_of(L), k);
}

void file_abandon(struct file *f) {
    struct task *t = f->task;
    if (!t || !t->errand.forgotten) return;
    t->detached = true;
    f->task = NULL;
    pool_cancel(&t->errand.job);
}

void turn_open_library(lua_State *L) {
    closing_kind(L, NAME, turn_close);
}
