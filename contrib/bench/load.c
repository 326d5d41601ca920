/* load: a client that costs less than the servers it measures. It learns the length of
 * the answer from a first one, and from then on counts bytes; of each answer it looks
 * at the status only (with -V: at the body too).
 *
 *   load [options] PORT PATH
 *     -c N   connections (64)             -d S   seconds (1)
 *     -P N   requests per write (1)       -n N   this many requests instead of a time
 *     -e     a connection each            -H     send ten headers, as browsers do
 *     -L     measure latency              -V     compare each body with the first
 *     -i     make one request on each connection, print, hold them until stdin ends
 *     -b N   POST a body of N bytes    -r N   this many requests a second, see below
 *     -S N   source addresses, 127.0.0.1 and on (16 with -e, else one per 20,000)
 *
 * With -r the loop is open: a request is due each 1/N seconds, whatever the server
 * does, and its latency counts from then, so that what a stall keeps from being sent is
 * in the figures. "unsent" are those that were due and could not be sent for want of a
 * free connection; "lag" is how late this client was where one was free.
 *
 * Prints one JSON object. "errors" are requests that got no answer or a wrong one,
 * "closed" are connections that the server closed between two answers. The exit status
 * is 1 when the first answer was no 200 or nothing could be measured. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "latency.h"

enum {
    READ_BYTES = 1 << 18,
    ANSWER_MAX = 1 << 21,
    EVENTS_MAX = 128,
    STATUS_LEN = 12, /* HTTP/1.1 200 */
    ERRORS_MAX = 1000,
    PORTS_PER_ADDRESS = 20000,
    REQUEST_MAX = 1 << 17,
    SPIN_NS = 60000, /* a sleep shorter than this is not tried */
};

static const char browser_headers[] =
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 "
    "Firefox/128.0\r\n"
    "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n"
    "Accept-Language: en-GB,en;q=0.7,de;q=0.3\r\n"
    "Accept-Encoding: gzip, deflate, br\r\n"
    "Referer: http://127.0.0.1/start\r\n"
    "Cookie: session=3f1c9a7be2d84460; theme=dark\r\n"
    "Upgrade-Insecure-Requests: 1\r\n"
    "Cache-Control: max-age=0\r\n"
    "DNT: 1\r\n";

struct conn {
    int fd;
    uint32_t expected; /* answers that are still to come */
    size_t got;        /* bytes of the answer that is coming in */
    uint64_t sent_at;  /* only when latency is measured */
};

struct load {
    int port, depth, conns_len, sources;
    bool each, idle, verify, timed;
    double seconds;
    double rate;     /* requests per second; 0: as many as there can be */
    size_t body;     /* bytes */
    uint64_t target; /* requests; 0 for a time */
    const char *path;
    char *request; /* as often as go into one write */
    size_t request_len;
    char *answer; /* the first answer, whole */
    size_t answer_len, head_len;
    int epoll, next_source;
    bool stopping, blocked; /* blocked: all connections have a request */
    struct conn *conns;
    struct conn **free; /* those that wait for a request to be due */
    int free_len;
    uint64_t sent, done, errors, closed, unsent;
    struct latency latency, lag;
    char in[ANSWER_MAX];
};

static void fail(const char *form, ...) {
    va_list args;
    va_start(args, form);
    fputs("load: ", stderr);
    vfprintf(stderr, form, args);
    fputc('\n', stderr);
    va_end(args);
    exit(1);
}

static void *zeroed(size_t n, size_t size) {
    void *p = calloc(n, size);
    if (!p) fail("no memory");
    return p;
}

static uint64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* A blocking connect: on loopback it is over before it returns. */
static int dial(struct load *l) {
    struct sockaddr_in a = {.sin_family = AF_INET};
    int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return -1;
    if (l->sources > 1) {
        a.sin_addr.s_addr = htonl(INADDR_LOOPBACK + (uint32_t)l->next_source);
        l->next_source = (l->next_source + 1) % l->sources;
        setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof(one));
        if (bind(fd, (struct sockaddr *)&a, sizeof(a)) < 0) goto fail;
    }
    a.sin_port = htons((uint16_t)l->port);
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (connect(fd, (struct sockaddr *)&a, sizeof(a)) < 0) goto fail;
    if (!l->each) setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    return fd;
fail:
    close(fd);
    return -1;
}

