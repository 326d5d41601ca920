#include "codec/ws_deflate.h"

#include <stdlib.h>
#include <zlib.h>

struct ws_window {
    z_stream z;
    uint8_t bits;
};

/* The fastest level: what it leaves is a tenth more at a third of the time, and it is
 * the loop that waits. */
enum { LEVEL = 1, MEMORY_LEVEL = 8 };

static const char tail[] = {0, 0, (char)0xff, (char)0xff};

static void free_packer(struct ws_window *c) {
    if (!c) return;
    deflateEnd(&c->z);
    free(c);
}

static void free_unpacker(struct ws_window *c) {
    if (!c) return;
    inflateEnd(&c->z);
    free(c);
}

void ws_pool_drain(struct ws_pool *pool) {
    free_packer(pool->packer);
    for (size_t i = 0; i < WS_POOL_UNPACKERS; i++) free_unpacker(pool->unpackers[i]);
    *pool = (struct ws_pool){0};
}

static struct ws_window *new_packer(unsigned bits) {
    struct ws_window *c = calloc(1, sizeof *c);
    if (!c) return NULL;
    /* zlib has no bare deflate with a window of 256 bytes; but with one of 512 it
     * reaches back 250 at most, keeping 262 ahead. */
    int window = bits > 9 ? (int)bits : 9;
    c->bits = (uint8_t)bits;
    if (deflateInit2(&c->z, LEVEL, Z_DEFLATED, -window, MEMORY_LEVEL,
                     Z_DEFAULT_STRATEGY) == Z_OK)
        return c;
    free(c);
    return NULL;
}

static struct ws_window *new_unpacker(unsigned bits) {
    struct ws_window *c = calloc(1, sizeof *c);
    if (!c) return NULL;
    c->bits = (uint8_t)bits;
    if (inflateInit2(&c->z, -(int)bits) == Z_OK) return c;
    free(c);
    return NULL;
}

void ws_packer_init(struct ws_packer *p, bool takeover, unsigned bits) {
    *p = (struct ws_packer){.takeover = takeover, .bits = (uint8_t)bits};
}

void ws_packer_done(struct ws_packer *p) {
    free_packer(p->own);
    p->own = NULL;
}

static struct ws_window *packer_of(struct ws_packer *p, struct ws_pool *pool) {
    struct ws_window **place = p->takeover ? &p->own : &pool->packer;
    if (*place && (*place)->bits != p->bits) {
        free_packer(*place);
        *place = NULL;
    }
    if (!*place) *place = new_packer(p->bits);
    return *place;
}

enum ws_packed ws_pack(struct ws_packer *p, struct ws_pool *pool, struct span message,
                       struct buf *out) {
    size_t before = buf_len(out), room = message.len + sizeof tail;
    if (message.len < WS_PACK_LEAST || message.len > BUF_MAX / 2) return WS_PACKED_NOT;
    struct ws_window *c = packer_of(p, pool);
    if (!c) return WS_PACKED_NO_MEMORY;
    z_stream *z = &c->z;
    enum ws_packed result = WS_PACKED_OK;
    z->next_in = (unsigned char *)(uintptr_t)message.at;
    z->avail_in = (unsigned)message.len;
    /* In steps: mostly a fraction of the room will do. */
    do {
        size_t left = room - (buf_len(out) - before);
        size_t step = message.len / 4 < left ? message.len / 4 : left;
        char *to = step ? buf_reserve(out, step) : NULL;
        if (!to) {
            result = step ? WS_PACKED_NO_MEMORY : WS_PACKED_NOT;
            break;
        }
        z->next_out = (unsigned char *)to;
        z->avail_out = (unsigned)step;
        deflate(z, Z_SYNC_FLUSH);
        buf_commit(out, step - z->avail_out);
    } while (z->avail_out == 0);
    z->next_in = z->next_out = NULL;
    size_t n = buf_len(out) - before;
    if (result == WS_PACKED_OK && n - sizeof tail >= message.len)
        result = WS_PACKED_NOT;
    if (result == WS_PACKED_OK) {
        out->end -= sizeof tail;
    } else {
        out->end -= (uint32_t)n;
        if (out->end == out->start) out->start = out->end = 0;
    }
    /* What the other side never saw must not be referred to. */
    if (result != WS_PACKED_OK || !p->takeover) deflateReset(z);
    return result;
}

