#include "api/request_lua.h"

#include "api/app_lua.h"
#include "api/body_lua.h"
#include "api/litter.h"
#include "api/loan_lua.h"
#include "api/vigil_lua.h"
#include "base/check.h"
#include "http/client.h"
#include "http/front.h"
#include "isolate/limit.h"

#include <lauxlib.h>

enum { MAGIC = 0x72657175 };

static const char NAME[] = "atoll.request", HEADERS[] = "atoll.headers";

/* User values of a request: a table of what is made rarely, and two that are not worth
 * one. */
enum { CACHE = REQUEST_CACHE, PARAMS, HEADERS_PROXY };

enum field {
    F_METHOD = 1,
    F_PATH,
    F_TARGET,
    F_QUERY_STRING,
    F_HOST,
    F_SCHEME,
    F_VERSION,
    F_REMOTE,
    F_PEER,
    F_IP,
    F_ID,
    F_ROUTE,
    F_ABORTED,
    F_SESSION,
    F_TRAILERS,
    F_LAST_EVENT_ID,
    F_CACHED, /* those from here on are made once and kept */
    F_PARAMS = F_CACHED,
    F_HEADERS,
    F_QUERY,
    F_COOKIES,
    F_CTX,
};

static const struct {
    const char *name;
    enum field field;
} fields[] = {
    {"method", F_METHOD},
    {"path", F_PATH},
    {"target", F_TARGET},
    {"query_string", F_QUERY_STRING},
    {"host", F_HOST},
    {"scheme", F_SCHEME},
    {"version", F_VERSION},
    {"remote", F_REMOTE},
    {"peer", F_PEER},
    {"ip", F_IP},
    {"id", F_ID},
    {"route", F_ROUTE},
    {"aborted", F_ABORTED},
    {"session", F_SESSION},
    {"query", F_QUERY},
    {"params", F_PARAMS},
    {"headers", F_HEADERS},
    {"cookies", F_COOKIES},
    {"ctx", F_CTX},
    {"trailers", F_TRAILERS},
    {"last_event_id", F_LAST_EVENT_ID},
};

static int push_span(lua_State *L, struct span s) {
    lua_pushlstring(L, s.at ? s.at : "", s.len);
    return 1;
}

struct request *request_new(lua_State *L) {
    struct request *r = lua_newuserdatauv(L, sizeof *r, HEADERS_PROXY);
    *r = (struct request){.magic = MAGIC};
    lua_rawgeti(L, LUA_REGISTRYINDEX, app_of(L)->request_metatable);
    lua_setmetatable(L, -2);
    return r;
}

struct request *request_push(lua_State *L, struct exchange *x, struct fiber *f) {
    struct request *r = request_new(L);
    r->x = x;
    r->fiber = f;
    r->came_with_fiber = true;
    x->handle = r;
    return r;
}

bool request_is(lua_State *L, int index) {
    return luaL_testudata(L, index, NAME) != NULL;
}

struct request *request_check(lua_State *L, int index, bool alive) {
    struct request *r = luaL_checkudata(L, index, NAME);
    return alive ? request_alive(L, index) : r;
}

const char *request_why_over(const struct request *r) {
    switch (r->end) {
    case REQUEST_TRANSFERRED: return "the request was transferred";
    case REQUEST_HANDED_ON: return "the request was given to app:handle";
    default: return "the request is over; keep what you need of it in a local";
    }
}

static inline struct request *alive(lua_State *L, struct request *r) {
    MAGIC_CHECK(r, MAGIC);
    if (__builtin_expect(!r->x, 0)) luaL_error(L, "%s", request_why_over(r));
    return r;
}

struct request *request_alive(lua_State *L, int index) {
    return alive(L, lua_touserdata(L, index));
}

/* req.headers; the request keeps it, and tells it when it is over. */
struct headers {
    struct exchange *x;
    const char *why_over;
};

void request_join(struct request *r, struct exchange *x) {
    r->x = x;
    r->end = REQUEST_OVER;
    if (r->headers) r->headers->x = x;
    x->handle = r;
}

void request_part(struct request *r, enum request_end how) {
    vigil_over(r);
    r->left = r->x && r->x->left;
    r->x = NULL;
    r->end = how;
    if (r->litter) litter_clear(&r->litter);
    if (!r->headers) return;
    r->headers->x = NULL;
    r->headers->why_over = request_why_over(r);
}

void request_over(struct request *r) {
    request_part(r, REQUEST_OVER);
    buf_reset(&r->scratch);
    /* Tasks that still wait for it are told so, or they would wait forever. */
    sched_wake(&r->body, WAKE_EVENT);
    sched_wake(&r->output, WAKE_EVENT);
}

void request_woken_body(struct exchange *x) {
    struct request *r = x->handle;
    if (!r) return;
    if (waiter_is_set(&r->body)) r->kept = x->front->loop->now;
    sched_wake(&r->body, WAKE_EVENT);
}

void request_woken_output(struct exchange *x) {
    struct request *r = x->handle;
    if (r) sched_wake(&r->output, WAKE_EVENT);
}

