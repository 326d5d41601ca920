#include "api/script_lua.h"

#include "api/app_lua.h"
#include "api/blocking_state.h"
#include "api/timer_lua.h"
#include "base/check.h"
#include "base/err.h"

#include <lauxlib.h>
#include <signal.h>
#include <string.h>

enum { MAGIC = 0x7369676e };

static const char LISTENER[] = "atoll.signals";

const struct script_signal script_signals[] = {
    {SIGINT, "INT"},   {SIGTERM, "TERM"},   {SIGHUP, "HUP"},
    {SIGQUIT, "QUIT"}, {SIGUSR1, "USR1"},   {SIGUSR2, "USR2"},
    {SIGCONT, "CONT"}, {SIGWINCH, "WINCH"}, {0, NULL},
};

/* ---- the end of the program ---- */

static int parked(lua_State *L, int status, lua_KContext context) {
    (void)status;
    return sched_park(L, NULL, 0, parked, context);
}

static bool is_script(const struct app_options *o) {
    return o->script || o->module;
}

static int no_script(lua_State *L, const char *what) {
    return luaL_error(L, "%s is for scripts of 'atoll run'; an app is not the program",
                      what);
}

/* In an isolate that a program has spawned: ends that. */
int script_exit(lua_State *L) {
    const struct app_options *o = app_of(L)->options;
    if (!is_script(o) && !o->child) return no_script(L, "atoll.exit");
    int code =
        lua_isboolean(L, 1) ? !lua_toboolean(L, 1) : (int)luaL_optinteger(L, 1, 0);
    if (o->bare) return blocking_exit(L, code);
    if (o->exit) o->exit(generation_of(L), code);
    /* Where it cannot wait for the end, it raises. */
    return parked(L, LUA_OK, 0);
}

/* ---- signals ---- */

struct listener {
    uint32_t magic;
    uint32_t wanted, pending; /* bits by number */
    struct link link;         /* of the app's */
    struct waiter waiter;
    struct script_signals *signals;
    bool closed;
};

static struct listener *check(lua_State *L) {
    struct listener *l = luaL_checkudata(L, 1, LISTENER);
    MAGIC_CHECK(l, MAGIC);
    return l;
}

void script_tell(struct generation *g, int number) {
    struct app *app = g->app;
    for (struct link *at = app->listeners.next; at != &app->listeners; at = at->next) {
        struct listener *l = LIST_OF(at, struct listener, link);
        if (!(l->wanted & 1u << number)) continue;
        l->pending |= 1u << number;
        sched_wake(&l->waiter, WAKE_EVENT);
    }
}

static int failure(lua_State *L, const char *message, int code) {
    luaL_pushfail(L);
    lua_pushstring(L, message);
    lua_pushstring(L, err_name(code));
    return 3;
}

static int heard(lua_State *L, int status, lua_KContext deadline) {
    struct listener *l = check(L);
    if (l->closed) return failure(L, "closed", ERR_CLOSED);
    for (const struct script_signal *s = script_signals; s->name; s++) {
        if (!(l->pending & 1u << s->number)) continue;
        l->pending &= ~(1u << s->number);
        lua_pushstring(L, s->name);
        return 1;
    }
    if (status == LUA_YIELD && sched_woke(L) == WAKE_TIMEOUT)
        return failure(L, "timed out", ETIMEDOUT);
    return sched_park(L, &l->waiter, deadline, heard, deadline);
}

static int listener_wait(lua_State *L) {
    check(L);
    return heard(L, LUA_OK, (lua_KContext)timer_opt_deadline(L, 2));
}

/* As the function of a for loop. */
static int listener_call(lua_State *L) {
    check(L);
    return heard(L, LUA_OK, 0);
}

/* Also __close and __gc. */
static int listener_close(lua_State *L) {
    struct listener *l = check(L);
    if (l->closed) return 0;
    l->closed = true;
    list_unlink(&l->link);
    for (int i = 1; i < SCRIPT_SIGNALS; i++)
        if (l->wanted & 1u << i) atomic_fetch_sub(&l->signals->wanted[i], 1);
    sched_wake(&l->waiter, WAKE_EVENT);
    return 0;
}

static int listener_text(lua_State *L) {
    const struct listener *l = check(L);
    luaL_Buffer b;
    luaL_buffinit(L, &b);
    luaL_addstring(&b, l->closed ? "signals (closed" : "signals (");
    const char *between = l->closed ? ", " : "";
    for (const struct script_signal *s = script_signals; s->name; s++) {
        if (!(l->wanted & 1u << s->number)) continue;
        luaL_addstring(&b, between);
        luaL_addstring(&b, s->name);
        between = ", ";
    }
    luaL_addstring(&b, ")");
    luaL_pushresult(&b);
    return 1;
}

static int number_of(lua_State *L, int index) {
    const char *name = lua_type(L, index) == LUA_TSTRING ? lua_tostring(L, index) : "?";
    for (const struct script_signal *s = script_signals; s->name; s++)
        if (strcmp(s->name, name) == 0) return s->number;
    return luaL_error(L,
                      "no signal is called '%s'; there are INT, TERM, HUP, QUIT, USR1, "
                      "USR2, CONT and WINCH",
                      name);
}

/* signals("INT") or signals {"INT", "TERM"}: the listener, and what makes a for loop
 * close it. */
static int signals(lua_State *L) {
    const struct app_options *o = app_of(L)->options;
    uint32_t wanted = 0;
    if (!is_script(o)) return no_script(L, "atoll.signals");
    if (o->child || o->bare)
        return luaL_error(L, "signals come to those who run the script; send what is "
                             "to be told to an isolate");
    if (lua_istable(L, 1)) {
        for (lua_Integer i = 1; lua_geti(L, 1, i) != LUA_TNIL; i++) {
            wanted |= 1u << number_of(L, -1);
            lua_pop(L, 1);
        }
        luaL_argcheck(L, wanted, 1, "no signal is named");
    } else {
        luaL_checkstring(L, 1);
        wanted = 1u << number_of(L, 1);
    }
    struct listener *l = lua_newuserdatauv(L, sizeof *l, 0);
    *l = (struct listener){.magic = MAGIC, .wanted = wanted, .signals = o->signals};
    list_init(&l->link);
    luaL_setmetatable(L, LISTENER);
    list_append(&app_of(L)->listeners, &l->link);
    for (int i = 1; i < SCRIPT_SIGNALS; i++) {
        if (!(wanted & 1u << i)) continue;
        atomic_fetch_add(&l->signals->wanted[i], 1);
        l->signals->listen(i);
    }
    lua_pushnil(L);
    lua_pushnil(L);
    lua_pushvalue(L, -3);
    return 4;
}

static const luaL_Reg methods[] = {
    {"cancel", listener_close},    {"close", listener_close},
    {"wait", listener_wait},       {"__call", listener_call},
    {"__close", listener_close},   {"__gc", listener_close},
    {"__tostring", listener_text}, {NULL, NULL},
};

static const luaL_Reg functions[] = {
    {"exit", script_exit}, {"signals", signals}, {NULL, NULL}};

int luaopen_atoll_script(lua_State *L) {
    luaL_newmetatable(L, LISTENER);
    luaL_setfuncs(L, methods, 0);
    lua_pushvalue(L, -1);
    lua_setfield(L, -2, "__index");
    lua_pop(L, 1);
    luaL_newlib(L, functions);
    return 1;
}
