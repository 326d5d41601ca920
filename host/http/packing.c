#include "http/packing.h"

#include "base/check.h"
#include "codec/compress.h"
#include "codec/mime.h"
#include "http/front.h"

#include <stdlib.h>

/* What a front keeps for bodies that are compressed at once. */
struct packing_kit {
    struct packer gzip;
    struct buf out;
};

enum { KEPT = 128 * 1024 }; /* of out */

struct packing {
    struct packer packer;
    struct buf out;
    bool flush;    /* at each write */
    bool promised; /* a length, of which this is left */
    uint64_t left;
};

static struct packing_kit *kit_of(struct front *f) {
    if (!f->packing) f->packing = calloc(1, sizeof *f->packing);
    return f->packing;
}

void packing_kit_free(struct packing_kit *kit) {
    if (!kit) return;
    packer_close(&kit->gzip);
    buf_reset(&kit->out);
    free(kit);
}

/* ---- whether ---- */

static bool says(struct span list, struct span word) {
    for (size_t i = 0; i + word.len <= list.len; i++)
        if (span_case_eq(span_of(list.at + i, word.len), word)) return true;
    return false;
}

/* By what is sent, whoever it is for. */
static bool is_fit(const struct exchange *x, int status, struct span type,
                   int64_t length) {
    const struct front_limits *l = &x->front->limits;
    struct span value;
    if (x->plain || http1_bodiless(status) || status == 205 || status == 206)
        return false;
    if (length >= 0 && (uint64_t)length < l->compress_min) return false;
    if (!mime_matches(span_str(l->compress_types), type)) return false;
    if (exchange_find_field(x, SPAN("Content-Encoding"), &value) ||
        exchange_find_field(x, SPAN("Content-Range"), &value))
        return false;
    return !exchange_find_field(x, SPAN("Cache-Control"), &value) ||
           !says(value, SPAN("no-transform"));
}

int packing_vary(struct exchange *x) {
    struct span vary;
    if (exchange_find_field(x, SPAN("Vary"), &vary) &&
        (says(vary, SPAN("Accept-Encoding")) || span_eq(vary, SPAN("*"))))
        return 0;
    return exchange_field(x, SPAN("Vary"), SPAN("Accept-Encoding"));
}

enum coding packing_choose(struct exchange *x, int status, struct span type,
                           int64_t length) {
    struct coding_weights w;
    unsigned set = 1u << CODING_GZIP;
    if (!x->front->limits.compress || !is_fit(x, status, type, length) ||
        packing_vary(x) != 0)
        return CODING_IDENTITY;
    coding_accepted(&x->head, &w);
    /* Its encoder takes too much memory to be kept for as long as a stream may last. */
    if (length >= 0 && w.at[CODING_BR] && packer_knows(CODING_BR))
        set |= 1u << CODING_BR;
    return coding_choose(&w, set);
}

int packing_weaken(struct exchange *x) {
    struct span tag;
    if (!exchange_find_field(x, SPAN("ETag"), &tag) || !tag.len || tag.at[0] != '"')
        return 0;
    size_t at = (size_t)(tag.at - buf_data(&x->fields));
    size_t rest = buf_len(&x->fields) - at;
    if (!buf_reserve(&x->fields, 2)) return ERR_MEMORY;
    char *to = buf_data(&x->fields) + at;
    memmove(to + 2, to, rest);
    memcpy(to, "W/", 2);
    buf_commit(&x->fields, 2);
    return 0;
}

static int mark(struct exchange *x, enum coding coding) {
    int err = packing_weaken(x); /* first: it does no harm when the other fails */
    return err ? err : exchange_field(x, SPAN("Content-Encoding"), coding_name(coding));
}

/* ---- at once ---- */

static int pack(struct packing_kit *kit, enum coding coding, struct span body) {
    buf_consume(&kit->out, buf_len(&kit->out));
    if (coding == CODING_BR) return pack_br(body, &kit->out);
    if (kit->gzip.coding)
        packer_again(&kit->gzip);
    else if (packer_open(&kit->gzip, CODING_GZIP, PACK_WHOLE) != 0)
        return ERR_MEMORY;
    return packer_add(&kit->gzip, body, PACK_END, &kit->out);
}

