#include "net/dial.h"

#include "base/check.h"
#include "base/fd.h"
#include "net/bind.h"

#include <errno.h>
#include <limits.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

enum { MAGIC = 0x6469616c };

static const int64_t MS = 1000000, STAGGER = 250 * 1000000;

/* One address. */
struct attempt {
    ev_io io;
    struct dial *dial;
    int fd; /* -1 before and after */
};

struct dial {
    uint32_t magic;
    struct loop *loop; /* NULL in dial_now */
    struct dial_plan plan;
    void (*done)(struct dial *d, int fd);
    void *user;
    unsigned next; /* of the list */
    unsigned pending;
    int error;     /* what is told when all have failed */
    int64_t retry; /* ns until the next try of a unix socket whose queue is full */
    struct timer timer;
    struct attempt attempts[];
};

/* An address that cannot be used from here says less than one that refused. */
static bool says_little(int error) {
    return error == 0 || error == -ENETUNREACH || error == -EHOSTUNREACH ||
           error == -EAFNOSUPPORT || error == -EADDRNOTAVAIL;
}

static void failed(struct dial *d, int error) {
    if (says_little(d->error)) d->error = error;
}

static bool same_family(const struct addr *a, const struct addr *b) {
    return a->at.ss_family == b->at.ss_family;
}

static int set_up(int fd, const struct dial_plan *plan, const struct addr *to) {
    int err = 0;
    if (plan->from && same_family(plan->from, to)) {
        /* The port is chosen when it connects: all of them can be used. */
        bind_option(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1);
        if (bind(fd, (const struct sockaddr *)&plan->from->at, plan->from->len) < 0)
            return -errno;
    } else if (plan->from) {
        return -EAFNOSUPPORT;
    }
    if (plan->nodelay && !addr_is_unix(to))
        err = bind_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    return err;
}

/* A connected or connecting (*pending) descriptor, or a negative errno. */
static int attempt_begin(const struct dial_plan *plan, unsigned i, bool *pending) {
    const struct addr *to = &plan->list[i];
    int fd = socket(to->at.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) return -errno;
    int err = set_up(fd, plan, to);
    *pending = false;
    if (err == 0 && connect(fd, (const struct sockaddr *)&to->at, to->len) < 0) {
        err = -errno;
        *pending = err == -EINPROGRESS || err == -EINTR;
        if (*pending) err = 0;
    }
    if (err) fd_close(&fd);
    return err ? err : fd;
}

/* A port that nobody listens at, chosen by the kernel for us as well, connects to
 * itself (simultaneous open, RFC 9293 3.5). */
static bool is_itself(int fd, const struct addr *to) {
    struct addr own;
    if (addr_is_unix(to) || addr_of_socket(fd, &own) != 0 || !same_family(&own, to))
        return false;
    if (to->at.ss_family == AF_INET) {
        const struct sockaddr_in *a = (const struct sockaddr_in *)&own.at,
                                 *b = (const struct sockaddr_in *)&to->at;
        return a->sin_port == b->sin_port && a->sin_addr.s_addr == b->sin_addr.s_addr;
    }
    const struct sockaddr_in6 *a = (const struct sockaddr_in6 *)&own.at,
                              *b = (const struct sockaddr_in6 *)&to->at;
    return a->sin6_port == b->sin6_port &&
           memcmp(&a->sin6_addr, &b->sin6_addr, sizeof a->sin6_addr) == 0;
}

/* The descriptor is writable: 0 when it is connected. */
static int attempt_result(int fd, const struct addr *to) {
    int error = 0;
    socklen_t size = sizeof error;
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0) error = errno;
    if (error == 0 && is_itself(fd, to)) error = ECONNREFUSED;
    return -error;
}

static void drop(struct attempt *a) {
    if (a->fd < 0) return;
    if (a->dial->loop) ev_io_stop(a->dial->loop->ev, &a->io);
    fd_close(&a->fd);
    a->dial->pending--;
}

static void drop_all(struct dial *d) {
    if (d->loop) timer_clear(d->loop, &d->timer);
    for (unsigned i = 0; i < d->plan.count; i++) drop(&d->attempts[i]);
}

static int take(struct attempt *a) {
    int fd = a->fd;
    if (a->dial->loop) ev_io_stop(a->dial->loop->ev, &a->io);
    a->fd = -1;
    a->dial->pending--;
    drop_all(a->dial);
    return fd;
}

/* Begins with the next addresses until one is under way. Its descriptor when it is
 * connected already, else -EINPROGRESS as long as there is hope, else the error. */
static int advance(struct dial *d) {
    while (d->next < d->plan.count) {
        struct attempt *a = &d->attempts[d->next];
        bool pending = false;
        int fd = attempt_begin(&d->plan, d->next, &pending);
        if (fd == -EAGAIN && addr_is_unix(&d->plan.list[d->next])) return -EAGAIN;
        d->next++;
        if (fd >= 0 && !pending) {
            drop_all(d);
            return fd;
        }
        if (fd < 0) {
            failed(d, fd);
            continue;
        }
        a->fd = fd;
        d->pending++;
        if (d->loop) {
            ev_io_set(&a->io, fd, EV_WRITE);
            ev_io_start(d->loop->ev, &a->io);
        }
        return -EINPROGRESS;
    }
    return d->pending ? -EINPROGRESS : d->error;
}

