#include "api/isolate_lua.h"

#include "api/app_lua.h"
#include "api/desk.h"
#include "api/hook_lua.h"
#include "api/port_lua.h"
#include "api/sender_lua.h"
#include "api/timer_lua.h"
#include "base/err.h"
#include "base/log.h"
#include "isolate/commons.h"
#include "isolate/gate.h"
#include "isolate/nursery.h"
#include "isolate/pack.h"

#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>

static const char HANDLE[] = "atoll.isolate", JOINER[] = "atoll.isolate.joiner",
                  CHILDREN[] = "atoll.isolate.children";

enum { INBOX = 1000, AT_SENDER = 1, AT_ON_EXIT = 2 };

/* User values: a sender of its inbox, the function of on_exit. While the child runs,
 * registry[CHILDREN] keeps it. */
struct handle {
    struct child *child;
    struct port *exit;
    struct message *words; /* when it is over */
    struct link joiners;
    struct generation *generation;
    bool detached;
};

struct joiner {
    struct waiter waiter;
    struct link link;
};

/* ---- the child's side ---- */

/* What a child is made from; freed with it. */
struct script {
    struct app_options options;
    char name[];
};

static void script_done(void *data) {
    free(data);
}

/* And where, if that was in the middle of a computation. */
static void describe_kill(lua_State *co, struct buf *out) {
    struct buf text;
    const char *trace = NULL;
    buf_init(&text);
    if (sched_of(co)->end) {
        gate_describe(co, -1, co, &text);
        trace = buf_len(&text) ? memchr(buf_data(&text), '\n', buf_len(&text)) : NULL;
    }
    buf_printf(out, "killed");
    if (trace) {
        size_t before = (size_t)(trace - buf_data(&text));
        buf_append(out, trace, buf_len(&text) - before);
    }
    buf_reset(&text);
}

static void over(struct fiber *f, void *owner, int status, lua_State *co, int count) {
    struct child *c = owner;
    struct buf text;
    (void)f, (void)count;
    if (!status) return;
    buf_init(&text);
    if (status == ERR_CANCELLED)
        describe_kill(co, &text);
    else
        gate_describe(co, -1, co, &text);
    child_over(c, NULL, buf_span(&text));
    buf_reset(&text);
}

static const struct fiber_owner owner = {.ended = over};

/* All that the main function has returned is on the stack above the child. */
static int returned(lua_State *L, int status, lua_KContext context) {
    struct child *c = lua_touserdata(L, 1);
    (void)status, (void)context;
    int count = lua_gettop(L) - 1;
    lua_createtable(L, count, 1);
    lua_insert(L, 2);
    for (int i = count; i > 0; i--) lua_rawseti(L, 2, i);
    lua_pushinteger(L, count);
    lua_setfield(L, 2, "n");
    struct desk *d = desk_find(L);
    lua_newtable(L);
    if (desk_load(L, desk_pack(L, d, 2, 3), 3) != 0)
        luaL_error(L, "what the module has returned holds something that is closed");
    child_over(c, desk_take(d), SPAN(""));
    return 0;
}

/* With the child: finds the chunk, unpacks the argument, calls. */
static int child_main(lua_State *L) {
    struct child *c = lua_touserdata(L, 1);
    const struct script *s = c->plan.data;
    hook_take_exit(L);
    lua_getglobal(L, "require");
    lua_pushliteral(L, "atoll.isolate");
    lua_call(L, 1, 1);
    lua_getfield(L, -1, "find");
    lua_pushstring(L, s->name);
    lua_call(L, 1, 1);
    lua_replace(L, 2);
    lua_settop(L, 2);
    struct message *m = c->plan.argument;
    pack_read_cargo(L, span_of(m->bytes, m->len), m->cargo, m->cargo_count,
                    sched_of(L)->loop);
    c->plan.argument = NULL;
    message_free(m);
    lua_callk(L, 1, LUA_MULTRET, 0, returned);
    return returned(L, LUA_OK, 0);
}

static void begin(struct child *c, struct generation *g) {
    struct fiber *f = fiber_new(g, FIBER_HOST, &owner, c);
    if (!f) {
        child_over(c, NULL, SPAN("not enough memory"));
        return;
    }
    lua_pushcfunction(f->co, child_main);
    lua_pushlightuserdata(f->co, c);
    fiber_queue(f, 1);
}

