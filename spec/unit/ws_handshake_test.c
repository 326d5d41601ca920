#include "codec/http1_read.h"
#include "codec/sha1.h"
#include "codec/ws_handshake.h"
#include "unit.h"

#include <stdio.h>

static bool sha1_is(struct span bytes, const char *hex) {
    unsigned char out[SHA1_LEN];
    char text[2 * SHA1_LEN + 1];
    sha1_of(bytes, out);
    for (int i = 0; i < SHA1_LEN; i++) snprintf(text + 2 * i, 3, "%02x", out[i]);
    return strcmp(text, hex) == 0;
}

TEST(knows_sha1) {
    static char million[1000000];
    memset(million, 'a', sizeof million);
    EXPECT(sha1_is(SPAN(""), "da39a3ee5e6b4b0d3255bfef95601890afd80709"));
    EXPECT(sha1_is(SPAN("abc"), "a9993e364706816aba3e25717850c26c9cd0d89d"));
    EXPECT(sha1_is(SPAN("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"),
                   "84983e441c3bd26ebaae4aa1f95129e5e54670f1"));
    EXPECT(sha1_is(span_of(million, sizeof million),
                   "34aa973cd4c4daa4f61eeb2bdbad27316534016f"));
    EXPECT(sha1_is(span_of(million, 55), "c1c8bbdc22796e28c0e15163d20899b65621d65a"));
    EXPECT(sha1_is(span_of(million, 64), "0098ba824b5c16427bd7a1122a5a442a25ec644d"));
}

