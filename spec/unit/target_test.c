#include "base/err.h"
#include "codec/authority.h"
#include "codec/target.h"
#include "unit.h"

#include <stdio.h>
#include <stdlib.h>

/* "form path ?query @authority scheme:" or "!"; the bytes come in memory of their own.
 */
static char *account(struct span bytes, bool is_connect) {
    static const char *const forms[] = {"origin", "absolute", "authority", "asterisk"};
    char *raw = malloc(bytes.len + 1), *scratch = malloc(bytes.len + 1), *text;
    size_t text_len;
    const char *why = NULL;
    struct target t;
    FILE *out = open_memstream(&text, &text_len);
    memcpy(raw, bytes.at, bytes.len);
    int err = target_parse(span_of(raw, bytes.len), is_connect, scratch, &t, &why);
    if (err) {
        EXPECT_EQ_INT(err, ERR_SYNTAX);
        EXPECT(why != NULL);
        fputs("!", out);
    } else {
        fprintf(out, "%s %.*s", forms[t.form], (int)t.path.len, t.path.at);
        if (t.query.at) fprintf(out, " ?%.*s", (int)t.query.len, t.query.at);
        if (t.authority.len)
            fprintf(out, " @%.*s", (int)t.authority.len, t.authority.at);
        if (t.scheme.len) fprintf(out, " %.*s:", (int)t.scheme.len, t.scheme.at);
    }
    fclose(out);
    free(raw);
    free(scratch);
    return text;
}

struct target_case {
    struct span raw;
    const char *want;
};

static void check(const struct target_case *c, bool is_connect) {
    for (; c->want; c++) {
        char *got = account(c->raw, is_connect);
        if (!EXPECT_EQ_STR(got, c->want)) EXPECT_EQ_SPAN(c->raw, SPAN("right"));
        free(got);
    }
}

TEST(splits_targets) {
    static const struct target_case cases[] = {
        {SPAN("/"), "origin /"},
        {SPAN("/a/b.c"), "origin /a/b.c"},
        {SPAN("/?"), "origin / ?"},
        {SPAN("/a?b?c=%zz%"), "origin /a ?b?c=%zz%"},
        {SPAN("/a?/../b"), "origin /a ?/../b"},
        {SPAN("//a//"), "origin //a//"},
        {SPAN("/a\\..\\b"), "origin /a\\..\\b"},
        {SPAN("/a;b=c,d/@:!$&'()*+"), "origin /a;b=c,d/@:!$&'()*+"},
        {SPAN("*"), "asterisk *"},
        {SPAN("http://a/b?c"), "absolute /b ?c @a http:"},
        {SPAN("HTTPS://a:1/../b"), "!"},
        {SPAN("HTTPS://a:1/x/../b"), "absolute /b @a:1 HTTPS:"},
        {SPAN("http://a"), "absolute / @a http:"},
        {SPAN("http://[::1]:80?q"), "absolute / ?q @[::1]:80 http:"},
        {SPAN("x+-.1://a/"), "absolute / @a x+-.1:"},
        {SPAN("http://"), "!"},
        {SPAN("http:///a"), "!"},
        {SPAN("http://u@a/"), "!"},
        {SPAN("http://a:x/"), "!"},
        {SPAN("http://a#b"), "!"},
        {SPAN("http:/a"), "!"},
        {SPAN("http:a"), "!"},
        {SPAN("1http://a/"), "!"},
        {SPAN("://a/"), "!"},
        {SPAN(""), "!"},
        {SPAN("a"), "!"},
        {SPAN("**"), "!"},
        {SPAN("?a"), "!"},
        {SPAN("a:80"), "!"},
        {SPAN("/a#b"), "!"},
        {SPAN("/a?b#c"), "!"},
        {SPAN("/a b"), "!"},
        {SPAN("/a\0"), "!"},
        {SPAN("/a\r\n"), "!"},
        {SPAN("/?\x01"), "!"},
        {SPAN("/?\x7f"), "!"},
        {SPAN("/\xc3\xa4"), "!"},
        {{0}, NULL},
    };
    static const struct target_case connects[] = {
        {SPAN("a:80"), "authority  @a:80"},
        {SPAN("[::1]:443"), "authority  @[::1]:443"},
        {SPAN("a"), "!"},
        {SPAN("a:"), "!"},
        {SPAN("/"), "!"},
        {SPAN("http://a:80"), "!"},
        {SPAN(""), "!"},
        {SPAN("a:80/"), "!"},
        {{0}, NULL},
    };
    check(cases, false);
    check(connects, true);
}

