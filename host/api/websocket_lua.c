#include "api/websocket_lua.h"

#include "api/buffer_lua.h"
#include "api/sender_lua.h"
#include "api/socket_lua.h"
#include "api/timer_lua.h"
#include "base/check.h"
#include "isolate/generation.h"

#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>

enum { MAGIC = 0x7773686c };

static const char NAME[] = "atoll.websocket", WRITER[] = "atoll.websocket.writer";

const char websocket_away[] = "the WebSocket was transferred";

/* A fiber that waits until the peer has read more. */
struct writer {
    struct waiter waiter;
    struct link link;
};

/* ---- the handle ---- */

struct websocket_handle *websocket_push(lua_State *L) {
    struct websocket_handle *h = lua_newuserdatauv(L, sizeof *h, 1);
    *h = (struct websocket_handle){.magic = MAGIC, .code = WS_ABNORMAL};
    list_init(&h->writers);
    list_init(&h->member);
    luaL_setmetatable(L, NAME);
    return h;
}

void websocket_hold(struct websocket_handle *h, struct websocket *w) {
    h->w = w;
    h->away = false;
    w->user = h;
}

struct websocket_handle *websocket_check(lua_State *L, int index) {
    struct websocket_handle *h = luaL_checkudata(L, index, NAME);
    MAGIC_CHECK(h, MAGIC);
    if (h->away) luaL_error(L, "%s", websocket_away);
    return h;
}

void websocket_keep(lua_State *L, int index, enum websocket_kept what) {
    index = lua_absindex(L, index);
    if (lua_getiuservalue(L, index, 1) != LUA_TTABLE) {
        lua_pop(L, 1);
        lua_newtable(L);
        lua_pushvalue(L, -1);
        lua_setiuservalue(L, index, 1);
    }
    lua_insert(L, -2);
    lua_rawseti(L, -2, what);
    lua_pop(L, 1);
}

void websocket_push_kept(lua_State *L, int index, enum websocket_kept what) {
    if (lua_getiuservalue(L, index, 1) != LUA_TTABLE) return; /* nil */
    lua_rawgeti(L, -1, what);
    lua_remove(L, -2);
}

bool websocket_is_awaited(const struct websocket_handle *h) {
    for (const struct link *l = h->writers.next; l != &h->writers; l = l->next)
        if (waiter_is_set(&LIST_OF(l, struct writer, link)->waiter)) return true;
    return false;
}

static void wake_writers(struct websocket_handle *h) {
    struct link *first;
    while ((first = list_first(&h->writers))) {
        list_unlink(first);
        sched_wake(&LIST_OF(first, struct writer, link)->waiter, WAKE_EVENT);
    }
}

/* Also one that was lost before it was open has its handler: who prepared for it may
 * want to know. */
static void begin(struct websocket_handle *h) {
    int arguments = h->arguments;
    h->arguments = 0;
    if (arguments) fiber_queue(h->fiber, arguments);
}

static void opened(struct websocket *w) {
    begin(w->user);
}

static void arrived(struct websocket *w) {
    struct websocket_handle *h = w->user;
    begin(h);
    sched_wake(&h->reader, WAKE_EVENT);
}

/* Little is not accounted for. */
static size_t held(const struct websocket *w) {
    size_t n = stream_held(&w->stream);
    return n > STREAM_HIGH ? n : 0;
}

static void drained(struct websocket *w) {
    struct websocket_handle *h = w->user;
    budget_lower_to(&h->share, held(w));
    wake_writers(h);
}

const struct websocket_user websocket_ops = {opened, arrived, drained};

void websocket_let_go(struct websocket_handle *h, unsigned code) {
    struct websocket *w = h->w;
    list_unlink(&h->member);
    budget_lower_to(&h->share, 0);
    if (!w) return;
    websocket_close(w, code, SPAN(""), false);
    h->w = NULL;
    h->code = w->code ? w->code : (uint16_t)code;
    h->reason = w->reason;
    w->reason = NULL;
    sched_wake(&h->reader, WAKE_EVENT);
    wake_writers(h);
    websocket_drop(w, code);
}

static int handle_gc(lua_State *L) {
    struct websocket_handle *h = luaL_checkudata(L, 1, NAME);
    bool closing = generation_of(L)->state == GEN_CLOSING;
    list_unlink(&h->member);
    if (!h->away) websocket_let_go(h, closing ? WS_GOING_AWAY : WS_NORMAL);
    free(h->reason);
    h->reason = NULL;
    return 0;
}

/* ---- receiving ---- */

static int give(lua_State *L, struct websocket_handle *h) {
    const struct websocket_message *m = h->w->first;
    lua_pushlstring(L, m->bytes, m->len);
    if (m->kind == WS_TEXT)
        lua_pushliteral(L, "text");
    else
        lua_pushliteral(L, "binary");
    /* Making a string may call a finalizer, which may close anything. */
    if (h->w && h->w->first == m) free(websocket_take(h->w));
    return 2;
}

