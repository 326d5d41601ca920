#include "http/h1.h"

#include "base/check.h"
#include "base/log.h"
#include "http/h1_answer.h"
#include "http/loan.h"
#include "net/stream_tls.h"

#include <stdlib.h>
#include <unistd.h>

enum { MAGIC = 0x68747031 };

static void settle(struct h1 *c);

/* ---- the end of an exchange ---- */

static void finish(struct h1 *c) {
    struct exchange *x = c->x;
    h1_write_access(c, x);
    bool close = x->close || (c->phase == H1_BODY && h1_body_in_the_way(c, x));
    c->x = NULL;
    c->discarded = 0;
    c->socket = x->socket;
    exchange_part(x);
    if (close) {
        c->closing = true;
    } else if (c->phase == H1_WAIT) {
        c->phase = H1_IDLE;
    }
    c->since = c->front->loop->now;
}

/* The answer to what is no proper request; the framing behind it is in doubt. */
static void refuse(struct h1 *c, int status, const char *why) {
    struct exchange *x = c->x;
    c->deaf = true;
    c->phase = H1_WAIT;
    x->close = true;
    exchange_fail(x, status, span_str(why));
}

/* The rest of the body cannot be had. */
static void body_failed(struct h1 *c, int status) {
    struct exchange *x = c->x;
    c->deaf = true;
    c->phase = H1_WAIT;
    if (!x) {
        c->closing = true;
        return;
    }
    if (status == 503) front_starved(c->front);
    x->close = true;
    x->body_status = status;
    if (c->dispatched)
        c->front->app->body(x);
    else
        exchange_fail(x, status, SPAN(""));
}

/* ---- input ---- */

static void dispatch(struct h1 *c) {
    struct exchange *x = c->x;
    c->dispatched = true;
    x->held = true;
    x->left = c->eof;
    c->front->app->request(x);
    /* Also when it is answered: a handler may go on and look at its request. */
    if (c->x == x && x->held && exchange_own(x) != 0) exchange_abort(x);
}

static void head_complete(struct h1 *c) {
    struct exchange *x = c->x;
    struct front *f = c->front;
    const char *why = "";
    x->number = f->id_base + ++f->requests;
    x->started = f->loop->now;
    c->requests++;
    c->dispatched = false;
    c->continued = !x->head.expect_continue;
    if (f->limits.requests_per_connection &&
        c->requests >= f->limits.requests_per_connection)
        x->close = true;
    x->body_complete = !x->head.has_body;
    c->since = f->loop->now;
    c->phase = x->head.has_body ? H1_BODY : H1_WAIT;
    if (exchange_target(x, &why) != 0) {
        refuse(c, 400, why);
    } else if (x->target.form == TARGET_AUTHORITY) {
        refuse(c, 501, "this is not a proxy");
    } else if (x->target.form == TARGET_ASTERISK &&
               !span_eq(head_method(&x->head), SPAN("OPTIONS"))) {
        refuse(c, 400, "the target * is for OPTIONS");
    } else if (x->head.expect_unknown) {
        if (x->head.has_body) c->deaf = x->close = true;
        exchange_fail(x, 417, SPAN(""));
    } else if (head_lacks_length(&x->head)) {
        refuse(c, 411, "");
    } else if (x->head.content_length > x->body_max) {
        c->deaf = x->close = true;
        exchange_fail(x, 413, SPAN(""));
    } else if (!x->head.has_body || x->head.expect_continue) {
        dispatch(c);
    }
}

/* Its time begins anew, but for who is so slow that the handler would wait for ever:
 * until the answer has begun, bytes earn what time they take at the least rate. */
static void body_goes_on(struct h1 *c, size_t n) {
    const struct front_limits *limits = &c->front->limits;
    int64_t now = c->front->loop->now, since = now;
    if (limits->body_rate && !(c->x && c->x->phase != X_HEAD))
        since = c->since + (int64_t)(n * UINT64_C(1000000000) / limits->body_rate);
    c->since = since < now ? since : now;
}

/* A piece of the body; false when reading has to pause. */
static bool body_piece(struct h1 *c, struct span piece) {
    struct exchange *x = c->x;
    body_goes_on(c, piece.len);
    c->continued = true;
    if (!x) {
        c->discarded += (uint32_t)piece.len;
        if (c->discarded > H1_DISCARD_MAX) c->closing = c->deaf = true;
        return true;
    }
    x->body_received += piece.len;
    if (x->body_received > x->body_max) {
        body_failed(c, 413);
    } else if (buf_append(&x->body, piece.at, piece.len) != 0) {
        body_failed(c, 503);
    } else if (c->dispatched) {
        c->front->app->body(x);
        return buf_len(&x->body) < x->body_window;
    }
    return true;
}

