/* A C module for Lua that dies in each of the ways in which C code does. */
#include <lauxlib.h>
#include <lua.h>
#include <stdlib.h>

int luaopen_crash(lua_State *L);

static int null(lua_State *L) {
    volatile int *volatile nothing = NULL;
    lua_pushinteger(L, *nothing);
    return 1;
}

__attribute__((noinline)) static int deeper(volatile char *from) {
    volatile char frame[4096];
    frame[0] = *from;
    return *from < 2 ? deeper(frame) + frame[0] : 0;
}

static int overflow(lua_State *L) {
    volatile char start = 0;
    lua_pushinteger(L, deeper(&start));
    return 1;
}

static int die(lua_State *L) {
    (void)L;
    abort();
}

__attribute__((visibility("default"))) int luaopen_crash(lua_State *L) {
    static const luaL_Reg functions[] = {
        {"null", null}, {"overflow", overflow}, {"abort", die}, {NULL, NULL}};
    luaL_newlib(L, functions);
    return 1;
}
