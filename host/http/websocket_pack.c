#include "codec/ws_deflate.h"
#include "http/front.h"
#include "http/websocket.h"

#include <stdlib.h>

/* Compressed messages (RFC 7692). */

struct packing {
    struct ws_packer packer;
    struct ws_unpacker unpacker;
    struct ws_pool own;     /* where there is no front to borrow from */
    struct buf in, out;     /* a message that comes, and one that goes */
    size_t checked;         /* of in, as text */
    struct utf8_check text; /* of the message that comes */
};

int websocket_agree(struct websocket *w, const struct ws_terms *terms) {
    if (!terms->on) return 0;
    struct packing *p = calloc(1, sizeof *p);
    if (!p) return ERR_MEMORY;
    bool server = !w->client;
    ws_packer_init(&p->packer, server ? terms->server_takeover : terms->client_takeover,
                   server ? terms->server_bits : terms->client_bits);
    ws_unpacker_init(&p->unpacker,
                     server ? terms->client_takeover : terms->server_takeover,
                     server ? terms->client_bits : terms->server_bits);
    w->packing = p;
    w->reader.compression = true;
    return 0;
}

static struct ws_pool *pool_of(struct websocket *w) {
    return w->front ? &w->front->windows : &w->packing->own;
}

bool websocket_pack(struct websocket *w, struct span *bytes) {
    struct packing *p = w->packing;
    if (!p || bytes->len < WS_PACK_LEAST) return false;
    if (ws_pack(&p->packer, pool_of(w), *bytes, &p->out) != WS_PACKED_OK) return false;
    *bytes = buf_span(&p->out);
    return true;
}

bool websocket_takes_packed(const struct websocket *w) {
    const struct packing *p = w->packing;
    return p && !p->packer.takeover && p->packer.bits == WS_BITS_MOST;
}

void websocket_packed(struct websocket *w) {
    buf_reset(&w->packing->out);
    ws_pool_drain(&w->packing->own);
}

static const char *text_problem(struct packing *p, bool last) {
    size_t fresh = buf_len(&p->in) - p->checked;
    const char *at = fresh ? buf_data(&p->in) + p->checked : "";
    p->checked += fresh;
    if (utf8_feed(&p->text, at, fresh) && !(last && p->text.left)) return NULL;
    return "a text message is not UTF-8";
}

void websocket_unpack(struct websocket *w, const struct ws_piece *piece) {
    struct packing *p = w->packing;
    switch (ws_unpack(&p->unpacker, pool_of(w), piece->bytes, piece->last,
                      w->limits.message_max, &p->in)) {
    case WS_PACKED_TOO_LARGE:
        websocket_fail(w, WS_TOO_BIG, "the message is too long");
        return;
    case WS_PACKED_NO_MEMORY:
        websocket_fail(w, WS_INTERNAL, "not enough memory");
        return;
    case WS_PACKED_OK: break;
    default: websocket_fail(w, WS_BAD_DATA, "a message cannot be inflated"); return;
    }
    if (piece->kind == WS_TEXT) {
        const char *why = text_problem(p, piece->last);
        if (why) websocket_fail(w, WS_BAD_DATA, why);
        if (why) return;
    }
    if (!piece->last) return;
    struct span whole = buf_len(&p->in) ? buf_span(&p->in) : SPAN("");
    websocket_add(w, piece->kind, whole, 0, true);
    buf_reset(&p->in);
    p->checked = 0;
    p->text = (struct utf8_check){0};
    ws_pool_drain(&p->own);
}

void websocket_unpacking_over(struct websocket *w) {
    struct packing *p = w->packing;
    if (!p) return;
    ws_packer_done(&p->packer);
    ws_unpacker_done(&p->unpacker, NULL);
    ws_pool_drain(&p->own);
    buf_reset(&p->in);
    buf_reset(&p->out);
    free(p);
    w->packing = NULL;
}
