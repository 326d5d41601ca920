#include "api/app_lua.h"

#include "api/libs.h"
#include "api/request_lua.h"
#include "api/res_lua.h"
#include "api/response_lua.h"
#include "api/vigil_lua.h"
#include "api/websocket_lua.h"
#include "base/check.h"
#include "base/embedded.h"
#include "base/log.h"
#include "http/front.h"
#include "isolate/budget.h"
#include "isolate/coro.h"
#include "isolate/gate.h"

#include <lauxlib.h>
#include <stdio.h>
#include <stdlib.h>

enum { MAGIC = 0x61707021 };

struct app *app_of(lua_State *L) {
    struct app *app = generation_of(L)->app;
    MAGIC_CHECK(app, MAGIC);
    return app;
}

/* ---- loading ---- */

static void app_free(struct generation *g) {
    struct app *app = g->app;
    if (!app) return;
    site_free(&app->site);
    const struct app_options *o = app->options;
    while (list_first(&app->listeners)) list_unlink(list_first(&app->listeners));
    while (list_first(&app->sockets)) list_unlink(list_first(&app->sockets));
    while (list_first(&app->streams)) list_unlink(list_first(&app->streams));
    free(app);
    g->app = NULL;
    if (o->closed) o->closed(o);
}

/* The chunk of a module of the program's own, and its path. */
static int embedded(lua_State *L) {
    const char *name = luaL_checkstring(L, 1);
    const struct embedded_file *f = embedded_files;
    while (f->name && strcmp(f->name, name) != 0) f++;
    if (!f->name) return 0;
    if (luaL_loadbufferx(L, (const char *)f->code, f->length, f->path, "b") != LUA_OK)
        return lua_error(L);
    lua_pushstring(L, f->path);
    return 2;
}

static void boot(lua_State *L, const struct app_options *o) {
    lua_pushcfunction(L, embedded);
    lua_pushliteral(L, "atoll.boot");
    lua_call(L, 1, 1);
    lua_call(L, 0, 1);
    lua_createtable(L, 0, 8);
    lua_pushstring(L, o->appdir);
    lua_setfield(L, -2, "appdir");
    lua_pushstring(L, o->script);
    lua_setfield(L, -2, "script");
    lua_pushboolean(L, o->strict);
    lua_setfield(L, -2, "strict");
    lua_pushboolean(L, o->compat_path);
    lua_setfield(L, -2, "compat_path");
    lua_pushboolean(L, o->compat_lua51);
    lua_setfield(L, -2, "compat_lua51");
    lua_pushboolean(L, o->compat_ngx);
    lua_setfield(L, -2, "compat_ngx");
    lua_pushboolean(L, o->bare);
    lua_setfield(L, -2, "bare");
    lua_pushcfunction(L, embedded);
    lua_setfield(L, -2, "embedded");
    lua_call(L, 1, 0);
}

/* Calls require(module), pushing the result. */
static void require(lua_State *L, const char *module) {
    lua_getglobal(L, "require");
    lua_pushstring(L, module);
    lua_call(L, 1, 1);
}

static void load_app(lua_State *L, struct app *app) {
    require(L, "atoll.loader");
    lua_getfield(L, -1, "load");
    lua_pushstring(L, app->options->appdir);
    lua_pushstring(L, app->options->prefix);
    lua_call(L, 2, 1);
    site_load(L, &app->site);
    app->start = site_hook(L, "start");
    app->reload = site_hook(L, "reload");
    app->stop = site_hook(L, "stop");
    lua_pop(L, 2);
}

static void replaced(struct generation *g) {
    websocket_retire(&((struct app *)g->app)->sockets);
}

void app_unopened(void *options) {
    const struct app_options *o = options;
    if (o->closed) o->closed(o);
}

