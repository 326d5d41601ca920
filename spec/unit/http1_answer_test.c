#include "answer_feed.h"
#include "unit.h"

/* Each case is fed whole, byte by byte, cut at every position and, when it is short,
 * at every pair of positions; the account must always be the one given. */
struct answer_case {
    struct span bytes;
    const char *want;
};

static bool same(enum answer_to to, const struct answer_case *c, const size_t *cuts,
                 unsigned count) {
    struct answer_feed f;
    size_t at = 0;
    feed_init(&f, to);
    for (unsigned i = 0; i < count; at = cuts[i++])
        feed(&f, c->bytes.at + at, cuts[i] - at);
    feed(&f, c->bytes.at + at, c->bytes.len - at);
    char *got = feed_done(&f);
    bool holds = EXPECT_EQ_STR(got, c->want);
    if (!holds) EXPECT_EQ_SPAN(c->bytes, SPAN("taken as it should be"));
    if (!holds) printf("  reason: %s\n", f.reader.why ? f.reader.why : "none");
    if (!holds && count > 0) printf("  cut at %zu of %zu\n", cuts[0], c->bytes.len);
    free(got);
    return holds;
}

static void check_case(enum answer_to to, const struct answer_case *c) {
    size_t len = c->bytes.len, cuts[2];
    size_t *each = malloc((len + 1) * sizeof(*each));
    for (size_t i = 0; i < len; i++) each[i] = i + 1;
    bool holds = same(to, c, NULL, 0) && same(to, c, each, (unsigned)len);
    free(each);
    for (cuts[0] = 0; holds && cuts[0] <= len; cuts[0]++) {
        holds = same(to, c, cuts, 1);
        if (len > 64) continue;
        for (cuts[1] = cuts[0]; holds && cuts[1] <= len; cuts[1]++)
            holds = same(to, c, cuts, 2);
    }
}

static void check(enum answer_to to, const struct answer_case *c) {
    for (; c->want; c++) check_case(to, c);
}

#define OK "HTTP/1.1 200 OK\r\n"
#define NONE "Content-Length: 0\r\n"
#define LENGTH(n) "Content-Length: " #n "\r\n"
#define CHUNKED OK "Transfer-Encoding: chunked\r\n\r\n"
#define CHUNKED_HEAD "200 1.1 chunked [Transfer-Encoding|chunked] "
#define END "\r\n"

TEST(reads_heads) {
    static const struct answer_case cases[] = {
        {SPAN(""), ".."},
        {SPAN("HTTP/1.1 2"), ".."},
        {SPAN(OK "A: b"), ".."},
        {SPAN(OK NONE END), "200 1.1 none [Content-Length|0] ;"},
        {SPAN("HTTP/1.1 204 No Content\r\n" END), "204 1.1 none ;"},
        {SPAN("HTTP/1.1 204\r\n" END), "204 1.1 none ;"},
        {SPAN("HTTP/1.1 204 \r\n" END), "204 1.1 none ;"},
        {SPAN("HTTP/1.1 304 \xc3\xa4\r\n" LENGTH(7) END),
         "304 1.1 none [Content-Length|7] ;"},
        {SPAN("HTTP/1.7 204 x\r\n" END), "204 1.1 none ;"},
        {SPAN("HTTP/1.0 204 x\r\n" END), "204 1.0 none last ;"},
        {SPAN("HTTP/1.0 204 x\r\nConnection: Keep-Alive\r\n" END),
         "204 1.0 none [Connection|Keep-Alive] ;"},
        {SPAN("HTTP/1.1 204 x\r\nconnection: a, CLOSE\r\n" END),
         "204 1.1 none last [connection|a, CLOSE] ;"},
        {SPAN("HTTP/1.1 204 x\r\nA:\r\nB:\t \r\nC: d \t\r\nC:\x80\r\n" END),
         "204 1.1 none [A|] [B|] [C|d] [C|\x80] ;"},
        {SPAN("HTTP/1.1 204 x\r\n" LENGTH(3) END),
         "204 1.1 none last [Content-Length|3] ;"},
        {SPAN("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 x\r\nLink: y\r\n\r\n"
              "HTTP/1.1 204 x\r\n" END),
         "(100) (103) 204 1.1 none ;"},
        {SPAN(OK NONE END "more"), "200 1.1 none [Content-Length|0] ;"},
        {{0}, NULL},
    };
    check(ANSWER_TO_ANY, cases);
}