static bool begin(struct h1 *c) {
    c->x = exchange_new(c->front, &h1_wire, c);
    c->aborted = !c->x;
    if (c->aborted) return false;
    http1_read_begin(&c->reader, &c->x->head);
    c->phase = H1_HEAD;
    c->since = c->front->loop->now;
    return true;
}

/* Goes through n bytes and says how many are done with; the others must be kept. */
static size_t advance(struct h1 *c, const char *at, size_t n) {
    size_t done = 0;
    for (;;) {
        size_t used = 0;
        struct span piece;
        if (c->x && c->x->phase == X_DONE) finish(c);
        if (c->deaf || c->closing || c->aborted) return n;
        if (c->socket) return done;
        switch (c->phase) {
        case H1_IDLE:
            if (done == n || loan_is_out(c->loan))
                return done; /* its home reads the next one */
            if (stream_unsent(&c->stream) > STREAM_LOW &&
                (stream_flush(&c->stream) == IO_FAIL || stream_full(&c->stream)))
                return done;
            if (!begin(c)) return n;
            break;
        case H1_HEAD:
            switch (http1_read(&c->reader, at + done, n - done, &used, &piece)) {
            case HTTP1_HEAD:
                done += used;
                head_complete(c);
                break;
            case HTTP1_BAD: refuse(c, c->reader.status, c->reader.reason); break;
            default: return done + used;
            }
            break;
        case H1_BODY:
            if (c->x && c->dispatched && buf_len(&c->x->body) >= c->x->body_window)
                return done;
            switch (http1_read(&c->reader, at + done, n - done, &used, &piece)) {
            case HTTP1_BODY:
                done += used;
                if (!body_piece(c, piece)) return done;
                break;
            case HTTP1_TRAILERS:
                done += used;
                if (c->x && buf_append(&c->x->trailers, piece.at, piece.len) != 0)
                    body_failed(c, 503);
                break;
            case HTTP1_END:
                done += used;
                c->phase = c->x ? H1_WAIT : H1_IDLE;
                if (!c->x) break;
                c->x->body_complete = true;
                if (c->dispatched)
                    c->front->app->body(c->x);
                else
                    dispatch(c);
                break;
            case HTTP1_BAD: body_failed(c, c->reader.status); break;
            default:
                done += used;
                if (!c->x || c->dispatched) return done;
                dispatch(c);
                if (c->x && c->x->phase != X_DONE) return done;
                break;
            }
            break;
        case H1_PROXY:
        case H1_WAIT: return done;
        default: return n;
        }
    }
}

/* ---- closing ---- */

void h1_unlink(struct h1 *c) {
    timer_clear(c->front->loop, &c->timer);
    list_unlink(&c->member);
    list_unlink(&c->turn.link);
}

static void bury(struct grave *g) {
    struct h1 *c = LIST_OF(g, struct h1, last.grave);
    if (!loan_is_out(c->loan) || !loan_bury(c)) front_keep_spare(c->front, c);
}

static void close_now(struct h1 *c) {
    if (c->phase == H1_CLOSED) return;
    if (c->stream.error == ENOMEM) front_starved(c->front);
    struct exchange *x = c->x;
    c->phase = H1_CLOSED;
    c->x = NULL;
    h1_lose_socket(c, x); /* x may go with its being told */
    if (x) {
        if (!x->status) x->status = 499; /* nobody was there to be answered */
        h1_write_access(c, x);
        exchange_leave(x);
        if (x->held) client_keep(x);
        x->conn = NULL;
        if (x->held)
            c->front->app->gone(x);
        else
            exchange_part(x);
    }
    h1_unlink(c);
    buf_reset(&c->in);
    if (loan_is_out(c->loan))
        loan_silence(c); /* its home closes it */
    else
        stream_done(&c->stream);
    front_closed(c->front);
    c->last.grave.done = bury;
    loop_bury(c->front->loop, &c->last.grave);
}

/* So that a client that counts on the end of the connection as the end of the answer
 * sees that it was cut. */