int websocket_receiving(lua_State *L, int status, lua_KContext deadline) {
    bool late = sched_is_late(L, status, deadline);
    struct websocket_handle *h = lua_touserdata(L, 1);
    if (h->away && !h->moved) return luaL_error(L, "%s", websocket_away);
    if (h->asked && h->w && !h->w->ended) return websocket_ask(L, deadline);
    if (h->w && h->w->first) return give(L, h);
    if (!h->w || h->w->ended) {
        if (h->w) websocket_answer(h->w);
        luaL_pushfail(L);
        return 1;
    }
    if (late || deadline == 1) return socket_timed_out(L);
    if (waiter_is_set(&h->reader))
        return luaL_error(L, "another fiber is already receiving from this WebSocket");
    return sched_park(L, &h->reader, deadline, websocket_receiving, deadline);
}

static int begin_receive(lua_State *L, int64_t deadline) {
    lua_settop(L, 1);
    if (sched_overstays(L))
        return sched_park(L, NULL, 1, websocket_receiving, (lua_KContext)deadline);
    return websocket_receiving(L, LUA_OK, (lua_KContext)deadline);
}

/* To a handler whose socket has moved to new code it has ended. */
static void check_receiver(lua_State *L) {
    const struct websocket_handle *h = luaL_checkudata(L, 1, NAME);
    if (!h->moved) websocket_check(L, 1);
}

static int ws_receive(lua_State *L) {
    check_receiver(L);
    return begin_receive(L, timer_opt_deadline(L, 2));
}

static int next_message(lua_State *L) {
    check_receiver(L);
    return begin_receive(L, 0);
}

static int ws_messages(lua_State *L) {
    websocket_check(L, 1);
    lua_pushcfunction(L, next_message);
    lua_pushvalue(L, 1);
    return 2;
}

/* ---- sending ---- */

static int sent(lua_State *L, int status, lua_KContext context) {
    (void)context;
    struct websocket_handle *h = lua_touserdata(L, 1);
    if (h->away && status == LUA_YIELD) { /* what was sent goes along */
        lua_pushboolean(L, 1);
        return 1;
    }
    if (!h->w || h->w->state != WEBSOCKET_OPEN) return socket_failure(L, ERR_CLOSED);
    if (websocket_is_full(h->w)) {
        sched_check_waitable(L);
        struct writer *w = lua_newuserdatauv(L, sizeof *w, 0);
        *w = (struct writer){0};
        list_init(&w->link);
        luaL_setmetatable(L, WRITER);
        list_append(&h->writers, &w->link);
        return sched_park(L, &w->waiter, 0, sent, 0);
    }
    lua_pushboolean(L, 1);
    return 1;
}

static int writer_gc(lua_State *L) {
    struct writer *w = luaL_checkudata(L, 1, WRITER);
    list_unlink(&w->link);
    return 0;
}

/* What is held and `more` bytes. To collect garbage for that may have ended it. */
static void account(lua_State *L, struct websocket_handle *h, size_t more) {
    size_t n = held(h->w) + more;
    budget_lower_to(&h->share, n);
    budget_raise_to(L, &h->share, n);
    if (!h->w) budget_lower_to(&h->share, 0);
}

static int send_out(lua_State *L, struct websocket_handle *h, enum ws_kind kind,
                    struct span bytes) {
    /* Behind so much nothing is sent at once. */
    if (h->w && websocket_is_full(h->w)) account(L, h, bytes.len);
    if (!h->w) return socket_failure(L, ERR_CLOSED);
    int err = websocket_send(h->w, kind, bytes);
    if (err) return socket_failure(L, err);
    account(L, h, 0);
    lua_settop(L, 1);
    if (sched_overstays(L)) return sched_park(L, NULL, 1, sent, 0);
    return sent(L, LUA_OK, 0);
}

static bool is_utf8(struct span s) {
    struct utf8_check check = {0};
    return utf8_feed(&check, s.at, s.len) && !check.left;
}

static int ws_send(lua_State *L) {
    static const char *const kinds[] = {"text", "binary", NULL};
    struct websocket_handle *h = websocket_check(L, 1);
    struct span bytes = buffer_check_bytes(L, 2);
    int kind = luaL_checkoption(L, 3, "text", kinds);
    if (kind == 0 && !is_utf8(bytes))
        return luaL_argerror(L, 2,
                             "a text has to be UTF-8; other bytes are sent as "
                             "\"binary\"");
    return send_out(L, h, kind == 0 ? WS_TEXT : WS_BINARY, bytes);
}

static int ws_ping(lua_State *L) {
    struct websocket_handle *h = websocket_check(L, 1);
    struct span bytes = SPAN("");
    if (!lua_isnoneornil(L, 2)) bytes = buffer_check_bytes(L, 2);
    luaL_argcheck(L, bytes.len <= WS_CONTROL_MAX, 2,
                  "a ping has at most 125 bytes of data");
    return send_out(L, h, WS_PING, bytes);
}

