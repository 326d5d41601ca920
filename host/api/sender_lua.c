#include "api/sender_lua.h"

#include "api/isolate_lua.h"
#include "api/timer_lua.h"
#include "base/err.h"
#include "isolate/commons.h"
#include "isolate/generation.h"
#include "isolate/isolate.h"

#include <lauxlib.h>

static const char SENDER[] = "atoll.sender", OUTGOING[] = "atoll.outgoing";

struct sender {
    struct port *port;
};

/* A message on its way out of a fiber that waits for room, an answer or a receipt; its
 * user value is the list of its cargo. */
struct outgoing {
    struct desk *desk;
    struct port *port; /* a reference */
    struct message *m; /* until it is put */
    struct port_wait *room;
    size_t charged; /* to the state while the message waits here */
    struct desk_call call;
    bool transfer, closes;
};

/* ---- senders ---- */

void *sender_push_empty(lua_State *L) {
    struct sender *s = lua_newuserdatauv(L, sizeof *s, 0);
    s->port = NULL;
    luaL_setmetatable(L, SENDER);
    return s;
}

void sender_fill(void *sender, struct port *p) {
    ((struct sender *)sender)->port = port_ref(p);
}

void sender_push(lua_State *L, struct port *p) {
    sender_fill(sender_push_empty(L), p);
}

bool sender_push_named(lua_State *L, struct span name) {
    struct sender *s = lua_newuserdatauv(L, sizeof *s, 0);
    s->port = NULL;
    luaL_setmetatable(L, SENDER);
    s->port = names_find(generation_of(L)->plan->commons->names, name);
    if (s->port) return true;
    lua_pop(L, 1);
    return false;
}

struct port *sender_check(lua_State *L, int index) {
    struct sender *s = luaL_checkudata(L, index, SENDER);
    return s->port;
}

struct port *sender_check_either(lua_State *L, int index) {
    if (isolate_push_sender(L, index)) lua_replace(L, index);
    struct sender *s = luaL_testudata(L, index, SENDER);
    luaL_argexpected(L, s, index, "sender or isolate");
    return s->port;
}

static const char *refuse(void *userdata) {
    (void)userdata;
    return NULL;
}

static void *sender_take(void *userdata) {
    return port_ref(((struct sender *)userdata)->port);
}

static void drop(void *core) {
    port_unref(core);
}

static void make(lua_State *L, void *core) {
    struct sender *s = lua_newuserdatauv(L, sizeof *s, 0);
    (void)core;
    s->port = NULL;
    luaL_setmetatable(L, SENDER);
}

static void put(void *userdata, void *core, struct loop *l) {
    struct sender *s = userdata;
    (void)l;
    if (s->port)
        port_unref(core);
    else
        s->port = core;
}

static void *copy(void *core) {
    return port_ref(core);
}

static const struct cargo_kind kind = {.name = "sender",
                                       .refuse = refuse,
                                       .take = sender_take,
                                       .make = make,
                                       .put = put,
                                       .drop = drop,
                                       .copy = copy};

static int sender_gc(lua_State *L) {
    struct sender *s = luaL_checkudata(L, 1, SENDER);
    if (s->port) port_unref(s->port);
    s->port = NULL;
    return 0;
}

static int sender_equal(lua_State *L) {
    const struct sender *a = luaL_testudata(L, 1, SENDER),
                        *b = luaL_testudata(L, 2, SENDER);
    lua_pushboolean(L, a && b && a->port == b->port);
    return 1;
}

static int sender_text(lua_State *L) {
    lua_pushfstring(L, "sender: %p", (void *)sender_check(L, 1));
    return 1;
}

static int sender_closed(lua_State *L) {
    lua_pushboolean(L, port_is_closed(sender_check(L, 1)));
    return 1;
}

/* ---- send ---- */

enum { AT_SENDER = 1, AT_OUTGOING = 2, AT_LIST = 3 };

static void has_room(struct port_wait *w) {
    struct outgoing *o = w->user;
    if (waiter_is_set(&o->call.waiter)) {
        sched_wake(&o->call.waiter, WAKE_EVENT);
        return;
    }
    /* It was cancelled, or is late: the next one is to be told. */
    port_wait_end(w);
    o->room = NULL;
}

static void discharge(struct outgoing *o) {
    budget_discharge(generation_of(o->desk->L), o->charged);
    o->charged = 0;
}

static void clear(struct outgoing *o) {
    discharge(o);
    if (o->room) port_wait_end(o->room);
    o->room = NULL;
    message_discard(o->m); /* nobody is to be told: the asker itself gives up */
    o->m = NULL;
    message_free(o->call.answer);
    o->call.answer = NULL;
    list_unlink(&o->call.link);
    if (o->port) port_unref(o->port);
    o->port = NULL;
}