void request_gone(struct exchange *x) {
    request_woken_body(x);
    request_woken_output(x);
}

void request_cache(lua_State *L, int index) {
    index = lua_absindex(L, index);
    if (lua_getiuservalue(L, index, CACHE) == LUA_TTABLE) return;
    lua_pop(L, 1);
    lua_newtable(L);
    lua_pushvalue(L, -1);
    lua_setiuservalue(L, index, CACHE);
}

/* ---- headers ---- */

/* Pushes all values of the field joined (RFC 9110 5.3; cookies by "; "), or nil. */
static int push_header(lua_State *L, const struct head *h, struct span name) {
    unsigned from = 0;
    struct span value, next;
    if (!head_find(h, name, &from, &value)) {
        lua_pushnil(L);
        return 1;
    }
    push_span(L, value);
    while (head_find(h, name, &from, &next)) {
        lua_pushstring(L, span_case_eq(name, SPAN("cookie")) ? "; " : ", ");
        push_span(L, next);
        lua_concat(L, 3);
    }
    return 1;
}

static void push_headers(lua_State *L, struct request *r) {
    struct headers *h = lua_newuserdatauv(L, sizeof *h, 0);
    h->x = r->x;
    r->headers = h;
    lua_pushvalue(L, lua_upvalueindex(2));
    lua_setmetatable(L, -2);
}

static struct exchange *headers_of(lua_State *L) {
    struct headers *h = lua_touserdata(L, 1); /* the metatable is not to be had */
    if (!h->x) luaL_error(L, "%s", h->why_over);
    return h->x;
}

static int header_index(lua_State *L) {
    struct exchange *x = headers_of(L);
    size_t len;
    if (lua_type(L, 2) != LUA_TSTRING) return 0;
    const char *name = lua_tolstring(L, 2, &len);
    return push_header(L, &x->head, span_of(name, len));
}

static int header_newindex(lua_State *L) {
    return luaL_error(L, "req.headers are what the client sent and cannot be set; the "
                         "response's are res.headers or the third value returned");
}

static void push_lower(lua_State *L, struct span name) {
    luaL_Buffer b;
    char *to = luaL_buffinitsize(L, &b, name.len);
    for (size_t i = 0; i < name.len; i++) to[i] = ascii_lower(name.at[i]);
    luaL_pushresultsize(&b, name.len);
}

static int header_pairs(lua_State *L) {
    struct exchange *x = headers_of(L);
    lua_getglobal(L, "next");
    lua_newtable(L);
    for (unsigned i = 0; i < x->head.field_count; i++) {
        struct span name = head_name(&x->head, &x->head.fields[i]);
        push_lower(L, name);
        push_header(L, &x->head, name);
        lua_rawset(L, -3);
    }
    lua_pushnil(L);
    return 3;
}

/* ---- fields ---- */

static void push_params(lua_State *L, struct exchange *x) {
    lua_createtable(L, 0, x->param_count);
    for (unsigned i = 0; i < x->param_count; i++) {
        struct span value = exchange_param(x, i);
        push_span(L, x->params[i].name);
        if (target_plain(value)) {
            push_span(L, value);
        } else {
            luaL_Buffer b;
            char *to = luaL_buffinitsize(L, &b, value.len);
            luaL_pushresultsize(&b, target_decode(value, false, to));
        }
        lua_rawset(L, -3);
    }
}

/* Calls the function that Lua has put into the methods under that name. */
static void push_made(lua_State *L, const char *maker) {
    luaL_requiref(L, "atoll.core.request", luaopen_atoll_core_request, 0);
    lua_getfield(L, -1, maker);
    lua_remove(L, -2);
    lua_insert(L, -2);
    lua_call(L, 1, 1);
}

static void make(lua_State *L, struct exchange *x, enum field field) {
    switch (field) {
    case F_QUERY:
        push_span(L, x->target.query);
        push_made(L, "make_query");
        break;
    case F_COOKIES:
        push_header(L, &x->head, SPAN("cookie"));
        push_made(L, "make_cookies");
        break;
    default: lua_newtable(L); break;
    }
}

static int push_id(lua_State *L, struct exchange *x) {
    char id[16];
    return push_span(L, exchange_id(x, id));
}

static int push_host(lua_State *L, const struct exchange *x) {
    struct span host = client_host(x);
    return host.at ? push_span(L, host) : 0;
}

static int push_scheme(lua_State *L, const struct exchange *x) {
    if (client_is_secure(x)) return push_span(L, SPAN("https"));
    return push_span(L, x->target.scheme.len ? x->target.scheme : SPAN("http"));
}

static int push_address(lua_State *L, const struct exchange *x,
                        size_t (*text)(const struct exchange *x, char *to)) {
    char to[CLIENT_TEXT];
    size_t n = text(x, to);
    return n ? push_span(L, span_of(to, n)) : 0;
}