/* ---- the end ---- */

static int ws_close(lua_State *L) {
    struct websocket_handle *h = websocket_check(L, 1);
    lua_Integer code = luaL_optinteger(L, 2, WS_NORMAL);
    struct span reason;
    reason.at = luaL_optlstring(L, 3, "", &reason.len);
    luaL_argcheck(L, code >= 0 && code < 5000 && ws_code_is_sent((unsigned)code), 2,
                  "a code to close with is one of 1000 to 1003, 1007 to 1014 and 3000 "
                  "to 4999");
    luaL_argcheck(L, reason.len <= WS_REASON_MAX, 3, "a reason has at most 123 bytes");
    luaL_argcheck(L, is_utf8(reason), 3, "a reason has to be UTF-8");
    if (h->w) websocket_close(h->w, (unsigned)code, reason, false);
    lua_pushboolean(L, 1);
    return 1;
}

static int handle_close(lua_State *L) {
    struct websocket_handle *h = luaL_checkudata(L, 1, NAME);
    if (!h->away && h->w) websocket_close(h->w, WS_NORMAL, SPAN(""), false);
    return 0;
}

/* ---- what it is ---- */

enum field { F_CODE = 1, F_REASON, F_PROTOCOL, F_REQ, F_RESUMED, F_STATE, F_MISSED };

static const struct {
    const char *name;
    enum field field;
} fields[] = {{"code", F_CODE},         {"missed", F_MISSED}, {"reason", F_REASON},
              {"protocol", F_PROTOCOL}, {"req", F_REQ},       {"resumed", F_RESUMED},
              {"state", F_STATE}};

static int get(lua_State *L) {
    struct websocket_handle *h = lua_touserdata(L, 1);
    lua_pushvalue(L, 2);
    int type = lua_rawget(L, lua_upvalueindex(1));
    if (type != LUA_TNUMBER) return 1; /* a method, or nil */
    if (h->away) return luaL_error(L, "%s", websocket_away);
    struct websocket *w = h->w;
    switch ((enum field)lua_tointeger(L, -1)) {
    case F_CODE:
        if (!w || w->ended)
            lua_pushinteger(L, w ? w->code : h->code);
        else
            lua_pushnil(L);
        return 1;
    case F_REASON:
        lua_pushstring(L, w ? w->ended ? w->reason : NULL : h->reason);
        return 1;
    case F_PROTOCOL: lua_pushstring(L, w ? w->protocol : NULL); return 1;
    case F_REQ: websocket_push_request(L, 1); return 1;
    case F_STATE: websocket_push_kept(L, 1, WEBSOCKET_STATE); return 1;
    case F_RESUMED: lua_pushboolean(L, h->resumed); return 1;
    case F_MISSED:
        lua_pushinteger(L, w ? (lua_Integer)websocket_missed(w) : 0);
        return 1;
    default: return 0;
    }
}

static int describe(lua_State *L) {
    struct websocket_handle *h = luaL_checkudata(L, 1, NAME);
    if (h->away)
        lua_pushliteral(L, "websocket (transferred)");
    else if (!h->w || h->w->state != WEBSOCKET_OPEN)
        lua_pushliteral(L, "websocket (closed)");
    else
        lua_pushfstring(L, "websocket (%p)", (void *)h->w);
    return 1;
}

static const luaL_Reg methods[] = {
    {"close", ws_close},
    {"messages", ws_messages},
    {"on", websocket_on},
    {"ping", ws_ping},
    {"receive", ws_receive},
    {"send", ws_send},
    {"subscribe", websocket_subscribe},
    {"transfer", sender_transfer},
    {"unsubscribe", websocket_unsubscribe},
    {NULL, NULL},
};

static const luaL_Reg metamethods[] = {{"__close", handle_close},
                                       {"__gc", handle_gc},
                                       {"__tostring", describe},
                                       {NULL, NULL}};

int luaopen_atoll_core_websocket(lua_State *L) {
    generation_lets_through(generation_of(L), ws_receive);
    generation_lets_through(generation_of(L), next_message);
    luaL_newmetatable(L, WRITER);
    lua_pushcfunction(L, writer_gc);
    lua_setfield(L, -2, "__gc");
    luaL_newmetatable(L, NAME);
    luaL_setfuncs(L, metamethods, 0);
    cargo_mark(L, &websocket_cargo);
    luaL_newlib(L, methods);
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        lua_pushinteger(L, fields[i].field);
        lua_setfield(L, -2, fields[i].name);
    }
    lua_pushcclosure(L, get, 1);
    lua_setfield(L, -2, "__index");
    lua_pop(L, 2);
    lua_newtable(L);
    websocket_open_serving(L);
    return 1;
}
