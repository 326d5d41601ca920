#include "codec/ws_deflate.h"
#include "unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <zlib.h>

enum { MAX = 1 << 20 };

/* Text with repetitions near and far. */
static char *text_of(size_t len) {
    char *text = malloc(len + 32);
    size_t n = 0;
    for (unsigned i = 0; n < len; i++)
        n += (size_t)sprintf(text + n, "%u %u;", i * i % 4001, i % 7);
    return text;
}

static enum ws_packed unpack(struct ws_unpacker *u, struct ws_pool *pool,
                             struct span in, size_t piece, size_t max,
                             struct buf *out) {
    enum ws_packed result = WS_PACKED_OK;
    size_t at = 0;
    do {
        size_t n = in.len - at < piece ? in.len - at : piece;
        char *copy = malloc(n ? n : 1);
        memcpy(copy, in.at + at, n);
        at += n;
        result = ws_unpack(u, pool, span_of(copy, n), at == in.len, max, out);
        free(copy);
    } while (result == WS_PACKED_OK && at < in.len);
    return result;
}

TEST(packs_and_unpacks_with_every_window) {
    struct ws_pool pool = {0};
    for (unsigned bits = WS_BITS_LEAST; bits <= WS_BITS_MOST; bits++)
        for (int takeover = 0; takeover < 2; takeover++) {
            struct ws_packer p;
            struct ws_unpacker u;
            ws_packer_init(&p, takeover, bits);
            ws_unpacker_init(&u, takeover, bits);
            for (size_t len = 1024; len < 300000; len = len * 3 + 11) {
                char *text = text_of(len);
                struct buf packed, out;
                buf_init(&packed);
                buf_init(&out);
                buf_append(&packed, "kept", 4);
                EXPECT_EQ_INT(ws_pack(&p, &pool, span_of(text, len), &packed),
                              WS_PACKED_OK);
                EXPECT(buf_len(&packed) < len * 3 / 4 + 4);
                buf_consume(&packed, 4);
                EXPECT_EQ_INT(
                    unpack(&u, &pool, buf_span(&packed), len % 7 * 900 + 1, len, &out),
                    WS_PACKED_OK);
                EXPECT(span_eq(buf_span(&out), span_of(text, len)));
                EXPECT(takeover || (!p.own && !u.context));
                free(text);
                buf_reset(&packed);
                buf_reset(&out);
            }
            ws_packer_done(&p);
            ws_unpacker_done(&u, &pool);
        }
    ws_pool_drain(&pool);
}

TEST(refers_back_only_with_takeover) {
    struct ws_pool pool = {0};
    char *text = text_of(4000);
    for (int takeover = 0; takeover < 2; takeover++) {
        struct ws_packer p;
        struct buf first, second;
        buf_init(&first);
        buf_init(&second);
        ws_packer_init(&p, takeover, 15);
        EXPECT_EQ_INT(ws_pack(&p, &pool, span_of(text, 4000), &first), WS_PACKED_OK);
        EXPECT_EQ_INT(ws_pack(&p, &pool, span_of(text, 4000), &second), WS_PACKED_OK);
        if (takeover)
            EXPECT(buf_len(&second) < 100);
        else
            EXPECT(span_eq(buf_span(&first), buf_span(&second)));
        ws_packer_done(&p);
        buf_reset(&first);
        buf_reset(&second);
    }
    free(text);
    ws_pool_drain(&pool);
}

TEST(leaves_what_does_not_shrink) {
    struct ws_pool pool = {0};
    struct ws_packer p;
    struct ws_unpacker u;
    struct buf packed, out;
    char noise[5000], *text = text_of(5000);
    unsigned seed = 1;
    for (size_t i = 0; i < sizeof noise; i++)
        noise[i] = (char)((seed = seed * 1664525 + 1013904223) >> 24);
    buf_init(&packed);
    buf_init(&out);
    ws_packer_init(&p, true, 15);
    ws_unpacker_init(&u, true, 15);
    EXPECT_EQ_INT(ws_pack(&p, &pool, SPAN("small"), &packed), WS_PACKED_NOT);
    EXPECT_EQ_INT(ws_pack(&p, &pool, span_of(noise, sizeof noise), &packed),
                  WS_PACKED_NOT);
    EXPECT_EQ_INT(buf_len(&packed), 0);
    /* Nor is it referred to later, when the other side has not seen it packed. */
    memcpy(text, noise, 2000);
    EXPECT_EQ_INT(ws_pack(&p, &pool, span_of(text, 5000), &packed), WS_PACKED_OK);
    EXPECT_EQ_INT(unpack(&u, &pool, buf_span(&packed), 99, MAX, &out), WS_PACKED_OK);
    EXPECT(span_eq(buf_span(&out), span_of(text, 5000)));
    ws_packer_done(&p);
    ws_unpacker_done(&u, &pool);
    buf_reset(&packed);
    buf_reset(&out);
    free(text);
    ws_pool_drain(&pool);
}

struct sample {
    const char *bytes;
    size_t len;
    const char *text; /* NULL: not deflate */
};

