#include "http/h1_answer.h"

#include "base/clock.h"
#include "http/h1.h"
#include "http/loan.h"

enum { DIRECT = 8 * 1024 }; /* a body from here on is sent without being copied */

static void touch(struct h1 *c) {
    if (!c->feeding) loop_defer(c->front->loop, &c->turn);
}

bool h1_body_in_the_way(const struct h1 *c, const struct exchange *x) {
    if (x->body_complete) return false;
    return !c->continued || c->deaf ||
           (!x->head.chunked &&
            x->head.content_length - x->body_received > H1_DISCARD_MAX);
}

/* The head with its empty line into room for head_room. */
static inline size_t put_head(struct exchange *x, struct span type, char *to) {
    struct h1 *c = x->conn;
    if ((!x->head.keep_alive || c->closing || c->front->draining ||
         (__builtin_expect(c->loan != NULL, 0) && loan_home_drains(c->loan)) ||
         h1_body_in_the_way(c, x)) &&
        !x->socket)
        x->close = true;
    size_t fields = buf_len(&x->fields);
    struct http1_answer a = {.status = x->status,
                             .framing = x->framing,
                             .length = x->length,
                             .date = loop_date(c->front->loop),
                             .type = type,
                             .close = x->close,
                             .persist = !x->close && x->head.minor == 0};
    size_t n = http1_head(to, &a);
    if (fields) memcpy(to + n, buf_data(&x->fields), fields);
    n += fields;
    to[n] = '\r';
    to[n + 1] = '\n';
    return n + 2;
}

static inline size_t head_room(const struct exchange *x, struct span type) {
    return HTTP1_HEAD_ROOM + type.len + buf_len(&x->fields) + 2;
}

static int send_head(struct exchange *x, struct span type) {
    struct h1 *c = x->conn;
    char *to = stream_reserve(&c->stream, head_room(x, type));
    if (!to) return ERR_MEMORY;
    stream_commit(&c->stream, put_head(x, type, to));
    touch(c);
    return 0;
}

static bool send_whole(struct exchange *x, struct span type, struct span body) {
    struct h1 *c = x->conn;
    struct stream *s = &c->stream;
    if (body.len >= DIRECT || s->broken || stream_unsent(s) >= STREAM_HIGH)
        return false;
    char *to = stream_reserve(s, head_room(x, type) + body.len);
    if (!to) return false;
    size_t n = put_head(x, type, to);
    if (body.len) memcpy(to + n, body.at, body.len);
    stream_commit(s, n + body.len);
    touch(c);
    return true;
}

static bool append(struct stream *s, const char *at, size_t n) {
    char *to = stream_reserve(s, n);
    if (!to) return false;
    memcpy(to, at, n);
    stream_commit(s, n);
    return true;
}

static enum io send_chunks(struct stream *s, struct span piece, bool forced,
                           size_t *taken) {
    enum { CHUNK = 64 * 1024 };
    while (*taken < piece.len) {
        if (stream_full(s) && !forced) return IO_AGAIN;
        size_t n = piece.len - *taken < CHUNK ? piece.len - *taken : CHUNK;
        char *to = stream_reserve(s, n + 20);
        if (!to) return IO_FAIL;
        size_t head = http1_chunk_head(to, n);
        memcpy(to + head, piece.at + *taken, n);
        memcpy(to + head + n, "\r\n", 2);
        stream_commit(s, head + n + 2);
        *taken += n;
        if (stream_unsent(s) >= CHUNK && stream_flush(s) == IO_FAIL) return IO_FAIL;
    }
    return stream_full(s) ? IO_AGAIN : IO_OK;
}

static enum io send_body(struct exchange *x, struct span piece, size_t *taken) {
    struct h1 *c = x->conn;
    struct stream *s = &c->stream;
    *taken = 0;
    touch(c);
    if (s->broken) return IO_FAIL;
    if (x->framing == HTTP1_CHUNKED) return send_chunks(s, piece, x->forced, taken);
    if (piece.len >= DIRECT && !x->forced) {
        enum io result = stream_send(s, piece.at, piece.len, taken);
        if (result == IO_FAIL) return result;
        return *taken < piece.len || stream_full(s) ? IO_AGAIN : IO_OK;
    }
    if (stream_full(s) && !x->forced) return IO_AGAIN;
    if (!append(s, piece.at, piece.len)) return IO_FAIL;
    *taken = piece.len;
    return stream_full(s) ? IO_AGAIN : IO_OK;
}

static enum io send_file(struct exchange *x, int file, uint64_t at, size_t n,
                         size_t *taken) {
    struct h1 *c = x->conn;
    touch(c);
    return stream_sendfile(&c->stream, file, at, n, taken);
}

static void abort_with(struct h1 *c, const struct exchange *x) {
    c->aborted = x && x->framing == HTTP1_UNTIL_CLOSE ? H1_RESET : H1_CUT;
}

/* There is no memory for what it has to keep. */
void h1_starve(struct h1 *c) {
    abort_with(c, c->x);
    front_starved(c->front);
}

static void send_end(struct exchange *x) {
    struct h1 *c = x->conn;
    size_t n = buf_len(&x->fields);
    if (x->framing == HTTP1_CHUNKED &&
        (!append(&c->stream, "0\r\n", 3) ||
         (n && !append(&c->stream, buf_data(&x->fields), n)) ||
         !append(&c->stream, "\r\n", 2)))
        h1_starve(c);
    touch(c);
}

static void send_abort(struct exchange *x) {
    struct h1 *c = x->conn;
    abort_with(c, x);
    touch(c);
}

static void want_body(struct exchange *x) {
    struct h1 *c = x->conn;
    /* Behind a head it is too late to ask: it may come all the same. */
    bool ask = !c->continued && !c->deaf && x->phase == X_HEAD;
    if (!c->continued) c->since = c->front->loop->now;
    c->continued = true;
    if (ask && !append(&c->stream, "HTTP/1.1 100 Continue\r\n\r\n", 25)) h1_starve(c);
    touch(c);
}

static enum io flush(struct exchange *x) {
    struct h1 *c = x->conn;
    enum io result = stream_flush(&c->stream);
    if (result == IO_AGAIN) c->stream.above = true; /* drained is owed */
    touch(c);
    return result;
}

static void watch(struct exchange *x) {
    touch(x->conn);
}

const struct wire h1_wire = {.head = send_head,
                             .whole = send_whole,
                             .body = send_body,
                             .file = send_file,
                             .end = send_end,
                             .abort = send_abort,
                             .want = want_body,
                             .flush = flush,
                             .watch = watch};

void h1_write_access(struct h1 *c, struct exchange *x) {
    struct front *f = c->front;
    if (!f->access || !access_on(f->access)) return;
    char id[16], remote[CLIENT_TEXT];
    size_t remote_len = client_logged(x, remote);
    bool whole = x->started != 0; /* its head was read to the end */
    unsigned from = 0;
    int64_t duration = whole ? clock_ns() - x->started : 0;
    struct access_entry e = {
        .remote = span_of(remote, remote_len),
        .request_id = exchange_id(x, id),
        .major = 1,
        .minor = x->head.minor,
        .status = (unsigned short)x->status,
        .bytes_out = x->sent,
        .bytes_in = x->body_received,
        .duration_ns = duration,
        .wall_ns = clock_wall_ns() - duration,
    };
    if (whole) {
        e.method = head_method(&x->head);
        e.target = head_target(&x->head);
        head_find(&x->head, SPAN("Referer"), &from, &e.referer);
        from = 0;
        head_find(&x->head, SPAN("User-Agent"), &from, &e.user_agent);
    }
    access_write(f->access, &e);
}
