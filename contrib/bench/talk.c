/* talk: a client of servers that are not HTTP. One thread, one epoll.
 *
 *   talk [-c CONNECTIONS] [-s BYTES] [-d SECONDS] PORT
 *       each connection sends a message and awaits as many bytes, again and again
 *   talk -o [-c CONNECTIONS] [-s BYTES] PORT
 *       once: all connections are opened, each message is sent and answered; then the
 *       connections stay open until stdin ends
 *   talk -i [-c CONNECTIONS] PORT
 *       the same, and nothing is sent
 *   talk -p [-c CONNECTIONS] [-d SECONDS] PORT
 *       listens: by how much the last connection is told later than the first, of
 *       those that are told within the same half second
 *   talk -b -w PATH [-c CONNECTIONS] [-s BYTES] [-d SECONDS] PORT
 *       each awaits "subscribed"; then the first says a word, all must be told as many
 *       bytes as one message, and when all are, again: requests are messages told
 *   talk -w PATH ...
 *       over WebSockets: what is sent is a masked frame of that size
 *
 * Prints a line of JSON. What is echoed is compared with what was sent. */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { EVENTS_MAX = 256, TICKS_MAX = 64, FLAGS = MSG_NOSIGNAL | MSG_DONTWAIT };

struct conn {
    int fd;
    uint32_t sent, got; /* of the message under way */
    bool wants_out;
};

struct talk {
    int epoll;
    unsigned count, open;
    size_t size, wanted; /* of what is sent, and of the answer */
    bool once, idle, push, broadcast;
    char *message, *answer, *in;
    const char *path; /* of a WebSocket, or NULL */
    size_t room;
    struct conn *conns;
    uint64_t answered, errors;
    int64_t tick_first, tick_last; /* ns */
    uint64_t tick_told, ticks[TICKS_MAX];
    unsigned tick_count;
    struct sockaddr_in to;
};

