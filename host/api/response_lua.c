#include "api/response_lua.h"

#include "api/app_lua.h"
#include "api/buffer_lua.h"
#include "api/files_lua.h"
#include "api/json_write.h"
#include "api/res_lua.h"
#include "api/trailers_lua.h"
#include "api/websocket_lua.h"
#include "base/check.h"
#include "http/front.h"
#include "isolate/budget.h"

#include <lauxlib.h>

static const char ANSWER[] = "atoll.response", HALT[] = "atoll.halt";

bool response_is_halt(lua_State *L, int index) {
    if (!lua_istable(L, index) || !lua_getmetatable(L, index)) return false;
    lua_rawgetp(L, LUA_REGISTRYINDEX, HALT); /* cannot raise */
    bool is = lua_rawequal(L, -1, -2);
    lua_pop(L, 2);
    return is;
}

static bool is_answer(lua_State *L, int index) {
    if (!lua_getmetatable(L, index)) return false;
    lua_rawgetp(L, LUA_REGISTRYINDEX, ANSWER);
    bool is = lua_rawequal(L, -1, -2);
    lua_pop(L, 2);
    return is;
}

void response_new(lua_State *L) {
    lua_createtable(L, 0, 4);
    lua_rawgetp(L, LUA_REGISTRYINDEX, ANSWER);
    lua_setmetatable(L, -2);
}

int response_halt(lua_State *L, int status, const char *detail) {
    lua_createtable(L, 2, 1);
    lua_rawgetp(L, LUA_REGISTRYINDEX, HALT);
    lua_setmetatable(L, -2);
    lua_pushinteger(L, status);
    lua_rawseti(L, -2, 1);
    if (detail)
        lua_pushstring(L, detail);
    else
        lua_pushnil(L);
    lua_rawseti(L, -2, 2);
    lua_pushinteger(L, 2);
    lua_setfield(L, -2, "n");
    return lua_error(L);
}

/* ---- the head ---- */

static void add_field(lua_State *L, struct exchange *x, struct span name, int index) {
    size_t len;
    if (lua_type(L, index) != LUA_TSTRING && lua_type(L, index) != LUA_TNUMBER) {
        luaL_error(L, "header '%s' is a %s; it has to be a string, or a list of them",
                   name.at, luaL_typename(L, index));
    }
    lua_pushvalue(L, index); /* tolstring changes a number in place */
    const char *value = lua_tolstring(L, -1, &len);
    int err = exchange_field(x, name, span_of(value, len));
    if (err == ERR_SYNTAX && http1_is_token(name))
        luaL_error(L, "header '%s' has a value with a control byte (CR, LF, NUL ...)",
                   name.at);
    if (err == ERR_SYNTAX) luaL_error(L, "'%s' cannot be a header's name", name.at);
    if (err == -EPERM)
        luaL_error(L, "header '%s' is the host's to set: it frames the response",
                   name.at);
    if (err) budget_raise(L);
    lua_pop(L, 1);
}

/* Adds the fields of the table at index; Content-Type goes to a->type instead. */
static void add_fields(lua_State *L, struct exchange *x, int index, struct answer *a) {
    index = lua_absindex(L, index);
    luaL_checkstack(L, 8, "headers");
    lua_pushnil(L);
    while (lua_next(L, index)) {
        size_t len;
        if (lua_type(L, -2) != LUA_TSTRING)
            luaL_error(L,
                       "the headers are a table of names and values; found a key "
                       "that is a %s",
                       luaL_typename(L, -2));
        const char *name = lua_tolstring(L, -2, &len);
        if (span_case_eq(span_of(name, len), SPAN("content-type")) &&
            lua_type(L, -1) == LUA_TSTRING) {
            a->type.at = lua_tolstring(L, -1, &a->type.len);
            if (!http1_is_value(a->type))
                luaL_error(L, "header 'Content-Type' has a value with a control byte");
        } else if (lua_istable(L, -1)) {
            /* No metamethod: it could take away the Content-Type found before. */
            lua_Integer count = (lua_Integer)lua_rawlen(L, -1);
            for (lua_Integer i = 1; i <= count; i++) {
                lua_rawgeti(L, -1, i);
                add_field(L, x, span_of(name, len), lua_gettop(L));
                lua_pop(L, 1);
            }
        } else {
            add_field(L, x, span_of(name, len), lua_gettop(L));
        }
        lua_pop(L, 1);
    }
}

