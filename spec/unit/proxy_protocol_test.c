#include "codec/proxy_protocol.h"
#include "unit.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>

/* "more", "bad: why", or what a whole header says, with its length. Read a byte at a
 * time too, from memory that ends where the bytes do: it must come to the same. */
static const char *account(const char *bytes, size_t n) {
    static char text[512];
    struct proxy_header h;
    enum proxy_result result = PROXY_MORE;
    size_t used = 0, seen = 0;
    const char *why = "";
    for (; seen <= n && result == PROXY_MORE; seen++) {
        char *copy = malloc(seen + !seen);
        memcpy(copy, bytes, seen);
        result = proxy_read(copy, seen, &h, &used, &why);
        free(copy);
    }
    struct proxy_header whole;
    size_t whole_used;
    const char *whole_why;
    if (proxy_read(bytes, n, &whole, &whole_used, &whole_why) != result ||
        whole_used != used)
        return "not the same in pieces";
    if (result == PROXY_MORE) return "more";
    if (result == PROXY_BAD) {
        snprintf(text, sizeof text, "bad: %s", whole_why);
        return text;
    }
    char from[64] = "-", to[64] = "-";
    int family = whole.family == PROXY_IPV6 ? AF_INET6 : AF_INET;
    if (whole.family == PROXY_IPV4 || whole.family == PROXY_IPV6) {
        inet_ntop(family, whole.source, from, sizeof from);
        inet_ntop(family, whole.target, to, sizeof to);
    } else if (whole.family == PROXY_UNIX) {
        snprintf(from, sizeof from, "%.*s", (int)whole.source_path.len,
                 whole.source_path.at);
        snprintf(to, sizeof to, "%.*s", (int)whole.target_path.len,
                 whole.target_path.at);
    }
    snprintf(text, sizeof text, "v%u %s%s %u to %s %u, %zu bytes", whole.version,
             whole.local ? "local " : "", from, whole.source_port, to,
             whole.target_port, used);
    return text;
}

static const char *line(const char *text) {
    return account(text, strlen(text));
}

TEST(reads_lines) {
    EXPECT_EQ_STR(line("PROXY TCP4 192.0.2.1 198.51.100.7 56324 443\r\n"),
                  "v1 192.0.2.1 56324 to 198.51.100.7 443, 45 bytes");
    EXPECT_EQ_STR(line("PROXY TCP6 2001:db8::1 2001:db8::2 1 65535\r\nGET /"),
                  "v1 2001:db8::1 1 to 2001:db8::2 65535, 44 bytes");
    EXPECT_EQ_STR(line("PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n"),
                  "v1 255.255.255.255 65535 to 255.255.255.255 65535, 56 bytes");
    EXPECT_EQ_STR(line("PROXY UNKNOWN\r\n"), "v1 - 0 to - 0, 15 bytes");
    EXPECT_EQ_STR(line("PROXY UNKNOWN whatever 1 2 \x01\r\n"),
                  "v1 - 0 to - 0, 30 bytes");
    EXPECT_EQ_STR(line("PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff "
                       "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n"),
                  "v1 - 0 to - 0, 107 bytes");
}

TEST(waits_for_the_end_of_a_line) {
    EXPECT_EQ_STR(line(""), "more");
    EXPECT_EQ_STR(line("P"), "more");
    EXPECT_EQ_STR(line("PROXY"), "more");
    EXPECT_EQ_STR(line("PROXY TCP4 192.0.2.1 198.51.100.7 1 2\r"), "more");
}

