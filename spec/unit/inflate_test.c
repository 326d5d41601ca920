#include "codec/inflate.h"
#include "unit.h"

#include <stdlib.h>

enum { PLAIN = 100000 };

static char *plain_text(void) {
    char *text = malloc(PLAIN);
    for (size_t i = 0; i < PLAIN; i++) text[i] = (char)('a' + i * i % 23);
    return text;
}

/* With the window that picks the format: 31 gzip, 15 zlib, -15 neither. */
static size_t pack(int window, const char *text, size_t len, char *to, size_t room) {
    z_stream z = {0};
    deflateInit2(&z, 6, Z_DEFLATED, window, 8, Z_DEFAULT_STRATEGY);
    z.next_in = (unsigned char *)(uintptr_t)text;
    z.avail_in = (unsigned)len;
    z.next_out = (unsigned char *)to;
    z.avail_out = (unsigned)room;
    deflate(&z, Z_FINISH);
    size_t n = z.total_out;
    deflateEnd(&z);
    return n;
}

/* All of it in steps; the number of bytes, or -1 when it is no such thing. */
static long unpack(enum inflate_format format, struct span in, size_t piece,
                   size_t room, char *to) {
    struct inflater i;
    size_t total = 0, given = 0, taken = 0, n;
    bool bad = false, more = true;
    inflate_init(&i, format);
    while (more && !bad) {
        if (given - taken < 2) given = in.len - given < piece ? in.len : given + piece;
        struct span rest = span_of(in.at + taken, given - taken);
        bad = inflate_step(&i, &rest, to + total, room, &n) != INFLATE_OK;
        more = n == room || given < in.len || given - rest.len > taken;
        taken = given - rest.len;
        total += n;
    }
    bad = bad || taken < in.len || !inflate_complete(&i);
    inflate_done(&i);
    return bad ? -1 : (long)total;
}

TEST(undoes_each_format_in_any_pieces) {
    static const struct {
        int window;
        enum inflate_format format;
    } formats[] = {{31, INFLATE_GZIP}, {15, INFLATE_DEFLATE}, {-15, INFLATE_DEFLATE}};
    char *text = plain_text(), *packed = malloc(PLAIN), *out = malloc(PLAIN + 70000);
    for (size_t f = 0; f < 3; f++) {
        size_t n = pack(formats[f].window, text, PLAIN, packed, PLAIN);
        for (size_t piece = 1; piece < 2 * n; piece = piece * 3 + 1)
            for (size_t room = 7; room < 70000; room *= 17) {
                long got =
                    unpack(formats[f].format, span_of(packed, n), piece, room, out);
                EXPECT_EQ_INT(got, PLAIN);
                EXPECT(memcmp(out, text, PLAIN) == 0);
            }
    }
    free(text);
    free(packed);
    free(out);
}

TEST(refuses_what_is_cut_or_spoiled) {
    char *text = plain_text(), *packed = malloc(PLAIN), *out = malloc(2 * PLAIN);
    size_t n = pack(31, text, PLAIN, packed, PLAIN);
    EXPECT_EQ_INT(unpack(INFLATE_GZIP, span_of(packed, n - 1), 50, 999, out), -1);
    EXPECT_EQ_INT(unpack(INFLATE_GZIP, span_of(packed, 1), 50, 999, out), -1);
    EXPECT_EQ_INT(unpack(INFLATE_GZIP, span_of(packed, 0), 50, 999, out), 0);
    packed[n] = 'x';
    EXPECT_EQ_INT(unpack(INFLATE_GZIP, span_of(packed, n + 1), n, 999, out), -1);
    packed[n - 5] ^= 1; /* the checksum */
    EXPECT_EQ_INT(unpack(INFLATE_GZIP, span_of(packed, n), n, 999, out), -1);
    EXPECT_EQ_INT(unpack(INFLATE_GZIP, SPAN("no gzip at all"), 3, 999, out), -1);
    n = pack(15, text, PLAIN, packed, PLAIN);
    packed[n] = 'x';
    EXPECT_EQ_INT(unpack(INFLATE_DEFLATE, span_of(packed, n + 1), n, 999, out), -1);
    free(text);
    free(packed);
    free(out);
}

TEST(takes_several_members) {
    char packed[200], out[200];
    size_t n = pack(31, "one ", 4, packed, 100);
    n += pack(31, "two", 3, packed + n, 100);
    EXPECT_EQ_INT(unpack(INFLATE_GZIP, span_of(packed, n), 1, 3, out), 7);
    EXPECT_EQ_SPAN(span_of(out, 7), SPAN("one two"));
}

TEST(gives_no_more_than_there_is_room_for) {
    static char zeros[1 << 20];
    char packed[4096], out[100];
    size_t n = pack(31, zeros, sizeof zeros, packed, sizeof packed), got;
    struct inflater i;
    struct span in = span_of(packed, n);
    inflate_init(&i, INFLATE_GZIP);
    for (int k = 0; k < 5; k++) {
        EXPECT_EQ_INT(inflate_step(&i, &in, out, sizeof out, &got), INFLATE_OK);
        EXPECT_EQ_INT(got, sizeof out);
    }
    EXPECT(!inflate_complete(&i));
    inflate_done(&i);
    inflate_done(&i);
}