/* However much is unsent. */
static bool put(struct exchange *x, struct span bytes) {
    size_t taken = 0;
    x->forced = true;
    enum io io = bytes.len ? x->wire->body(x, bytes, &taken) : IO_OK;
    x->forced = false;
    x->sent += taken;
    return io != IO_FAIL && taken == bytes.len;
}

/* Its head, then its body. */
static void send_packed(struct exchange *x, int status, struct span type,
                        struct span body) {
    x->status = status;
    x->framing = HTTP1_LENGTH;
    x->length = body.len;
    if (x->wire->whole(x, type, body)) {
        x->sent = body.len;
        x->phase = X_DONE;
    } else if (x->wire->head(x, type) == 0) {
        x->phase = X_SENDING;
        bool sent = put(x, body);
        x->length = 0;
        if (sent)
            exchange_end(x);
        else
            exchange_abort(x);
    } else {
        exchange_abort(x);
    }
    x->length = 0;
}

bool packing_answer(struct exchange *x, int status, struct span type,
                    struct span body) {
    if (body.len > PACKING_WHOLE || span_eq(head_method(&x->head), SPAN("HEAD")))
        return false; /* packing_begin will be asked */
    enum coding coding = packing_choose(x, status, type, (int64_t)body.len);
    x->plain = true; /* not to be asked again */
    struct packing_kit *kit = coding ? kit_of(x->front) : NULL;
    if (!kit || pack(kit, coding, body) != 0 || buf_len(&kit->out) >= body.len ||
        mark(x, coding) != 0)
        return false;
    send_packed(x, status, type, buf_span(&kit->out));
    if (kit->out.capacity > KEPT) buf_reset(&kit->out);
    buf_reset(&x->fields);
    return true;
}

/* ---- piece by piece ---- */

bool packing_begin(struct exchange *x, int status, struct span type, int64_t length) {
    bool head_only = span_eq(head_method(&x->head), SPAN("HEAD"));
    if (x->packing) return true;
    if (length == 0 || (!x->head.minor && !head_only)) return false;
    enum coding coding = packing_choose(x, status, type, length);
    if (coding == CODING_IDENTITY) return false;
    if (head_only) { /* its length would have to be found out */
        x->framing = HTTP1_NO_BODY;
        return mark(x, coding) == 0;
    }
    struct packing *p = calloc(1, sizeof *p);
    if (!p) return false;
    p->flush = length < 0;
    p->promised = length >= 0 || x->framing == HTTP1_LENGTH;
    p->left = length >= 0 ? (uint64_t)length : x->length;
    if (packer_open(&p->packer, coding, length < 0 ? PACK_STREAM : PACK_WHOLE) != 0 ||
        mark(x, coding) != 0) {
        packer_close(&p->packer);
        free(p);
        return false;
    }
    x->packing = p;
    x->framing = HTTP1_CHUNKED;
    x->length = 0;
    return true;
}

/* Sends what is in out, all of it. */
static enum io put_out(struct exchange *x) {
    struct buf *out = &x->packing->out;
    bool sent = put(x, buf_len(out) ? buf_span(out) : SPAN(""));
    buf_consume(out, buf_len(out));
    return sent ? IO_OK : IO_FAIL;
}

enum io packing_body(struct exchange *x, struct span piece, size_t *taken) {
    struct packing *p = x->packing;
    size_t whole = piece.len, none;
    *taken = 0;
    enum io io = x->wire->body(x, SPAN(""), &none);
    if (io != IO_OK) return io;
    if (p->promised && piece.len > p->left) piece.len = (size_t)p->left;
    bool all = piece.len <= PACKING_PIECE;
    if (!all) piece.len = PACKING_PIECE;
    enum pack_how how = all && p->flush ? PACK_FLUSH : PACK_MORE;
    if (piece.len && packer_add(&p->packer, piece, how, &p->out) != 0) {
        exchange_abort(x);
        return IO_FAIL;
    }
    if (p->promised) p->left -= piece.len;
    *taken = all ? whole : piece.len;
    return put_out(x);
}

bool packing_end(struct exchange *x) {
    struct packing *p = x->packing;
    if (p->promised && p->left) return false;
    return packer_add(&p->packer, SPAN(""), PACK_END, &p->out) == 0 &&
           put_out(x) == IO_OK;
}

void packing_done(struct exchange *x) {
    struct packing *p = x->packing;
    x->packing = NULL;
    packer_close(&p->packer);
    buf_reset(&p->out);
    free(p);
}
