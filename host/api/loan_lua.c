#include "api/loan_lua.h"

#include "api/app_lua.h"
#include "api/request_lua.h"
#include "api/response_lua.h"
#include "api/sender_lua.h"
#include "api/vigil_lua.h"
#include "base/check.h"
#include "base/log.h"
#include "http/client.h"
#include "http/front.h"
#include "http/loan.h"
#include "isolate/budget.h"
#include "isolate/cargo.h"
#include "isolate/gate.h"

#include <lauxlib.h>
#include <stddef.h>
#include <stdlib.h>

enum { MAGIC = 0x67756573 };

static const char GUESTS[] = "atoll.guests", DUTY[] = "atoll.request.duty",
                  SITE[] = "atoll.site";

/* The front of those that have come to this state. */
struct guests {
    uint32_t magic;
    struct front front;
    struct access access;
    struct grave grave;
};

static void no_request(struct exchange *x) {
    exchange_abort(x); /* heads are read at home */
}

static const struct http_app app = {no_request, request_woken_body,
                                    request_woken_output, request_gone, vigil_left};

static void bury(struct grave *grave) {
    struct guests *g = LIST_OF(grave, struct guests, grave);
    access_done(&g->access);
    front_done(&g->front);
    g->magic = 0;
    free(g);
}

/* Connections are in their graves before it is, and need it there. */
static int guests_gc(lua_State *L) {
    struct guests **box = luaL_checkudata(L, 1, GUESTS);
    struct guests *g = *box;
    *box = NULL;
    if (!g) return 0;
    front_cut(&g->front);
    g->grave.done = bury;
    loop_bury(g->front.loop, &g->grave);
    return 0;
}

static struct front *front_of(lua_State *L) {
    struct guests **box;
    const struct front_limits *limits = app_of(L)->options->limits;
    if (!limits || !sched_of(L)) luaL_error(L, "no request can be answered here");
    if (lua_rawgetp(L, LUA_REGISTRYINDEX, GUESTS) == LUA_TUSERDATA) {
        box = lua_touserdata(L, -1);
        lua_pop(L, 1);
        return &(*box)->front;
    }
    lua_pop(L, 1);
    box = lua_newuserdatauv(L, sizeof *box, 0);
    *box = NULL;
    if (luaL_newmetatable(L, GUESTS)) {
        lua_pushcfunction(L, guests_gc);
        lua_setfield(L, -2, "__gc");
    }
    lua_setmetatable(L, -2);
    lua_getglobal(L, "require"); /* the methods that are written in Lua */
    lua_pushliteral(L, "atoll.request");
    lua_call(L, 1, 0);
    struct guests *g = malloc(sizeof *g);
    if (!g) budget_raise(L);
    g->magic = MAGIC;
    front_init(&g->front, sched_of(L)->loop, NULL, limits, &app, NULL);
    access_init(&g->access,
                app_of(L)->options->json_access ? ACCESS_JSON : ACCESS_COMBINED,
                (unsigned)generation_of(L)->isolate->index);
    g->front.access = &g->access;
    *box = g;
    lua_rawsetp(L, LUA_REGISTRYINDEX, GUESTS);
    return &g->front;
}

/* ---- a request without a fiber ---- */

/* Ends what r was: its exchange is let go. */
static void let_go(struct request *r) {
    struct exchange *x = r->x;
    exchange_end(x);
    request_over(r);
    exchange_release(x);
}

/* Of a request that came in a message: its handle is garbage. Its user value is the
 * request, which therefore is still there. */
static int duty_gc(lua_State *L) {
    lua_getiuservalue(L, 1, 1);
    struct request *r = lua_touserdata(L, -1);
    if (!r || !r->x || r->fiber) return 0;
    struct exchange *x = r->x;
    bool closing = generation_of(L)->state == GEN_CLOSING;
    if (x->phase != X_DONE && !exchange_gone(x)) {
        char id[16];
        struct span method = head_method(&x->head), target = head_target(&x->head);
        struct span named = exchange_id(x, id);
        log_error("%.*s %.*s: the request was dropped unanswered%s request_id=%.*s",
                  (int)method.len, method.at, (int)target.len, target.at,
                  closing ? ", as its isolate ends" : "", (int)named.len, named.at);
        exchange_fail(x, closing ? 503 : 500, SPAN(""));
    }
    let_go(r);
    return 0;
}

