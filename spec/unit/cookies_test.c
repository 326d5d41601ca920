#include "codec/cookies.h"

#include "unit.h"

#include <stdlib.h>
#include <time.h>

static void check(const char *header, const char *want) {
    char got[200] = "";
    struct span rest = span_str(header), name, value;
    while (cookies_next(&rest, &name, &value)) {
        strncat(got, name.at, name.len);
        strcat(got, "|");
        strncat(got, value.at, value.len);
        strcat(got, " ");
    }
    EXPECT_EQ_STR(got, want);
}

TEST(are_pairs_between_semicolons) {
    check("", "");
    check("a=1", "a|1 ");
    check("a=1; b=2;c=3;", "a|1 b|2 c|3 ");
    check("a=x=y==; b=", "a|x=y== b| ");
    check(" a = \t1 ; ;; =x; nothing; b=two words", "a|1 b|two words ");
    check("a=\"quoted\"; b=\"; c=\"\"", "a|quoted b|\" c| ");
    check("two words=1; b=%20", "b|%20 ");
}

TEST(take_no_longer_for_being_odd) {
    size_t n = 200000;
    char *header = malloc(n);
    memset(header, ' ', n);
    header[0] = 'a', header[1] = '=', header[n - 1] = 'b';
    struct span rest = span_of(header, n), name, value;
    clock_t began = clock();
    EXPECT(cookies_next(&rest, &name, &value));
    EXPECT_EQ_SPAN(value, SPAN("b"));
    memset(header, ';', n);
    rest = span_of(header, n);
    EXPECT(!cookies_next(&rest, &name, &value));
    EXPECT((clock() - began) < CLOCKS_PER_SEC);
    free(header);
}
