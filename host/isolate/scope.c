#include "isolate/scope.h"

#include "isolate/isolate.h"
#include "isolate/limit.h"

/* The error value: a userdata with the serial of the scope that is over. */
static const char METATABLE[] = "atoll.timedout";

static void expire(struct timer *t) {
    struct scope *sc = LIST_OF(t, struct scope, timer);
    sc->expired = true;
    fiber_wake(sc->fiber, WAKE_TIMEOUT);
}

void scope_enter(lua_State *L, struct scope *sc, int64_t at) {
    struct fiber *f = fiber_of(L);
    struct isolate *i = f->generation->isolate;
    *sc = (struct scope){
        .outer = f->scopes, .co = L, .at = at, .serial = ++i->sched.scopes_made};
    timer_init(&sc->timer, expire);
    if (at != INT64_MAX && timer_set(&i->loop, &sc->timer, at) != 0) budget_raise(L);
    sc->fiber = f;
    f->scopes = sc;
    coro_set(L, CORO_SCOPED);
}

void scope_leave(struct scope *sc) {
    struct fiber *f = sc->fiber;
    if (!f) return;
    timer_clear(&f->generation->isolate->loop, &sc->timer);
    bool others = false;
    struct scope **at = &f->scopes;
    while (*at != sc) at = &(*at)->outer;
    *at = sc->outer;
    sc->fiber = NULL;
    for (struct scope *other = f->scopes; other && !others; other = other->outer)
        others = other->co == sc->co;
    if (!others) coro_clear(sc->co, CORO_SCOPED);
}

void scope_drop(struct fiber *f, lua_State *co) {
    for (struct scope *sc = f->scopes, *outer; sc; sc = outer) {
        outer = sc->outer;
        if (!co || sc->co == co) scope_leave(sc);
    }
}

bool scope_is_mine(lua_State *L, int index, const struct scope *sc) {
    const uint64_t *serial = luaL_testudata(L, index, METATABLE);
    return serial && *serial == sc->serial;
}

struct scope *scope_over(struct fiber *f) {
    struct scope *over = NULL;
    int64_t now = f->scopes ? clock_ns() : 0;
    for (struct scope *sc = f->scopes; sc; sc = sc->outer) {
        if (sc->at <= now) sc->expired = true;
        if (sc->expired) over = sc;
    }
    return over;
}

void scope_push(lua_State *L, const struct scope *sc) {
    luaL_checkstack(L, 3, NULL);
    uint64_t *serial = lua_newuserdatauv(L, sizeof *serial, 0);
    *serial = sc->serial;
    luaL_setmetatable(L, METATABLE);
}

void scope_check(lua_State *L, struct fiber *f) {
    luaL_checkstack(L, 2, NULL);
    if (f->late) {
        if (f->ending == 0) f->ending = clock_ns();
        limit_push(L, f);
        lua_error(L);
    }
    if (f->cancelled) {
        sched_push_cancelled(L);
        lua_error(L);
    }
    const struct scope *over = scope_over(f);
    if (!over) return;
    scope_push(L, over);
    lua_error(L);
}

static int timed_out_text(lua_State *L) {
    lua_pushliteral(L, "timed out");
    return 1;
}

int luaopen_atoll_scope(lua_State *L) {
    luaL_newmetatable(L, METATABLE);
    lua_pushcfunction(L, timed_out_text);
    lua_setfield(L, -2, "__tostring");
    lua_pushliteral(L, "timedout");
    lua_setfield(L, -2, "__metatable");
    lua_createtable(L, 0, 1); /* what a handler that caught it can look at */
    lua_pushliteral(L, "ETIMEDOUT");
    lua_setfield(L, -2, "code");
    lua_setfield(L, -2, "__index");
    lua_pop(L, 1);
    return 0;
}
