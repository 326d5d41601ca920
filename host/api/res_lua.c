#include "api/res_lua.h"

#include "api/response_lua.h"
#include "api/trailers_lua.h"
#include "api/vigil_lua.h"
#include "http/exchange.h"

#include <lauxlib.h>

static const char NAME[] = "atoll.res", HEADERS[] = "atoll.res.headers";

void res_push(lua_State *L, int index) {
    index = lua_absindex(L, index);
    struct request *r = lua_touserdata(L, index);
    r->has_res = true;
    lua_newuserdatauv(L, 0, 1);
    lua_rawgetp(L, LUA_REGISTRYINDEX, NAME);
    lua_setmetatable(L, -2);
    lua_pushvalue(L, index);
    lua_setiuservalue(L, -2, 1);
}

void res_request(lua_State *L, int index) {
    luaL_checkudata(L, index, NAME);
    lua_getiuservalue(L, index, 1);
}

/* Puts the request at index 1, where all here expects it, and res behind it. */
static struct request *request_of(lua_State *L) {
    res_request(L, 1);
    lua_insert(L, 1);
    return request_alive(L, 1);
}

/* At index 1 the request, 2 res, 3 the piece. */
static int write_k(lua_State *L, int status, lua_KContext context) {
    (void)status;
    struct request *r = request_alive(L, 1);
    size_t len, taken, sent = (size_t)context;
    const char *piece = lua_tolstring(L, 3, &len);
    r->in_piece = false;
    while (!exchange_gone(r->x)) {
        if (sent >= len) {
            if (r->vigil) vigil_wrote(r);
            lua_pushboolean(L, 1);
            return 1;
        }
        enum io io = exchange_body(r->x, span_of(piece + sent, len - sent), &taken);
        if (io == IO_FAIL) break;
        sent += taken;
        r->in_piece = sent < len;
        if (io == IO_AGAIN || sent < len)
            return response_wait(L, r, io, write_k, (lua_KContext)sent);
    }
    lua_pushnil(L);
    lua_pushstring(L, err_text(ERR_CLOSED));
    lua_pushstring(L, err_name(ERR_CLOSED));
    return 3;
}

static void begin(lua_State *L, struct request *r) {
    struct answer a = {.status = r->status ? r->status : 200, .type = RESPONSE_TEXT};
    response_prepare(L, r, &a);
    response_head(L, r, &a, -1);
}

static int res_write(lua_State *L) {
    luaL_checktype(L, 2, LUA_TSTRING);
    lua_settop(L, 2);
    struct request *r = request_of(L);
    if (r->x->phase == X_DONE)
        return luaL_error(L, "res:write after the response was finished");
    if (r->x->phase == X_HEAD && !exchange_gone(r->x)) begin(L, r);
    return write_k(L, LUA_OK, 0);
}

/* At index 1 the request: waits until all that was written is the kernel's. */
static int flush_k(lua_State *L, int status, lua_KContext context) {
    (void)status, (void)context;
    struct request *r = request_alive(L, 1);
    enum io io = exchange_flush(r->x);
    if (io == IO_AGAIN) return sched_park(L, &r->output, 0, flush_k, 0);
    if (io == IO_FAIL) {
        lua_pushnil(L);
        lua_pushstring(L, err_text(ERR_CLOSED));
        lua_pushstring(L, err_name(ERR_CLOSED));
        return 3;
    }
    lua_pushboolean(L, 1);
    return 1;
}

static int res_flush(lua_State *L) {
    lua_settop(L, 1);
    struct request *r = request_of(L);
    if (r->x->phase == X_HEAD && !exchange_gone(r->x)) begin(L, r);
    return flush_k(L, LUA_OK, 0);
}

static int res_finish(lua_State *L) {
    lua_settop(L, 1);
    struct request *r = request_of(L);
    if (exchange_gone(r->x)) return 0;
    if (r->x->phase == X_HEAD) {
        struct answer a = {.status = r->status ? r->status : 200};
        response_prepare(L, r, &a);
        response_head(L, r, &a, 0);
    }
    response_end(L, r);
    return 0;
}

/* res.headers and res.trailers: made when they are first looked at. */
static int get_fields(lua_State *L, const char *name) {
    request_cache(L, 1);
    if (lua_getfield(L, -1, name) == LUA_TTABLE) return 1;
    lua_pop(L, 1);
    lua_newtable(L);
    luaL_setmetatable(L, HEADERS);
    lua_pushvalue(L, -1);
    lua_setfield(L, -3, name);
    return 1;
}