/* os.exit: 0 is an end without results. */
static void exited(struct generation *g, int code) {
    struct child *c = g->isolate->user;
    char text[48];
    if (code == 0)
        child_over(c, message_new(0, 0), SPAN("not enough memory"));
    else
        child_over(c, NULL,
                   span_of(text, (size_t)snprintf(text, sizeof text,
                                                  "exited with code %d", code)));
}

/* There is no use in going on, whatever has caught the error. */
static void exhausted(struct generation *g) {
    char text[BUDGET_TEXT];
    child_over(g->isolate->user, NULL, span_of(text, budget_text(g, text)));
}

/* ---- the parent's side ---- */

/* A finalizer may use one that was collected before: then child is NULL. */
static struct handle *check(lua_State *L) {
    return luaL_checkudata(L, 1, HANDLE);
}

static void exit_failed(struct fiber *f, void *data, int status, lua_State *co,
                        int count) {
    struct buf text;
    (void)f, (void)data, (void)count;
    if (!status || status == ERR_CANCELLED) return;
    buf_init(&text);
    buf_printf(&text, "on_exit failed: ");
    gate_describe(co, -1, co, &text);
    log_lines(LEVEL_ERROR, SPAN(""), buf_span(&text));
    buf_reset(&text);
}

static const struct fiber_owner exit_owner = {.ended = exit_failed};

static int push_outcome(lua_State *L, const struct handle *h) {
    struct message *m = h->words;
    if (m->failed) {
        luaL_pushfail(L);
        lua_pushlstring(L, m->bytes, m->len);
        lua_pushstring(L, err_name(ERR_LUA));
        return 3;
    }
    if (!m->len) return 0;
    pack_read_cargo(L, span_of(m->bytes, m->len), m->cargo, m->cargo_count,
                    sched_of(L)->loop);
    lua_getfield(L, -1, "n");
    int count = (int)lua_tointeger(L, -1), results = lua_gettop(L) - 1;
    luaL_checkstack(L, count + 1, "too many results");
    for (int i = 1; i <= count; i++) lua_rawgeti(L, results, i);
    return count;
}

static int exit_done(lua_State *L, int status, lua_KContext context) {
    (void)L, (void)status, (void)context;
    return 0;
}

/* With the handle: calls the function of on_exit with true and the results, or false
 * and the text. */
static int run_on_exit(lua_State *L) {
    struct handle *h = lua_touserdata(L, 1);
    lua_getiuservalue(L, 1, AT_ON_EXIT);
    lua_pushboolean(L, !h->words->failed);
    int top = lua_gettop(L);
    int count = push_outcome(L, h);
    if (h->words->failed) {
        lua_settop(L, top + 2);
        lua_remove(L, top + 1);
        count = 1;
    } else {
        for (int i = lua_gettop(L) - count; i > top; i--) lua_remove(L, top + 1);
    }
    lua_callk(L, count + 1, 0, 0, exit_done);
    return 0;
}

static void tell_on_exit(lua_State *L, struct handle *h) {
    struct fiber *f = fiber_new(h->generation, FIBER_TASK, &exit_owner, NULL);
    if (!f) return;
    lua_pushcfunction(f->co, run_on_exit);
    lua_pushvalue(L, -1);
    lua_xmove(L, f->co, 1);
    fiber_queue(f, 1);
}

/* Nobody has asked for them yet, and perhaps nobody will. */
static void log_failure(const struct handle *h) {
    struct span text = span_of(h->words->bytes, h->words->len);
    struct buf line;
    bool killed = text.len >= 6 && memcmp(text.at, "killed", 6) == 0;
    if (!h->words->failed || killed) return;
    buf_init(&line);
    buf_printf(&line, "%s failed: %.*s", h->child->isolate.name, (int)text.len,
               text.at);
    log_lines(LEVEL_ERROR, SPAN(""), buf_span(&line));
    buf_reset(&line);
}

/* The last words have come. Outside Lua; nothing here raises. */
static void ended(struct port *p) {
    struct handle *h = p->user;
    lua_State *L = h->generation->L;
    struct link *first;
    h->words = port_take(p);
    if (!h->words) return;
    port_close(p);
    bool heard = !list_empty(&h->joiners);
    while ((first = list_first(&h->joiners))) {
        list_unlink(first);
        sched_wake(&LIST_OF(first, struct joiner, link)->waiter, WAKE_EVENT);
    }
    lua_rawgetp(L, LUA_REGISTRYINDEX, CHILDREN);
    lua_rawgetp(L, -1, h);
    if (lua_getiuservalue(L, -1, AT_ON_EXIT) == LUA_TFUNCTION) {
        lua_pop(L, 1);
        tell_on_exit(L, h);
    } else {
        lua_pop(L, 1);
        if (!heard) log_failure(h);
    }
    lua_pushnil(L);
    lua_rawsetp(L, -3, h);
    lua_pop(L, 2);
}

