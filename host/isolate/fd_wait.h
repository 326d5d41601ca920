/* Fibers that wait for a descriptor: one for input and one for output at a time. For
 * what has no stream of its own: listeners, datagrams, LuaSocket's sockets, pipes, the
 * descriptors of other people's libraries. All calls on the descriptor are its owner's.
 *
 *     static int receive(lua_State *L, int status, lua_KContext deadline) {
 *         struct thing *t = ...;
 *         bool late = status == LUA_YIELD && sched_woke(L) == WAKE_TIMEOUT;
 *         for (;;) {
 *             ... one step on t->fd; on anything but EAGAIN return its results ...
 *             if (late) return timed_out(L);
 *             if (!fd_wait_must_block(L))
 *                 return fd_wait_park(L, &t->wait, EV_READ, deadline, receive,
 *                                     deadline);
 *             late = !fd_wait_block(L, &t->wait, EV_READ, deadline);
 *         }
 *     }
 *
 * Nothing is registered between waits for longer than to the next event, so a wait that
 * was cancelled needs no cleaning up. The thread that the state is on. */
#ifndef ISOLATE_FD_WAIT_H
#define ISOLATE_FD_WAIT_H

#include "isolate/sched.h"

struct fd_side {
    ev_io io; /* started while somebody waits, or until the next event */
    struct waiter waiter;
};

struct fd_wait {
    int fd;
    struct loop *loop; /* NULL until a fiber has waited */
    struct fd_side in, out;
};

/* fd is non-blocking and stays its owner's; may be -1 until fd_wait_set. */
void fd_wait_init(struct fd_wait *w, int fd);

/* From now on, until another descriptor is set, who was woken still counts as waiting
 * until he goes on: for owners that ask before they begin something. */
void fd_wait_last(struct fd_wait *w);

/* Another descriptor in its place. Nobody waits. */
void fd_wait_set(struct fd_wait *w, int fd);

/* Before the descriptor is closed or leaves the isolate. Fibers that wait are woken,
 * and find the descriptor gone when they try again: fd is -1. */
void fd_wait_done(struct fd_wait *w);

/* Parks the running fiber until the descriptor is ready for events (EV_READ or
 * EV_WRITE) or the deadline (monotonic ns, 0 for none) has come; then k(L, LUA_YIELD,
 * context), which asks sched_woke. Raises where sched_park does, and when another fiber
 * waits for the same. */
int fd_wait_park(lua_State *L, struct fd_wait *w, int events, int64_t deadline,
                 lua_KFunction k, lua_KContext context);

/* Where there is no fiber because the app is being loaded: the thread has to wait. */
bool fd_wait_must_block(lua_State *L);

/* Says so in the log, once per state. */
void fd_wait_say_blocks(lua_State *L);

/* Waits with poll(2). False when the deadline came first. Says that it does. */
bool fd_wait_block(lua_State *L, const struct fd_wait *w, int events, int64_t deadline);

#endif
