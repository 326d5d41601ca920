#include "http1_feed.h"
#include "unit.h"

/* Each case is fed whole, byte by byte, cut at every position and, when it is short,
 * at every pair of positions; the account must always be the one given. */
struct wire_case {
    struct span bytes;
    const char *want;
};

static const struct http1_limits usual = {256, 1024, 16};

static bool same_with(struct head_memo *memo, const struct http1_limits *limits,
                      const struct wire_case *c, const size_t *cuts, unsigned count) {
    struct http1_feed f;
    size_t at = 0;
    feed_init(&f, limits);
    f.head.memo = memo;
    for (unsigned i = 0; i < count; at = cuts[i++])
        feed(&f, c->bytes.at + at, cuts[i] - at);
    feed(&f, c->bytes.at + at, c->bytes.len - at);
    char *got = feed_done(&f);
    bool holds = EXPECT_EQ_STR(got, c->want);
    if (!holds) EXPECT_EQ_SPAN(c->bytes, SPAN("taken as it should be"));
    if (!holds) printf("  reason: %s\n", f.reader.reason ? f.reader.reason : "none");
    if (!holds && count > 0) printf("  cut at %zu of %zu\n", cuts[0], c->bytes.len);
    free(got);
    return holds;
}

static bool same(const struct http1_limits *limits, const struct wire_case *c,
                 const size_t *cuts, unsigned count) {
    struct head_memo memo = {0};
    feed_teach(&memo, limits, c->bytes);
    bool holds = same_with(NULL, limits, c, cuts, count) &&
                 same_with(&memo, limits, c, cuts, count);
    head_memo_done(&memo);
    return holds;
}

static void check_case(const struct http1_limits *limits, const struct wire_case *c) {
    size_t len = c->bytes.len, cuts[2];
    size_t *each = malloc((len + 1) * sizeof(*each));
    for (size_t i = 0; i < len; i++) each[i] = i + 1;
    bool holds = same(limits, c, NULL, 0) && same(limits, c, each, (unsigned)len);
    free(each);
    for (cuts[0] = 0; holds && cuts[0] <= len; cuts[0]++) {
        holds = same(limits, c, cuts, 1);
        if (len > 64) continue;
        for (cuts[1] = cuts[0]; holds && cuts[1] <= len; cuts[1]++)
            holds = same(limits, c, cuts, 2);
    }
}

static void check(const struct http1_limits *limits, const struct wire_case *c) {
    for (; c->want; c++) check_case(limits, c);
}

#define HOST "Host: a\r\n"
#define GET "GET / HTTP/1.1\r\n" HOST
#define POST "POST / HTTP/1.1\r\n" HOST
#define CHUNKED POST "Transfer-Encoding: chunked\r\n\r\n"
#define POSTED "POST / 1.1 chunked [Host|a] [Transfer-Encoding|chunked]"
#define END "\r\n"

TEST(reads_heads) {
    static const struct wire_case cases[] = {
        {SPAN(""), ""},
        {SPAN("G"), " .."},
        {SPAN(GET), " .."},
        {SPAN(GET END), "GET / 1.1 [Host|a];"},
        {SPAN(GET END GET END), "GET / 1.1 [Host|a];GET / 1.1 [Host|a];"},
        {SPAN(GET END "POST"), "GET / 1.1 [Host|a]; .."},
        {SPAN("GET /a?b=%20&c HTTP/1.1\r\nHost:a\r\nX:\t y z \t\r\nX:z\r\n" END),
         "GET /a?b=%20&c 1.1 [Host|a] [X|y z] [X|z];"},
        {SPAN("GET / HTTP/1.1\r\nA:\r\nB: \r\nHost: a\r\nC: \t\r\n" END),
         "GET / 1.1 [A|] [B|] [Host|a] [C|];"},
        {SPAN(GET "X: \x80\xff\r\n" END), "GET / 1.1 [Host|a] [X|\x80\xff];"},
        {SPAN(GET "!#$%&'*+-.^_`|~09Z: ;,\"\r\n" END),
         "GET / 1.1 [Host|a] [!#$%&'*+-.^_`|~09Z|;,\"];"},
        {SPAN("HEAD http://a:80/x HTTP/1.1\r\n" HOST END),
         "HEAD http://a:80/x 1.1 [Host|a];"},
        {SPAN("OPTIONS * HTTP/1.1\r\n" HOST END), "OPTIONS * 1.1 [Host|a];"},
        {SPAN("CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\nContent-Length: 3\r\n" END),
         "CONNECT a:1 1.1 [Host|a:1] [Content-Length|3];"},
        {SPAN("M-SEARCH / HTTP/1.1\r\n" HOST END), "M-SEARCH / 1.1 [Host|a];"},
        {SPAN("GET / HTTP/1.0\r\n" END), "GET / 1.0 close;"},
        {SPAN("GET / HTTP/1.0\r\n" HOST "Connection: Keep-Alive\r\n" END),
         "GET / 1.0 [Host|a] [Connection|Keep-Alive];"},
        {SPAN("GET / HTTP/1.0\r\nConnection: keep-alive, close\r\n" END),
         "GET / 1.0 close [Connection|keep-alive, close];"},
        {SPAN(GET "Connection: x ,\tClose\r\n" END GET END),
         "GET / 1.1 close [Host|a] [Connection|x ,\tClose];"},
        {SPAN(GET "Connection: closed\r\n" END),
         "GET / 1.1 [Host|a] [Connection|closed];"},
        {SPAN("GET / HTTP/1.0\r\nProxy-Connection: keep-alive\r\n" END),
         "GET / 1.0 close [Proxy-Connection|keep-alive];"},
        {SPAN("GET / HTTP/1.2\r\n" HOST END), "GET / 1.1 [Host|a];"},
        {SPAN("GET / HTTP/1.9\r\n" HOST END), "GET / 1.1 [Host|a];"},
        {{0}, NULL},
    };
    check(&usual, cases);
}