void ws_unpacker_init(struct ws_unpacker *u, bool takeover, unsigned bits) {
    *u = (struct ws_unpacker){.takeover = takeover, .bits = (uint8_t)bits};
}

static struct ws_window *borrow(struct ws_pool *pool, unsigned bits) {
    for (size_t i = 0; i < WS_POOL_UNPACKERS; i++) {
        struct ws_window *c = pool->unpackers[i];
        if (!c) continue;
        pool->unpackers[i] = NULL;
        if (inflateReset2(&c->z, -(int)bits) == Z_OK) {
            c->bits = (uint8_t)bits;
            return c;
        }
        free_unpacker(c);
    }
    return new_unpacker(bits);
}

static void give_back(struct ws_pool *pool, struct ws_window *c) {
    for (size_t i = 0; pool && i < WS_POOL_UNPACKERS; i++)
        if (!pool->unpackers[i]) {
            pool->unpackers[i] = c;
            return;
        }
    free_unpacker(c);
}

void ws_unpacker_done(struct ws_unpacker *u, struct ws_pool *pool) {
    if (u->context) give_back(u->takeover ? NULL : pool, u->context);
    u->context = NULL;
}

/* One call of inflate into room for it, or into a byte that nobody wants when the
 * message must not grow any more. */
static enum ws_packed inflate_some(struct ws_unpacker *u, size_t max, struct buf *out) {
    enum { STEP = 16 * 1024, LEAST = 64 };
    z_stream *z = &u->context->z;
    unsigned char over;
    size_t left = max > u->size ? max - u->size : 0, room = buf_room(out);
    if (!out->memory || room < LEAST) room = STEP;
    if (room > left) room = left;
    char *to = room ? buf_reserve(out, room) : NULL;
    if (room && !to) return WS_PACKED_NO_MEMORY;
    z->next_out = to ? (unsigned char *)to : &over;
    z->avail_out = room ? (unsigned)room : 1;
    int status = inflate(z, Z_SYNC_FLUSH);
    size_t n = (room ? room : 1) - z->avail_out;
    if (n > left) return WS_PACKED_TOO_LARGE;
    buf_commit(out, n);
    u->size += n;
    switch (status) {
    case Z_OK:
    case Z_BUF_ERROR: return WS_PACKED_OK;
    /* A last block does not end the message, nor the window (RFC 7692 7.2.3.4). */
    case Z_STREAM_END:
        return inflateResetKeep(z) == Z_OK ? WS_PACKED_OK : WS_PACKED_BAD;
    case Z_MEM_ERROR: return WS_PACKED_NO_MEMORY;
    default: return WS_PACKED_BAD;
    }
}

static enum ws_packed inflate_all(struct ws_unpacker *u, struct span in, size_t max,
                                  struct buf *out) {
    z_stream *z = &u->context->z;
    enum ws_packed result;
    z->next_in = (unsigned char *)(uintptr_t)in.at;
    z->avail_in = (unsigned)in.len;
    do result = inflate_some(u, max, out);
    while (result == WS_PACKED_OK && (z->avail_in > 0 || z->avail_out == 0));
    z->next_in = z->next_out = NULL;
    return result;
}

enum ws_packed ws_unpack(struct ws_unpacker *u, struct ws_pool *pool, struct span piece,
                         bool last, size_t max, struct buf *out) {
    enum { BETWEEN_BLOCKS = 128 }; /* in data_type, see zlib.h */
    enum ws_packed result = WS_PACKED_OK;
    if (piece.len > BUF_MAX) return WS_PACKED_TOO_LARGE;
    if (piece.len && !u->context) u->context = borrow(pool, u->bits);
    if (piece.len && !u->context) return WS_PACKED_NO_MEMORY;
    if (piece.len) {
        u->begun = true;
        result = inflate_all(u, piece, max, out);
    }
    if (!last || result != WS_PACKED_OK) return result;
    /* Without a byte of payload there is no block for the tail to end. */
    if (u->begun) {
        result = inflate_all(u, span_of(tail, sizeof tail), max, out);
        if (result == WS_PACKED_OK && !(u->context->z.data_type & BETWEEN_BLOCKS))
            result = WS_PACKED_BAD;
    }
    u->begun = false;
    u->size = 0;
    if (!u->takeover) ws_unpacker_done(u, pool);
    return result;
}
