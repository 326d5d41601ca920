#include "isolate/coro.h"

#include "isolate/generation.h"
#include "isolate/isolate.h"
#include "isolate/scope.h"

enum { FAILED = -1, PARKED = -2 };

static lua_State *check_coroutine(lua_State *L) {
    lua_State *co = lua_tothread(L, 1);
    luaL_argexpected(L, co, 1, "thread");
    return co;
}

/* Without a scheduler: what a signal handler needs to know. */
static void runs(lua_State *L) {
    struct generation *g = generation_of(L);
    g->running = L;
    if (__builtin_expect(g->halt != NULL, 0)) lua_sethook(L, g->halt, LUA_MASKCOUNT, 1);
}

/* Resumes co with the n values on top of L. How many results are now on top of L,
 * FAILED with an error value there, or PARKED: L has to yield as well. */
static int run(lua_State *L, lua_State *co, int n) {
    struct sched *s = sched_of(L);
    lua_State *barrier = NULL;
    int results;
    if (__builtin_expect(n && !lua_checkstack(co, n), 0)) {
        lua_pushliteral(L, "too many arguments to resume");
        return FAILED;
    }
    lua_xmove(L, co, n);
    if (s) {
        barrier = s->barrier;
        if (!lua_isyieldable(L)) s->barrier = L;
        sched_runs(s, co);
    } else {
        runs(co);
    }
    int status = lua_resume(co, L, n, &results);
    if (!s) {
        runs(L);
    } else {
        sched_runs(s, L);
        s->barrier = barrier;
        if (__builtin_expect(s->preempt.armed == co, 0)) preempt_move(s, L);
        if (__builtin_expect(status == LUA_YIELD && s->parking, 0)) {
            coro_set(L, CORO_PASSING);
            fiber_passed(s->current, co);
            return PARKED;
        }
    }
    if (__builtin_expect(status == LUA_OK || status == LUA_YIELD, 1)) {
        if (__builtin_expect(!lua_checkstack(L, results + 1), 0)) {
            lua_pop(co, results);
            lua_pushliteral(L, "too many results to resume");
            return FAILED;
        }
        lua_xmove(co, L, results);
        return results;
    }
    lua_xmove(co, L, 1);
    return FAILED;
}

/* The same for the program: refuses what belongs to the scheduler. */
static int run_checked(lua_State *L, lua_State *co, int n) {
    unsigned marks = coro_marks(co) & (CORO_BASE | CORO_WAITING | CORO_PASSING);
    if (__builtin_expect(marks == 0, 1)) return run(L, co, n);
    lua_pushstring(L, marks == CORO_WAITING
                          ? "cannot resume a coroutine that is waiting"
                          : "cannot resume non-suspended coroutine");
    return FAILED;
}

static int resume_awoken(lua_State *L, int status, lua_KContext context);
static int wrap_awoken(lua_State *L, int status, lua_KContext context);

/* Closes co while L runs; co's status as an error, or LUA_OK. */
static int reset(lua_State *L, lua_State *co) {
    struct sched *s = sched_of(L);
    if (s)
        s->running = co;
    else
        runs(co);
    int status = coro_reset(co, L);
    if (!s) {
        runs(L);
    } else {
        s->running = L;
        if (s->preempt.armed == co) preempt_move(s, L);
    }
    return status;
}

static int resume_done(lua_State *L, int n) {
    if (n == PARKED) return lua_yieldk(L, 0, 0, resume_awoken);
    lua_pushboolean(L, n != FAILED);
    int count = n == FAILED ? 1 : n;
    lua_insert(L, -(count + 1));
    return count + 1;
}

static int resume_awoken(lua_State *L, int status, lua_KContext context) {
    (void)status, (void)context;
    lua_State *co = lua_tothread(L, 1);
    coro_clear(co, CORO_WAITING | CORO_PASSING);
    return resume_done(L, run(L, co, 0));
}

static int co_resume(lua_State *L) {
    lua_State *co = check_coroutine(L);
    return resume_done(L, run_checked(L, co, lua_gettop(L) - 1));
}

static int wrap_done(lua_State *L, lua_State *co, int n) {
    if (__builtin_expect(n >= 0, 1)) return n;
    if (n == PARKED) return lua_yieldk(L, 0, 0, wrap_awoken);
    int status = lua_status(co);
    if (status != LUA_OK && status != LUA_YIELD && /* the error was in the coroutine */
        !generation_stack_is_deep(generation_of(L))) {
        reset(L, co);
        lua_xmove(co, L, 1); /* it may be another one now */
    }
    if (status != LUA_ERRMEM && lua_type(L, -1) == LUA_TSTRING) {
        luaL_where(L, 1);
        lua_insert(L, -2);
        lua_concat(L, 2);
    }
    return lua_error(L);
}