TEST(skips_a_few_empty_lines) {
    static const struct wire_case cases[] = {
        {SPAN("\r\n"), ""},
        {SPAN("\r\n" GET END), "GET / 1.1 [Host|a];"},
        {SPAN("\r\n\r\n\r\n\r\n" GET END "\r\n" GET END),
         "GET / 1.1 [Host|a];GET / 1.1 [Host|a];"},
        {SPAN("\r\n\r\n\r\n\r\n\r\n" GET END), " !400"},
        {SPAN("\n" GET END), " !400"},
        {SPAN("\r\r\n" GET END), " !400"},
        {SPAN("\r" GET END), " !400"},
        {SPAN("\r\nFOO / HTTP/1.1\r\n"), " !501"},
        {{0}, NULL},
    };
    check(&usual, cases);
}

TEST(reads_bodies) {
    static const struct wire_case cases[] = {
        {SPAN(POST "Content-Length: 5\r\n" END "hello" GET END),
         "POST / 1.1 len=5 [Host|a] [Content-Length|5] \"hello\";GET / 1.1 [Host|a];"},
        {SPAN(POST "Content-Length: 5\r\n" END "hel"),
         "POST / 1.1 len=5 [Host|a] [Content-Length|5] \"hel\" .."},
        {SPAN(POST "Content-Length:\t007 \r\n" END "\r\n\r\nabc"),
         "POST / 1.1 len=7 [Host|a] [Content-Length|007] \"\r\n\r\nabc\";"},
        {SPAN(POST "Content-Length: 0\r\n" END GET END),
         "POST / 1.1 [Host|a] [Content-Length|0];GET / 1.1 [Host|a];"},
        {SPAN("GET / HTTP/1.0\r\nContent-Length: 2\r\n" END "abGET"),
         "GET / 1.0 close len=2 [Content-Length|2] \"ab\";"},
        {SPAN(GET "Connection: Upgrade\r\nUpgrade: x\r\n" END GET END),
         "GET / 1.1 [Host|a] [Connection|Upgrade] [Upgrade|x];GET / 1.1 [Host|a];"},
        {SPAN(POST "Connection: upgrade\r\nUpgrade: h2c\r\nContent-Length: 2\r\n" END
                   "ab" GET END),
         "POST / 1.1 len=2 [Host|a] [Connection|upgrade] [Upgrade|h2c] "
         "[Content-Length|2] \"ab\";GET / 1.1 [Host|a];"},
        {SPAN(POST "Content-Length: 18446744073709551615\r\n" END "ab"),
         "POST / 1.1 len=18446744073709551615 [Host|a] "
         "[Content-Length|18446744073709551615] \"ab\" .."},
        {{0}, NULL},
    };
    check(&usual, cases);
}

