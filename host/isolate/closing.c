#include "isolate/closing.h"

#include <lauxlib.h>

static void push_kind(lua_State *L, const char *kind, lua_CFunction end) {
    if (!luaL_newmetatable(L, kind)) return;
    lua_pushcfunction(L, end);
    lua_setfield(L, -2, "__close");
    lua_pushcfunction(L, end);
    lua_setfield(L, -2, "__gc");
}

void closing_kind(lua_State *L, const char *kind, lua_CFunction end) {
    push_kind(L, kind, end);
    lua_pop(L, 1);
}

void closing_mark(lua_State *L, const char *kind, lua_CFunction end) {
    push_kind(L, kind, end);
    lua_setmetatable(L, -2);
    lua_toclose(L, -1);
}