/* How long to wait for what is under way, ns; 0 for as long as it takes. */
static int64_t patience(struct dial *d, int outcome) {
    if (outcome == -EAGAIN) { /* the queue of a unix socket is full (connect(2)) */
        d->retry = d->retry ? d->retry * 2 : MS;
        if (d->retry > 100 * MS) d->retry = 100 * MS;
        return d->retry;
    }
    return d->next < d->plan.count ? STAGGER : 0;
}

/* As advance, but -EINPROGRESS also when the same address is to be tried again. */
static int begin(struct dial *d) {
    int outcome = advance(d);
    if (outcome != -EINPROGRESS && outcome != -EAGAIN) return outcome;
    int64_t wait = patience(d, outcome);
    if (wait && timer_set(d->loop, &d->timer, clock_ns() + wait) != 0) return -ENOMEM;
    return -EINPROGRESS;
}

static void go_on(struct dial *d) {
    int outcome = begin(d);
    if (outcome == -EINPROGRESS) return;
    drop_all(d);
    d->done(d, outcome);
}

static void timed(struct timer *t) {
    go_on(LIST_OF(t, struct dial, timer));
}

static void ready(struct ev_loop *ev, ev_io *io, int events) {
    (void)ev;
    struct attempt *a = LIST_OF(io, struct attempt, io);
    struct dial *d = a->dial;
    MAGIC_CHECK(d, MAGIC);
    /* libev could not watch it? */
    int err = events & EV_ERROR ? -ENOMEM
                                : attempt_result(a->fd, &d->plan.list[a - d->attempts]);
    if (err == 0) {
        d->done(d, take(a));
        return;
    }
    drop(a);
    failed(d, err);
    timer_clear(d->loop, &d->timer);
    go_on(d);
}

static struct dial *make(struct loop *l, const struct dial_plan *plan) {
    struct dial *d = malloc(sizeof *d + plan->count * sizeof *d->attempts);
    if (!d) return NULL;
    *d = (struct dial){.magic = MAGIC, .loop = l, .plan = *plan};
    timer_init(&d->timer, timed);
    for (unsigned i = 0; i < plan->count; i++) {
        d->attempts[i] = (struct attempt){.dial = d, .fd = -1};
        ev_io_init(&d->attempts[i].io, ready, -1, EV_WRITE);
    }
    return d;
}

int dial_start(struct dial **out, struct loop *l, const struct dial_plan *plan,
               void (*done)(struct dial *d, int fd), void *user) {
    struct dial *d = make(l, plan);
    if (!d) return -ENOMEM;
    d->done = done;
    d->user = user;
    int outcome = begin(d);
    if (outcome == -EINPROGRESS)
        *out = d;
    else
        dial_free(d);
    return outcome;
}

void *dial_user(const struct dial *d) {
    return d->user;
}

void dial_free(struct dial *d) {
    if (!d) return;
    MAGIC_CHECK(d, MAGIC);
    drop_all(d);
    d->magic = 0;
    free(d);
}

static int left_ms(int64_t until) {
    int64_t left = (until - clock_ns() + MS - 1) / MS;
    return !until ? -1 : left < 0 ? 0 : left > INT_MAX ? INT_MAX : (int)left;
}

/* Waits until something happens to an attempt, or until then; 1 with *outcome. */
static int look(struct dial *d, int64_t until, int *outcome) {
    struct pollfd fds[DIAL_MAX];
    for (unsigned i = 0; i < d->plan.count; i++)
        fds[i] = (struct pollfd){.fd = d->attempts[i].fd, .events = POLLOUT};
    if (poll(fds, d->plan.count, left_ms(until)) <= 0) return 0;
    for (unsigned i = 0; i < d->plan.count; i++) {
        if (!fds[i].revents) continue;
        int err = attempt_result(fds[i].fd, &d->plan.list[i]);
        if (err == 0) {
            *outcome = take(&d->attempts[i]);
            return 1;
        }
        drop(&d->attempts[i]);
        failed(d, err);
    }
    return 0;
}

int dial_now(const struct dial_plan *plan, int64_t deadline) {
    struct dial *d = make(NULL, plan);
    if (!d) return -ENOMEM;
    int outcome = advance(d);
    while (outcome == -EINPROGRESS || outcome == -EAGAIN) {
        int64_t wait = patience(d, outcome), until = wait ? clock_ns() + wait : 0;
        if (deadline && (!until || deadline < until)) until = deadline;
        if (look(d, until, &outcome)) break;
        outcome = deadline && clock_ns() >= deadline ? -ETIMEDOUT : advance(d);
    }
    dial_free(d);
    return outcome;
}
