#include "api/channel_lua.h"

#include "api/line_lua.h"
#include "api/timer_lua.h"
#include "base/err.h"
#include "isolate/closing.h"

#include <lauxlib.h>

static const char CHANNEL[] = "atoll.channel", SENDER[] = "atoll.channel.sender",
                  RECEIVER[] = "atoll.channel.receiver";

/* Each value gets a number when it comes. User value 1 is a table that holds it at this
 * number while anybody may have it, and at the negated one while it is spoken for: its
 * sender still waits for room, or a receiver was handed it and has not run yet. */
struct channel {
    lua_Integer capacity, buffered;
    lua_Integer first; /* no value that is buffered has a smaller number */
    lua_Integer last;  /* number given */
    struct link senders, receivers;
    bool closed;
};

static struct channel *check(lua_State *L) {
    return luaL_checkudata(L, 1, CHANNEL);
}

static int failure(lua_State *L, const char *message, int code) {
    luaL_pushfail(L);
    lua_pushstring(L, message);
    lua_pushstring(L, err_name(code));
    return 3;
}

static int closed(lua_State *L) {
    return failure(L, "closed", ERR_CLOSED);
}

/* Pushes what the table has at from, where it is no more, and puts it at to, unless
 * that is 0. */
static void move_value(lua_State *L, int values, lua_Integer from, lua_Integer to) {
    lua_rawgeti(L, values, from);
    if (to) {
        lua_pushvalue(L, -1);
        lua_rawseti(L, values, to);
    }
    lua_pushnil(L);
    lua_rawseti(L, values, from);
}

/* The value is anybody's now. */
static void to_buffer(lua_State *L, struct channel *c, int values, lua_Integer number) {
    move_value(L, values, -number, number);
    lua_pop(L, 1);
    c->buffered++;
    if (number < c->first) c->first = number;
}

/* Pushes the table. */
static int values_of(lua_State *L, int channel) {
    lua_getiuservalue(L, channel, 1);
    return lua_gettop(L);
}

/* ---- sending ---- */

/* Leaving, a sender takes with it what nobody has. */
static int sender_left(lua_State *L) {
    struct place *p = lua_touserdata(L, 1);
    bool handed = line_leave(p);
    lua_Integer number = p->number;
    p->number = 0;
    if (handed || !number) return 0;
    lua_settop(L, 1);
    lua_getiuservalue(L, 1, 1);
    move_value(L, values_of(L, 2), -number, 0);
    return 0;
}

static int sent(lua_State *L, int status, lua_KContext context) {
    (void)status, (void)context;
    const struct channel *c = check(L);
    struct place *p = lua_touserdata(L, -1);
    if (line_leave(p)) {
        p->number = 0;
        lua_pushboolean(L, 1);
        return 1;
    }
    return c->closed ? closed(L) : failure(L, "timed out", ETIMEDOUT);
}

static struct channel *check_send(lua_State *L) {
    struct channel *c = check(L);
    luaL_argcheck(L, !lua_isnoneornil(L, 2), 2,
                  "nil cannot be sent: it tells receivers of the end");
    return c;
}

/* Sends the value at 2 if it need not wait. */
static bool send_now(lua_State *L, struct channel *c) {
    struct place *receiver = line_first(&c->receivers);
    if (!receiver && c->buffered >= c->capacity) return false;
    lua_Integer number = c->last + 1;
    int values = values_of(L, 1);
    lua_pushvalue(L, 2);
    lua_rawseti(L, values, receiver ? -number : number);
    c->last = number;
    if (receiver) {
        receiver->number = number;
        line_hand(receiver);
    } else {
        c->buffered++;
    }
    return true;
}

static int channel_send(lua_State *L) {
    struct channel *c = check_send(L);
    int64_t deadline = timer_opt_deadline(L, 3);
    if (c->closed) return closed(L);
    lua_settop(L, 2);
    if (send_now(L, c)) {
        lua_pushboolean(L, 1);
        return 1;
    }
    struct place *p = line_enter(L, &c->senders, SENDER, 1);
    int values = values_of(L, 1);
    lua_pushvalue(L, 2);
    lua_rawseti(L, values, -(c->last + 1));
    p->number = ++c->last;
    lua_pop(L, 1);
    return sched_park(L, &p->waiter, deadline, sent, 0);
}

static int try_send(lua_State *L) {
    struct channel *c = check_send(L);
    if (c->closed) return closed(L);
    lua_settop(L, 2);
    if (!send_now(L, c)) return failure(L, "full", EAGAIN);
    lua_pushboolean(L, 1);
    return 1;
}

/* ---- receiving ---- */

