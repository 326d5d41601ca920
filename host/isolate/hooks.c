#include "isolate/hooks.h"

#include "isolate/generation.h"
#include "isolate/isolate.h"

#include <lauxlib.h>
#include <lualib.h>

/* Addresses of keys in the registry: of the table of those that count for long. */
static const char LONG_KEY = 0;

/* A hook that wants every `count` instructions, and is called at each `times`th of
 * those that are counted. */
struct lengthy {
    lua_Hook hook;
    int count, times, left;
};

static struct lengthy *find(lua_State *L) {
    lua_rawgetp(L, LUA_REGISTRYINDEX, &LONG_KEY);
    lua_pushthread(L);
    lua_rawget(L, -2);
    struct lengthy *l = lua_touserdata(L, -1);
    lua_pop(L, 2);
    return l;
}

static void counted(lua_State *L, lua_Debug *ar) {
    struct lengthy *l = find(L);
    if (!l) { /* inherited by a new coroutine, where Lua's own would do nothing */
        lua_sethook(L, NULL, 0, 0);
        return;
    }
    if (ar->event == LUA_HOOKCOUNT) {
        if (--l->left > 0) return;
        l->left = l->times;
    }
    l->hook(L, ar);
}

/* Makes of's hook, which the program has just set, a lengthy one. */
static void lengthen(struct lengthy *l, lua_State *of) {
    int count = lua_gethookcount(of);
    l->hook = lua_gethook(of);
    l->count = count;
    l->times = l->left = (count - 1) / PREEMPT_SHARED + 1;
    lua_sethook(of, counted, lua_gethookmask(of), (count - 1) / l->times + 1);
}

/* What may become lengthy, before any hook is touched: it may raise. */
static struct lengthy *prepare(lua_State *L, lua_State *of) {
    luaL_checkstack(L, 4, NULL);
    if (!lua_checkstack(of, 3)) luaL_error(L, "stack overflow");
    struct lengthy *l = find(of);
    if (l) return l;
    lua_rawgetp(L, LUA_REGISTRYINDEX, &LONG_KEY);
    lua_pushthread(of);
    if (of != L) lua_xmove(of, L, 1);
    l = lua_newuserdatauv(L, sizeof *l, 0);
    *l = (struct lengthy){0};
    lua_rawset(L, -3);
    lua_pop(L, 1);
    return l;
}

/* Calls Lua's own function, the upvalue, without a frame of its own: hooks for calls
 * would see it. */
static int call(lua_State *L) {
    return lua_tocfunction(L, lua_upvalueindex(1))(L);
}

static lua_State *thread_at(lua_State *L, int *first) {
    *first = lua_isthread(L, 1) ? 2 : 1;
    return *first == 2 ? lua_tothread(L, 1) : L;
}

static int sethook(lua_State *L) {
    int first;
    lua_State *of = thread_at(L, &first);
    struct sched *s = sched_of(L);
    if (!lua_isnoneornil(L, first)) { /* what is called raises no more */
        luaL_checkstring(L, first + 1);
        luaL_checktype(L, first, LUA_TFUNCTION);
        luaL_optinteger(L, first + 2, 0);
    }
    struct lengthy *l = prepare(L, of);
    if (s) preempt_hold(s, of);
    int count = call(L);
    if (lua_gethookmask(of) & LUA_MASKCOUNT && lua_gethookcount(of) > PREEMPT_SHARED)
        lengthen(l, of);
    if (s) preempt_let(s);
    return count;
}

static int gethook(lua_State *L) {
    int first;
    lua_State *of = thread_at(L, &first);
    struct sched *s = sched_of(L);
    struct lengthy *l = NULL;
    if (!lua_checkstack(of, 3)) return luaL_error(L, "stack overflow");
    if (s) preempt_hold(s, of);
    if (lua_gethook(of) == counted) l = find(of);
    int mask = lua_gethookmask(of), count = lua_gethookcount(of);
    if (l) lua_sethook(of, l->hook, mask, l->count);
    int results = call(L);
    if (l) lua_sethook(of, counted, mask, count);
    if (s) preempt_let(s);
    return results;
}

int luaopen_atoll_hooks(lua_State *L) {
    static const luaL_Reg functions[] = {
        {"gethook", gethook}, {"sethook", sethook}, {NULL, NULL}};
    lua_createtable(L, 0, 1);
    lua_createtable(L, 0, 1);
    lua_pushliteral(L, "k");
    lua_setfield(L, -2, "__mode");
    lua_setmetatable(L, -2);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &LONG_KEY);
    lua_getglobal(L, LUA_DBLIBNAME);
    for (const luaL_Reg *f = functions; f->name; f++) {
        lua_getfield(L, -1, f->name);
        lua_pushcclosure(L, f->func, 1);
        lua_setfield(L, -2, f->name);
    }
    lua_pop(L, 1);
    return 0;
}
