#include "http/client.h"

#include "base/ip.h"
#include "codec/authority.h"
#include "codec/forwarded.h"
#include "http/exchange.h"
#include "http/front.h"
#include "http/h1.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>

/* ---- addresses ---- */

struct client_address client_address(const struct sockaddr_storage *peer) {
    struct client_address a = {.family = peer ? (uint8_t)peer->ss_family : AF_UNSPEC};
    if (a.family == AF_INET) {
        const struct sockaddr_in *in = (const void *)peer;
        memcpy(a.bytes, &in->sin_addr, 4);
        a.port = ntohs(in->sin_port);
    } else if (a.family == AF_INET6) {
        const struct sockaddr_in6 *in6 = (const void *)peer;
        memcpy(a.bytes, &in6->sin6_addr, 16);
        a.port = ntohs(in6->sin6_port);
    }
    return a;
}

/* Without brackets. An IPv4 address within IPv6 is shown as what it is. */
static const char *ip_text(const struct client_address *a, char *to, bool *v6) {
    const unsigned char *v4 = a->family == AF_INET6 ? ip_v4_within(a->bytes) : a->bytes;
    *v6 = !v4;
    return inet_ntop(v4 ? AF_INET : AF_INET6, v4 ? v4 : a->bytes, to, INET6_ADDRSTRLEN);
}

size_t client_text(const struct client_address *a, bool port, char *to) {
    char ip[INET6_ADDRSTRLEN], end[8] = "";
    bool v6;
    if (a->family != AF_INET && a->family != AF_INET6)
        return (size_t)snprintf(to, CLIENT_TEXT, "%s",
                                a->family == AF_UNIX ? "unix:" : "memory:");
    if (port && a->port) snprintf(end, sizeof end, ":%u", a->port);
    ip_text(a, ip, &v6);
    return (size_t)snprintf(to, CLIENT_TEXT, v6 ? "[%s]%s" : "%s%s", ip, end);
}

static struct client_address from_node(const struct forwarded_node *n) {
    struct client_address a = {.family = n->v6 ? AF_INET6 : AF_INET, .port = n->port};
    memcpy(a.bytes, n->address, sizeof a.bytes);
    return a;
}

/* ---- lists of proxies ---- */

/* A unix socket of which a proxy tells is none of ours. */
static bool is_trusted(const struct exchange *x, const struct client_address *a) {
    return !(a->named && a->family == AF_UNIX) &&
           cidr_has(&x->front->limits.trust.proxies, a->family, a->bytes);
}

/* The fields of one name from the last to the first, each from its end. */
struct words {
    const struct head *head;
    struct span name, rest;
    unsigned left; /* fields not yet looked at */
};

static struct words words_of(const struct exchange *x, struct span name) {
    return (struct words){.head = &x->head, .name = name, .left = x->head.field_count};
}

static bool last_word(struct words *w, struct span *word) {
    while (!w->rest.len) {
        if (!w->left) return false;
        const struct head_field *f = &w->head->fields[--w->left];
        if (span_case_eq(head_name(w->head, f), w->name))
            w->rest = head_value(w->head, f);
    }
    if (forwarded_last(&w->rest, word)) return true;
    /* Of empty elements or malformed: what is in front of it is not to be trusted. */
    w->left = 0;
    return false;
}

/* ---- what they say ---- */

struct story {
    struct client_address client;
    struct span host;
    bool has_scheme, secure;
};

static bool is_host(struct span text) {
    struct span host, port;
    return authority_parse(text, &host, &port);
}

static void hear_scheme(struct story *s, struct span scheme) {
    bool secure;
    if (!forwarded_scheme(scheme, &secure)) return;
    s->has_scheme = true;
    s->secure = secure;
}

/* Each names from whom it has the request; true when that is one to be believed. */
static bool hear_client(const struct exchange *x, struct story *s, struct span name) {
    struct forwarded_node node;
    if (!forwarded_node(name, &node)) return false;
    s->client = from_node(&node);
    return is_trusted(x, &s->client);
}

static void read_forwarded(const struct exchange *x, struct story *s) {
    struct words all = words_of(x, SPAN("Forwarded"));
    struct forwarded_pairs pairs;
    struct span word;
    bool on = true;
    while (on && last_word(&all, &word) && forwarded_pairs(word, &pairs)) {
        hear_scheme(s, pairs.scheme);
        if (is_host(pairs.host)) s->host = pairs.host;
        on = hear_client(x, s, pairs.client);
    }
}

/* The word as many places from the end as proxies are believed, or the first. */
static struct span word_at(const struct exchange *x, struct span name, unsigned place) {
    struct words all = words_of(x, name);
    struct span word, found = {0};
    for (; place && last_word(&all, &word); place--) found = word;
    return found;
}

static void read_x_forwarded(const struct exchange *x, struct story *s) {
    struct words all = words_of(x, SPAN("X-Forwarded-For"));
    struct span word;
    unsigned proxies = 1;
    while (last_word(&all, &word) && hear_client(x, s, word)) proxies++;
    hear_scheme(s, word_at(x, SPAN("X-Forwarded-Proto"), proxies));
    word = word_at(x, SPAN("X-Forwarded-Host"), proxies);
    if (is_host(word)) s->host = word;
}

