#include "http/exchange.h"

#include "base/check.h"
#include "http/client.h"
#include "http/file.h"
#include "http/front.h"
#include "http/h1.h"
#include "http/packing.h"

#include <stdlib.h>

enum { MAGIC = 0x65786368, POOL_MAX = 64 };

struct exchange *exchange_new(struct front *f, const struct wire *wire, void *conn) {
    struct exchange *x = f->pool;
    if (x) {
        f->pool = x->handle;
        f->pool_count--;
    } else {
        unsigned fields = f->limits.head.header_count_max;
        x = malloc(sizeof *x + fields * sizeof(struct head_field) + EXCHANGE_LENT);
        if (!x) {
            front_starved(f);
            return NULL;
        }
        x->head.field_capacity = (uint16_t)fields;
        x->head.known_len = 0;
        x->forced = false; /* these three are so at the end of each */
        x->sending = NULL;
        x->packing = NULL;
    }
    f->exchanges++;
    unsigned capacity = x->head.field_capacity;
    x->magic = MAGIC;
    x->front = f;
    x->wire = wire;
    x->conn = conn;
    x->handle = NULL;
    x->held = x->owned = x->left = x->watched = false;
    x->secure = f->tls;
    list_init(&x->member);
    /* The space behind the fields is a multiple of their size away from an aligned
       start; round up to what the arena asks for. */
    uintptr_t lent = ((uintptr_t)(x->field_space + capacity) + 15) & ~(uintptr_t)15;
    arena_init(&x->arena, (void *)lent, EXCHANGE_LENT - 16);
    x->head.memo = &f->memo;
    x->head.fields = x->field_space; /* the rest is http1_read_begin's to set */
    x->target = (struct target){0};
    x->route = (struct span){NULL, 0};
    x->param_count = 0;
    x->place = 0;
    x->number = 0;
    x->started = 0;
    buf_init(&x->body);
    buf_init(&x->trailers);
    x->body_received = 0;
    x->body_max = f->limits.body_max;
    x->body_window = BODY_WINDOW;
    x->body_complete = false;
    x->body_status = 0;
    x->phase = X_HEAD;
    x->status = 0;
    x->framing = HTTP1_NO_BODY;
    x->length = x->sent = 0;
    buf_init(&x->fields);
    x->close = x->plain = false;
    x->past.remote = (struct span){NULL, 0};
    x->socket = NULL;
    return x;
}

static void clear(struct exchange *x) {
    if (__builtin_expect(((uintptr_t)x->sending | (uintptr_t)x->packing) != 0, 0)) {
        if (x->sending) file_done(x);
        if (x->packing) packing_done(x);
    }
    arena_reset(&x->arena);
    buf_reset(&x->body);
    buf_reset(&x->trailers);
    buf_reset(&x->fields);
    x->magic = 0;
}

void exchange_free(struct exchange *x) {
    clear(x);
    free(x);
}

static void recycle(struct exchange *x) {
    struct front *f = x->front;
    clear(x);
    f->exchanges--;
    if (f->pool_count < POOL_MAX &&
        x->head.field_capacity == f->limits.head.header_count_max) {
        x->handle = f->pool;
        f->pool = x;
        f->pool_count++;
    } else {
        free(x);
    }
}

void exchange_leave(struct exchange *x) {
    MAGIC_CHECK(x, MAGIC);
    if (x->left || x->phase == X_DONE) return;
    x->left = true;
    if (x->held) x->front->app->left(x);
}

void exchange_part(struct exchange *x) {
    MAGIC_CHECK(x, MAGIC);
    if (__builtin_expect(x->held, 0)) {
        if (x->front->limits.trust.proxies.any) client_keep(x);
        x->conn = NULL;
    } else {
        x->conn = NULL;
        recycle(x);
    }
}

void exchange_release(struct exchange *x) {
    MAGIC_CHECK(x, MAGIC);
    x->held = false;
    x->handle = NULL;
    if (!x->conn) recycle(x);
}

