#include "codec/compress.h"
#include "codec/inflate.h"
#include "unit.h"

#include <stdlib.h>

enum { PLAIN = 200000 };

static char *plain_text(void) {
    char *text = malloc(PLAIN);
    for (size_t i = 0; i < PLAIN; i++) text[i] = (char)('a' + i * i % 23);
    return text;
}

/* Adds what the packed bytes give to `to`; how much is there then. */
static size_t unpack(struct inflater *i, struct buf *packed, char *to, size_t have) {
    size_t n;
    do {
        struct span in = buf_span(packed);
        size_t before = in.len;
        if (inflate_step(i, &in, to + have, PLAIN + 1 - have, &n) != INFLATE_OK)
            return 0;
        buf_consume(packed, before - in.len);
        have += n;
    } while (n && buf_len(packed));
    return have;
}

static void piece_by_piece(size_t piece, enum pack_how how, enum pack_size size) {
    char *text = plain_text(), *back = malloc(PLAIN + 1);
    struct packer p = {0};
    struct inflater i;
    struct buf out;
    size_t have = 0;
    bool right = true;
    buf_init(&out);
    inflate_init(&i, INFLATE_GZIP);
    EXPECT_EQ_INT(packer_open(&p, CODING_GZIP, size), 0);
    for (size_t at = 0; at < PLAIN; at += piece) {
        size_t n = PLAIN - at < piece ? PLAIN - at : piece;
        if (packer_add(&p, span_of(text + at, n), how, &out) != 0) right = false;
        if (how == PACK_FLUSH) {
            have = unpack(&i, &out, back, have);
            if (have != at + n) right = false;
        }
    }
    EXPECT_EQ_INT(packer_add(&p, SPAN(""), PACK_END, &out), 0);
    have = unpack(&i, &out, back, have);
    EXPECT(right);
    EXPECT_EQ_INT(have, PLAIN);
    EXPECT(inflate_complete(&i));
    EXPECT(memcmp(text, back, PLAIN) == 0);
    packer_close(&p);
    packer_close(&p);
    inflate_done(&i);
    buf_reset(&out);
    free(text);
    free(back);
}

TEST(gives_back_what_was_added) {
    piece_by_piece(PLAIN, PACK_MORE, PACK_WHOLE);
    piece_by_piece(1000, PACK_MORE, PACK_WHOLE);
    piece_by_piece(48 * 1024, PACK_MORE, PACK_STREAM);
}

TEST(lets_all_out_when_it_is_flushed) {
    piece_by_piece(997, PACK_FLUSH, PACK_STREAM);
    piece_by_piece(48 * 1024, PACK_FLUSH, PACK_STREAM);
}

TEST(begins_anew) {
    struct packer p = {0};
    struct buf first, second;
    buf_init(&first);
    buf_init(&second);
    EXPECT_EQ_INT(packer_open(&p, CODING_GZIP, PACK_WHOLE), 0);
    packer_add(&p, SPAN("some text"), PACK_END, &first);
    packer_again(&p);
    packer_add(&p, SPAN("some text"), PACK_END, &second);
    EXPECT_EQ_SPAN(buf_span(&second), buf_span(&first));
    packer_close(&p);
    buf_reset(&first);
    buf_reset(&second);
}

TEST(makes_br_where_the_library_is) {
    char *text = plain_text();
    struct buf out;
    struct packer p = {0};
    buf_init(&out);
    EXPECT(packer_knows(CODING_GZIP));
    EXPECT(!packer_knows(CODING_ZSTD));
    if (packer_knows(CODING_BR)) {
        EXPECT_EQ_INT(pack_br(span_of(text, PLAIN), &out), 0);
        EXPECT(buf_len(&out) > 0 && buf_len(&out) < PLAIN / 2);
        buf_consume(&out, buf_len(&out));
        EXPECT_EQ_INT(pack_br(SPAN(""), &out), 0);
        EXPECT(buf_len(&out) > 0);
        buf_consume(&out, buf_len(&out));
        EXPECT_EQ_INT(packer_open(&p, CODING_BR, PACK_WHOLE), 0);
        EXPECT_EQ_INT(packer_add(&p, SPAN("hello"), PACK_FLUSH, &out), 0);
        EXPECT(buf_len(&out) > 0);
        EXPECT_EQ_INT(packer_add(&p, span_of(text, PLAIN), PACK_END, &out), 0);
        packer_close(&p);
    }
    buf_reset(&out);
    free(text);
}
