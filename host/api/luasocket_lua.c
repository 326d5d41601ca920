#include "api/libs.h"
#include "api/lsock_select.h"
#include "api/luasocket_dns_lua.h"
#include "api/luasocket_tcp_lua.h"
#include "api/luasocket_udp_lua.h"
#include "api/timer_lua.h"
#include "base/clock.h"
#include "isolate/generation.h"

#include <lauxlib.h>

#define FOREVER_S 1e9 /* some thirty years */

/* Exceptions: newtry(finalizer) makes a function that raises its second argument,
 * wrapped, when the first is false; protect(fn) one that turns it into nil, error.
 * Upvalue 1 of them all is the metatable of what is raised. */

static int throw_it(lua_State *L, int status, lua_KContext context) {
    (void)status, (void)context;
    lua_settop(L, 2);
    lua_createtable(L, 1, 0);
    lua_insert(L, -2);
    lua_rawseti(L, -2, 1);
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_setmetatable(L, -2);
    return lua_error(L);
}

static int try(lua_State *L) {
    if (lua_toboolean(L, 1)) return lua_gettop(L);
    if (lua_isnil(L, lua_upvalueindex(2))) return throw_it(L, LUA_OK, 0);
    lua_settop(L, 2);
    lua_pushvalue(L, lua_upvalueindex(2));
    lua_callk(L, 0, 0, 0, throw_it);
    return throw_it(L, LUA_OK, 0);
}

static int newtry(lua_State *L) {
    lua_settop(L, 1);
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    lua_pushcclosure(L, try, 2);
    return 1;
}

static int ended(lua_State *L, int status, lua_KContext context) {
    (void)context;
    if (status == LUA_OK || status == LUA_YIELD) return lua_gettop(L);
    if (lua_getmetatable(L, -1)) {
        bool is = lua_istable(L, -2) && lua_rawequal(L, -1, lua_upvalueindex(1));
        lua_pop(L, 1);
        if (is) {
            lua_pushnil(L);
            lua_rawgeti(L, -2, 1);
            return 2;
        }
    }
    return lua_error(L);
}

static int protected(lua_State *L) {
    lua_pushvalue(L, lua_upvalueindex(2));
    lua_insert(L, 1);
    return ended(L, lua_pcallk(L, lua_gettop(L) - 1, LUA_MULTRET, 0, 0, ended), 0);
}

static int protect(lua_State *L) {
    lua_settop(L, 1);
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    lua_pushcclosure(L, protected, 2);
    return 1;
}

/* The rest. */

static int gettime(lua_State *L) {
    lua_pushnumber(L, (lua_Number)clock_wall_ns() / 1e9);
    return 1;
}

static int sleep_for(lua_State *L) {
    lua_Number seconds = luaL_checknumber(L, 1);
    if (!(seconds > 0)) seconds = 0;
    if (seconds > FOREVER_S) seconds = FOREVER_S;
    return timer_sleep(L, clock_ns() + (int64_t)(seconds * 1e9));
}

static int skip(lua_State *L) {
    lua_Integer n = luaL_checkinteger(L, 1), top = lua_gettop(L);
    return n >= top ? 0 : n < 0 ? (int)top : (int)(top - n - 1);
}

static int unload(lua_State *L) {
    (void)L;
    return 0;
}

static const luaL_Reg functions[] = {
    {"__unload", unload}, {"gettime", gettime}, {"select", lsock_select},
    {"skip", skip},       {"sleep", sleep_for}, {NULL, NULL},
};

static const luaL_Reg exceptions[] = {
    {"newtry", newtry}, {"protect", protect}, {NULL, NULL}};

int luaopen_socket_core(lua_State *L) {
    luaL_newlib(L, functions);
    luasocket_open_tcp(L);
    luasocket_open_udp(L);
    luasocket_open_dns(L);
    lua_pushliteral(L, "LuaSocket 3.0.0");
    lua_setfield(L, -2, "_VERSION");
    lua_pushinteger(L, LSOCK_SETSIZE);
    lua_setfield(L, -2, "_SETSIZE");
    lua_pushinteger(L, -1);
    lua_setfield(L, -2, "_SOCKETINVALID");
    lua_createtable(L, 0, 1);
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable");
    luaL_setfuncs(L, exceptions, 1);
    generation_lets_through(generation_of(L), protected);
    generation_lets_through(generation_of(L), try);
    return 1;
}

/* For lua/atoll/compat/ssl.lua. */
int luaopen_atoll_core_fd(lua_State *L) {
    static const luaL_Reg list[] = {{"cut", lsock_cut_fd},
                                    {"wait", lsock_wait_fd},
                                    {"writable", lsock_fd_is_writable},
                                    {NULL, NULL}};
    luaL_newlib(L, list);
    return 1;
}
