#include "api/topic_lua.h"

#include "api/desk.h"
#include "api/timer_lua.h"
#include "base/err.h"
#include "isolate/commons.h"
#include "isolate/generation.h"
#include "isolate/isolate.h"
#include "isolate/pack.h"
#include "isolate/topic.h"

#include <inttypes.h>
#include <lauxlib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char TOPIC[] = "atoll.topic", SUBSCRIPTION[] = "atoll.subscription",
                  DRAFT[] = "atoll.topic.draft", HELD[] = "atoll.topic.held";

enum {
    NAME_MAX_LEN = 255,
    CAPACITY = 1000,
    CAPACITY_MAX = 1 << 24,
    HISTORY_MAX = 1 << 20,
    ECHO_LEAST = 64,  /* shorter strings are cheap enough */
    KEEP = 64 * 1024, /* of a packing buffer */
};

/* User values of the first upvalue of all methods: the string that was read last; a
 * draft, when nobody uses it. */
enum { TEXT = 1, SPARE, USER_VALUES = 2 };

struct handle {
    struct topic *topic;
};

/* What is being made ready to be published; its user value is the list of its cargo. */
struct draft {
    struct buf bytes;
    struct bulletin *bulletin;
};

/* What is being read; its own if that raises. */
struct held {
    struct bulletin *bulletin;
    struct cargo *cargo; /* copies, for pack to give away */
};

struct echo {
    uint64_t number; /* of its bulletin; 0: none */
};

struct subscription {
    struct subscriber reader;
    struct waiter waiter;
    struct held held;
    bool holds;      /* held is in use, or was when an error passed */
    uint64_t missed; /* and not yet told */
    uint64_t place;  /* of what was received last; 0: nothing was */
    uint32_t epoch;
};

static struct topic *check_topic(lua_State *L) {
    return ((struct handle *)luaL_checkudata(L, 1, TOPIC))->topic;
}

/* ---- publishing ---- */

static int draft_gc(lua_State *L) {
    struct draft *d = luaL_checkudata(L, 1, DRAFT);
    buf_reset(&d->bytes);
    bulletin_unref(d->bulletin);
    d->bulletin = NULL;
    return 0;
}

/* A draft and its list. It is nobody else's until it is given back: in the middle of
 * packing a finalizer may publish. */
static struct draft *push_draft(lua_State *L) {
    struct draft *d;
    if (lua_getiuservalue(L, lua_upvalueindex(1), SPARE) != LUA_TNIL) {
        d = lua_touserdata(L, -1);
        lua_pushnil(L);
        lua_setiuservalue(L, lua_upvalueindex(1), SPARE);
        lua_getiuservalue(L, -1, 1);
        return d;
    }
    lua_pop(L, 1);
    d = lua_newuserdatauv(L, sizeof *d, 1);
    buf_init(&d->bytes);
    d->bulletin = NULL;
    luaL_setmetatable(L, DRAFT);
    lua_newtable(L);
    lua_pushvalue(L, -1);
    lua_setiuservalue(L, -3, 1);
    return d;
}

/* With the draft and its list on top, which are popped. */
static void give_back(lua_State *L, struct draft *d) {
    bulletin_unref(d->bulletin);
    d->bulletin = NULL;
    if (buf_len(&d->bytes) > KEEP) buf_reset(&d->bytes);
    buf_consume(&d->bytes, buf_len(&d->bytes));
    desk_clear_list(L, lua_gettop(L));
    lua_pop(L, 1);
    lua_setiuservalue(L, lua_upvalueindex(1), SPARE);
}

/* What is in the list goes along as copies. */
static void add_cargo(lua_State *L, int list, struct bulletin *b, unsigned count) {
    for (unsigned i = 1; i <= count; i++) {
        lua_rawgeti(L, list, (lua_Integer)i);
        const struct cargo_kind *kind = cargo_kind_of(L, -1);
        if (!kind->copy)
            luaL_error(L, "a %s has one owner, and cannot be published", kind->name);
        const char *why = kind->refuse(lua_touserdata(L, -1));
        if (why) luaL_error(L, "%s", why);
        b->cargo[b->cargo_count++] =
            (struct cargo){kind, kind->take(lua_touserdata(L, -1))};
        lua_pop(L, 1);
    }
}

