#include "api/websocket_lua.h"
#include "http/front.h"
#include "isolate/cargo.h"

#include <lauxlib.h>

/* WebSockets in messages: they move, and do not go home. */

static bool over(void *userdata) {
    const struct websocket_handle *h = userdata;
    return !h->away && (!h->w || h->w->state != WEBSOCKET_OPEN);
}

static const char *refuse(void *userdata) {
    const struct websocket_handle *h = userdata;
    if (h->away) return websocket_away;
    if (waiter_is_set(&h->reader)) return "a fiber is receiving from the WebSocket";
    if (websocket_is_awaited(h)) return "a fiber waits to send to the WebSocket";
    return NULL;
}

static void *take(void *userdata) {
    struct websocket_handle *h = userdata;
    struct websocket *w = h->w;
    h->front = w->front;
    h->w = NULL;
    h->away = true;
    budget_lower_to(&h->share, 0);
    list_unlink(&h->member);
    websocket_leave(w);
    return w;
}

static void make(lua_State *L, void *core) {
    (void)core;
    luaL_requiref(L, "atoll.core.websocket", luaopen_atoll_core_websocket, 0);
    lua_pop(L, 1);
    websocket_push(L)->away = true;
}

/* Into the handle that it came from, or a new one, which is of no front. */
static void put(void *userdata, void *core, struct loop *l) {
    struct websocket_handle *h = userdata;
    struct websocket *w = core;
    if (!h->away || !l) {
        websocket_abandon(w);
        return;
    }
    struct front *f = h->front && !h->front->over ? h->front : NULL;
    websocket_hold(h, w);
    websocket_enter(w, l, f, h);
    if (h->served && !h->fiber)
        websocket_let_go(h, WS_GOING_AWAY); /* nobody is there for it any more */
    else if (f && f->draining)
        websocket_drain(w);
}

static void drop(void *core) {
    websocket_abandon(core);
}

const struct cargo_kind websocket_cargo = {.name = "WebSocket",
                                           .refuse = refuse,
                                           .over = over,
                                           .take = take,
                                           .make = make,
                                           .put = put,
                                           .drop = drop};
