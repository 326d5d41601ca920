#include "api/body_lua.h"

#include "api/request_lua.h"
#include "api/response_lua.h"
#include "codec/http1_answer.h"
#include "isolate/gathering.h"
#include "isolate/generation.h"

#include <lauxlib.h>

enum { CHUNK = 64 * 1024 };

static int push_span(lua_State *L, struct span s) {
    lua_pushlstring(L, s.at ? s.at : "", s.len);
    return 1;
}

/* Why the body cannot be had: halts, or pushes nil, message, code; 0 when it can. */
static int body_error(lua_State *L, struct exchange *x) {
    if (exchange_gone(x) && !x->body_complete) {
        lua_pushnil(L);
        lua_pushstring(L, err_text(ERR_CLOSED));
        lua_pushstring(L, err_name(ERR_CLOSED));
        return 3;
    }
    if (x->body_status && x->phase != X_HEAD)
        return luaL_error(L, "the answer had begun when the body was refused with %d",
                          x->body_status);
    if (x->body_status) return response_halt(L, x->body_status, NULL);
    return 0;
}

static int keep_text(lua_State *L, struct exchange *x) {
    push_span(L, exchange_body_ready(x));
    exchange_body_take(x, buf_len(&x->body));
    request_cache(L, 1);
    lua_pushvalue(L, -2);
    lua_setfield(L, -2, "text");
    lua_pop(L, 1);
    return 1;
}

/* What gathers until all is there, at index 2. */
static void charge(lua_State *L, const struct exchange *x) {
    if (lua_gettop(L) < 2) gathering_push(L);
    gathering_charge(L, 2, x->body.capacity);
}

static int text_k(lua_State *L, int status, lua_KContext context) {
    (void)status;
    (void)context;
    struct request *r = request_check(L, 1, true);
    struct exchange *x = r->x;
    int failed = body_error(L, x);
    if (failed) return failed;
    if (x->body_complete) return keep_text(L, x);
    charge(L, x);
    exchange_body_want(x, x->body_max + 1);
    return sched_park(L, &r->body, 0, text_k, 0);
}

static int text(lua_State *L) {
    request_check(L, 1, false);
    lua_settop(L, 1);
    request_cache(L, 1);
    if (lua_getfield(L, -1, "text") == LUA_TSTRING) return 1;
    lua_settop(L, 1);
    return text_k(L, LUA_OK, 0);
}

static int read_k(lua_State *L, int status, lua_KContext context) {
    (void)status;
    size_t want = (size_t)context;
    struct request *r = request_check(L, 1, true);
    struct exchange *x = r->x;
    struct span ready = exchange_body_ready(x);
    if (ready.len) {
        if (ready.len > want) ready.len = want;
        push_span(L, ready);
        exchange_body_take(x, ready.len);
        return 1;
    }
    int failed = body_error(L, x);
    if (failed) return failed;
    if (x->body_complete) {
        lua_pushnil(L);
        return 1;
    }
    exchange_body_want(x, BODY_WINDOW);
    return sched_park(L, &r->body, 0, read_k, context);
}

static int read_some(lua_State *L) {
    request_check(L, 1, true);
    lua_Integer n = luaL_optinteger(L, 2, CHUNK);
    luaL_argcheck(L, n > 0, 2, "a number of bytes above 0");
    lua_settop(L, 1);
    return read_k(L, LUA_OK, (lua_KContext)n);
}

/* A loop has no place for an error value: half a body must not look like a whole one.
 */
static int next_chunk_k(lua_State *L, int status, lua_KContext context) {
    (void)status;
    (void)context;
    struct request *r = request_check(L, 1, true);
    struct exchange *x = r->x;
    if (exchange_gone(x) && !x->body_complete && !buf_len(&x->body))
        return luaL_error(L, "the client left in the middle of the body");
    if (buf_len(&x->body) || x->body_complete || x->body_status)
        return read_k(L, LUA_OK, CHUNK);
    exchange_body_want(x, BODY_WINDOW);
    return sched_park(L, &r->body, 0, next_chunk_k, 0);
}

/* The loop's control value, the chunk before, is no number of bytes. */
static int next_chunk(lua_State *L) {
    request_check(L, 1, true);
    lua_settop(L, 1);
    return next_chunk_k(L, LUA_OK, 0);
}

static int chunks(lua_State *L) {
    request_check(L, 1, true);
    lua_settop(L, 1);
    lua_pushcfunction(L, next_chunk);
    lua_insert(L, 1);
    return 2;
}

/* ---- trailers ---- */

/* Pushes the name in small letters. */
static void push_lower(lua_State *L, struct span name) {
    luaL_Buffer b;
    char *to = luaL_buffinitsize(L, &b, name.len);
    for (size_t i = 0; i < name.len; i++) to[i] = ascii_lower(name.at[i]);
    luaL_pushresultsize(&b, name.len);
}

int body_trailers(lua_State *L) {
    struct exchange *x = request_check(L, 1, true)->x;
    struct span rest = buf_span(&x->trailers), name, value;
    if (!x->body_complete) return 0;
    lua_settop(L, 1);
    request_cache(L, 1);
    if (lua_getfield(L, 2, "trailers") == LUA_TTABLE) return 1;
    lua_pop(L, 1);
    lua_pushnil(L); /* 4 is the table */
    lua_newtable(L);
    while (rest.len && answer_field(&rest, &name, &value)) {
        if (!http1_may_trail(name)) continue;
        push_lower(L, name);
        lua_pushvalue(L, -1);
        if (lua_rawget(L, 4) == LUA_TSTRING) {
            lua_pushliteral(L, ", ");
            push_span(L, value);
            lua_concat(L, 3);
        } else {
            lua_pop(L, 1);
            push_span(L, value);
        }
        lua_rawset(L, 4);
    }
    lua_pushvalue(L, 4);
    lua_setfield(L, 2, "trailers");
    return 1;
}

void body_open(lua_State *L) {
    static const luaL_Reg methods[] = {
        {"text", text}, {"read", read_some}, {"chunks", chunks}, {NULL, NULL}};
    luaL_setfuncs(L, methods, 0);
}