static int wrap_awoken(lua_State *L, int status, lua_KContext context) {
    (void)status, (void)context;
    lua_State *co = lua_tothread(L, lua_upvalueindex(1));
    coro_clear(co, CORO_WAITING | CORO_PASSING);
    return wrap_done(L, co, run(L, co, 0));
}

static int wrapped(lua_State *L) {
    lua_State *co = lua_tothread(L, lua_upvalueindex(1));
    return wrap_done(L, co, run_checked(L, co, lua_gettop(L)));
}

static int co_create(lua_State *L) {
    luaL_checktype(L, 1, LUA_TFUNCTION);
    lua_State *co = lua_newthread(L);
    lua_pushvalue(L, 1);
    lua_xmove(L, co, 1);
    return 1;
}

static int co_wrap(lua_State *L) {
    co_create(L);
    lua_pushcclosure(L, wrapped, 1);
    return 1;
}

static int co_yield (lua_State *L) {
    unsigned marks = coro_marks(L) & (CORO_BASE | CORO_SCOPED);
    if (__builtin_expect(marks != 0, 0))
        return luaL_error(L, marks & CORO_BASE
                                 ? "attempt to yield from outside a coroutine"
                                 : "attempt to yield out of atoll.timeout");
    return lua_yield(L, lua_gettop(L));
}

enum status { RUNNING, DEAD, SUSPENDED, NORMAL };
static const char *const status_names[] = {"running", "dead", "suspended", "normal"};

static enum status status_of(lua_State *L, lua_State *co) {
    if (L == co) return RUNNING;
    if (coro_marks(co) & CORO_PASSING) return NORMAL;
    switch (lua_status(co)) {
    case LUA_YIELD: return SUSPENDED;
    case LUA_OK: {
        lua_Debug ar;
        if (lua_getstack(co, 0, &ar)) return NORMAL;
        return lua_gettop(co) == 0 ? DEAD : SUSPENDED;
    }
    default: return DEAD;
    }
}

static int co_status(lua_State *L) {
    lua_State *co = check_coroutine(L);
    lua_pushstring(L, status_names[status_of(L, co)]);
    return 1;
}

static int co_isyieldable(lua_State *L) {
    lua_State *co = lua_isnone(L, 1) ? L : check_coroutine(L);
    lua_pushboolean(L, lua_isyieldable(co) &&
                           !(coro_marks(co) & (CORO_BASE | CORO_SCOPED)));
    return 1;
}

static int co_running(lua_State *L) {
    bool is_main = lua_pushthread(L);
    if (coro_marks(L) & CORO_BASE) {
        is_main = true;
        fiber_of(L)->traits |= FIBER_EXPOSED;
    }
    lua_pushboolean(L, is_main);
    return 2;
}

static int co_close(lua_State *L) {
    lua_State *co = check_coroutine(L);
    enum status status = status_of(L, co);
    unsigned marks = coro_marks(co);
    if (status != DEAD && (status != SUSPENDED || (marks & CORO_BASE)))
        return luaL_error(L, "cannot close a %s coroutine",
                          status == RUNNING ? "running" : "normal");
    if (generation_stack_is_deep(generation_of(L)))
        return luaL_error(L, "C stack overflow");
    if (marks & CORO_WAITING) { /* whoever resumed it finds it dead */
        struct fiber *f = fiber_waiting_in(generation_of(L), co);
        if (!f) return budget_raise(L);
        scope_drop(f, co);
        fiber_wake(f, WAKE_CANCEL);
        coro_clear(co, CORO_WAITING);
    }
    if (reset(L, co) == LUA_OK) {
        lua_pushboolean(L, 1);
        return 1;
    }
    lua_pushboolean(L, 0);
    lua_xmove(co, L, 1);
    return 2;
}

int coro_passes(lua_CFunction function) {
    return function == co_resume || function == wrapped;
}

static const luaL_Reg functions[] = {
    {"close", co_close},   {"create", co_create},   {"isyieldable", co_isyieldable},
    {"resume", co_resume}, {"running", co_running}, {"status", co_status},
    {"wrap", co_wrap},     {"yield", co_yield },    {NULL, NULL},
};

int luaopen_atoll_coroutine(lua_State *L) {
    luaL_newlib(L, functions);
    return 1;
}

bool coro_push_first(lua_State *co) {
    lua_Debug d;
    int known = -1, beyond = 1;
    if (!lua_checkstack(co, 2)) return false;
    /* Each look walks the stack, which may be 200,000 calls deep. */
    while (lua_getstack(co, beyond, &d)) {
        known = beyond;
        beyond *= 2;
    }
    while (beyond - known > 1) {
        int middle = known + (beyond - known) / 2;
        if (lua_getstack(co, middle, &d))
            known = middle;
        else
            beyond = middle;
    }
    if (known >= 0) return lua_getstack(co, known, &d) && lua_getlocal(co, &d, 1);
    if (lua_gettop(co) < 2) return false; /* not begun: the function, then that */
    lua_pushvalue(co, 2);
    return true;
}
