#include "api/http_lua.h"

#include "api/answer_lua.h"
#include "api/fields_lua.h"
#include "api/timer_lua.h"
#include "base/buf.h"
#include "base/err.h"
#include "codec/http1_write.h"
#include "isolate/budget.h"
#include "isolate/sched.h"

#include <lauxlib.h>

enum { KEPT = 64 * 1024 };

static const char SCRATCH[] = "atoll.http.scratch", PLACE[] = "atoll.http.place";

/* ---- the head of a request ---- */

/* What is being written, in memory that a raise does not lose, and what the program's
 * own fields have said. */
struct draft {
    struct buf text;
    bool close, expects, has_length;
    lua_Integer length;
};

static int draft_gc(lua_State *L) {
    struct draft *d = lua_touserdata(L, 1);
    buf_reset(&d->text);
    return 0;
}

static struct draft *begin_draft(lua_State *L) {
    struct draft *d = lua_touserdata(L, lua_upvalueindex(1));
    if (d->text.capacity > KEPT) buf_reset(&d->text);
    buf_consume(&d->text, buf_len(&d->text));
    d->close = d->expects = d->has_length = false;
    return d;
}

static struct span span_at(lua_State *L, int index) {
    struct span s;
    s.at = lua_tolstring(L, index, &s.len);
    return s;
}

static const char *write_field(struct draft *d, struct span name, struct span value) {
    switch (http1_field(&d->text, name, value)) {
    case 0: return NULL;
    case ERR_MEMORY: return "not enough memory";
    }
    return http1_is_token(name) ? "the value has a control character"
                                : "that is no name of a header";
}

static bool digits(struct span s, lua_Integer *n) {
    *n = 0;
    for (size_t i = 0; i < s.len; i++) {
        if (s.at[i] < '0' || s.at[i] > '9' || i == 18) return false;
        *n = *n * 10 + (s.at[i] - '0');
    }
    return s.len > 0;
}

/* A field of the program's own. NULL, or why it may not stand there. */
static const char *own_field(struct draft *d, struct span name, struct span value) {
    if (span_case_eq(name, SPAN("transfer-encoding")) ||
        span_case_eq(name, SPAN("trailer")) || span_case_eq(name, SPAN("te")) ||
        span_case_eq(name, SPAN("upgrade")))
        return "it belongs to the client";
    if (span_case_eq(name, SPAN("connection"))) {
        d->close = d->close || span_case_eq(value, SPAN("close"));
        return d->close || span_case_eq(value, SPAN("keep-alive"))
                   ? NULL
                   : "it is \"close\" or nothing";
    }
    if (span_case_eq(name, SPAN("content-length"))) {
        if (d->has_length || !digits(value, &d->length)) return "it is no length";
        d->has_length = true;
        return NULL;
    }
    if (span_case_eq(name, SPAN("expect"))) {
        d->expects = true;
        return span_case_eq(value, SPAN("100-continue"))
                   ? NULL
                   : "it is \"100-continue\" or nothing";
    }
    return write_field(d, name, value);
}

/* The name is at index -2, the value on top. */
static const char *own_fields(lua_State *L, struct draft *d) {
    const char *why = NULL;
    struct span name = span_at(L, -2);
    switch (lua_type(L, -1)) {
    case LUA_TBOOLEAN: return lua_toboolean(L, -1) ? "true is no value" : NULL;
    case LUA_TSTRING:
    case LUA_TNUMBER:
        lua_pushvalue(L, -1); /* what lua_next is given back must stay as it is */
        why = own_field(d, name, span_at(L, -1));
        lua_pop(L, 1);
        return why;
    case LUA_TTABLE: break;
    default: return "its value is neither text nor a list";
    }
    lua_Integer count = luaL_len(L, -1);
    for (lua_Integer i = 1; i <= count && !why; i++) {
        int type = lua_geti(L, -1, i);
        why = type == LUA_TSTRING || type == LUA_TNUMBER
                  ? own_field(d, name, span_at(L, -1))
                  : "its list holds what is no text";
        lua_pop(L, 1);
    }
    return why;
}