static void follow(struct span *s, const struct head *h, const char *to) {
    if (s->at >= h->base && s->at < h->base + h->len) s->at = to + (s->at - h->base);
}

int exchange_own(struct exchange *x) {
    if (x->owned) return 0;
    struct span copy = arena_copy(&x->arena, span_of(x->head.base, x->head.len));
    if (!copy.at) { /* what is there now is about to be overwritten */
        x->head.base = "";
        x->head.len = x->head.method_len = x->head.target = x->head.target_len = 0;
        x->head.field_count = x->param_count = 0;
        x->target = (struct target){0};
        return ERR_MEMORY;
    }
    follow(&x->target.path, &x->head, copy.at);
    follow(&x->target.query, &x->head, copy.at);
    follow(&x->target.authority, &x->head, copy.at);
    follow(&x->target.scheme, &x->head, copy.at);
    x->head.base = copy.at;
    x->owned = true;
    return 0;
}

int exchange_target(struct exchange *x, const char **why) {
    struct span raw = head_target(&x->head);
    if (x->head.plain) {
        x->target.path = raw; /* all else is 0, and the form TARGET_ORIGIN */
        return 0;
    }
    bool connect = span_eq(head_method(&x->head), SPAN("CONNECT"));
    int err = target_parse(raw, connect, NULL, &x->target, why);
    if (err != -ENOBUFS) return err;
    char *scratch = arena_alloc(&x->arena, raw.len);
    *why = "not enough memory";
    if (!scratch) return ERR_MEMORY;
    return target_parse(raw, connect, scratch, &x->target, why);
}

struct span exchange_id(const struct exchange *x, char own[16]) {
    struct span given = client_request_id(x);
    if (given.len) return given;
    exchange_id_of(x->number, own);
    return span_of(own, 16);
}

void exchange_id_of(uint64_t n, char id[16]) {
    static const char hex[] = "0123456789abcdef";
    /* Numbers in a row become ids that look unlike each other: a bijection of 64 bits
       (the finaliser of splitmix64), so no two of a front are equal. */
    n = (n ^ n >> 30) * 0xbf58476d1ce4e5b9u;
    n = (n ^ n >> 27) * 0x94d049bb133111ebu;
    n ^= n >> 31;
    for (int i = 0; i < 16; i++) id[i] = hex[n >> (60 - 4 * i) & 15];
}

static bool decimal(struct span s, uint64_t *n) {
    *n = 0;
    for (size_t i = 0; i < s.len; i++) {
        if (s.at[i] < '0' || s.at[i] > '9' || *n > (UINT64_MAX - 9) / 10) return false;
        *n = *n * 10 + (uint64_t)(s.at[i] - '0');
    }
    return s.len > 0;
}

int exchange_field(struct exchange *x, struct span name, struct span value) {
    switch (name.len) {
    case 4: /* ours is right */
        if (span_case_eq(name, SPAN("Date"))) return 0;
        break;
    case 10:
        if (!span_case_eq(name, SPAN("Connection"))) break;
        if (span_case_eq(value, SPAN("upgrade"))) break; /* beside Upgrade: 426 */
        if (!span_case_eq(value, SPAN("close"))) return -EPERM;
        x->close = true;
        return 0;
    case 14:
        if (!span_case_eq(name, SPAN("Content-Length"))) break;
        if (!decimal(value, &x->length)) return ERR_SYNTAX;
        x->framing = HTTP1_LENGTH;
        return 0;
    case 17:
        if (span_case_eq(name, SPAN("Transfer-Encoding"))) return -EPERM;
        break;
    }
    return http1_field(&x->fields, name, value);
}