TEST(refuses_what_is_not_exactly_a_line) {
    static const char *const bad[] = {
        "GET / HTTP/1.1\r\n",
        "PROXYTCP4",
        "proxy TCP4 192.0.2.1 192.0.2.2 1 2\r\n",
        "PROXY \r\n",
        "PROXY  TCP4 192.0.2.1 192.0.2.2 1 2\r\n",
        "PROXY TCP 192.0.2.1 192.0.2.2 1 2\r\n",
        "PROXY TCP4\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 1\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 1 2 \r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 1 2 3\r\n",
        "PROXY TCP4 192.0.2.1  192.0.2.2 1 2\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\rX",
        "PROXY TCP4 192.0.2.1 192.0.2.2\t1 2\r\n",
        "PROXY TCP4 192.0.2.01 192.0.2.2 1 2\r\n",
        "PROXY TCP4 192.0.2.256 192.0.2.2 1 2\r\n",
        "PROXY TCP4 192.0.2 192.0.2.2 1 2\r\n",
        "PROXY TCP4 2001:db8::1 2001:db8::2 1 2\r\n",
        "PROXY TCP6 192.0.2.1 192.0.2.2 1 2\r\n",
        "PROXY TCP6 2001:db8:::1 2001:db8::2 1 2\r\n",
        "PROXY TCP6 fe80::1%eth0 2001:db8::2 1 2\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 01 2\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 1 65536\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 1 -2\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 1 123456\r\n",
        "PROXY UNKNOWN aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        EXPECT_EQ_SPAN(span_of(line(bad[i]), 4), SPAN("bad:"));
    EXPECT_EQ_STR(line("GET"), "bad: what comes is no PROXY header");
}

/* ---- version 2 ---- */

struct block {
    size_t n;
    char at[8192];
};

static void add(struct block *b, const void *bytes, size_t n) {
    memcpy(b->at + b->n, bytes, n);
    b->n += n;
    b->at[14] = (char)((b->n - 16) >> 8);
    b->at[15] = (char)(b->n - 16);
}

static struct block begin(unsigned command, unsigned kind) {
    struct block b = {.n = 16};
    memcpy(b.at, "\r\n\r\n\0\r\nQUIT\n", 12);
    b.at[12] = (char)command;
    b.at[13] = (char)kind;
    return b;
}

static struct block ipv4(void) {
    struct block b = begin(0x21, 0x11);
    add(&b, "\xc0\0\2\1\xc6\x33\x64\7\xdc\4\1\xbb", 12);
    return b;
}

static void tlv(struct block *b, unsigned type, const void *value, size_t n) {
    char head[3] = {(char)type, (char)(n >> 8), (char)n};
    add(b, head, 3);
    add(b, value, n);
}

TEST(reads_blocks) {
    struct block b = ipv4();
    EXPECT_EQ_STR(account(b.at, b.n),
                  "v2 192.0.2.1 56324 to 198.51.100.7 443, 28 bytes");
    EXPECT_EQ_STR(account(b.at, b.n - 1), "more");
    memcpy(b.at + b.n, "GET", 3);
    EXPECT_EQ_STR(account(b.at, b.n + 3),
                  "v2 192.0.2.1 56324 to 198.51.100.7 443, 28 bytes");
    b = begin(0x21, 0x21);
    add(&b,
        " \1\r\xb8\0\0\0\0\0\0\0\0\0\0\0\1 \1\r\xb8\0\0\0\0\0\0\0\0\0\0\0\2\0\1\0\2",
        36);
    EXPECT_EQ_STR(account(b.at, b.n), "v2 2001:db8::1 1 to 2001:db8::2 2, 52 bytes");
    char paths[216] = "/from";
    memcpy(paths + 108, "/to", 3);
    b = begin(0x21, 0x31);
    add(&b, paths, sizeof paths);
    EXPECT_EQ_STR(account(b.at, b.n), "v2 /from 0 to /to 0, 232 bytes");
    struct proxy_header h;
    size_t used;
    const char *why;
    memset(paths, 'x', 108); /* all of its bytes, without an end */
    b = begin(0x21, 0x31);
    add(&b, paths, sizeof paths);
    EXPECT(proxy_read(b.at, b.n, &h, &used, &why) == PROXY_DONE);
    EXPECT_EQ_INT(h.source_path.len, 108);
}

TEST(keeps_the_real_address_where_none_is_given) {
    struct block b = begin(0x20, 0);
    EXPECT_EQ_STR(account(b.at, b.n), "v2 local - 0 to - 0, 16 bytes");
    b = begin(0x20, 0xff); /* what a LOCAL one says is ignored */
    add(&b, "rubbish", 7);
    EXPECT_EQ_STR(account(b.at, b.n), "v2 local - 0 to - 0, 23 bytes");
    b = begin(0x21, 0);
    add(&b, "rubbish", 7);
    EXPECT_EQ_STR(account(b.at, b.n), "v2 - 0 to - 0, 23 bytes");
    b = ipv4();
    b.at[13] = 0x12; /* datagrams do not come here */
    EXPECT_EQ_STR(account(b.at, b.n), "v2 - 0 to - 0, 28 bytes");
}

TEST(refuses_blocks_that_are_wrong) {
    struct block b = ipv4();
    b.at[12] = 0x11;
    EXPECT_EQ_STR(account(b.at, 13), "bad: its version is not 1 or 2");
    b.at[12] = 0x22;
    EXPECT_EQ_STR(account(b.at, 13), "bad: its command is unknown");
    b = ipv4();
    b.at[13] = 0x41;
    EXPECT_EQ_STR(account(b.at, b.n), "bad: its address family or protocol is unknown");
    b.at[13] = 0x13;
    EXPECT_EQ_STR(account(b.at, b.n), "bad: its address family or protocol is unknown");
    b.at[13] = 0x21;
    EXPECT_EQ_STR(account(b.at, b.n), "bad: its addresses are cut short");
    b = ipv4();
    b.at[11] = 'x';
    EXPECT_EQ_STR(account(b.at, b.n), "bad: what comes is no PROXY header");
    b = begin(0x20, 0);
    b.at[14] = 0x10;
    EXPECT_EQ_STR(account(b.at, 16), "bad: it is longer than 4096 bytes");
}

TEST(reads_what_follows_the_addresses) {
    struct block b = ipv4();
    struct proxy_header h;
    size_t used;
    const char *why;
    char tls[64] = "\1\0\0\0\0\x21\0\7TLSv1.3\x22\0\3ann\x99\0\1z";
    tlv(&b, 1, "h2", 2);
    tlv(&b, 2, "example.org", 11);
    tlv(&b, 4, "\0\0\0", 3);
    tlv(&b, 5, "id-1", 4);
    tlv(&b, 0x20, tls, 5 + 3 + 7 + 3 + 3 + 4);
    tlv(&b, 0xe0, "", 0);
    REQUIRE(proxy_read(b.at, b.n, &h, &used, &why) == PROXY_DONE);
    EXPECT_EQ_SPAN(h.alpn, SPAN("h2"));
    EXPECT_EQ_SPAN(h.authority, SPAN("example.org"));
    EXPECT_EQ_SPAN(h.unique_id, SPAN("id-1"));
    EXPECT(h.secure);
    EXPECT_EQ_SPAN(h.tls_version, SPAN("TLSv1.3"));
    EXPECT_EQ_SPAN(h.tls_name, SPAN("ann"));
    EXPECT(strncmp(account(b.at, b.n), "v2 192.0.2.1", 12) == 0);
    tls[4] = 1; /* a certificate that is not verified names nobody */
    tls[0] = 2;
    b = ipv4();
    tlv(&b, 0x20, tls, 5 + 3 + 7 + 3 + 3 + 4);
    REQUIRE(proxy_read(b.at, b.n, &h, &used, &why) == PROXY_DONE);
    EXPECT(!h.secure && !h.tls_name.len);
}

TEST(refuses_malformed_additions) {
    static const char wrong[] = "bad: what follows its addresses is malformed";
    struct block b = ipv4();
    add(&b, "\1\0", 2);
    EXPECT_EQ_STR(account(b.at, b.n), wrong);
    b = ipv4();
    add(&b, "\1\0\3ab", 5);
    EXPECT_EQ_STR(account(b.at, b.n), wrong);
    b = ipv4();
    tlv(&b, 0x20, "\1\0\0\0", 4);
    EXPECT_EQ_STR(account(b.at, b.n), wrong);
    b = ipv4();
    tlv(&b, 0x20, "\1\0\0\0\0\x21\0\x20TLS", 11);
    EXPECT_EQ_STR(account(b.at, b.n), wrong);
    char id[129] = {0};
    b = ipv4();
    tlv(&b, 5, id, sizeof id);
    EXPECT_EQ_STR(account(b.at, b.n), "bad: its unique id is longer than 128 bytes");
}

TEST(checks_the_checksum) {
    struct block b = ipv4();
    /* RFC 9260's polynomial over the header with zeros in its place. */
    uint32_t crc = ~0u;
    tlv(&b, 3, "\0\0\0\0", 4);
    tlv(&b, 4, "behind", 6);
    for (size_t i = 0; i < b.n; i++)
        for (int bit = 0; bit < 8; bit++) {
            uint32_t in = (uint32_t)((unsigned char)b.at[i] >> bit & 1) ^ (crc & 1);
            crc = crc >> 1 ^ (in ? 0x82f63b78u : 0);
        }
    crc = ~crc;
    for (int i = 0; i < 4; i++) b.at[31 + i] = (char)(crc >> (24 - 8 * i));
    EXPECT_EQ_STR(account(b.at, b.n),
                  "v2 192.0.2.1 56324 to 198.51.100.7 443, 44 bytes");
    for (size_t i = 16; i < b.n; i++) {
        struct block other = b;
        struct proxy_header h;
        const char *why;
        size_t used;
        other.at[i] ^= 1;
        EXPECT(proxy_read(other.at, other.n, &h, &used, &why) == PROXY_BAD ||
               (i >= 28 && i < 31)); /* then it is no checksum any more */
    }
    b = ipv4();
    tlv(&b, 3, "abc", 3);
    EXPECT_EQ_STR(account(b.at, b.n), "bad: its checksum is wrong");
}