/* Whether the table at index 4 has that name, in any case. */
static bool is_own(lua_State *L, struct span name) {
    lua_pushnil(L);
    while (lua_next(L, 4)) {
        lua_pop(L, 1);
        if (lua_type(L, -1) != LUA_TSTRING || !span_case_eq(span_at(L, -1), name))
            continue;
        lua_pop(L, 1);
        return true;
    }
    return false;
}

static const char *write_defaults(lua_State *L, struct draft *d, bool has_own) {
    const char *why = NULL;
    lua_Integer count = luaL_len(L, 3);
    for (lua_Integer i = 1; i < count && !why; i += 2) {
        lua_rawgeti(L, 3, i);
        lua_rawgeti(L, 3, i + 1);
        if (!has_own || !is_own(L, span_at(L, -2)))
            why = write_field(d, span_at(L, -2), span_at(L, -1));
        lua_pop(L, 2);
    }
    return why;
}

static int complain(lua_State *L, const char *name, const char *why) {
    luaL_pushfail(L);
    lua_pushfstring(L, "the header \"%s\": %s", name, why);
    return 2;
}

static const char *write_own(lua_State *L, int fields, struct draft *d,
                             const char **name) {
    lua_pushnil(L);
    while (lua_next(L, fields)) {
        if (lua_type(L, -2) != LUA_TSTRING) {
            *name = luaL_tolstring(L, -2, NULL);
            return "its name is no text";
        }
        *name = lua_tostring(L, -2);
        const char *why = own_fields(L, d);
        if (why) return why;
        lua_pop(L, 1);
    }
    return NULL;
}

/* What tells the server where the body ends: index 5 is its length, or true for one
 * that comes in pieces, or nil. */
static const char *write_framing(lua_State *L, struct draft *d, bool *chunked) {
    char number[24];
    bool pieces = lua_isboolean(L, 5) && lua_toboolean(L, 5);
    lua_Integer length = lua_tointeger(L, 5);
    *chunked = pieces && !d->has_length;
    if (*chunked) return write_field(d, SPAN("Transfer-Encoding"), SPAN("chunked"));
    if (!pieces && d->has_length && d->length != length)
        return "it is not the length of the body";
    if (pieces) length = d->length;
    if (lua_isnoneornil(L, 5) && !d->has_length) return NULL;
    size_t n = http1_decimal(number, (uint64_t)length);
    return write_field(d, SPAN("Content-Length"), span_of(number, n));
}

/* head(method, target, defaults, fields, body) -> text, chunked, length, close,
 * expects; or nil, message. defaults is a flat list of names and values, which fields
 * (name -> text, list of texts, or false) go before. */
static int head(lua_State *L) {
    struct span method, target;
    method.at = luaL_checklstring(L, 1, &method.len);
    target.at = luaL_checklstring(L, 2, &target.len);
    luaL_checktype(L, 3, LUA_TTABLE);
    bool has_own = !lua_isnoneornil(L, 4), chunked = false;
    if (has_own) luaL_checktype(L, 4, LUA_TTABLE);
    lua_settop(L, 5);
    struct draft *d = begin_draft(L);
    if (!http1_is_token(method)) return complain(L, lua_tostring(L, 1), "no method");
    if (buf_append(&d->text, method.at, method.len) != 0 ||
        buf_append(&d->text, " ", 1) != 0 ||
        buf_append(&d->text, target.at, target.len) != 0 ||
        buf_append(&d->text, " HTTP/1.1\r\n", 11) != 0)
        return budget_raise(L);
    const char *name = "of the request", *why = write_defaults(L, d, has_own);
    if (!why && has_own) why = write_own(L, 4, d, &name);
    if (why) return complain(L, name, why);
    if ((why = write_framing(L, d, &chunked)))
        return complain(L, "Content-Length", why);
    if ((d->close && (why = write_field(d, SPAN("Connection"), SPAN("close")))) ||
        (d->expects && (why = write_field(d, SPAN("Expect"), SPAN("100-continue")))))
        return complain(L, name, why);
    if (buf_append(&d->text, "\r\n", 2) != 0) return budget_raise(L);
    lua_pushlstring(L, buf_data(&d->text), buf_len(&d->text));
    lua_pushboolean(L, chunked);
    if (d->has_length)
        lua_pushinteger(L, d->length);
    else
        lua_pushnil(L);
    lua_pushboolean(L, d->close);
    lua_pushboolean(L, d->expects);
    return 5;
}