/* The fields of res, then the answer's own, which win. */
void response_prepare(lua_State *L, struct request *r, struct answer *a) {
    struct answer own = *a;
    exchange_restart(r->x);
    if (r->has_res) {
        struct answer theirs = {0};
        request_cache(L, 1);
        if (lua_getfield(L, -1, "headers_out") == LUA_TTABLE)
            add_fields(L, r->x, -1, &theirs);
        lua_pop(L, 2);
        if (theirs.type.len) a->type = theirs.type;
    }
    own.type = (struct span){NULL, 0};
    if (a->headers) add_fields(L, r->x, a->headers, &own);
    if (own.type.len) a->type = own.type;
}

int response_status(lua_State *L, lua_Integer status) {
    if (status < 200 || status > 599)
        luaL_error(L, "%I is not a status to answer with (200 to 599)",
                   (LUAI_UACINT)status);
    return (int)status;
}

void response_head(lua_State *L, struct request *r, const struct answer *a,
                   int64_t length) {
    if (r->has_trailers && length < 0) trailers_declare(L, r, a->status);
    int err = exchange_head(r->x, a->status, a->type, length);
    if (err && err != ERR_CLOSED) luaL_error(L, "%s", err_text(err));
}

void response_end(lua_State *L, struct request *r) {
    if (r->has_trailers && r->x->phase == X_SENDING) trailers_send(L, r);
    exchange_end(r->x);
}

/* ---- bodies ---- */

int response_wait(lua_State *L, struct request *r, enum io io, lua_KFunction k,
                  lua_KContext context) {
    if (io == IO_AGAIN) return sched_park(L, &r->output, 0, k, context);
    return sched_park(L, NULL, 1, k, context);
}

/* Sends the string at index `context`, from r->sent on; then ends the response. */
static int whole_k(lua_State *L, int status, lua_KContext context) {
    (void)status;
    struct request *r = request_alive(L, 1);
    struct span text = buffer_check_bytes(L, (int)context);
    size_t taken;
    while (r->sent < text.len) {
        enum io io =
            exchange_body(r->x, span_of(text.at + r->sent, text.len - r->sent), &taken);
        if (io == IO_FAIL) return 0;
        r->sent += taken;
        if (r->sent < text.len) return response_wait(L, r, io, whole_k, context);
    }
    response_end(L, r);
    return 0;
}

/* Of what stands at index. */
static int send_bytes(lua_State *L, struct request *r, struct answer *a, int index,
                      struct span bytes) {
    size_t taken;
    int err = exchange_answer(r->x, a->status, a->type, bytes, &taken);
    if (err && err != ERR_CLOSED) return luaL_error(L, "%s", err_text(err));
    if (err || taken == bytes.len) return 0;
    r->sent = taken;
    if (r->x->packing) return whole_k(L, LUA_OK, index); /* it may take more at once */
    return sched_park(L, &r->output, 0, whole_k, index);
}

static int send_string(lua_State *L, struct request *r, struct answer *a, int index) {
    struct span text;
    text.at = lua_tolstring(L, index, &text.len);
    return send_bytes(L, r, a, index, text);
}

static int send_json(lua_State *L, struct request *r, struct answer *a, int index) {
    buf_reset(&r->scratch);
    if (!json_write(L, index, &r->scratch, &json_write_strict)) return lua_error(L);
    struct span text = buf_span(&r->scratch);
    if (!a->type.len) a->type = SPAN("application/json");
    if (text.len > STREAM_HIGH) { /* it may have to wait: as a string it can */
        lua_pushlstring(L, text.at, text.len);
        buf_reset(&r->scratch);
        return send_string(L, r, a, lua_gettop(L));
    }
    size_t taken;
    int err = exchange_answer(r->x, a->status, a->type, text, &taken);
    if (err && err != ERR_CLOSED) return luaL_error(L, "%s", err_text(err));
    if (!err && taken < text.len) {
        lua_pushlstring(L, text.at + taken, text.len - taken);
        r->sent = 0;
        buf_reset(&r->scratch);
        if (r->x->packing) return whole_k(L, LUA_OK, lua_gettop(L));
        return sched_park(L, &r->output, 0, whole_k, lua_gettop(L));
    }
    buf_reset(&r->scratch);
    return 0;
}

/* The function at index `context` is called for pieces until it returns nil. On the
 * stack behind it is the piece being sent, r->sent of it sent. A loop: calls that go on
 * from here to here would fill the C stack with frames. */
static int pieces_k(lua_State *L, int status, lua_KContext context) {
    (void)status;
    struct request *r = request_alive(L, 1);
    int fn = (int)context;
    for (;;) {
        size_t len, taken;
        if (lua_isnil(L, fn + 1)) {
            response_end(L, r);
            return 0;
        }
        const char *piece = lua_tolstring(L, fn + 1, &len);
        if (!piece)
            return luaL_error(L,
                              "a body's function returned a %s; it has to be a string, "
                              "or nil at the end",
                              luaL_typename(L, fn + 1));
        while (r->sent < len) {
            enum io io =
                exchange_body(r->x, span_of(piece + r->sent, len - r->sent), &taken);
            if (io == IO_FAIL) return 0;
            r->sent += taken;
            if (io == IO_AGAIN || r->sent < len)
                return response_wait(L, r, io, pieces_k, context);
        }
        lua_settop(L, fn);
        lua_pushvalue(L, fn);
        r->sent = 0;
        lua_callk(L, 0, 1, context, pieces_k);
    }
}