/* topic:publish(value) -> to how many */
static int publish(lua_State *L) {
    struct topic *t = check_topic(L);
    luaL_argcheck(L, !lua_isnoneornil(L, 2), 2, "value expected");
    lua_settop(L, 2);
    struct draft *d = push_draft(L);
    unsigned count = 0;
    pack_write_cargo(L, 2, &d->bytes, 4, &count);
    d->bulletin = bulletin_new(buf_len(&d->bytes), count);
    if (!d->bulletin) return budget_raise(L);
    memcpy(d->bulletin->bytes, buf_data(&d->bytes), buf_len(&d->bytes));
    add_cargo(L, 4, d->bulletin, count);
    size_t reached = topic_publish(t, d->bulletin);
    give_back(L, d);
    lua_pushinteger(L, (lua_Integer)reached);
    return 1;
}

static int subscribers(lua_State *L) {
    lua_pushinteger(L, (lua_Integer)topic_count(check_topic(L)));
    return 1;
}

/* ---- reading ---- */

static void held_clear(struct held *h) {
    struct bulletin *b = h->bulletin;
    h->bulletin = NULL;
    for (unsigned i = 0; b && h->cargo && i < b->cargo_count; i++)
        if (h->cargo[i].core) h->cargo[i].kind->drop(h->cargo[i].core);
    free(h->cargo);
    h->cargo = NULL;
    bulletin_unref(b);
}

static int held_gc(lua_State *L) {
    held_clear(luaL_checkudata(L, 1, HELD));
    return 0;
}

static struct held *push_held(lua_State *L) {
    struct held *h = lua_newuserdatauv(L, sizeof *h, 0);
    *h = (struct held){0};
    luaL_setmetatable(L, HELD);
    return h;
}

static void unpack(lua_State *L, struct held *h) {
    struct bulletin *b = h->bulletin;
    if (b->cargo_count) {
        h->cargo = calloc(b->cargo_count, sizeof *h->cargo);
        if (!h->cargo) budget_raise(L);
        for (unsigned i = 0; i < b->cargo_count; i++)
            h->cargo[i] = (struct cargo){b->cargo[i].kind,
                                         b->cargo[i].kind->copy(b->cargo[i].core)};
    }
    pack_read_cargo(L, span_of(b->bytes, b->len), h->cargo, b->cargo_count,
                    sched_of(L)->loop);
}

static void set_echo(lua_State *L, struct echo *e, uint64_t number) {
    e->number = number;
    if (number)
        lua_pushvalue(L, -1);
    else
        lua_pushnil(L);
    lua_setiuservalue(L, lua_upvalueindex(1), TEXT);
}

/* Pushes the value of h's bulletin, which goes. last: no other fiber of this thread
 * will read it. */
static void push_value(lua_State *L, struct held *h, bool last) {
    struct echo *e = lua_touserdata(L, lua_upvalueindex(1));
    uint64_t number = h->bulletin->number;
    bool again = e->number == number;
    if (again)
        lua_getiuservalue(L, lua_upvalueindex(1), TEXT);
    else
        unpack(L, h);
    bool large = lua_type(L, -1) == LUA_TSTRING && lua_rawlen(L, -1) >= ECHO_LEAST;
    if (again && last)
        set_echo(L, e, 0);
    else if (large && !again && !last)
        set_echo(L, e, number);
    held_clear(h);
}

static struct subscription *check_subscription(lua_State *L) {
    return luaL_checkudata(L, 1, SUBSCRIPTION);
}

static void arrived(struct subscriber *r) {
    struct subscription *s = r->user;
    if (waiter_is_set(&s->waiter)) sched_wake(&s->waiter, WAKE_EVENT);
}

static int receive(lua_State *L, int status, lua_KContext deadline);

static int receive_on(lua_State *L, int status, lua_KContext deadline) {
    (void)status;
    return receive(L, LUA_OK, deadline);
}

static int deliver(lua_State *L, struct subscription *s, struct held *h, bool last) {
    uint64_t missed = s->missed;
    s->missed = 0;
    s->place = h->bulletin->place;
    push_value(L, h, last);
    lua_pushinteger(L, (lua_Integer)missed);
    return 2;
}

static int receive(lua_State *L, int status, lua_KContext deadline) {
    struct subscription *s = lua_touserdata(L, 1);
    if (status == LUA_OK && sched_overstays(L))
        return sched_park(L, NULL, 1, receive_on, deadline);
    if (status == LUA_YIELD && s->holds) { /* an error's, after a wait */
        held_clear(&s->held);
        s->holds = false;
    }
    if (!s->reader.board) return desk_failed(L, ERR_CLOSED);
    /* A finalizer may read while another reading of its fiber is on its way. */
    bool busy = s->holds;
    struct held *h = busy ? push_held(L) : &s->held;
    uint64_t missed;
    bool last;
    h->bulletin = subscriber_take(&s->reader, &missed, &last);
    s->missed += missed;
    if (h->bulletin) {
        s->holds = true;
        deliver(L, s, h, last);
        s->holds = busy;
        return 2;
    }
    if (status == LUA_YIELD && sched_woke(L) == WAKE_TIMEOUT)
        return desk_failed(L, -ETIMEDOUT);
    lua_settop(L, 1);
    return sched_park(L, &s->waiter, deadline, receive, deadline);
}

