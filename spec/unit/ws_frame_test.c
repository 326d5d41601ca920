#include "codec/ws_frame.h"

#include "unit.h"
#include "ws_feed.h"

#include <stdlib.h>

/* A frame as a client sends it, with a mask, or as a server does. */
static size_t frame(char *to, unsigned first, bool mask, const char *at, size_t len) {
    size_t n = 0;
    to[n++] = (char)first;
    if (len < 126) {
        to[n++] = (char)(len | (mask ? 0x80 : 0));
    } else {
        to[n++] = (char)(126 | (mask ? 0x80 : 0));
        to[n++] = (char)(len >> 8);
        to[n++] = (char)len;
    }
    static const char key[4] = {0x12, (char)0xf4, 0x56, 0x07};
    if (mask) {
        memcpy(to + n, key, 4);
        n += 4;
    }
    for (size_t i = 0; i < len; i++) to[n++] = (char)(at[i] ^ (mask ? key[i % 4] : 0));
    return n;
}

/* The account of frames, each { first byte, payload }, whole, byte by byte and cut
 * everywhere; all must be the same. */
struct part {
    unsigned first;
    const char *payload;
    int len; /* 0: strlen */
};

static char *account_of(const struct part *parts, int count, bool client,
                        bool compression) {
    static char bytes[8192];
    size_t n = 0;
    for (int i = 0; i < count; i++) {
        size_t len = parts[i].len ? (size_t)parts[i].len : strlen(parts[i].payload);
        n += frame(bytes + n, parts[i].first, !client, parts[i].payload, len);
    }
    char *whole = ws_account(bytes, n, n, 0, client, compression);
    char *each = ws_account(bytes, n, 1, 0, client, compression);
    EXPECT_EQ_STR(each, whole);
    free(each);
    for (size_t cut = 1; cut < n; cut++) {
        char *cut_there = ws_account(bytes, n, cut, 0, client, compression);
        EXPECT_EQ_STR(cut_there, whole);
        free(cut_there);
    }
    return whole;
}

#define ACCOUNT(client, compression, want, ...)                                        \
    do {                                                                               \
        const struct part parts[] = {__VA_ARGS__};                                     \
        char *got =                                                                    \
            account_of(parts, sizeof parts / sizeof *parts, client, compression);      \
        EXPECT_EQ_STR(got, want);                                                      \
        free(got);                                                                     \
    } while (0)

TEST(messages) {
    ACCOUNT(false, false, "text[hello]", {0x81, "hello", 0});
    ACCOUNT(true, false, "text[hello]", {0x81, "hello", 0});
    ACCOUNT(false, false, "binary[]text[]", {0x82, "", 0}, {0x81, "", 0});
    ACCOUNT(false, false, "text[abc]binary[d]", {0x01, "a", 0}, {0x00, "b", 0},
            {0x80, "c", 0}, {0x82, "d", 0});
    ACCOUNT(false, false, "text[]", {0x01, "", 0}, {0x00, "", 0}, {0x80, "", 0});
}

TEST(control_frames_between_fragments) {
    ACCOUNT(false, false, "ping[p]pong[q]text[ab]", {0x01, "a", 0}, {0x89, "p", 0},
            {0x8a, "q", 0}, {0x80, "b", 0});
}

TEST(long_messages) {
    char payload[3000];
    for (size_t i = 0; i < sizeof payload; i++) payload[i] = (char)('a' + i % 26);
    const struct part parts[] = {{0x82, payload, sizeof payload}, {0x81, "x", 0}};
    char *got = account_of(parts, 2, false, false);
    EXPECT(strlen(got) == sizeof payload + strlen("binary[]text[x]"));
    free(got);
}

TEST(closes) {
    ACCOUNT(false, false, "close 1005[]", {0x88, "", 0});
    ACCOUNT(false, false, "close 1000[bye]",
            {0x88,
             "\x03\xe8"
             "bye",
             0});
    ACCOUNT(false, false, "bad 1002", {0x88, "x", 0});
    ACCOUNT(false, false, "bad 1007", {0x88, "\x03\xe8\xff", 0});
    ACCOUNT(false, false, "bad 1007", {0x88, "\x03\xe8\xe2\x82", 0});
}

TEST(close_codes) {
    for (unsigned code = 0; code < 65536; code++) {
        bool is = (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014) ||
                  (code >= 3000 && code <= 4999);
        char payload[2] = {(char)(code >> 8), (char)code}, bytes[16];
        size_t n = frame(bytes, 0x88, true, payload, 2);
        struct ws_reader r;
        struct ws_piece p;
        struct span input = span_of(bytes, n);
        ws_reader_init(&r, false, false);
        enum ws_event e = ws_read(&r, NULL, &input, &p);
        if ((e == WS_CONTROL) != is || p.code != (is ? code : WS_PROTOCOL_ERROR))
            EXPECT_EQ_INT(code, -1);
        ws_reader_done(&r, NULL);
    }
    EXPECT(ws_code_is_sent(1000));
}

TEST(what_is_forbidden) {
    static const unsigned firsts[] = {0xc1, 0xa1, 0x91, 0xf2, 0x83, 0x87, 0x8b,
                                      0x8f, 0x09, 0x0a, 0x08, 0x80, 0x00};
    for (size_t i = 0; i < sizeof firsts / sizeof *firsts; i++)
        ACCOUNT(false, false, "bad 1002", {firsts[i], "x", 0});
    ACCOUNT(false, true, "bad 1002", {0xc9, "x", 0});
    ACCOUNT(false, true, "bad 1002", {0x41, "", 0}, {0xc0, "x", 0});
    ACCOUNT(false, false, "bad 1002", {0x01, "", 0}, {0x81, "x", 0});
    char big[126] = {0};
    const struct part parts[] = {{0x89, big, 126}};
    char *got = account_of(parts, 1, false, false);
    EXPECT_EQ_STR(got, "bad 1002");
    free(got);
}