static int handle_gc(lua_State *L) {
    struct handle *h = check(L);
    while (list_first(&h->joiners)) list_unlink(list_first(&h->joiners));
    if (h->child) {
        if (!h->words && !h->detached) child_kill(h->child);
        child_unref(h->child);
        h->child = NULL;
    }
    if (h->exit) {
        port_close(h->exit);
        port_unref(h->exit);
        h->exit = NULL;
    }
    message_free(h->words);
    h->words = NULL;
    return 0;
}

static int joined(lua_State *L, int status, lua_KContext context) {
    struct handle *h = lua_touserdata(L, 1);
    struct joiner *j = lua_touserdata(L, 2);
    (void)status, (void)context;
    list_unlink(&j->link);
    if (h->words) return push_outcome(L, h);
    luaL_pushfail(L);
    lua_pushliteral(L, "timed out");
    lua_pushstring(L, err_name(-ETIMEDOUT));
    return 3;
}

static int handle_join(lua_State *L) {
    struct handle *h = check(L);
    int64_t deadline = timer_opt_deadline(L, 2);
    lua_settop(L, 1);
    if (h->words) return push_outcome(L, h);
    sched_check_waitable(L);
    struct joiner *j = lua_newuserdatauv(L, sizeof *j, 0);
    *j = (struct joiner){0};
    list_init(&j->link);
    luaL_setmetatable(L, JOINER);
    list_append(&h->joiners, &j->link);
    return sched_park(L, &j->waiter, deadline, joined, 0);
}

static int joiner_gc(lua_State *L) {
    struct joiner *j = luaL_checkudata(L, 1, JOINER);
    list_unlink(&j->link);
    return 0;
}

static int handle_kill(lua_State *L) {
    struct handle *h = check(L);
    bool runs = h->child && !h->words;
    lua_pushboolean(L, runs);
    if (runs) child_kill(h->child);
    return 1;
}

static int set_paused(lua_State *L, bool paused) {
    struct handle *h = check(L);
    if (h->child) child_pause(h->child, paused);
    lua_settop(L, 1);
    return 1;
}

static int handle_pause(lua_State *L) {
    return set_paused(L, true);
}

static int handle_resume(lua_State *L) {
    return set_paused(L, false);
}

static int handle_on_exit(lua_State *L) {
    struct handle *h = check(L);
    luaL_checktype(L, 2, LUA_TFUNCTION);
    lua_settop(L, 2);
    lua_setiuservalue(L, 1, AT_ON_EXIT);
    if (h->words) tell_on_exit(L, h);
    return 1;
}

static int handle_sender(lua_State *L) {
    check(L);
    lua_getiuservalue(L, 1, AT_SENDER);
    return 1;
}

bool isolate_push_sender(lua_State *L, int index) {
    if (!luaL_testudata(L, index, HANDLE)) return false;
    lua_getiuservalue(L, index, AT_SENDER);
    return true;
}

static int handle_status(lua_State *L) {
    const struct handle *h = check(L);
    lua_pushstring(L, h->words && h->words->failed ? "failed"
                      : h->child && !h->words      ? "running"
                                                   : "done");
    return 1;
}

static int handle_text(lua_State *L) {
    const struct handle *h = check(L);
    lua_pushfstring(L, "isolate (%s)", h->child ? h->child->isolate.name : "collected");
    return 1;
}

