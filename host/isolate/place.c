#include "isolate/place.h"

#include "isolate/coro.h"
#include "isolate/generation.h"

#include <string.h>

static bool passes(struct generation *g, lua_CFunction f) {
    if (coro_passes(f)) return true;
    for (int i = 0; i < GEN_PASSING; i++)
        if (g->passing[i] == f) return true;
    return false;
}

/* With the function at index and a module's table on top: replaces the function by
 * "module.name" and is true. */
static bool name_in(lua_State *L, int function, const char *module) {
    for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1)) {
        if (lua_type(L, -2) != LUA_TSTRING || !lua_rawequal(L, -1, function)) continue;
        const char *name = lua_tostring(L, -2);
        if (strcmp(module, LUA_GNAME) == 0)
            lua_pushstring(L, name);
        else
            lua_pushfstring(L, "%s.%s", module, name);
        lua_replace(L, function);
        return true;
    }
    return false;
}

/* With a function on top: replaces it by "module.name" and is true, or leaves it. */
static bool push_global_name(lua_State *L) {
    /* Other modules may have the same functions under names that say less. */
    static const char *const first[] = {LUA_GNAME, "string", "table", "coroutine"};
    int function = lua_gettop(L);
    bool found = false;
    lua_getfield(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
    for (size_t i = 0; i < sizeof first / sizeof *first && !found; i++) {
        lua_getfield(L, function + 1, first[i]);
        found = lua_istable(L, -1) && name_in(L, function, first[i]);
        lua_settop(L, function + 1);
    }
    if (!found) lua_pushnil(L);
    while (!found && lua_next(L, function + 1)) {
        if (lua_type(L, -2) == LUA_TSTRING && lua_istable(L, -1))
            found = name_in(L, function, lua_tostring(L, -2));
        if (!found) lua_pop(L, 1);
    }
    lua_settop(L, function);
    return found;
}

const char *place_push(lua_State *L, lua_State *at) {
    luaL_checkstack(L, 8, NULL);
    if (!lua_checkstack(at, 2)) luaL_error(L, "stack overflow");
    lua_Debug ar;
    const char *nameless = NULL;
    for (int level = 1; lua_getstack(at, level, &ar); level++) {
        lua_getinfo(at, "Snf", &ar);
        lua_CFunction f = lua_tocfunction(at, -1);
        if (strcmp(ar.namewhat, "hook") == 0 ||
            (ar.name && strcmp(ar.name, "__gc") == 0 && !f)) {
            lua_pop(at, 1);
            return lua_pushstring(L, *ar.namewhat == 'h' ? "a debug hook"
                                                         : "a finalizer (__gc)");
        }
        if (!f || passes(generation_of(L), f)) {
            lua_pop(at, 1);
            continue;
        }
        if (at != L) lua_xmove(at, L, 1);
        if (push_global_name(L)) return lua_tostring(L, -1);
        lua_pop(L, 1);
        /* a part of something with a name, perhaps */
        if (!nameless) nameless = ar.name ? ar.name : "a C function";
    }
    if (nameless) return lua_pushstring(L, nameless);
    /* a coroutine that is being closed has nobody below its __close */
    return lua_pushstring(L,
                          "a __close metamethod of a coroutine that is being closed");
}