int app_open(lua_State *L, struct generation *g, void *data) {
    struct app *app = calloc(1, sizeof *app);
    if (!app) return budget_raise(L);
    app->magic = MAGIC;
    app->options = data;
    list_init(&app->listeners);
    list_init(&app->sockets);
    g->replaced = replaced;
    list_init(&app->streams);
    app->start = app->reload = app->stop = LUA_NOREF;
    site_init(&app->site);
    g->app = app;
    g->app_free = app_free;
    g->exhausted = app->options->out_of_memory;
    libs_preload(L);
    boot(L, app->options);
    const struct app_options *o = app->options;
    if (o->appdir && !o->child && !o->bare) load_app(L, app);
    return 0;
}

/* ---- a request's fiber ---- */

/* True when the first line of text says file:line: by itself. */
static bool has_place(struct span text) {
    for (size_t i = 0; i + 2 < text.len && text.at[i] != '\n'; i++) {
        size_t digits = 0;
        if (text.at[i] != ':') continue;
        while (i + 1 + digits < text.len && text.at[i + 1 + digits] >= '0' &&
               text.at[i + 1 + digits] <= '9')
            digits++;
        if (digits && i + 1 + digits < text.len && text.at[i + 1 + digits] == ':')
            return true;
    }
    return false;
}

static void log_failure(struct exchange *x, struct span text) {
    const struct site *site = x->site;
    char id[16];
    struct buf line;
    struct span method = head_method(&x->head), target = head_target(&x->head);
    const char *source = NULL;
    if (x->handler < site->count && !has_place(text))
        source = site->sources[x->handler];
    buf_init(&line);
    if (buf_printf(&line, "%.*s %.*s: %s%s", (int)method.len, method.at,
                   (int)target.len, target.at, source ? source : "",
                   source ? ": " : "") == 0 &&
        buf_append(&line, text.at, text.len) == 0)
        log_lines(LEVEL_ERROR, exchange_id(x, id), buf_span(&line));
    buf_reset(&line);
}

static int answered(lua_State *L, int status, lua_KContext context) {
    const struct request *r = lua_touserdata(L, 1);
    (void)status;
    if (!r->x && r->end != REQUEST_OVER) return 0; /* who has it now answers */
    return response_send(L, lua_gettop(L) - (int)context);
}

/* The first function of a request's fiber, whose owner is the exchange. First on its
 * stack stays the request. Errors end the fiber: nothing is paid for them before. */
static int serve(lua_State *L) {
    struct fiber *f = fiber_of(L);
    struct exchange *x = f->owner;
    const struct site *site = x->site;
    request_push(L, x, f);
    bool found = x->handler != SITE_NOT_FOUND;
    lua_rawgeti(L, LUA_REGISTRYINDEX,
                found ? site->handlers[x->handler] : site->not_found);
    lua_pushvalue(L, 1);
    bool response = !found || site->takes_response[x->handler];
    if (response) res_push(L, 1);
    lua_callk(L, response ? 2 : 1, LUA_MULTRET, 1, answered);
    return answered(L, LUA_OK, 1);
}

/* The first function of the fiber after one that failed: the request, then a halt, or
 * an error for the app's hook, whose traceback waits in the request's scratch. */
static int rescue(lua_State *L) {
    struct request *r = request_alive(L, 1);
    if (response_is_halt(L, 2)) {
        lua_getfield(L, 2, "n");
        int n = (int)lua_tointeger(L, -1);
        luaL_checkstack(L, n + 4, "halt");
        for (int i = 1; i <= n; i++) lua_rawgeti(L, 2, i);
        return response_send(L, n);
    }
    exchange_restart(r->x);
    r->has_res = false; /* what the handler had prepared is not for an error */
    r->status = 0;
    const struct site *site = r->x->site;
    lua_rawgeti(L, LUA_REGISTRYINDEX, site->on_error);
    lua_pushvalue(L, 1);
    lua_pushvalue(L, 2);
    lua_pushlstring(L, buf_data(&r->scratch), buf_len(&r->scratch));
    buf_reset(&r->scratch);
    lua_callk(L, 3, LUA_MULTRET, 2, answered);
    return answered(L, LUA_OK, 2);
}

