#include "api/vigil_lua.h"

#include "api/app_lua.h"
#include "api/request_lua.h"
#include "api/res_lua.h"
#include "base/check.h"
#include "base/log.h"
#include "isolate/gate.h"
#include "isolate/isolate.h"

#include <lauxlib.h>

enum { MAGIC = 0x76696769 };

static const char VIGIL[] = "atoll.vigil";

static const double BEAT_LEAST = 0.01, BEAT_MOST = 1e6; /* seconds */

/* The functions to call are in the registry, at its address. */
struct vigil {
    uint32_t magic;
    struct request *request; /* NULL: it is over */
    struct generation *generation;
    bool cancels; /* the handler, when the client leaves */
    bool stream;  /* of events: to cancel its fiber is a good end */
    bool relays;
    struct timer beat;
    int64_t every, wrote; /* ns */
    struct link member;   /* of the app's streams */
};

static struct loop *loop_of(const struct vigil *v) {
    return &v->generation->isolate->loop;
}

static void end(struct vigil *v) {
    lua_State *L = v->generation->L;
    if (!v->request) return;
    v->request->vigil = NULL;
    v->request = NULL;
    timer_clear(loop_of(v), &v->beat);
    list_unlink(&v->member);
    lua_pushnil(L); /* over a value that is there, or none: takes no memory */
    lua_rawsetp(L, LUA_REGISTRYINDEX, v);
}

static int gc(lua_State *L) {
    end(luaL_checkudata(L, 1, VIGIL));
    return 0;
}

/* The request at index 1 and its vigil, made if need be. */
static struct vigil *vigil_of(lua_State *L, struct request *r) {
    if (r->vigil) return r->vigil;
    struct generation *g = generation_of(L);
    if (!g->isolate) luaL_error(L, "no request is answered here");
    request_cache(L, 1);
    struct vigil *v = lua_newuserdatauv(L, sizeof *v, 0);
    *v = (struct vigil){.magic = MAGIC, .generation = g};
    list_init(&v->member);
    if (luaL_newmetatable(L, VIGIL)) {
        lua_pushcfunction(L, gc);
        lua_setfield(L, -2, "__gc");
    }
    lua_setmetatable(L, -2);
    lua_setfield(L, -2, "vigil");
    lua_pop(L, 1);
    lua_newtable(L);
    lua_rawsetp(L, LUA_REGISTRYINDEX, v);
    v->request = r;
    r->vigil = v;
    return v;
}

/* ---- the client leaves ---- */

static int called(lua_State *L, int status, lua_KContext context) {
    (void)L, (void)status, (void)context;
    return 0;
}

static int run(lua_State *L) {
    lua_callk(L, 0, 0, 0, called);
    return 0;
}

static void ended(struct fiber *f, void *owner, int status, lua_State *co, int count) {
    (void)f, (void)owner, (void)count;
    if (status == 0 || status == ERR_CANCELLED) return;
    struct buf text;
    buf_init(&text);
    buf_printf(&text, "a function of req:on_abort failed: ");
    gate_describe(co, -1, co, &text);
    log_lines(LEVEL_ERROR, SPAN(""), buf_span(&text));
    buf_reset(&text);
}

static const struct fiber_owner owner_ops = {.ended = ended};

/* Each in a fiber of its own, at the end of the turn; outside Lua. */
static void tell(struct vigil *v) {
    lua_State *L = v->generation->L;
    struct fiber *handler = v->request->fiber;
    if (v->cancels && handler) fiber_cancel(handler);
    if (!lua_checkstack(L, 2)) return;
    lua_rawgetp(L, LUA_REGISTRYINDEX, v);
    lua_Integer count = (lua_Integer)lua_rawlen(L, -1);
    for (lua_Integer i = 1; i <= count; i++) {
        struct fiber *f = fiber_new(v->generation, FIBER_TASK, &owner_ops, NULL);
        if (!f) {
            if (v->generation->state != GEN_CLOSING)
                log_error(
                    "a function of req:on_abort is not called: not enough memory");
            break;
        }
        lua_pushcfunction(f->co, run);
        lua_rawgeti(L, -1, i);
        lua_xmove(L, f->co, 1);
        fiber_queue(f, 1);
        lua_pushnil(L);
        lua_rawseti(L, -2, i);
    }
    lua_pop(L, 1);
}

void vigil_left(struct exchange *x) {
    struct request *r = x->handle;
    if (r && r->vigil) tell(r->vigil);
}

void vigil_over(struct request *r) {
    if (r->vigil) end(r->vigil);
}

