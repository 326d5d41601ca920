#include "api/hook_lua.h"

#include "api/app_lua.h"
#include "api/script_lua.h"
#include "base/buf.h"
#include "base/check.h"
#include "isolate/gate.h"
#include "isolate/pack.h"

#include <lauxlib.h>
#include <stdlib.h>

struct call {
    enum hook hook;
    struct buf text;
    hook_done done;
    void *data;
};

/* At index 1 the state, 2 the list of functions; `context` of them have been called. */
static int next_start(lua_State *L, int status, lua_KContext context) {
    (void)status;
    lua_Integer count = luaL_len(L, 2);
    while (context < count) {
        lua_settop(L, 2);
        lua_geti(L, 2, ++context);
        lua_pushvalue(L, 1);
        lua_callk(L, 1, 0, context, next_start);
    }
    return 0;
}

static int reloaded(lua_State *L, int status, lua_KContext context) {
    (void)status;
    struct call *c = (struct call *)context;
    lua_settop(L, 1);
    if (!lua_isnil(L, 1)) pack_write_named(L, 1, "on(\"reload\")", &c->text);
    return 0;
}

static int script_args(lua_State *L, const struct app_options *o) {
    lua_createtable(L, o->argc, 1);
    lua_pushstring(L, o->script ? o->script : o->module);
    lua_rawseti(L, -2, 0);
    for (int i = 0; i < o->argc; i++) {
        lua_pushstring(L, o->argv[i]);
        lua_rawseti(L, -2, i + 1);
    }
    lua_setglobal(L, "arg");
    luaL_checkstack(L, o->argc + 4, "too many arguments");
    for (int i = 0; i < o->argc; i++) lua_pushstring(L, o->argv[i]);
    return o->argc;
}

void hook_take_exit(lua_State *L) {
    lua_getglobal(L, "os");
    lua_pushcfunction(L, script_exit);
    lua_setfield(L, -2, "exit");
    lua_pop(L, 1);
}

/* What the script returns is the exit code, if it is a number or a boolean. */
static int script_ended(lua_State *L, int status, lua_KContext context) {
    (void)status, (void)context;
    struct app *app = app_of(L);
    int whole, code = (int)lua_tointegerx(L, 1, &whole);
    if (!whole) code = lua_isboolean(L, 1) && !lua_toboolean(L, 1);
    if (!app->options->module) app->code = code & 0xff;
    return 0;
}

static int run(lua_State *L) {
    struct call *c = lua_touserdata(L, 1);
    struct app *app = app_of(L);
    lua_settop(L, 0);
    switch (c->hook) {
    case HOOK_START:
    case HOOK_STOP:
        if (buf_len(&c->text))
            pack_read(L, buf_span(&c->text));
        else
            lua_pushnil(L);
        buf_reset(&c->text);
        lua_rawgeti(L, LUA_REGISTRYINDEX,
                    c->hook == HOOK_START ? app->start : app->stop);
        return next_start(L, LUA_OK, 0);
    case HOOK_RELOAD:
        lua_rawgeti(L, LUA_REGISTRYINDEX, app->reload);
        lua_callk(L, 0, 1, (lua_KContext)c, reloaded);
        return reloaded(L, LUA_OK, (lua_KContext)c);
    case HOOK_SCRIPT: {
        hook_take_exit(L);
        if (app->options->module) {
            lua_getglobal(L, "require");
            lua_pushstring(L, app->options->module);
            lua_call(L, 1, 1);
        } else if (luaL_loadfilex(L, app->options->script, "t") != LUA_OK) {
            return lua_error(L);
        }
        int count = script_args(L, app->options);
        lua_callk(L, count, LUA_MULTRET, 0, script_ended);
        return script_ended(L, LUA_OK, 0);
    }
    }
    return 0;
}

static void ended(struct fiber *f, void *owner, int status, lua_State *co, int count) {
    struct call *c = owner;
    (void)count;
    if (status) {
        buf_reset(&c->text);
        gate_describe(co, -1, co, &c->text);
    }
    c->done(f->generation, status, buf_span(&c->text), c->data);
    buf_reset(&c->text);
    free(c);
}

static const struct fiber_owner owner = {.ended = ended};

void hook_run(struct generation *g, enum hook hook, struct span state, hook_done done,
              void *data) {
    struct app *app = g->app;
    int reference = hook == HOOK_START    ? app->start
                    : hook == HOOK_RELOAD ? app->reload
                    : hook == HOOK_STOP   ? app->stop
                                          : 0;
    if (reference == LUA_NOREF) {
        done(g, 0, SPAN(""), data);
        return;
    }
    struct call *c = calloc(1, sizeof *c);
    struct fiber *f = c ? fiber_new(g, FIBER_HOST, &owner, c) : NULL;
    if (!f || buf_append(&c->text, state.at, state.len) != 0) {
        if (f) fiber_kill(f);
        free(c);
        done(g, ERR_MEMORY, SPAN("not enough memory"), data);
        return;
    }
    c->hook = hook;
    c->done = done;
    c->data = data;
    lua_pushcfunction(f->co, run);
    lua_pushlightuserdata(f->co, c);
    fiber_queue(f, 1);
}

void hooks_cancel(struct generation *g) {
    for (struct link *l = g->fibers.next; l != &g->fibers; l = l->next) {
        struct fiber *f = LIST_OF(l, struct fiber, member);
        if (f->kind == FIBER_HOST) fiber_cancel(f);
    }
}

void hooks_kill(struct generation *g) {
    struct link *next;
    for (struct link *l = g->fibers.next; l != &g->fibers; l = next) {
        struct fiber *f = LIST_OF(l, struct fiber, member);
        next = l->next;
        if (f->kind == FIBER_HOST) fiber_kill(f);
    }
}
