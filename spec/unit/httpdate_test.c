#include "base/clock.h"
#include "codec/httpdate.h"
#include "unit.h"

enum { NOW = 1800000000 }; /* in 2027 */

static int64_t read(const char *text) {
    int64_t at = -1;
    return httpdate_parse(span_str(text), NOW, &at) ? at : -9;
}

TEST(reads_all_three_forms) {
    EXPECT_EQ_INT(read("Sun, 06 Nov 1994 08:49:37 GMT"), 784111777);
    EXPECT_EQ_INT(read("Sunday, 06-Nov-94 08:49:37 GMT"), 784111777);
    EXPECT_EQ_INT(read("Sun Nov  6 08:49:37 1994"), 784111777);
    EXPECT_EQ_INT(read("Wed Nov 16 08:49:37 1994"), 784111777 + 864000);
    EXPECT_EQ_INT(read("Thu, 01 Jan 1970 00:00:00 GMT"), 0);
    EXPECT_EQ_INT(read("Thu, 29 Feb 2024 23:59:60 GMT"), 1709251200);
}

TEST(reads_what_the_clock_writes) {
    char text[CLOCK_IMF_LEN];
    for (int64_t at = 0; at < INT64_C(250000000000); at += 999999937) {
        int64_t back = -1;
        clock_imf(text, at);
        EXPECT(httpdate_parse(span_of(text, sizeof text), NOW, &back));
        EXPECT_EQ_INT(back, at);
    }
}

TEST(settles_the_century) {
    EXPECT_EQ_INT(read("Sunday, 06-Nov-94 08:49:37 GMT"), 784111777);
    EXPECT_EQ_INT(read("Friday, 06-Nov-76 08:49:37 GMT"),
                  read("Fri, 06 Nov 2076 08:49:37 GMT"));
    EXPECT_EQ_INT(read("Sunday, 06-Nov-78 08:49:37 GMT"),
                  read("Mon, 06 Nov 1978 08:49:37 GMT"));
    EXPECT_EQ_INT(read("Tuesday, 29-Feb-00 00:00:00 GMT"),
                  read("Tue, 29 Feb 2000 00:00:00 GMT"));
}

TEST(refuses_what_is_no_date) {
    static const char *const bad[] = {
        "",
        "0",
        "Sun",
        "Sunday",
        "Sun,",
        "yesterday",
        "Sun, 06 Nov 1994 08:49:37",
        "Sun, 06 Nov 1994 08:49:37 UTC",
        "Sun, 06 Nov 1994 08:49:37 GMT ",
        "Sun, 6 Nov 1994 08:49:37 GMT",
        "sun, 06 Nov 1994 08:49:37 GMT",
        "Sun, 31 Nov 1994 08:49:37 GMT",
        "Sun, 00 Nov 1994 08:49:37 GMT",
        "Tue, 29 Feb 2023 08:49:37 GMT",
        "Sun, 06 Nov 1994 24:00:00 GMT",
        "Sun, 06 Nov 1994 08:60:00 GMT",
        "Sun, 06 Nov 1994 08:49:61 GMT",
        "Sun, 06 Nov 94 08:49:37 GMT",
        "Sun, 06-Nov-94 08:49:37 GMT",
        "Sunday, 06-Nov-1994 08:49:37 GMT",
        "Sun Nov 06 08:49:37 94",
        "Sun Nov  16 08:49:37 1994",
        "Sun, 06 Nov 1994 08:49:37 GMT\n",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        EXPECT_EQ_INT(read(bad[i]), -9);
}
