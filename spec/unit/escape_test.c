#include "base/escape.h"

#include "unit.h"

static struct span escaped(struct span s, enum escape_mode mode) {
    static char out[4096];
    size_t taken, n = escape(out, sizeof out, s, mode, &taken);
    EXPECT_EQ_INT(taken, s.len);
    return span_of(out, n);
}

TEST(clean_text_of_any_length_is_itself) {
    char text[200];
    for (size_t i = 0; i < sizeof text; i++) text[i] = (char)('#' + i % 50);
    for (size_t n = 0; n <= sizeof text; n++)
        for (int mode = ESCAPE_PLAIN; mode <= ESCAPE_JSON; mode++)
            EXPECT_EQ_SPAN(escaped(span_of(text, n), (enum escape_mode)mode),
                           span_of(text, n));
}

/* Every byte at every place of every length, against one that looks at single bytes. */
TEST(each_dirty_byte_is_found_wherever_it_stands) {
    char text[40], want[64];
    for (int byte = 0; byte < 256; byte++) {
        for (size_t n = 1; n <= sizeof text; n++) {
            for (size_t at = 0; at < n; at++) {
                memset(text, 'a', n);
                text[at] = (char)byte;
                memset(want, 'a', sizeof want);
                size_t len = 1;
                want[at] = (char)byte;
                if (byte == '"' || byte == '\\') {
                    len = 2;
                    want[at] = '\\';
                    want[at + 1] = (char)byte;
                } else if (byte < 0x20 || byte >= 0x7f) {
                    len = 4;
                    want[at] = '\\';
                    want[at + 1] = 'x';
                    want[at + 2] = "0123456789abcdef"[byte >> 4];
                    want[at + 3] = "0123456789abcdef"[byte & 15];
                }
                if (!EXPECT_EQ_SPAN(escaped(span_of(text, n), ESCAPE_QUOTED),
                                    span_of(want, n - 1 + len)))
                    return;
            }
        }
    }
}

TEST(plain_keeps_utf8_and_quotes_but_no_control) {
    EXPECT_EQ_SPAN(escaped(SPAN("a\"b\\ é €😀"), ESCAPE_PLAIN), SPAN("a\"b\\ é €😀"));
    EXPECT_EQ_SPAN(escaped(SPAN("a\nb\x1b[0m\x7f"), ESCAPE_PLAIN),
                   SPAN("a\\x0ab\\x1b[0m\\x7f"));
    EXPECT_EQ_SPAN(escaped(SPAN("\xc2\x9b\xc2\xa0"), ESCAPE_PLAIN),
                   SPAN("\\xc2\\x9b\xc2\xa0"));
}

TEST(broken_utf8_is_escaped_byte_by_byte) {
    EXPECT_EQ_SPAN(escaped(SPAN("\xff\xc0\x80"), ESCAPE_PLAIN),
                   SPAN("\\xff\\xc0\\x80"));
    EXPECT_EQ_SPAN(escaped(SPAN("\xe0\x80\x80"), ESCAPE_PLAIN),
                   SPAN("\\xe0\\x80\\x80"));
    EXPECT_EQ_SPAN(escaped(SPAN("\xed\xa0\x80"), ESCAPE_PLAIN),
                   SPAN("\\xed\\xa0\\x80"));
    EXPECT_EQ_SPAN(escaped(SPAN("\xf4\x90\x80\x80"), ESCAPE_PLAIN),
                   SPAN("\\xf4\\x90\\x80\\x80"));
    EXPECT_EQ_SPAN(escaped(SPAN("\xe2\x82"), ESCAPE_PLAIN), SPAN("\\xe2\\x82"));
    EXPECT_EQ_SPAN(escaped(SPAN("\xe2\x82\xac"), ESCAPE_PLAIN), SPAN("€"));
}

TEST(json_is_as_rfc_8259_wants) {
    EXPECT_EQ_SPAN(escaped(SPAN("\"\\\n\r\t\x01é\x7f\xc2\x85"), ESCAPE_JSON),
                   SPAN("\\\"\\\\\\n\\r\\t\\u0001é\\u007f\\u0085"));
    EXPECT_EQ_SPAN(escaped(SPAN("\xff"), ESCAPE_JSON), SPAN("\\\\xff"));
}

TEST(nothing_is_cut_in_the_middle) {
    const struct span texts[] = {SPAN("ab\x01\xff€😀cd\"\\"),
                                 SPAN("aaaaaaaaaaaaaaaaaaaaaaaa"), SPAN("\n\n\n\n")};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        for (int mode = ESCAPE_PLAIN; mode <= ESCAPE_JSON; mode++) {
            char all[100], part[101];
            size_t taken, last = 0;
            size_t full =
                escape(all, sizeof all, texts[i], (enum escape_mode)mode, &taken);
            for (size_t room = 0; room <= full; room++) {
                part[room] = '!';
                size_t n = escape(part, room, texts[i], (enum escape_mode)mode, &taken);
                EXPECT(n <= room && part[room] == '!' && taken >= last);
                last = taken;
                EXPECT_EQ_SPAN(span_of(part, n), span_of(all, n));
                char again[100];
                size_t used;
                EXPECT_EQ_INT(escape(again, sizeof again, span_of(texts[i].at, taken),
                                     (enum escape_mode)mode, &used),
                              n);
            }
            EXPECT_EQ_INT(last, texts[i].len);
        }
    }
}
