#include "codec/forwarded.h"
#include "unit.h"

#include <arpa/inet.h>
#include <stdio.h>

/* All elements from the last to the first: "c|b|a". */
static const char *backwards(const char *list) {
    static char text[512];
    struct span rest = span_str(list), element;
    size_t n = 0;
    text[0] = 0;
    while (forwarded_last(&rest, &element))
        n += (size_t)snprintf(text + n, sizeof text - n, "%s%.*s", n ? "|" : "",
                              (int)element.len, element.at);
    EXPECT(rest.len == 0);
    return text;
}

TEST(takes_lists_apart_from_their_end) {
    EXPECT_EQ_STR(backwards("a"), "a");
    EXPECT_EQ_STR(backwards("a, b,c"), "c|b|a");
    EXPECT_EQ_STR(backwards(" a ,\t,, b ,"), "b|a");
    EXPECT_EQ_STR(backwards(",a"), "a");
    EXPECT_EQ_STR(backwards(""), "");
    EXPECT_EQ_STR(backwards(" , ,"), "");
    EXPECT_EQ_STR(backwards("for=\"a,b\", for=\"c\";x=\"d,\""),
                  "for=\"c\";x=\"d,\"|for=\"a,b\"");
}

TEST(is_not_led_astray_by_what_stands_in_front) {
    EXPECT_EQ_STR(backwards("for=\"x, for=a"), "for=a");
    EXPECT_EQ_STR(backwards("for=\"\\\", for=a, for=b"), "for=b|for=a|for=\"\\\"");
    EXPECT_EQ_STR(backwards("\"\"\", a"), "a");
    EXPECT_EQ_STR(backwards("a\""), "");
}

static const char *pairs(const char *element) {
    static char text[256];
    struct forwarded_pairs p;
    if (!forwarded_pairs(span_str(element), &p)) return "malformed";
    snprintf(text, sizeof text, "%.*s %.*s %.*s", (int)p.client.len,
             p.client.at ? p.client.at : "", (int)p.scheme.len,
             p.scheme.at ? p.scheme.at : "", (int)p.host.len,
             p.host.at ? p.host.at : "");
    return text;
}

TEST(reads_the_pairs_of_an_element) {
    EXPECT_EQ_STR(pairs("for=192.0.2.1"), "192.0.2.1  ");
    EXPECT_EQ_STR(pairs("For=\"[2001:db8::1]:80\";PROTO=https;by=x;host=a.example"),
                  "[2001:db8::1]:80 https a.example");
    EXPECT_EQ_STR(pairs("host=\"a:8080\" ; proto=http;"), " http a:8080");
    EXPECT_EQ_STR(pairs("for=192.0.2.1:80"), "192.0.2.1:80  ");
    EXPECT_EQ_STR(pairs("secret=x;for=_a"), "_a  ");
    EXPECT_EQ_STR(pairs(""), "  ");
}

TEST(refuses_malformed_elements) {
    static const char *const bad[] = {"for",         "for=",           "=a",
                                      "for=a b",     "for=a;for=b",    "for=\"a",
                                      "for=\"a\"b",  "for=\"a\\\"b\"", "for = a",
                                      "for=a;proto", "for=a;\"b\"=c"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        EXPECT_EQ_STR(pairs(bad[i]), "malformed");
}

static const char *node(const char *text) {
    static char out[128];
    char ip[INET6_ADDRSTRLEN];
    struct forwarded_node n;
    if (!forwarded_node(span_str(text), &n)) return "none";
    inet_ntop(n.v6 ? AF_INET6 : AF_INET, n.address, ip, sizeof ip);
    snprintf(out, sizeof out, "%s %u", ip, n.port);
    return out;
}

TEST(reads_addresses) {
    EXPECT_EQ_STR(node("192.0.2.1"), "192.0.2.1 0");
    EXPECT_EQ_STR(node("192.0.2.1:65535"), "192.0.2.1 65535");
    EXPECT_EQ_STR(node("192.0.2.1:_hidden"), "192.0.2.1 0");
    EXPECT_EQ_STR(node("2001:db8::1"), "2001:db8::1 0");
    EXPECT_EQ_STR(node("[2001:db8::1]"), "2001:db8::1 0");
    EXPECT_EQ_STR(node("[2001:db8::1]:80"), "2001:db8::1 80");
    EXPECT_EQ_STR(node("::ffff:192.0.2.1"), "192.0.2.1 0");
    EXPECT_EQ_STR(node("[::ffff:192.0.2.1]:9"), "192.0.2.1 9");
}

TEST(knows_what_is_no_address) {
    static const char *const none[] = {
        "",
        "unknown",
        "_hidden",
        "a.example",
        "192.0.2.1:",
        "192.0.2.1:x",
        "192.0.2.1:65536",
        "192.0.2.1:123456",
        "192.0.2",
        "192.0.2.01",
        "192.0.2.1 ",
        "[192.0.2.1]",
        "[::1",
        "[::1]80",
        "[::1]:",
        "::1%lo",
        "::g",
        "[]",
        ":80",
        "1:2",
        "aaaa:aaaa:aaaa:aaaa:aaaa:aaaa:aaaa:aaaa:aaaa:aaaa:aaaa:aaaa"};
    for (size_t i = 0; i < sizeof none / sizeof *none; i++)
        EXPECT_EQ_STR(node(none[i]), "none");
}

TEST(knows_schemes) {
    bool secure;
    EXPECT(forwarded_scheme(SPAN("https"), &secure) && secure);
    EXPECT(forwarded_scheme(SPAN("WSS"), &secure) && secure);
    EXPECT(forwarded_scheme(SPAN("Http"), &secure) && !secure);
    EXPECT(forwarded_scheme(SPAN("ws"), &secure) && !secure);
    EXPECT(!forwarded_scheme(SPAN("ftp"), &secure));
    EXPECT(!forwarded_scheme(SPAN(""), &secure));
}