static int64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static void die(const char *what) {
    fprintf(stderr, "talk: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void watch(struct talk *t, struct conn *c, bool out) {
    if (c->wants_out == out) return;
    struct epoll_event e = {.events = EPOLLIN | (out ? EPOLLOUT : 0), .data.ptr = c};
    epoll_ctl(t->epoll, EPOLL_CTL_MOD, c->fd, &e);
    c->wants_out = out;
}

static void lose(struct talk *t, struct conn *c) {
    close(c->fd);
    c->fd = -1;
    t->open--;
    t->errors++;
}

static void say(struct talk *t, struct conn *c) {
    while (c->sent < t->size) {
        ssize_t n = send(c->fd, t->message + c->sent, t->size - c->sent, FLAGS);
        if (n < 0 && errno == EAGAIN) break;
        if (n < 0) {
            lose(t, c);
            return;
        }
        c->sent += (uint32_t)n;
    }
    watch(t, c, c->sent < t->size);
}

static void shake_hands(struct talk *t, int fd) {
    char text[512];
    int n = snprintf(text, sizeof text,
                     "GET %s HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\n"
                     "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
                     "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
                     t->path);
    if (send(fd, text, (size_t)n, MSG_NOSIGNAL) != n) die("handshake");
    for (size_t at = 0; at < 4 || memcmp(text + at - 4, "\r\n\r\n", 4) != 0; at++)
        if (at == sizeof text || recv(fd, text + at, 1, 0) != 1) die("handshake");
    if (memcmp(text, "HTTP/1.1 101", 12) != 0) die("handshake");
    if (!t->broadcast) return;
    if (recv(fd, text, 12, MSG_WAITALL) != 12 ||
        memcmp(text + 1, "\x0asubscribed", 11) != 0)
        die("subscribed");
}

/* The head of a frame; a client's has a mask, which here is all zero. */
static size_t frame_head(char *to, size_t size, bool masked) {
    size_t n = 1, bytes = size < 126 ? 0 : size < 65536 ? 2 : 8;
    to[0] = (char)0x82;
    to[n++] = (char)((masked ? 0x80 : 0) | (bytes ? bytes == 2 ? 126 : 127 : size));
    while (bytes-- > 0) to[n++] = (char)(size >> 8 * bytes);
    if (!masked) return n;
    memset(to + n, 0, 4);
    return n + 4;
}

static void make_messages(struct talk *t) {
    enum { HEAD_MAX = 14 };
    size_t size = t->size;
    t->message = malloc(size + HEAD_MAX);
    t->answer = malloc(size + HEAD_MAX);
    if (!t->message || !t->answer) die("start");
    size_t head = t->path ? frame_head(t->message, size, true) : 0;
    size_t answer = t->path ? frame_head(t->answer, size, false) : 0;
    for (size_t i = 0; i < size; i++)
        t->message[head + i] = t->answer[answer + i] = (char)('a' + i * 7 % 26);
    t->size = head + size;
    t->wanted = answer + size;
}

/* One at a time, so that no queue of the server's overflows. */
static void open_all(struct talk *t) {
    int on = 1;
    for (unsigned i = 0; i < t->count; i++) {
        struct conn *c = &t->conns[i];
        c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (c->fd < 0) die("socket");
        if (connect(c->fd, (struct sockaddr *)&t->to, sizeof t->to) < 0) die("connect");
        setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        if (t->path) shake_hands(t, c->fd);
        struct epoll_event e = {.events = EPOLLIN, .data.ptr = c};
        if (epoll_ctl(t->epoll, EPOLL_CTL_ADD, c->fd, &e) < 0) die("epoll");
    }
    t->open = t->count;
}

/* The first one says so. */
static void ask_all(struct talk *t) {
    static const char word[] = "\x81\x87\0\0\0\0publish";
    t->tick_told = 0;
    t->tick_first = now_ns();
    if (send(t->conns[0].fd, word, sizeof word - 1, FLAGS) < 0) lose(t, &t->conns[0]);
}

/* The bytes of a message are counted only: it may be text or binary. */
static void told_all(struct talk *t, struct conn *c, size_t n) {
    c->got += (uint32_t)n;
    if (c->got < t->wanted) return;
    if (c->got > t->wanted) {
        lose(t, c);
        return;
    }
    c->got = 0;
    t->answered++;
    if (++t->tick_told < t->count) return;
    if (t->tick_count < TICKS_MAX)
        t->ticks[t->tick_count++] = (uint64_t)(now_ns() - t->tick_first);
    if (!t->once) ask_all(t);
}

static void told(struct talk *t) {
    int64_t now = now_ns();
    if (t->tick_told && now - t->tick_first > 500000000) {
        /* The first tick may come while some are not connected yet. */
        if (t->tick_told == t->count && t->tick_count < TICKS_MAX)
            t->ticks[t->tick_count++] = (uint64_t)(t->tick_last - t->tick_first);
        t->tick_told = 0;
    }
    if (t->tick_told++ == 0) t->tick_first = now;
    t->tick_last = now;
}

static void hear(struct talk *t, struct conn *c) {
    ssize_t n = recv(c->fd, t->in, t->room, MSG_DONTWAIT);
    if (n < 0 && errno == EAGAIN) return;
    if (n <= 0) {
        lose(t, c);
        return;
    }
    if (t->push) {
        told(t);
        return;
    }
    if (t->broadcast) {
        told_all(t, c, (size_t)n);
        return;
    }
    if (c->got + (size_t)n > t->wanted ||
        memcmp(t->in, t->answer + c->got, (size_t)n) != 0) {
        lose(t, c);
        return;
    }
    c->got += (uint32_t)n;
    if (c->got < t->wanted) return;
    t->answered++;
    if (t->once) return;
    c->sent = c->got = 0;
    say(t, c);
}

static void turn(struct talk *t, int timeout_ms) {
    struct epoll_event events[EVENTS_MAX];
    int n = epoll_wait(t->epoll, events, EVENTS_MAX, timeout_ms);
    for (int i = 0; i < n; i++) {
        struct conn *c = events[i].data.ptr;
        if (c->fd >= 0 && events[i].events & EPOLLOUT) say(t, c);
        if (c->fd >= 0 && events[i].events & ~(unsigned)EPOLLOUT) hear(t, c);
    }
}

static int by_size(const void *a, const void *b) {
    const uint64_t *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

int main(int argc, char **argv) {
    struct talk t = {.count = 1, .size = 1024};
    double seconds = 1;
    for (int o; (o = getopt(argc, argv, "c:s:d:w:oipb")) != -1;) switch (o) {
        case 'c': t.count = (unsigned)atoi(optarg); break;
        case 's': t.size = (size_t)atol(optarg); break;
        case 'd': seconds = atof(optarg); break;
        case 'w': t.path = optarg; break;
        case 'o': t.once = true; break;
        case 'i': t.once = t.idle = true; break;
        case 'p': t.push = true; break;
        case 'b': t.broadcast = true; break;
        default: return 64;
        }
    if (optind + 1 != argc || t.count < 1 || t.size < 1 || (t.broadcast && !t.path)) {
        fprintf(stderr, "usage: talk [-oipb] [-c N] [-s BYTES] [-d SECONDS] [-w PATH] "
                        "PORT\n");
        return 64;
    }
    t.to = (struct sockaddr_in){.sin_family = AF_INET,
                                .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                                .sin_port = htons((uint16_t)atoi(argv[optind]))};
    t.epoll = epoll_create1(EPOLL_CLOEXEC);
    t.room = t.size > 65536 ? t.size : 65536;
    make_messages(&t);
    t.in = malloc(t.room);
    t.conns = calloc(t.count, sizeof *t.conns);
    if (t.epoll < 0 || !t.in || !t.conns) die("start");
    int64_t begin = now_ns();
    open_all(&t);
    if (!t.once) begin = now_ns();
    int64_t end = begin + (int64_t)((t.once ? 60 : seconds) * 1e9);
    bool silent = t.push || t.idle || t.broadcast;
    if (t.broadcast) ask_all(&t);
    for (unsigned i = 0; i < t.count && !silent; i++) say(&t, &t.conns[i]);
    while (t.open > 0 && now_ns() < end && !t.idle && !(t.once && t.answered == t.open))
        turn(&t, 100);
    double took = (double)(now_ns() - begin) / 1e9;
    qsort(t.ticks, t.tick_count, sizeof *t.ticks, by_size);
    printf("{\"requests\": %llu, \"seconds\": %.6f, \"errors\": %llu, \"ticks\": %u, "
           "\"spread_us\": %.1f}\n",
           (unsigned long long)t.answered, took, (unsigned long long)t.errors,
           t.tick_count, t.tick_count ? (double)t.ticks[t.tick_count / 2] / 1e3 : 0);
    fflush(stdout);
    if (t.once) { /* whoever measures the server closes stdin */
        char byte;
        while (read(0, &byte, 1) > 0) {
        }
    }
    return 0;
}
