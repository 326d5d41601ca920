/* A socket as LuaSocket's libraries know it: one userdata of a class whose name is text
 * ("tcp{client}") and which its methods change, a block and a total time limit, and
 * what was read ahead. Where LuaSocket would block the thread the fiber waits; with a
 * limit of 0 nothing ever waits, since programs with a scheduler of their own live on
 * that.
 *
 * An operation makes its step on the descriptor, and on -EAGAIN asks lsock_wait:
 *
 *     static int step(lua_State *L, int status, lua_KContext start) {
 *         struct lsock *s = lsock_at(L, 1);
 *         bool late = lsock_late(L, status);
 *         for (;;) {
 *             int err = ...;
 *             if (err != -EAGAIN) return ...;
 *             if (late || !lsock_wait(L, s, EV_READ, start, step))
 *                 return lsock_fail(L, -ETIMEDOUT);
 *         }
 *     }
 *
 * What fails returns nil and LuaSocket's text. The thread that the state is on. */
#ifndef API_LSOCK_H
#define API_LSOCK_H

#include "base/buf.h"
#include "isolate/fd_wait.h"

#include <lauxlib.h>

enum lsock_class {
    TCP_MASTER,
    TCP_CLIENT,
    TCP_SERVER,
    UDP_UNCONNECTED,
    UDP_CONNECTED,
    STREAM_MASTER,
    STREAM_CLIENT,
    STREAM_SERVER,
    DGRAM_UNCONNECTED,
    DGRAM_CONNECTED,
    LSOCK_CLASSES
};

/* Sets of classes, for lsock_check. */
#define ONLY(class) (1u << (class))
#define TCP_ANY (ONLY(TCP_MASTER) | ONLY(TCP_CLIENT) | ONLY(TCP_SERVER))
#define UDP_ANY (ONLY(UDP_UNCONNECTED) | ONLY(UDP_CONNECTED))
#define STREAM_ANY (ONLY(STREAM_MASTER) | ONLY(STREAM_CLIENT) | ONLY(STREAM_SERVER))
#define DGRAM_ANY (ONLY(DGRAM_UNCONNECTED) | ONLY(DGRAM_CONNECTED))

struct lsock {
    uint32_t magic;
    enum lsock_class class;
    int family;          /* AF_UNSPEC until it is known: then there is no descriptor */
    struct fd_wait wait; /* wait.fd: -1 when closed */
    double block, total; /* seconds; negative for none */
    struct buf in;       /* read ahead; no memory while it is empty */
    size_t scanned;      /* of in: has no end of line */
    uint64_t received, sent;
    int64_t birthday; /* monotonic ns */
};

/* Makes the class: its metatable, with the methods in a table at __index, which is what
 * LuaSec looks into; names that begin with "__" go into the metatable. */
void lsock_define(lua_State *L, enum lsock_class class, const luaL_Reg *methods);

/* Pushes a new one without a descriptor. */
struct lsock *lsock_new(lua_State *L, enum lsock_class class, int family);

/* Of the argument; raises unless it is one of these classes. */
struct lsock *lsock_check(lua_State *L, int argument, unsigned classes);

/* The same where it was checked before. */
struct lsock *lsock_at(lua_State *L, int index);

void lsock_set_class(lua_State *L, int index, enum lsock_class class);

/* Opens a descriptor in place of the one that there is, which is closed. 0 or a
 * negative errno. */
int lsock_open(struct lsock *s, int family, int type);

/* Gives it a descriptor, which it owns from now on. */
void lsock_adopt(struct lsock *s, int fd);

/* Who waits for it is woken. Harmless when it is closed. */
void lsock_close(struct lsock *s);

/* Raises when another fiber waits for the same (EV_READ or EV_WRITE), before anything
 * was read or written. The time from which a total limit counts: the context of the
 * operation. */
lua_KContext lsock_begin(lua_State *L, const struct lsock *s, int events);

/* Whether waiting is allowed at all. */
bool lsock_may_wait(const struct lsock *s);

/* Until when the next wait of an operation may last: monotonic ns, 0 for no limit.
 * False when it may not wait at all, or the time is over. */
bool lsock_deadline(const struct lsock *s, int64_t start, int64_t *deadline);

/* True when to try again, false when the time is over. In a fiber that has to wait it
 * does not return, but k(L, LUA_YIELD, start) is called later. */
bool lsock_wait(lua_State *L, struct lsock *s, int events, lua_KContext start,
                lua_KFunction k);

/* For what no event tells: the same, after a few milliseconds. start: when the
 * operation began (clock_ns), from where both limits count. */
bool lsock_pause(lua_State *L, struct lsock *s, lua_KContext start, lua_KFunction k);

/* In k: its time was over. One more try may be made. */
bool lsock_late(lua_State *L, int status);

/* A step's -errno; a broken connection is ERR_CLOSED. After EINTR the step is made
 * again, also when it may not wait. */
int lsock_error(int error);

/* LuaSocket's text for a negative errno, or one of err.h. */
const char *lsock_text(int err);

/* Pushes nil and the text; returns 2. */
int lsock_fail(lua_State *L, int err);

/* Pushes 1, which is what LuaSocket answers with; returns 1. */
int lsock_ok(lua_State *L);

/* Methods that all classes have. */
int lsock_lua_close(lua_State *L);
int lsock_lua_getfd(lua_State *L);
int lsock_lua_setfd(lua_State *L);
int lsock_lua_dirty(lua_State *L);
int lsock_lua_settimeout(lua_State *L);
int lsock_lua_gettimeout(lua_State *L);
int lsock_lua_collect(lua_State *L);
int lsock_lua_tostring(lua_State *L);

#define LSOCK_METHODS                                                                  \
    {"__close", lsock_lua_close}, {"__gc", lsock_lua_collect},                         \
        {"__tostring", lsock_lua_tostring}, {"close", lsock_lua_close},                \
        {"dirty", lsock_lua_dirty}, {"getfd", lsock_lua_getfd},                        \
        {"setfd", lsock_lua_setfd}, {"gettimeout", lsock_lua_gettimeout}, {            \
        "settimeout", lsock_lua_settimeout                                             \
    }

#endif