TEST(refuses_malformed_heads) {
    static const struct answer_case cases[] = {
        {SPAN("X"), "!"},
        {SPAN("\r\n" OK END), "!"},
        {SPAN("ICY 200 OK\r\n" END), "!"},
        {SPAN("HTTP/2.0 200 OK\r\n" END), "!"},
        {SPAN("HTTP/1.1200 OK\r\n" END), "!"},
        {SPAN("HTTP/1.1  200 OK\r\n" END), "!"},
        {SPAN("HTTP/1.1 2000\r\n" END), "!"},
        {SPAN("HTTP/1.1 20\r\n" END), "!"},
        {SPAN("HTTP/1.1 099 x\r\n" END), "!"},
        {SPAN("HTTP/1.1 -20 x\r\n" END), "!"},
        {SPAN("HTTP/1.1 200 a\rb\r\n" END), "!"},
        {SPAN("HTTP/1.1 200 a\0b\r\n" END), "!"},
        {SPAN("HTTP/1.1 200 OK\n" END), "!"},
        {SPAN(OK "A: b\n" END), "!"},
        {SPAN(OK "\n"), "!"},
        {SPAN(OK "A: b\r\n c\r\n" END), "!"},
        {SPAN(OK " A: b\r\n" END), "!"},
        {SPAN(OK "A : b\r\n" END), "!"},
        {SPAN(OK ": b\r\n" END), "!"},
        {SPAN(OK "A\r\n" END), "!"},
        {SPAN(OK "A: b\rc: d\r\n" END), "!"},
        {SPAN(OK "A: b\0\r\n" END), "!"},
        {SPAN(OK "A\x80: b\r\n" END), "!"},
        {SPAN("HTTP/1.1 101 Switching Protocols\r\n" END), "!"},
        {{0}, NULL},
    };
    check(ANSWER_TO_ANY, cases);
}

TEST(refuses_ambiguous_framing) {
    static const struct answer_case cases[] = {
        {SPAN(OK LENGTH(1) LENGTH(1) END "a"), "!"},
        {SPAN(OK LENGTH(1) LENGTH(2) END "ab"), "!"},
        {SPAN(OK "Content-Length: 1, 1\r\n" END "a"), "!"},
        {SPAN(OK "Content-Length: -1\r\n" END), "!"},
        {SPAN(OK "Content-Length: +1\r\n" END "a"), "!"},
        {SPAN(OK "Content-Length: 0x1\r\n" END "a"), "!"},
        {SPAN(OK "Content-Length:\r\n" END), "!"},
        {SPAN(OK "Content-Length: 9223372036854775808\r\n" END), "!"},
        {SPAN(OK "Content-Length: 99999999999999999999999\r\n" END), "!"},
        {SPAN(OK LENGTH(1) "Transfer-Encoding: chunked\r\n" END), "!"},
        {SPAN(OK "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n" END),
         "!"},
        {SPAN(OK "Transfer-Encoding: gzip, chunked\r\n" END), "!"},
        {SPAN(OK "Transfer-Encoding: xchunked\r\n" END), "!"},
        {SPAN(OK "Transfer-Encoding: \vchunked\r\n" END), "!"},
        {SPAN(OK "Transfer-Encoding:\r\n" END), "!"},
        {SPAN("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n" END), "!"},
        {{0}, NULL},
    };
    check(ANSWER_TO_ANY, cases);
}

