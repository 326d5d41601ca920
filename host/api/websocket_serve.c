#include "api/app_lua.h"
#include "api/response_lua.h"
#include "api/websocket_lua.h"
#include "base/log.h"
#include "codec/ws_extension.h"
#include "codec/ws_handshake.h"
#include "http/front.h"
#include "http/record.h"
#include "isolate/gate.h"
#include "isolate/isolate.h"

#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>

/* The server's side: from a request to a handler in its fiber. */

static const char KEEPSAKE[] = "atoll.websocket.request";

/* ---- the request, as long as somebody wants to look at it ---- */

/* What the exchange stands in is garbage, and so is its request: its headers may not
 * be. */
static int keepsake_gc(lua_State *L) {
    if (lua_getiuservalue(L, 1, 1) == LUA_TUSERDATA)
        request_part(lua_touserdata(L, -1), REQUEST_OVER);
    return 0;
}

/* Pushes it. */
static void make_request(lua_State *L, int handle, const struct record *record) {
    lua_getglobal(L, "require"); /* the methods that are written in Lua */
    lua_pushliteral(L, "atoll.request");
    lua_call(L, 1, 0);
    void *room = lua_newuserdatauv(L, record_room(record), 1);
    int keepsake = lua_gettop(L);
    luaL_setmetatable(L, KEEPSAKE);
    struct exchange *x = record_open(record, room);
    if (!x) budget_raise(L);
    struct request *r = request_new(L);
    lua_pushvalue(L, -1);
    lua_setiuservalue(L, keepsake, 1);
    r->came_with_fiber = true;
    websocket_push_kept(L, handle, WEBSOCKET_CACHE);
    if (!lua_istable(L, -1)) {
        lua_pop(L, 1);
        lua_newtable(L);
    }
    lua_pushvalue(L, keepsake);
    lua_setfield(L, -2, "keepsake");
    lua_setiuservalue(L, keepsake + 1, REQUEST_CACHE);
    request_join(r, x);
    lua_pushvalue(L, -1);
    websocket_keep(L, handle, WEBSOCKET_REQUEST);
    lua_remove(L, keepsake);
}

void websocket_push_request(lua_State *L, int index) {
    const struct websocket_handle *h = lua_touserdata(L, index);
    index = lua_absindex(L, index);
    websocket_push_kept(L, index, WEBSOCKET_REQUEST);
    if (!lua_isnil(L, -1) || !h->w || !h->w->record) return;
    lua_pop(L, 1);
    make_request(L, index, h->w->record);
}

/* ---- the handler ---- */

static void log_failure(const struct websocket_handle *h, lua_State *co) {
    const struct record *record = h->w ? h->w->record : NULL;
    char id[16];
    struct buf text;
    buf_init(&text);
    if (record) {
        struct span method = record_method(record), target = record_target(record);
        buf_printf(&text, "%.*s %.*s: ", (int)method.len, method.at, (int)target.len,
                   target.at);
    }
    gate_describe(co, -1, co, &text);
    log_lines(LEVEL_ERROR, record ? record_id(record, id) : span_of(id, 0),
              buf_span(&text));
    buf_reset(&text);
}

/* What had begun before the socket went to new code cannot go on: that is no news. */
static bool used_what_moved(const struct websocket_handle *h, lua_State *co) {
    const char *text = lua_type(co, -1) == LUA_TSTRING ? lua_tostring(co, -1) : NULL;
    return h->moved && text && strstr(text, websocket_away);
}

/* Its end is the socket's, unless that has gone elsewhere. */
static void ended(struct fiber *f, void *owner, int status, lua_State *co, int count) {
    struct websocket_handle *h = owner;
    struct generation *g = f->generation;
    unsigned code = WS_NORMAL;
    (void)count;
    if (status == ERR_CANCELLED) {
        code = g->isolate->current != g ? WS_RESTART : WS_GOING_AWAY;
    } else if (status) {
        if (!used_what_moved(h, co)) log_failure(h, co);
        code = WS_INTERNAL;
    }
    h->fiber = NULL;
    h->arguments = 0;
    websocket_let_go(h, code);
}

static bool left(const void *owner) {
    const struct websocket_handle *h = owner;
    return h->w ? h->w->ended && !h->w->first : !h->away && !h->moved;
}

static const struct fiber_owner owner = {.ended = ended, .left = left};

static int served(lua_State *L, int status, lua_KContext context) {
    (void)L, (void)status, (void)context;
    return 0;
}

void websocket_serve_with(struct websocket_handle *h, struct fiber *f) {
    f->owner_ops = &owner;
    f->owner = h;
    h->fiber = f;
    h->served = true;
}

int websocket_serve(lua_State *L) {
    bool takes = lua_toboolean(L, 3);
    lua_settop(L, 2);
    lua_pushvalue(L, 1);
    if (takes) websocket_push_request(L, 1);
    lua_callk(L, takes ? 2 : 1, 0, 0, served);
    return 0;
}

/* ---- the handshake ---- */

static void add_field(lua_State *L, struct exchange *x, struct span name,
                      struct span value) {
    if (http1_field(&x->fields, name, value) != 0) budget_raise(L);
}