static int get(lua_State *L) {
    struct request *r = lua_touserdata(L, 1); /* the metatable is not to be had */
    lua_pushvalue(L, 2);
    int type = lua_rawget(L, lua_upvalueindex(1));
    if (type == LUA_TNIL) return 1;
    if (type != LUA_TNUMBER) return 1; /* a method */
    enum field field = (enum field)lua_tointeger(L, -1);
    if (field == F_ABORTED) {
        lua_pushboolean(L, r->x ? r->x->left : r->left);
        return 1;
    }
    if (field == F_TRAILERS) return body_trailers(L);
    if (field == F_PARAMS || field == F_HEADERS) {
        int place = field == F_PARAMS ? PARAMS : HEADERS_PROXY;
        if (lua_getiuservalue(L, 1, place) != LUA_TNIL) return 1;
        alive(L, r);
        if (field == F_PARAMS)
            push_params(L, r->x);
        else
            push_headers(L, r);
        lua_pushvalue(L, -1);
        lua_setiuservalue(L, 1, place);
        return 1;
    }
    if (field >= F_CACHED) {
        request_cache(L, 1);
        lua_pushvalue(L, 2);
        if (lua_rawget(L, -2) != LUA_TNIL) return 1;
        lua_pop(L, 1);
        if (field != F_CTX) alive(L, r);
        make(L, r->x, field);
        lua_pushvalue(L, 2);
        lua_pushvalue(L, -2);
        lua_rawset(L, -4);
        return 1;
    }
    struct exchange *x = alive(L, r)->x;
    switch (field) {
    case F_METHOD: return push_span(L, head_method(&x->head));
    case F_PATH: return push_span(L, x->target.path);
    case F_TARGET: return push_span(L, head_target(&x->head));
    case F_QUERY_STRING: return x->target.query.at ? push_span(L, x->target.query) : 0;
    case F_HOST: return push_host(L, x);
    case F_SCHEME: return push_scheme(L, x);
    case F_VERSION: return push_span(L, x->head.minor ? SPAN("1.1") : SPAN("1.0"));
    case F_REMOTE: return push_address(L, x, client_remote);
    case F_PEER: return push_address(L, x, client_peer);
    case F_IP: return push_address(L, x, client_ip);
    case F_LAST_EVENT_ID: return push_header(L, &x->head, SPAN("last-event-id"));
    case F_ID: return push_id(L, x);
    case F_ROUTE: return x->route.len ? push_span(L, x->route) : 0;
    case F_SESSION:
        lua_pushvalue(L, 1);
        push_made(L, "make_session");
        return 1;
    default: return 0;
    }
}

static int set(lua_State *L) {
    return luaL_error(L, "req.%s cannot be set; req.ctx is a table of your own",
                      luaL_tolstring(L, 2, NULL));
}

static int describe(lua_State *L) {
    struct request *r = luaL_checkudata(L, 1, NAME);
    if (!r->x) {
        lua_pushstring(L, r->end == REQUEST_OVER ? "request (over)"
                                                 : "request (given away)");
        return 1;
    }
    push_span(L, head_method(&r->x->head));
    push_span(L, head_target(&r->x->head));
    lua_pushfstring(L, "request %s %s", lua_tostring(L, -2), lua_tostring(L, -1));
    return 1;
}

/* deadline(seconds): so much from now on in place of handler_timeout; none for any. */
static int deadline(lua_State *L) {
    const struct request *r = request_check(L, 1, true);
    lua_Number seconds = luaL_optnumber(L, 2, 0);
    luaL_argcheck(L, seconds >= 0 && seconds <= 86400 * 366, 2,
                  "a number of seconds, 0 for no limit");
    int64_t ns = (int64_t)(seconds * (lua_Number)CLOCK_SECOND);
    if (r->fiber) limit_set(r->fiber, seconds > 0 && ns == 0 ? 1 : ns);
    return 0;
}

int luaopen_atoll_core_request(lua_State *L) {
    static const luaL_Reg header_meta[] = {{"__index", header_index},
                                           {"__newindex", header_newindex},
                                           {"__pairs", header_pairs},
                                           {NULL, NULL}};
    lua_newtable(L);
    lua_pushcfunction(L, deadline);
    lua_setfield(L, -2, "deadline");
    body_open(L);
    vigil_open(L);
    luaL_newmetatable(L, NAME);
    lua_pushvalue(L, -2);
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        lua_pushinteger(L, fields[i].field);
        lua_setfield(L, -2, fields[i].name);
    }
    luaL_newmetatable(L, HEADERS);
    luaL_setfuncs(L, header_meta, 0);
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable");
    lua_pushcclosure(L, get, 2);
    lua_setfield(L, -2, "__index");
    lua_pushcfunction(L, set);
    lua_setfield(L, -2, "__newindex");
    lua_pushcfunction(L, describe);
    lua_setfield(L, -2, "__tostring");
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable");
    lua_pushvalue(L, -2);
    loan_open(L);
    lua_pop(L, 1);
    app_of(L)->request_metatable = luaL_ref(L, LUA_REGISTRYINDEX);
    return 1;
}
