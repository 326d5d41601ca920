#include "http/websocket.h"

#include "base/check.h"
#include "http/front.h"

#include <stdlib.h>
#include <string.h>

enum {
    MAGIC = 0x77736f63,
    TOGETHER = 8 * 1024, /* up to here a message is copied, and sent with others */
};

static const int64_t PARTING = 2 * CLOCK_SECOND, /* for the peer to see our end */
    UNSEEN = CLOCK_SECOND / 4;                   /* for the user to see the peer's */

static struct loop *loop_of(const struct websocket *w) {
    return w->stream.loop;
}

void websocket_soon(struct websocket *w) {
    if (w->state == WEBSOCKET_OVER) return; /* its grave may be in the link's place */
    loop_defer_last(loop_of(w), &w->flush);
}

struct ws_frames *websocket_frames(const struct websocket *w) {
    return w->front ? &w->front->frames : NULL;
}

static void arrived(struct websocket *w) {
    if (w->user) w->ops->arrived(w);
}

/* ---- the end ---- */

static void free_messages(struct websocket *w) {
    while (w->first) {
        struct websocket_message *m = w->first;
        w->first = m->next;
        free(m);
    }
    free(w->coming);
    w->last = w->coming = NULL;
    w->waiting = 0;
}

static void free_one(struct websocket *w) {
    free_messages(w);
    buf_reset(&w->in);
    free(w->reason);
    free(w->record);
    free(w->protocol);
    websocket_unpacking_over(w);
    w->magic = 0;
    free(w);
}

static void free_buried(struct grave *g) {
    free_one(LIST_OF(g, struct websocket, grave));
}

/* They are told all at once, and none of them begins anything. */
static void end_sources(struct websocket *w) {
    struct link *first;
    while ((first = list_first(&w->sources))) {
        struct websocket_source *s = LIST_OF(first, struct websocket_source, link);
        list_unlink(first);
        s->ops->ended(s, loop_of(w));
    }
}

/* Nothing is done with its stream any more. */
static void end_stream(struct websocket *w) {
    struct loop *l = loop_of(w);
    end_sources(w);
    list_unlink(&w->debt.link);
    list_unlink(&w->flush.link);
    if (l) timer_clear(l, &w->timer);
    ws_reader_done(&w->reader, websocket_frames(w));
    buf_reset(&w->in);
    if (w->state != WEBSOCKET_NEW) stream_done(&w->stream);
    w->state = WEBSOCKET_OVER;
    if (w->front) front_closed(w->front);
    w->front = NULL;
}

/* Nobody has it any more. */
static void bury(struct websocket *w) {
    struct loop *l = loop_of(w);
    w->grave.done = free_buried;
    if (l)
        loop_bury(l, &w->grave);
    else
        free_one(w);
}

static void over(struct websocket *w) {
    end_stream(w);
    if (w->dropped) bury(w);
}

void websocket_end(struct websocket *w, unsigned code, struct span reason) {
    if (!w->ended && !w->code) {
        w->code = (uint16_t)code;
        if (reason.len) w->reason = strndup(reason.at, reason.len);
    }
    if (w->ended) return;
    w->ended = true;
    arrived(w);
}

/* The connection is gone, or is to be. */
static void fall(struct websocket *w) {
    if (w->state == WEBSOCKET_OVER) return;
    bool was_open = w->state == WEBSOCKET_OPEN;
    end_stream(w);
    if (was_open && w->user) w->ops->drained(w);
    websocket_end(w, WS_ABNORMAL, SPAN(""));
    if (w->dropped) bury(w);
}

void websocket_send_close(struct websocket *w, unsigned code, struct span reason) {
    char payload[WS_CONTROL_MAX];
    size_t n = ws_close_payload(payload, code, reason);
    bool late = stream_full(&w->stream);
    int err = websocket_send(w, WS_CLOSE, span_of(payload, n));
    w->state = WEBSOCKET_CLOSING;
    end_sources(w);
    w->since = loop_of(w)->now;
    if (err) stream_shutdown(&w->stream);
    if (late && w->user) w->ops->drained(w); /* they wait in vain */
}

void websocket_fail(struct websocket *w, unsigned code, const char *why) {
    if (code == WS_INTERNAL && w->front) front_starved(w->front);
    w->deaf = true;
    free(w->coming);
    w->coming = NULL;
    if (w->state == WEBSOCKET_OPEN) websocket_send_close(w, code, span_str(why));
    websocket_end(w, code, span_str(why));
}

