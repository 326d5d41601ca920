#include "api/ws_client_lua.h"

#include "api/socket_lua.h"
#include "api/websocket_lua.h"
#include "codec/ws_extension.h"
#include "codec/ws_handshake.h"

#include <lauxlib.h>
#include <stdlib.h>
#include <sys/random.h>

/* key() -> the value of Sec-WebSocket-Key */
static int key(lua_State *L) {
    unsigned char nonce[WS_NONCE];
    char text[WS_KEY];
    if (getrandom(nonce, sizeof nonce, 0) != sizeof nonce)
        return luaL_error(L, "there is no randomness");
    ws_key(nonce, text);
    lua_pushlstring(L, text, sizeof text);
    return 1;
}

static struct ws_terms wish_of(bool takeover) {
    return (struct ws_terms){true, takeover, takeover, WS_BITS_MOST, WS_BITS_MOST};
}

/* offer(takeover) -> the value of Sec-WebSocket-Extensions */
static int offer(lua_State *L) {
    char text[WS_EXTENSION_MAX];
    struct ws_terms wish = wish_of(lua_toboolean(L, 1));
    lua_pushlstring(L, text, ws_extension_offer(&wish, text));
    return 1;
}

/* The value of a field of the table at 3, which stays there. */
static struct span field(lua_State *L, const char *name) {
    struct span s = SPAN("");
    if (lua_getfield(L, 3, name) == LUA_TSTRING) s.at = lua_tolstring(L, -1, &s.len);
    lua_pop(L, 1);
    return s;
}

/* RFC 6455 4.1, what a client must look at. NULL, or what is wrong. */
static const char *judge(lua_State *L, struct ws_terms *terms) {
    char accept[WS_ACCEPT];
    const char *why = NULL;
    struct ws_terms wish = {0};
    if (lua_getfield(L, 2, "compress") == LUA_TTABLE) {
        lua_getfield(L, -1, "takeover");
        wish = wish_of(lua_toboolean(L, -1));
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
    ws_accept(field(L, "key"), accept);
    if (!span_eq(field(L, "version"), SPAN("1.1")) ||
        !span_case_eq(field(L, "upgrade"), SPAN("websocket")))
        return "the server's answer has no Upgrade: websocket";
    if (!ws_list_has(field(L, "connection"), SPAN("upgrade")))
        return "the server's answer has no Connection: Upgrade";
    if (!span_eq(field(L, "accept"), span_of(accept, sizeof accept)))
        return "the server's Sec-WebSocket-Accept does not fit the key";
    if (ws_extension_accept(field(L, "extensions"), &wish, terms, &why) != 0)
        return why;
    return NULL;
}

static lua_Integer setting(lua_State *L, const char *name) {
    lua_getfield(L, 2, name);
    lua_Integer value = luaL_checkinteger(L, -1);
    lua_pop(L, 1);
    return value;
}

static int64_t time_of(lua_State *L, const char *name) {
    lua_getfield(L, 2, name);
    lua_Number seconds = luaL_checknumber(L, -1);
    lua_pop(L, 1);
    return seconds < 1e9 ? (int64_t)(seconds * 1e9) : (int64_t)1e18;
}

static struct websocket *new_one(struct websocket_handle *h,
                                 const struct websocket_limits *limits,
                                 const struct ws_terms *terms, struct span protocol) {
    struct websocket *w = websocket_new(true, limits, &websocket_ops, h);
    if (!w) return NULL;
    if (websocket_agree(w, terms) == 0 &&
        (!protocol.len || (w->protocol = strndup(protocol.at, protocol.len))))
        return w;
    websocket_lose(w);
    websocket_drop(w, WS_GOING_AWAY);
    return NULL;
}

/* open(socket, settings, answer) -> the WebSocket that the socket's stream becomes; or
 * nil and why the answer is none. settings: compress, message_max, queue_max, ping,
 * ping_timeout, write_timeout (0 for none); answer: key, version, upgrade, connection,
 * accept, extensions, protocol. */
static int open_one(lua_State *L) {
    struct ws_terms terms;
    struct sock *s = socket_check(L, 1);
    luaL_checktype(L, 2, LUA_TTABLE);
    luaL_checktype(L, 3, LUA_TTABLE);
    lua_settop(L, 3);
    const char *why = s ? judge(L, &terms) : err_text(ERR_CLOSED);
    if (why) {
        luaL_pushfail(L);
        lua_pushstring(L, why);
        return 2;
    }
    struct websocket_limits limits = {
        .message_max = (uint32_t)setting(L, "message_max"),
        .queue_max = (uint32_t)setting(L, "queue_max"),
        .ping = time_of(L, "ping"),
        .patience = time_of(L, "ping_timeout"),
        .write_timeout = time_of(L, "write_timeout"),
    };
    struct span protocol = field(L, "protocol");
    struct websocket_handle *h = websocket_push(L);
    s = socket_check(L, 1); /* making it may have called a finalizer */
    struct websocket *w = s ? new_one(h, &limits, &terms, protocol) : NULL;
    if (!w) return luaL_error(L, "not enough memory");
    sock_flush(s);
    websocket_hold(h, w);
    websocket_begin(w, NULL, &s->stream, &s->in);
    sock_leave(s);
    sock_drop(s);
    return 1;
}

/* can_wait() -> whether there is a loop for a WebSocket to be on */
static int can_wait(lua_State *L) {
    lua_pushboolean(L, sched_of(L) != NULL);
    return 1;
}

int luaopen_atoll_core_ws_client(lua_State *L) {
    static const luaL_Reg functions[] = {{"can_wait", can_wait},
                                         {"key", key},
                                         {"offer", offer},
                                         {"open", open_one},
                                         {NULL, NULL}};
    luaL_newlib(L, functions);
    return 1;
}
