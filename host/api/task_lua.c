#include "api/task_lua.h"

#include "api/timer_lua.h"
#include "base/check.h"
#include "base/err.h"
#include "base/log.h"
#include "isolate/gate.h"
#include "isolate/generation.h"
#include "isolate/isolate.h"
#include "isolate/scope.h"

#include <lauxlib.h>
#include <string.h>

enum { MAGIC = 0x7461736b, OUTCOME = 1 };

static const char TASK[] = "atoll.task";
static const char JOINER[] = "atoll.task.joiner";
static const char GROUP[] = "atoll.task.group";
static const char SCOPE[] = "atoll.timeout";

enum state { RUNNING, DONE, FAILED, CANCELLED };

/* Its user value: the list of results, or the text of the error at [1] and the
 * traceback at [2]. */
struct task {
    uint32_t magic;
    enum state state;
    int code;            /* of a failure */
    struct fiber *fiber; /* NULL when it has ended */
    struct link joiners;
    bool quiet;
};

struct group;

/* Told of one task's end: a fiber that joins, or a member of a group. */
struct joiner {
    struct link link; /* of the task's; in none when told */
    struct waiter waiter;
    struct group *group; /* NULL when the fiber waits here itself */
};

/* Tasks of which one fiber awaits each end, in the order in which they come. Its user
 * value is the list of them. */
struct group {
    struct waiter waiter;
    unsigned count, ended, told;
    unsigned *order; /* the places of those that ended; behind the members */
    struct joiner members[];
};

static struct task *check_task(lua_State *L) {
    struct task *t = luaL_checkudata(L, 1, TASK);
    MAGIC_CHECK(t, MAGIC);
    return t;
}

static bool is_awaited(struct task *t) {
    bool is = false;
    for (struct link *l = t->joiners.next; l != &t->joiners && !is; l = l->next) {
        struct joiner *j = LIST_OF(l, struct joiner, link);
        is = j->group || waiter_is_set(&j->waiter);
    }
    return is;
}

static void tell(struct joiner *j) {
    struct group *g = j->group;
    list_unlink(&j->link);
    if (g) g->order[g->ended++] = (unsigned)(j - g->members);
    sched_wake(g ? &g->waiter : &j->waiter, WAKE_EVENT);
}

static void ended(struct task *t, enum state state) {
    t->state = state;
    t->fiber = NULL;
    struct link *first;
    while ((first = list_first(&t->joiners))) tell(LIST_OF(first, struct joiner, link));
}

/* The fiber's function, called with the task, the program's function and its
 * arguments. Whatever the outcome is, it is here that the handle learns it. */

/* The message handler: {text, traceback} in place of the value. A cancel stays. */
static int describe(lua_State *L) {
    if (sched_is_cancelled(L, 1)) return 1;
    lua_createtable(L, 2, 0);
    luaL_tolstring(L, 1, NULL);
    lua_rawseti(L, -2, 1);
    luaL_traceback(L, L, NULL, 1);
    lua_rawseti(L, -2, 2);
    return 1;
}

static void log_failure(lua_State *L) {
    lua_rawgeti(L, -1, 1);
    lua_rawgeti(L, -2, 2);
    lua_pushfstring(L, "a task failed: %s\n%s", lua_tostring(L, -2),
                    lua_tostring(L, -1));
    size_t n;
    const char *text = lua_tolstring(L, -1, &n);
    log_lines(LEVEL_ERROR, SPAN(""), span_of(text, n));
    lua_pop(L, 3);
}

static int finish(lua_State *L, int status, lua_KContext context) {
    (void)context;
    struct task *t = lua_touserdata(L, 1);
    if (status == LUA_OK || status == LUA_YIELD) {
        int count = lua_gettop(L) - 2;
        lua_createtable(L, count, 1);
        lua_insert(L, 3);
        for (int i = count; i > 0; i--) lua_rawseti(L, 3, i);
        lua_pushinteger(L, count);
        lua_setfield(L, 3, "n");
        lua_setiuservalue(L, 1, OUTCOME);
        ended(t, DONE);
        return 0;
    }
    if (sched_is_cancelled(L, -1)) {
        ended(t, CANCELLED);
        return 0;
    }
    if (lua_type(L, -1) != LUA_TTABLE) { /* no message handler has run */
        char text[BUDGET_TEXT];
        if (status == LUA_ERRMEM) {
            budget_noticed(L);
            lua_pushlstring(L, text, budget_text(generation_of(L), text));
        } /* else it was ended while it computed */
        lua_createtable(L, 2, 0);
        lua_insert(L, -2);
        lua_rawseti(L, -2, 1);
        lua_pushliteral(L, "");
        lua_rawseti(L, -2, 2);
    }
    t->code = status == LUA_ERRMEM ? ERR_MEMORY : ERR_LUA;
    bool tells = status != LUA_ERRMEM || budget_tells(generation_of(L));
    if (tells && !t->quiet && !is_awaited(t)) log_failure(L);
    lua_setiuservalue(L, 1, OUTCOME);
    ended(t, FAILED);
    return 0;
}

