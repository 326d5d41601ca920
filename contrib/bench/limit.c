/* limit: the most that this machine lets an HTTP server do. One thread, one epoll; for
 * each readable socket one read and one write of a constant answer, nothing parsed.
 *
 *   limit [-p PORT] [-a ANSWER_BYTES] [-m MODE] [-b ROUNDS] [-u PORT]
 *
 * -a is the size of the whole answer, head included, so that it can be made as large as
 * that of the server it is held against. The modes:
 *   one      each read is taken for one request
 *   count    the empty lines are counted (pipelining)
 *   close    a connection is read as soon as it is accepted, and closed when answered
 *   frames   the first read of a connection is answered as talk's handshake, each
 *            other one with a WebSocket frame of as many bytes
 *   news     the same, and each other one with such a frame to all connections
 *   relay    what is read goes to the server at the port of -u, and its answer back
 * -b is work of the CPU before each answer, what the handlers of /burn do. TERM ends
 * it. */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum mode { MODE_ONE, MODE_COUNT, MODE_CLOSE, MODE_FRAMES, MODE_NEWS, MODE_RELAY };

static const char *const mode_names[] = {"one",    "count", "close",
                                         "frames", "news",  "relay"};

/* The key that talk sends is always the same. */
static const char handshake[] = "HTTP/1.1 101 Switching Protocols\r\n"
                                "Upgrade: websocket\r\nConnection: Upgrade\r\n"
                                "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
                                "\r\n\r\n";
static const char subscribed[] = "\x81\x0asubscribed";

enum {
    EVENTS_MAX = 128,
    ACCEPTS_PER_WAKE = 16,
    READ_BYTES = 65536,
    BURST_BYTES = 1 << 20, /* answers to one read of pipelined requests */
};

/* What a connection costs the limit: eight bytes. */
struct conn {
    uint32_t owed; /* bytes of answers that the socket would not take yet */
    union {
        uint32_t matched; /* how much of CR LF CR LF the last read ended with */
        uint32_t other;   /* "relay": the descriptor of the other side */
        uint32_t greeted; /* "frames", "news": a WebSocket by now */
    };
};

struct limit {
    enum mode mode;
    int listener, epoll;
    size_t answer_len, burst_max; /* one answer; as many as fit in BURST_BYTES */
    char *burst;                  /* the answer, repeated */
    struct conn *conns;           /* by descriptor */
    size_t conns_len, highest;    /* highest: of those that are WebSockets */
    uint64_t rounds;              /* of work before an answer */
    volatile uint64_t worked;
    int upstream; /* port */
    char in[READ_BYTES];
};