static int send_pieces(lua_State *L, struct request *r, struct answer *a, int index) {
    response_head(L, r, a, -1);
    if (exchange_gone(r->x)) return 0;
    if (r->x->framing == HTTP1_NO_BODY) { /* HEAD, 204 ...: nobody reads the pieces */
        response_end(L, r);
        return 0;
    }
    lua_pushvalue(L, index);
    int fn = lua_gettop(L);
    lua_pushvalue(L, fn);
    r->sent = 0;
    lua_callk(L, 0, 1, fn, pieces_k);
    return pieces_k(L, LUA_OK, fn);
}

static int ran(lua_State *L, int status, lua_KContext context) {
    (void)status;
    (void)context;
    struct request *r = request_alive(L, 1);
    response_end(L, r);
    return 0;
}

/* run(res) writes the body itself. */
static int send_run(lua_State *L, struct request *r, struct answer *a) {
    response_head(L, r, a, -1);
    if (exchange_gone(r->x)) return 0;
    if (r->x->framing == HTTP1_NO_BODY) {
        response_end(L, r);
        return 0;
    }
    res_push(L, 1); /* the function is below it */
    lua_callk(L, 1, 0, 0, ran);
    return ran(L, LUA_OK, 0);
}

static int send_nothing(lua_State *L, struct request *r, struct answer *a) {
    if (a->status >= 400 && !a->type.len) {
        /* A bare status is for people, too. */
        struct span reason = http1_reason(a->status);
        lua_pushlstring(L, reason.at, reason.len);
        lua_pushfstring(L, "%d %s\n", a->status, lua_tostring(L, -1));
        a->type = RESPONSE_TEXT;
        return send_string(L, r, a, lua_gettop(L));
    }
    response_head(L, r, a, 0);
    response_end(L, r);
    return 0;
}

static int send_body(lua_State *L, struct request *r, struct answer *a) {
    switch (a->body ? lua_type(L, a->body) : LUA_TNIL) {
    case LUA_TNIL: response_prepare(L, r, a); return send_nothing(L, r, a);
    case LUA_TNUMBER:
        lua_pushvalue(L, a->body);
        lua_tostring(L, -1);
        lua_replace(L, a->body);
        /* fall through */
    case LUA_TSTRING:
        a->type = RESPONSE_TEXT;
        response_prepare(L, r, a);
        return send_string(L, r, a, a->body);
    case LUA_TTABLE: response_prepare(L, r, a); return send_json(L, r, a, a->body);
    case LUA_TFUNCTION:
        a->type = RESPONSE_TEXT;
        response_prepare(L, r, a);
        return send_pieces(L, r, a, a->body);
    case LUA_TUSERDATA: {
        struct span bytes;
        if (buffer_bytes(L, a->body, &bytes)) {
            a->type = RESPONSE_TEXT;
            response_prepare(L, r, a);
            return send_bytes(L, r, a, a->body, bytes);
        }
    }
        /* fall through */
    default:
        return luaL_error(L,
                          "a handler returned a %s as the body; it can be a string, "
                          "a table (JSON), a function, or atoll.html(...) and the "
                          "like",
                          luaL_typename(L, a->body));
    }
}

/* A response object: {status, headers, type, body | run | file}, read without
 * metamethods. */