static void push_duty(lua_State *L, int request) {
    lua_newuserdatauv(L, 0, 1);
    lua_pushvalue(L, request);
    lua_setiuservalue(L, -2, 1);
    if (luaL_newmetatable(L, DUTY)) {
        lua_pushcfunction(L, duty_gc);
        lua_setfield(L, -2, "__gc");
    }
    lua_setmetatable(L, -2);
}

/* ---- leaving a fiber ---- */

/* The fiber whose request has gone elsewhere. */
static void left(struct fiber *f, void *owner, int status, lua_State *co, int count) {
    struct request *r = owner;
    (void)f, (void)count;
    r->fiber = NULL;
    bool halt = status == ERR_LUA && response_is_halt(co, -1);
    if (status && status != ERR_CANCELLED && !halt) {
        struct buf text;
        buf_init(&text);
        if (buf_printf(&text, "after its request was given away: ") == 0)
            gate_describe(co, -1, co, &text);
        log_lines(LEVEL_ERROR, SPAN(""), buf_span(&text));
        buf_reset(&text);
    }
}

static const struct fiber_owner left_owner = {.ended = left};

/* Whoever ran for r runs on, for nobody. */
static struct exchange *leave(struct request *r, enum request_end how) {
    struct exchange *x = r->x;
    if (r->fiber) {
        r->fiber->owner_ops = &left_owner;
        r->fiber->owner = r;
    }
    request_part(r, how);
    return x;
}

/* ---- in messages ---- */

static struct loan *loan_of(void *user) {
    return (struct loan *)(void *)((char *)user - offsetof(struct loan, user));
}

/* While it is elsewhere the code that lent it stays, and with it what it has spawned.
 */
static void back(void *user) {
    struct generation_hold *h = user;
    if (!h->generation) return;
    generation_let_go(h);
    loan_unref(loan_of(user));
}

static void ended(struct generation_hold *h) {
    loan_unref(loan_of(h));
}

static bool early(void *userdata) {
    const struct request *r = userdata;
    return r->x && loan_is_early(r->x);
}

static bool gone(void *userdata) {
    const struct request *r = userdata;
    return r->x && exchange_gone(r->x);
}

static const char *refuse(void *userdata) {
    static const char no_memory[] = "not enough memory";
    struct request *r = userdata;
    if (!r->x) return request_why_over(r);
    if (waiter_is_set(&r->body) || waiter_is_set(&r->output))
        return "a fiber is reading or answering the request";
    switch (loan_prepare(r->x, sizeof(struct generation_hold), back)) {
    case 0: break;
    case ERR_CLOSED: return "the client has gone";
    case -EALREADY: return "the answer to the request has begun";
    case -ENOTSUP: return "the request of a test has no connection that could move";
    default: return no_memory;
    }
    /* Who receives it believes others, perhaps, than who has accepted it. */
    return client_keep(r->x) == 0 ? NULL : no_memory;
}

static void *take(void *userdata) {
    struct request *r = userdata;
    r->front = r->x->front;
    struct loan *n = loan_fresh(r->x);
    if (n && r->fiber) {
        struct generation_hold *h = (struct generation_hold *)(void *)n->user;
        h->ended = ended;
        generation_hold(r->fiber->generation, h);
        loan_ref(n);
    }
    struct exchange *x = leave(r, REQUEST_TRANSFERRED);
    loan_leave(x);
    return x;
}

static void make(lua_State *L, void *core) {
    (void)core;
    struct front *front = front_of(L);
    struct request *r = request_new(L);
    r->end = REQUEST_TRANSFERRED;
    r->front = front;
    request_cache(L, -1);
    push_duty(L, lua_gettop(L) - 1);
    lua_setfield(L, -2, "duty");
    lua_pop(L, 1);
}

static void put(void *userdata, void *core, struct loop *l) {
    struct request *r = userdata;
    struct exchange *x = core;
    (void)l;
    loan_enter(x, r->front);
    request_join(r, x);
    if (r->fiber) {
        app_take_back(r->fiber, x);
    } else if (r->came_with_fiber) { /* which has ended: nobody answers */
        exchange_fail(x, 503, SPAN(""));
        let_go(r);
    }
}

static void drop(void *core) {
    loan_drop(core);
}