void app_push_request(lua_State *L) {
    struct fiber *f = fiber_of(L);
    lua_State *co = f && f->kind == FIBER_REQUEST ? f->co : NULL;
    if (!co || !coro_push_first(co))
        lua_pushnil(L);
    else if (co != L)
        lua_xmove(co, L, 1);
}

static void over(struct exchange *x) {
    struct request *r = x->handle;
    exchange_end(x);
    if (r) request_over(r);
    exchange_release(x);
}

/* Whoever has caught that there is no memory may have failed for it all the same. */
static int status_of(const struct fiber *f, int failure) {
    if (failure == ERR_LUA && f->late) return 504;
    return failure == ERR_LUA && !f->starved ? 500 : 503;
}

/* An answer that has begun may take any time: streams do. While it is the client who
 * keeps the handler waiting, with the request's body, that has limits of its own; and
 * then the handler has its time. */
static enum late late(struct fiber *f, void *owner) {
    const struct exchange *x = owner;
    const struct request *r = x->handle;
    if (x->phase != X_HEAD) return LATE_NEVER;
    if (!r) return LATE_END;
    bool kept = waiter_is_set(&r->body) ||
                (r->kept && x->front->loop->now - r->kept < f->limited_by);
    return kept ? LATE_AGAIN : LATE_END;
}

static bool left(const void *owner) {
    const struct exchange *x = owner;
    return x->left && exchange_gone(x);
}

/* The end of a rescue. */
static void rescued(struct fiber *f, void *owner, int status, lua_State *co,
                    int count) {
    struct exchange *x = owner;
    (void)count;
    if (status) {
        struct buf text;
        buf_init(&text);
        if (status != ERR_CANCELLED) {
            gate_describe(co, -1, co, &text);
            log_failure(x, buf_span(&text));
        }
        buf_reset(&text);
        if (status == ERR_CANCELLED)
            vigil_cut(x);
        else
            exchange_fail(x, status_of(f, status), SPAN(""));
    }
    over(x);
}

static const struct fiber_owner rescue_owner = {rescued, late, left};

/* Starts the fiber that answers for the one that has failed; false when the host has
 * to. */
static bool start_rescue(struct generation *g, struct exchange *x, lua_State *co) {
    const struct site *site = x->site;
    struct fiber *f = fiber_new(g, site->kind, &rescue_owner, x);
    if (!f) return false;
    lua_pushcfunction(f->co, rescue);
    if (!coro_push_first(co)) {
        f->owner_ops = NULL;
        fiber_kill(f);
        return false;
    }
    lua_pushvalue(co, -2); /* the error */
    lua_xmove(co, f->co, 2);
    ((struct request *)x->handle)->fiber = f;
    fiber_queue(f, 2);
    return true;
}

/* A handler has failed with the error on top of co. */
static bool failed(struct fiber *f, struct exchange *x, int status, lua_State *co) {
    struct generation *g = f->generation;
    const struct site *site = x->site;
    struct request *r = x->handle;
    if (status == ERR_LUA && response_is_halt(co, -1) && r)
        return start_rescue(g, x, co);
    struct buf text;
    buf_init(&text);
    gate_describe(co, -1, co, &text);
    log_failure(x, buf_span(&text));
    bool hook = status == ERR_LUA && !f->starved && site->on_error != LUA_NOREF && r &&
                x->phase == X_HEAD && !exchange_gone(x);
    if (hook) {
        buf_reset(&r->scratch);
        r->scratch = text;
        if (start_rescue(g, x, co)) return true;
        buf_init(&text);
    }
    buf_reset(&text);
    exchange_fail(x, status_of(f, status), SPAN(""));
    return false;
}