static int res_get(lua_State *L) {
    lua_pushvalue(L, 2);
    if (lua_rawget(L, lua_upvalueindex(1)) != LUA_TNIL) return 1;
    lua_settop(L, 2);
    struct request *r = request_of(L);
    const char *key = lua_tostring(L, 3);
    if (key && strcmp(key, "status") == 0) {
        lua_pushinteger(L, r->x->status ? r->x->status : r->status ? r->status : 200);
    } else if (key && strcmp(key, "headers") == 0) {
        return get_fields(L, "headers_out");
    } else if (key && strcmp(key, "trailers") == 0) {
        r->has_trailers = true;
        return get_fields(L, "trailers_out");
    } else if (key && strcmp(key, "request") == 0) {
        lua_pushvalue(L, 1);
    } else if (key && strcmp(key, "compress") == 0) {
        lua_pushboolean(L, !r->x->plain);
    } else {
        lua_pushnil(L);
    }
    return 1;
}

static int res_set(lua_State *L) {
    const char *key = luaL_checkstring(L, 2);
    struct request *r = request_of(L);
    if (strcmp(key, "trailers") == 0) {
        luaL_checktype(L, 4, LUA_TTABLE);
        trailers_set(L, r, 4);
        return 0;
    }
    if (r->x->phase != X_HEAD && !exchange_gone(r->x))
        return luaL_error(L, "res.%s is set after the head was sent", key);
    if (strcmp(key, "status") == 0) {
        r->status = response_status(L, luaL_checkinteger(L, 4));
    } else if (strcmp(key, "headers") == 0) {
        luaL_checktype(L, 4, LUA_TTABLE);
        request_cache(L, 1);
        lua_pushvalue(L, 4);
        lua_setfield(L, -2, "headers_out");
    } else if (strcmp(key, "compress") == 0) {
        r->x->plain = !lua_toboolean(L, 4);
    } else {
        return luaL_error(L,
                          "res.%s cannot be set; res.status, res.headers and "
                          "res.trailers can",
                          key);
    }
    return 0;
}

/* headers[name] = value replaces what stands there under another spelling. */
static int headers_set(lua_State *L) {
    size_t len, other;
    const char *name = luaL_checklstring(L, 2, &len);
    lua_pushnil(L);
    while (lua_next(L, 1)) {
        lua_pop(L, 1);
        if (lua_type(L, -1) != LUA_TSTRING) continue;
        const char *key = lua_tolstring(L, -1, &other);
        if (!span_case_eq(span_of(key, other), span_of(name, len))) continue;
        lua_pushvalue(L, 3);
        lua_rawset(L, 1);
        return 0;
    }
    lua_settop(L, 3);
    lua_rawset(L, 1);
    return 0;
}

static int headers_get(lua_State *L) {
    size_t len, other;
    if (lua_type(L, 2) != LUA_TSTRING) return 0;
    const char *name = lua_tolstring(L, 2, &len);
    lua_pushnil(L);
    while (lua_next(L, 1)) {
        if (lua_type(L, -2) == LUA_TSTRING) {
            const char *key = lua_tolstring(L, -2, &other);
            if (span_case_eq(span_of(key, other), span_of(name, len))) return 1;
        }
        lua_pop(L, 1);
    }
    return 0;
}

static const luaL_Reg methods[] = {
    {"finish", res_finish}, {"flush", res_flush}, {"write", res_write}, {NULL, NULL}};

int luaopen_atoll_core_res(lua_State *L) {
    luaL_newmetatable(L, HEADERS);
    lua_pushcfunction(L, headers_set);
    lua_setfield(L, -2, "__newindex");
    lua_pushcfunction(L, headers_get);
    lua_setfield(L, -2, "__index");
    lua_pop(L, 1);
    luaL_newlib(L, methods);
    vigil_open_res(L);
    luaL_newmetatable(L, NAME);
    lua_pushvalue(L, -2);
    lua_pushcclosure(L, res_get, 1);
    lua_setfield(L, -2, "__index");
    lua_pushcfunction(L, res_set);
    lua_setfield(L, -2, "__newindex");
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable");
    lua_rawsetp(L, LUA_REGISTRYINDEX, NAME);
    return 1;
}