static const struct cargo_kind kind = {.name = "request",
                                       .refuse = refuse,
                                       .over = gone,
                                       .early = early,
                                       .take = take,
                                       .make = make,
                                       .put = put,
                                       .drop = drop};

/* ---- for Lua ---- */

/* What the request came with is still being read: not before that is done. */
static int transfer(lua_State *L, int status, lua_KContext context) {
    (void)context;
    struct request *r = request_alive(L, 1);
    if (exchange_gone(r->x)) return desk_failed(L, ERR_CLOSED);
    if (status == LUA_OK && loan_is_early(r->x))
        return sched_park(L, NULL, 1, transfer, 0);
    return sender_transfer(L);
}

static int request_transfer(lua_State *L) {
    request_check(L, 1, true);
    luaL_checkany(L, 2);
    return transfer(L, LUA_OK, 0);
}

static int answer(lua_State *L) {
    return response_send(L, lua_gettop(L) - 1);
}

static int responded(lua_State *L, int status, lua_KContext context) {
    (void)status, (void)context;
    struct request *r = lua_touserdata(L, 1);
    if (r->x && !r->came_with_fiber) let_go(r);
    lua_pushboolean(L, 1);
    return 1;
}

static int request_respond(lua_State *L) {
    struct request *r = request_check(L, 1, true);
    int n = lua_gettop(L);
    if (exchange_gone(r->x)) {
        if (!r->came_with_fiber) let_go(r);
        return desk_failed(L, ERR_CLOSED);
    }
    if (r->x->phase != X_HEAD) return luaL_error(L, "the request is being answered");
    luaL_checkstack(L, n + 2, "response");
    lua_pushcfunction(L, answer);
    for (int i = 1; i <= n; i++) lua_pushvalue(L, i);
    lua_callk(L, n, 0, 0, responded);
    return responded(L, LUA_OK, 0);
}

/* Sites last as long as the state: a request may be under way in any of them. */
static int new_site(lua_State *L) {
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 1);
    struct site *s = lua_newuserdatauv(L, sizeof *s, 0);
    site_init(s);
    luaL_setmetatable(L, SITE);
    lua_pushvalue(L, 2);
    lua_rawsetp(L, LUA_REGISTRYINDEX, s);
    lua_insert(L, 1);
    site_load(L, s);
    const struct app_options *o = app_of(L)->options;
    if (!o->appdir || o->child)
        s->kind = FIBER_TASK; /* a script's end waits for none */
    lua_settop(L, 1);
    return 1;
}

static int site_gc(lua_State *L) {
    site_free(lua_touserdata(L, 1));
    return 0;
}

/* place(req): "/shop", under which the request's app lies in the host, or ""; nothing
 * when it is no request. */
static int place(lua_State *L) {
    if (!request_is(L, 1)) return 0;
    const struct exchange *x = request_check(L, 1, true)->x;
    lua_pushlstring(L, x->place ? x->target.path.at : "", x->place);
    return 1;
}

/* handle(req, site) */
static int handle(lua_State *L) {
    struct request *r = request_check(L, 1, true);
    const struct site *s = luaL_checkudata(L, 2, SITE);
    if (waiter_is_set(&r->body) || waiter_is_set(&r->output))
        return luaL_error(L, "a fiber is reading or answering the request");
    if (r->x->phase != X_HEAD)
        return luaL_error(L, "the answer to the request has begun");
    if (exchange_own(r->x) != 0) return budget_raise(L);
    struct exchange *x = leave(r, REQUEST_HANDED_ON);
    x->handle = NULL;
    app_serve_later(x, generation_of(L), s);
    return 0;
}

void loan_open(lua_State *L) {
    static const luaL_Reg methods[] = {
        {"respond", request_respond}, {"transfer", request_transfer}, {NULL, NULL}};
    generation_lets_through(generation_of(L), request_respond);
    luaL_setfuncs(L, methods, 0);
    lua_pushvalue(L, -2);
    cargo_mark(L, &kind);
    lua_pop(L, 1);
}

int luaopen_atoll_core_loan(lua_State *L) {
    static const luaL_Reg functions[] = {
        {"handle", handle}, {"place", place}, {"site", new_site}, {NULL, NULL}};
    if (luaL_newmetatable(L, SITE)) {
        lua_pushcfunction(L, site_gc);
        lua_setfield(L, -2, "__gc");
    }
    lua_pop(L, 1);
    luaL_newlib(L, functions);
    return 1;
}
