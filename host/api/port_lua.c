#include "api/port_lua.h"

#include "api/desk.h"
#include "api/sender_lua.h"
#include "api/timer_lua.h"
#include "base/err.h"
#include "isolate/commons.h"
#include "isolate/generation.h"
#include "isolate/isolate.h"

#include <lauxlib.h>

/* NOBODY is also the registry's key of the one note of all messages that want no
 * answer. */
static const char PORT[] = "atoll.port", MESSAGE[] = "atoll.message",
                  NOBODY[] = "atoll.message.nobody";

enum { CAPACITY = 1000, CAPACITY_MAX = 1 << 24 };

struct receiver {
    struct port *port; /* NULL when closed */
    struct waiter waiter;
};

/* The second result of receive. */
struct note {
    struct message *question; /* NULL: nobody waits, or answered */
};

/* ---- receiving ---- */

static struct receiver *check_port(lua_State *L) {
    return luaL_checkudata(L, 1, PORT);
}

static void arrived(struct port *p) {
    struct receiver *r = p->user;
    if (waiter_is_set(&r->waiter)) sched_wake(&r->waiter, WAKE_EVENT);
}

static struct note *push_note(lua_State *L, bool wanted) {
    if (!wanted) {
        lua_rawgetp(L, LUA_REGISTRYINDEX, NOBODY);
        return NULL;
    }
    struct note *n = lua_newuserdatauv(L, sizeof *n, 0);
    n->question = NULL;
    luaL_setmetatable(L, MESSAGE);
    return n;
}

/* Pushes the value and the note. The value comes last: what was taken out of a message
 * must not be lost. */
static int push_message(lua_State *L, struct message *m) {
    struct desk *d = desk_of(L);
    desk_accept(L, d, m);
    struct note *n = push_note(L, m->wants == WANTS_ANSWER);
    desk_unpack(L, d, m);
    lua_insert(L, -2);
    if (n)
        n->question = m;
    else
        message_free(m);
    return 2;
}

static int receive(lua_State *L, int status, lua_KContext deadline);

static int receive_on(lua_State *L, int status, lua_KContext deadline) {
    (void)status;
    return receive(L, LUA_OK, deadline);
}

static int receive(lua_State *L, int status, lua_KContext deadline) {
    struct receiver *r = lua_touserdata(L, 1);
    if (status == LUA_OK && sched_overstays(L))
        return sched_park(L, NULL, 1, receive_on, deadline);
    if (!r->port) return desk_failed(L, ERR_CLOSED);
    struct message *m = port_take(r->port);
    if (m) return push_message(L, m);
    if (status == LUA_YIELD && sched_woke(L) == WAKE_TIMEOUT)
        return desk_failed(L, -ETIMEDOUT);
    return sched_park(L, &r->waiter, deadline, receive, deadline);
}

static int port_receive(lua_State *L) {
    check_port(L);
    int64_t deadline = timer_opt_deadline(L, 2);
    lua_settop(L, 1);
    return receive(L, LUA_OK, deadline);
}

static int next_message(lua_State *L) {
    lua_settop(L, 0);
    lua_pushvalue(L, lua_upvalueindex(2));
    return receive(L, LUA_OK, 0);
}

static int port_messages(lua_State *L) {
    check_port(L);
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_pushvalue(L, 1);
    lua_pushcclosure(L, next_message, 2);
    return 1;
}

static int port_sender(lua_State *L) {
    struct receiver *r = check_port(L);
    if (!r->port) return desk_failed(L, ERR_CLOSED);
    sender_push(L, r->port);
    return 1;
}

static int port_shut(lua_State *L) {
    struct receiver *r = check_port(L);
    if (!r->port) return 0;
    struct port *p = r->port;
    r->port = NULL;
    port_close(p);
    if (generation_of(L)->plan->commons)
        names_forget(generation_of(L)->plan->commons->names, p);
    port_unref(p);
    sched_wake(&r->waiter, WAKE_EVENT);
    return 0;
}

static int port_length(lua_State *L) {
    struct receiver *r = check_port(L);
    lua_pushinteger(L, r->port ? port_count(r->port) : 0);
    return 1;
}

static int port_text(lua_State *L) {
    struct receiver *r = check_port(L);
    if (r->port)
        lua_pushfstring(L, "port: %p", (void *)r->port);
    else
        lua_pushliteral(L, "port (closed)");
    return 1;
}

void port_adopt(lua_State *L, struct port *p) {
    struct receiver *r = lua_newuserdatauv(L, sizeof *r, 0);
    *r = (struct receiver){0};
    luaL_setmetatable(L, PORT);
    r->port = port_ref(p);
    p->arrived = arrived;
    p->user = r;
}

/* atoll.port([capacity]) */
static int new_port(lua_State *L) {
    lua_Integer capacity = luaL_optinteger(L, 1, CAPACITY);
    luaL_argcheck(L, capacity >= 1 && capacity <= CAPACITY_MAX, 1,
                  "the capacity is a number of messages, at least 1");
    struct isolate *i = generation_of(L)->isolate;
    if (!i)
        return luaL_error(L, "atoll.port cannot be called while the app loads; "
                             "call it in on(\"start\")");
    struct receiver *r = lua_newuserdatauv(L, sizeof *r, 0);
    *r = (struct receiver){0};
    luaL_setmetatable(L, PORT);
    r->port = port_new(&i->loop, (unsigned)capacity, arrived, r);
    if (!r->port) return budget_raise(L);
    return 1;
}