static void die(const char *what) {
    fprintf(stderr, "limit: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void *zeroed(size_t n, size_t size) {
    void *p = calloc(n, size);
    if (!p) die("memory");
    return p;
}

/* Answers that are frames of WebSockets, with what talk sends. */
static void make_frames(struct limit *l, size_t want) {
    char head[4] = {(char)0x82, (char)want};
    size_t n = 2;
    if (want > 125) {
        head[1] = 126;
        head[2] = (char)(want >> 8);
        head[3] = (char)want;
        n = 4;
    }
    l->answer_len = n + want;
    l->burst_max = BURST_BYTES / l->answer_len + 1;
    l->burst = zeroed(l->burst_max, l->answer_len);
    for (size_t i = 0; i < l->burst_max; i++) {
        char *at = l->burst + i * l->answer_len;
        memcpy(at, head, n);
        for (size_t k = 0; k < want; k++) at[n + k] = (char)('a' + k * 7 % 26);
    }
}

/* A well-formed answer of exactly want bytes, or the shortest possible. */
static void make_burst(struct limit *l, size_t want) {
    static const char form[] = "HTTP/1.1 200 OK\r\n"
                               "Date: Thu, 01 Jan 1970 00:00:00 GMT\r\n"
                               "Content-Type: text/plain; charset=utf-8\r\n"
                               "%sContent-Length: %zu\r\n\r\n";
    const char *extra = l->mode == MODE_CLOSE ? "Connection: close\r\n" : "";
    char head[256];
    size_t body = 0;
    int n = snprintf(head, sizeof(head), form, extra, body);
    /* The length's own digits are part of the total: two or three steps settle it. */
    for (int i = 0; i < 4; i++) {
        body = want > (size_t)n ? want - (size_t)n : 0;
        n = snprintf(head, sizeof(head), form, extra, body);
    }
    l->answer_len = (size_t)n + body;
    l->burst_max = BURST_BYTES / l->answer_len + 1;
    l->burst = zeroed(l->burst_max, l->answer_len);
    for (size_t i = 0; i < l->burst_max; i++) {
        char *at = l->burst + i * l->answer_len;
        memcpy(at, head, (size_t)n);
        memset(at + n, 'x', body);
    }
}

static void watch(struct limit *l, int op, int fd, uint32_t events) {
    struct epoll_event e = {.events = events, .data.fd = fd};
    if (epoll_ctl(l->epoll, op, fd, &e) < 0) die("epoll_ctl");
}

static void forget(struct limit *l, int fd) {
    l->conns[fd] = (struct conn){.owed = 0};
    close(fd);
}

static uint32_t count_requests(struct conn *c, const char *at, size_t len) {
    uint32_t found = 0, matched = c->matched;
    for (size_t i = 0; i < len; i++) {
        if (at[i] == ((matched & 1) ? '\n' : '\r'))
            matched++;
        else
            matched = at[i] == '\r';
        if (matched == 4) {
            found++;
            matched = 0;
        }
    }
    c->matched = matched;
    return found;
}

/* Writes what is owed; false when the connection is gone. What is owed ends on an
 * answer's last byte, which tells where in the burst to go on. */
static bool pay(struct limit *l, int fd, bool waited) {
    struct conn *c = &l->conns[fd];
    while (c->owed > 0) {
        size_t part = c->owed % l->answer_len;
        size_t skip = part ? l->answer_len - part : 0;
        size_t len = l->burst_max * l->answer_len - skip;
        if (len > c->owed) len = c->owed;
        ssize_t n = write(fd, l->burst + skip, len);
        if (n < 0) {
            if (errno != EAGAIN) return false;
            if (!waited) watch(l, EPOLL_CTL_MOD, fd, EPOLLOUT);
            return true;
        }
        c->owed -= (uint32_t)n;
    }
    if (waited) watch(l, EPOLL_CTL_MOD, fd, EPOLLIN);
    return true;
}

static void work(struct limit *l) {
    uint64_t x = 1;
    for (uint64_t i = 0; i < l->rounds; i++) x = (x * 421 + 1663) % 7875;
    l->worked = x;
}

/* The handshake, or one frame, or one for each; a frame more than the socket takes is
 * dropped, which talk would see. */
static bool frames(struct limit *l, int fd) {
    struct conn *c = &l->conns[fd];
    if (!c->greeted) {
        c->greeted = 1;
        if ((size_t)fd > l->highest) l->highest = (size_t)fd;
        if (write(fd, handshake, sizeof(handshake) - 1) < 0) return false;
        return l->mode == MODE_FRAMES ||
               write(fd, subscribed, sizeof(subscribed) - 1) > 0;
    }
    if (l->mode == MODE_FRAMES) return write(fd, l->burst, l->answer_len) > 0;
    for (size_t i = 0; i <= l->highest; i++)
        if (l->conns[i].greeted && write((int)i, l->burst, l->answer_len) < 0)
            return false;
    return true;
}

static void readable(struct limit *l, int fd) {
    ssize_t n = read(fd, l->in, READ_BYTES);
    struct conn *c = &l->conns[fd];
    if (n <= 0) {
        if (n < 0 && errno == EAGAIN) return;
        if (l->mode == MODE_RELAY && c->other) forget(l, (int)c->other);
        forget(l, fd);
        return;
    }
    if (l->mode >= MODE_FRAMES) {
        bool well = l->mode == MODE_RELAY ? write((int)c->other, l->in, (size_t)n) == n
                                          : frames(l, fd);
        if (!well) shutdown(fd, SHUT_RDWR);
        return;
    }
    if (l->rounds) work(l);
    uint32_t answers = 1;
    if (l->mode == MODE_COUNT) answers = count_requests(c, l->in, (size_t)n);
    c->owed += answers * (uint32_t)l->answer_len;
    if (!pay(l, fd, false)) forget(l, fd);
}

/* Connection per request: answered on the spot, unless the request is not there yet
 * (the socket is then watched) or the answer does not fit (the socket then blocks). */
static void serve_once(struct limit *l, int fd, bool watched) {
    ssize_t n = recv(fd, l->in, READ_BYTES, MSG_DONTWAIT);
    if (n < 0 && errno == EAGAIN) {
        if (!watched) watch(l, EPOLL_CTL_ADD, fd, EPOLLIN);
        return;
    }
    if (n > 0 && write(fd, l->burst, l->answer_len) < 0) n = -1;
    close(fd);
}

/* The other side of a connection. */
static void dial(struct limit *l, int from) {
    struct sockaddr_in a = {.sin_family = AF_INET,
                            .sin_port = htons((uint16_t)l->upstream),
                            .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || (size_t)fd >= l->conns_len) die("socket");
    if (connect(fd, (struct sockaddr *)&a, sizeof(a)) < 0) die("connect");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    l->conns[from].other = (uint32_t)fd;
    l->conns[fd].other = (uint32_t)from;
    watch(l, EPOLL_CTL_ADD, fd, EPOLLIN);
}

static void acceptable(struct limit *l) {
    int flags = SOCK_CLOEXEC | (l->mode == MODE_CLOSE ? 0 : SOCK_NONBLOCK);
    for (int i = 0; i < ACCEPTS_PER_WAKE; i++) {
        int fd = accept4(l->listener, NULL, NULL, flags);
        if (fd < 0) return;
        int one = 1;
        if (l->mode == MODE_CLOSE) {
            serve_once(l, fd, false);
        } else if ((size_t)fd >= l->conns_len) {
            close(fd);
        } else {
            setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
            watch(l, EPOLL_CTL_ADD, fd, EPOLLIN);
            if (l->mode == MODE_RELAY) dial(l, fd);
        }
    }
}

static int listen_on(int port) {
    struct sockaddr_in a = {.sin_family = AF_INET,
                            .sin_port = htons((uint16_t)port),
                            .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(a);
    int one = 1;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) die("socket");
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    if (bind(fd, (struct sockaddr *)&a, len) < 0) die("bind");
    if (listen(fd, 4096) < 0) die("listen");
    getsockname(fd, (struct sockaddr *)&a, &len);
    fprintf(stderr, "limit: serving a constant on http://127.0.0.1:%d (pid %d)\n",
            ntohs(a.sin_port), (int)getpid());
    return fd;
}

static void run(struct limit *l) {
    struct epoll_event events[EVENTS_MAX];
    watch(l, EPOLL_CTL_ADD, l->listener, EPOLLIN);
    for (;;) {
        int n = epoll_wait(l->epoll, events, EVENTS_MAX, -1);
        for (int i = 0; i < n; i++) {
            int fd = events[i].data.fd;
            if (fd == l->listener)
                acceptable(l);
            else if (l->mode == MODE_CLOSE)
                serve_once(l, fd, true);
            else if (!(events[i].events & EPOLLOUT))
                readable(l, fd);
            else if (!pay(l, fd, true))
                forget(l, fd);
        }
    }
}

static bool mode_of(const char *name, enum mode *mode) {
    for (size_t i = 0; i < sizeof(mode_names) / sizeof(*mode_names); i++)
        if (strcmp(name, mode_names[i]) == 0) {
            *mode = (enum mode)i;
            return true;
        }
    return false;
}

int main(int argc, char **argv) {
    struct limit *l = zeroed(1, sizeof(*l));
    signal(SIGPIPE, SIG_IGN);
    int port = 0, option;
    size_t want = 0;
    bool understood = true;
    while ((option = getopt(argc, argv, "p:a:m:b:u:")) != -1) {
        switch (option) {
        case 'p': port = atoi(optarg); break;
        case 'a': want = strtoul(optarg, NULL, 10); break;
        case 'b': l->rounds = strtoul(optarg, NULL, 10); break;
        case 'u': l->upstream = atoi(optarg); break;
        case 'm': understood = understood && mode_of(optarg, &l->mode); break;
        default: understood = false;
        }
    }
    if (!understood || optind != argc || (l->mode == MODE_RELAY) != (l->upstream > 0)) {
        fprintf(stderr, "usage: limit [-p PORT] [-a ANSWER_BYTES] [-b ROUNDS] [-u PORT]"
                        " [-m one|count|close|frames|news|relay]\n");
        return 64;
    }
    l->conns_len = 65536;
    l->conns = zeroed(l->conns_len, sizeof(*l->conns));
    if (l->mode == MODE_FRAMES || l->mode == MODE_NEWS)
        make_frames(l, want);
    else
        make_burst(l, want);
    l->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (l->epoll < 0) die("epoll_create1");
    l->listener = listen_on(port);
    run(l);
}
