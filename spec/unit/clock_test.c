#include "base/clock.h"

#include "unit.h"

#include <stdio.h>

static void expect_as_gmtime(time_t t) {
    struct tm tm;
    gmtime_r(&t, &tm);
    struct clock_civil c;
    clock_civil(t, &c);
    EXPECT_EQ_INT(c.year, tm.tm_year + 1900);
    EXPECT_EQ_INT(c.month, tm.tm_mon + 1);
    EXPECT_EQ_INT(c.day, tm.tm_mday);
    EXPECT_EQ_INT(c.hour, tm.tm_hour);
    EXPECT_EQ_INT(c.minute, tm.tm_min);
    EXPECT_EQ_INT(c.second, tm.tm_sec);
    EXPECT_EQ_INT(c.weekday, tm.tm_wday);
}

TEST(civil_agrees_with_gmtime) {
    for (time_t day = 0; day < 2932896; day += 17)
        expect_as_gmtime(day * 86400 + day % 86400);
    for (time_t day = 0; day < 366 * 5; day++) expect_as_gmtime(day * 86400 + 86399);
    const time_t corners[] = {0,          951782399,  951782400,   951868800,
                              1078012800, 4107542399, 4107542400,  4107456000,
                              2147483647, 2147483648, 16725225600, 253402300799};
    for (size_t i = 0; i < sizeof corners / sizeof *corners; i++)
        expect_as_gmtime(corners[i]);
}

TEST(texts_agree_with_strftime) {
    for (time_t t = 0; t < 253402300799; t += 97654321) {
        struct tm tm;
        gmtime_r(&t, &tm);
        char want[64], got[64];
        strftime(want, sizeof want, "%a, %d %b %Y %H:%M:%S GMT", &tm);
        clock_imf(got, t);
        EXPECT_EQ_SPAN(span_of(got, CLOCK_IMF_LEN), span_str(want));
        strftime(want, sizeof want, "[%d/%b/%Y:%H:%M:%S +0000]", &tm);
        clock_apache(got, t);
        EXPECT_EQ_SPAN(span_of(got, CLOCK_APACHE_LEN), span_str(want));
    }
}

TEST(rfc3339_has_milliseconds) {
    char text[CLOCK_RFC3339_LEN];
    clock_rfc3339(text, 1795255913 * CLOCK_SECOND + 123 * CLOCK_MS + 999999);
    EXPECT_EQ_SPAN(span_of(text, sizeof text), SPAN("2026-11-21T10:11:53.123Z"));
    clock_rfc3339(text, CLOCK_SECOND - 1);
    EXPECT_EQ_SPAN(span_of(text, sizeof text), SPAN("1970-01-01T00:00:00.999Z"));
    clock_rfc3339(text, -5 * CLOCK_SECOND);
    EXPECT_EQ_SPAN(span_of(text, sizeof text), SPAN("1970-01-01T00:00:00.000Z"));
}

TEST(clamps_times_outside_four_digit_years) {
    char text[CLOCK_IMF_LEN];
    clock_imf(text, INT64_MIN);
    EXPECT_EQ_SPAN(span_of(text, sizeof text), SPAN("Thu, 01 Jan 1970 00:00:00 GMT"));
    clock_imf(text, INT64_MAX);
    EXPECT_EQ_SPAN(span_of(text, sizeof text), SPAN("Fri, 31 Dec 9999 23:59:59 GMT"));
}

TEST(date_changes_with_the_second_only) {
    struct clock_date d = {0};
    EXPECT_EQ_SPAN(clock_date_at(&d, 0), SPAN("Thu, 01 Jan 1970 00:00:00 GMT"));
    EXPECT_EQ_SPAN(clock_date_at(&d, 784111777), SPAN("Sun, 06 Nov 1994 08:49:37 GMT"));
    d.text[0] = 'x'; /* seen again, so not formatted again */
    EXPECT_EQ_SPAN(clock_date_at(&d, 784111777), SPAN("xun, 06 Nov 1994 08:49:37 GMT"));
    EXPECT_EQ_SPAN(clock_date_at(&d, 784111778), SPAN("Sun, 06 Nov 1994 08:49:38 GMT"));
    EXPECT_EQ_SPAN(clock_date_at(&d, 784111777), SPAN("Sun, 06 Nov 1994 08:49:37 GMT"));
}

TEST(ns_never_goes_back) {
    int64_t before = clock_ns();
    for (int i = 0; i < 1000; i++) {
        int64_t now = clock_ns();
        EXPECT(now >= before);
        before = now;
    }
    time_t from = time(NULL);
    int64_t wall = clock_wall_ns() / CLOCK_SECOND;
    EXPECT(from <= wall && wall <= time(NULL) + 1); /* that one may be behind by ms */
}
