/* The little that a C unit test needs. A test registers itself before main runs; the
 * runner calls them one by one in the order of file and line, prints a line for each
 * and ends with the counts.
 *
 * `TEST(grows_by_doubling) { ... }` in buf_test.c is named "buf.grows_by_doubling". A
 * failed EXPECT prints one line and the test goes on; REQUIRE ends it. A test that
 * expects nothing fails. Start the name of a test that takes a second or more with
 * "slow_". Any thread of a test may expect; REQUIRE only in TEST itself. */
#ifndef UNIT_UNIT_H
#define UNIT_UNIT_H

#include "base/span.h"

#include <stdbool.h>

struct unit_test {
    const char *file, *name;
    int line;
    void (*run)(void);
    struct unit_test *next;
};

void unit_register(struct unit_test *test);

/* Each counts one expectation, reports it when it does not hold, and returns whether
 * it holds. */
bool unit_expect(bool holds, const char *what, const char *file, int line);
bool unit_expect_int(long long got, long long want, const char *what, const char *file,
                     int line);
bool unit_expect_span(struct span got, struct span want, const char *what,
                      const char *file, int line);
bool unit_expect_str(const char *got, const char *want, const char *what,
                     const char *file, int line);

#define TEST(test)                                                                     \
    static void test_##test(void);                                                     \
    __attribute__((constructor)) static void register_##test(void) {                   \
        static struct unit_test self = {__FILE__, #test, __LINE__, test_##test, NULL}; \
        unit_register(&self);                                                          \
    }                                                                                  \
    static void test_##test(void)

#define EXPECT(condition) unit_expect((condition), #condition, __FILE__, __LINE__)

#define REQUIRE(condition)                                                             \
    do {                                                                               \
        if (!EXPECT(condition)) return;                                                \
    } while (0)

/* The value first, what it should be second. */
#define EXPECT_EQ_INT(got, want)                                                       \
    unit_expect_int((long long)(got), (long long)(want), #got " == " #want, __FILE__,  \
                    __LINE__)
#define EXPECT_EQ_SPAN(got, want)                                                      \
    unit_expect_span((got), (want), #got " == " #want, __FILE__, __LINE__)
#define EXPECT_EQ_STR(got, want)                                                       \
    unit_expect_str((got), (want), #got " == " #want, __FILE__, __LINE__)

#endif