/* subscription:receive([timeout]) -> value, how many were missed before it */
static int subscription_receive(lua_State *L) {
    check_subscription(L);
    int64_t deadline = timer_opt_deadline(L, 2);
    lua_settop(L, 1);
    return receive(L, LUA_OK, deadline);
}

static int next_message(lua_State *L) {
    lua_settop(L, 0);
    lua_pushvalue(L, lua_upvalueindex(2));
    return receive(L, LUA_OK, 0);
}

static int messages(lua_State *L) {
    check_subscription(L);
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_pushvalue(L, 1);
    lua_pushcclosure(L, next_message, 2);
    return 1;
}

/* ---- subscribing ---- */

/* Behind which place an id that subscription:id has given is; 0, before all, for one of
 * another life of this process, or of somebody else's. */
static uint64_t place_of(struct span id, uint32_t epoch) {
    char mine[24];
    int n = snprintf(mine, sizeof mine, "%08" PRIx32 "-", epoch);
    uint64_t place = 0;
    if (id.len <= (size_t)n || memcmp(id.at, mine, (size_t)n) != 0) return 0;
    for (size_t i = (size_t)n; i < id.len; i++) {
        if (id.at[i] < '0' || id.at[i] > '9' || place > UINT64_MAX / 10 - 10) return 0;
        place = place * 10 + (uint64_t)(id.at[i] - '0');
    }
    return place;
}

static int subscription_id(lua_State *L) {
    const struct subscription *s = check_subscription(L);
    char id[48];
    if (!s->place) return 0;
    snprintf(id, sizeof id, "%08" PRIx32 "-%" PRIu64, s->epoch, s->place);
    lua_pushstring(L, id);
    return 1;
}

/* topic:subscribe([capacity[, after]]) */
static int subscribe(lua_State *L) {
    struct topic *t = check_topic(L);
    lua_Integer capacity = luaL_optinteger(L, 2, CAPACITY);
    luaL_argcheck(L, capacity >= 1 && capacity <= CAPACITY_MAX, 2,
                  "the capacity is a number of messages, at least 1");
    struct span after;
    after.at = luaL_optlstring(L, 3, NULL, &after.len);
    struct isolate *i = generation_of(L)->isolate;
    if (!i)
        return luaL_error(L, "topic:subscribe cannot be called while the app loads; "
                             "call it in on(\"start\")");
    struct subscription *s = lua_newuserdatauv(L, sizeof *s, 0);
    *s = (struct subscription){.reader = {.arrived = arrived, .user = s},
                               .epoch = topic_epoch(t)};
    luaL_setmetatable(L, SUBSCRIPTION);
    int err = after.at ? topic_resume(t, &i->loop, (unsigned)capacity,
                                      place_of(after, s->epoch), &s->reader)
                       : topic_subscribe(t, &i->loop, (unsigned)capacity, &s->reader);
    return err ? budget_raise(L) : 1;
}

static int subscription_close(lua_State *L) {
    struct subscription *s = check_subscription(L);
    subscriber_end(&s->reader);
    sched_wake(&s->waiter, WAKE_EVENT);
    return 0;
}

static int subscription_gc(lua_State *L) {
    struct subscription *s = check_subscription(L);
    subscriber_end(&s->reader);
    held_clear(&s->held);
    return 0;
}

static int subscription_length(lua_State *L) {
    lua_pushinteger(L, (lua_Integer)subscriber_count(&check_subscription(L)->reader));
    return 1;
}

static int subscription_text(lua_State *L) {
    struct subscription *s = check_subscription(L);
    if (s->reader.board)
        lua_pushfstring(L, "subscription: %p", (void *)s);
    else
        lua_pushliteral(L, "subscription (closed)");
    return 1;
}

/* ---- topics ---- */

/* The option history; 0 without one. */
static unsigned check_history(lua_State *L, int options) {
    lua_Integer count = 0;
    if (lua_isnoneornil(L, options)) return 0;
    luaL_checktype(L, options, LUA_TTABLE);
    lua_pushnil(L);
    while (lua_next(L, options)) {
        const char *key = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : "";
        if (strcmp(key, "history") != 0)
            luaL_error(L, "a topic has no option %s; it has history",
                       luaL_tolstring(L, -2, NULL));
        count = lua_isinteger(L, -1) ? lua_tointeger(L, -1) : 0;
        luaL_argcheck(L, count >= 1 && count <= HISTORY_MAX, options,
                      "the history is a number of messages, at least 1");
        lua_pop(L, 1);
    }
    return (unsigned)count;
}