/* trailers(fields): the end of a chunked body, with these behind it; or nil, message.
 */
static int trailers(lua_State *L) {
    const char *name = NULL;
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 1);
    struct draft *d = begin_draft(L);
    if (buf_append(&d->text, "0\r\n", 3) != 0) return budget_raise(L);
    const char *why = write_own(L, 1, d, &name);
    if (!why && (d->close || d->expects || d->has_length)) why = "it is no trailer";
    if (why) return complain(L, name ? name : "of the trailers", why);
    if (buf_append(&d->text, "\r\n", 2) != 0) return budget_raise(L);
    lua_pushlstring(L, buf_data(&d->text), buf_len(&d->text));
    return 1;
}

/* chunk_head(n): what stands before a chunk of n bytes. */
static int chunk_head(lua_State *L) {
    char text[24];
    lua_Integer n = luaL_checkinteger(L, 1);
    luaL_argcheck(L, n > 0, 1, "a number of bytes above 0");
    lua_pushlstring(L, text, http1_chunk_head(text, (uint64_t)n));
    return 1;
}

/* ---- places in a queue ---- */

struct place {
    struct waiter waiter;
    bool called;
};

static struct place *check_place(lua_State *L) {
    return luaL_checkudata(L, 1, PLACE);
}

static int waited(lua_State *L, int status, lua_KContext context) {
    (void)status, (void)context;
    struct place *p = lua_touserdata(L, 1);
    lua_pushboolean(L, p->called);
    return 1;
}

/* place:wait(seconds): true when it was called in time; nil for no limit. */
static int place_wait(lua_State *L) {
    struct place *p = check_place(L);
    int64_t deadline = timer_opt_deadline(L, 2);
    if (p->called) return waited(L, LUA_OK, 0);
    return sched_park(L, &p->waiter, deadline, waited, 0);
}

static int place_call(lua_State *L) {
    struct place *p = check_place(L);
    p->called = true;
    sched_wake(&p->waiter, WAKE_EVENT);
    return 0;
}

static int place(lua_State *L) {
    struct place *p = lua_newuserdatauv(L, sizeof *p, 0);
    *p = (struct place){0};
    luaL_setmetatable(L, PLACE);
    return 1;
}

static const luaL_Reg place_methods[] = {
    {"call", place_call}, {"wait", place_wait}, {NULL, NULL}};
static const luaL_Reg functions[] = {{"chunk_head", chunk_head},
                                     {"place", place},
                                     {"values", fields_values},
                                     {NULL, NULL}};

int luaopen_atoll_core_http(lua_State *L) {
    luaL_newlib(L, functions);
    answer_push_maker(L);
    lua_setfield(L, -2, "reader");
    if (luaL_newmetatable(L, PLACE)) {
        luaL_newlib(L, place_methods);
        lua_setfield(L, -2, "__index");
    }
    struct draft *d = lua_newuserdatauv(L, sizeof *d, 0);
    *d = (struct draft){0};
    if (luaL_newmetatable(L, SCRATCH)) {
        lua_pushcfunction(L, draft_gc);
        lua_setfield(L, -2, "__gc");
    }
    lua_setmetatable(L, -2);
    lua_pushvalue(L, -1);
    lua_pushcclosure(L, trailers, 1);
    lua_setfield(L, -4, "trailers");
    lua_pushcclosure(L, head, 1);
    lua_setfield(L, -3, "head");
    lua_pop(L, 1);
    return 1;
}