static void expect_bad(const char *bytes, size_t n, bool client) {
    char *got = ws_account(bytes, n, n, 0, client, false);
    EXPECT_EQ_STR(got, "bad 1002");
    free(got);
}

TEST(masks_and_lengths) {
    expect_bad("\x81\x01x", 3, false);
    expect_bad("\x81\x81\0\0\0\0x", 7, true);
    expect_bad("\x82\xfe\0\x7d\0\0\0\0x", 9, false); /* 125 in two bytes */
    expect_bad("\x82\xff\0\0\0\0\0\0\xff\xff\0\0\0\0x", 15, false); /* 65535 in eight */
    expect_bad("\x82\xff\x80\0\0\0\0\0\0\0\0\0\0\0x", 15, false);   /* 2^63 */
}

TEST(text_is_utf8) {
    ACCOUNT(false, false, "text[\xe2\x82\xac]", {0x81, "\xe2\x82\xac", 0});
    ACCOUNT(false, false, "text[\xe2\x82\xac]", {0x01, "\xe2", 0}, {0x00, "\x82", 0},
            {0x80, "\xac", 0});
    ACCOUNT(false, false, "bad 1007", {0x81, "\xe2\x82", 0});
    ACCOUNT(false, false, "bad 1007", {0x01, "\xe2\x82", 0}, {0x80, "", 0});
    ACCOUNT(false, false, "bad 1007", {0x81, "\xed\xa0\x80", 0});
    ACCOUNT(false, false, "bad 1007", {0x81, "\xf4\x90\x80\x80", 0});
    ACCOUNT(false, false, "bad 1007", {0x81, "\xc0\xaf", 0});
    ACCOUNT(false, false, "binary[\xff]", {0x82, "\xff", 0});
    ACCOUNT(false, true, "TEXT[\xff]", {0xc1, "\xff", 0}); /* it is compressed */
}

/* The byte that cannot be right ends it: nobody waits for the rest of the frame. */
TEST(text_fails_at_once) {
    char bytes[64];
    size_t n = frame(bytes, 0x81, true, "\xed\xa0\x80 and some more", 17);
    for (size_t i = 0; i + 1 < n; i++) {
        char *got = ws_account(bytes, i + 1, 1, 0, false, false);
        EXPECT_EQ_STR(got, i >= 6 + 1 ? "bad 1007" : "");
        free(got);
    }
}

TEST(holds_nothing_between_frames) {
    struct ws_frames f = {0};
    struct ws_reader r;
    struct ws_piece p;
    char bytes[64];
    size_t n = frame(bytes, 0x81, true, "hello", 5);
    n += frame(bytes + n, 0x81, true, "world", 5);
    ws_reader_init(&r, false, false);
    for (size_t i = 0; i < n; i++) {
        struct span input = span_of(bytes + i, 1);
        while (ws_read(&r, &f, &input, &p) != WS_MORE) continue;
        EXPECT_EQ_INT(r.context != NULL, (i + 1) % 11 != 0);
    }
    EXPECT_EQ_INT(f.spare_count, 1);
    ws_reader_done(&r, &f);
    ws_frames_done(&f);
}

TEST(writes_what_is_read) {
    struct ws_frames f = {0};
    static char payload[70000];
    static const size_t sizes[] = {0, 1, 125, 126, 65535, 65536, sizeof payload};
    for (size_t i = 0; i < sizeof payload; i++) payload[i] = (char)('a' + i % 23);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        struct span whole = span_of(payload, sizes[i]);
        struct buf plain, masked;
        char head[WS_HEAD_MAX];
        size_t n = ws_head(&f, head, WS_BINARY, true, false, whole);
        buf_init(&plain);
        buf_init(&masked);
        EXPECT_EQ_INT(buf_append(&plain, head, n), 0);
        EXPECT_EQ_INT(buf_append(&plain, whole.at, whole.len), 0);
        EXPECT_EQ_INT(ws_append(&f, &masked, WS_BINARY, true, false, true, whole), 0);
        EXPECT_EQ_INT(buf_len(&masked), n + 4 + whole.len);
        char *a = ws_account(buf_data(&plain), buf_len(&plain), 4000, 0, true, false);
        char *b =
            ws_account(buf_data(&masked), buf_len(&masked), 4000, 0, false, false);
        EXPECT_EQ_INT(strlen(a), strlen("binary[]") + whole.len);
        EXPECT(strcmp(a, b) == 0);
        free(a);
        free(b);
        buf_reset(&plain);
        buf_reset(&masked);
    }
    ws_frames_done(&f);
}

TEST(close_payloads) {
    char to[WS_CONTROL_MAX], reason[200];
    memset(reason, 'x', sizeof reason);
    EXPECT_EQ_INT(ws_close_payload(to, WS_NO_CODE, SPAN("gone")), 0);
    EXPECT_EQ_SPAN(span_of(to, ws_close_payload(to, 1001, SPAN("bye"))), SPAN("\x03\xe9"
                                                                              "bye"));
    EXPECT_EQ_INT(ws_close_payload(to, 1000, span_of(reason, 200)), 125);
    memcpy(reason + 121, "\xe2\x82\xac", 3);
    EXPECT_EQ_INT(ws_close_payload(to, 1000, span_of(reason, 200)), 123);
}