/* req:on_abort(fn); without fn the handler itself is cancelled */
static int on_abort(lua_State *L) {
    struct request *r = request_check(L, 1, true);
    if (!lua_isnoneornil(L, 2)) luaL_checktype(L, 2, LUA_TFUNCTION);
    lua_settop(L, 2);
    if (r->x->phase == X_DONE) return 0;
    struct vigil *v = vigil_of(L, r);
    if (lua_isnil(L, 2)) {
        v->cancels = true;
    } else {
        lua_rawgetp(L, LUA_REGISTRYINDEX, v);
        lua_insert(L, 2);
        lua_rawseti(L, 2, (lua_Integer)lua_rawlen(L, 2) + 1);
    }
    if (r->x->left)
        tell(v);
    else
        exchange_watch(r->x);
    return 0;
}

/* ---- event streams ---- */

static void beat(struct timer *t) {
    struct vigil *v = LIST_OF(t, struct vigil, beat);
    MAGIC_CHECK(v, MAGIC);
    struct request *r = v->request;
    struct loop *l = loop_of(v);
    size_t taken;
    if (r->x->phase != X_SENDING || exchange_gone(r->x)) return;
    if (l->now - v->wrote >= v->every) {
        /* A slow client hears from us as it is. */
        if (!r->in_piece) exchange_body(r->x, SPAN(":\n\n"), &taken);
        v->wrote = l->now;
    }
    if (timer_set(l, t, v->wrote + v->every) != 0)
        log_error("an event stream goes on without heartbeats: not enough memory");
}

void vigil_wrote(struct request *r) {
    r->vigil->wrote = loop_of(r->vigil)->now;
}

static bool is_over(const struct vigil *v) {
    const struct generation *g = v->generation;
    return g->isolate->leaving || (v->relays && g->state == GEN_DRAINING);
}

static int keep(lua_State *L) {
    lua_Number seconds = luaL_checknumber(L, 2);
    luaL_argcheck(L, seconds == 0 || (seconds >= BEAT_LEAST && seconds <= BEAT_MOST), 2,
                  "the heartbeat is between 0.01 and 1e6 seconds, or 0");
    lua_settop(L, 2);
    res_request(L, 1);
    lua_replace(L, 1);
    struct request *r = request_check(L, 1, true);
    struct vigil *v = vigil_of(L, r);
    struct loop *l = loop_of(v);
    v->stream = v->cancels = true;
    v->every = (int64_t)(seconds * 1e9);
    v->wrote = l->now;
    list_unlink(&v->member);
    list_append(&app_of(L)->streams, &v->member);
    timer_init(&v->beat, beat);
    if (v->every && timer_set(l, &v->beat, l->now + v->every) != 0)
        return budget_raise(L);
    if (r->x->left)
        tell(v);
    else
        exchange_watch(r->x);
    if (is_over(v) && r->fiber) fiber_cancel(r->fiber);
    return 0;
}

static int relays(lua_State *L) {
    bool whether = lua_toboolean(L, 2);
    lua_settop(L, 1);
    res_request(L, 1);
    lua_replace(L, 1);
    struct request *r = request_check(L, 1, true);
    if (!r->vigil) return 0;
    r->vigil->relays = whether;
    if (is_over(r->vigil) && r->fiber) fiber_cancel(r->fiber);
    return 0;
}

void vigil_end_streams(struct generation *g, bool all) {
    struct app *app = g->app;
    if (!app) return;
    for (struct link *l = app->streams.next; l != &app->streams; l = l->next) {
        struct vigil *v = LIST_OF(l, struct vigil, member);
        if ((all || v->relays) && v->request->fiber) fiber_cancel(v->request->fiber);
    }
}

void vigil_cut(struct exchange *x) {
    const struct request *r = x->handle;
    if (x->left) {
        if (x->phase == X_HEAD) x->status = 499; /* for the access log */
        exchange_abort(x);
    } else if (r && r->vigil && r->vigil->stream && x->phase == X_SENDING) {
        exchange_end(x);
    } else {
        exchange_fail(x, 503, SPAN(""));
    }
}

void vigil_open(lua_State *L) {
    static const luaL_Reg methods[] = {{"on_abort", on_abort}, {NULL, NULL}};
    luaL_setfuncs(L, methods, 0);
}

void vigil_open_res(lua_State *L) {
    static const luaL_Reg functions[] = {
        {"keep", keep}, {"relays", relays}, {NULL, NULL}};
    luaL_setfuncs(L, functions, 0);
}