static void make_request(struct load *l, bool browser) {
    char head[2048], length[64] = "";
    if (l->body) snprintf(length, sizeof(length), "Content-Length: %zu\r\n", l->body);
    int n = snprintf(
        head, sizeof(head), "%s %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n%s%s%s\r\n",
        l->body ? "POST" : "GET", l->path, l->port, length,
        browser ? browser_headers : "", l->each ? "Connection: close\r\n" : "");
    if (n < 0 || (size_t)n >= sizeof(head)) fail("the path is too long");
    size_t len = (size_t)n + l->body;
    l->request = zeroed((size_t)l->depth, len);
    for (int i = 0; i < l->depth; i++) {
        char *at = l->request + (size_t)i * len;
        memcpy(at, head, (size_t)n);
        for (size_t k = 0; k < l->body; k++) at[(size_t)n + k] = (char)('a' + k % 26);
    }
    l->request_len = len;
}

/* Reads the first answer with its framing; all others must be as long. */
static void learn(struct load *l) {
    int fd = dial(l);
    if (fd < 0) fail("connect: %s", strerror(errno));
    struct timeval patience = {.tv_sec = 10};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    if (send(fd, l->request, l->request_len, MSG_NOSIGNAL) < 0)
        fail("send: %s", strerror(errno));
    size_t len = 0, want = ANSWER_MAX - 1;
    while (len < want) {
        ssize_t n = read(fd, l->in + len, want - len);
        if (n <= 0) fail("the first answer was cut off after %zu bytes", len);
        len += (size_t)n;
        l->in[len] = '\0';
        char *end = strstr(l->in, "\r\n\r\n");
        if (!end || l->head_len) continue;
        l->head_len = (size_t)(end - l->in) + 4;
        char *field = strcasestr(l->in, "\r\nContent-Length:");
        if (!field || field > end) fail("the first answer has no Content-Length");
        want = l->head_len + strtoul(field + 17, NULL, 10);
        if (want >= ANSWER_MAX) fail("the answer is too long for this client");
    }
    if (len != want) fail("the first answer is longer than it says");
    if (memcmp(l->in, "HTTP/1.1 200", STATUS_LEN) != 0)
        fail("status %.3s for %s", l->in + 9, l->path);
    l->answer = zeroed(1, len);
    memcpy(l->answer, l->in, len);
    l->answer_len = len;
    close(fd);
}

/* Whether the n bytes at p may stand at offset `at` of an answer. */
static bool looks_right(const struct load *l, size_t at, const char *p, size_t n) {
    if (at < STATUS_LEN) {
        size_t len = STATUS_LEN - at < n ? STATUS_LEN - at : n;
        if (memcmp(p, l->answer + at, len) != 0) return false;
    }
    if (!l->verify || at + n <= l->head_len) return true;
    size_t skip = at < l->head_len ? l->head_len - at : 0;
    return memcmp(p + skip, l->answer + at + skip, n - skip) == 0;
}

static void ask(struct load *l, struct conn *c) {
    uint64_t count = (uint64_t)l->depth;
    if (l->target && l->target - l->sent < count) count = l->target - l->sent;
    if (l->stopping || count == 0) return;
    size_t len = count * l->request_len;
    if (l->timed) c->sent_at = now_ns();
    l->sent += count;
    c->expected = (uint32_t)count;
    /* What does not go out is missed as an answer: no second try is needed. */
    if (send(c->fd, l->request, len, MSG_NOSIGNAL) != (ssize_t)len) shutdown(c->fd, 2);
}

static void open_conn(struct load *l, struct conn *c) {
    *c = (struct conn){.fd = dial(l)};
    if (c->fd < 0) {
        l->errors++;
        return;
    }
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = c};
    if (epoll_ctl(l->epoll, EPOLL_CTL_ADD, c->fd, &e) < 0)
        fail("epoll_ctl: %s", strerror(errno));
    if (l->rate > 0)
        l->free[l->free_len++] = c;
    else
        ask(l, c);
}

/* The connection is over: what it still owed is lost, and another takes its place. */
static void replace(struct load *l, struct conn *c) {
    l->errors += c->expected;
    close(c->fd);
    *c = (struct conn){.fd = -1};
    bool over = l->stopping || (l->target && l->sent >= l->target);
    if (!over && l->errors < ERRORS_MAX) open_conn(l, c);
}

static void answered(struct load *l, struct conn *c) {
    l->done++;
    c->expected--;
    c->got = 0;
    if (l->timed) latency_add(&l->latency, now_ns() - c->sent_at);
}

/* Takes n bytes as answers; false when they are none that were asked for. */
static bool take(struct load *l, struct conn *c, const char *p, size_t n) {
    while (n > 0) {
        size_t piece = l->answer_len - c->got < n ? l->answer_len - c->got : n;
        if (c->expected == 0 || !looks_right(l, c->got, p, piece)) return false;
        c->got += piece;
        p += piece;
        n -= piece;
        if (c->got < l->answer_len) return true;
        /* With a connection each, the answer is complete when the server closes. */
        if (l->each) return n == 0;
        answered(l, c);
    }
    return true;
}

/* A whole answer that says it is the connection's last: it has another head than the
 * first answer had. Looked for with -V only. */
