#include "api/lsock_select.h"

#include "api/timer_lua.h"
#include "base/check.h"
#include "isolate/closing.h"
#include "isolate/fd_wait.h"
#include "isolate/generation.h"
#include "isolate/isolate.h"

#include <errno.h>
#include <lauxlib.h>
#include <limits.h>
#include <poll.h>
#include <sys/socket.h>

static const char SET[] = "atoll.select";

enum { MAGIC = 0x73656c65 };

/* To be closed by whoever waits, so that nothing is watched after a cancel. */
struct set {
    uint32_t magic;
    bool polite; /* has only let others run */
    struct waiter waiter;
    struct ev_loop *ev; /* NULL while nothing is watched */
    size_t count;
    struct watch {
        ev_io io;
        struct pollfd *poll;
        bool dirty; /* has input that no system call tells of */
    } * watches;
    struct pollfd *polls;
};

static void ready(struct ev_loop *ev, ev_io *io, int events) {
    (void)events;
    struct set *set = io->data;
    ev_io_stop(ev, io);
    sched_wake(&set->waiter, WAKE_EVENT);
}

static void unwatch(struct set *set) {
    if (!set->ev) return;
    for (size_t i = 0; i < set->count; i++) ev_io_stop(set->ev, &set->watches[i].io);
    set->ev = NULL;
}

static void watch(struct set *set, struct ev_loop *ev) {
    set->ev = ev;
    for (size_t i = 0; i < set->count; i++) {
        struct watch *w = &set->watches[i];
        int events = w->poll->events & POLLOUT ? EV_WRITE : EV_READ;
        ev_io_init(&w->io, ready, w->poll->fd, events);
        w->io.data = set;
        ev_io_start(ev, &w->io);
    }
}

static struct set *set_at(lua_State *L, int index) {
    struct set *set = lua_touserdata(L, index);
    MAGIC_CHECK(set, MAGIC);
    return set;
}

static int collect(lua_State *L) {
    unwatch(set_at(L, 1));
    return 0;
}

static struct set *push_set(lua_State *L, size_t room) {
    struct set *set = lua_newuserdatauv(
        L, sizeof *set + room * (sizeof *set->watches + sizeof *set->polls), 0);
    *set = (struct set){.magic = MAGIC};
    set->watches = (struct watch *)(set + 1);
    set->polls = (struct pollfd *)(set->watches + room);
    closing_mark(L, SET, collect);
    return set;
}

static struct watch *add(struct set *set, int fd, short events) {
    struct watch *w = &set->watches[set->count];
    *w = (struct watch){.poll = &set->polls[set->count]};
    *w->poll = (struct pollfd){.fd = fd, .events = events};
    set->count++;
    return w;
}

/* How many are ready, after waiting with poll(2) until the deadline (0: at all). */
static int poll_set(struct set *set, int64_t deadline) {
    for (;;) {
        int64_t left =
            deadline ? (deadline - clock_ns() + CLOCK_MS - 1) / CLOCK_MS : -1;
        left = left < 0 && deadline ? 0 : left > INT_MAX ? INT_MAX : left;
        int n = poll(set->polls, set->count, (int)left);
        if (n > 0 || (n < 0 && errno != EINTR)) return n;
        if (n == 0 && clock_ns() >= deadline) return 0;
    }
}

static int64_t deadline_of(lua_State *L, int argument) {
    lua_Number seconds = luaL_optnumber(L, argument, -1);
    if (!(seconds >= 0)) return 0;
    return timer_check_deadline(L, argument);
}

/* One descriptor. */

static int check_fd(lua_State *L) {
    lua_Integer fd = luaL_checkinteger(L, 1);
    luaL_argcheck(L, fd >= 0 && fd <= INT_MAX, 1, "not a descriptor");
    return (int)fd;
}

int lsock_fd_is_writable(lua_State *L) {
    struct pollfd p = {.fd = check_fd(L), .events = POLLOUT};
    lua_pushboolean(L, poll(&p, 1, 0) > 0);
    return 1;
}

int lsock_cut_fd(lua_State *L) {
    shutdown(check_fd(L), SHUT_RDWR);
    return 0;
}

static int wait_on(lua_State *L, int status, lua_KContext context) {
    (void)status, (void)context;
    unwatch(set_at(L, -1));
    lua_pushboolean(L, sched_woke(L) == WAKE_EVENT);
    return 1;
}

int lsock_wait_fd(lua_State *L) {
    static const char *const names[] = {"read", "write", NULL};
    static const short events[] = {POLLIN, POLLOUT};
    int fd = check_fd(L);
    short which = events[luaL_checkoption(L, 2, NULL, names)];
    int64_t deadline = deadline_of(L, 3);
    struct set *set = push_set(L, 1);
    add(set, fd, which);
    if (fd_wait_must_block(L)) {
        fd_wait_say_blocks(L);
        lua_pushboolean(L, poll_set(set, deadline) != 0);
        return 1;
    }
    sched_check_waitable(L);
    watch(set, sched_of(L)->loop->ev);
    return sched_park(L, &set->waiter, deadline, wait_on, 0);
}