static void reset(struct h1 *c) {
    struct linger hard = {.l_onoff = 1};
    if (stream_fd(&c->stream) >= 0)
        setsockopt(stream_fd(&c->stream), SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
    close_now(c);
}

/* All is sent and no request will be read any more. Closing with unread input would
 * make the kernel send a reset that can overtake the answer. */
static void end(struct h1 *c) {
    bool quiet = c->eof || (!c->deaf && c->phase != H1_BODY && buf_len(&c->in) == 0);
    if (quiet && stream_farewell(&c->stream) == IO_OK) {
        close_now(c);
    } else if (c->phase != H1_LINGER) {
        c->phase = H1_LINGER;
        c->since = c->front->loop->now;
        buf_reset(&c->in);
        stream_shutdown(&c->stream);
    }
}

/* ---- time ---- */

static void keep_time(struct h1 *c) {
    int64_t at = h1_deadline(c);
    /* A later deadline is looked up when the earlier one fires. */
    if (at && (!timer_is_set(&c->timer) || at < c->timer.at))
        if (timer_set(c->front->loop, &c->timer, at) != 0) {
            front_starved(c->front);
            close_now(c);
        }
}

static void late(struct timer *t) {
    struct h1 *c = LIST_OF(t, struct h1, timer);
    struct loop *l = c->front->loop;
    size_t n;
    if (h1_is_blind(c) && h1_hangs_up(c)) exchange_leave(c->x);
    int64_t at = h1_deadline(c);
    if (!at) return;
    if (at > l->now) {
        keep_time(c);
    } else if (stream_waits(&c->stream) &&
               c->stream.written + c->front->limits.write_timeout <= l->now) {
        log_debug("a client has not read its answer for %.3g s: cut",
                  (double)c->front->limits.write_timeout / 1e9);
        reset(c);
    } else if (c->phase == H1_PROXY) {
        h1_proxy_late(c);
    } else if (c->phase == H1_IDLE) {
        /* A request may have come at the last moment. */
        c->closing = stream_read(&c->stream, l->scratch, LOOP_SCRATCH, &n) != IO_OK;
        h1_feed(c, l->scratch, c->closing ? 0 : n);
    } else if (c->phase == H1_HEAD) {
        c->feeding = true;
        refuse(c, 408, "the head did not come in time");
        c->feeding = false;
        h1_feed(c, NULL, 0);
    } else if (c->phase == H1_BODY) {
        body_failed(c, 408);
        h1_feed(c, NULL, 0);
    } else if (h1_is_unheard(c)) {
        stream_want_read(&c->stream, true);
        settle(c);
    } else {
        close_now(c);
    }
}

/* ---- events ---- */

/* After input or output has gone on: sends, and decides what comes next. */
static void settle(struct h1 *c) {
    if (c->phase == H1_CLOSED) return;
    if (c->aborted) {
        /* Whole answers may be in front of the one that is cut. Where framing tells
           that it was, a reset would only endanger them. */
        stream_flush(&c->stream);
        if (c->aborted == H1_RESET)
            reset(c);
        else
            close_now(c);
        return;
    }
    if (c->eof && !c->closing) {
        if (c->phase == H1_LINGER || c->phase == H1_HEAD ||
            (c->phase == H1_IDLE && buf_len(&c->in) == 0)) {
            if (c->phase == H1_HEAD) {
                exchange_part(c->x);
                c->x = NULL;
            }
            c->closing = true;
        } else if (c->phase == H1_BODY && (!c->x || buf_len(&c->in) == 0)) {
            body_failed(c, 400);
            if (c->x && c->x->phase == X_DONE) finish(c);
        }
    }
    enum io sent = stream_flush(&c->stream);
    if (sent == IO_FAIL) {
        close_now(c);
        return;
    }
    if (c->socket) {
        h1_become_socket(c);
        close_now(c);
        return;
    }
    if (loan_is_out(c->loan) && !c->x) {
        if (loan_return(c)) return;
        c->closing = true; /* it has no home any more */
    }
    if (c->closing && !c->x && sent == IO_OK) {
        end(c);
        if (c->phase == H1_CLOSED) return;
    }
    if (c->front->surplus && c->phase == H1_IDLE && sent == IO_OK && !c->closing &&
        buf_len(&c->in) == 0 && loan_move(c))
        return;
    bool full = (c->phase != H1_HEAD && buf_len(&c->in) >= H1_PIPELINE_MAX) ||
                (c->phase == H1_BODY && c->x && c->dispatched &&
                 buf_len(&c->x->body) >= c->x->body_window);
    bool want = !c->eof && (!full || c->phase == H1_LINGER);
    if (want && c->phase == H1_BODY && !c->stream.reading)
        c->since = c->front->loop->now; /* it was us who paused */
    if (!h1_is_unheard(c)) stream_want_read(&c->stream, want);
    keep_time(c);
}

void h1_feed(struct h1 *c, const char *fresh, size_t n) {
    c->feeding = true;
    size_t queued = buf_len(&c->in);
    if (queued && n) {
        if (buf_append(&c->in, fresh, n) != 0) h1_starve(c);
        queued += n;
        n = 0;
    }
    if (n || !queued) {
        size_t done = advance(c, fresh, n);
        if (done < n && buf_append(&c->in, fresh + done, n - done) != 0) h1_starve(c);
    } else {
        size_t done = advance(c, buf_data(&c->in), queued);
        buf_consume(&c->in, done);
        if (buf_len(&c->in) == 0) buf_reset(&c->in);
    }
    c->feeding = false;
    settle(c);
}

void h1_run(struct h1 *c) {
    if (c->phase != H1_CLOSED) h1_feed(c, NULL, 0);
}

static void later(struct deferred *d) {
    h1_run(LIST_OF(d, struct h1, turn));
}

static void readable(struct stream *s) {
    struct h1 *c = LIST_OF(s, struct h1, stream);
    size_t n = 0;
    switch (stream_read(s, s->loop->scratch, LOOP_SCRATCH, &n)) {
    case IO_OK:
        if (c->phase != H1_LINGER) h1_feed(c, s->loop->scratch, n);
        break;
    case IO_AGAIN: settle(c); break;
    case IO_EOF:
        c->eof = true;
        if (c->x) exchange_leave(c->x);
        if (c->phase == H1_LINGER)
            close_now(c);
        else
            h1_feed(c, NULL, 0);
        break;
    case IO_FAIL: close_now(c); break;
    }
}

static void drained(struct stream *s) {
    struct h1 *c = LIST_OF(s, struct h1, stream);
    if (c->phase == H1_CLOSED) return;
    if (c->x && c->dispatched && c->x->held && !s->broken) c->front->app->drained(c->x);
    /* Later: the stream looks for input next, and must not have left its loop. */
    loop_defer(c->front->loop, &c->turn);
}

const struct stream_user h1_user = {readable, drained};

/* ---- birth ---- */

static struct h1 *make(struct front *f, int fd, const struct stream_ops *ops,
                       const struct sockaddr_storage *peer, bool proxy) {
    struct h1 *c = front_take_spare(f);
    if (!c) return NULL;
    memset(c, 0, sizeof *c);
    c->magic = MAGIC;
    c->front = f;
    c->phase = proxy ? H1_PROXY : H1_IDLE;
    stream_init(&c->stream, f->loop, fd, ops, proxy ? &h1_proxy_user : &h1_user);
    http1_reader_init(&c->reader, &f->limits.head);
    timer_init(&c->timer, late);
    list_init(&c->turn.link);
    c->turn.run = later;
    c->since = f->loop->now;
    c->client = client_address(peer);
    list_append(&f->conns, &c->member);
    return c;
}

void h1_open(struct front *f, int fd, const struct sockaddr_storage *peer,
             struct guest *guest, bool proxy) {
    struct h1 *c = make(f, fd, &stream_plain, peer, proxy);
    if (c) c->stream.guest = guest;
    if (!c) {
        close(fd);
        guest_leave(guest);
        front_closed(f);
    } else if (f->tls && !proxy && stream_tls_start(&c->stream, f->tls, NULL) != 0) {
        front_starved(f);
        close_now(c);
    } else {
        c->stream.user->readable(&c->stream);
    }
}

struct h1 *h1_open_memory(struct front *f, const struct stream_ops *ops) {
    struct h1 *c = make(f, -1, ops, NULL, false);
    if (c) c->stream.reading = true;
    return c;
}

void h1_poke(struct h1 *c) {
    MAGIC_CHECK(c, MAGIC);
    if (c->phase != H1_CLOSED) readable(&c->stream);
}

void h1_cut(struct h1 *c) {
    if (c->x && c->x->phase == X_DONE) finish(c);
    stream_flush(&c->stream); /* an answer may have been made at the last moment */
    if (loan_is_out(c->loan) && !c->x && loan_return(c)) return;
    close_now(c);
}
