#include "net/resolve.h"

#include "base/check.h"
#include "base/err.h"

#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum {
    MAGIC = 0x6e616d65,
    BUCKETS = 256,
    NAME_MAX_LEN = 254, /* 253 bytes and a NUL */
    LEAST_S = 1,
    MOST_S = 300,
};

/* A name in one family, being asked for or answered. */
struct name {
    struct name *next; /* in its bucket */
    struct link used;  /* of the answered ones, the longest unused first */
    struct link waiting;
    struct resolver *resolver;
    struct dns *dns; /* while it is being asked for */
    int family;
    int err;
    const char *why;
    int64_t expires;
    unsigned count;
    struct sockaddr_in6 list[RESOLVE_MAX]; /* or sockaddr_in */
    char text[];
};

struct resolver {
    uint32_t magic;
    struct loop *loop;
    struct dns_options options;
    struct dns *dns; /* NULL until a name has to be asked for */
    struct name *buckets[BUCKETS];
    struct link answered;
    unsigned answered_count;
    struct link done; /* queries */
    struct deferred turn;
};

/* Names. */

static struct name **bucket_of(struct resolver *r, const char *text, int family) {
    uint32_t hash = 2166136261u ^ (uint32_t)family;
    for (const char *at = text; *at; at++) {
        unsigned char c = (unsigned char)*at;
        hash = (hash ^ (c >= 'A' && c <= 'Z' ? c | 0x20 : c)) * 16777619u;
    }
    return &r->buckets[(hash ^ hash >> 16) % BUCKETS];
}

static struct name *find(struct resolver *r, const char *text, int family) {
    struct name *n = *bucket_of(r, text, family);
    while (n && (n->family != family || strcasecmp(n->text, text) != 0)) n = n->next;
    return n;
}

static struct name *add(struct resolver *r, const char *text, int family) {
    size_t size = strlen(text) + 1;
    struct name *n = calloc(1, sizeof *n + size), **bucket;
    if (!n) return NULL;
    memcpy(n->text, text, size);
    n->resolver = r;
    n->family = family;
    list_init(&n->used);
    list_init(&n->waiting);
    bucket = bucket_of(r, text, family);
    n->next = *bucket;
    *bucket = n;
    return n;
}

static void leave_cache(struct name *n) {
    if (list_empty(&n->used)) return;
    list_unlink(&n->used);
    n->resolver->answered_count--;
}

static void drop(struct name *n) {
    struct name **at = bucket_of(n->resolver, n->text, n->family);
    while (*at != n) at = &(*at)->next;
    *at = n->next;
    leave_cache(n);
    free(n);
}

static void drop_oldest(struct resolver *r) {
    drop(LIST_OF(list_first(&r->answered), struct name, used));
}

static void keep(struct name *n) {
    struct resolver *r = n->resolver;
    leave_cache(n);
    list_append(&r->answered, &n->used);
    if (++r->answered_count > RESOLVE_CACHED) drop_oldest(r);
}

/* Queries. */

static void turn(struct deferred *d) {
    struct resolver *r = LIST_OF(d, struct resolver, turn);
    struct link batch, *first;
    list_init(&batch);
    list_splice(&batch, &r->done);
    while ((first = list_first(&batch))) { /* each may cancel others */
        list_unlink(first);
        struct resolve_query *q = LIST_OF(first, struct resolve_query, link);
        q->done(q, q->err);
    }
}

static void finish(struct resolve_query *q) {
    list_unlink(&q->link);
    list_append(&q->resolver->done, &q->link);
    loop_defer(q->resolver->loop, &q->resolver->turn);
}

static void answer(struct resolve_query *q, int err, const char *why) {
    q->count = 0;
    q->err = err;
    q->why = why;
}

static void answer_from(struct resolve_query *q, const struct name *n) {
    answer(q, n->err, n->why);
    q->count = n->count;
    for (unsigned i = 0; i < n->count; i++) {
        bool is_v6 = n->list[i].sin6_family == AF_INET6;
        q->list[i] = (struct addr){.len = is_v6 ? sizeof(struct sockaddr_in6)
                                                : sizeof(struct sockaddr_in)};
        memcpy(&q->list[i].at, &n->list[i], q->list[i].len);
        /* At the same place in both. */
        ((struct sockaddr_in *)&q->list[i].at)->sin_port = htons(q->port);
    }
}

/* Answers. */

