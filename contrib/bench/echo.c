/* echo: what comes is sent back, in C on libev: what contrib/examples/echo.lua is held
 * against. One thread; a connection that takes nothing is not read from.
 *
 *   echo PORT
 *
 * TERM ends it. */
#include <errno.h>
#include <ev.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { READ_BYTES = 65536 };

struct conn {
    ev_io io;
    char *rest; /* what the socket would not take yet, or NULL */
    size_t at, len;
};

static char in[READ_BYTES];

static void die(const char *what) {
    fprintf(stderr, "echo: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void end(struct ev_loop *loop, struct conn *c) {
    ev_io_stop(loop, &c->io);
    close(c->io.fd);
    free(c->rest);
    free(c);
}

static void watch(struct ev_loop *loop, struct conn *c, int events) {
    ev_io_stop(loop, &c->io);
    ev_io_set(&c->io, c->io.fd, events);
    ev_io_start(loop, &c->io);
}

/* Bytes that were taken, or -1 when the connection is gone. */
static ssize_t put(int fd, const char *from, size_t len) {
    ssize_t n = send(fd, from, len, MSG_NOSIGNAL);
    return n < 0 && errno == EAGAIN ? 0 : n;
}

static void writable(struct ev_loop *loop, struct conn *c) {
    ssize_t n = put(c->io.fd, c->rest + c->at, c->len - c->at);
    if (n < 0) {
        end(loop, c);
        return;
    }
    c->at += (size_t)n;
    if (c->at < c->len) return;
    free(c->rest);
    c->rest = NULL;
    watch(loop, c, EV_READ);
}

static void ready(struct ev_loop *loop, ev_io *io, int events) {
    struct conn *c = (struct conn *)io;
    if (events & EV_WRITE) {
        writable(loop, c);
        return;
    }
    ssize_t got = read(io->fd, in, sizeof in);
    if (got < 0 && errno == EAGAIN) return;
    ssize_t n = got > 0 ? put(io->fd, in, (size_t)got) : -1;
    if (n < 0) {
        end(loop, c);
    } else if (n < got) {
        c->at = 0;
        c->len = (size_t)(got - n);
        c->rest = malloc(c->len);
        if (!c->rest) die("memory");
        memcpy(c->rest, in + n, c->len);
        watch(loop, c, EV_WRITE);
    }
}

static void acceptable(struct ev_loop *loop, ev_io *io, int events) {
    int fd, on = 1;
    (void)events;
    while ((fd = accept4(io->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        struct conn *c = calloc(1, sizeof *c);
        if (!c) die("memory");
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        ev_io_init(&c->io, ready, fd, EV_READ);
        ev_io_start(loop, &c->io);
    }
}

int main(int argc, char **argv) {
    struct sockaddr_in a = {.sin_family = AF_INET};
    int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (argc != 2) {
        fprintf(stderr, "usage: echo PORT\n");
        return 64;
    }
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    a.sin_port = htons((uint16_t)atoi(argv[1]));
    if (fd < 0) die("socket");
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, (struct sockaddr *)&a, sizeof a) < 0 || listen(fd, 4096) < 0)
        die("listen");
    struct ev_loop *loop = ev_default_loop(0);
    ev_io io;
    ev_io_init(&io, acceptable, fd, EV_READ);
    ev_io_start(loop, &io);
    ev_run(loop, 0);
    return 0;
}