TEST(decodes_and_normalises_paths) {
    static const struct target_case cases[] = {
        {SPAN("/%61%2Db"), "origin /a-b"},
        {SPAN("/%c3%A4"), "origin /\xc3\xa4"},
        {SPAN("/a%3Fb?c"), "origin /a?b ?c"},
        {SPAN("/a%20b%0a"), "origin /a b\n"},
        {SPAN("/a%2Fb%2fc%25%32%35"), "origin /a%2Fb%2fc%2525"},
        {SPAN("/%2525"), "origin /%2525"},
        {SPAN("/%5c"), "origin /\\"},
        {SPAN("/."), "origin /"},
        {SPAN("/./"), "origin /"},
        {SPAN("/a/."), "origin /a/"},
        {SPAN("/a/./b"), "origin /a/b"},
        {SPAN("/a/.."), "origin /"},
        {SPAN("/a/../"), "origin /"},
        {SPAN("/a/b/../c"), "origin /a/c"},
        {SPAN("/a/b/../../c"), "origin /c"},
        {SPAN("/a//../b"), "origin /a/b"},
        {SPAN("//.."), "origin /"},
        {SPAN("/..a/.b/c../..."), "origin /..a/.b/c../..."},
        {SPAN("/.well-known/x"), "origin /.well-known/x"},
        {SPAN("/a/%2e%2E/b"), "origin /b"},
        {SPAN("/a/.%2e/b"), "origin /b"},
        {SPAN("/%2e/a"), "origin /a"},
        {SPAN("/a/..%2f.."), "origin /a/..%2f.."},
        {SPAN("/a/%252e%252e/b"), "origin /a/%252e%252e/b"},
        {SPAN("/.."), "!"},
        {SPAN("/../"), "!"},
        {SPAN("/%2e%2e"), "!"},
        {SPAN("/a/../.."), "!"},
        {SPAN("/a/../../b"), "!"},
        {SPAN("/./../b"), "!"},
        {SPAN("/%"), "!"},
        {SPAN("/%4"), "!"},
        {SPAN("/%4?1"), "!"},
        {SPAN("/%zz"), "!"},
        {SPAN("/%u0041"), "!"},
        {SPAN("/%00"), "!"},
        {SPAN("/a/%00/.."), "!"},
        {{0}, NULL},
    };
    check(cases, false);
}

TEST(keeps_a_plain_path_where_it_is) {
    char scratch[32];
    struct target t;
    const char *why;
    struct span plain = SPAN("/a//b.c?d"), dot = SPAN("/.a%2F"), odd = SPAN("/%61");
    REQUIRE(target_parse(plain, false, scratch, &t, &why) == 0);
    EXPECT(t.path.at == plain.at);
    EXPECT(t.query.at == plain.at + 8);
    REQUIRE(target_parse(dot, false, scratch, &t, &why) == 0);
    EXPECT(t.path.at == dot.at);
    EXPECT(t.query.at == NULL);
    REQUIRE(target_parse(odd, false, scratch, &t, &why) == 0);
    EXPECT(t.path.at == scratch);
}

static struct span decoded(struct span s, bool plus) {
    static char out[64];
    return span_of(out, target_decode(s, plus, out));
}

TEST(decodes_escapes) {
    EXPECT_EQ_SPAN(decoded(SPAN(""), true), SPAN(""));
    EXPECT_EQ_SPAN(decoded(SPAN("a+b%20c%2B"), true), SPAN("a b c+"));
    EXPECT_EQ_SPAN(decoded(SPAN("a+b%20c%2B"), false), SPAN("a+b c+"));
    EXPECT_EQ_SPAN(decoded(SPAN("%%41%4%zz%4g%"), false), SPAN("%A%4%zz%4g%"));
    EXPECT_EQ_SPAN(decoded(SPAN("%2525%00"), false), SPAN("%25\0"));
    char own[] = "%41%42c";
    EXPECT_EQ_SPAN(span_of(own, target_decode(span_of(own, 7), false, own)),
                   SPAN("ABc"));
    EXPECT(target_plain(SPAN("/a/b")));
    EXPECT(target_plain(SPAN("")));
    EXPECT(target_plain(SPAN("/%zz%4")));
    EXPECT(!target_plain(SPAN("/%%2F")));
}

TEST(walks_queries) {
    struct span rest = SPAN("&a=1&&b&=c&d=e=f&=&g="), name, value;
    static const char *const want[][2] = {{"a", "1"},   {"b", ""}, {"", "c"},
                                          {"d", "e=f"}, {"", ""},  {"g", ""}};
    for (size_t i = 0; i < sizeof(want) / sizeof(*want); i++) {
        REQUIRE(query_next(&rest, &name, &value));
        EXPECT_EQ_SPAN(name, span_str(want[i][0]));
        EXPECT_EQ_SPAN(value, span_str(want[i][1]));
    }
    EXPECT(!query_next(&rest, &name, &value));
    rest = SPAN("&&");
    EXPECT(!query_next(&rest, &name, &value));
    rest = span_of(NULL, 0);
    EXPECT(!query_next(&rest, &name, &value));
}

TEST(splits_authorities) {
    struct span host, port;
    REQUIRE(authority_parse(SPAN("[::1]:80"), &host, &port));
    EXPECT_EQ_SPAN(host, SPAN("[::1]"));
    EXPECT_EQ_SPAN(port, SPAN("80"));
    REQUIRE(authority_parse(SPAN("a%2Eb"), &host, &port));
    EXPECT_EQ_SPAN(host, SPAN("a%2Eb"));
    EXPECT_EQ_INT(port.len, 0);
    EXPECT(!authority_parse(SPAN(""), &host, &port));
    EXPECT(!authority_parse(SPAN("[::1\0]"), &host, &port));
}
