#include "api/serve_lua.h"

#include "api/app_lua.h"
#include "api/listener_lua.h"
#include "api/request_lua.h"
#include "api/socket_lua.h"
#include "api/vigil_lua.h"
#include "base/check.h"
#include "http/front.h"
#include "isolate/isolate.h"

#include <lauxlib.h>
#include <stdlib.h>

enum { MAGIC = 0x73727665 };

static const char NAME[] = "atoll.http.server";

static const int64_t MS = 1000000;

enum {
    SETTLE_MS = 5,       /* between two looks whether all is answered */
    IDLE_GRACE_MS = 500, /* a kept-alive client may be about to send */
};

/* On the stack of a serve. */
enum { LISTENER = 1, COMPILED, OPTIONS, HANDLE };

struct server {
    uint32_t magic;
    struct generation *generation;
    struct site site;
    struct crew crew; /* of one */
    struct front front;
    bool has_front;
    struct deferred drain; /* fibers may not be run from inside a fiber */
    struct timer settle;
    struct waiter over; /* until all is answered */
    struct server **handle;
    struct grave grave;
};

static void request(struct exchange *x) {
    struct server *s = x->front->app_data;
    MAGIC_CHECK(s, MAGIC);
    app_serve(x, s->generation, &s->site);
}

static const struct http_app app = {request, request_woken_body, request_woken_output,
                                    request_gone, vigil_left};

static void bury(struct grave *grave) {
    struct server *s = LIST_OF(grave, struct server, grave);
    front_done(&s->front);
    site_free(&s->site);
    s->magic = 0;
    free(s);
}

/* No connection and no request is left, or none may be. Connections are in their graves
 * before it is, and need the front there. */
static void end(struct server *s) {
    *s->handle = NULL;
    if (!s->has_front) {
        site_free(&s->site);
        free(s);
        return;
    }
    struct loop *l = s->front.loop;
    timer_clear(l, &s->settle);
    list_unlink(&s->drain.link);
    front_cut(&s->front);
    s->grave.done = bury;
    loop_bury(l, &s->grave);
}

/* The handle was in the registry, so that it lives as long as there are connections. */
static void finish(struct server *s) {
    lua_State *L = s->generation->L;
    site_unref(L, &s->site);
    lua_pushnil(L);
    lua_rawsetp(L, LUA_REGISTRYINDEX, s);
    sched_wake(&s->over, WAKE_EVENT);
    end(s);
}

static void settle(struct timer *t) {
    struct server *s = LIST_OF(t, struct server, settle);
    struct loop *l = s->front.loop;
    unsigned load = atomic_load_explicit(&s->front.load, memory_order_relaxed);
    if (load == 0 && s->front.exchanges == 0) {
        finish(s);
    } else if (timer_set(l, t, l->now + SETTLE_MS * MS) != 0) {
        loop_defer(l, &s->drain); /* no memory: asks all the time */
    }
}

static void drain(struct deferred *d) {
    struct server *s = LIST_OF(d, struct server, drain);
    front_drain(&s->front, IDLE_GRACE_MS * MS);
    settle(&s->settle);
}

/* Of the fiber: it is cancelled, or has failed. */
static int server_close(lua_State *L) {
    struct server **handle = luaL_checkudata(L, 1, NAME);
    struct server *s = *handle;
    if (!s) return 0;
    if (s->has_front && s->generation->state != GEN_CLOSING) {
        loop_defer(s->front.loop, &s->drain);
    } else {
        site_unref(L, &s->site);
        end(s);
    }
    return 0;
}

static int server_gc(lua_State *L) {
    struct server **handle = luaL_checkudata(L, 1, NAME);
    if (*handle) end(*handle);
    return 0;
}

static int ended(lua_State *L, int status, lua_KContext context) {
    (void)status, (void)context;
    lua_pushboolean(L, 1);
    return 1;
}

static int closed(lua_State *L, int status, lua_KContext context) {
    (void)status, (void)context;
    struct server *s = *(struct server **)lua_touserdata(L, HANDLE);
    loop_defer(s->front.loop, &s->drain);
    return sched_park(L, &s->over, 0, ended, 0);
}