static int send_answer(lua_State *L, struct request *r, struct answer *a, int object) {
    luaL_checkstack(L, 10, "response");
    int extra = a->headers, sent;
    lua_pushliteral(L, "status");
    if (lua_rawget(L, object) == LUA_TNUMBER && !a->status)
        a->status = response_status(L, lua_tointeger(L, -1));
    if (!a->status) a->status = r->status ? r->status : 200;
    lua_pushliteral(L, "type");
    int type = lua_rawget(L, object) == LUA_TSTRING ? lua_gettop(L) : 0;
    lua_pushliteral(L, "headers");
    a->headers = lua_rawget(L, object) == LUA_TTABLE ? lua_gettop(L) : 0;
    lua_pushliteral(L, "body");
    a->body = lua_rawget(L, object) == LUA_TNIL ? 0 : lua_gettop(L);
    lua_pushliteral(L, "run");
    bool runs = lua_rawget(L, object) == LUA_TFUNCTION;
    int run = lua_gettop(L);
    lua_pushliteral(L, "trailers");
    if (lua_rawget(L, object) == LUA_TTABLE) trailers_set(L, r, lua_gettop(L));
    lua_pop(L, 1);
    lua_pushliteral(L, "compress");
    if (lua_rawget(L, object) == LUA_TBOOLEAN && !lua_toboolean(L, -1))
        r->x->plain = true;
    lua_pushliteral(L, "file");
    int file = lua_rawget(L, object) == LUA_TUSERDATA ? lua_gettop(L) : 0;
    a->type = a->body || runs ? RESPONSE_TEXT : (struct span){NULL, 0};
    if (a->body && lua_istable(L, a->body)) a->type = SPAN("application/json");
    if (type) a->type.at = lua_tolstring(L, type, &a->type.len);
    if (!http1_is_value(a->type))
        luaL_error(L, "header 'Content-Type' has a value with a control byte");
    response_prepare(L, r, a);
    lua_pushliteral(L, "websocket");
    if (lua_rawget(L, object) == LUA_TTABLE)
        return websocket_accept(L, r, lua_gettop(L));
    lua_pop(L, 1);
    if (extra) { /* `status, atoll.html(...), headers` */
        struct answer more = {0};
        add_fields(L, r->x, extra, &more);
        if (more.type.len) a->type = more.type;
    }
    if (file) {
        if (files_send(L, r, a, file, &sent)) return sent;
        a->headers = 0; /* they were for the file */
        response_prepare(L, r, a);
    }
    if (runs) {
        lua_settop(L, run);
        return send_run(L, r, a);
    }
    switch (a->body ? lua_type(L, a->body) : LUA_TNIL) {
    case LUA_TNIL: return send_nothing(L, r, a);
    case LUA_TSTRING: return send_string(L, r, a, a->body);
    case LUA_TFUNCTION: return send_pieces(L, r, a, a->body);
    default: return luaL_error(L, "a response's body is a string or a function");
    }
}

int response_send(lua_State *L, int n) {
    struct request *r = request_alive(L, 1);
    struct exchange *x = r->x;
    int first = lua_gettop(L) - n + 1;
    if (exchange_gone(x)) return 0;
    if (n == 1 && lua_type(L, first) == LUA_TSTRING && !r->has_res &&
        x->phase == X_HEAD) { /* by far the most common */
        struct answer plain = {.status = 200, .type = RESPONSE_TEXT};
        return send_string(L, r, &plain, first);
    }
    if (n < 3) lua_settop(L, first + 2); /* so that all three can be looked at */
    if (x->phase != X_HEAD) {
        /* res was written to: it only remains to end it. */
        if (!lua_isnil(L, first) && x->phase != X_DONE)
            return luaL_error(L, "the handler returned a response after it had begun "
                                 "one with res:write");
        response_end(L, r);
        return 0;
    }
    struct answer a = {0};
    if (lua_type(L, first) == LUA_TNUMBER) {
        int whole;
        lua_Integer status = lua_tointegerx(L, first, &whole);
        if (!whole) return luaL_error(L, "a status is a whole number");
        a.status = response_status(L, status);
        a.body = lua_isnil(L, first + 1) ? 0 : first + 1;
    } else if (lua_isnil(L, first)) {
        if (lua_type(L, first + 1) == LUA_TSTRING) {
            lua_settop(L, first + 1); /* nil, message: a failed call passed on */
            return lua_error(L);
        }
    } else {
        a.body = first;
        if (!lua_isnil(L, first + 1))
            return luaL_error(L,
                              "a handler returned a body and then a %s; it returns "
                              "status, body, headers or body, nil, headers",
                              luaL_typename(L, first + 1));
    }
    if (!lua_isnil(L, first + 2)) {
        if (!lua_istable(L, first + 2))
            return luaL_error(L,
                              "the headers that a handler returns are a table, not "
                              "a %s",
                              luaL_typename(L, first + 2));
        a.headers = first + 2;
    }
    if (a.body && lua_istable(L, a.body) && is_answer(L, a.body))
        return send_answer(L, r, &a, a.body);
    if (!a.status) a.status = r->status ? r->status : a.body ? 200 : 204;
    return send_body(L, r, &a);
}

int luaopen_atoll_core_response(lua_State *L) {
    luaopen_atoll_core_res(L);
    luaL_newmetatable(L, ANSWER);
    lua_pushvalue(L, -1);
    lua_rawsetp(L, LUA_REGISTRYINDEX, ANSWER);
    lua_setfield(L, -2, "metatable");
    luaL_newmetatable(L, HALT);
    lua_pushvalue(L, -1);
    lua_rawsetp(L, LUA_REGISTRYINDEX, HALT);
    lua_setfield(L, -2, "halt_metatable");
    return 1;
}
