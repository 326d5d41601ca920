#include "isolate/textlib.h"

#include "isolate/generation.h"

#include <lauxlib.h>
#include <lualib.h>
#include <string.h>

static const char NO_BYTECODE[] = "bytecode is not loaded, only text";

/* With the error of a loading function on top: says it in our words. */
static void reword(lua_State *L) {
    const char *text = lua_tostring(L, -1);
    if (!text || !strstr(text, "attempt to load a binary chunk")) return;
    lua_pop(L, 1);
    lua_pushstring(L, NO_BYTECODE);
}

static int failed(lua_State *L) {
    reword(L);
    luaL_pushfail(L);
    lua_insert(L, -2);
    return 2;
}

/* load(chunk, name, mode, environment): Lua's own, always in mode "t". */
static int text_load(lua_State *L) {
    if (!strchr(luaL_optstring(L, 3, "bt"), 't')) {
        lua_pushstring(L, NO_BYTECODE);
        return failed(L);
    }
    if (lua_gettop(L) > 4) lua_settop(L, 4);
    if (lua_gettop(L) < 3) lua_settop(L, 3);
    lua_pushliteral(L, "t");
    lua_replace(L, 3);
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    lua_call(L, lua_gettop(L) - 1, 2);
    if (!lua_isnil(L, -2)) {
        lua_pop(L, 1);
        return 1;
    }
    return failed(L);
}

static int text_loadfile(lua_State *L) {
    bool has_environment = !lua_isnone(L, 3);
    const char *name = luaL_optstring(L, 1, NULL);
    lua_settop(L, 3);
    if (luaL_loadfilex(L, name, "t") != LUA_OK) return failed(L);
    if (has_environment) {
        lua_pushvalue(L, 3);
        if (!lua_setupvalue(L, -2, 1)) lua_pop(L, 1);
    }
    return 1;
}

static int dofile_done(lua_State *L, int status, lua_KContext context) {
    (void)status, (void)context;
    return lua_gettop(L) - 1;
}

static int text_dofile(lua_State *L) {
    const char *name = luaL_optstring(L, 1, NULL);
    lua_settop(L, 1);
    if (luaL_loadfilex(L, name, "t") != LUA_OK) {
        reword(L);
        return lua_error(L);
    }
    lua_callk(L, 0, LUA_MULTRET, 0, dofile_done);
    return dofile_done(L, 0, 0);
}

/* In place of package.searchers[2]; its upvalue is the package table. */
static int search_path(lua_State *L) {
    const char *name = luaL_checkstring(L, 1);
    lua_getfield(L, lua_upvalueindex(1), "searchpath");
    lua_pushvalue(L, 1);
    lua_getfield(L, lua_upvalueindex(1), "path");
    if (!lua_isstring(L, -1)) return luaL_error(L, "'package.path' must be a string");
    lua_call(L, 2, 2);
    if (lua_isnil(L, -2)) return 1; /* where it was looked for */
    lua_pop(L, 1);
    const char *file = lua_tostring(L, -1);
    if (luaL_loadfilex(L, file, "t") != LUA_OK) {
        reword(L);
        return luaL_error(L, "error loading module '%s' from file '%s':\n\t%s", name,
                          file, lua_tostring(L, -1));
    }
    lua_insert(L, -2);
    return 2;
}

static int no_exit(lua_State *L) {
    return luaL_error(L, "os.exit would end the whole host and is not available here");
}

/* The locale is the process's, and other threads are reading it; Lua 5.4.4 also reads
 * beyond strings when it compares them in some. */
static int keep_locale(lua_State *L) {
    const char *locale = luaL_optstring(L, 1, NULL);
    if (locale && *locale && strcmp(locale, "C") != 0 && strcmp(locale, "POSIX") != 0)
        luaL_pushfail(L);
    else
        lua_pushliteral(L, "C");
    return 1;
}

static const luaL_Reg functions[] = {
    {"loadfile", text_loadfile},
    {"dofile", text_dofile},
    {NULL, NULL},
};

int luaopen_atoll_text(lua_State *L) {
    lua_pushglobaltable(L);
    luaL_setfuncs(L, functions, 0);
    lua_getfield(L, -1, "load");
    lua_pushcclosure(L, text_load, 1);
    lua_setfield(L, -2, "load");
    generation_lets_through(generation_of(L), text_dofile);
    lua_getfield(L, -1, LUA_LOADLIBNAME);
    lua_getfield(L, -1, "searchers");
    lua_pushvalue(L, -2);
    lua_pushcclosure(L, search_path, 1);
    lua_rawseti(L, -2, 2);
    lua_getfield(L, -3, LUA_OSLIBNAME);
    lua_pushcfunction(L, no_exit);
    lua_setfield(L, -2, "exit");
    lua_pushcfunction(L, keep_locale);
    lua_setfield(L, -2, "setlocale");
    lua_pop(L, 4);
    return 0;
}
