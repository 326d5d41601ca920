#include "codec/decimal.h"

#include "unit.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static struct span shown(double d, bool point) {
    static char text[DECIMAL_MAX];
    return span_of(text, (size_t)(decimal_double(text, d, point) - text));
}

static struct span counted(int64_t n) {
    static char text[DECIMAL_MAX];
    return span_of(text, (size_t)(decimal_integer(text, n) - text));
}

/* xorshift64*: the same numbers in each run */
static uint64_t chance(uint64_t *state) {
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * 0x2545f4914f6cdd1du;
}

static double from_bits(uint64_t bits) {
    double d;
    memcpy(&d, &bits, sizeof d);
    return d;
}

TEST(writes_integers) {
    EXPECT_EQ_SPAN(counted(0), SPAN("0"));
    EXPECT_EQ_SPAN(counted(-7), SPAN("-7"));
    EXPECT_EQ_SPAN(counted(10), SPAN("10"));
    EXPECT_EQ_SPAN(counted(99), SPAN("99"));
    EXPECT_EQ_SPAN(counted(100), SPAN("100"));
    EXPECT_EQ_SPAN(counted(INT64_MAX), SPAN("9223372036854775807"));
    EXPECT_EQ_SPAN(counted(INT64_MIN), SPAN("-9223372036854775808"));
    uint64_t state = 1;
    int wrong = 0;
    for (int i = 0; i < 100000; i++) {
        char want[32];
        int64_t n = (int64_t)chance(&state) >> (i % 64);
        snprintf(want, sizeof want, "%lld", (long long)n);
        wrong += !span_eq(counted(n), span_str(want));
    }
    EXPECT_EQ_INT(wrong, 0);
}

