#include "http/record.h"

#include "codec/http1_read.h"
#include "http/client.h"
#include "http/front.h"

#include <stdlib.h>

enum { ALIGN = 16, FIELDS_MAX = 1000 };

static const char *head_of(const struct record *r) {
    return (const char *)(r->params + r->param_count);
}

struct span record_method(const struct record *r) {
    return span_of(head_of(r), r->method_len);
}

struct span record_target(const struct record *r) {
    return span_of(head_of(r) + r->target, r->target_len);
}

struct span record_route(const struct record *r) {
    return span_of(head_of(r) + r->head_len, r->route_len);
}

/* The four texts behind the route, which `past` of an exchange has. */
static void past_of(const struct record *r, struct exchange *x) {
    struct span *const to[] = {&x->past.remote, &x->past.peer, &x->past.host,
                               &x->past.id};
    const size_t lens[] = {r->remote_len, r->peer_len, r->host_len, r->id_len};
    const char *at = head_of(r) + r->head_len + r->route_len;
    for (size_t i = 0; i < sizeof lens / sizeof *lens; at += lens[i], i++)
        *to[i] = span_of(at, lens[i]);
}

struct span record_id(const struct record *r, char own[16]) {
    size_t before = (size_t)r->remote_len + r->peer_len + r->host_len;
    const char *at = head_of(r) + r->head_len + r->route_len + before;
    if (r->id_len) return span_of(at, r->id_len);
    exchange_id_of(r->number, own);
    return span_of(own, 16);
}

static char *put(char *to, struct span s) {
    if (s.len) memcpy(to, s.at, s.len);
    return to + s.len;
}

/* What the handshake alone needed is not worth its place: much of a small head. */
static bool is_worth_it(struct span name) {
    static const char *const not [] = {"connection",
                                       "upgrade",
                                       "sec-websocket-key",
                                       "sec-websocket-version",
                                       "sec-websocket-extensions",
                                       "accept-encoding",
                                       "cache-control",
                                       "pragma"};
    for (size_t i = 0; i < sizeof not / sizeof *not ; i++)
        if (span_case_eq(name, span_str(not [i]))) return false;
    return true;
}

/* The head without those at `to`, or only its length. */
static size_t put_head(const struct head *h, char *to) {
    static const struct span end = {"\r\n", 2}, colon = {": ", 2};
    size_t n = h->target + h->target_len + sizeof " HTTP/1.1\r\n" - 1;
    if (to) to = put(to, span_of(h->base, n));
    for (unsigned i = 0; i < h->field_count; i++) {
        struct span name = head_name(h, &h->fields[i]);
        struct span value = head_value(h, &h->fields[i]);
        if (!is_worth_it(name)) continue;
        n += name.len + colon.len + value.len + end.len;
        if (to) to = put(put(put(put(to, name), colon), value), end);
    }
    if (to) put(to, end);
    return n + end.len;
}

struct record *record_new(const struct exchange *x) {
    char remote[CLIENT_TEXT], peer[CLIENT_TEXT];
    size_t remote_len = client_remote(x, remote), peer_len = client_peer(x, peer);
    size_t head_len = put_head(&x->head, NULL), names = 0;
    struct span id = client_request_id(x), host = {0};
    if (x->past.host.len || x->front->limits.trust.proxies.any) host = client_host(x);
    if (x->route.len > UINT16_MAX || head_len > UINT16_MAX) return NULL;
    for (unsigned i = 0; i < x->param_count; i++) names += x->params[i].name.len;
    size_t size = sizeof(struct record) + x->param_count * sizeof *x->params +
                  head_len + x->route.len + remote_len + peer_len + host.len + id.len +
                  names;
    struct record *r = malloc(size);
    if (!r) return NULL;
    *r = (struct record){.size = (uint32_t)size,
                         .number = x->number,
                         .started = x->started,
                         .head_len = (uint16_t)head_len,
                         .target = (uint16_t)x->head.target,
                         .target_len = (uint16_t)x->head.target_len,
                         .method_len = (uint8_t)x->head.method_len,
                         .route_len = (uint16_t)x->route.len,
                         .host_len = (uint16_t)host.len,
                         .remote_len = (uint8_t)remote_len,
                         .peer_len = (uint8_t)peer_len,
                         .id_len = (uint8_t)id.len,
                         .param_count = x->param_count,
                         .secure = client_is_secure(x)};
    char *at = (char *)(r->params + r->param_count);
    put_head(&x->head, at);
    at += head_len;
    at = put(at, x->route);
    at = put(at, span_of(remote, remote_len));
    at = put(put(put(at, span_of(peer, peer_len)), host), id);
    for (unsigned i = 0; i < r->param_count; i++) {
        r->params[i] = x->params[i];
        r->params[i].name.at = at;
        at = put(at, x->params[i].name);
    }
    return r;
}

/* As many as the head has lines, at most. */
static size_t fields_of(const struct record *r) {
    size_t n = 1;
    const char *at = head_of(r), *end = at + r->head_len;
    while (at < end && (at = memchr(at, '\n', (size_t)(end - at)))) {
        at++;
        n++;
    }
    return n < FIELDS_MAX ? n : FIELDS_MAX;
}

static size_t rounded(size_t n) {
    return (n + ALIGN - 1) & ~(size_t)(ALIGN - 1);
}

/* Enough for a target's path. */
static size_t lent(const struct record *r) {
    return rounded(r->target_len + 4u * ALIGN);
}

size_t record_room(const struct record *r) {
    return rounded(r->size) + lent(r) + sizeof(struct exchange) +
           fields_of(r) * sizeof(struct head_field);
}

static struct record *copy(const struct record *r, void *room) {
    struct record *c = memcpy(room, r, r->size);
    for (unsigned i = 0; i < r->param_count; i++)
        c->params[i].name.at = (char *)c + (r->params[i].name.at - (const char *)r);
    return c;
}

struct exchange *record_open(const struct record *r, void *room) {
    struct record *c = copy(r, room);
    char *space = (char *)room + rounded(r->size);
    struct exchange *x = (struct exchange *)(void *)(space + lent(r));
    size_t fields = fields_of(r), used;
    const struct http1_limits limits = {c->head_len + 64u, c->head_len,
                                        (uint32_t)fields};
    struct http1_reader reader;
    struct span body;
    const char *why;
    memset(x, 0, sizeof *x);
    arena_init(&x->arena, space, lent(r));
    list_init(&x->member);
    x->head.fields = x->field_space;
    x->head.field_capacity = (uint16_t)fields;
    http1_reader_init(&reader, &limits);
    http1_read_begin(&reader, &x->head);
    if (http1_read(&reader, head_of(c), c->head_len, &used, &body) != HTTP1_HEAD ||
        exchange_target(x, &why) != 0)
        return NULL;
    x->number = c->number;
    x->started = c->started;
    x->secure = c->secure;
    x->route = record_route(c);
    past_of(c, x);
    x->param_count = c->param_count;
    memcpy(x->params, c->params, c->param_count * sizeof *c->params);
    x->owned = x->body_complete = true;
    x->phase = X_DONE;
    x->status = 101;
    return x;
}