void websocket_close(struct websocket *w, unsigned code, struct span reason,
                     bool hear) {
    MAGIC_CHECK(w, MAGIC);
    websocket_answer(w);
    if (w->state != WEBSOCKET_OPEN) return;
    websocket_send_close(w, code, reason);
    w->code = (uint16_t)code;
    if (reason.len) w->reason = strndup(reason.at, reason.len);
    if (!hear) {
        websocket_end(w, code, reason);
        free(w->coming);
        w->coming = NULL;
    }
    websocket_soon(w);
}

void websocket_answer(struct websocket *w) {
    if (w->state != WEBSOCKET_OPEN || !w->answered) return;
    websocket_send_close(w, w->code, SPAN(""));
    websocket_soon(w);
}

/* ---- time ---- */

static int64_t deadline(const struct websocket *w) {
    int64_t at = 0, write = 0;
    switch (w->state) {
    case WEBSOCKET_OPEN:
        if (w->answered)
            at = w->since + (w->first ? w->limits.patience : UNSEEN);
        else if (w->limits.ping)
            at = w->since + (w->pinged ? w->limits.patience : w->limits.ping);
        break;
    case WEBSOCKET_CLOSING: at = w->since + w->limits.patience; break;
    case WEBSOCKET_PARTING: at = w->since + PARTING; break;
    default: return 0;
    }
    if (stream_waits(&w->stream) && w->limits.write_timeout) {
        write = w->stream.written + w->limits.write_timeout;
        if (!at || write < at) at = write;
    }
    return at;
}

static void keep_time(struct websocket *w) {
    int64_t at = deadline(w);
    /* A later deadline is looked up when the earlier one fires. */
    if (at && (!timer_is_set(&w->timer) || at < w->timer.at))
        if (timer_set(loop_of(w), &w->timer, at) != 0) fall(w);
}

static bool writes_late(const struct websocket *w, int64_t now) {
    return stream_waits(&w->stream) && w->limits.write_timeout &&
           w->stream.written + w->limits.write_timeout <= now;
}

static void late(struct timer *t) {
    struct websocket *w = LIST_OF(t, struct websocket, timer);
    int64_t now = loop_of(w)->now;
    int64_t at = deadline(w);
    if (!at) return;
    if (at > now) {
        keep_time(w);
    } else if (w->state == WEBSOCKET_OPEN && w->full && !writes_late(w, now)) {
        /* It is us who do not listen: no answer is waited for. But to who has gone
           nothing can be sent. */
        w->since = now;
        w->pinged = false;
        if (!w->answered && !stream_unsent(&w->stream))
            websocket_send(w, WS_PING, SPAN(""));
        keep_time(w);
    } else if (w->state == WEBSOCKET_OPEN && w->answered && !writes_late(w, now)) {
        websocket_answer(w);
    } else if (w->state == WEBSOCKET_OPEN && !w->pinged && !writes_late(w, now)) {
        w->pinged = true;
        w->since = now;
        if (websocket_send(w, WS_PING, SPAN("")) != 0)
            fall(w);
        else
            keep_time(w);
    } else {
        const char *why = writes_late(w, now) ? "the peer reads too slowly"
                                              : "a ping was not answered";
        if (w->state == WEBSOCKET_OPEN && !w->ended) {
            w->code = WS_ABNORMAL;
            w->reason = strdup(why);
        }
        fall(w);
    }
}

/* ---- output ---- */

static enum io flush(struct websocket *w) {
    list_unlink(&w->flush.link);
    return stream_flush(&w->stream);
}

static void flush_last(struct deferred *d) {
    websocket_settle(LIST_OF(d, struct websocket, flush));
}

static int queue(struct websocket *w, enum ws_kind kind, bool packed,
                 struct span bytes) {
    struct stream *s = &w->stream;
    char *to = stream_reserve(s, WS_HEAD_MAX + bytes.len);
    if (!to) return ERR_MEMORY;
    if (w->client)
        return ws_append(websocket_frames(w), &s->out, kind, true, packed, true, bytes);
    size_t n = ws_head(websocket_frames(w), to, kind, true, packed, bytes);
    if (!n) return ERR_MEMORY;
    if (bytes.len) memcpy(to + n, bytes.at, bytes.len);
    stream_commit(s, n + bytes.len);
    return 0;
}