static int run(lua_State *L) {
    lua_pushcfunction(L, describe);
    lua_insert(L, 2);
    return finish(L, lua_pcallk(L, lua_gettop(L) - 3, LUA_MULTRET, 2, 0, finish), 0);
}

/* Only when it was killed, or when memory ran out beyond what run could do. */
static void fiber_ended(struct fiber *f, void *owner, int status, lua_State *co,
                        int count) {
    (void)co, (void)count;
    struct task *t = owner;
    if (t->state != RUNNING) return;
    bool tells = status != ERR_MEMORY || budget_tells(f->generation);
    if (tells && status != ERR_CANCELLED)
        log_error("a task failed: %s", err_text(status));
    ended(t, status == ERR_CANCELLED ? CANCELLED : FAILED);
}

static const struct fiber_owner owner_ops = {.ended = fiber_ended};

/* Starts the program's function at 1 in a fiber whose own is first. */
static int start(lua_State *L, const char *name, lua_CFunction first) {
    luaL_checktype(L, 1, LUA_TFUNCTION);
    struct generation *g = generation_of(L);
    if (!g->isolate)
        return luaL_error(L,
                          "atoll.%s cannot be called while the app loads; "
                          "call it in on(\"start\")",
                          name);
    struct task *t = lua_newuserdatauv(L, sizeof *t, OUTCOME);
    *t = (struct task){.magic = MAGIC, .state = DONE};
    list_init(&t->joiners);
    luaL_setmetatable(L, TASK);
    lua_insert(L, 1);
    int count = lua_gettop(L) - 1; /* the function and its arguments */
    luaL_checkstack(L, count + 1, NULL);
    for (int i = 1; i <= count + 1; i++) lua_pushvalue(L, i);
    struct fiber *f = fiber_new(g, FIBER_TASK, &owner_ops, t);
    if (!f) return budget_raise(L);
    if (!lua_checkstack(f->co, count + 2)) {
        fiber_kill(f);
        return budget_raise(L);
    }
    lua_pushcfunction(f->co, first);
    lua_xmove(L, f->co, count + 1);
    t->fiber = f;
    t->state = RUNNING;
    fiber_queue(f, count + 1);
    lua_settop(L, 1);
    return 1;
}

static int spawn(lua_State *L) {
    return start(L, "spawn", run);
}

/* atoll.after: the deadline is the program's first argument. */

static int slept(lua_State *L, int status, lua_KContext context) {
    (void)status, (void)context;
    return run(L);
}

static int run_later(lua_State *L) {
    int64_t at = (int64_t)lua_tointeger(L, 3);
    lua_remove(L, 3);
    return sched_park(L, NULL, at, slept, 0);
}

static int after(lua_State *L) {
    int64_t at = timer_check_deadline(L, 1);
    luaL_checktype(L, 2, LUA_TFUNCTION);
    lua_remove(L, 1);
    lua_pushinteger(L, at);
    lua_insert(L, 2);
    return start(L, "after", run_later);
}

static int outcome(lua_State *L) {
    const struct task *t = lua_touserdata(L, 1);
    lua_getiuservalue(L, 1, OUTCOME);
    bool known = lua_istable(L, -1);
    switch (t->state) {
    case DONE: {
        lua_getfield(L, -1, "n");
        int count = (int)lua_tointeger(L, -1);
        lua_pop(L, 1);
        luaL_checkstack(L, count, "too many results");
        for (int i = 1; i <= count; i++) lua_rawgeti(L, -i, i);
        return count;
    }
    case CANCELLED:
        luaL_pushfail(L);
        lua_pushliteral(L, "cancelled");
        lua_pushstring(L, err_name(ERR_CANCELLED));
        return 3;
    default:
        luaL_pushfail(L);
        if (!known) {
            lua_pushstring(L, err_text(ERR_MEMORY));
            lua_pushstring(L, err_name(ERR_MEMORY));
            return 3;
        }
        lua_rawgeti(L, -2, 1);
        lua_pushstring(L, err_name(t->code));
        lua_rawgeti(L, -4, 2);
        return 4;
    }
}

