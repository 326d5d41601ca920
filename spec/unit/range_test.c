#include "codec/range.h"
#include "unit.h"

#include <stdio.h>

/* "whole", "none", or "first+len first+len". */
static const char *account(const char *value, uint64_t size) {
    static char text[1024];
    struct range out[RANGES_MAX];
    unsigned count;
    size_t n = 0;
    switch (range_parse(span_str(value), size, out, &count)) {
    case RANGE_WHOLE: return "whole";
    case RANGE_NONE: return "none";
    default: break;
    }
    for (unsigned i = 0; i < count; i++)
        n += (size_t)snprintf(text + n, sizeof text - n, "%s%llu+%llu", i ? " " : "",
                              (unsigned long long)out[i].first,
                              (unsigned long long)out[i].len);
    return text;
}

TEST(takes_one_range) {
    EXPECT_EQ_STR(account("bytes=0-0", 1000), "0+1");
    EXPECT_EQ_STR(account("bytes=0-999", 1000), "0+1000");
    EXPECT_EQ_STR(account("bytes=500-", 1000), "500+500");
    EXPECT_EQ_STR(account("bytes=999-", 1000), "999+1");
    EXPECT_EQ_STR(account("bytes=-1", 1000), "999+1");
    EXPECT_EQ_STR(account("bytes=-5000", 1000), "0+1000");
    EXPECT_EQ_STR(account("bytes=10-99999999999999999999999", 1000), "10+990");
    EXPECT_EQ_STR(account("Bytes=1-2", 1000), "1+2");
    EXPECT_EQ_STR(account("bytes= 1-2 ,", 1000), "1+2");
}

TEST(knows_what_is_not_there) {
    EXPECT_EQ_STR(account("bytes=1000-", 1000), "none");
    EXPECT_EQ_STR(account("bytes=-0", 1000), "none");
    EXPECT_EQ_STR(account("bytes=1000-,2000-3000,-0", 1000), "none");
    EXPECT_EQ_STR(account("bytes=18446744073709551616-", 1000), "none");
    EXPECT_EQ_STR(account("bytes=0-", 0), "none");
    EXPECT_EQ_STR(account("bytes=-1", 0), "none");
    EXPECT_EQ_STR(account("bytes=1000-,5-6", 1000), "5+2");
}

TEST(passes_over_what_it_does_not_understand) {
    static const char *const bad[] = {
        "",           "bytes",       "bytes=",     "bytes=,,",
        "bytes=-",    "bytes=a-b",   "bytes=5-3",  "bytes=1-2-3",
        "bytes=1",    "bytes=1-2;",  "lines=1-2",  "bytes=1 - 2",
        "bytes=+1-2", "bytes=1-2,x", "bytes =1-2", "bytes=0x1-2"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        EXPECT_EQ_STR(account(bad[i], 1000), "whole");
}

TEST(keeps_several_in_their_order) {
    EXPECT_EQ_STR(account("bytes=0-0,500-501", 1000), "0+1 500+2");
    EXPECT_EQ_STR(account("bytes=500-501, 0-0, -1", 1000), "500+2 0+1 999+1");
}

TEST(joins_those_that_meet) {
    EXPECT_EQ_STR(account("bytes=0-99,50-149", 1000), "0+150");
    EXPECT_EQ_STR(account("bytes=0-99,100-149", 1000), "0+150");
    EXPECT_EQ_STR(account("bytes=0-9,50-59", 1000), "0+60");
    EXPECT_EQ_STR(account("bytes=600-699,0-9,300-399,5-650", 1000), "0+700");
    EXPECT_EQ_STR(account("bytes=900-,0-0,880-890,450-460", 1000),
                  "880+120 0+1 450+11");
    EXPECT_EQ_STR(account("bytes=0-,0-,0-,0-", 1000), "0+1000");
}

TEST(gives_the_whole_to_who_asks_for_too_many) {
    EXPECT_EQ_STR(
        account("bytes=0-,0-,0-,0-,0-,0-,0-,0-,0-,0-,0-,0-,0-,0-,0-,0-", 1000),
        "0+1000");
    EXPECT_EQ_STR(
        account("bytes=0-,0-,0-,0-,0-,0-,0-,0-,0-,0-,0-,0-,0-,0-,0-,0-,0-", 1000),
        "whole");
}