static bool says_close(const struct load *l, const char *p, size_t n) {
    static const char field[] = "\r\nConnection: close\r\n";
    size_t body = l->answer_len - l->head_len;
    return n > STATUS_LEN + body && memcmp(p, l->answer, STATUS_LEN) == 0 &&
           memmem(p, n, field, sizeof(field) - 1) &&
           memcmp(p + n - body, l->answer + l->head_len, body) == 0;
}

static void readable(struct load *l, struct conn *c) {
    ssize_t n = recv(c->fd, l->in, READ_BYTES, MSG_DONTWAIT);
    if (n < 0 && errno == EAGAIN) {
        if (l->rate > 0 && !c->expected) l->free[l->free_len++] = c;
        return;
    }
    if (n <= 0) {
        if (l->each && n == 0 && c->expected && c->got == l->answer_len)
            answered(l, c);
        else if (!l->each && c->expected == 0 && !l->stopping)
            l->closed++;
        replace(l, c);
    } else if (l->verify && !l->each && c->expected == 1 && c->got == 0 &&
               says_close(l, l->in, (size_t)n)) {
        answered(l, c);
        l->closed++;
        replace(l, c);
    } else if (!take(l, c, l->in, (size_t)n)) {
        if (c->expected == 0) l->errors++; /* bytes that nobody asked for */
        replace(l, c);
    } else if (!l->each && c->expected == 0) {
        if (l->rate > 0)
            l->free[l->free_len++] = c;
        else
            ask(l, c);
    }
}

static uint64_t outstanding(const struct load *l) {
    uint64_t n = 0;
    for (int i = 0; i < l->conns_len; i++) n += l->conns[i].expected;
    return n;
}

/* Runs until the time or the count is over and the last answers are in; after that it
 * waits no longer than five seconds. Returns the seconds it took. */
static double run(struct load *l) {
    struct epoll_event events[EVENTS_MAX];
    uint64_t begin = now_ns(), last = begin;
    double limit = l->target ? 120 : l->seconds;
    for (int i = 0; i < l->conns_len; i++) open_conn(l, &l->conns[i]);
    for (;;) {
        int n = epoll_wait(l->epoll, events, EVENTS_MAX, 100);
        for (int i = 0; i < n; i++) readable(l, events[i].data.ptr);
        uint64_t now = now_ns();
        double seconds = (double)(now - begin) / 1e9;
        if (n > 0) last = now;
        if (seconds >= limit || l->errors >= ERRORS_MAX) l->stopping = true;
        bool over = l->stopping || (l->target && l->sent >= l->target);
        if (over && outstanding(l) == 0) break;
        if (l->stopping && seconds >= limit + 5) break;
        if (n == 0 && !l->stopping && outstanding(l) == 0) break; /* none is left */
    }
    l->errors += outstanding(l);
    return (double)(last - begin) / 1e9;
}

/* A free connection that the server closes is no longer free. */
static void not_free(struct load *l, const struct conn *c) {
    for (int i = 0; i < l->free_len; i++)
        if (l->free[i] == c) l->free[i--] = l->free[--l->free_len];
}

/* Sends what is due at `now`; returns when the next is. */
static uint64_t send_due(struct load *l, uint64_t begin, uint64_t now, uint64_t most) {
    bool blocked = l->blocked;
    for (;;) {
        uint64_t due = begin + (uint64_t)((double)l->sent * 1e9 / l->rate);
        l->blocked = due <= now && l->free_len == 0;
        if (l->sent == most || due > now || l->blocked) return due;
        struct conn *c = l->free[--l->free_len];
        if (!blocked) latency_add(&l->lag, now - due);
        ask(l, c);
        c->sent_at = due;
    }
}

/* The open loop. What is due and unsent two seconds after the end is given up. */
static double run_paced(struct load *l) {
    struct epoll_event events[EVENTS_MAX];
    for (int i = 0; i < l->conns_len; i++) open_conn(l, &l->conns[i]);
    uint64_t begin = now_ns() + 1000000, now = begin, last = begin;
    uint64_t most = (uint64_t)(l->rate * l->seconds);
    for (;;) {
        now = now_ns();
        uint64_t due = send_due(l, begin, now, most);
        bool over = l->sent == most && outstanding(l) == 0;
        if (over || (double)now > (double)begin + (l->seconds + 2) * 1e9) break;
        uint64_t idle = due > now + SPIN_NS ? due - now - SPIN_NS : 0;
        if (l->sent == most || l->free_len == 0) idle = 50000000;
        struct timespec pause = {.tv_nsec = (long)(idle < 50000000 ? idle : 50000000)};
        int n = epoll_pwait2(l->epoll, events, EVENTS_MAX, &pause, NULL);
        for (int i = 0; i < n; i++) {
            struct conn *c = events[i].data.ptr;
            if (!c->expected) not_free(l, c);
            readable(l, c);
        }
        if (n > 0) last = now_ns();
    }
    l->unsent = most - l->sent;
    l->errors += outstanding(l);
    return (double)(last - begin) / 1e9;
}