static int joined(lua_State *L, int status, lua_KContext context) {
    (void)status, (void)context;
    struct joiner *j = lua_touserdata(L, 2);
    struct task *t = lua_touserdata(L, 1);
    list_unlink(&j->link);
    if (t->state != RUNNING) return outcome(L);
    luaL_pushfail(L);
    lua_pushliteral(L, "timed out");
    lua_pushstring(L, err_name(ETIMEDOUT));
    return 3;
}

static int task_join(lua_State *L) {
    struct task *t = check_task(L);
    int64_t deadline = timer_opt_deadline(L, 2);
    lua_settop(L, 1);
    if (t->state != RUNNING) return outcome(L);
    sched_check_waitable(L);
    if (t->fiber == sched_of(L)->current)
        return luaL_error(L, "a task cannot join itself");
    struct joiner *j = lua_newuserdatauv(L, sizeof *j, 0);
    *j = (struct joiner){.group = NULL};
    list_init(&j->link);
    luaL_setmetatable(L, JOINER);
    list_append(&t->joiners, &j->link);
    return sched_park(L, &j->waiter, deadline, joined, 0);
}

static int joiner_gc(lua_State *L) {
    struct joiner *j = luaL_checkudata(L, 1, JOINER);
    list_unlink(&j->link);
    return 0;
}

/* A group, for atoll.all and atoll.any. */

static struct task *task_at(lua_State *L, int list, unsigned i) {
    lua_rawgeti(L, list, i + 1);
    struct task *t = luaL_testudata(L, -1, TASK);
    if (!t) luaL_error(L, "a group is of tasks");
    lua_pop(L, 1);
    return t;
}

/* At 1 the list. */
static int group(lua_State *L) {
    luaL_checktype(L, 1, LUA_TTABLE);
    unsigned count = (unsigned)lua_rawlen(L, 1);
    size_t members = count * sizeof(struct joiner);
    struct group *g =
        lua_newuserdatauv(L, sizeof *g + members + count * sizeof *g->order, 1);
    *g = (struct group){.count = count};
    g->order = (unsigned *)(void *)&g->members[count];
    for (unsigned i = 0; i < count; i++) {
        g->members[i] = (struct joiner){.group = g};
        list_init(&g->members[i].link);
    }
    luaL_setmetatable(L, GROUP);
    lua_pushvalue(L, 1);
    lua_setiuservalue(L, -2, 1);
    for (unsigned i = 0; i < count; i++) {
        struct task *t = task_at(L, 1, i);
        if (t->fiber && t->fiber == sched_of(L)->current)
            return luaL_error(L, "a task cannot wait for itself");
        list_append(&t->joiners, &g->members[i].link);
        if (t->state != RUNNING) tell(&g->members[i]);
    }
    return 1;
}

static int group_told(lua_State *L, int status, lua_KContext context) {
    (void)status, (void)context;
    struct group *g = lua_touserdata(L, 1);
    lua_pushinteger(L, g->order[g->told++] + 1);
    return 1;
}

/* group:next() is the place of the task that ended next; nil after the last one. */
static int group_next(lua_State *L) {
    struct group *g = luaL_checkudata(L, 1, GROUP);
    lua_settop(L, 1);
    if (g->told == g->count) return 0;
    if (g->told < g->ended) return group_told(L, LUA_OK, 0);
    return sched_park(L, &g->waiter, 0, group_told, 0);
}

static int group_gc(lua_State *L) {
    struct group *g = luaL_checkudata(L, 1, GROUP);
    for (unsigned i = 0; i < g->count; i++) list_unlink(&g->members[i].link);
    return 0;
}

/* Nobody is interested in those that still run. */
static int group_close(lua_State *L) {
    struct group *g = luaL_checkudata(L, 1, GROUP);
    lua_settop(L, 1);
    lua_getiuservalue(L, 1, 1);
    for (unsigned i = 0; i < g->count; i++) {
        struct task *t = task_at(L, 2, i);
        if (t->state == RUNNING) fiber_cancel(t->fiber);
    }
    return group_gc(L);
}

/* Something that is equal for the coroutines of one fiber only; nil outside of any. */
static int fiber_key(lua_State *L) {
    struct fiber *f = fiber_of(L);
    if (f)
        lua_pushlightuserdata(L, f);
    else
        lua_pushnil(L);
    return 1;
}

static int is_task(lua_State *L) {
    lua_pushboolean(L, luaL_testudata(L, 1, TASK) != NULL);
    return 1;
}

