#include "api/site_lua.h"

#include "isolate/budget.h"

#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>

void site_init(struct site *s) {
    *s = (struct site){
        .not_found = LUA_NOREF, .on_error = LUA_NOREF, .kind = FIBER_REQUEST};
}

void site_free(struct site *s) {
    for (uint32_t i = 0; i < s->count; i++) free(s->sources[i]);
    free(s->sources);
    free(s->handlers);
    free(s->takes_response);
    if (s->router) router_free(s->router);
    site_init(s);
}

void site_unref(lua_State *L, struct site *s) {
    for (uint32_t i = 0; i < s->count; i++)
        luaL_unref(L, LUA_REGISTRYINDEX, s->handlers[i]);
    luaL_unref(L, LUA_REGISTRYINDEX, s->not_found);
    luaL_unref(L, LUA_REGISTRYINDEX, s->on_error);
}

static bool takes_response(lua_State *L) {
    lua_Debug d;
    lua_pushvalue(L, -1);
    lua_getinfo(L, ">u", &d);
    return d.isvararg || d.nparams >= 2;
}

static const char *field_string(lua_State *L, const char *name, struct span *s) {
    lua_getfield(L, -1, name);
    s->at = luaL_checklstring(L, -1, &s->len);
    lua_pop(L, 1); /* the table keeps it */
    return s->at;
}

static void add_route(lua_State *L, struct site *s) {
    struct span method, pattern, source;
    const char *why = NULL;
    field_string(L, "method", &method);
    field_string(L, "pattern", &pattern);
    field_string(L, "source", &source);
    uint32_t i = s->count;
    lua_getfield(L, -1, "handler");
    luaL_checktype(L, -1, LUA_TFUNCTION);
    s->takes_response[i] = takes_response(L);
    s->handlers[i] = luaL_ref(L, LUA_REGISTRYINDEX);
    s->sources[i] = strndup(source.at, source.len);
    if (!s->sources[i]) budget_raise(L);
    s->count++;
    if (router_add(s->router, method, pattern, i, &why) != 0)
        luaL_error(L, "%s: route \"%s\": %s", s->sources[i], pattern.at, why);
}

int site_hook(lua_State *L, const char *name) {
    if (lua_getfield(L, -1, name) == LUA_TNIL) {
        lua_pop(L, 1);
        return LUA_NOREF;
    }
    return luaL_ref(L, LUA_REGISTRYINDEX);
}

void site_load(lua_State *L, struct site *s) {
    lua_getfield(L, -1, "routes");
    lua_Integer count = luaL_len(L, -1);
    size_t room = (size_t)count + 1;
    s->handlers = calloc(room, sizeof *s->handlers);
    s->sources = calloc(room, sizeof *s->sources);
    s->takes_response = calloc(room, sizeof *s->takes_response);
    s->router = router_new();
    if (!s->handlers || !s->sources || !s->takes_response || !s->router)
        budget_raise(L);
    for (lua_Integer i = 1; i <= count; i++) {
        lua_geti(L, -1, i);
        add_route(L, s);
        lua_pop(L, 1);
    }
    if (router_compile(s->router) != 0) budget_raise(L);
    lua_pop(L, 1);
    s->not_found = site_hook(L, "not_found");
    s->on_error = site_hook(L, "error");
}
