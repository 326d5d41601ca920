#include "api/sender_lua.h"

#include "api/timer_lua.h"
#include "base/err.h"
#include "isolate/generation.h"
#include "isolate/isolate.h"

#include <lauxlib.h>

static const char SENDER[] = "atoll.sender", OUTGOING[] = "atoll.outgoing";

enum { UNBOUNDED = 1 << 30 }; /* answers: as many as there are calls */

struct sender {
    struct port *port;
};

/* A message on its way out of a fiber that waits for room or for an answer; its user
 * value is the list of its cargo. */
struct outgoing {
    struct message *m;
    struct port_wait *room;
    struct waiter waiter;
    struct link call; /* of the desk's */
    uint64_t number;
    struct message *answer;
};

/* ---- senders ---- */

void sender_push(lua_State *L, struct port *p) {
    struct sender *s = lua_newuserdatauv(L, sizeof *s, 0);
    s->port = NULL;
    luaL_setmetatable(L, SENDER);
    s->port = port_ref(p);
}

struct port *sender_check(lua_State *L, int index) {
    struct sender *s = luaL_checkudata(L, index, SENDER);
    return s->port;
}

static void any(lua_State *L, int index) {
    (void)L, (void)index;
}

static void *sender_take(void *userdata) {
    return port_ref(((struct sender *)userdata)->port);
}

static void sender_drop(void *core) {
    port_unref(core);
}

static void sender_put_back(void *userdata, void *core) {
    (void)userdata;
    port_unref(core);
}

static void sender_give(lua_State *L, void *core) {
    sender_push(L, core);
    port_unref(core);
}

static void *sender_copy(void *core) {
    return port_ref(core);
}

static const struct cargo_kind kind = {
    .name = "sender",
    .check = any,
    .take = sender_take,
    .put_back = sender_put_back,
    .give = sender_give,
    .drop = sender_drop,
    .copy = sender_copy,
};

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

static struct outgoing *new_outgoing(lua_State *L) {
    struct outgoing *o = lua_newuserdatauv(L, sizeof *o, 1);
    *o = (struct outgoing){0};
    list_init(&o->call);
    luaL_setmetatable(L, OUTGOING);
    return o;
}

static void outgoing_clear(struct outgoing *o) {
    if (o->room) port_wait_end(o->room);
    o->room = NULL;
    if (o->m) {
        /* Nobody is to be told: it is the asker itself that gives up. */
        if (o->m->reply) port_unref(o->m->reply);
        o->m->reply = NULL;
        message_free(o->m);
    }
    o->m = NULL;
    message_free(o->answer);
    o->answer = NULL;
    list_unlink(&o->call);
}

static int outgoing_gc(lua_State *L) {
    outgoing_clear(luaL_checkudata(L, 1, OUTGOING));
    return 0;
}

static void has_room(struct port_wait *w) {
    struct outgoing *o = w->user;
    if (waiter_is_set(&o->waiter)) {
        sched_wake(&o->waiter, WAKE_EVENT);
        return;
    }
    /* It was cancelled, or is late: the next one is to be told. */
    port_wait_end(w);
    o->room = NULL;
}

enum { AT_SENDER = 1, AT_OUTGOING = 2, AT_LIST = 3 };

static int answered(lua_State *L, int status, lua_KContext deadline);

/* o->m is sent, or has failed to be for good. */
static int sent(lua_State *L, struct outgoing *o, int err, lua_KContext deadline) {
    if (o->room) port_wait_end(o->room);
    o->room = NULL;
    if (err == 0) o->m = NULL;
    if (err || !o->number) {
        outgoing_clear(o);
        if (err) return desk_failed(L, err);
        lua_pushboolean(L, true);
        return 1;
    }
    if (o->answer) return answered(L, LUA_OK, deadline);
    return sched_park(L, &o->waiter, deadline, answered, deadline);
}

static int try_again(lua_State *L, int status, lua_KContext deadline) {
    struct outgoing *o = lua_touserdata(L, AT_OUTGOING);
    struct port *p = ((struct sender *)lua_touserdata(L, AT_SENDER))->port;
    if (status == LUA_YIELD && sched_woke(L) == WAKE_TIMEOUT)
        return sent(L, o, -ETIMEDOUT, deadline);
    desk_check_cargo(L, AT_LIST);
    return sent(L, o, desk_put(L, p, o->m, AT_LIST, o->room), deadline);
}

