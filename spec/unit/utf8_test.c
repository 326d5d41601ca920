#include "codec/utf8.h"

#include "unit.h"

#include <stdlib.h>

/* Every well-formed sequence comes from one code point, so it is enough to count: each
 * code point's bytes are taken, and no other bytes are. */
TEST(takes_each_code_point_and_nothing_else) {
    int wrong = 0, taken = 0;
    for (unsigned code = 0x80; code <= 0x10ffff; code++) {
        char bytes[4];
        size_t len = (size_t)(utf8_put(bytes, code) - bytes);
        bool surrogate = code >= 0xd800 && code < 0xe000;
        wrong += utf8_sequence(bytes, bytes + len) != (surrogate ? 0 : len);
        wrong += utf8_sequence(bytes, bytes + len - 1) != 0;
    }
    EXPECT_EQ_INT(wrong, 0);
    for (unsigned bytes = 0; bytes < 0x800000; bytes++) { /* first byte 0x80 or above */
        char text[3] = {(char)(0x80 | bytes >> 16), (char)(bytes >> 8), (char)bytes};
        size_t len = utf8_sequence(text, text + 3);
        taken += len == 3 || (len == 2 && text[2] == 0);
    }
    EXPECT_EQ_INT(taken, (0x800 - 0x80) + (0x10000 - 0x800 - 0x800));
    taken = 0;
    for (unsigned bytes = 0; bytes < 0x8000; bytes++)
        for (unsigned third = 0; third < 0x100; third++) {
            char text[4] = {(char)(0x80 | bytes >> 8), (char)bytes, (char)third,
                            (char)0x80};
            taken += utf8_sequence(text, text + 4) == 4;
            text[3] = (char)0xc0;
            taken += utf8_sequence(text, text + 4) == 4;
        }
    EXPECT_EQ_INT(taken, (0x110000 - 0x10000) / 64);
}

TEST(ends_with_the_text) {
    const char euro[] = "\xe2\x82\xac";
    EXPECT_EQ_INT(utf8_sequence(euro, euro + 1), 0);
    EXPECT_EQ_INT(utf8_sequence(euro, euro + 2), 0);
    EXPECT_EQ_INT(utf8_sequence(euro, euro + 3), 3);
}