/* Leaving with a value in hand, a receiver gives it to the next one. */
static int receiver_left(lua_State *L) {
    struct place *p = lua_touserdata(L, 1);
    if (!line_leave(p)) return 0;
    lua_settop(L, 1);
    lua_getiuservalue(L, 1, 1);
    struct channel *c = lua_touserdata(L, 2);
    struct place *next = line_first(&c->receivers);
    if (next) {
        next->number = p->number;
        line_hand(next);
    } else {
        to_buffer(L, c, values_of(L, 2), p->number);
    }
    return 0;
}

/* Pushes a value if there is one. */
static bool receive_now(lua_State *L, struct channel *c) {
    struct place *sender = line_first(&c->senders);
    if (c->buffered == 0 && !sender) return false;
    int values = values_of(L, 1);
    if (c->buffered == 0) {
        move_value(L, values, -sender->number, 0);
        line_hand(sender);
        return true;
    }
    if (sender && c->buffered <= c->capacity) { /* there is room for one more */
        to_buffer(L, c, values, sender->number);
        line_hand(sender);
    }
    while (lua_rawgeti(L, values, c->first) == LUA_TNIL) {
        lua_pop(L, 1);
        c->first++;
    }
    lua_pushnil(L);
    lua_rawseti(L, values, c->first++);
    c->buffered--;
    return true;
}

static int received(lua_State *L, int status, lua_KContext context) {
    (void)status, (void)context;
    const struct channel *c = check(L);
    struct place *p = lua_touserdata(L, -1);
    if (p->handed) {
        move_value(L, values_of(L, 1), -p->number, 0);
        line_leave(p);
        return 1;
    }
    return c->closed ? closed(L) : failure(L, "timed out", ETIMEDOUT);
}

static int receive_until(lua_State *L, struct channel *c, int64_t deadline) {
    lua_settop(L, 1);
    if (receive_now(L, c)) return 1;
    if (c->closed) return closed(L);
    struct place *p = line_enter(L, &c->receivers, RECEIVER, 1);
    return sched_park(L, &p->waiter, deadline, received, 0);
}

static int channel_receive(lua_State *L) {
    struct channel *c = check(L);
    return receive_until(L, c, timer_opt_deadline(L, 2));
}

static int try_receive(lua_State *L) {
    struct channel *c = check(L);
    lua_settop(L, 1);
    if (receive_now(L, c)) return 1;
    return c->closed ? closed(L) : failure(L, "empty", EAGAIN);
}

static int next_value(lua_State *L) {
    return receive_until(L, check(L), 0);
}

static int values(lua_State *L) {
    check(L);
    lua_settop(L, 1);
    lua_pushcfunction(L, next_value);
    lua_insert(L, 1);
    return 2;
}

/* ---- the channel ---- */

/* Also __close. */
static int channel_close(lua_State *L) {
    struct channel *c = check(L);
    c->closed = true;
    line_clear(&c->senders);
    line_clear(&c->receivers);
    return 0;
}

static int text(lua_State *L) {
    struct channel *c = check(L);
    lua_pushfstring(L, "channel (%s%I of %I values): %p", c->closed ? "closed, " : "",
                    (LUAI_UACINT)c->buffered, (LUAI_UACINT)c->capacity, (void *)c);
    return 1;
}

static int channel(lua_State *L) {
    lua_Integer capacity = luaL_optinteger(L, 1, 0);
    luaL_argcheck(L, capacity >= 0, 1, "a channel cannot hold fewer than 0 values");
    struct channel *c = lua_newuserdatauv(L, sizeof *c, 1);
    *c = (struct channel){.capacity = capacity, .first = 1};
    list_init(&c->senders);
    list_init(&c->receivers);
    lua_newtable(L);
    lua_setiuservalue(L, -2, 1);
    luaL_setmetatable(L, CHANNEL);
    return 1;
}

static const luaL_Reg methods[] = {
    {"close", channel_close},     {"receive", channel_receive}, {"send", channel_send},
    {"try_receive", try_receive}, {"try_send", try_send},       {"values", values},
    {"__close", channel_close},   {"__tostring", text},         {NULL, NULL},
};

int luaopen_atoll_channel(lua_State *L) {
    luaL_newmetatable(L, CHANNEL);
    luaL_setfuncs(L, methods, 0);
    lua_pushvalue(L, -1);
    lua_setfield(L, -2, "__index");
    lua_pop(L, 1);
    closing_kind(L, SENDER, sender_left);
    closing_kind(L, RECEIVER, receiver_left);
    lua_pushcfunction(L, channel);
    return 1;
}
