#include "api/fields_lua.h"

#include "codec/http1_answer.h"

#include <lauxlib.h>

static const char NAME[] = "atoll.http.fields";

struct fields {
    size_t len;
    char lines[];
};

static struct span lines_of(lua_State *L, int index) {
    const struct fields *f = luaL_checkudata(L, index, NAME);
    return span_of(f->lines, f->len);
}

/* The next value of that name in *rest. */
static bool find(struct span *rest, struct span name, struct span *value) {
    struct span other;
    while (answer_field(rest, &other, value))
        if (span_case_eq(other, name)) return true;
    return false;
}

static bool push_joined(lua_State *L, struct span lines, struct span name) {
    struct span value;
    if (!find(&lines, name, &value)) return false;
    lua_pushlstring(L, value.at, value.len);
    while (find(&lines, name, &value)) {
        lua_pushliteral(L, ", ");
        lua_pushlstring(L, value.at, value.len);
        lua_concat(L, 3);
    }
    return true;
}

static int get(lua_State *L) {
    size_t len;
    struct span lines = lines_of(L, 1);
    if (lua_type(L, 2) != LUA_TSTRING) return 0;
    const char *name = lua_tolstring(L, 2, &len);
    return push_joined(L, lines, span_of(name, len));
}

static int set(lua_State *L) {
    return luaL_error(L, "the headers are what the server sent and cannot be set");
}

static int each(lua_State *L) {
    struct span rest = lines_of(L, 1), all = rest, name, value;
    lua_getglobal(L, "next");
    lua_newtable(L);
    while (answer_field(&rest, &name, &value)) {
        luaL_Buffer b;
        char *to = luaL_buffinitsize(L, &b, name.len);
        for (size_t i = 0; i < name.len; i++) to[i] = ascii_lower(name.at[i]);
        luaL_pushresultsize(&b, name.len);
        push_joined(L, all, name);
        lua_rawset(L, -3);
    }
    lua_pushnil(L);
    return 3;
}

int fields_values(lua_State *L) {
    size_t len;
    struct span rest = lines_of(L, 1), value;
    const char *name = luaL_checklstring(L, 2, &len);
    lua_newtable(L);
    for (lua_Integer i = 1; find(&rest, span_of(name, len), &value); i++) {
        lua_pushlstring(L, value.at, value.len);
        lua_rawseti(L, -2, i);
    }
    return 1;
}

void fields_push(lua_State *L, struct span lines) {
    static const luaL_Reg metamethods[] = {
        {"__index", get}, {"__newindex", set}, {"__pairs", each}, {NULL, NULL}};
    struct fields *f = lua_newuserdatauv(L, sizeof *f + lines.len, 0);
    f->len = lines.len;
    memcpy(f->lines, lines.at, lines.len);
    if (luaL_newmetatable(L, NAME)) {
        luaL_setfuncs(L, metamethods, 0);
        lua_pushboolean(L, 0);
        lua_setfield(L, -2, "__metatable");
    }
    lua_setmetatable(L, -2);
}