TEST(reads_chunked_bodies) {
    static const struct wire_case cases[] = {
        {SPAN(CHUNKED "0\r\n\r\n" GET END), POSTED ";GET / 1.1 [Host|a];"},
        {SPAN(CHUNKED "3\r\nabc\r\n0A\r\n0123456789\r\n0\r\n\r\n" GET END),
         POSTED " \"abc0123456789\";GET / 1.1 [Host|a];"},
        {SPAN(CHUNKED "2;a;b=\"c;\td\";e=f\r\n\r\n\r\n00;x\r\n\r\n"),
         POSTED " \"\r\n\";"},
        {SPAN(CHUNKED "000000000000001\r\na\r\n0000\r\n\r\n"), POSTED " \"a\";"},
        {SPAN(CHUNKED "00000000000000000000000000000001\r\na\r\n0\r\n\r\n"),
         POSTED " \"a\";"},
        {SPAN(CHUNKED "1\r\na\r\n0\r\nX: y\r\nZ:\r\nCookie: \t\r\n\r\n" GET END),
         POSTED " \"a\" {X: y\r\nZ:\r\nCookie: \t};GET / 1.1 [Host|a];"},
        {SPAN(CHUNKED "0\r\nContent-Length: 5\r\n\r\n" GET END),
         POSTED " {Content-Length: 5};GET / 1.1 [Host|a];"},
        {SPAN(CHUNKED "FFFFFFFFFFFFFFFF\r\nabc"), POSTED " \"abc\" .."},
        {SPAN(POST "transfer-encoding:CHUNKED \r\nUpgrade: x\r\nConnection: upgrade\r\n"
                   "\r\n1\r\na\r\n0\r\n\r\n" GET END),
         "POST / 1.1 chunked [Host|a] [transfer-encoding|CHUNKED] [Upgrade|x] "
         "[Connection|upgrade] \"a\";GET / 1.1 [Host|a];"},
        {{0}, NULL},
    };
    check(&usual, cases);
}

TEST(refuses_malformed_chunks) {
    static const struct span bodies[] = {
        SPAN("\r\n"),
        SPAN("g\r\n"),
        SPAN("0x1\r\na\r\n"),
        SPAN("+1\r\na\r\n"),
        SPAN("-1\r\na\r\n"),
        SPAN(" 1\r\na\r\n"),
        SPAN("1 \r\na\r\n"),
        SPAN("1\t\r\na\r\n"),
        SPAN("1\v\r\na\r\n"),
        SPAN("1,\r\na\r\n"),
        SPAN("1\na\r\n"),
        SPAN("1\r\r\na\r\n"),
        SPAN("1\ra\r\n"),
        SPAN("1;\r\n"),
        SPAN("1;a\n"),
        SPAN("1;a\rX\n"),
        SPAN("1;a=\"b\n\"\r\n"),
        SPAN("1;a=\"b\r\n\"\r\n"),
        SPAN("1;a=\"b\"c\r\n"),
        SPAN("1;a=b\n0\r\n\r\n"),
        SPAN("1; \r\n"),
        SPAN("1;;\r\n"),
        SPAN("1;\0\r\n"),
        SPAN("\0"),
        SPAN("10000000000000000\r\n"),
        SPAN("FFFFFFFFFFFFFFFFF\r\n"),
        SPAN("0\n\r\n"),
        SPAN("0\r\n\n"),
        SPAN("0\r\n\r\r\n"),
        SPAN("0\r\n\rX"),
        SPAN("0\r\nX: y\n\r\n"),
        SPAN("0\r\nX: y\rz\r\n\r\n"),
        SPAN("0\r\nX: y\r\n z\r\n\r\n"),
        SPAN("0\r\nX:\r\n\tz\r\n\r\n"),
        SPAN("0\r\n X: y\r\n\r\n"),
        SPAN("0\r\nX : y\r\n\r\n"),
        SPAN("0\r\nX y\r\n\r\n"),
        SPAN("0\r\n: y\r\n\r\n"),
        SPAN("0\r\nX: \0\r\n\r\n"),
        SPAN("0\r\nGET / HTTP/1.1\r\n\r\n"),
    };
    static const struct wire_case data[] = {
        {SPAN(CHUNKED "1\r\nab\r\n0\r\n\r\n"), POSTED " \"a !400"},
        {SPAN(CHUNKED "1\r\na\n0\r\n\r\n"), POSTED " \"a !400"},
        {SPAN(CHUNKED "1\r\na\r0\r\n\r\n"), POSTED " \"a !400"},
        {SPAN(CHUNKED "1\r\na0\r\n\r\n"), POSTED " \"a !400"},
        {{0}, NULL},
    };
    for (size_t i = 0; i < sizeof(bodies) / sizeof(*bodies); i++) {
        char bytes[256];
        memcpy(bytes, CHUNKED, sizeof(CHUNKED) - 1);
        memcpy(bytes + sizeof(CHUNKED) - 1, bodies[i].at, bodies[i].len);
        check_case(&usual, &(struct wire_case){
                               span_of(bytes, sizeof(CHUNKED) - 1 + bodies[i].len),
                               POSTED " !400"});
    }
    check(&usual, data);
}