static bool comes_from_proxy(const struct exchange *x) {
    const struct h1 *c = x->conn;
    if (x->past.remote.len) return false;
    return c && x->front && x->front->limits.trust.proxies.any && !c->client.masked &&
           is_trusted(x, &c->client);
}

/* False when there is none to be heard. */
static bool hear(const struct exchange *x, struct story *s) {
    if (!comes_from_proxy(x)) return false;
    *s = (struct story){.client = ((const struct h1 *)x->conn)->client};
    if (x->front->limits.trust.headers == CLIENT_FORWARDED)
        read_forwarded(x, s);
    else
        read_x_forwarded(x, s);
    return true;
}

/* ---- for those who ask ---- */

/* What client_text wrote of it with its port. */
static struct client_address from_text(struct span text) {
    struct forwarded_node node;
    if (forwarded_node(text, &node)) return from_node(&node);
    bool local = span_eq(text, SPAN("unix:"));
    return (struct client_address){.family = local ? AF_UNIX : AF_UNSPEC};
}

static bool find_client(const struct exchange *x, struct client_address *a) {
    struct story s;
    if (x->past.remote.len) {
        *a = from_text(x->past.remote);
        return true;
    }
    if (!x->conn) return false;
    *a = hear(x, &s) ? s.client : ((const struct h1 *)x->conn)->client;
    return true;
}

static size_t copy(struct span s, char *to) {
    size_t n = s.len < CLIENT_TEXT ? s.len : CLIENT_TEXT;
    if (n) memcpy(to, s.at, n);
    return n;
}

size_t client_remote(const struct exchange *x, char *to) {
    struct client_address a;
    return find_client(x, &a) ? client_text(&a, true, to) : 0;
}

size_t client_logged(const struct exchange *x, char *to) {
    struct client_address a;
    return find_client(x, &a) ? client_text(&a, false, to) : 0;
}

size_t client_ip(const struct exchange *x, char *to) {
    struct client_address a;
    char text[INET6_ADDRSTRLEN];
    bool v6;
    if (!find_client(x, &a)) return 0;
    if (a.family != AF_INET && a.family != AF_INET6) return 0;
    return copy(span_str(ip_text(&a, text, &v6)), to);
}

size_t client_peer(const struct exchange *x, char *to) {
    const struct h1 *c = x->conn;
    struct addr peer;
    if (!c || x->past.remote.len) return copy(x->past.peer, to);
    if (!c->client.named) return client_text(&c->client, true, to);
    /* Connections do not keep what hardly anybody asks for. */
    if (addr_of_peer(stream_fd(&c->stream), &peer) != 0) return 0;
    struct client_address a = client_address(&peer.at);
    return client_text(&a, true, to);
}

bool client_is_secure(const struct exchange *x) {
    const struct h1 *c = x->conn;
    struct story s;
    if (x->past.remote.len) return x->secure;
    if (hear(x, &s) && s.has_scheme) return s.secure;
    return x->secure || (c && c->client.secure);
}

struct span client_host(const struct exchange *x) {
    struct story s;
    struct span host = x->target.authority;
    unsigned from = 0;
    if (x->past.remote.len && x->past.host.len) return x->past.host;
    if (hear(x, &s) && s.host.len) return s.host;
    if (!host.len && !head_find(&x->head, SPAN("host"), &from, &host)) host.len = 0;
    return host;
}

static bool is_id(struct span s) {
    for (size_t i = 0; i < s.len; i++) {
        char c = s.at[i];
        bool letter = (c | 0x20) >= 'a' && (c | 0x20) <= 'z';
        if (!letter && !(c >= '0' && c <= '9') && !(c && strchr("-_.:+/=@", c)))
            return false;
    }
    return s.len && s.len <= CLIENT_ID;
}

struct span client_request_id(const struct exchange *x) {
    struct span id = {0};
    unsigned from = 0;
    if (x->past.remote.len) return x->past.id;
    if (!comes_from_proxy(x)) return id;
    /* The last: proxies that add one leave the client's own before it. */
    while (head_find(&x->head, SPAN("X-Request-Id"), &from, &id)) continue;
    return is_id(id) ? id : (struct span){0};
}

static struct span kept(struct exchange *x,
                        size_t (*text)(const struct exchange *x, char *to)) {
    char to[CLIENT_TEXT];
    return arena_copy(&x->arena, span_of(to, text(x, to)));
}

int client_keep(struct exchange *x) {
    if (x->past.remote.len) return 0;
    struct span id = client_request_id(x), host = {0};
    bool secure = client_is_secure(x);
    if (comes_from_proxy(x)) host = client_host(x);
    struct span remote = kept(x, client_remote);
    struct span peer = kept(x, client_peer);
    if (!remote.at || !peer.at) return ERR_MEMORY;
    x->past.remote = remote;
    x->past.peer = peer;
    x->past.host = host;
    x->past.id = id;
    x->secure = secure;
    return 0;
}