/* What is transferred and has not been taken yet comes back. */
static bool withdraw(lua_State *L, struct outgoing *o, int list) {
    if (!o->transfer || o->m || o->call.answer || !o->port || o->desk->over)
        return false;
    o->m = port_withdraw(o->port, o->desk->answers, o->call.number);
    if (o->m) desk_unload(L, o->m, list);
    return o->m != NULL;
}

/* The wait was cancelled, or is over. */
static int outgoing_close(lua_State *L) {
    struct outgoing *o = luaL_checkudata(L, 1, OUTGOING);
    lua_settop(L, 1);
    lua_getiuservalue(L, 1, 1);
    withdraw(L, o, 2);
    clear(o);
    return 0;
}

static int outgoing_gc(lua_State *L) {
    clear(luaL_checkudata(L, 1, OUTGOING));
    return 0;
}

/* From sender, value, to sender, outgoing, list. */
static struct outgoing *lay_out(lua_State *L, struct desk *d) {
    lua_settop(L, 2);
    struct outgoing *o = lua_newuserdatauv(L, sizeof *o, 1);
    *o = (struct outgoing){.desk = d};
    list_init(&o->call.link);
    luaL_setmetatable(L, OUTGOING);
    o->port = port_ref(((struct sender *)lua_touserdata(L, AT_SENDER))->port);
    lua_newtable(L); /* one of its own: it may wait */
    lua_pushvalue(L, -1);
    lua_setiuservalue(L, 3, 1);
    desk_pack(L, d, 2, 4);
    o->m = desk_take(d);
    lua_remove(L, 2);
    return o;
}

/* A cancel ends everything at once. */
static void close_with_fiber(lua_State *L, struct outgoing *o) {
    if (o->closes) return;
    lua_toclose(L, AT_OUTGOING);
    o->closes = true;
}

static int answered(lua_State *L, int status, lua_KContext deadline);

/* o->m is sent, or has failed to be for good. */
static int sent(lua_State *L, struct outgoing *o, int err, lua_KContext deadline) {
    if (o->room) port_wait_end(o->room);
    o->room = NULL;
    discharge(o);
    if (err)
        desk_forget(L, o->desk, o->m, AT_LIST);
    else
        o->m = NULL;
    if (err || !o->call.number) {
        clear(o);
        if (err) return desk_failed(L, err);
        lua_pushboolean(L, true);
        return 1;
    }
    if (o->transfer) close_with_fiber(L, o);
    if (o->call.answer) return answered(L, LUA_OK, deadline);
    return sched_park(L, &o->call.waiter, deadline, answered, deadline);
}

static int try_again(lua_State *L, int status, lua_KContext deadline) {
    struct outgoing *o = lua_touserdata(L, AT_OUTGOING);
    if (status == LUA_YIELD && sched_woke(L) == WAKE_TIMEOUT)
        return sent(L, o, -ETIMEDOUT, deadline);
    int err = desk_put(L, o->desk, o->port, o->m, AT_LIST, o->room);
    return sent(L, o, err, deadline);
}

static int begin(lua_State *L, struct outgoing *o, lua_KContext deadline);

static int begin_later(lua_State *L, int status, lua_KContext deadline) {
    (void)status;
    return begin(L, lua_touserdata(L, AT_OUTGOING), deadline);
}

/* The first try, and the wait for room. */
static int begin(lua_State *L, struct outgoing *o, lua_KContext deadline) {
    if (desk_is_early(L, o->m, AT_LIST)) {
        close_with_fiber(L, o);
        return sched_park(L, NULL, 1, begin_later, deadline);
    }
    int err = desk_put(L, o->desk, o->port, o->m, AT_LIST, NULL);
    if (err != -EAGAIN) return sent(L, o, err, deadline);
    sched_check_waitable(L);
    budget_charge(L, o->m->len);
    o->charged = o->m->len;
    o->room = port_wait_for_room(o->port, o->m->len, sched_of(L)->loop, has_room, o);
    if (!o->room) return sent(L, o, -ENOMEM, deadline);
    close_with_fiber(L, o);
    return sched_park(L, &o->call.waiter, deadline, try_again, deadline);
}

static int sender_send(lua_State *L) {
    struct desk *d = desk_of(L);
    struct port *p = sender_check_either(L, 1);
    luaL_checkany(L, 2);
    int64_t deadline = timer_opt_deadline(L, 3);
    /* What finds room needs nothing that has to be collected. */
    lua_settop(L, 2);
    desk_push_list(L, d);
    struct message *m = desk_pack(L, d, 2, 3);
    bool travels = m->cargo != NULL;
    bool early = travels && desk_is_early(L, m, 3);
    int err = early ? -EAGAIN : desk_put(L, d, p, m, 3, NULL);
    if (err) desk_forget(L, d, m, 3);
    if (travels) desk_clear_list(L, 3);
    if (err == 0) {
        lua_pushboolean(L, true);
        return 1;
    }
    message_discard(desk_take(d));
    if (err != -EAGAIN) return desk_failed(L, err);
    return begin(L, lay_out(L, d), deadline);
}

