/* Two messages of the input unpacked whole and cut into small pieces, which must agree,
 * and never more than the limit; and the input packed and unpacked again. The first
 * byte picks window, takeover and pieces, the second where the second message begins.
 * Build with -fsanitize=fuzzer,address,undefined from base/ and codec/. */
#include "codec/ws_deflate.h"

#include <stdlib.h>

enum { MAX = 1 << 18 };

static void check(bool holds) {
    if (!holds) abort();
}

static enum ws_packed unpack(struct ws_unpacker *u, struct ws_pool *pool,
                             struct span in, size_t piece, struct buf *out) {
    enum ws_packed result = WS_PACKED_OK;
    size_t at = 0, before = buf_len(out);
    do {
        size_t n = in.len - at < piece ? in.len - at : piece;
        char *copy = malloc(n + 1);
        memcpy(copy, in.at + at, n);
        at += n;
        result = ws_unpack(u, pool, span_of(copy, n), at == in.len, MAX, out);
        free(copy);
    } while (result == WS_PACKED_OK && at < in.len);
    check(buf_len(out) - before <= MAX);
    return result;
}

static void pack(struct span text, bool takeover, unsigned bits, size_t piece) {
    struct ws_pool pool = {0};
    struct ws_packer p;
    struct ws_unpacker u;
    ws_packer_init(&p, takeover, bits);
    ws_unpacker_init(&u, takeover, bits);
    for (int i = 0; i < 2; i++) {
        struct buf packed, out;
        buf_init(&packed);
        buf_init(&out);
        if (ws_pack(&p, &pool, text, &packed) == WS_PACKED_OK) {
            check(buf_len(&packed) < text.len);
            check(unpack(&u, &pool, buf_span(&packed), piece, &out) == WS_PACKED_OK);
            check(span_eq(buf_span(&out), text));
        }
        buf_reset(&packed);
        buf_reset(&out);
    }
    ws_packer_done(&p);
    ws_unpacker_done(&u, &pool);
    ws_pool_drain(&pool);
}

static void pack_much(struct span seed, bool takeover, unsigned bits, size_t piece) {
    struct buf text;
    if (!seed.len) return;
    buf_init(&text);
    for (size_t i = 0; buf_len(&text) < 3 * WS_PACK_LEAST; i++) {
        buf_append(&text, seed.at, seed.len - i % seed.len);
        buf_append(&text, &i, 1);
    }
    pack(buf_span(&text), takeover, bits, piece);
    buf_reset(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 2) return 0;
    unsigned bits = 8 + (data[0] & 7);
    bool takeover = data[0] & 8;
    size_t piece = 1 + (data[0] >> 4), first = data[1] < size - 2 ? data[1] : size - 2;
    struct span in = span_of((const char *)data + 2, size - 2);
    struct span parts[2] = {{in.at, first}, {in.at + first, in.len - first}};
    struct ws_pool pool = {0};
    struct ws_unpacker whole, cut;
    enum ws_packed result = WS_PACKED_OK;
    ws_unpacker_init(&whole, takeover, bits);
    ws_unpacker_init(&cut, takeover, bits);
    for (int i = 0; i < 2 && result == WS_PACKED_OK; i++) {
        struct buf one, other;
        buf_init(&one);
        buf_init(&other);
        check(buf_reserve(&one, 1) && buf_reserve(&other, 1));
        result = unpack(&whole, &pool, parts[i], size, &one);
        check(unpack(&cut, &pool, parts[i], piece, &other) == result);
        if (result == WS_PACKED_OK) check(span_eq(buf_span(&one), buf_span(&other)));
        buf_reset(&one);
        buf_reset(&other);
    }
    ws_unpacker_done(&whole, &pool);
    ws_unpacker_done(&cut, &pool);
    ws_pool_drain(&pool);
    pack(in, takeover, bits, piece);
    pack_much(in, takeover, bits, piece);
    return 0;
}