/* The examples of RFC 7692 7.2.3, and what is none. */
TEST(reads_what_others_write) {
    static const struct sample samples[] = {
        {"\xf2\x48\xcd\xc9\xc9\x07\x00", 7, "Hello"},
        {"\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00", 13, "Hello"},
        {"\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00", 11, "Hello"},
        {"\xf3\x48\xcd\xc9\xc9\x07\x00\x00", 8, "Hello"},
        {"\x00", 1, ""},
        {"", 0, ""},
        {"\xf2\x48\xcd\xc9\xc9\x07", 6, NULL},
        {"\xf3\x48\xcd\xc9\xc9\x07\x00", 7, NULL},
        {"\xf2\x48\xcd\xc9", 4, NULL},
        {"\xff\xff\xff", 3, NULL},
        {"\x07", 1, NULL},
    };
    struct ws_pool pool = {0};
    for (size_t i = 0; i < sizeof samples / sizeof *samples; i++)
        for (size_t piece = 1; piece < 4; piece++) {
            struct ws_unpacker u;
            struct buf out;
            const struct sample *s = samples + i;
            buf_init(&out);
            ws_unpacker_init(&u, false, 15);
            enum ws_packed result =
                unpack(&u, &pool, span_of(s->bytes, s->len), piece, 100, &out);
            if (!EXPECT_EQ_INT(result, s->text ? WS_PACKED_OK : WS_PACKED_BAD))
                printf("  sample %zu\n", i);
            if (s->text) EXPECT_EQ_SPAN(buf_span(&out), span_str(s->text));
            ws_unpacker_done(&u, &pool);
            buf_reset(&out);
        }
    ws_pool_drain(&pool);
}

TEST(refuses_what_reaches_beyond_the_window) {
    struct ws_pool pool = {0};
    struct ws_packer p;
    struct ws_unpacker u;
    struct buf packed, out;
    char *text = text_of(30000);
    memmove(text + 20000, text, 10000);
    for (size_t i = 10000; i < 20000; i++) text[i] = (char)(i * i % 251);
    buf_init(&packed);
    buf_init(&out);
    ws_packer_init(&p, false, 15);
    ws_unpacker_init(&u, false, 9);
    EXPECT_EQ_INT(ws_pack(&p, &pool, span_of(text, 30000), &packed), WS_PACKED_OK);
    EXPECT_EQ_INT(unpack(&u, &pool, buf_span(&packed), 40000, MAX, &out),
                  WS_PACKED_BAD);
    ws_unpacker_done(&u, NULL);
    buf_reset(&packed);
    buf_reset(&out);
    free(text);
    ws_pool_drain(&pool);
}

TEST(stops_a_bomb_at_the_limit) {
    static char zeros[MAX];
    struct ws_pool pool = {0};
    struct ws_packer p;
    struct ws_unpacker u;
    struct buf packed, out;
    buf_init(&packed);
    ws_packer_init(&p, false, 15);
    EXPECT_EQ_INT(ws_pack(&p, &pool, span_of(zeros, MAX), &packed), WS_PACKED_OK);
    EXPECT(buf_len(&packed) < MAX / 200);
    for (size_t max = MAX - 1; max < MAX + 2; max++)
        for (size_t piece = 100; piece < MAX; piece *= 30) {
            buf_init(&out);
            ws_unpacker_init(&u, false, 15);
            EXPECT_EQ_INT(unpack(&u, &pool, buf_span(&packed), piece, max, &out),
                          max < MAX ? WS_PACKED_TOO_LARGE : WS_PACKED_OK);
            EXPECT(buf_len(&out) <= max);
            ws_unpacker_done(&u, &pool);
            buf_reset(&out);
        }
    buf_init(&out);
    ws_unpacker_init(&u, false, 15);
    EXPECT_EQ_INT(unpack(&u, &pool, buf_span(&packed), MAX, 5000, &out),
                  WS_PACKED_TOO_LARGE);
    EXPECT(out.capacity < 20000);
    ws_unpacker_done(&u, NULL);
    ws_unpacker_done(&u, NULL);
    buf_reset(&out);
    buf_reset(&packed);
    ws_pool_drain(&pool);
}

TEST(counts_each_message_anew) {
    struct ws_pool pool = {0};
    struct ws_unpacker u;
    struct buf out;
    ws_unpacker_init(&u, true, 15);
    for (int i = 0; i < 3; i++) {
        buf_init(&out);
        EXPECT_EQ_INT(
            unpack(&u, &pool, SPAN("\xf2\x48\xcd\xc9\xc9\x07\x00"), 2, 5, &out),
            WS_PACKED_OK);
        EXPECT_EQ_SPAN(buf_span(&out), SPAN("Hello"));
        buf_reset(&out);
    }
    /* A reference into the message before, RFC 7692 7.2.3.2. */
    buf_init(&out);
    EXPECT_EQ_INT(unpack(&u, &pool, SPAN("\xf2\x00\x11\x00\x00"), 1, 5, &out),
                  WS_PACKED_OK);
    EXPECT_EQ_SPAN(buf_span(&out), SPAN("Hello"));
    buf_reset(&out);
    ws_unpacker_done(&u, &pool);
    ws_pool_drain(&pool);
}
