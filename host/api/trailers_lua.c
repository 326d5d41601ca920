#include "api/trailers_lua.h"

#include "isolate/budget.h"

#include <lauxlib.h>

void trailers_set(lua_State *L, struct request *r, int index) {
    index = lua_absindex(L, index);
    request_cache(L, 1);
    lua_pushvalue(L, index);
    lua_setfield(L, -2, "trailers_out");
    lua_pop(L, 1);
    r->has_trailers = true;
}

/* Pushes the table, or returns false. */
static bool push_table(lua_State *L) {
    luaL_checkstack(L, 8, "trailers");
    request_cache(L, 1);
    int type = lua_getfield(L, -1, "trailers_out");
    lua_remove(L, -2);
    if (type == LUA_TTABLE) return true;
    lua_pop(L, 1);
    return false;
}

/* The key at index -2. */
static struct span name_of(lua_State *L) {
    struct span name;
    if (lua_type(L, -2) != LUA_TSTRING)
        luaL_error(L,
                   "the trailers are a table of names and values; found a key that "
                   "is a %s",
                   luaL_typename(L, -2));
    name.at = lua_tolstring(L, -2, &name.len);
    if (!http1_is_token(name))
        luaL_error(L, "'%s' cannot be a trailer's name", name.at);
    if (!http1_may_trail(name))
        luaL_error(L, "'%s' cannot be a trailer: it is needed before the body",
                   name.at);
    return name;
}

void trailers_declare(lua_State *L, struct request *r, int status) {
    struct exchange *x = r->x;
    if (http1_bodiless(status) || x->framing == HTTP1_LENGTH || !x->head.minor ||
        !exchange_takes_trailers(x) || !push_table(L))
        return;
    lua_pushnil(L);
    while (lua_next(L, -2)) {
        if (exchange_field(x, SPAN("Trailer"), name_of(L)) != 0) budget_raise(L);
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
}

void trailers_send(lua_State *L, struct request *r) {
    struct exchange *x = r->x;
    if (x->framing != HTTP1_CHUNKED || !exchange_takes_trailers(x) || !push_table(L))
        return;
    lua_pushnil(L);
    while (lua_next(L, -2)) {
        struct span name = name_of(L), value;
        if (lua_toboolean(L, -1)) { /* false: declared, and not sent */
            if (!lua_isstring(L, -1))
                luaL_error(L, "trailer '%s' is a %s; it has to be a string", name.at,
                           luaL_typename(L, -1));
            value.at = lua_tolstring(L, -1, &value.len);
            int err = exchange_trailer(x, name, value);
            if (err == ERR_SYNTAX)
                luaL_error(L, "trailer '%s' has a value with a control byte", name.at);
            if (err) budget_raise(L);
        }
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
}