TEST(writes_doubles_for_people) {
    static const struct {
        double d;
        const char *text;
    } cases[] = {
        {0.0, "0.0"},
        {-0.0, "-0.0"},
        {1.0, "1.0"},
        {-100.0, "-100.0"},
        {0.1, "0.1"},
        {19.99, "19.99"},
        {-2.5, "-2.5"},
        {0.1 + 0.2, "0.30000000000000004"},
        {1.0 / 3, "0.3333333333333333"},
        {100.25, "100.25"},
        {0.00001, "0.00001"},
        {0.00001234, "0.00001234"},
        {0.000001, "1e-6"},
        {1.5e-7, "1.5e-7"},
        {123456789012345.6, "123456789012345.6"},
        {9007199254740991.0, "9007199254740991.0"},
        {9007199254740992.0, "9007199254740992.0"},
        {9007199254740994.0, "9007199254740994.0"},
        {1e15, "1000000000000000.0"},
        {9999999999999998.0, "9999999999999998.0"},
        {1e16, "1e16"},
        {1e22, "1e22"},
        {1.7976931348623157e308, "1.7976931348623157e308"},
        {2.2250738585072014e-308, "2.2250738585072014e-308"},
        {5e-324, "5e-324"},
        {9.5367431640625e-7, "9.5367431640625e-7"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        EXPECT_EQ_SPAN(shown(cases[i].d, true), span_str(cases[i].text));
    EXPECT_EQ_SPAN(shown(1.0, false), SPAN("1"));
    EXPECT_EQ_SPAN(shown(-0.0, false), SPAN("-0"));
    EXPECT_EQ_SPAN(shown(9007199254740994.0, false), SPAN("9007199254740994"));
    EXPECT_EQ_SPAN(shown(0.5, false), SPAN("0.5"));
}

static int significant(const char *text) {
    int count = 0, zeros = 0;
    for (; *text && *text != 'e'; text++) {
        if (*text < '0' || *text > '9' || (*text == '0' && count == 0)) continue;
        zeros = *text == '0' ? zeros + 1 : 0;
        count++;
    }
    return count - zeros;
}

/* 1 when the text of d does not read back as d, or has more digits than it takes. */
static int wrong(double d) {
    char text[DECIMAL_MAX + 1], shortest[320];
    if (!isfinite(d)) return 0;
    *decimal_double(text, d, true) = '\0';
    double back = strtod(text, NULL);
    int digits = 1;
    do snprintf(shortest, sizeof shortest, "%.*g", digits++, d);
    while (strtod(shortest, NULL) != d);
    bool bad = memcmp(&back, &d, sizeof d) != 0 ||
               significant(text) > significant(shortest) ||
               decimal_read(span_str(text)) != d;
    if (bad) printf("  %a: %s, shortest %s\n", d, text, shortest);
    return bad;
}

TEST(writes_the_shortest_text_that_reads_back) {
    uint64_t state = 42;
    int bad = 0;
    for (int i = 0; i < 20000; i++) bad += wrong(from_bits(chance(&state)));
    for (uint64_t exponent = 0; exponent < 0x7ff; exponent++) {
        bad += wrong(from_bits(exponent << 52));
        bad += wrong(from_bits(exponent << 52 | 1));
        bad += wrong(from_bits(exponent << 52 | 0xfffffffffffff));
        bad += wrong(from_bits(exponent << 52 | chance(&state) >> 12));
    }
    for (int i = 0; i < 20000; i++) { /* what people write: few decimals */
        static const double scale[] = {1, 10, 100, 1000, 1e4, 1e6, 1e9};
        bad += wrong((double)(int32_t)chance(&state) / scale[i % 7]);
    }
    for (int i = 0; i < 20000; i++) /* what computers make: all bits in [0, 1) */
        bad += wrong((double)(chance(&state) >> 11) * 0x1p-53);
    EXPECT_EQ_INT(bad, 0);
}

TEST(reads_what_strtod_reads) {
    static const char *const literals[] = {"0.0",
                                           "-0.0",
                                           "0e0",
                                           "1E5",
                                           "1e+5",
                                           "1e-5",
                                           "0.1",
                                           "123456789.123456789",
                                           "9007199254740993.0",
                                           "9007199254740992.5",
                                           "18014398509481985e0",
                                           "1e22",
                                           "1e23",
                                           "-1e23",
                                           "1e-22",
                                           "1e-23",
                                           "5e-324",
                                           "2e-324",
                                           "1e400",
                                           "-1e400",
                                           "1e99999999999999999999",
                                           "1e-99999999999999999999",
                                           "0e99999999999",
                                           "1.7976931348623158e308",
                                           "1.7976931348623159e308",
                                           "2.2250738585072011e-308",
                                           "0.000000000000000000000000000000000001",
                                           "123456789012345678901234567890.0",
                                           "0.5000000000000000000000000000000001"};
    for (size_t i = 0; i < sizeof literals / sizeof *literals; i++) {
        double got = decimal_read(span_str(literals[i]));
        double want = strtod(literals[i], NULL);
        if (!EXPECT(memcmp(&got, &want, sizeof got) == 0))
            printf("  %s: %a instead of %a\n", literals[i], got, want);
    }
    EXPECT(decimal_read(span_of("1.5777", 3)) == 1.5);
    char longest[DECIMAL_LITERAL_MAX];
    memset(longest, '7', sizeof longest);
    longest[1] = '.';
    EXPECT(decimal_read(span_of(longest, sizeof longest)) == 7.777777777777777777777);
    uint64_t state = 7;
    int bad = 0;
    for (int i = 0; i < 50000; i++) {
        char text[64];
        snprintf(text, sizeof text, "%.*e", i % 20,
                 i % 2 ? from_bits(chance(&state)) : (double)chance(&state) * 1e-9);
        if (text[0] == 'i' || text[0] == 'n' || text[1] == 'i' || text[1] == 'n')
            continue;
        bad += decimal_read(span_str(text)) != strtod(text, NULL);
    }
    EXPECT_EQ_INT(bad, 0);
}

TEST(rounds_to_significant_digits) {
    char text[DECIMAL_MAX];
    EXPECT_EQ_SPAN(
        span_of(text, (size_t)(decimal_rounded(text, 0.1 + 0.2, 14, true) - text)),
        SPAN("0.3"));
    EXPECT_EQ_SPAN(span_of(text, (size_t)(decimal_rounded(text, 2, 14, true) - text)),
                   SPAN("2.0"));
    EXPECT_EQ_SPAN(span_of(text, (size_t)(decimal_rounded(text, 2, 14, false) - text)),
                   SPAN("2"));
    EXPECT_EQ_SPAN(
        span_of(text, (size_t)(decimal_rounded(text, 123456, 3, true) - text)),
        SPAN("1.23e+05"));
    EXPECT_EQ_SPAN(span_of(text, (size_t)(decimal_rounded(text, -1.7976931348623157e308,
                                                          17, true) -
                                          text)),
                   SPAN("-1.7976931348623157e+308"));
}