/* One request on each connection, one after the other; then they are left alone. */
static double run_idle(struct load *l) {
    uint64_t begin = now_ns();
    for (int i = 0; i < l->conns_len && l->errors < ERRORS_MAX; i++) {
        struct conn *c = &l->conns[i];
        c->fd = dial(l);
        if (c->fd < 0) {
            l->errors++;
            continue;
        }
        struct timeval patience = {.tv_sec = 5};
        setsockopt(c->fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
        ask(l, c);
        while (c->expected) {
            ssize_t n = read(c->fd, l->in, READ_BYTES);
            if (n <= 0 || !take(l, c, l->in, (size_t)n)) break;
        }
        l->errors += c->expected;
    }
    return (double)(now_ns() - begin) / 1e9;
}

static void print_result(const struct load *l, double seconds) {
    printf(
        "{\"requests\": %llu, \"seconds\": %.6f, \"errors\": %llu, \"closed\": %llu, "
        "\"answer_bytes\": %zu",
        (unsigned long long)l->done, seconds, (unsigned long long)l->errors,
        (unsigned long long)l->closed, l->answer_len);
    if (l->timed)
        printf(", \"p50_us\": %.1f, \"p99_us\": %.1f, \"max_us\": %.1f",
               latency_at(&l->latency, 0.5), latency_at(&l->latency, 0.99),
               (double)l->latency.max / 1e3);
    if (l->timed) printf(", \"p999_us\": %.1f", latency_at(&l->latency, 0.999));
    if (l->rate > 0)
        printf(", \"unsent\": %llu, \"lag_p99_us\": %.1f",
               (unsigned long long)l->unsent, latency_at(&l->lag, 0.99));
    puts("}");
    fflush(stdout);
}

static void allow_descriptors(int want) {
    struct rlimit r;
    if (getrlimit(RLIMIT_NOFILE, &r) < 0) return;
    rlim_t need = (rlim_t)want + 32;
    if (r.rlim_cur >= need) return;
    r.rlim_cur = need < r.rlim_max ? need : r.rlim_max;
    setrlimit(RLIMIT_NOFILE, &r);
}

int main(int argc, char **argv) {
    struct load *l = zeroed(1, sizeof(*l));
    bool browser = false;
    int option;
    l->depth = 1;
    l->conns_len = 64;
    l->seconds = 1;
    while ((option = getopt(argc, argv, "c:d:P:n:S:b:r:eHLVi")) != -1) {
        switch (option) {
        case 'c': l->conns_len = atoi(optarg); break;
        case 'd': l->seconds = atof(optarg); break;
        case 'P': l->depth = atoi(optarg); break;
        case 'n': l->target = strtoull(optarg, NULL, 10); break;
        case 'S': l->sources = atoi(optarg); break;
        case 'b': l->body = strtoul(optarg, NULL, 10); break;
        case 'r': l->rate = atof(optarg); break;
        case 'e': l->each = true; break;
        case 'H': browser = true; break;
        case 'L': l->timed = true; break;
        case 'V': l->verify = true; break;
        case 'i': l->idle = true; break;
        default: return 64;
        }
    }
    if (argc - optind != 2 || l->conns_len < 1 || l->depth < 1 || l->depth > 1024 ||
        l->body > REQUEST_MAX || (l->each && l->depth > 1) ||
        (l->rate > 0 && (l->each || l->target || l->depth > 1))) {
        fprintf(stderr, "usage: load [-c N] [-d S | -n N] [-P N] [-S N] [-b N] "
                        "[-r N] [-eiHLV] PORT PATH\n");
        return 64;
    }
    l->port = atoi(argv[optind]);
    l->path = argv[optind + 1];
    if (!l->sources) l->sources = l->each ? 16 : 1 + l->conns_len / PORTS_PER_ADDRESS;
    allow_descriptors(l->conns_len);
    l->conns = zeroed((size_t)l->conns_len, sizeof(*l->conns));
    l->free = zeroed((size_t)l->conns_len, sizeof(*l->free));
    if (l->rate > 0) l->timed = true;
    make_request(l, browser);
    learn(l);
    l->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (l->epoll < 0) fail("epoll_create1: %s", strerror(errno));
    double took = l->idle ? run_idle(l) : l->rate > 0 ? run_paced(l) : run(l);
    print_result(l, took);
    if (l->idle)
        while (read(0, l->in, READ_BYTES) > 0) {
        }
    return l->done > 0 ? 0 : 1;
}
