#include "net/dns.h"

#include "base/check.h"
#include "base/err.h"

#include <netinet/in.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { MAGIC = 0x646e7373, TRIES = 3, PATIENCE_MS = 2000 };

static const char CONFIG[] = "/etc/resolv.conf";

struct dns {
    uint32_t magic;
    unsigned asked; /* and not yet answered */
    bool leaving;
    bool reads_config;
    struct loop *loop;
    ares_channel channel;
    struct timer timer;  /* always set, so that setting it cannot fail */
    struct link sockets; /* c-ares opens one per server and protocol, while it asks */
    struct timespec changed;
    struct grave grave;
};

struct socket {
    ev_io io;
    struct link link;
    struct dns *dns;
};

static void schedule(struct dns *d) {
    struct timeval left;
    int64_t at = INT64_MAX;
    if (ares_timeout(d->channel, NULL, &left)) {
        int64_t us = (int64_t)left.tv_sec * 1000000 + left.tv_usec;
        at = clock_ns() + us * 1000 + 1000000; /* c-ares counts milliseconds */
    }
    CHECK(timer_set(d->loop, &d->timer, at) == 0);
}

static void overdue(struct timer *t) {
    struct dns *d = LIST_OF(t, struct dns, timer);
    CHECK(timer_set(d->loop, t, INT64_MAX) == 0);
    ares_process_fd(d->channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
    schedule(d);
}

static void ready(struct ev_loop *ev, ev_io *io, int events) {
    struct dns *d = ((struct socket *)io->data)->dns;
    if (events & EV_ERROR) loop_watch_again(ev, io);
    int fd = io->fd;
    ares_process_fd(d->channel, events & EV_READ ? fd : ARES_SOCKET_BAD,
                    events & EV_WRITE ? fd : ARES_SOCKET_BAD);
    schedule(d);
}

/* c-ares opens a socket: where this fails it counts the server as failed. */
static int opened(ares_socket_t fd, int type, void *data) {
    (void)type;
    struct dns *d = data;
    struct socket *s = calloc(1, sizeof *s);
    if (!s) return -1;
    ev_io_init(&s->io, ready, fd, EV_NONE);
    s->io.data = s;
    s->dns = d;
    list_append(&d->sockets, &s->link);
    return 0;
}

/* It wants other events, or, wanting none, is about to close it. */
static void wants(void *data, ares_socket_t fd, int readable, int writable) {
    struct dns *d = data;
    struct socket *s = NULL;
    for (struct link *l = d->sockets.next; l != &d->sockets && !s; l = l->next)
        if (LIST_OF(l, struct socket, link)->io.fd == fd)
            s = LIST_OF(l, struct socket, link);
    if (!s) return;
    ev_io_stop(d->loop->ev, &s->io);
    if (!readable && !writable) {
        list_unlink(&s->link);
        free(s);
        return;
    }
    ev_io_set(&s->io, fd, (readable ? EV_READ : 0) | (writable ? EV_WRITE : 0));
    ev_io_start(d->loop->ev, &s->io);
}

static struct timespec config_changed(void) {
    struct stat st;
    return stat(CONFIG, &st) == 0 ? st.st_mtim : (struct timespec){0};
}

static int set_servers(struct dns *d, const struct dns_options *o) {
    struct ares_addr_port_node nodes[DNS_SERVERS] = {0};
    for (unsigned i = 0; i < o->count; i++) {
        struct ares_addr_port_node *n = &nodes[i];
        const struct sockaddr_storage *at = &o->servers[i].at;
        const struct sockaddr_in *v4 = (const struct sockaddr_in *)at;
        const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)at;
        bool is_v6 = at->ss_family == AF_INET6;
        n->family = at->ss_family;
        if (is_v6)
            memcpy(&n->addr.addr6, &v6->sin6_addr, sizeof v6->sin6_addr);
        else
            n->addr.addr4 = v4->sin_addr;
        n->udp_port = n->tcp_port = ntohs(is_v6 ? v6->sin6_port : v4->sin_port);
        if (i > 0) nodes[i - 1].next = n;
    }
    return ares_set_servers_ports(d->channel, nodes) == ARES_SUCCESS ? 0 : -ENOMEM;
}

static void init_library(void) {
    ares_library_init(ARES_LIB_INIT_ALL);
}

static int open_channel(struct dns *d, const struct dns_options *o) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    int64_t ms = o->patience / 1000000;
    struct ares_options options = {
        .timeout = ms > 0 ? (int)ms : PATIENCE_MS,
        .tries = TRIES,
        .sock_state_cb = wants,
        .sock_state_cb_data = d,
    };
    pthread_once(&once, init_library);
    d->reads_config = o->count == 0;
    d->changed = config_changed(); /* before it is read: a change is not missed */
    int status =
        ares_init_options(&d->channel, &options,
                          ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_SOCK_STATE_CB);
    if (status != ARES_SUCCESS) return status == ARES_ENOMEM ? -ENOMEM : -EIO;
    ares_set_socket_callback(d->channel, opened, d);
    int err = o->count ? set_servers(d, o) : 0;
    if (err) ares_destroy(d->channel);
    return err;
}

struct dns *dns_new(struct loop *l, const struct dns_options *o, int *err) {
    struct dns *d = calloc(1, sizeof *d);
    *err = -ENOMEM;
    if (!d) return NULL;
    d->magic = MAGIC;
    d->loop = l;
    list_init(&d->sockets);
    timer_init(&d->timer, overdue);
    if (timer_set(l, &d->timer, INT64_MAX) == 0) {
        *err = open_channel(d, o);
        if (!*err) return d;
        timer_clear(l, &d->timer);
    }
    free(d);
    return NULL;
}

void dns_free(struct dns *d) {
    MAGIC_CHECK(d, MAGIC);
    d->leaving = false;
    ares_destroy(d->channel);
    CHECK(d->asked == 0 && list_empty(&d->sockets));
    timer_clear(d->loop, &d->timer);
    d->magic = 0;
    free(d);
}

static void bury(struct grave *g) {
    dns_free(LIST_OF(g, struct dns, grave));
}

static void leave_when_idle(struct dns *d) {
    if (!d->leaving || d->asked) return;
    d->leaving = false;
    d->grave.done = bury;
    loop_bury(d->loop, &d->grave);
}

void dns_leave(struct dns *d) {
    d->leaving = true;
    leave_when_idle(d);
}

bool dns_is_aged(const struct dns *d) {
    if (!d->reads_config) return false;
    struct timespec now = config_changed();
    return now.tv_sec != d->changed.tv_sec || now.tv_nsec != d->changed.tv_nsec;
}

void dns_ask(struct dns *d, const char *name, int family,
             ares_addrinfo_callback answered, void *data) {
    MAGIC_CHECK(d, MAGIC);
    const struct ares_addrinfo_hints hints = {
        .ai_flags = ARES_AI_ENVHOSTS, .ai_family = family, .ai_socktype = SOCK_STREAM};
    d->asked++;
    ares_getaddrinfo(d->channel, name, NULL, &hints, answered, data);
    schedule(d);
}

void dns_answered(struct dns *d) {
    MAGIC_CHECK(d, MAGIC);
    CHECK(d->asked > 0);
    d->asked--;
    leave_when_idle(d);
}