static struct span check_name(lua_State *L, int index) {
    struct span name;
    name.at = luaL_checklstring(L, index, &name.len);
    luaL_argcheck(L, name.len >= 1 && name.len <= NAME_MAX_LEN, index,
                  "1 to 255 bytes expected");
    return name;
}

struct topic *topic_of_argument(lua_State *L, int index) {
    const struct handle *h = luaL_testudata(L, index, TOPIC);
    if (h) return topic_ref(h->topic);
    struct span name = check_name(L, index);
    struct commons *commons = generation_of(L)->plan->commons;
    struct topic *t = commons ? topic_open(commons->topics, name) : NULL;
    if (!t) luaL_error(L, commons ? "not enough memory" : "there are no topics here");
    return t;
}

/* topic(name[, { history = n }]) */
static int open_topic(lua_State *L) {
    struct span name = check_name(L, 1);
    unsigned history = check_history(L, 2);
    struct handle *h = lua_newuserdatauv(L, sizeof *h, 0);
    h->topic = NULL;
    luaL_setmetatable(L, TOPIC);
    h->topic = topic_open(generation_of(L)->plan->commons->topics, name);
    if (!h->topic || (history && topic_keep(h->topic, history) != 0))
        return budget_raise(L);
    return 1;
}

static int topic_gc(lua_State *L) {
    struct handle *h = luaL_checkudata(L, 1, TOPIC);
    if (h->topic) topic_unref(h->topic);
    h->topic = NULL;
    return 0;
}

static int topic_equal(lua_State *L) {
    const struct handle *a = luaL_testudata(L, 1, TOPIC),
                        *b = luaL_testudata(L, 2, TOPIC);
    lua_pushboolean(L, a && b && a->topic == b->topic);
    return 1;
}

static int get_name(lua_State *L) {
    struct span s = topic_name(check_topic(L));
    lua_pushlstring(L, s.at, s.len);
    return 1;
}

static int keeps(lua_State *L) {
    lua_pushboolean(L, topic_keeps(check_topic(L)));
    return 1;
}

static int topic_text(lua_State *L) {
    lua_pushliteral(L, "topic: ");
    get_name(L);
    lua_concat(L, 2);
    return 1;
}

static const luaL_Reg topic_methods[] = {
    {"name", get_name}, {"publish", publish},         {"subscribe", subscribe},
    {"keeps", keeps},   {"subscribers", subscribers}, {"__eq", topic_equal},
    {"__gc", topic_gc}, {"__tostring", topic_text},   {NULL, NULL},
};

static const luaL_Reg subscription_methods[] = {
    {"close", subscription_close},
    {"messages", messages},
    {"id", subscription_id},
    {"receive", subscription_receive},
    {"__close", subscription_close},
    {"__gc", subscription_gc},
    {"__len", subscription_length},
    {"__tostring", subscription_text},
    {NULL, NULL},
};

static void owner(lua_State *L, const char *type, lua_CFunction gc) {
    luaL_newmetatable(L, type);
    lua_pushcfunction(L, gc);
    lua_setfield(L, -2, "__gc");
    lua_pop(L, 1);
}

/* With the echo on top, which stays. */
static void class(lua_State *L, const char *type, const luaL_Reg *methods) {
    luaL_newmetatable(L, type);
    lua_pushvalue(L, -2);
    luaL_setfuncs(L, methods, 1);
    lua_pushvalue(L, -1);
    lua_setfield(L, -2, "__index");
    lua_pushboolean(L, false);
    lua_setfield(L, -2, "__metatable");
    lua_pop(L, 1);
}

int luaopen_atoll_core_topic(lua_State *L) {
    if (!generation_of(L)->plan->commons)
        return luaL_error(L, "there are no topics here");
    owner(L, DRAFT, draft_gc);
    owner(L, HELD, held_gc);
    struct echo *e = lua_newuserdatauv(L, sizeof *e, USER_VALUES);
    e->number = 0;
    class(L, TOPIC, topic_methods);
    class(L, SUBSCRIPTION, subscription_methods);
    lua_createtable(L, 0, 1);
    lua_pushcfunction(L, open_topic);
    lua_setfield(L, -2, "topic");
    return 1;
}
