#include "net/listen.h"

#include "base/err.h"
#include "base/fd.h"
#include "base/log.h"
#include "net/bind.h"

#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <unistd.h>

static const int64_t BACKOFF = 100 * 1000000;
static const int64_t TELL_AGAIN = 10000000000; /* the same trouble */

/* Who fills it to the brim again and again is not to fill the log. */
static bool may_tell(struct acceptor *l) {
    if (l->told || l->loop->now < l->tell_after) return false;
    l->tell_after = l->loop->now + TELL_AGAIN;
    l->told = true;
    return true;
}

static void ready(struct ev_loop *ev, ev_io *io, int events) {
    (void)ev;
    struct acceptor *l = io->data;
    if (events & EV_ERROR) { /* libev could not watch it, and has stopped */
        if (may_tell(l))
            log_error("cannot wait for connections: %s", err_text(-ENOMEM));
        acceptor_pause(l, BACKOFF);
    } else if (!l->paused) {
        l->acceptable(l);
    }
}

static void resume(struct timer *t) {
    struct acceptor *l = LIST_OF(t, struct acceptor, backoff);
    l->paused = false;
    ev_io_start(l->loop->ev, &l->io);
    if (l->want_exclusive) {
        l->tries = 0;
        loop_defer(l->loop, &l->exclusive);
    }
    l->acceptable(l);
}

static void make_exclusive(struct deferred *d) {
    struct acceptor *l = LIST_OF(d, struct acceptor, exclusive);
    if (l->paused) return;
    /* libev registers when it next turns: the first try is too early. */
    if (loop_exclusive(l->loop, l->io.fd) == -EAGAIN && l->tries++ < 3)
        loop_defer(l->loop, d);
}

int acceptor_init(struct acceptor *l, struct loop *loop, int fd,
                  void (*acceptable)(struct acceptor *l), void *user) {
    int clone = fd_dup(fd);
    if (clone < 0) return clone;
    *l = (struct acceptor){.loop = loop, .acceptable = acceptable, .user = user};
    ev_io_init(&l->io, ready, clone, EV_READ);
    l->io.data = l;
    timer_init(&l->backoff, resume);
    list_init(&l->exclusive.link);
    l->exclusive.run = make_exclusive;
    l->spare = open("/dev/null", O_RDONLY | O_CLOEXEC);
    return 0;
}

static void unregister(struct acceptor *l) {
    /* Left in epoll, an exclusive one would swallow wake-ups meant for other loops. */
    loop_forget(l->loop, &l->io);
    ev_io_set(&l->io, l->io.fd, EV_READ);
}

void acceptor_done(struct acceptor *l) {
    timer_clear(l->loop, &l->backoff);
    list_unlink(&l->exclusive.link);
    unregister(l);
    fd_close(&l->io.fd);
    fd_close(&l->spare);
}

void acceptor_patience(struct acceptor *l, int64_t ns) {
    int64_t ms = ns / 1000000;
    /* Unix sockets refuse it, and do not need it. */
    bind_option(l->io.fd, IPPROTO_TCP, TCP_USER_TIMEOUT,
                ms > INT_MAX ? INT_MAX : (int)ms);
}

void acceptor_start(struct acceptor *l, bool exclusive) {
    ev_io_start(l->loop->ev, &l->io);
    l->want_exclusive = exclusive;
    if (exclusive) loop_defer(l->loop, &l->exclusive);
}

void acceptor_pause(struct acceptor *l, int64_t ns) {
    if (!l->paused) unregister(l);
    l->paused = true;
    timer_set(l->loop, &l->backoff, l->loop->now + ns);
}

void acceptor_resume(struct acceptor *l) {
    if (l->paused) timer_set(l->loop, &l->backoff, l->loop->now);
}

static int take(struct acceptor *l, struct sockaddr_storage *peer) {
    socklen_t size = sizeof *peer;
    peer->ss_family = AF_UNSPEC;
    int fd =
        accept4(l->io.fd, (struct sockaddr *)peer, &size, SOCK_NONBLOCK | SOCK_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

/* The oldest waiting client gets an answer instead of silence. */
static void turn_one_away(struct acceptor *l) {
    struct sockaddr_storage peer;
    fd_close(&l->spare);
    int fd = take(l, &peer);
    if (fd >= 0) {
        if (send(fd, l->farewell.at, l->farewell.len, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
            errno = 0; /* it is being turned away all the same */
        shutdown(fd, SHUT_WR);
        close(fd);
    }
    l->spare = open("/dev/null", O_RDONLY | O_CLOEXEC);
}

int acceptor_accept(struct acceptor *l, struct sockaddr_storage *peer) {
    for (;;) {
        int fd = take(l, peer);
        if (fd >= 0) {
            if (l->told) {
                l->told = false;
                log_info("accepting connections again");
            }
            return fd;
        }
        switch (-fd) {
        case EMFILE:
        case ENFILE:
        case ENOBUFS:
        case ENOMEM:
            if (may_tell(l))
                log_error("cannot accept connections: %s; clients wait, and are turned "
                          "away ten a second",
                          err_text(fd));
            turn_one_away(l);
            acceptor_pause(l, BACKOFF);
            return fd;
        case EINTR:
        case ECONNABORTED:
        case EPROTO: continue; /* that client has gone; the next one may be there */
        default: return fd;
        }
    }
}
