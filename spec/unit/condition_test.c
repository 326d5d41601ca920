#include "codec/condition.h"
#include "lines_head.h"
#include "unit.h"

#define NOVEMBER "Sun, 06 Nov 1994 08:49:37 GMT"
#define BEFORE "Sun, 06 Nov 1994 08:49:36 GMT"
#define AFTER "Sun, 06 Nov 1994 08:49:38 GMT"

enum { AT = 784111777 };

static const struct validators strong = {{"\"a\"", 3}, AT, AT + 100};
static const struct validators weak = {{"W/\"a\"", 5}, AT, AT + 100};

static int check(const char *lines, const struct validators *v) {
    struct lines_head h;
    return condition_check(lines_head(&h, lines), v);
}

static bool range(const char *lines, const struct validators *v) {
    struct lines_head h;
    return condition_range(lines_head(&h, lines), v);
}

TEST(lets_through_who_has_no_condition) {
    EXPECT_EQ_INT(check("", &strong), CONDITION_MET);
    EXPECT(range("", &strong));
}

TEST(compares_tags) {
    EXPECT_EQ_INT(check("If-None-Match: \"a\"\n", &strong), CONDITION_NOT_MODIFIED);
    EXPECT_EQ_INT(check("If-None-Match: W/\"a\"\n", &strong), CONDITION_NOT_MODIFIED);
    EXPECT_EQ_INT(check("If-None-Match: \"a\"\n", &weak), CONDITION_NOT_MODIFIED);
    EXPECT_EQ_INT(check("If-None-Match: \"x,y\", \"a\"\n", &weak),
                  CONDITION_NOT_MODIFIED);
    EXPECT_EQ_INT(check("If-None-Match: \"x\"\nIf-None-Match: \"a\"\n", &weak),
                  CONDITION_NOT_MODIFIED);
    EXPECT_EQ_INT(check("If-None-Match: *\n", &weak), CONDITION_NOT_MODIFIED);
    EXPECT_EQ_INT(check("If-None-Match: \"b\"\n", &strong), CONDITION_MET);
    EXPECT_EQ_INT(check("If-None-Match: a\n", &strong), CONDITION_MET);
    EXPECT_EQ_INT(check("If-None-Match: \"a\n", &strong), CONDITION_MET);
    EXPECT_EQ_INT(check("If-None-Match: \"A\"\n", &strong), CONDITION_MET);
    EXPECT_EQ_INT(check("If-Match: \"a\"\n", &strong), CONDITION_MET);
    EXPECT_EQ_INT(check("If-Match: *\n", &weak), CONDITION_MET);
    EXPECT_EQ_INT(check("If-Match: \"b\", \"a\"\n", &strong), CONDITION_MET);
    EXPECT_EQ_INT(check("If-Match: W/\"a\"\n", &strong), CONDITION_FAILED);
    EXPECT_EQ_INT(check("If-Match: \"a\"\n", &weak), CONDITION_FAILED);
    EXPECT_EQ_INT(check("If-Match: \"b\"\n", &strong), CONDITION_FAILED);
    EXPECT_EQ_INT(check("If-Match: \n", &strong), CONDITION_FAILED);
}

TEST(compares_dates) {
    EXPECT_EQ_INT(check("If-Modified-Since: " NOVEMBER "\n", &strong),
                  CONDITION_NOT_MODIFIED);
    EXPECT_EQ_INT(check("If-Modified-Since: " AFTER "\n", &strong),
                  CONDITION_NOT_MODIFIED);
    EXPECT_EQ_INT(check("If-Modified-Since: " BEFORE "\n", &strong), CONDITION_MET);
    EXPECT_EQ_INT(check("If-Modified-Since: soon\n", &strong), CONDITION_MET);
    EXPECT_EQ_INT(check("If-Unmodified-Since: " NOVEMBER "\n", &strong), CONDITION_MET);
    EXPECT_EQ_INT(check("If-Unmodified-Since: " BEFORE "\n", &strong),
                  CONDITION_FAILED);
    EXPECT_EQ_INT(check("If-Unmodified-Since: soon\n", &strong), CONDITION_MET);
}

TEST(keeps_the_order_of_precedence) {
    EXPECT_EQ_INT(check("If-Match: \"b\"\nIf-None-Match: \"a\"\n", &strong),
                  CONDITION_FAILED);
    EXPECT_EQ_INT(check("If-Match: \"a\"\nIf-None-Match: \"a\"\n", &strong),
                  CONDITION_NOT_MODIFIED);
    /* What a tag decides no date does. */
    EXPECT_EQ_INT(check("If-Match: \"a\"\nIf-Unmodified-Since: " BEFORE "\n", &strong),
                  CONDITION_MET);
    EXPECT_EQ_INT(
        check("If-None-Match: \"b\"\nIf-Modified-Since: " NOVEMBER "\n", &strong),
        CONDITION_MET);
    EXPECT_EQ_INT(
        check("If-None-Match: \"a\"\nIf-Modified-Since: " BEFORE "\n", &strong),
        CONDITION_NOT_MODIFIED);
    EXPECT_EQ_INT(check("If-Unmodified-Since: " BEFORE "\nIf-Modified-Since: " NOVEMBER
                        "\n",
                        &strong),
                  CONDITION_FAILED);
}

TEST(ties_a_range_to_what_the_client_has) {
    EXPECT(range("If-Range: \"a\"\n", &strong));
    EXPECT(!range("If-Range: \"b\"\n", &strong));
    EXPECT(!range("If-Range: W/\"a\"\n", &strong));
    EXPECT(!range("If-Range: \"a\"\n", &weak));
    EXPECT(!range("If-Range: \"a\", \"b\"\n", &strong));
    EXPECT(range("If-Range: " NOVEMBER "\n", &strong));
    EXPECT(!range("If-Range: " AFTER "\n", &strong));
    EXPECT(!range("If-Range: " BEFORE "\n", &strong));
    EXPECT(!range("If-Range: soon\n", &strong));
    struct validators fresh = strong;
    fresh.now = AT;
    EXPECT(!range("If-Range: " NOVEMBER "\n", &fresh));
}

TEST(needs_no_validators) {
    static const struct validators none = {{"", 0}, -1, AT};
    EXPECT_EQ_INT(check("If-None-Match: \"a\"\n", &none), CONDITION_MET);
    EXPECT_EQ_INT(check("If-Match: \"a\"\n", &none), CONDITION_FAILED);
    EXPECT_EQ_INT(check("If-Modified-Since: " NOVEMBER "\n", &none), CONDITION_MET);
    EXPECT(!range("If-Range: \"\"\n", &none));
}
