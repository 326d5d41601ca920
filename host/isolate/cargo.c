#include "isolate/cargo.h"

/* Its address is the key in the metatable: no program can make one. */
static const char KEY;

void cargo_mark(lua_State *L, const struct cargo_kind *kind) {
    lua_pushlightuserdata(L, (void *)(uintptr_t)kind);
    lua_rawsetp(L, -2, &KEY);
}

const struct cargo_kind *cargo_kind_of(lua_State *L, int index) {
    if (lua_type(L, index) != LUA_TUSERDATA || !lua_getmetatable(L, index)) return NULL;
    lua_rawgetp(L, -1, &KEY);
    const struct cargo_kind *kind = lua_touserdata(L, -1);
    lua_pop(L, 2);
    return kind;
}
