#include "codec/filename.h"
#include "unit.h"

/* "" when there is none. */
static const char *name(const char *path) {
    static char to[64];
    size_t n = filename_of(span_str(path), to, sizeof to);
    return n ? to : "";
}

TEST(is_the_path_without_its_escapes) {
    EXPECT_EQ_STR(name("/"), "/");
    EXPECT_EQ_STR(name("/a.txt"), "/a.txt");
    EXPECT_EQ_STR(name("/a/b/"), "/a/b/");
    EXPECT_EQ_STR(name("/100%25.txt"), "/100%.txt");
    EXPECT_EQ_STR(name("/%252e%252e/x"), "/%2e%2e/x");
    EXPECT_EQ_STR(name("/a b\xc3\xa4"), "/a b\xc3\xa4");
    EXPECT_EQ_STR(name("/.well-known/x"), "/.well-known/x");
    EXPECT_EQ_STR(name("/a.b..c/x.."), "/a.b..c/x..");
    EXPECT_EQ_STR(name("/50%"), "/50%");
}

TEST(is_none_of_what_leads_elsewhere) {
    static const char *const bad[] = {"",
                                      "a",
                                      "../a",
                                      "/..",
                                      "/../a",
                                      "/a/..",
                                      "/./a",
                                      "/.hidden",
                                      "/a/.git/config",
                                      "//a",
                                      "/a//b",
                                      "/a/../b",
                                      "/a%2fb",
                                      "/..%2Fa",
                                      "/a\\b",
                                      "/..\\a",
                                      "/.well-known2",
                                      "/.well-know/x",
                                      "/.well-known/.x"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        EXPECT_EQ_STR(name(bad[i]), "");
    char to[8];
    EXPECT_EQ_INT(filename_of(span_of("/a\0b", 4), to, sizeof to), 0);
}

TEST(needs_room_for_its_end) {
    char to[4];
    EXPECT_EQ_INT(filename_of(SPAN("/ab"), to, sizeof to), 3);
    EXPECT_EQ_INT(filename_of(SPAN("/abc"), to, sizeof to), 0);
}
