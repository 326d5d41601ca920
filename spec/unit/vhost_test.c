#include "http/vhost.h"

#include "unit.h"

static const struct vhost all[] = {
    {SPAN(""), SPAN("")},
    {SPAN(""), SPAN("/shop")},
    {SPAN(""), SPAN("/shop/admin")},
    {SPAN("api.example.org"), SPAN("")},
    {SPAN("api.example.org"), SPAN("/v1")},
    {SPAN("*.example.org"), SPAN("/shop")},
    {SPAN("*.b.example.org"), SPAN("")},
    {SPAN("[::1]"), SPAN("")},
};
enum { COUNT = sizeof all / sizeof *all };

static int find(const char *authority, const char *path) {
    return vhost_find(all, COUNT, span_str(authority), span_str(path));
}

TEST(takes_the_longest_path) {
    EXPECT_EQ_INT(find("", "/"), 0);
    EXPECT_EQ_INT(find("a", "/shopping"), 0);
    EXPECT_EQ_INT(find("a", "/shop"), 1);
    EXPECT_EQ_INT(find("a", "/shop/"), 1);
    EXPECT_EQ_INT(find("a", "/shop/administration"), 1);
    EXPECT_EQ_INT(find("a", "/shop/admin"), 2);
    EXPECT_EQ_INT(find("a", "/shop/admin/x"), 2);
    EXPECT_EQ_INT(find("a", "*"), 2);
}

TEST(takes_the_most_exact_host) {
    EXPECT_EQ_INT(find("api.example.org", "/"), 3);
    EXPECT_EQ_INT(find("API.Example.org:8080", "/shop"), 3);
    EXPECT_EQ_INT(find("api.example.org.", "/v1/x"), 4);
    EXPECT_EQ_INT(find("api.example.org.:80", "/v1"), 4);
    EXPECT_EQ_INT(find("[::1]:80", "/"), 7);
    EXPECT_EQ_INT(find("[::1]", "/shop"), 7);
    EXPECT_EQ_INT(find("[::2]", "/shop"), 1);
}

TEST(takes_hosts_below) {
    EXPECT_EQ_INT(find("www.example.org", "/shop"), 5);
    EXPECT_EQ_INT(find("www.example.org", "/"), 0);
    EXPECT_EQ_INT(find("example.org", "/shop"), 1);
    EXPECT_EQ_INT(find(".example.org", "/shop"), 1);
    EXPECT_EQ_INT(find("a.b.example.org", "/shop"), 6);
    EXPECT_EQ_INT(find("b.example.org", "/shop"), 5);
    EXPECT_EQ_INT(find("wwwexample.org", "/shop"), 1);
}

TEST(finds_none) {
    EXPECT_EQ_INT(vhost_find(all, 0, SPAN("a"), SPAN("/")), -1);
    EXPECT_EQ_INT(vhost_find(all + 1, 2, SPAN("a"), SPAN("/")), -1);
    EXPECT_EQ_INT(vhost_find(all + 3, 5, SPAN(""), SPAN("/v1")), -1);
}

TEST(knows_hosts_and_paths) {
    static const char *const good[] = {"a", "a.example.org", "*.example.org", "[::1]",
                                       "127.0.0.1"};
    static const char *const bad[] = {"",   "*",     "*.",    "a:80", "a/b", ".a",
                                      "a.", "*.*.a", "a.*.b", "[::1", "a b"};
    static const char *const paths[] = {"/a", "/a/b", "/.a", "/a.b-c_d~", "/\xc3\xa4"};
    static const char *const no_paths[] = {"",      "/",     "a",   "/a/",     "//a",
                                           "/a//b", "/.",    "/..", "/a/../b", "/a b",
                                           "/a?b",  "/a%20", "/:a", "/a/*b"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        EXPECT(vhost_host_ok(span_str(good[i])));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (!EXPECT(!vhost_host_ok(span_str(bad[i])))) EXPECT_EQ_STR(bad[i], "no host");
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++)
        EXPECT(vhost_path_ok(span_str(paths[i])));
    for (size_t i = 0; i < sizeof no_paths / sizeof *no_paths; i++)
        if (!EXPECT(!vhost_path_ok(span_str(no_paths[i]))))
            EXPECT_EQ_STR(no_paths[i], "no path");
}