/* The first try, and the wait for room. */
static int begin(lua_State *L, struct outgoing *o, lua_KContext deadline) {
    struct port *p = ((struct sender *)lua_touserdata(L, AT_SENDER))->port;
    desk_check_cargo(L, AT_LIST);
    int err = desk_put(L, p, o->m, AT_LIST, NULL);
    if (err != -EAGAIN) return sent(L, o, err, deadline);
    sched_check_waitable(L);
    o->room = port_wait_for_room(p, sched_of(L)->loop, has_room, o);
    if (!o->room) return sent(L, o, -ENOMEM, deadline);
    lua_toclose(L, AT_OUTGOING); /* a cancel gives the room back at once */
    return sched_park(L, &o->waiter, deadline, try_again, deadline);
}

/* From sender, value, to sender, outgoing, list. */
static struct outgoing *lay_out(lua_State *L) {
    lua_settop(L, 2);
    struct outgoing *o = new_outgoing(L);
    lua_newtable(L); /* one of its own: it may wait */
    o->m = desk_pack(L, 2, 4);
    lua_remove(L, 2);
    return o;
}

static int sender_send(lua_State *L) {
    struct port *p = sender_check(L, 1);
    luaL_checkany(L, 2);
    int64_t deadline = timer_opt_deadline(L, 3);
    /* What has no cargo and finds room needs nothing that has to be collected. */
    lua_settop(L, 2);
    desk_push_list(L);
    struct message *m = desk_pack(L, 2, 3);
    int err = m->cargo ? -EAGAIN : port_put(p, m, NULL);
    if (err == 0) {
        lua_pushboolean(L, true);
        return 1;
    }
    message_free(m);
    if (err != -EAGAIN) return desk_failed(L, err);
    return begin(L, lay_out(L), deadline);
}

/* ---- calls ---- */

static void take_answers(struct port *p) {
    struct desk *d = p->user;
    struct message *m;
    while ((m = port_take(p))) {
        struct outgoing *o = NULL;
        for (struct link *l = d->calls.next; l != &d->calls && !o; l = l->next) {
            struct outgoing *at = LIST_OF(l, struct outgoing, call);
            if (at->number == m->call) o = at;
        }
        if (!o) { /* it waits no longer */
            message_free(m);
            continue;
        }
        list_unlink(&o->call);
        o->answer = m;
        sched_wake(&o->waiter, WAKE_EVENT);
    }
}

static int answered(lua_State *L, int status, lua_KContext deadline) {
    struct outgoing *o = lua_touserdata(L, AT_OUTGOING);
    struct message *m = o->answer;
    (void)deadline;
    if (!m) {
        bool late = status == LUA_YIELD && sched_woke(L) == WAKE_TIMEOUT;
        outgoing_clear(o);
        return desk_failed(L, late ? -ETIMEDOUT : ERR_CLOSED);
    }
    o->answer = NULL;
    outgoing_clear(o);
    if (m->failed) {
        message_free(m);
        return desk_failed(L, ERR_CLOSED);
    }
    struct desk *d = desk_of(L);
    desk_unpack(L, d, m);
    desk_take_back(d, m);
    message_free(m);
    return 1;
}

static int sender_call(lua_State *L) {
    struct desk *d = desk_of(L);
    sender_check(L, 1);
    luaL_checkany(L, 2);
    int64_t deadline = timer_opt_deadline(L, 3);
    sched_check_waitable(L);
    struct outgoing *o = lay_out(L);
    if (!d->answers)
        d->answers = port_new(sched_of(L)->loop, UNBOUNDED, take_answers, d);
    if (!d->answers) return luaL_error(L, "not enough memory");
    o->number = ++d->asked;
    o->m->reply = port_ref(d->answers);
    o->m->call = o->number;
    list_append(&d->calls, &o->call);
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
        {"__close", outgoing_gc}, {"__gc", outgoing_gc}, {NULL, NULL}};
    class(L, OUTGOING, outgoing);
    lua_pop(L, 1);
    class(L, SENDER, methods);
    lua_pushboolean(L, false);
    lua_setfield(L, -2, "__metatable");
    cargo_mark(L, &kind);
    lua_pop(L, 1);
}
