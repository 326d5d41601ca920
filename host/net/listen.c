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

enum { AWAY_MOST = 64 };

static const int64_t BACKOFF = 100 * 1000000;
static const int64_t TELL_AGAIN = 10000000000; /* the same trouble */

bool trouble_begins(struct trouble *t, int64_t now) {
    if (t->told || now < t->tell_after) return false;
    t->tell_after = now + TELL_AGAIN;
    return t->told = true;
}

bool trouble_ends(struct trouble *t) {
    bool told = t->told;
    t->told = false;
    return told;
}

/* It is not watched any more. */
static void wait_again(struct acceptor *l) {
    if (trouble_begins(&l->trouble, l->loop->now))
        log_error("cannot wait for connections: %s", err_text(-ENOMEM));
    acceptor_pause(l, BACKOFF);
}

static void ready(struct ev_loop *ev, ev_io *io, int events) {
    (void)ev;
    struct acceptor *l = io->data;
    if (events & EV_ERROR) { /* libev could not watch it, and has stopped */
        wait_again(l);
    } else if (!l->paused) {
        l->acceptable(l);
    }
}

static void resume(struct timer *t) {
    struct acceptor *l = LIST_OF(t, struct acceptor, backoff);
    l->paused = false;
    list_unlink(&l->hungry.link);
    ev_io_start(l->loop->ev, &l->io);
    if (l->want_exclusive) {
        l->tries = 0;
        loop_defer(l->loop, &l->exclusive);
    }
    l->acceptable(l);
}

static void fed(struct hungry *h) {
    acceptor_resume(LIST_OF(h, struct acceptor, hungry));
}

static void make_exclusive(struct deferred *d) {
    struct acceptor *l = LIST_OF(d, struct acceptor, exclusive);
    if (l->paused) return;
    /* libev registers when it next turns: the first try is too early. */
    int err = loop_exclusive(l->loop, l->io.fd);
    if (err == -EAGAIN && l->tries++ < 3)
        loop_defer(l->loop, d);
    else if (err == -EBADF)
        wait_again(l);
}

int acceptor_init(struct acceptor *l, struct loop *loop, int fd,
                  void (*acceptable)(struct acceptor *l), void *user) {
    int clone = fd_dup(fd);
    if (clone < 0) return clone;
    *l = (struct acceptor){.loop = loop,
                           .acceptable = acceptable,
                           .user = user,
                           .hungry.fed = fed,
                           .away = 1};
    ev_io_init(&l->io, ready, clone, EV_READ);
    l->io.data = l;
    timer_init(&l->backoff, resume);
    list_init(&l->hungry.link);
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
    list_unlink(&l->hungry.link);
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
    if (timer_set(l->loop, &l->backoff, l->loop->now + ns) != 0) return; /* for ever */
    if (!l->paused) unregister(l);
    l->paused = true;
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

static bool turn_one_away(struct acceptor *l) {
    struct sockaddr_storage peer;
    int fd = take(l, &peer);
    if (fd < 0) return false;
    if (send(fd, l->farewell.at, l->farewell.len, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
        errno = 0; /* it is being turned away all the same */
    shutdown(fd, SHUT_WR);
    close(fd);
    return true;
}

/* Those who have waited for longest get an answer instead of silence. */
static void turn_away(struct acceptor *l) {
    if (l->loop->now < l->away_after) return;
    l->away_after = l->loop->now + BACKOFF;
    fd_close(&l->spare);
    for (unsigned i = 0; i < l->away && turn_one_away(l); i++) continue;
    l->spare = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (l->away < AWAY_MOST) l->away *= 2;
}

int acceptor_accept(struct acceptor *l, struct sockaddr_storage *peer) {
    for (;;) {
        int fd = take(l, peer);
        if (fd >= 0) {
            if (trouble_ends(&l->trouble)) log_info("accepting connections again");
            l->away = 1;
            return fd;
        }
        switch (-fd) {
        case EMFILE:
        case ENFILE:
        case ENOBUFS:
        case ENOMEM:
            if (trouble_begins(&l->trouble, l->loop->now))
                log_error("cannot accept connections: %s; clients wait, and some are "
                          "turned away",
                          err_text(fd));
            turn_away(l);
            acceptor_pause(l, BACKOFF);
            loop_hunger(l->loop, &l->hungry);
            return fd;
        case EINTR:
        case ECONNABORTED:
        case EPROTO: continue; /* that client has gone; the next one may be there */
        default: return fd;
        }
    }
}