bool exchange_find_field(const struct exchange *x, struct span name,
                         struct span *value) {
    const char *at = buf_len(&x->fields) ? buf_data(&x->fields) : "";
    const char *end = at + buf_len(&x->fields);
    while (at < end) {
        const char *line = memchr(at, '\n', (size_t)(end - at));
        const char *colon = memchr(at, ':', (size_t)(end - at));
        if (!line || !colon) break;
        if (span_case_eq(span_of(at, (size_t)(colon - at)), name)) {
            *value = span_of(colon + 2, (size_t)(line - 1 - (colon + 2)));
            return true;
        }
        at = line + 1;
    }
    return false;
}

void exchange_restart(struct exchange *x) {
    if (x->phase != X_HEAD) return;
    buf_reset(&x->fields);
    x->framing = HTTP1_NO_BODY;
    x->length = 0;
}

int exchange_head(struct exchange *x, int status, struct span type, int64_t length) {
    if (exchange_gone(x)) return ERR_CLOSED;
    if (x->phase != X_HEAD) return -EALREADY;
    x->status = status;
    bool head_only = span_eq(head_method(&x->head), SPAN("HEAD"));
    if (x->front->limits.compress && packing_begin(x, status, type, length)) {
        /* fields and framing are set */
    } else if (http1_bodiless(status)) {
        x->framing = HTTP1_NO_BODY;
        type.len = 0;
    } else if (status == 205) { /* a body's length is told, and is 0: 15.3.6 */
        head_only = true;
        x->framing = HTTP1_LENGTH;
        x->length = 0;
    } else if (length >= 0) {
        /* What HEAD leaves out may have a length of its own that the app knows. */
        if (!(head_only && x->framing == HTTP1_LENGTH && length == 0))
            x->length = (uint64_t)length;
        x->framing = HTTP1_LENGTH;
    } else if (x->framing != HTTP1_LENGTH) {
        x->framing = x->head.minor ? HTTP1_CHUNKED : HTTP1_UNTIL_CLOSE;
    }
    if (x->framing == HTTP1_UNTIL_CLOSE) x->close = true;
    int err = x->wire->head(x, type);
    if (err) {
        if (x->packing) packing_done(x);
        return err;
    }
    x->phase = X_SENDING;
    if (head_only) x->framing = HTTP1_NO_BODY;
    buf_reset(&x->fields);
    return 0;
}

enum io exchange_body(struct exchange *x, struct span piece, size_t *taken) {
    *taken = piece.len;
    /* Who waited here may find that another fiber has ended the answer. */
    if (exchange_gone(x) || x->phase == X_DONE) return IO_FAIL;
    CHECK(x->phase == X_SENDING);
    if (x->framing == HTTP1_NO_BODY || piece.len == 0) return IO_OK;
    if (x->packing) return packing_body(x, piece, taken);
    if (x->framing == HTTP1_LENGTH) {
        /* Never more than was declared: it would be taken for the next answer. */
        if (piece.len > x->length) piece.len = (size_t)x->length;
        if (piece.len == 0) return IO_OK;
    }
    size_t whole = *taken;
    enum io result = x->wire->body(x, piece, taken);
    if (x->framing == HTTP1_LENGTH) {
        x->length -= *taken;
        if (*taken == piece.len) *taken = whole;
    }
    x->sent += *taken;
    return result;
}

enum io exchange_file(struct exchange *x, int file, uint64_t at, size_t n,
                      size_t *taken) {
    *taken = 0;
    if (exchange_gone(x) || x->phase == X_DONE) return IO_FAIL;
    CHECK(x->phase == X_SENDING && x->framing == HTTP1_LENGTH);
    if (n > x->length) n = (size_t)x->length;
    enum io result = x->wire->file(x, file, at, n, taken);
    x->length -= *taken;
    x->sent += *taken;
    return result;
}