/* All that llhttp 8.1 in strict mode lets through, and what it refuses already. */
TEST(refuses_malformed_heads) {
    static const struct span heads[] = {
        SPAN("GET / HTTP/1.1\nHost: a\r\n\r\n"), /* bare LF */
        SPAN("GET / HTTP/1.1\r\nHost: a\n\r\n"),
        SPAN("GET / HTTP/1.1\r\nHost: a\r\n\n"),
        SPAN("GET / HTTP/1.1\r\nX:\nHost: a\r\n\r\n"),
        SPAN("GET / HTTP/1.1\r\nX: y\nHost: a\r\n\r\n"),
        SPAN("GET / HTTP/1.1\r\nContent-Length: 5\nHost: a\r\n\r\n"),
        SPAN("GET / HTTP/1.1\r\nConnection: close\nHost: a\r\n\r\n"),
        SPAN("GET / HTTP/1.1\r\nTransfer-Encoding: chunked\nHost: a\r\n\r\n"),
        SPAN("GET / HTTP/1.1\rHost: a\r\n\r\n"), /* bare CR */
        SPAN("GET / HTTP/1.1\r\nHost: a\r\r\n\r\n"),
        SPAN("GET / HTTP/1.1\r\nHost: a\rX: y\r\n\r\n"),
        SPAN("GET / HTTP/1.1\r\nHost: a\r\nX: y\rz\r\n\r\n"),
        SPAN("GET / HTTP/1.1\r\nHost: a\r\n\rX"),
        SPAN("GET /\r\n\r\n"), /* HTTP/0.9 */
        SPAN("GET /\r\nHost: a\r\n\r\n"),
        SPAN("GET /\nHost: a\r\n\r\n"),
        SPAN("GET / \r\nHost: a\r\n\r\n"),
        SPAN("GET\r\n\r\n"),
        SPAN("GET \r\n\r\n"),
        SPAN("GET  / HTTP/1.1\r\nHost: a\r\n\r\n"), /* spaces */
        SPAN("GET /  HTTP/1.1\r\nHost: a\r\n\r\n"),
        SPAN("GET / HTTP/1.1 \r\nHost: a\r\n\r\n"),
        SPAN(" GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
        SPAN("GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n"),
        SPAN("GET /\tHTTP/1.1\r\nHost: a\r\n\r\n"),
        SPAN("GET / a HTTP/1.1\r\nHost: a\r\n\r\n"),
        SPAN("GET a HTTP/1.1\r\n\nHost: a\r\n\r\n"),
        SPAN("GET / http/1.1\r\nHost: a\r\n\r\n"), /* protocols */
        SPAN("GET / HTTP/1\r\nHost: a\r\n\r\n"),
        SPAN("GET / HTTP/1.\r\nHost: a\r\n\r\n"),
        SPAN("GET / HTTP/1.10\r\nHost: a\r\n\r\n"),
        SPAN("GET / HTTP/11.1\r\nHost: a\r\n\r\n"),
        SPAN("GET / HTTP/01.1\r\nHost: a\r\n\r\n"),
        SPAN("GET / HTTP/1,1\r\nHost: a\r\n\r\n"),
        SPAN("GET / HTTP/-1.1\r\nHost: a\r\n\r\n"),
        SPAN("GET / HTTPS/1.1\r\nHost: a\r\n\r\n"),
        SPAN("SOURCE / ICE/1.0\r\nHost: a\r\n\r\n"),
        SPAN("GET / ICE/1.0\r\nHost: a\r\n\r\n"),
        SPAN("OPTIONS / RTSP/1.0\r\nHost: a\r\n\r\n"),
        SPAN("SETUP / RTSP/1.0\r\nHost: a\r\n\r\n"),
        SPAN("HTTP/1.1 200 OK\r\nHost: a\r\n\r\n"),
        SPAN("\x16\x03\x01\x02"),
        SPAN("GE\0T / HTTP/1.1\r\n"),
        SPAN("G@T / HTTP/1.1\r\n"),
        SPAN("GET /\0 HTTP/1.1\r\n"),
        SPAN("GET /\x7f HTTP/1.1\r\n"),
        SPAN("GET /\x80 HTTP/1.1\r\n"),
        SPAN("GET /?\xe4 HTTP/1.1\r\n"),
        SPAN("FOO / HTTP/1.1\n"),
        SPAN("FOO /\xe4 HTTP/1.1\r\n"),
        SPAN("FOO  / HTTP/1.1\r\n"),
        SPAN("FOO /\r\n"),
        SPAN("GET / HTTP/1.1\r\n Host: a\r\n\r\n"), /* white space and folds */
        SPAN("GET / HTTP/1.1\r\n\tHost: a\r\n\r\n"),
        SPAN("GET / HTTP/1.1\r\n \r\nHost: a\r\n\r\n"),
        SPAN("GET / HTTP/1.1\r\nHost : a\r\n\r\n"),
        SPAN("GET / HTTP/1.1\r\nHost\t: a\r\n\r\n"),
        SPAN("GET / HTTP/1.1\r\nHost: a\r\n X: b\r\n\r\n"),
        SPAN("GET / HTTP/1.1\r\nHost:\r\n a\r\n\r\n"),
        SPAN("GET / HTTP/1.1\r\nHost: a\r\nX: b\r\n c\r\n\r\n"),
        SPAN("GET / HTTP/1.1\r\nHost: a\r\nX: b\r\n\tc\r\n\r\n"),
        SPAN("GET / HTTP/1.1\r\nHost: a\r\nX:\r\n c\r\n\r\n"),
        SPAN("GET / HTTP/1.1\r\nHost: a\r\nX:\r\n \r\n\r\n"),
        SPAN("GET / HTTP/1.1\r\nHost: a\r\nX: b\r\n \r\n\r\n"),
        SPAN("GET / HTTP/1.1\r\nHost: a\r\nX: b\r\n \r\n Y: d\r\n\r\n"),
        SPAN(POST "Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n"),
        SPAN(POST "Transfer-Encoding: chunked\r\n , identity\r\n\r\n0\r\n\r\n"),
        SPAN(POST "Transfer-Encoding: chunked\r\n \r\n\r\n0\r\n\r\n"),
        SPAN(POST "Content-Length: 1\r\n 2\r\n\r\n"),
        SPAN(POST "Content-Length:\r\n 2\r\n\r\n"),
        SPAN(POST "Connection: close\r\n , x\r\n\r\n"),
        SPAN("GET / HTTP/1.1\r\nHost: a\r\nXy\r\n\r\n"), /* fields */
        SPAN("GET / HTTP/1.1\r\nHost: a\r\nXy\r\nZ: a\r\n\r\n"),
        SPAN("GET / HTTP/1.1\r\nHost: a\r\n: b\r\n\r\n"),
        SPAN("GET / HTTP/1.1\r\nHost: a\r\nX Y: b\r\n\r\n"),
        SPAN("GET / HTTP/1.1\r\nHost: a\r\nX(Y: b\r\n\r\n"),
        SPAN("GET / HTTP/1.1\r\nHost: a\r\nX\0Y: b\r\n\r\n"),
        SPAN("GET / HTTP/1.1\r\nHost: a\r\nX\xe4: b\r\n\r\n"),
        SPAN("GET / HTTP/1.1\r\nHost: a\r\nX: \0\r\n\r\n"),
        SPAN("GET / HTTP/1.1\r\nHost: a\r\nX: a\x01\r\n\r\n"),
        SPAN("GET / HTTP/1.1\r\nHost: a\r\nX: a\x7f\r\n\r\n"),
        SPAN("GET / HTTP/1.1\r\nHost: a\r\nX: a\vb\r\n\r\n"),
        SPAN("GET / HTTP/1.1\r\nHost: a\r\nConnection: clo\0se\r\n\r\n"),
    };
    for (size_t i = 0; i < sizeof(heads) / sizeof(*heads); i++)
        check_case(&usual, &(struct wire_case){heads[i], " !400"});
}

TEST(tells_methods_and_versions_that_it_does_not_know) {
    static const struct wire_case cases[] = {
        {SPAN("FOO / HTTP/1.1\r\n"), " !501"},
        {SPAN("GETX / HTTP/1.1\r\n"), " !501"},
        {SPAN("get / HTTP/1.1\r\n"), " !501"},
        {SPAN("DESCRIBE / HTTP/1.1\r\n"), " !501"},
        {SPAN("PRI / HTTP/1.1\r\n"), " !501"},
        {SPAN("FOO / HTTP/1."), " .."},
        {SPAN("FOO"), " .."},
        {SPAN("FOO / HTTP/2.0\r\n"), " !505"},
        {SPAN("GET / HTTP/2.0\r\n" HOST END), " !505"},
        {SPAN("GET / HTTP/0.9\r\n" HOST END), " !505"},
        {SPAN("GET / HTTP/3.0\r\n"), " !505"},
        {SPAN("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), " !505"},
        {SPAN("PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n"), " !505"},
        {{0}, NULL},
    };
    check(&usual, cases);
}

TEST(wants_one_valid_host) {
    static const struct span valid[] = {
        SPAN(""),
        SPAN("a:"),
        SPAN("a:80"),
        SPAN("a.b-c_d~"),
        SPAN("1.2.3.4"),
        SPAN("[::1]:8080"),
        SPAN("[::1.2.3.4]"),
        SPAN("%41b"),
        SPAN("[v1.a:b]"),
        SPAN("a!$&'()*+,;="),
        SPAN("a:00080"),
        SPAN("localhost:65535"),
    };
    static const struct span invalid[] = {
        SPAN("a b"),
        SPAN("a,\tb"),
        SPAN("a/b"),
        SPAN("a@b"),
        SPAN("a:b"),
        SPAN("a:80:80"),
        SPAN("a:65536"),
        SPAN("a:-1"),
        SPAN("::1"),
        SPAN("[::1"),
        SPAN("[::1]a"),
        SPAN("[]"),
        SPAN("[a]"),
        SPAN("[::1%25lo]"),
        SPAN("[v1]"),
        SPAN("[1.2.3.4]"),
        SPAN("a%4"),
        SPAN("a%zz"),
        SPAN(":80"),
        SPAN("a?b"),
        SPAN("a#b"),
        SPAN("a\\b"),
        SPAN("\"a\""),
        SPAN("\xe4"),
        SPAN("http://a"),
        SPAN("a<"),
        SPAN("a^b"),
        SPAN("a, b"),
        SPAN("99999999999999999999:99999999999999999999999"),
    };
    static const struct wire_case cases[] = {
        {SPAN("GET / HTTP/1.1\r\n\r\n"), " !400"},
        {SPAN("GET / HTTP/1.1\r\nHos: a\r\nHostt: a\r\n\r\n"), " !400"},
        {SPAN(GET HOST END), " !400"},
        {SPAN(GET "hOST:\r\n" END), " !400"},
        {SPAN("GET / HTTP/1.0\r\n" HOST HOST END), " !400"},
        {SPAN("GET / HTTP/1.0\r\nHost: /\r\n" END), " !400"},
        {SPAN("GET http://b/ HTTP/1.1\r\n" END), " !400"},
        {{0}, NULL},
    };
    char bytes[256], want[256];
    for (size_t i = 0; i < sizeof(valid) / sizeof(*valid); i++) {
        int n = snprintf(bytes, sizeof bytes, "GET / HTTP/1.1\r\nHost: %s\r\n\r\n",
                         valid[i].at);
        snprintf(want, sizeof want, "GET / 1.1 [Host|%s];", valid[i].at);
        check_case(&usual, &(struct wire_case){span_of(bytes, (size_t)n), want});
    }
    for (size_t i = 0; i < sizeof(invalid) / sizeof(*invalid); i++) {
        int n = snprintf(bytes, sizeof bytes, "GET / HTTP/1.1\r\nHost: %s\r\n\r\n",
                         invalid[i].at);
        check_case(&usual, &(struct wire_case){span_of(bytes, (size_t)n), " !400"});
    }
    check(&usual, cases);
}

TEST(sees_one_framing_or_none) {
    static const struct {
        const char *fields;
        int status;
    } cases[] = {
        {"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n", 400},
        {"Transfer-Encoding: chunked\r\nContent-Length: 1\r\n", 400},
        {"Transfer-Encoding: chunked\r\nContent-Length: 0\r\n", 400},
        {"Transfer-Encoding: gzip\r\nContent-Length: 1\r\n", 400},
        {"Content-Length: 5\r\nContent-Length: 5\r\n", 400},
        {"Content-Length: 5\r\nContent-Length: 6\r\n", 400},
        {"Content-Length: 0\r\ncontent-length: 0\r\n", 400},
        {"Content-Length: 5, 5\r\n", 400},
        {"Content-Length: 5,\r\n", 400},
        {"Content-Length: 5 5\r\n", 400},
        {"Content-Length: +5\r\n", 400},
        {"Content-Length: -1\r\n", 400},
        {"Content-Length: -18446744073709551615\r\n", 400},
        {"Content-Length: 0x5\r\n", 400},
        {"Content-Length: 5e1\r\n", 400},
        {"Content-Length: 5.0\r\n", 400},
        {"Content-Length: 5;\r\n", 400},
        {"Content-Length: \"5\"\r\n", 400},
        {"Content-Length: five\r\n", 400},
        {"Content-Length:\r\n", 400},
        {"Content-Length: \t\r\n", 400},
        {"Content-Length: \v5\r\n", 400},
        {"Content-Length: 18446744073709551616\r\n", 400},
        {"Content-Length: 99999999999999999999999\r\n", 400},
        {"Transfer-Encoding:\r\n", 400},
        {"Transfer-Encoding: ,\r\n", 400},
        {"Transfer-Encoding: chunked,\r\n", 400},
        {"Transfer-Encoding: ,chunked\r\n", 400},
        {"Transfer-Encoding: chunked, chunked\r\n", 400},
        {"Transfer-Encoding: chunked, identity\r\n", 400},
        {"Transfer-Encoding: chunked, gzip\r\n", 400},
        {"Transfer-Encoding: \"chunked\"\r\n", 400},
        {"Transfer-Encoding: 'chunked' x\r\n", 400},
        {"Transfer-Encoding: chunked;q=1\r\n", 400},
        {"Transfer-Encoding: chunked foo\r\n", 400},
        {"Transfer-Encoding: foo chunked\r\n", 400},
        {"Transfer-Encoding: \vchunked\r\n", 400},
        {"Transfer-Encoding: chunked\v\r\n", 400},
        {"Transfer-Encoding: \x80"
         "chunked\r\n",
         400},
        {"Transfer-Encoding : chunked\r\n", 400},
        {"Transfer-Encoding\t: chunked\r\n", 400},
        {"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", 400},
        {"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", 400},
        {"Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n", 400},
        {"Transfer-Encoding: chunked\r\nTransfer-encoding: cow\r\n", 400},
        {"Transfer-Encoding: x\r\nTransfer-Encoding:\r\n", 400},
        {"Transfer-Encoding: gzip\r\n", 501},
        {"Transfer-Encoding: identity\r\n", 501},
        {"Transfer-Encoding: xchunked\r\n", 501},
        {"Transfer-Encoding: chunkedx\r\n", 501},
        {"Transfer-Encoding: chunke\r\n", 501},
        {"Transfer-Encoding: gzip, chunked\r\n", 501},
        {"Transfer-Encoding: gzip ,\tchunked\r\n", 501},
        {"Transfer-Encoding: identity, chunked\r\n", 501},
    };
    char bytes[256], want[16];
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        int n = snprintf(bytes, sizeof bytes, POST "%s\r\n0\r\n\r\n", cases[i].fields);
        snprintf(want, sizeof want, " !%d", cases[i].status);
        check_case(&usual, &(struct wire_case){span_of(bytes, (size_t)n), want});
    }
    static const struct wire_case more[] = {
        {SPAN("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
         " !400"},
        {SPAN("POST / HTTP/1.0\r\nTransfer-Encoding: x\r\n\r\n"), " !400"},
        {SPAN(POST "Transfer_Encoding: chunked\r\nContent-Length: 1\r\n\r\na"),
         "POST / 1.1 len=1 [Host|a] [Transfer_Encoding|chunked] [Content-Length|1] "
         "\"a\";"},
        {{0}, NULL},
    };
    check(&usual, more);
}

TEST(reads_expectations) {
    static const struct wire_case cases[] = {
        {SPAN(POST "Expect: 100-Continue\r\nContent-Length: 1\r\n" END "a"),
         "POST / 1.1 len=1 expect [Host|a] [Expect|100-Continue] [Content-Length|1] "
         "\"a\";"},
        {SPAN(GET "Expect: x\r\n" END), "GET / 1.1 expect? [Host|a] [Expect|x];"},
        {SPAN(GET "Expect: 100-continue, x\r\n" END),
         "GET / 1.1 expect expect? [Host|a] [Expect|100-continue, x];"},
        {SPAN(GET "Expect:\r\n" END), "GET / 1.1 [Host|a] [Expect|];"},
        {SPAN("GET / HTTP/1.0\r\nExpect: 100-continue\r\n" END),
         "GET / 1.0 close [Expect|100-continue];"},
        {{0}, NULL},
    };
    check(&usual, cases);
}

#define X16 "xxxxxxxxxxxxxxxx"
#define X48 X16 X16 X16

TEST(keeps_limits) {
    static const struct http1_limits limits = {64, 32, 3};
    static const struct wire_case cases[] = {
        /* 64 bytes of request line, and 65 */
        {SPAN("GET /" X48 "xx HTTP/1.1\r\n" HOST END), "GET /" X48 "xx 1.1 [Host|a];"},
        {SPAN("GET /" X48 "xxx HTTP/1.1\r\n" HOST END), " !414"},
        {SPAN("GET /" X48 X16 X16 "\xff"), " !414"},
        {SPAN("GET /" X48 "xx HTTP/1.1\r\n\xff"), " !400"},
        {SPAN("FOO /" X48 "xx HTTP/1.1\r\n"), " !501"},
        {SPAN("FOO /" X48 "xxx HTTP/1.1\r\n"), " !414"},
        {SPAN("F" X48 X48 "\xff"), " !414"},
        /* 32 bytes of fields, and 33 */
        {SPAN(GET "X:  " X16 "xx\r\n" END), " !431"},
        {SPAN(GET "X: " X16 "xx\r\n" END), "GET / 1.1 [Host|a] [X|" X16 "xx];"},
        {SPAN(GET X48 X48 "\xff"), " !431"},
        {SPAN(GET "X:      " X48), " !431"},
        {SPAN(GET "X: y\r\n" END "\xff"), "GET / 1.1 [Host|a] [X|y]; !400"},
        /* 3 fields, and 4 */
        {SPAN(GET "X:\r\nX:\r\n" END), "GET / 1.1 [Host|a] [X|] [X|];"},
        {SPAN(GET "X:\r\nX:\r\nX:\r\n" END), " !431"},
        {SPAN(GET "X:\r\nX:\r\nX:y\r\nX:\r\n" END), " !431"},
        {{0}, NULL},
    };
    static const struct http1_limits trailing = {64, 64, 2};
    static const struct wire_case trailers[] = {
        {SPAN(CHUNKED "0\r\nX:\r\nX:\r\n\r\n"), POSTED " {X:\r\nX:};"},
        {SPAN(CHUNKED "0\r\nX:\r\nX:\r\nX:\r\n\r\n"), POSTED " !431"},
        {SPAN(CHUNKED "0\r\nX:" X48 "xxxxxxxxxxxx\r\n\r\n"),
         POSTED " {X:" X48 "xxxxxxxxxxxx};"},
        {SPAN(CHUNKED "0\r\nX:" X48 "xxxxxxxxxxxxx\r\n\r\n"), POSTED " !431"},
        {SPAN(CHUNKED "0\r\nX:" X48 X48 "\n\r\n"), POSTED " !431"},
        {{0}, NULL},
    };
    check(&limits, cases);
    check(&trailing, trailers);
}

/* How many chunks of such a line a body may have. */
static unsigned chunks_taken(const char *line) {
    struct http1_feed f;
    unsigned n = 0;
    feed_init(&f, &usual);
    feed(&f, CHUNKED, sizeof(CHUNKED) - 1);
    for (; n < 10000 && !f.over; n++) {
        feed(&f, line, strlen(line));
        if (!f.over) feed(&f, "a\r\n", 3);
    }
    free(feed_done(&f));
    return n;
}

TEST(bounds_chunk_extensions) {
    EXPECT_EQ_INT(chunks_taken("1\r\n"), 10000);
    EXPECT_EQ_INT(chunks_taken("0000000000000001\r\n"), 10000);
    EXPECT_EQ_INT(chunks_taken("1;a\r\n"), 2049);
    EXPECT_EQ_INT(chunks_taken("1;a=\"234567\"\r\n"), 4096 / 11 + 1);
}

TEST(bounds_a_chunk_line) {
    static char line[8192];
    struct http1_feed f;
    feed_init(&f, &usual);
    feed(&f, CHUNKED "1;", sizeof(CHUNKED) + 1);
    memset(line, 'a', sizeof line);
    feed(&f, line, 4000);
    EXPECT(!f.over);
    feed(&f, line, 200);
    EXPECT(f.over);
    EXPECT_EQ_INT(f.reader.status, 400);
    free(feed_done(&f));
    feed_init(&f, &usual);
    feed(&f, CHUNKED, sizeof(CHUNKED) - 1);
    memset(line, '0', sizeof line);
    feed(&f, line, sizeof line);
    EXPECT_EQ_INT(f.reader.status, 400);
    free(feed_done(&f));
}

TEST(finds_fields) {
    static const char bytes[] = GET "X-Y: 1\r\nx-y: 2\r\nX: 3\r\n\r\n";
    struct http1_reader r;
    struct head_field fields[16];
    struct head h = {.fields = fields, .field_capacity = 16};
    struct span body, value;
    size_t used;
    unsigned from = 0;
    http1_reader_init(&r, &usual);
    http1_read_begin(&r, &h);
    REQUIRE(http1_read(&r, bytes, sizeof bytes - 1, &used, &body) == HTTP1_HEAD);
    EXPECT_EQ_INT(used, sizeof bytes - 1);
    EXPECT_EQ_INT(h.method, HTTP_GET);
    EXPECT_EQ_SPAN(span_of(h.base + h.authority, h.authority_len), SPAN("a"));
    REQUIRE(head_find(&h, SPAN("X-y"), &from, &value));
    EXPECT_EQ_SPAN(value, SPAN("1"));
    REQUIRE(head_find(&h, SPAN("X-y"), &from, &value));
    EXPECT_EQ_SPAN(value, SPAN("2"));
    EXPECT(!head_find(&h, SPAN("X-y"), &from, &value));
    from = 0;
    EXPECT(!head_find(&h, SPAN("x-"), &from, &value));
    EXPECT_EQ_INT(http1_read(&r, "GET", 3, &used, &body), HTTP1_MORE);
    EXPECT_EQ_INT(used, 0);
}
