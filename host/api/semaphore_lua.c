#include "api/semaphore_lua.h"

#include "api/line_lua.h"
#include "api/timer_lua.h"
#include "base/err.h"
#include "isolate/closing.h"
#include "isolate/generation.h"

#include <lauxlib.h>

static const char SEMAPHORE[] = "atoll.semaphore", PLACE[] = "atoll.semaphore.place";

struct semaphore {
    lua_Integer limit, free; /* nobody waits while one is free */
    struct link line;
};

static struct semaphore *check(lua_State *L) {
    return luaL_checkudata(L, 1, SEMAPHORE);
}

static void give(struct semaphore *s) {
    struct place *next = line_first(&s->line);
    if (next)
        line_hand(next);
    else
        s->free++;
}

static bool take(struct semaphore *s) {
    if (s->free == 0) return false;
    s->free--;
    return true;
}

/* Whoever leaves with a permit in hand has never learned of it. */
static int left(lua_State *L) {
    if (!line_leave(lua_touserdata(L, 1))) return 0;
    lua_getiuservalue(L, 1, 1);
    give(lua_touserdata(L, -1));
    return 0;
}

/* ---- waiting ---- */

static int acquired(lua_State *L, int status, lua_KContext context) {
    (void)status, (void)context;
    if (line_leave(lua_touserdata(L, -1))) {
        lua_pushvalue(L, 1);
        return 1;
    }
    luaL_pushfail(L);
    lua_pushliteral(L, "timed out");
    lua_pushstring(L, err_name(ETIMEDOUT));
    return 3;
}

static int acquire(lua_State *L) {
    struct semaphore *s = check(L);
    int64_t deadline = timer_opt_deadline(L, 2);
    lua_settop(L, 1);
    if (take(s)) return 1;
    struct place *p = line_enter(L, &s->line, PLACE, 1);
    return sched_park(L, &p->waiter, deadline, acquired, 0);
}

static int try_acquire(lua_State *L) {
    struct semaphore *s = check(L);
    lua_settop(L, 1);
    if (take(s)) return 1;
    luaL_pushfail(L);
    lua_pushliteral(L, "no permit is free");
    lua_pushstring(L, err_name(EAGAIN));
    return 3;
}

/* Also __close. */
static int release(lua_State *L) {
    struct semaphore *s = check(L);
    if (s->free == s->limit)
        return luaL_error(L, "the semaphore was released more often than acquired");
    give(s);
    return 0;
}

/* ---- with(fn, ...) ---- */

static int with_done(lua_State *L, int status, lua_KContext context) {
    (void)status, (void)context;
    return lua_gettop(L) - 1;
}

/* At 1 the semaphore, which closing releases, then the function and its arguments. */
static int with_permit(lua_State *L) {
    lua_toclose(L, 1);
    lua_callk(L, lua_gettop(L) - 2, LUA_MULTRET, 0, with_done);
    return with_done(L, LUA_OK, 0);
}

static int with_acquired(lua_State *L, int status, lua_KContext context) {
    (void)status, (void)context;
    line_leave(lua_touserdata(L, -1)); /* with a permit: it waits without a limit */
    lua_closeslot(L, -1);
    lua_pop(L, 1);
    return with_permit(L);
}

static int with(lua_State *L) {
    struct semaphore *s = check(L);
    luaL_checkany(L, 2);
    if (take(s)) return with_permit(L);
    struct place *p = line_enter(L, &s->line, PLACE, 1);
    return sched_park(L, &p->waiter, 0, with_acquired, 0);
}

static int text(lua_State *L) {
    struct semaphore *s = check(L);
    lua_pushfstring(L, "semaphore (%I of %I free): %p", (LUAI_UACINT)s->free,
                    (LUAI_UACINT)s->limit, (void *)s);
    return 1;
}

static int semaphore(lua_State *L) {
    lua_Integer limit = luaL_checkinteger(L, 1);
    luaL_argcheck(L, limit > 0, 1, "a semaphore needs at least one permit");
    struct semaphore *s = lua_newuserdatauv(L, sizeof *s, 0);
    *s = (struct semaphore){.limit = limit, .free = limit};
    list_init(&s->line);
    luaL_setmetatable(L, SEMAPHORE);
    return 1;
}

static const luaL_Reg methods[] = {
    {"acquire", acquire}, {"release", release}, {"try_acquire", try_acquire},
    {"with", with},       {"__close", release}, {"__tostring", text},
    {NULL, NULL},
};

int luaopen_atoll_semaphore(lua_State *L) {
    luaL_newmetatable(L, SEMAPHORE);
    luaL_setfuncs(L, methods, 0);
    lua_pushvalue(L, -1);
    lua_setfield(L, -2, "__index");
    lua_pop(L, 1);
    closing_kind(L, PLACE, left);
    generation_lets_through(generation_of(L), with);
    lua_pushcfunction(L, semaphore);
    return 1;
}