/* What failed is found out by the flush. */
static void send_pieces(struct websocket *w, const struct iovec *pieces, int count) {
    stream_write(&w->stream, pieces, count);
    keep_time(w);
}

static int send_whole(struct websocket *w, enum ws_kind kind, bool packed,
                      struct span bytes) {
    if (w->client || bytes.len < TOGETHER) return queue(w, kind, packed, bytes);
    char head[WS_HEAD_MAX];
    size_t n = ws_head(websocket_frames(w), head, kind, true, packed, bytes);
    if (!n) return ERR_MEMORY;
    struct iovec pieces[] = {{head, n}, {(void *)(uintptr_t)bytes.at, bytes.len}};
    send_pieces(w, pieces, 2);
    return 0;
}

int websocket_send(struct websocket *w, enum ws_kind kind, struct span bytes) {
    MAGIC_CHECK(w, MAGIC);
    if (w->state != WEBSOCKET_OPEN || w->stream.broken) return ERR_CLOSED;
    bool packed = kind <= WS_BINARY && websocket_pack(w, &bytes);
    int err = send_whole(w, kind, packed, bytes);
    if (packed) websocket_packed(w);
    if (err == 0) websocket_soon(w);
    return err;
}

int websocket_send_frame(struct websocket *w, struct span frame) {
    MAGIC_CHECK(w, MAGIC);
    CHECK(!w->client);
    if (w->state != WEBSOCKET_OPEN || w->stream.broken) return ERR_CLOSED;
    struct iovec piece = {(void *)(uintptr_t)frame.at, frame.len};
    if (list_empty(&w->flush.link)) {
        send_pieces(w, &piece, 1);
        if (w->stream.broken) websocket_soon(w);
        return 0;
    }
    char *to = stream_reserve(&w->stream, frame.len);
    if (!to) return ERR_MEMORY;
    memcpy(to, frame.at, frame.len);
    stream_commit(&w->stream, frame.len);
    return 0;
}

/* ---- events ---- */

void websocket_settle(struct websocket *w) {
    if (w->state == WEBSOCKET_OVER || w->state == WEBSOCKET_NEW) return;
    if (w->held && !w->full && !w->deaf) {
        websocket_feed(w, SPAN(""));
        return;
    }
    enum io sent = flush(w);
    if (sent == IO_FAIL) {
        fall(w);
        return;
    }
    if (w->state == WEBSOCKET_CLOSING && w->deaf && sent == IO_OK) {
        /* Both have said that they close; the server's side hangs up. */
        bool server_hangs_up = w->answered && !w->client;
        if (server_hangs_up && stream_farewell(&w->stream) == IO_OK) {
            over(w);
            return;
        }
        w->state = WEBSOCKET_PARTING;
        w->since = loop_of(w)->now;
        if (!w->answered) stream_shutdown(&w->stream);
    }
    stream_want_read(&w->stream, w->deaf || !w->full);
    keep_time(w);
}

static void readable(struct stream *s) {
    struct websocket *w = LIST_OF(s, struct websocket, stream);
    struct loop *l = s->loop;
    size_t n = 0;
    switch (stream_read(s, l->scratch, LOOP_SCRATCH, &n)) {
    case IO_OK:
        if (w->state == WEBSOCKET_OPEN) w->since = l->now;
        w->pinged = false;
        if (w->state != WEBSOCKET_PARTING && !w->deaf)
            websocket_feed(w, span_of(l->scratch, n));
        break;
    case IO_AGAIN: websocket_settle(w); break;
    default: fall(w); break;
    }
}

static void drained(struct stream *s) {
    struct websocket *w = LIST_OF(s, struct websocket, stream);
    struct link *next;
    if (w->state == WEBSOCKET_OPEN && w->user) w->ops->drained(w);
    /* What one of them does may end them all. */
    for (struct link *at = w->sources.next; at != &w->sources; at = next) {
        struct websocket_source *source = LIST_OF(at, struct websocket_source, link);
        next = at->next;
        source->ops->drained(source);
        if (list_empty(&w->sources)) break;
    }
    /* Later: the stream looks for input next. */
    websocket_soon(w);
}

static const struct stream_user user = {readable, drained};

/* ---- birth, and the user's leaving ---- */

static void give_up(struct debt *d) {
    websocket_cut(LIST_OF(d, struct websocket, debt));
}

