#include "codec/ws_frame.h"

#include "base/err.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <wslay/wslay.h>

enum { SPARE_MAX = 8, RSV1 = 4 };

/* wslay's, which knows its user from its birth on, and what it is used for. */
struct ws_context {
    struct ws_context *next; /* while it is spare */
    wslay_frame_context_ptr wslay;
    struct span *input;
    uint64_t ahead; /* bytes that wslay has taken and not yet told of */
    struct buf *out;
    char *head;      /* NULL: all of the frame goes to out */
    size_t head_len; /* written there */
    bool failed;
    uint8_t control_len;
    char control[WS_CONTROL_MAX];
};

/* ---- contexts ---- */

static ssize_t feed(uint8_t *to, size_t room, int flags, void *user) {
    struct ws_context *c = user;
    (void)flags;
    size_t n = c->input->len < room ? c->input->len : room;
    if (n == 0) return -1;
    memcpy(to, c->input->at, n);
    c->input->at += n;
    c->input->len -= n;
    c->ahead += n;
    return (ssize_t)n;
}

/* The head comes first, in one piece. */
static ssize_t take(const uint8_t *at, size_t n, int flags, void *user) {
    struct ws_context *c = user;
    (void)flags;
    if (c->out) {
        if (buf_append(c->out, at, n) != 0) {
            c->failed = true;
            return -1;
        }
    } else if (c->head_len == 0) {
        memcpy(c->head, at, n);
        c->head_len = n;
    }
    return (ssize_t)n;
}

static int make_mask(uint8_t *to, size_t n, void *user) {
    (void)user;
    return getrandom(to, n, 0) == (ssize_t)n ? 0 : -1;
}

static struct ws_context *context_take(struct ws_frames *f) {
    static const struct wslay_frame_callbacks callbacks = {take, feed, make_mask};
    struct ws_context *c = f ? f->spare : NULL;
    if (c) {
        f->spare = c->next;
        f->spare_count--;
    } else {
        c = malloc(sizeof *c);
        if (!c) return NULL;
        if (wslay_frame_context_init(&c->wslay, &callbacks, c) != 0) {
            free(c);
            return NULL;
        }
    }
    c->input = NULL;
    c->ahead = 0;
    c->out = NULL;
    c->head = NULL;
    c->head_len = 0;
    c->failed = false;
    c->control_len = 0;
    return c;
}

static void context_free(struct ws_context *c) {
    wslay_frame_context_free(c->wslay);
    free(c);
}

/* Between two frames it is as good as new. */
static void context_give(struct ws_frames *f, struct ws_context *c) {
    if (!f || f->spare_count >= SPARE_MAX) {
        context_free(c);
        return;
    }
    c->next = f->spare;
    f->spare = c;
    f->spare_count++;
}

void ws_frames_done(struct ws_frames *f) {
    while (f->spare) {
        struct ws_context *c = f->spare;
        f->spare = c->next;
        context_free(c);
    }
    f->spare_count = 0;
}

/* ---- reading ---- */

void ws_reader_init(struct ws_reader *r, bool client, bool compression) {
    *r = (struct ws_reader){.client = client, .compression = compression};
}

void ws_reader_done(struct ws_reader *r, struct ws_frames *f) {
    struct ws_context *c = r->context;
    r->context = NULL;
    if (!c) return;
    if (r->in_frame || c->ahead || c->failed)
        context_free(c);
    else
        context_give(f, c);
}

static enum ws_event bad(struct ws_reader *r, struct ws_piece *p, unsigned code,
                         const char *why) {
    if (r->context) r->context->failed = true;
    *p = (struct ws_piece){.code = (uint16_t)code, .why = why};
    return WS_BAD;
}

static const char *head_problem(const struct ws_reader *r,
                                const struct wslay_frame_iocb *i) {
    bool control = wslay_is_ctrl_frame(i->opcode);
    if (i->mask && r->client) return "a server's frame is masked";
    if (!i->mask && !r->client) return "a client's frame is not masked";
    if (i->rsv & ~RSV1) return "a reserved bit is set";
    if (i->rsv && !r->compression) return "RSV1 is set and no extension was agreed on";
    if (i->rsv && (control || i->opcode == WS_CONTINUATION))
        return "RSV1 is set where no message begins";
    switch (i->opcode) {
    case WS_CONTINUATION: return r->message ? NULL : "nothing is to be continued";
    case WS_TEXT:
    case WS_BINARY:
        return r->message ? "a message begins in the middle of another one" : NULL;
    case WS_CLOSE:
    case WS_PING:
    case WS_PONG: return NULL;
    default: return "the opcode is reserved";
    }
}

static size_t head_length(const struct wslay_frame_iocb *i) {
    size_t length = i->payload_length < 126 ? 2 : i->payload_length < 65536 ? 4 : 10;
    return length + (i->mask ? 4 : 0);
}

static void begin_frame(struct ws_reader *r, const struct wslay_frame_iocb *i) {
    r->context->ahead -= head_length(i);
    r->in_frame = true;
    r->frame = i->opcode;
    r->fin = i->fin;
    r->left = i->payload_length;
    r->context->control_len = 0;
    if (i->opcode != WS_TEXT && i->opcode != WS_BINARY) return;
    r->message = i->opcode;
    r->compressed = i->rsv != 0;
    r->begun = false;
    r->text = (struct utf8_check){0};
}

