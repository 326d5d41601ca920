#include "api/app_lua.h"
#include "api/websocket_lua.h"
#include "base/log.h"
#include "http/front.h"
#include "http/record.h"
#include "isolate/gate.h"
#include "isolate/isolate.h"
#include "isolate/pack.h"

#include <lauxlib.h>
#include <stdlib.h>

/* From the code that is replaced to the code that replaces it. Between two messages, so
 * that nothing is half done: the handler that asks for the next one is asked itself,
 * and what it says decides whether the socket moves. It stays on its loop all the time,
 * only who is told of it changes. */

static const char STATE[] = "atoll.websocket.state";

/* On its way: the owner of the fiber that is to be its handler's. */
struct arrival {
    struct websocket *w; /* NULL once a handle has it */
    struct buf state;
};

/* ---- the new code ---- */

static void arrival_over(struct arrival *a) {
    if (a->w) {
        websocket_close(a->w, WS_RESTART, SPAN(""), false);
        websocket_drop(a->w, WS_RESTART);
    }
    buf_reset(&a->state);
    free(a);
}

/* It has not come to a handler. */
static void arrival_ended(struct fiber *f, void *owner, int status, lua_State *co,
                          int count) {
    (void)f, (void)count;
    if (status && status != ERR_CANCELLED) {
        struct buf text;
        buf_init(&text);
        if (buf_printf(&text, "a WebSocket cannot go to the new code: ") == 0)
            gate_describe(co, -1, co, &text);
        log_lines(LEVEL_ERROR, SPAN(""), buf_span(&text));
        buf_reset(&text);
    }
    arrival_over(owner);
}

static const struct fiber_owner arrival_owner = {.ended = arrival_ended};

/* Pushes the route of that pattern, a table, or nil. */
static void push_route(lua_State *L, struct span pattern) {
    lua_getglobal(L, "require");
    lua_pushliteral(L, "atoll.upgrade");
    lua_call(L, 1, 1);
    lua_getfield(L, -1, "routes");
    lua_pushlstring(L, pattern.at, pattern.len);
    lua_gettable(L, -2);
    lua_replace(L, -3);
    lua_pop(L, 1);
}

/* The first function of the fiber; an arrival. */
static int arrive(lua_State *L) {
    struct arrival *a = lua_touserdata(L, 1);
    struct fiber *f = fiber_of(L);
    push_route(L, record_route(a->w->record));
    if (!lua_istable(L, 2)) return 0;
    struct websocket_handle *h = websocket_push(L);
    pack_read(L, buf_span(&a->state));
    websocket_keep(L, 3, WEBSOCKET_STATE);
    lua_getfield(L, 2, "handler");
    lua_getfield(L, 2, "takes");
    struct front *front = a->w->front;
    struct websocket_limits limits =
        front ? websocket_route_limits(L, front, 2) : a->w->limits;
    lua_remove(L, 1);
    lua_remove(L, 1); /* handle, handler, takes */
    a->w->limits = limits;
    websocket_hold(h, a->w);
    a->w = NULL;
    arrival_over(a);
    h->resumed = true;
    websocket_serve_with(h, f);
    return websocket_serve(L);
}

/* ---- the old code ---- */

static int state_gc(lua_State *L) {
    buf_reset(luaL_checkudata(L, 1, STATE));
    return 0;
}

/* The value on top, packed; pushed. */
static struct buf *push_state(lua_State *L) {
    struct buf *b = lua_newuserdatauv(L, sizeof *b, 0);
    buf_init(b);
    if (luaL_newmetatable(L, STATE)) {
        lua_pushcfunction(L, state_gc);
        lua_setfield(L, -2, "__gc");
    }
    lua_setmetatable(L, -2);
    pack_write_named(L, -2, "the value of ws:on(\"reload\")", b);
    return b;
}

/* False when the new code cannot have it. */
static bool hand_on(struct websocket_handle *h, struct generation *to,
                    struct buf *state) {
    struct arrival *a = calloc(1, sizeof *a);
    struct fiber *f = a ? fiber_new(to, FIBER_REQUEST, &arrival_owner, a) : NULL;
    if (!f) {
        log_warn("not enough memory for a WebSocket in the new code: it is closed");
        free(a);
        return false;
    }
    a->w = h->w;
    a->w->user = NULL;
    a->state = *state;
    buf_init(state);
    h->w = NULL;
    h->away = h->moved = true;
    budget_lower_to(&h->share, 0);
    lua_pushcfunction(f->co, arrive);
    lua_pushlightuserdata(f->co, a);
    fiber_queue(f, 1);
    return true;
}

static bool is_open(const struct websocket_handle *h) {
    return h->w && h->w->state == WEBSOCKET_OPEN && !h->w->ended;
}

/* What its function has said is on top. */
static int told(lua_State *L, int status, lua_KContext deadline) {
    struct websocket_handle *h = lua_touserdata(L, 1);
    struct generation *to = generation_of(L)->isolate->current;
    (void)status;
    if (!lua_isnil(L, -1) && is_open(h)) {
        bool moves = !lua_isboolean(L, -1) || lua_toboolean(L, -1);
        bool moved = moves && h->w->record && hand_on(h, to, push_state(L));
        if (!moved) websocket_close(h->w, WS_RESTART, SPAN(""), false);
    }
    lua_settop(L, 1);
    return websocket_receiving(L, LUA_OK, deadline);
}

int websocket_ask(lua_State *L, lua_KContext deadline) {
    struct websocket_handle *h = lua_touserdata(L, 1);
    h->asked = false;
    lua_settop(L, 1);
    websocket_push_kept(L, 1, WEBSOCKET_RELOAD);
    lua_pushvalue(L, 1);
    lua_callk(L, 1, 1, deadline, told);
    return told(L, LUA_OK, deadline);
}

static void ask(struct websocket_handle *h) {
    h->asked = true;
    sched_wake(&h->reader, WAKE_EVENT);
}

void websocket_retire(struct link *handles) {
    struct link *first;
    while ((first = list_first(handles))) {
        list_unlink(first);
        ask(LIST_OF(first, struct websocket_handle, member));
    }
}

/* on("reload", fn) */
int websocket_on(lua_State *L) {
    static const char *const events[] = {"reload", NULL};
    struct websocket_handle *h = websocket_check(L, 1);
    luaL_checkoption(L, 2, NULL, events);
    luaL_checktype(L, 3, LUA_TFUNCTION);
    lua_settop(L, 3);
    websocket_keep(L, 1, WEBSOCKET_RELOAD);
    struct generation *g = generation_of(L);
    list_unlink(&h->member);
    if (g->state == GEN_DRAINING)
        h->asked = true;
    else if (h->w)
        list_append(&app_of(L)->sockets, &h->member);
    return 0;
}