static void ended(struct fiber *f, void *owner, int status, lua_State *co, int count) {
    struct exchange *x = owner;
    (void)count;
    if (status == ERR_CANCELLED)
        vigil_cut(x);
    else if (status && failed(f, x, status, co))
        return;
    over(x);
}

static const struct fiber_owner request_owner = {ended, late, left};

void app_take_back(struct fiber *f, struct exchange *x) {
    f->owner_ops = &request_owner;
    f->owner = x;
}

static void options_answer(struct exchange *x, int status) {
    const struct site *site = x->site;
    char allow[ROUTER_ALLOW_MAX];
    size_t n = router_allow(site->router, x->target.path, allow);
    if (x->target.form == TARGET_ASTERISK) {
        static const char all[] = "DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT";
        memcpy(allow, all, n = sizeof all - 1);
    }
    if (status == 405) {
        static const char text[] = "405 Method Not Allowed\n";
        size_t taken;
        if (exchange_field(x, SPAN("Allow"), span_of(allow, n)) == 0 &&
            exchange_head(x, 405, SPAN("text/plain; charset=utf-8"), sizeof text - 1) ==
                0)
            exchange_body(x, span_of(text, sizeof text - 1), &taken);
    } else if (exchange_field(x, SPAN("Allow"), span_of(allow, n)) == 0) {
        exchange_head(x, 204, SPAN(""), 0);
    }
    if (x->phase == X_HEAD)
        exchange_abort(x); /* no memory */
    else
        exchange_end(x);
}

static void request(struct exchange *x) {
    struct isolate *isolate = x->front->app_data;
    struct generation *g = isolate_generation(isolate);
    const struct site *site = &((struct app *)g->app)->site;
    if (__builtin_expect(sched_overran(&isolate->sched), 0))
        app_serve_later(x, g, site);
    else
        app_serve(x, g, site);
}

/* The fiber that is to answer x, or NULL when that is done. */
static struct fiber *begin(struct exchange *x, struct generation *g,
                           const struct site *site) {
    struct route_match match;
    x->site = site;
    bool own_answer = false;
    if (x->target.form == TARGET_ASTERISK) {
        options_answer(x, 204);
        exchange_release(x);
        return NULL;
    }
    router_match(site->router, head_method(&x->head), x->target.path, &match);
    switch (match.outcome) {
    case ROUTE_FOUND:
        x->handler = match.handler;
        x->route = match.pattern;
        x->param_count = match.param_count;
        for (unsigned i = 0; i < match.param_count; i++) {
            struct span value = match.params[i].value;
            x->params[i] = (struct exchange_param){
                match.params[i].name, (uint32_t)(value.at - x->target.path.at),
                (uint32_t)value.len};
        }
        break;
    case ROUTE_NO_METHOD:
        options_answer(x, span_eq(head_method(&x->head), SPAN("OPTIONS")) ? 204 : 405);
        own_answer = true;
        break;
    case ROUTE_NO_PATH:
        if (site->not_found == LUA_NOREF) {
            exchange_fail(x, 404, SPAN(""));
            own_answer = true;
        }
        x->handler = SITE_NOT_FOUND;
        break;
    }
    struct fiber *f = NULL;
    if (!own_answer) {
        f = fiber_new(g, site->kind, &request_owner, x);
        if (!f) exchange_starve(x);
    }
    if (f)
        lua_pushcfunction(f->co, serve);
    else
        exchange_release(x);
    return f;
}

void app_serve(struct exchange *x, struct generation *g, const struct site *site) {
    struct fiber *f = begin(x, g, site);
    if (f) fiber_run(f, 0);
}

void app_serve_later(struct exchange *x, struct generation *g,
                     const struct site *site) {
    struct fiber *f = begin(x, g, site);
    if (f) fiber_queue(f, 0);
}

const struct http_app app_http = {request, request_woken_body, request_woken_output,
                                  request_gone, vigil_left};