static struct server **new_handle(lua_State *L) {
    struct server **handle = lua_newuserdatauv(L, sizeof *handle, 0);
    *handle = NULL;
    luaL_setmetatable(L, NAME);
    struct server *s = *handle = calloc(1, sizeof *s);
    if (!s) budget_raise(L);
    s->magic = MAGIC;
    s->handle = handle;
    s->generation = generation_of(L);
    site_init(&s->site);
    timer_init(&s->settle, settle);
    list_init(&s->drain.link);
    s->drain.run = drain;
    return handle;
}

/* What stands at the top: a network, or a list of them. Popped. */
static void read_proxies(lua_State *L, struct client_trust *trust) {
    char why[ADDR_WHY];
    if (lua_isstring(L, -1)) {
        const char *text = lua_tostring(L, -1);
        if (cidr_add(&trust->proxies, text, why) < 0)
            luaL_error(L, "trusted_proxies: '%s': %s", text, why);
    } else if (lua_istable(L, -1)) {
        for (lua_Integer i = 1; lua_geti(L, -1, i) != LUA_TNIL; i++) {
            if (!lua_isstring(L, -1)) luaL_error(L, "trusted_proxies holds texts");
            read_proxies(L, trust);
        }
        lua_pop(L, 1);
    } else {
        luaL_error(L, "trusted_proxies must be a text or a list of texts, not a %s",
                   luaL_typename(L, -1));
    }
    lua_pop(L, 1);
}

/* True for a listener of proxies alone. Where nothing is said of it the trust is as it
 * was. */
static bool read_options(lua_State *L, struct client_trust *trust) {
    if (lua_isnil(L, OPTIONS)) return false;
    luaL_checktype(L, OPTIONS, LUA_TTABLE);
    if (lua_getfield(L, OPTIONS, "trusted_proxies") != LUA_TNIL) {
        trust->proxies = (struct cidr_list){0};
        read_proxies(L, trust);
    } else {
        lua_pop(L, 1);
    }
    if (lua_getfield(L, OPTIONS, "forwarded") != LUA_TNIL) {
        static const char *const headers[] = {[CLIENT_X_FORWARDED] = "x-forwarded",
                                              [CLIENT_FORWARDED] = "forwarded",
                                              NULL};
        trust->headers = (enum client_headers)luaL_checkoption(L, -1, NULL, headers);
    }
    lua_getfield(L, OPTIONS, "proxy");
    bool proxy = lua_toboolean(L, -1);
    lua_pop(L, 2);
    if (proxy && !trust->proxies.any)
        luaL_error(L, "proxy needs trusted_proxies, from where the proxies connect");
    return proxy;
}

/* serve(listener, compiled[, options]) */
static int serve(lua_State *L) {
    int fd = listener_descriptor(L, LISTENER);
    luaL_checktype(L, COMPILED, LUA_TTABLE);
    sched_check_waitable(L);
    lua_settop(L, OPTIONS);
    const struct app_options *o = app_of(L)->options;
    struct client_trust trust = o->limits->trust;
    const struct front_door door = {.fd = fd, .proxy = read_options(L, &trust)};
    struct server *s = *new_handle(L);
    lua_toclose(L, HANDLE);
    lua_pushvalue(L, COMPILED);
    site_load(L, &s->site);
    lua_settop(L, HANDLE);
    if (fd < 0) return socket_failure(L, ERR_CLOSED);
    lua_pushvalue(L, HANDLE);
    lua_rawsetp(L, LUA_REGISTRYINDEX, s);
    if (!o->appdir || o->child)
        s->site.kind = FIBER_TASK; /* a script's end waits for nobody */
    struct loop *l = sched_of(L)->loop;
    struct tls_ctx *tls = listener_tls(L, LISTENER);
    s->has_front = true;
    int err = front_init(&s->front, l, &s->crew, o->limits, &app, s);
    s->front.limits.trust = trust;
    if (tls) front_protect(&s->front, tls);
    if (err == 0) err = front_listen(&s->front, &door, 1);
    if (err) return socket_failure(L, err);
    front_start(&s->front);
    return listener_await_close(L, LISTENER, closed, 0);
}

int luaopen_atoll_core_serve(lua_State *L) {
    if (luaL_newmetatable(L, NAME)) {
        lua_pushcfunction(L, server_close);
        lua_setfield(L, -2, "__close");
        lua_pushcfunction(L, server_gc);
        lua_setfield(L, -2, "__gc");
    }
    lua_pop(L, 1);
    lua_pushcfunction(L, serve);
    return 1;
}