/* ---- calls ---- */

static int answered(lua_State *L, int status, lua_KContext deadline) {
    struct outgoing *o = lua_touserdata(L, AT_OUTGOING);
    struct message *m = o->call.answer;
    (void)deadline;
    if (!m) {
        bool late = status == LUA_YIELD && sched_woke(L) == WAKE_TIMEOUT;
        /* Taken, but not yet confirmed: it is known which within a moment. */
        if (late && o->transfer && !withdraw(L, o, AT_LIST))
            return sched_park(L, &o->call.waiter, 0, answered, 0);
        clear(o);
        return desk_failed(L, late ? -ETIMEDOUT : ERR_CLOSED);
    }
    o->call.answer = NULL;
    clear(o);
    if (m->failed || o->transfer) {
        bool failed = m->failed;
        message_free(m);
        if (failed) return desk_failed(L, ERR_CLOSED);
        lua_pushboolean(L, true);
        return 1;
    }
    desk_accept(L, o->desk, m);
    message_free(desk_unpack(L, o->desk, m));
    return 1;
}

static int sender_call(lua_State *L) {
    struct desk *d = desk_of(L);
    sender_check_either(L, 1);
    luaL_checkany(L, 2);
    int64_t deadline = timer_opt_deadline(L, 3);
    sched_check_waitable(L);
    struct outgoing *o = lay_out(L, d);
    desk_answers(L, d);
    desk_expect(d, &o->call, o->m, WANTS_ANSWER);
    return begin(L, o, deadline);
}

/* ---- transfers ---- */

/* By a sender of who has that name; or pushes what tells that nobody does. */
static bool replace_name(lua_State *L, int index) {
    size_t len;
    const char *name = lua_tolstring(L, index, &len);
    struct commons *c = generation_of(L)->plan->commons;
    if (c && sender_push_named(L, span_of(name, len))) {
        lua_replace(L, index);
        return true;
    }
    luaL_pushfail(L);
    lua_pushfstring(L, "nobody has the name '%s'", name);
    lua_pushstring(L, err_name(ERR_NOT_FOUND));
    return false;
}

int sender_transfer(lua_State *L) {
    const struct cargo_kind *moves = cargo_kind_of(L, 1);
    luaL_argexpected(L, moves && cargo_moves(moves), 1,
                     "something that can be transferred");
    int64_t deadline = timer_opt_deadline(L, 3);
    if (cargo_is_over(moves, lua_touserdata(L, 1))) return desk_failed(L, ERR_CLOSED);
    const char *why = moves->refuse(lua_touserdata(L, 1));
    if (why) return luaL_error(L, "%s", why);
    struct desk *d = desk_find(L);
    lua_settop(L, 2);
    if (lua_type(L, 2) == LUA_TSTRING && !replace_name(L, 2)) return 3;
    sender_check_either(L, 2);
    sched_check_waitable(L);
    lua_insert(L, 1);
    struct outgoing *o = lay_out(L, d);
    o->transfer = true;
    desk_expect(d, &o->call, o->m, WANTS_RECEIPT);
    return begin(L, o, deadline);
}

static const luaL_Reg methods[] = {
    {"call", sender_call},  {"closed", sender_closed}, {"send", sender_send},
    {"__eq", sender_equal}, {"__gc", sender_gc},       {"__tostring", sender_text},
    {NULL, NULL},
};

static void class(lua_State *L, const char *name, const luaL_Reg *functions) {
    luaL_newmetatable(L, name);
    lua_pushvalue(L, -2);
    luaL_setfuncs(L, functions, 1);
    lua_pushvalue(L, -1);
    lua_setfield(L, -2, "__index");
}

void sender_open(lua_State *L) {
    static const luaL_Reg outgoing[] = {
        {"__close", outgoing_close}, {"__gc", outgoing_gc}, {NULL, NULL}};
    class(L, OUTGOING, outgoing);
    lua_pop(L, 1);
    class(L, SENDER, methods);
    lua_pushboolean(L, false);
    lua_setfield(L, -2, "__metatable");
    cargo_mark(L, &kind);
    lua_pop(L, 1);
}

void sender_lend(lua_State *L) {
    static const char *const names[] = {"send", "call"};
    desk_find(L); /* then the class is known */
    luaL_getmetatable(L, SENDER);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        lua_getfield(L, -1, names[i]);
        lua_setfield(L, -3, names[i]);
    }
    lua_pop(L, 1);
}
