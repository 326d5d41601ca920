#include "codec/coding.h"
#include "lines_head.h"
#include "unit.h"

enum { ALL = 1 << CODING_GZIP | 1 << CODING_ZSTD | 1 << CODING_BR };

static struct span chosen(const char *lines, unsigned set) {
    struct lines_head h;
    struct coding_weights w;
    coding_accepted(lines_head(&h, lines), &w);
    return coding_name(coding_choose(&w, set));
}

#define CHOSEN(value, set) chosen("Accept-Encoding: " value "\n", set)

TEST(prefers_what_the_client_prefers) {
    EXPECT_EQ_SPAN(CHOSEN("gzip, deflate, br, zstd", ALL), SPAN("br"));
    EXPECT_EQ_SPAN(CHOSEN("gzip, zstd", ALL), SPAN("zstd"));
    EXPECT_EQ_SPAN(CHOSEN("gzip, br", 1 << CODING_GZIP), SPAN("gzip"));
    EXPECT_EQ_SPAN(CHOSEN("br;q=0.5, gzip;q=0.9", ALL), SPAN("gzip"));
    EXPECT_EQ_SPAN(CHOSEN("br;q=0.5,gzip;q=0.501", ALL), SPAN("gzip"));
    EXPECT_EQ_SPAN(CHOSEN("GZip ; Q=1.000", ALL), SPAN("gzip"));
    EXPECT_EQ_SPAN(CHOSEN("x-gzip", ALL), SPAN("gzip"));
    EXPECT_EQ_SPAN(chosen("Accept-Encoding: br;q=0\nAccept-Encoding: gzip\n", ALL),
                   SPAN("gzip"));
}

TEST(keeps_what_must_not_be_sent) {
    EXPECT_EQ_SPAN(chosen("", ALL), SPAN(""));
    EXPECT_EQ_SPAN(CHOSEN("", ALL), SPAN(""));
    EXPECT_EQ_SPAN(CHOSEN("identity", ALL), SPAN(""));
    EXPECT_EQ_SPAN(CHOSEN("gzip;q=0", ALL), SPAN(""));
    EXPECT_EQ_SPAN(CHOSEN("deflate", ALL), SPAN(""));
    EXPECT_EQ_SPAN(CHOSEN("gzip;q=0.5, identity", ALL), SPAN(""));
    EXPECT_EQ_SPAN(CHOSEN("br", 1 << CODING_GZIP), SPAN(""));
    EXPECT_EQ_SPAN(CHOSEN("*;q=0", ALL), SPAN(""));
}

TEST(knows_the_star) {
    EXPECT_EQ_SPAN(CHOSEN("*", ALL), SPAN("br"));
    EXPECT_EQ_SPAN(CHOSEN("br;q=0, *", ALL), SPAN("zstd"));
    EXPECT_EQ_SPAN(CHOSEN("gzip, *;q=0", ALL), SPAN("gzip"));
}

TEST(passes_over_what_is_malformed) {
    EXPECT_EQ_SPAN(CHOSEN("gzip;q=2", ALL), SPAN(""));
    EXPECT_EQ_SPAN(CHOSEN("gzip;q=0.1234, br;q=.5, zstd;q=1.1", ALL), SPAN(""));
    EXPECT_EQ_SPAN(CHOSEN("gzip;level=9, ,;,br;q=", ALL), SPAN(""));
    EXPECT_EQ_SPAN(CHOSEN(";q=1,, gzip", ALL), SPAN("gzip"));
}
