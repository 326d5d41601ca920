#include "isolate/fd_wait.h"

#include "base/log.h"
#include "isolate/generation.h"

#include <lauxlib.h>
#include <limits.h>
#include <poll.h>

static void ready(struct ev_loop *ev, ev_io *io, int events) {
    struct fd_side *side = io->data;
    ev_io_stop(ev, io);
    if (events & EV_ERROR) /* epoll_ctl has failed; see loop_watch_again */
        ev_io_set(io, io->fd, io->events & (EV_READ | EV_WRITE));
    sched_wake(&side->waiter, WAKE_EVENT);
}

static void side_init(struct fd_side *side, int fd, int events) {
    ev_io_init(&side->io, ready, fd, events);
    side->io.data = side;
    side->waiter = (struct waiter){0};
}

void fd_wait_init(struct fd_wait *w, int fd) {
    *w = (struct fd_wait){.fd = fd};
    side_init(&w->in, fd, EV_READ);
    side_init(&w->out, fd, EV_WRITE);
}

void fd_wait_last(struct fd_wait *w) {
    w->in.waiter.lasting = w->out.waiter.lasting = true;
}

void fd_wait_set(struct fd_wait *w, int fd) {
    fd_wait_done(w);
    fd_wait_init(w, fd);
}

static void side_done(struct fd_wait *w, struct fd_side *side) {
    if (w->loop && w->fd >= 0) loop_forget(w->loop, &side->io);
    sched_wake(&side->waiter, WAKE_EVENT);
    waiter_leave(&side->waiter);
}

void fd_wait_done(struct fd_wait *w) {
    side_done(w, &w->in);
    side_done(w, &w->out);
    w->fd = -1;
    w->loop = NULL;
}

/* A regular file, which epoll_ctl(2) refuses, libev reports as ready by itself. */
int fd_wait_park(lua_State *L, struct fd_wait *w, int events, int64_t deadline,
                 lua_KFunction k, lua_KContext context) {
    struct fd_side *side = events == EV_READ ? &w->in : &w->out;
    sched_check_waitable(L);
    if (waiter_is_set(&side->waiter))
        return luaL_error(L, "another fiber is already %s it",
                          events == EV_READ ? "reading from" : "writing to");
    w->loop = sched_of(L)->loop;
    ev_io_start(w->loop->ev, &side->io);
    return sched_park(L, &side->waiter, deadline, k, context);
}

bool fd_wait_must_block(lua_State *L) {
    return !sched_of(L) && generation_of(L)->state != GEN_CLOSING;
}

static int left_ms(int64_t until) {
    int64_t left = (until - clock_ns() + 999999) / 1000000;
    return left < 0 ? 0 : left > INT_MAX ? INT_MAX : (int)left;
}

void fd_wait_say_blocks(lua_State *L) {
    struct generation *g = generation_of(L);
    if (g->waited) return;
    g->waited = true;
    luaL_where(L, 1);
    log_warn("%snetwork calls outside a fiber block the thread", lua_tostring(L, -1));
    lua_pop(L, 1);
}

bool fd_wait_block(lua_State *L, const struct fd_wait *w, int events,
                   int64_t deadline) {
    fd_wait_say_blocks(L);
    struct pollfd p = {w->fd, events == EV_READ ? POLLIN : POLLOUT, 0};
    int64_t until = deadline ? deadline : INT64_MAX;
    for (;;) {
        if (generation_of(L)->halt) return luaL_error(L, "cancelled");
        int n = poll(&p, 1, left_ms(until));
        bool late = clock_ns() >= until, told = n < 0 && errno != EINTR;
        if (n > 0 || (told && !late)) return true; /* the next step tells */
        if (late) return false;
    }
}