static int meaning(int status, const char **why) {
    switch (status) {
    case ARES_ENOTFOUND: *why = "host not found"; return ERR_NOT_FOUND;
    case ARES_ENODATA: *why = "the name has no such address"; return ERR_NOT_FOUND;
    case ARES_EBADNAME: *why = "no host can have this name"; return ERR_NOT_FOUND;
    case ARES_ETIMEOUT: *why = "no name server has answered"; return -ETIMEDOUT;
    case ARES_ENOMEM: *why = "not enough memory"; return -ENOMEM;
    case ARES_EBADRESP: *why = "the name server's answer is malformed"; break;
    default: *why = "the name servers fail or cannot be reached"; break;
    }
    return ERR_NAMES;
}

static void take(struct name *n, int status, const struct ares_addrinfo *found) {
    int64_t seconds = MOST_S;
    n->count = 0;
    n->why = NULL;
    n->err = 0;
    if (status == ARES_SUCCESS) {
        const struct ares_addrinfo_node *a = found->nodes;
        for (; a && n->count < RESOLVE_MAX; a = a->ai_next) {
            if (a->ai_addrlen > sizeof *n->list) continue;
            memcpy(&n->list[n->count++], a->ai_addr, a->ai_addrlen);
            if (a->ai_ttl < seconds) seconds = a->ai_ttl;
        }
        const struct ares_addrinfo_cname *c = found->cnames;
        for (; c; c = c->next)
            if (c->ttl < seconds) seconds = c->ttl;
        if (!n->count) status = ARES_ENODATA;
    }
    if (status != ARES_SUCCESS) n->err = meaning(status, &n->why);
    if (n->err || seconds < LEAST_S) seconds = LEAST_S;
    n->expires = clock_ns() + seconds * CLOCK_SECOND;
}

static void answered(void *data, int status, int timeouts,
                     struct ares_addrinfo *found) {
    (void)timeouts;
    struct name *n = data;
    dns_answered(n->dns);
    n->dns = NULL;
    take(n, status, found);
    if (found) ares_freeaddrinfo(found);
    struct link *first;
    while ((first = list_first(&n->waiting))) {
        struct resolve_query *q = LIST_OF(first, struct resolve_query, link);
        answer_from(q, n);
        finish(q);
    }
    if (!n->err || n->err == ERR_NOT_FOUND)
        keep(n);
    else
        drop(n);
}

static int ask(struct resolver *r, struct name *n) {
    int err;
    if (r->dns && dns_is_aged(r->dns)) {
        dns_leave(r->dns);
        r->dns = NULL;
    }
    if (!r->dns && !(r->dns = dns_new(r->loop, &r->options, &err))) return err;
    leave_cache(n);
    n->dns = r->dns;
    dns_ask(n->dns, n->text, n->family, answered, n);
    return 0;
}

/* What must not become a question. */
static bool is_name(const char *text) {
    size_t len = strlen(text);
    if (len == 0 || text[0] == '.') return false;
    if (len >= NAME_MAX_LEN + (text[len - 1] == '.')) return false;
    for (size_t i = 0; i < len; i++)
        if ((unsigned char)text[i] <= ' ' || strchr("/@?#:%[]\\\x7f", text[i]))
            return false;
    return true;
}

/* The machine itself, which has all names in localhost (RFC 6761, 6.3). Not left to
 * c-ares: it knows but the one, and 1.18 loses memory when the hosts file does not. */
static bool is_here(const char *text) {
    size_t len = strlen(text), all = sizeof "localhost" - 1;
    if (len > 0 && text[len - 1] == '.') len--;
    return len >= all && (len == all || text[len - all - 1] == '.') &&
           strncasecmp(text + len - all, "localhost", all) == 0;
}

static void answer_here(struct resolve_query *q, int family) {
    static const char *const loopback[] = {"127.0.0.1", "::1"};
    answer(q, 0, NULL);
    for (size_t i = 0; i < sizeof loopback / sizeof *loopback; i++) {
        struct addr *a = &q->list[q->count];
        addr_literal(loopback[i], q->port, a);
        if (family == AF_UNSPEC || family == a->at.ss_family) q->count++;
    }
}

static struct name *find_fresh(struct resolver *r, const char *text, int family) {
    struct name *n = find(r, text, family);
    return n && !n->dns && n->expires > clock_ns() ? n : NULL;
}

bool resolve_at_once(struct resolver *r, struct resolve_query *q, const char *name,
                     int family, uint16_t port) {
    struct name *n;
    list_init(&q->link);
    q->resolver = r;
    q->port = port;
    if (addr_literal(name, port, &q->list[0])) {
        bool fits = family == AF_UNSPEC || family == q->list[0].at.ss_family;
        answer(q, fits ? 0 : ERR_NOT_FOUND,
               fits ? NULL : "it is an address of the other family");
        q->count = fits;
    } else if (!is_name(name)) {
        answer(q, ERR_NOT_FOUND, "no host can have this name");
    } else if (is_here(name)) {
        answer_here(q, family);
    } else if (r && (n = find_fresh(r, name, family))) {
        keep(n);
        answer_from(q, n);
    } else {
        return false;
    }
    return true;
}