int exchange_answer(struct exchange *x, int status, struct span type, struct span body,
                    size_t *taken) {
    *taken = body.len;
    if (exchange_gone(x)) return ERR_CLOSED;
    if (x->phase != X_HEAD) return -EALREADY;
    if (__builtin_expect(x->front->limits.compress, 0) &&
        packing_answer(x, status, type, body))
        return 0;
    if (!http1_bodiless(status) && status != 205 &&
        !span_eq(head_method(&x->head), SPAN("HEAD"))) {
        x->status = status;
        x->framing = HTTP1_LENGTH;
        x->length = body.len;
        if (x->wire->whole(x, type, body)) {
            x->length = 0;
            x->sent = body.len;
            x->phase = X_DONE;
            if (x->fields.memory) buf_reset(&x->fields);
            return 0;
        }
    }
    int err = exchange_head(x, status, type, (int64_t)body.len);
    if (err) return err;
    if (exchange_body(x, body, taken) == IO_FAIL)
        *taken = body.len;
    else if (*taken == body.len)
        exchange_end(x);
    return 0;
}

enum io exchange_flush(struct exchange *x) {
    return exchange_gone(x) ? IO_FAIL : x->wire->flush(x);
}

void exchange_watch(struct exchange *x) {
    x->watched = true;
    if (!exchange_gone(x)) x->wire->watch(x);
}

bool exchange_takes_trailers(const struct exchange *x) {
    struct span value;
    unsigned from = 0;
    while (head_find(&x->head, SPAN("te"), &from, &value))
        if (head_lists(value, SPAN("trailers"))) return true;
    return false;
}

int exchange_trailer(struct exchange *x, struct span name, struct span value) {
    CHECK(x->phase == X_SENDING);
    return http1_field(&x->fields, name, value);
}

/* Who writes may find before the loop does that the client has gone, and end what it
 * was writing for that. */
static void look(struct exchange *x) {
    if (x->watched && !x->left && x->wire->flush(x) == IO_FAIL) exchange_leave(x);
}

void exchange_end(struct exchange *x) {
    if (exchange_gone(x) || x->phase == X_DONE) return;
    CHECK(x->phase == X_SENDING);
    look(x);
    if ((x->packing && !packing_end(x)) ||
        (x->framing == HTTP1_LENGTH && x->length > 0)) {
        exchange_abort(x);
        return;
    }
    x->phase = X_DONE;
    x->wire->end(x);
}

void exchange_abort(struct exchange *x) {
    if (exchange_gone(x) || x->phase == X_DONE) return;
    look(x);
    x->phase = X_DONE;
    x->wire->abort(x);
}

void exchange_fail(struct exchange *x, int status, struct span detail) {
    if (exchange_gone(x) || x->phase == X_DONE) return;
    if (x->phase != X_HEAD) {
        exchange_abort(x);
        return;
    }
    exchange_restart(x);
    struct span reason = http1_reason(status);
    char text[256];
    size_t n = http1_decimal(text, (uint64_t)status);
    text[n++] = ' ';
    memcpy(text + n, reason.at, reason.len);
    n += reason.len;
    if (detail.len && detail.len < sizeof text - n - 3) {
        text[n++] = ':';
        text[n++] = ' ';
        memcpy(text + n, detail.at, detail.len);
        n += detail.len;
    }
    text[n++] = '\n';
    size_t taken;
    if (status == 503)
        exchange_field(x, SPAN("Retry-After"), SPAN("1")); /* or without */
    if (exchange_head(x, status, SPAN("text/plain; charset=utf-8"), (int64_t)n) == 0 &&
        exchange_body(x, span_of(text, n), &taken) != IO_FAIL && taken == n)
        exchange_end(x);
    else
        exchange_abort(x);
}

void exchange_starve(struct exchange *x) {
    if (x->front) front_starved(x->front);
    exchange_fail(x, 503, SPAN(""));
}

void exchange_body_take(struct exchange *x, size_t n) {
    buf_consume(&x->body, n);
    if (buf_len(&x->body) == 0) buf_reset(&x->body);
    if (!x->body_complete && !exchange_gone(x)) x->wire->want(x);
}

void exchange_body_want(struct exchange *x, uint64_t window) {
    if (window > x->body_window) x->body_window = window;
    if (!x->body_complete && !exchange_gone(x)) x->wire->want(x);
}