static enum ws_event control(struct ws_reader *r, struct ws_piece *p,
                             struct span bytes) {
    struct ws_context *c = r->context;
    memcpy(c->control + c->control_len, bytes.at, bytes.len);
    c->control_len += (uint8_t)bytes.len;
    if (r->left) return WS_MORE;
    r->in_frame = false;
    *p = (struct ws_piece){.kind = (enum ws_kind)r->frame,
                           .first = true,
                           .last = true,
                           .bytes = span_of(c->control, c->control_len),
                           .code = WS_NO_CODE};
    if (r->frame != WS_CLOSE || c->control_len == 0) return WS_CONTROL;
    if (c->control_len == 1)
        return bad(r, p, WS_PROTOCOL_ERROR, "a close frame has half a code");
    unsigned code =
        (unsigned)(uint8_t)c->control[0] << 8 | (unsigned)(uint8_t)c->control[1];
    if (!ws_code_is_sent(code))
        return bad(r, p, WS_PROTOCOL_ERROR, "a close code that may not be sent");
    struct utf8_check reason = {0};
    p->code = (uint16_t)code;
    p->bytes = span_of(c->control + 2, c->control_len - 2u);
    if (!utf8_feed(&reason, p->bytes.at, p->bytes.len) || reason.left)
        return bad(r, p, WS_BAD_DATA, "the reason of a close frame is not UTF-8");
    return WS_CONTROL;
}

static enum ws_event data(struct ws_reader *r, struct ws_piece *p, struct span bytes) {
    bool last = r->fin && r->left == 0;
    *p = (struct ws_piece){.kind = (enum ws_kind)r->message,
                           .first = !r->begun,
                           .last = last,
                           .compressed = r->compressed,
                           .bytes = bytes,
                           .missing = r->left};
    if (r->message == WS_TEXT && !r->compressed &&
        (!utf8_feed(&r->text, bytes.at, bytes.len) || (last && r->text.left)))
        return bad(r, p, WS_BAD_DATA, "a text message is not UTF-8");
    r->begun = true;
    if (r->left == 0) r->in_frame = false;
    if (last) r->message = 0;
    return WS_PIECE;
}

static enum ws_event next(struct ws_reader *r, struct ws_piece *p) {
    struct ws_context *c = r->context;
    struct wslay_frame_iocb i = {0};
    ssize_t got = wslay_frame_recv(c->wslay, &i);
    if (got == WSLAY_ERR_WANT_READ) return WS_MORE;
    if (got < 0)
        return bad(r, p, WS_PROTOCOL_ERROR,
                   "a control frame is in pieces or long, or a length is not as short "
                   "as it could be");
    if (!r->in_frame) {
        const char *why = head_problem(r, &i);
        if (why) return bad(r, p, WS_PROTOCOL_ERROR, why);
        begin_frame(r, &i);
    }
    c->ahead -= (uint64_t)got;
    r->left -= (uint64_t)got;
    struct span bytes = span_of((const char *)i.data, (size_t)got);
    if (!wslay_is_ctrl_frame(r->frame)) return data(r, p, bytes);
    enum ws_event e = control(r, p, bytes);
    return e == WS_MORE ? next(r, p) : e;
}

enum ws_event ws_read(struct ws_reader *r, struct ws_frames *f, struct span *input,
                      struct ws_piece *p) {
    if (!r->context) {
        if (input->len == 0) return WS_MORE;
        r->context = context_take(f);
        if (!r->context) return WS_MEMORY;
    }
    if (r->context->failed)
        return bad(r, p, WS_PROTOCOL_ERROR, "it goes on after an error");
    r->context->input = input;
    enum ws_event e = next(r, p);
    if (e == WS_MORE && !r->in_frame && r->context->ahead == 0) {
        context_give(f, r->context);
        r->context = NULL;
    }
    return e;
}

/* ---- writing ---- */

bool ws_code_is_sent(unsigned code) {
    if (code >= 3000) return code < 5000;
    return code >= 1000 && code <= 1014 && code != 1004 && code != WS_NO_CODE &&
           code != WS_ABNORMAL;
}

static bool write_frame(struct ws_context *c, enum ws_kind kind, bool fin, bool rsv1,
                        bool mask, struct span payload) {
    struct wslay_frame_iocb i = {.fin = fin,
                                 .rsv = rsv1 ? RSV1 : 0,
                                 .opcode = (uint8_t)kind,
                                 .mask = mask,
                                 .payload_length = payload.len,
                                 .data = (const uint8_t *)payload.at,
                                 .data_length = payload.len};
    return wslay_frame_send(c->wslay, &i) == (ssize_t)payload.len;
}

size_t ws_head(struct ws_frames *f, char *to, enum ws_kind kind, bool fin, bool rsv1,
               struct span payload) {
    struct ws_context *c = context_take(f);
    if (!c) return 0;
    c->head = to;
    write_frame(c, kind, fin, rsv1, false, payload); /* which cannot fail */
    size_t n = c->head_len;
    context_give(f, c);
    return n;
}

int ws_append(struct ws_frames *f, struct buf *out, enum ws_kind kind, bool fin,
              bool rsv1, bool mask, struct span payload) {
    struct ws_context *c = context_take(f);
    if (!c) return ERR_MEMORY;
    size_t before = buf_len(out);
    c->out = out;
    if (write_frame(c, kind, fin, rsv1, mask, payload)) {
        context_give(f, c);
        return 0;
    }
    out->end = out->start + (uint32_t)before;
    context_free(c);
    return ERR_MEMORY;
}

size_t ws_close_payload(char *to, unsigned code, struct span reason) {
    if (code == WS_NO_CODE) return 0;
    to[0] = (char)(code >> 8);
    to[1] = (char)code;
    if (reason.len > WS_REASON_MAX) {
        reason.len = WS_REASON_MAX;
        while (reason.len && ((unsigned char)reason.at[reason.len] & 0xc0) == 0x80)
            reason.len--;
    }
    if (reason.len) memcpy(to + 2, reason.at, reason.len);
    return 2 + reason.len;
}