/* ---- answering ---- */

static int nobody_waits(lua_State *L) {
    luaL_pushfail(L);
    lua_pushliteral(L, "nobody waits for an answer");
    lua_pushstring(L, err_name(-EINVAL));
    return 3;
}

static int note_reply(lua_State *L) {
    struct note *n = luaL_checkudata(L, 1, MESSAGE);
    struct desk *d = desk_of(L);
    luaL_checkany(L, 2);
    if (!n->question) return nobody_waits(L);
    lua_settop(L, 2);
    lua_newtable(L);
    struct message *m = desk_pack(L, d, 2, 3);
    if (!n->question) return nobody_waits(L); /* a finalizer has answered */
    if (desk_is_over(L, m, 3)) {              /* something else can still be answered */
        desk_forget(L, d, m, 3);
        message_discard(desk_take(d));
        return desk_failed(L, ERR_CLOSED);
    }
    m->call = n->question->call;
    int err = desk_put_answer(L, d, n->question->reply, m, 3);
    if (err) desk_forget(L, d, m, 3);
    if (err) message_discard(desk_take(d));
    message_discard(n->question);
    n->question = NULL;
    if (err) return desk_failed(L, err);
    lua_pushboolean(L, true);
    return 1;
}

static int note_wanted(lua_State *L) {
    const struct note *n = luaL_checkudata(L, 1, MESSAGE);
    lua_pushboolean(L, n->question != NULL);
    return 1;
}

/* Dropped without an answer: who asked is told. */
static int note_gc(lua_State *L) {
    struct note *n = luaL_checkudata(L, 1, MESSAGE);
    struct message *question = n->question;
    n->question = NULL;
    message_free(question);
    return 0;
}

/* ---- names ---- */

static struct span check_name(lua_State *L) {
    struct span name;
    name.at = luaL_checklstring(L, 1, &name.len);
    luaL_argcheck(L, name.len > 0 && name.len <= NAMES_LEN_MAX, 1,
                  "a name has 1 to 255 bytes");
    if (!generation_of(L)->plan->commons) luaL_error(L, "there are no names here");
    return name;
}

/* atoll.register(name, sender); nil for the sender gives the name back. */
static int register_name(lua_State *L) {
    struct span name = check_name(L);
    struct names *all = generation_of(L)->plan->commons->names;
    lua_settop(L, 2);
    struct port *p = lua_isnil(L, 2) ? NULL : sender_check_either(L, 2);
    int err = 0;
    if (p)
        err = names_put(all, name, p, budget_charge_tally(L, NAMES_COST + name.len));
    else
        names_drop(all, name);
    if (err == ERR_MEMORY) return budget_raise(L);
    if (err == -EEXIST) {
        luaL_pushfail(L);
        lua_pushliteral(L, "taken");
        lua_pushstring(L, err_name(err));
        return 3;
    }
    if (err) return desk_failed(L, err);
    lua_pushboolean(L, true);
    return 1;
}

/* atoll.lookup(name) */
static int lookup_name(lua_State *L) {
    if (!sender_push_named(L, check_name(L))) luaL_pushfail(L);
    return 1;
}

static const luaL_Reg port_methods[] = {
    {"close", port_shut},    {"messages", port_messages}, {"receive", port_receive},
    {"sender", port_sender}, {"__close", port_shut},      {"__gc", port_shut},
    {"__len", port_length},  {"__tostring", port_text},   {NULL, NULL},
};

static const luaL_Reg message_methods[] = {
    {"reply", note_reply}, {"wanted", note_wanted},
    {"__close", note_gc},  {"__gc", note_gc},
    {NULL, NULL},
};

/* With the desk on top, which stays. */
static void class(lua_State *L, const char *name, const luaL_Reg *methods) {
    luaL_newmetatable(L, name);
    lua_pushvalue(L, -2);
    luaL_setfuncs(L, methods, 1);
    lua_pushvalue(L, -1);
    lua_setfield(L, -2, "__index");
    lua_pushboolean(L, false);
    lua_setfield(L, -2, "__metatable");
    lua_pop(L, 1);
}

int luaopen_atoll_core_port(lua_State *L) {
    desk_push(L);
    sender_open(L);
    class(L, PORT, port_methods);
    class(L, MESSAGE, message_methods);
    struct note *nobody = lua_newuserdatauv(L, sizeof *nobody, 0);
    nobody->question = NULL;
    luaL_setmetatable(L, MESSAGE);
    lua_rawsetp(L, LUA_REGISTRYINDEX, NOBODY);
    lua_createtable(L, 0, 3);
    lua_insert(L, -2);
    lua_pushcclosure(L, new_port, 1);
    lua_setfield(L, -2, "port");
    lua_pushcfunction(L, register_name);
    lua_setfield(L, -2, "register");
    lua_pushcfunction(L, lookup_name);
    lua_setfield(L, -2, "lookup");
    return 1;
}