int resolve_start(struct resolver *r, struct resolve_query *q, const char *name,
                  int family, uint16_t port) {
    MAGIC_CHECK(r, MAGIC);
    if (resolve_at_once(r, q, name, family, port)) {
        finish(q);
        return 0;
    }
    struct name *n = find(r, name, family);
    if (!n && !(n = add(r, name, family))) return -ENOMEM;
    list_append(&n->waiting, &q->link);
    if (n->dns) return 0;
    int err = ask(r, n);
    if (err) {
        list_unlink(&q->link);
        drop(n);
    }
    return err;
}

void resolve_cancel(struct resolve_query *q) {
    list_unlink(&q->link);
}

/* Resolvers. */

struct resolver *resolver_new(struct loop *l, const struct dns_options *o) {
    struct resolver *r = calloc(1, sizeof *r);
    if (!r) return NULL;
    r->magic = MAGIC;
    r->loop = l;
    if (o) r->options = *o;
    list_init(&r->answered);
    list_init(&r->done);
    r->turn.run = turn;
    list_init(&r->turn.link);
    return r;
}

static void forget(struct link *queries) {
    struct link *first;
    while ((first = list_first(queries))) list_unlink(first);
}

void resolver_free(struct resolver *r) {
    MAGIC_CHECK(r, MAGIC);
    list_unlink(&r->turn.link);
    forget(&r->done);
    for (size_t i = 0; i < BUCKETS; i++)
        for (struct name *n = r->buckets[i]; n; n = n->next) forget(&n->waiting);
    for (size_t i = 0; i < BUCKETS; i++) {
        while (r->buckets[i]) {
            struct name *n = r->buckets[i];
            if (n->dns == r->dns) r->dns = NULL;
            if (n->dns)
                dns_free(n->dns); /* answers this name, too, which drops it */
            else
                drop(n);
        }
    }
    if (r->dns) dns_free(r->dns);
    r->magic = 0;
    free(r);
}

static bool same(const struct dns_options *a, const struct dns_options *b) {
    if (a->count != b->count || a->patience != b->patience) return false;
    for (unsigned i = 0; i < a->count; i++)
        if (a->servers[i].len != b->servers[i].len ||
            memcmp(&a->servers[i].at, &b->servers[i].at, a->servers[i].len) != 0)
            return false;
    return true;
}

void resolver_set(struct resolver *r, const struct dns_options *o) {
    MAGIC_CHECK(r, MAGIC);
    if (same(&r->options, o)) return;
    r->options = *o;
    if (r->dns) dns_leave(r->dns);
    r->dns = NULL;
    while (r->answered_count) drop_oldest(r);
}

/* Without a loop: with one for this alone. */

struct waiting {
    struct loop loop;
    struct timer deadline;
    struct resolve_query inner;
};

static void over(struct timer *t) {
    struct waiting *w = LIST_OF(t, struct waiting, deadline);
    resolve_cancel(&w->inner);
    w->inner.err = -ETIMEDOUT;
    w->inner.why = "timed out";
    loop_stop(&w->loop);
}

static void done_now(struct resolve_query *q, int err) {
    (void)err;
    loop_stop(&LIST_OF(q, struct waiting, inner)->loop);
}

static void wait_now(struct waiting *w, struct resolver *r, const char *name,
                     int family, int64_t deadline) {
    struct resolve_query *q = &w->inner;
    timer_init(&w->deadline, over);
    q->err = deadline ? timer_set(&w->loop, &w->deadline, deadline) : 0;
    if (!q->err) q->err = resolve_start(r, q, name, family, q->port);
    if (!q->err) loop_run(&w->loop);
    timer_clear(&w->loop, &w->deadline);
}

int resolve_now(const struct dns_options *o, struct resolve_query *q, const char *name,
                int family, uint16_t port, int64_t deadline) {
    struct waiting w = {.inner = {.port = port, .done = done_now}};
    int err = loop_init(&w.loop);
    if (!err) {
        struct resolver *r = resolver_new(&w.loop, o);
        w.inner.err = -ENOMEM;
        if (r) {
            wait_now(&w, r, name, family, deadline);
            resolver_free(r);
        }
        loop_done(&w.loop);
        err = w.inner.err;
    }
    q->err = err;
    q->port = port;
    q->why = err && !w.inner.why ? err_text(err) : w.inner.why;
    q->count = w.inner.count;
    memcpy(q->list, w.inner.list, sizeof q->list);
    return err;
}