static int task_cancel(lua_State *L) {
    struct task *t = check_task(L);
    lua_pushboolean(L, t->state == RUNNING);
    if (t->state == RUNNING) fiber_cancel(t->fiber);
    return 1;
}

static int task_status(lua_State *L) {
    static const char *const names[] = {"waiting", "done", "failed", "cancelled"};
    const struct task *t = check_task(L);
    bool running = t->fiber && t->fiber == sched_of(L)->current;
    lua_pushstring(L, running ? "running" : names[t->state]);
    return 1;
}

static int task_quiet(lua_State *L) {
    check_task(L)->quiet = true;
    lua_settop(L, 1);
    return 1;
}

static int task_text(lua_State *L) {
    task_status(L);
    lua_pushfstring(L, "task (%s): %p", lua_tostring(L, -1), lua_topointer(L, 1));
    return 1;
}

/* At the closing of the state, or when nobody holds a task that has ended; a running
 * one is on its fiber's stack, unless that is just being killed. */
static int task_gc(lua_State *L) {
    struct task *t = check_task(L);
    if (t->fiber) t->fiber->owner_ops = NULL;
    t->fiber = NULL;
    while (list_first(&t->joiners)) list_unlink(list_first(&t->joiners));
    return 0;
}

/* atoll.timeout(seconds, fn, ...) */

static int timeout_done(lua_State *L, int status, lua_KContext context) {
    struct scope *sc = (struct scope *)context;
    scope_leave(sc);
    if (status == LUA_OK || status == LUA_YIELD) return lua_gettop(L) - 1;
    if (!scope_is_mine(L, -1, sc)) return lua_error(L);
    luaL_pushfail(L);
    lua_pushliteral(L, "timed out");
    lua_pushstring(L, err_name(ETIMEDOUT));
    return 3;
}

static int timeout_unlimited(lua_State *L, int status, lua_KContext context) {
    (void)status, (void)context;
    return lua_gettop(L) - 1;
}

static int timeout(lua_State *L) {
    int64_t at = timer_check_deadline(L, 1);
    luaL_checkany(L, 2);
    if (!fiber_of(L)) { /* nothing waits here */
        lua_callk(L, lua_gettop(L) - 2, LUA_MULTRET, 0, timeout_unlimited);
        return timeout_unlimited(L, LUA_OK, 0);
    }
    struct scope *sc = lua_newuserdatauv(L, sizeof *sc, 0);
    sc->fiber = NULL;
    luaL_setmetatable(L, SCOPE);
    lua_replace(L, 1);
    scope_enter(L, sc, at);
    lua_KContext context = (lua_KContext)sc;
    int status =
        lua_pcallk(L, lua_gettop(L) - 2, LUA_MULTRET, 0, context, timeout_done);
    return timeout_done(L, status, context);
}

static int scope_gc(lua_State *L) {
    scope_leave(luaL_checkudata(L, 1, SCOPE));
    return 0;
}

static const luaL_Reg task_methods[] = {
    {"cancel", task_cancel},
    {"join", task_join},
    {"quiet", task_quiet},
    {"status", task_status},
    {"__gc", task_gc},
    {"__tostring", task_text},
    {NULL, NULL},
};

static const luaL_Reg group_methods[] = {
    {"next", group_next},
    {"__gc", group_gc},
    {"__close", group_close},
    {NULL, NULL},
};

static const luaL_Reg functions[] = {
    {"after", after}, {"fiber", fiber_key}, {"group", group}, {"is_task", is_task},
    {"spawn", spawn}, {"timeout", timeout}, {NULL, NULL},
};

static void new_finalized(lua_State *L, const char *name, lua_CFunction gc) {
    luaL_newmetatable(L, name);
    lua_pushcfunction(L, gc);
    lua_setfield(L, -2, "__gc");
    lua_pop(L, 1);
}

static void new_class(lua_State *L, const char *name, const luaL_Reg *methods) {
    luaL_newmetatable(L, name);
    luaL_setfuncs(L, methods, 0);
    lua_pushvalue(L, -1);
    lua_setfield(L, -2, "__index");
    lua_pop(L, 1);
}

int luaopen_atoll_task(lua_State *L) {
    new_class(L, TASK, task_methods);
    new_class(L, GROUP, group_methods);
    new_finalized(L, JOINER, joiner_gc);
    new_finalized(L, SCOPE, scope_gc);
    generation_lets_through(generation_of(L), timeout);
    luaopen_atoll_timer(L);
    luaL_setfuncs(L, functions, 0);
    return 1;
}
