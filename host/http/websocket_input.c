#include "http/front.h"
#include "http/websocket.h"

#include <stdlib.h>
#include <string.h>

/* What comes into a websocket, and waits there to be taken. */

enum { BOLD = 64 * 1024 }; /* so much memory is made for what was only announced */

/* Room for n more bytes of the coming message, and for what was announced behind them,
 * within reason: who announces much has not sent it yet. */
static bool make_room(struct websocket *w, size_t n, uint64_t missing) {
    struct websocket_message *m = w->coming;
    size_t len = m ? m->len : 0;
    if (m && m->capacity - len >= n) return true;
    size_t want = missing > BOLD ? BOLD : (size_t)missing;
    size_t capacity = m ? 2 * (size_t)m->capacity : 0;
    if (capacity < len + n + want) capacity = len + n + want;
    m = realloc(m, sizeof *m + capacity);
    if (!m) return false;
    if (!w->coming) *m = (struct websocket_message){0};
    m->capacity = (uint32_t)capacity;
    w->coming = m;
    return true;
}

static void enqueue(struct websocket *w) {
    struct websocket_message *m = w->coming;
    w->coming = NULL;
    m->next = NULL;
    if (w->first)
        w->last->next = m;
    else
        w->first = m;
    w->last = m;
    w->waiting += sizeof *m + m->len;
    if (w->waiting >= w->limits.queue_max) w->full = true;
    if (w->user) w->ops->arrived(w);
}

void websocket_add(struct websocket *w, enum ws_kind kind, struct span bytes,
                   uint64_t missing, bool last) {
    if (!make_room(w, bytes.len, missing)) {
        websocket_fail(w, WS_INTERNAL, "not enough memory");
        return;
    }
    struct websocket_message *m = w->coming;
    m->kind = (uint8_t)kind;
    if (bytes.len) memcpy(m->bytes + m->len, bytes.at, bytes.len);
    m->len += (uint32_t)bytes.len;
    if (last) enqueue(w);
}

static void piece_came(struct websocket *w, const struct ws_piece *p) {
    if (w->ended) return; /* nobody will take it */
    size_t len = w->coming ? w->coming->len : 0, max = w->limits.message_max;
    size_t most = max > len ? max - len : 0; /* new code may have made it smaller */
    if (p->compressed)
        websocket_unpack(w, p);
    else if (p->bytes.len > most || p->missing > most - p->bytes.len)
        websocket_fail(w, WS_TOO_BIG, "the message is too long");
    else
        websocket_add(w, p->kind, p->bytes, p->missing, p->last);
}

static void control_came(struct websocket *w, const struct ws_piece *p) {
    switch (p->kind) {
    case WS_PING:
        /* Who asks and asks and does not read the answers gets no more of them. */
        if (w->state == WEBSOCKET_OPEN && stream_unsent(&w->stream) < STREAM_HIGH)
            websocket_send(w, WS_PONG, p->bytes);
        break;
    case WS_CLOSE:
        w->deaf = w->answered = true;
        w->since = w->stream.loop->now;
        websocket_end(w, p->code, p->bytes);
        break;
    default: break;
    }
}

/* Goes through the bytes and says how many are done with. */
static size_t go_through(struct websocket *w, struct span input) {
    size_t whole = input.len;
    while (!w->deaf) {
        struct ws_piece p;
        if (w->full) {
            w->held = true;
            return whole - input.len;
        }
        switch (ws_read(&w->reader, websocket_frames(w), &input, &p)) {
        case WS_MORE: return whole;
        case WS_PIECE: piece_came(w, &p); break;
        case WS_CONTROL: control_came(w, &p); break;
        case WS_BAD: websocket_fail(w, p.code, p.why); break;
        case WS_MEMORY: websocket_fail(w, WS_INTERNAL, "not enough memory"); break;
        }
    }
    return whole;
}

void websocket_feed(struct websocket *w, struct span fresh) {
    struct span kept = buf_len(&w->in) ? buf_span(&w->in) : SPAN("");
    w->held = false;
    size_t done = go_through(w, kept);
    if (kept.len) buf_consume(&w->in, done);
    if (w->in.memory && buf_len(&w->in) == 0) buf_reset(&w->in);
    if (fresh.len && !w->held) {
        done = go_through(w, fresh);
        fresh = span_of(fresh.at + done, fresh.len - done);
    }
    if (fresh.len && !w->deaf && buf_append(&w->in, fresh.at, fresh.len) != 0)
        websocket_fail(w, WS_INTERNAL, "not enough memory");
    websocket_settle(w);
}

struct websocket_message *websocket_take(struct websocket *w) {
    struct websocket_message *m = w->first;
    if (!m) return NULL;
    w->first = m->next;
    w->waiting -= sizeof *m + m->len;
    if (w->first) return m;
    w->last = NULL;
    if (w->full && w->state != WEBSOCKET_OVER) websocket_soon(w);
    w->full = false;
    return m;
}