/* select. The stack: */
enum { READERS = 1, WRITERS, SECONDS, OBJECTS, READABLE, WRITABLE, THE_SET };

static size_t count(lua_State *L, int list) {
    if (lua_isnil(L, list)) return 0;
    luaL_checktype(L, list, LUA_TTABLE);
    size_t n = 0;
    while (lua_geti(L, list, (lua_Integer)n + 1) != LUA_TNIL) {
        lua_pop(L, 1);
        n++;
    }
    lua_pop(L, 1);
    luaL_argcheck(L, n <= LSOCK_SETSIZE, list, "too many sockets");
    return n;
}

/* Calls the method of the object on top, if it has one, and pushes what it returns. */
static void call_method(lua_State *L, const char *name) {
    if (lua_getfield(L, -1, name) == LUA_TNIL) return;
    lua_pushvalue(L, -2);
    lua_call(L, 1, 1);
}

/* The same object twice in a list is told of once. */
static void tell(lua_State *L, int results) {
    lua_pushvalue(L, -1);
    if (lua_rawget(L, results) == LUA_TNIL) {
        lua_Integer n = (lua_Integer)lua_rawlen(L, results) + 1;
        lua_pushvalue(L, -2);
        lua_rawseti(L, results, n);
        lua_pushvalue(L, -2);
        lua_pushinteger(L, n);
        lua_rawset(L, results);
    }
    lua_pop(L, 2);
}

static void add_list(lua_State *L, struct set *set, int list, size_t n, bool *dirty) {
    for (size_t i = 0; i < n; i++) {
        lua_geti(L, list, (lua_Integer)i + 1);
        if (lua_isnil(L, -1)) { /* a method has made the list shorter */
            lua_pop(L, 1);
            return;
        }
        call_method(L, "getfd");
        lua_Number fd = lua_tonumber(L, -1);
        bool open = lua_isnumber(L, -1) && fd >= 0 && fd <= INT_MAX;
        lua_pop(L, 1);
        if (open) {
            struct watch *w = add(set, (int)fd, list == READERS ? POLLIN : POLLOUT);
            if (list == READERS) {
                call_method(L, "dirty");
                w->dirty = lua_toboolean(L, -1);
                *dirty |= w->dirty;
                lua_pop(L, 1);
            }
            lua_pushvalue(L, -1);
            lua_rawseti(L, OBJECTS, (lua_Integer)set->count);
        }
        lua_pop(L, 1);
    }
}

static int results(lua_State *L, struct set *set, bool over) {
    bool any = false;
    for (int pass = 0; pass < 2; pass++) /* as LuaSocket: first who is dirty */
        for (size_t i = 0; i < set->count; i++) {
            struct watch *w = &set->watches[i];
            if (pass == 0 ? !w->dirty : !w->poll->revents) continue;
            lua_rawgeti(L, OBJECTS, (lua_Integer)i + 1);
            tell(L, w->poll->events & POLLOUT ? WRITABLE : READABLE);
            any = true;
        }
    lua_pushvalue(L, READABLE);
    lua_pushvalue(L, WRITABLE);
    if (any || !over) return 2;
    lua_pushliteral(L, "timeout");
    return 3;
}

static int select_on(lua_State *L, int status, lua_KContext context) {
    int64_t deadline = context;
    struct set *set = set_at(L, THE_SET);
    bool late = status == LUA_YIELD && !set->polite && sched_woke(L) == WAKE_TIMEOUT;
    unwatch(set);
    int n = poll_set(set, 1);
    if (n < 0) return luaL_error(L, "select failed");
    if (late || (n > 0 && status == LUA_YIELD)) return results(L, set, true);
    set->polite = n > 0;
    if (n > 0) return sched_park(L, NULL, 1, select_on, context);
    sched_check_waitable(L);
    watch(set, sched_of(L)->loop->ev);
    return sched_park(L, &set->waiter, deadline, select_on, context);
}

int lsock_select(lua_State *L) {
    lua_settop(L, SECONDS);
    int64_t deadline = deadline_of(L, SECONDS);
    bool dirty = false, now = deadline && lua_tonumber(L, SECONDS) == 0;
    size_t readers = count(L, READERS), writers = count(L, WRITERS);
    for (int i = OBJECTS; i < THE_SET; i++) lua_newtable(L);
    struct set *set = push_set(L, readers + writers);
    add_list(L, set, READERS, readers, &dirty);
    add_list(L, set, WRITERS, writers, &dirty);
    if (!dirty && !now && !fd_wait_must_block(L)) return select_on(L, LUA_OK, deadline);
    if (!dirty && !now) fd_wait_say_blocks(L);
    if (poll_set(set, dirty || now ? 1 : deadline) < 0)
        return luaL_error(L, "select failed");
    return results(L, set, true);
}