struct websocket *websocket_new(bool client, const struct websocket_limits *limits,
                                const struct websocket_user *ops, void *data) {
    struct websocket *w = calloc(1, sizeof *w);
    if (!w) return NULL;
    w->magic = MAGIC;
    w->client = client;
    w->limits = *limits;
    w->ops = ops;
    w->user = data;
    ws_reader_init(&w->reader, client, false);
    timer_init(&w->timer, late);
    list_init(&w->flush.link);
    list_init(&w->sources);
    w->flush.run = flush_last;
    list_init(&w->debt.link);
    w->debt.give_up = give_up;
    return w;
}

static void join_front(struct websocket *w, struct front *f) {
    w->front = f;
    if (!f) return;
    list_append(&f->sockets, &w->debt.link);
    atomic_fetch_add_explicit(&f->load, 1, memory_order_relaxed);
}

void websocket_begin(struct websocket *w, struct front *f, struct stream *s,
                     struct buf *in) {
    MAGIC_CHECK(w, MAGIC);
    CHECK(w->state == WEBSOCKET_NEW);
    stream_take(&w->stream, s, &user);
    w->state = WEBSOCKET_OPEN;
    w->in = *in;
    buf_init(in);
    join_front(w, f);
    w->since = loop_of(w)->now;
    if (w->user) w->ops->opened(w);
    if (w->dropped)
        websocket_close(w, WS_GOING_AWAY, SPAN(""), false);
    else if (f && f->draining)
        websocket_drain(w);
    websocket_feed(w, SPAN(""));
}

void websocket_lose(struct websocket *w) {
    MAGIC_CHECK(w, MAGIC);
    fall(w);
}

void websocket_drop(struct websocket *w, unsigned code) {
    MAGIC_CHECK(w, MAGIC);
    struct loop *l = loop_of(w);
    w->user = NULL;
    w->dropped = true;
    if (w->state == WEBSOCKET_OPEN) websocket_close(w, code, SPAN(""), false);
    w->ended = true; /* what is still heard was for the user */
    free_messages(w);
    w->full = false;
    if (w->state == WEBSOCKET_OVER) {
        bury(w);
    } else if (w->state != WEBSOCKET_NEW) {
        /* At once: there may be no further turn. */
        flush(w);
        websocket_soon(w);
        if (!w->front && list_empty(&w->debt.link))
            list_append(&l->debts, &w->debt.link);
    }
}

/* ---- front's, and from loop to loop ---- */

void websocket_drain(struct websocket *w) {
    websocket_close(w, WS_GOING_AWAY, SPAN(""), true);
}

void websocket_cut(struct websocket *w) {
    websocket_close(w, WS_GOING_AWAY, SPAN(""), false);
    if (w->state == WEBSOCKET_OVER) return;
    flush(w);
    if (w->state == WEBSOCKET_CLOSING) stream_farewell(&w->stream);
    fall(w);
}

void websocket_leave(struct websocket *w) {
    MAGIC_CHECK(w, MAGIC);
    if (!list_empty(&w->flush.link)) flush(w);
    list_unlink(&w->debt.link);
    for (struct link *at = w->sources.next; at != &w->sources; at = at->next) {
        struct websocket_source *source = LIST_OF(at, struct websocket_source, link);
        source->ops->left(source);
    }
    timer_clear(loop_of(w), &w->timer);
    stream_detach(&w->stream);
    if (w->front) front_closed(w->front);
    w->front = NULL;
    w->user = NULL;
}

void websocket_abandon(struct websocket *w) {
    char payload[WS_CONTROL_MAX];
    size_t n = ws_close_payload(payload, WS_GOING_AWAY, SPAN(""));
    MAGIC_CHECK(w, MAGIC);
    if (queue(w, WS_CLOSE, false, span_of(payload, n)) == 0) stream_flush(&w->stream);
    stream_farewell(&w->stream);
    end_stream(w);
    free_one(w);
}

void websocket_enter(struct websocket *w, struct loop *l, struct front *f, void *data) {
    MAGIC_CHECK(w, MAGIC);
    w->user = data;
    join_front(w, f);
    stream_attach(&w->stream, l);
    w->since = l->now;
    w->pinged = false;
    for (struct link *at = w->sources.next; at != &w->sources; at = at->next) {
        struct websocket_source *source = LIST_OF(at, struct websocket_source, link);
        source->ops->entered(source, l);
    }
    websocket_soon(w);
}