TEST(answers_a_key) {
    char out[WS_ACCEPT], key[WS_KEY];
    ws_accept(SPAN("dGhlIHNhbXBsZSBub25jZQ=="), out);
    EXPECT_EQ_SPAN(span_of(out, sizeof out), SPAN("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    ws_key((const unsigned char *)"the sample nonce", key);
    EXPECT_EQ_SPAN(span_of(key, sizeof key), SPAN("dGhlIHNhbXBsZSBub25jZQ=="));
}

TEST(takes_only_keys_of_16_bytes) {
    EXPECT(ws_key_is_good(SPAN("dGhlIHNhbXBsZSBub25jZQ==")));
    EXPECT(ws_key_is_good(SPAN("AAAAAAAAAAAAAAAAAAAAAA==")));
    EXPECT(!ws_key_is_good(SPAN("")));
    EXPECT(!ws_key_is_good(SPAN("dGhlIHNhbXBsZSBub25jZQ=")));
    EXPECT(!ws_key_is_good(SPAN("dGhlIHNhbXBsZSBub25jZ===")));
    EXPECT(!ws_key_is_good(SPAN("dGhlIHNhbXBsZSBub25jZQAA")));
    EXPECT(!ws_key_is_good(SPAN("dGhlIHNhbXBsZSBub25jZR==")));
    EXPECT(!ws_key_is_good(SPAN("dGhlIHNhbXBs-SBub25jZQ==")));
    EXPECT(!ws_key_is_good(SPAN("dGhlIHNhbXBs\0SBub25jZQ==")));
}

#define KEY "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
#define ASKS "Host: a\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n"
#define GOOD ASKS "Sec-WebSocket-Version: 13\r\n" KEY

struct request {
    struct http1_reader reader;
    struct head head;
    struct head_field fields[32];
    char bytes[4096];
};

static bool read_request(struct request *r, const char *line, const char *fields) {
    static const struct http1_limits limits = {256, 2048, 32};
    struct span body;
    size_t used;
    size_t n =
        (size_t)snprintf(r->bytes, sizeof r->bytes, "%s\r\n%s\r\n", line, fields);
    r->head = (struct head){.fields = r->fields, .field_capacity = 32};
    http1_reader_init(&r->reader, &limits);
    http1_read_begin(&r->reader, &r->head);
    return EXPECT(http1_read(&r->reader, r->bytes, n, &used, &body) == HTTP1_HEAD);
}

static int check(const char *line, const char *fields) {
    struct request r;
    struct span key;
    const char *why = "";
    if (!read_request(&r, line, fields)) return -1;
    int status = ws_request_check(&r.head, &key, &why);
    if (status == 0) EXPECT_EQ_SPAN(key, SPAN("dGhlIHNhbXBsZSBub25jZQ=="));
    EXPECT((status == 0) == (*why == 0));
    return status;
}

TEST(judges_requests) {
    static const struct {
        int status;
        const char *line, *fields;
    } rows[] = {
        {0, "GET / HTTP/1.1", GOOD},
        {0, "GET / HTTP/1.1", GOOD "Content-Length: 0\r\n"},
        {0, "GET / HTTP/1.1",
         "Host: a\r\nupgrade: h2c, WebSocket\r\nConnection: close\r\nconnection: "
         ", UPGRADE ,\r\nSec-WebSocket-Version: 13\r\n" KEY},
        {405, "POST / HTTP/1.1", GOOD},
        {426, "GET / HTTP/1.1", "Host: a\r\n"},
        {426, "GET / HTTP/1.1",
         "Host: a\r\nUpgrade: websockets\r\nConnection: Upgrade\r\n"},
        {400, "GET / HTTP/1.0", GOOD},
        {400, "GET / HTTP/1.1",
         "Host: a\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n" KEY},
        {400, "GET / HTTP/1.1", GOOD "Content-Length: 1\r\n"},
        {400, "GET / HTTP/1.1", ASKS KEY},
        {426, "GET / HTTP/1.1", ASKS KEY "Sec-WebSocket-Version: 8\r\n"},
        {426, "GET / HTTP/1.1", GOOD "Sec-WebSocket-Version: 13\r\n"},
        {400, "GET / HTTP/1.1", ASKS "Sec-WebSocket-Version: 13\r\n"},
        {400, "GET / HTTP/1.1", GOOD KEY},
        {400, "GET / HTTP/1.1",
         ASKS "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIA==\r\n"},
        {0, "GET / HTTP/1.1",
         GOOD "Sec-WebSocket-Protocol: chat, super\r\nSec-WebSocket-Protocol: x\r\n"},
        {400, "GET / HTTP/1.1",
         GOOD "Sec-WebSocket-Protocol: chat\r\nSec-WebSocket-Protocol: x,chat\r\n"},
        {400, "GET / HTTP/1.1", GOOD "Sec-WebSocket-Protocol: chat, b@d\r\n"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (!EXPECT_EQ_INT(check(rows[i].line, rows[i].fields), rows[i].status))
            printf("  row %zu\n", i);
}

TEST(tells_who_asks_for_a_websocket) {
    struct request r;
    REQUIRE(read_request(&r, "GET / HTTP/1.1", ASKS));
    EXPECT(ws_request_asks(&r.head));
    REQUIRE(read_request(&r, "GET / HTTP/1.1", "Host: a\r\nUpgrade: h2c\r\n"));
    EXPECT(!ws_request_asks(&r.head));
}

TEST(finds_subprotocols) {
    struct request r;
    struct span list = SPAN(" ,b,\tc.3 ,"), token;
    REQUIRE(read_request(&r, "GET / HTTP/1.1",
                         GOOD "Sec-WebSocket-Protocol: chat , super\r\n"
                              "sec-websocket-protocol: ,x\r\n"));
    EXPECT(ws_protocol_offered(&r.head, SPAN("chat")));
    EXPECT(ws_protocol_offered(&r.head, SPAN("super")));
    EXPECT(ws_protocol_offered(&r.head, SPAN("x")));
    EXPECT(!ws_protocol_offered(&r.head, SPAN("Chat")));
    EXPECT(!ws_protocol_offered(&r.head, SPAN("")));
    EXPECT(ws_protocol_next(&list, &token));
    EXPECT_EQ_SPAN(token, SPAN("b"));
    EXPECT(ws_protocol_next(&list, &token));
    EXPECT_EQ_SPAN(token, SPAN("c.3"));
    EXPECT(!ws_protocol_next(&list, &token));
    list = SPAN("a b, c");
    EXPECT(ws_protocol_next(&list, &token));
    EXPECT_EQ_INT(token.len, 0);
    EXPECT(!ws_protocol_next(&list, &token));
}