/* The first of the route's that the client offers, or NULL. */
static const char *choose_protocol(lua_State *L, struct exchange *x, int route) {
    const char *chosen = NULL;
    lua_getfield(L, route, "protocols");
    lua_Integer count = lua_istable(L, -1) ? (lua_Integer)lua_rawlen(L, -1) : 0;
    for (lua_Integer i = 1; i <= count && !chosen; i++) {
        struct span name;
        lua_rawgeti(L, -1, i);
        name.at = lua_tolstring(L, -1, &name.len);
        if (name.at && ws_protocol_offered(&x->head, name)) {
            chosen = name.at; /* the table keeps it */
            add_field(L, x, SPAN("Sec-WebSocket-Protocol"), name);
        }
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
    return chosen;
}

/* The terms of compression, as the route wishes and the client offers. */
static void choose_terms(lua_State *L, struct exchange *x, int route,
                         struct ws_terms *terms) {
    struct ws_terms wish = {
        .on = true, .server_bits = WS_BITS_MOST, .client_bits = WS_BITS_MOST};
    char answer[WS_EXTENSION_MAX];
    size_t n;
    struct span offers;
    unsigned from = 0;
    *terms = (struct ws_terms){0};
    if (lua_getfield(L, route, "compress") == LUA_TBOOLEAN)
        wish.on = lua_toboolean(L, -1);
    lua_getfield(L, route, "takeover");
    wish.server_takeover = wish.client_takeover = lua_toboolean(L, -1);
    lua_pop(L, 2);
    while (!terms->on &&
           head_find(&x->head, SPAN("Sec-WebSocket-Extensions"), &from, &offers)) {
        if (ws_extension_choose(offers, &wish, terms, answer, &n) != 0)
            response_halt(L, 400, "Sec-WebSocket-Extensions is not a list\n");
        if (terms->on)
            add_field(L, x, SPAN("Sec-WebSocket-Extensions"), span_of(answer, n));
    }
}

struct websocket_limits websocket_route_limits(lua_State *L, const struct front *f,
                                               int route) {
    struct websocket_limits limits = f->limits.websocket;
    limits.write_timeout = f->limits.write_timeout;
    if (lua_getfield(L, route, "message_max") == LUA_TNUMBER)
        limits.message_max = (uint32_t)lua_tointeger(L, -1);
    if (lua_getfield(L, route, "ping") == LUA_TNUMBER)
        limits.ping = (int64_t)(lua_tonumber(L, -1) * 1e9);
    lua_pop(L, 2);
    return limits;
}

/* What the request had made of itself goes on. */
static void keep_cache(lua_State *L, int handle) {
    request_cache(L, 1);
    lua_pushnil(L);
    if (!lua_next(L, -2)) {
        lua_pop(L, 1);
        return;
    }
    lua_pop(L, 2);
    websocket_keep(L, handle, WEBSOCKET_CACHE);
}

/* Everything that may raise has been done. */
static int begin(struct websocket_handle *h, struct exchange *x, lua_State *L,
                 const struct websocket_limits *limits, const struct ws_terms *terms,
                 const char *protocol) {
    struct fiber *f =
        fiber_new(generation_of(L), ((const struct site *)x->site)->kind, &owner, h);
    struct websocket *w = websocket_new(false, limits, &websocket_ops, h);
    int err = ERR_MEMORY;
    if (!f || !w || websocket_agree(w, terms) != 0 || !(w->record = record_new(x)) ||
        (protocol && !(w->protocol = strdup(protocol))))
        goto fail;
    err = exchange_upgrade(x, w);
    if (err) goto fail;
    websocket_hold(h, w);
    websocket_serve_with(h, f);
    lua_pushcfunction(f->co, websocket_serve);
    lua_xmove(L, f->co, 3);
    h->arguments = 3;
    return 0;
fail:
    if (f) {
        f->owner_ops = NULL;
        fiber_kill(f);
    }
    if (w) {
        websocket_lose(w);
        websocket_drop(w, WS_GOING_AWAY);
    }
    return err;
}

int websocket_accept(lua_State *L, struct request *r, int route) {
    struct exchange *x = r->x;
    struct span key;
    const char *why;
    char accept[WS_ACCEPT];
    if (ws_request_check(&x->head, &key, &why) != 0)
        return luaL_error(L, "this request asks for no WebSocket: %s", why);
    luaL_checkstack(L, 12, "websocket");
    ws_accept(key, accept);
    add_field(L, x, SPAN("Sec-WebSocket-Accept"), span_of(accept, sizeof accept));
    const char *protocol = choose_protocol(L, x, route);
    struct websocket_limits limits = websocket_route_limits(L, x->front, route);
    struct ws_terms terms;
    choose_terms(L, x, route, &terms);
    struct websocket_handle *h = websocket_push(L);
    keep_cache(L, lua_gettop(L));
    lua_getfield(L, route, "handler");
    lua_getfield(L, route, "takes");
    int err = begin(h, x, L, &limits, &terms, protocol);
    if (err == -ENOTSUP)
        return luaL_error(L, "a request without a connection cannot become a "
                             "WebSocket; testing.start() gives a host that has some");
    if (err && err != ERR_CLOSED) return luaL_error(L, "%s", err_text(err));
    return 0;
}

/* check(req): nothing when it asks for a WebSocket and can have one; else a status and
 * a sentence. */
static int check(lua_State *L) {
    struct request *r = request_check(L, 1, true);
    struct span key;
    const char *why;
    int status = ws_request_check(&r->x->head, &key, &why);
    if (!status && r->x->front && r->x->front->draining) {
        status = 503;
        why = "the host is stopping";
    }
    if (!status) return 0;
    lua_pushinteger(L, status);
    lua_pushstring(L, why);
    return 2;
}

void websocket_open_serving(lua_State *L) {
    static const luaL_Reg functions[] = {{"check", check}, {NULL, NULL}};
    luaL_setfuncs(L, functions, 0);
    luaL_newmetatable(L, KEEPSAKE);
    lua_pushcfunction(L, keepsake_gc);
    lua_setfield(L, -2, "__gc");
    lua_pop(L, 1);
}
