#include "codec/http1_write.h"

#include "unit.h"

#include <string.h>

/* Each byte at each place, as it is looked at eight at a time. */
TEST(http1_write_a_value_has_no_control_but_tabs) {
    char text[24];
    for (size_t len = 0; len <= sizeof text; len++) {
        memset(text, 'a', sizeof text);
        EXPECT_EQ_INT(http1_is_value(span_of(text, len)), 1);
        for (size_t at = 0; at < len; at++) {
            for (int c = 0; c < 256; c++) {
                text[at] = (char)c;
                bool good = (c >= 0x20 && c != 0x7f) || c == '\t';
                EXPECT_EQ_INT(http1_is_value(span_of(text, len)), good);
                /* and behind one that only looks like one */
                if (at) text[at - 1] = '\t';
                EXPECT_EQ_INT(http1_is_value(span_of(text, len)), good);
                if (at) text[at - 1] = 'a';
            }
            text[at] = 'a';
        }
    }
}