/* spawn(module, argument, name, detached, inbox, memory): checked by the Lua half. */
static int spawn(lua_State *L) {
    size_t len;
    const char *module = luaL_checklstring(L, 1, &len);
    const char *name = luaL_optstring(L, 3, "");
    bool detached = lua_toboolean(L, 4);
    lua_Integer inbox = luaL_optinteger(L, 5, INBOX);
    lua_Integer memory = luaL_optinteger(L, 6, 0);
    struct generation *g = generation_of(L);
    const struct app_options *o = ((struct app *)g->app)->options;
    if (!g->isolate)
        return luaL_error(L,
                          "atoll.isolate.spawn cannot be called while the app loads; "
                          "call it in on(\"start\")");
    if (!o->nursery) return luaL_error(L, "isolates cannot be spawned here");
    struct handle *h = lua_newuserdatauv(L, sizeof *h, 2);
    *h = (struct handle){.generation = g, .detached = detached};
    list_init(&h->joiners);
    luaL_setmetatable(L, HANDLE);
    void *sender = sender_push_empty(L); /* nothing may raise once it runs */
    lua_setiuservalue(L, -2, AT_SENDER);
    struct desk *d = desk_find(L);
    lua_newtable(L);
    int at = lua_gettop(L);
    lua_rawgetp(L, LUA_REGISTRYINDEX, CHILDREN);
    lua_pushvalue(L, at - 1);
    struct message *m = desk_pack(L, d, 2, at);
    h->exit = port_new(&g->isolate->loop, 1, ended, h);
    lua_rawsetp(L, -2, h);
    lua_pop(L, 1);
    int err = desk_load(L, m, at);
    struct script *s = err ? NULL : malloc(sizeof *s + len + 1);
    if (!err) err = -ENOMEM;
    if (s && h->exit) {
        memcpy(s->name, module, len + 1);
        s->options = *o;
        s->options.child = true;
        s->options.out_of_memory = exhausted;
        s->options.exit = exited;
        struct child_plan plan = {.state = *g->plan,
                                  .begin = begin,
                                  .done = script_done,
                                  .data = s,
                                  .argument = m};
        plan.state.data = &s->options;
        if (memory) plan.state.memory = (size_t)memory;
        snprintf(plan.name, sizeof plan.name, "%s", name);
        if (o->copied) o->copied(&s->options);
        h->child = child_start(o->nursery, &plan, (unsigned)inbox, h->exit, &err);
        if (h->child)
            desk_take(d);
        else if (o->closed)
            o->closed(&s->options);
    }
    if (!h->child) {
        free(s);
        desk_unload(L, m, at);
        desk_forget(L, d, m, at);
        message_discard(desk_take(d));
        lua_rawgetp(L, LUA_REGISTRYINDEX, CHILDREN);
        lua_pushnil(L);
        lua_rawsetp(L, -2, h);
        luaL_pushfail(L);
        lua_pushfstring(L, "cannot spawn an isolate: %s", err_text(err));
        lua_pushstring(L, err_name(err));
        return 3;
    }
    lua_settop(L, at - 1);
    struct span called = span_str(name);
    if (g->plan->commons && called.len && called.len <= NAMES_LEN_MAX)
        /* unless it is taken */
        names_put(g->plan->commons->names, called, h->child->inbox, NULL);
    sender_fill(sender, h->child->inbox);
    return 1;
}

static int inbox(lua_State *L) {
    struct isolate *i = generation_of(L)->isolate;
    struct child *c = i ? child_of(i) : NULL;
    if (!c) return 0;
    port_adopt(L, c->inbox);
    return 1;
}

static int name(lua_State *L) {
    struct isolate *i = generation_of(L)->isolate;
    lua_pushstring(L, i ? i->name : NULL);
    return 1;
}

static const luaL_Reg methods[] = {
    {"join", handle_join},       {"kill", handle_kill},
    {"on_exit", handle_on_exit}, {"pause", handle_pause},
    {"resume", handle_resume},   {"sender", handle_sender},
    {"status", handle_status},   {"__gc", handle_gc},
    {"__tostring", handle_text}, {NULL, NULL},
};

static void new_finalized(lua_State *L, const char *type, lua_CFunction gc) {
    luaL_newmetatable(L, type);
    lua_pushcfunction(L, gc);
    lua_setfield(L, -2, "__gc");
    lua_pop(L, 1);
}

int luaopen_atoll_core_isolate(lua_State *L) {
    static const luaL_Reg functions[] = {
        {"inbox", inbox}, {"name", name}, {"spawn", spawn}, {NULL, NULL}};
    new_finalized(L, JOINER, joiner_gc);
    lua_newtable(L);
    lua_rawsetp(L, LUA_REGISTRYINDEX, CHILDREN);
    luaL_newlib(L, functions);
    lua_pushinteger(L, BUDGET_LEAST);
    lua_setfield(L, -2, "memory_least");
    luaL_newmetatable(L, HANDLE);
    luaL_setfuncs(L, methods, 0);
    sender_lend(L);
    lua_pushvalue(L, -1);
    lua_setfield(L, -2, "__index");
    lua_setfield(L, -2, "methods");
    return 1;
}