TEST(reads_bodies) {
    static const struct answer_case cases[] = {
        {SPAN(OK LENGTH(3) END "abc"), "200 1.1 length [Content-Length|3] \"abc\" ;"},
        {SPAN(OK LENGTH(3) END "abcd"), "200 1.1 length [Content-Length|3] \"abc\" ;"},
        {SPAN(OK LENGTH(3) END "ab"), "200 1.1 length [Content-Length|3] \"ab\" .."},
        {SPAN(OK END "abc"), "200 1.1 close last \"abc\" ;"},
        {SPAN(OK END), "200 1.1 close last ;"},
        {SPAN(CHUNKED "3\r\nabc\r\n0\r\n\r\n"), CHUNKED_HEAD "\"abc\" ;"},
        {SPAN(CHUNKED "1\r\na\r\n002\r\nbc\r\n000\r\n\r\nx"), CHUNKED_HEAD "\"abc\" ;"},
        {SPAN(CHUNKED "a;b=\"c\";d\r\n0123456789\r\n0;e\r\n\r\n"),
         CHUNKED_HEAD "\"0123456789\" ;"},
        {SPAN(CHUNKED "0\r\n\r\n"), CHUNKED_HEAD ";"},
        {SPAN(CHUNKED "1\r\na\r\n0\r\nA: b\r\nC: \r\n\r\n"),
         CHUNKED_HEAD "\"a\" {A|b} {C|} ;"},
        {SPAN(CHUNKED "1\r\na\r\n0\r\n"), CHUNKED_HEAD "\"a\" .."},
        {SPAN(CHUNKED "1\r\na\r\n0\r\nA: b\r\n"), CHUNKED_HEAD "\"a\" .."},
        {SPAN(CHUNKED "3\r\nab"), CHUNKED_HEAD "\"ab\" .."},
        {SPAN(CHUNKED), CHUNKED_HEAD ".."},
        {{0}, NULL},
    };
    check(ANSWER_TO_ANY, cases);
}

TEST(refuses_malformed_chunks) {
    static const struct answer_case cases[] = {
        {SPAN(CHUNKED "\r\n"), CHUNKED_HEAD "!"},
        {SPAN(CHUNKED "g\r\n"), CHUNKED_HEAD "!"},
        {SPAN(CHUNKED "-1\r\n"), CHUNKED_HEAD "!"},
        {SPAN(CHUNKED "0x1\r\n"), CHUNKED_HEAD "!"},
        {SPAN(CHUNKED " 1\r\na\r\n"), CHUNKED_HEAD "!"},
        {SPAN(CHUNKED "1 \r\na\r\n"), CHUNKED_HEAD "!"},
        {SPAN(CHUNKED "1\na\r\n"), CHUNKED_HEAD "!"},
        {SPAN(CHUNKED "1\r\r\n"), CHUNKED_HEAD "!"},
        {SPAN(CHUNKED "1;a\nb\r\n"), CHUNKED_HEAD "!"},
        {SPAN(CHUNKED "1;a\0\r\n"), CHUNKED_HEAD "!"},
        {SPAN(CHUNKED "1\r\nab"), CHUNKED_HEAD "\"a\" !"},
        {SPAN(CHUNKED "1\r\na\n"), CHUNKED_HEAD "\"a\" !"},
        {SPAN(CHUNKED "1\r\na\rb"), CHUNKED_HEAD "\"a\" !"},
        {SPAN(CHUNKED "ffffffffffffffff\r\n"), CHUNKED_HEAD "!"},
        {SPAN(CHUNKED "8000000000000000\r\n"), CHUNKED_HEAD "!"},
        {SPAN(CHUNKED "00000000000000001\r\n"), CHUNKED_HEAD "!"},
        {SPAN(CHUNKED "0\r\nA\r\n\r\n"), CHUNKED_HEAD "!"},
        {SPAN(CHUNKED "0\r\n A: b\r\n\r\n"), CHUNKED_HEAD "!"},
        {SPAN(CHUNKED "0\r\n\n"), CHUNKED_HEAD "!"},
        {{0}, NULL},
    };
    check(ANSWER_TO_ANY, cases);
}

TEST(knows_what_was_asked) {
    static const struct answer_case head[] = {
        {SPAN(OK LENGTH(9) END "HTTP"), "200 1.1 none [Content-Length|9] ;"},
        {SPAN(OK "Transfer-Encoding: chunked\r\n" END),
         "200 1.1 none [Transfer-Encoding|chunked] ;"},
        {SPAN(OK END), "200 1.1 none ;"},
        {SPAN(OK LENGTH(9) LENGTH(9) END), "!"},
        {{0}, NULL},
    };
    static const struct answer_case tunnel[] = {
        {SPAN("HTTP/1.1 200 OK\r\n" END "\x16\x03"), "200 1.1 tunnel last ;"},
        {SPAN("HTTP/1.1 407 x\r\n" LENGTH(2) END "ab"),
         "407 1.1 length [Content-Length|2] \"ab\" ;"},
        {{0}, NULL},
    };
    static const struct answer_case upgrade[] = {
        {SPAN("HTTP/1.1 100 x\r\n" END "HTTP/1.1 101 x\r\nUpgrade: y\r\n" END "\x81"),
         "(100) 101 1.1 tunnel last [Upgrade|y] ;"},
        {SPAN(OK LENGTH(2) END "ab"), "200 1.1 length [Content-Length|2] \"ab\" ;"},
        {{0}, NULL},
    };
    check(ANSWER_TO_HEAD, head);
    check(ANSWER_TO_CONNECT, tunnel);
    check(ANSWER_TO_UPGRADE, upgrade);
}

TEST(knows_codings) {
    static const struct {
        struct span bytes;
        enum answer_coding coding;
    } cases[] = {
        {SPAN(OK NONE END), ANSWER_IDENTITY},
        {SPAN(OK NONE "Content-Encoding: identity\r\n" END), ANSWER_IDENTITY},
        {SPAN(OK NONE "content-encoding: GZip\r\n" END), ANSWER_GZIP},
        {SPAN(OK NONE "Content-Encoding: x-gzip\r\n" END), ANSWER_GZIP},
        {SPAN(OK NONE "Content-Encoding: deflate\r\n" END), ANSWER_DEFLATE},
        {SPAN(OK NONE "Content-Encoding: br\r\n" END), ANSWER_UNKNOWN},
        {SPAN(OK NONE "Content-Encoding: gzip, gzip\r\n" END), ANSWER_UNKNOWN},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct answer_reader r;
        struct span body;
        size_t used;
        answer_begin(&r, ANSWER_TO_ANY);
        EXPECT_EQ_INT(
            answer_read(&r, cases[i].bytes.at, cases[i].bytes.len, &used, &body),
            ANSWER_HEAD);
        EXPECT_EQ_INT(r.head.coding, cases[i].coding);
    }
}

/* The account of `start`, n times `piece`, and `end`. */
static char *long_account(struct span start, struct span piece, unsigned n,
                          struct span end) {
    struct answer_feed f;
    feed_init(&f, ANSWER_TO_ANY);
    feed(&f, start.at, start.len);
    for (unsigned i = 0; i < n && !f.over; i++) feed(&f, piece.at, piece.len);
    feed(&f, end.at, end.len);
    return feed_done(&f);
}

static void expect_end(struct span start, struct span piece, unsigned n,
                       struct span end, char want) {
    char *got = long_account(start, piece, n, end);
    EXPECT_EQ_INT(got[strlen(got) - 1], want);
    free(got);
}

TEST(bounds_what_is_no_body) {
    struct span field = SPAN("A: 0123456789\r\n"), none = SPAN(NONE END);
    struct span interim = SPAN("HTTP/1.1 102 x\r\n\r\n");
    expect_end(SPAN(OK), field, ANSWER_FIELDS_MAX - 1, none, ';');
    expect_end(SPAN(OK), field, ANSWER_FIELDS_MAX, none, '!');
    expect_end(SPAN(OK "A: "), SPAN("0123456789"), 6500, SPAN("\r\n" NONE END), ';');
    expect_end(SPAN(OK "A: "), SPAN("0123456789"), 6600, SPAN(""), '!');
    expect_end(SPAN(""), interim, ANSWER_INTERIM_MAX, SPAN(OK NONE END), ';');
    expect_end(SPAN(""), interim, ANSWER_INTERIM_MAX + 1, SPAN(""), '!');
    expect_end(SPAN(CHUNKED "0\r\n"), field, ANSWER_FIELDS_MAX, SPAN(END), ';');
    expect_end(SPAN(CHUNKED "0\r\n"), field, ANSWER_FIELDS_MAX + 1, SPAN(""), '!');
    expect_end(SPAN(CHUNKED "1;"), SPAN("0123456789"), 409, SPAN("\r\na"), '.');
    expect_end(SPAN(CHUNKED "1;"), SPAN("0123456789"), 410, SPAN(""), '!');
}
