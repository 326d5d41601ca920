#include "codec/proxy_protocol.h"

#include "codec/authority.h"

#include <arpa/inet.h>

enum { FIXED = 16, TLV_HEAD = 3, TLS_HEAD = 5, CRC = 4, UNIQUE_ID_MAX = 128 };
enum { PATH = 108 }; /* bytes of a unix address */

static const char signature[12] = "\r\n\r\n\0\r\nQUIT\n";

static enum proxy_result bad(const char **why, const char *what) {
    *why = what;
    return PROXY_BAD;
}

/* ---- version 1: a line ---- */

static bool take_word(struct span *rest, struct span *word) {
    const char *blank = memchr(rest->at, ' ', rest->len);
    size_t len = blank ? (size_t)(blank - rest->at) : rest->len;
    *word = span_of(rest->at, len);
    size_t past = len + (blank != NULL);
    *rest = span_of(rest->at + past, rest->len - past);
    return len > 0;
}

static bool read_port(struct span text, uint16_t *to) {
    unsigned n = 0;
    if (!text.len || text.len > 5 || (text.len > 1 && text.at[0] == '0')) return false;
    for (size_t i = 0; i < text.len; i++) {
        if (text.at[i] < '0' || text.at[i] > '9') return false;
        n = n * 10 + (unsigned)(text.at[i] - '0');
    }
    *to = (uint16_t)n;
    return n <= UINT16_MAX;
}

/* Behind "PROXY ", without the line's end. */
static enum proxy_result read_line(struct span line, struct proxy_header *h,
                                   const char **why) {
    struct span word, source, target, from, to;
    bool blank_last = line.len && line.at[line.len - 1] == ' ';
    if (!take_word(&line, &word)) return bad(why, "its protocol is missing");
    if (span_eq(word, SPAN("UNKNOWN"))) return PROXY_DONE; /* whatever follows */
    bool v6 = span_eq(word, SPAN("TCP6"));
    if (!v6 && !span_eq(word, SPAN("TCP4")))
        return bad(why, "its protocol is none of TCP4, TCP6 and UNKNOWN");
    if (!take_word(&line, &source) || !take_word(&line, &target) ||
        !take_word(&line, &from) || !take_word(&line, &to) || line.len || blank_last)
        return bad(why, "it does not have two addresses and two ports");
    int family = v6 ? AF_INET6 : AF_INET;
    if (!authority_ip(source, family, h->source) ||
        !authority_ip(target, family, h->target))
        return bad(why, "it has a malformed address");
    if (!read_port(from, &h->source_port) || !read_port(to, &h->target_port))
        return bad(why, "it has a malformed port");
    h->family = v6 ? PROXY_IPV6 : PROXY_IPV4;
    return PROXY_DONE;
}

static enum proxy_result read_v1(const char *at, size_t n, struct proxy_header *h,
                                 size_t *used, const char **why) {
    enum { BEFORE = sizeof "PROXY " - 1 };
    size_t within = n < PROXY_V1_MAX ? n : PROXY_V1_MAX;
    const char *end = memchr(at, '\n', within), *cr = memchr(at, '\r', within);
    h->version = 1;
    if (end && (!cr || cr + 1 != end)) return bad(why, "its line does not end in CRLF");
    /* Whatever comes behind a CR must be an LF. */
    if (!end && cr && cr + 1 < at + within)
        return bad(why, "its line does not end in CRLF");
    if (!end && n >= PROXY_V1_MAX) return bad(why, "its line is longer than 107 bytes");
    if (!end) return PROXY_MORE;
    *used = (size_t)(end + 1 - at);
    return read_line(span_of(at + BEFORE, (size_t)(cr - at) - BEFORE), h, why);
}

/* ---- version 2: binary ---- */

static unsigned sixteen(const char *at) {
    return (unsigned)(unsigned char)at[0] << 8 | (unsigned char)at[1];
}

static uint32_t thirty_two(const char *at) {
    return (uint32_t)sixteen(at) << 16 | sixteen(at + 2);
}

/* CRC-32C (RFC 9260, appendix A) of the header as if the four bytes at `hole`, where it
 * stands, were zero. Bit by bit: these are some hundred bytes, once a connection. */
static uint32_t crc32c(const char *at, size_t n, const char *hole) {
    uint32_t crc = ~0u;
    for (size_t i = 0; i < n; i++) {
        bool in_hole = at + i >= hole && at + i < hole + CRC;
        crc ^= in_hole ? 0 : (unsigned char)at[i];
        for (int bit = 0; bit < 8; bit++) crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78u : 0);
    }
    return ~crc;
}

/* The next type, length and value; false at the end, or with *broken. */
static bool next_tlv(struct span *rest, unsigned *type, struct span *value,
                     bool *broken) {
    if (!rest->len) return false;
    size_t len = rest->len >= TLV_HEAD ? sixteen(rest->at + 1) : 0;
    *broken = rest->len < TLV_HEAD || len > rest->len - TLV_HEAD;
    if (*broken) return false;
    *type = (unsigned char)rest->at[0];
    *value = span_of(rest->at + TLV_HEAD, len);
    *rest = span_of(value->at + len, rest->len - TLV_HEAD - len);
    return true;
}

static bool read_tls(struct span all, struct proxy_header *h) {
    enum { CLIENT_TLS = 1, VERSION = 0x21, NAME = 0x22 };
    struct span rest, value, name = {0};
    unsigned type;
    bool broken = false;
    if (all.len < TLS_HEAD) return false;
    h->secure = all.at[0] & CLIENT_TLS;
    rest = span_of(all.at + TLS_HEAD, all.len - TLS_HEAD);
    while (next_tlv(&rest, &type, &value, &broken)) {
        if (type == VERSION) h->tls_version = value;
        if (type == NAME) name = value;
    }
    if (thirty_two(all.at + 1) == 0) h->tls_name = name;
    return !broken;
}

static enum proxy_result read_tlvs(struct span header, struct span rest,
                                   struct proxy_header *h, const char **why) {
    enum { ALPN = 1, AUTHORITY, CRC32C, UNIQUE_ID = 5, TLS = 0x20 };
    struct span value;
    unsigned type;
    bool broken = false;
    while (next_tlv(&rest, &type, &value, &broken)) {
        switch (type) {
        case ALPN: h->alpn = value; break;
        case AUTHORITY: h->authority = value; break;
        case UNIQUE_ID:
            if (value.len > UNIQUE_ID_MAX)
                return bad(why, "its unique id is longer than 128 bytes");
            h->unique_id = value;
            break;
        case CRC32C:
            if (value.len != CRC ||
                thirty_two(value.at) != crc32c(header.at, header.len, value.at))
                return bad(why, "its checksum is wrong");
            break;
        case TLS:
            if (!read_tls(value, h)) broken = true;
            break;
        }
        if (broken) break;
    }
    return broken ? bad(why, "what follows its addresses is malformed") : PROXY_DONE;
}

static struct span path_of(const char *at) {
    return span_of(at, strnlen(at, PATH));
}

static size_t address_size(enum proxy_family family) {
    switch (family) {
    case PROXY_NOBODY: return 0;
    case PROXY_IPV4: return 4;
    case PROXY_IPV6: return 16;
    case PROXY_UNIX: return PATH;
    }
    return 0;
}

/* The block behind the fixed part. */
static enum proxy_result read_block(struct span header, unsigned kind,
                                    struct proxy_header *h, const char **why) {
    enum { STREAM = 1, DATAGRAM };
    const char *at = header.at + FIXED;
    size_t n = header.len - FIXED;
    enum proxy_family family = (enum proxy_family)(kind >> 4);
    unsigned transport = kind & 15;
    if (family > PROXY_UNIX || transport > DATAGRAM)
        return bad(why, "its address family or protocol is unknown");
    size_t size = address_size(family), ports = family && family != PROXY_UNIX ? 4 : 0;
    if (n < 2 * size + ports) return bad(why, "its addresses are cut short");
    struct span rest = span_of(at + 2 * size + ports, n - 2 * size - ports);
    /* It is free to say anything of what nobody can connect with. */
    if (family == PROXY_NOBODY || transport != STREAM) return PROXY_DONE;
    h->family = family;
    if (family == PROXY_UNIX) {
        h->source_path = path_of(at);
        h->target_path = path_of(at + PATH);
    } else {
        memcpy(h->source, at, size);
        memcpy(h->target, at + size, size);
        h->source_port = (uint16_t)sixteen(at + 2 * size);
        h->target_port = (uint16_t)sixteen(at + 2 * size + 2);
    }
    return read_tlvs(header, rest, h, why);
}

static enum proxy_result read_v2(const char *at, size_t n, struct proxy_header *h,
                                 size_t *used, const char **why) {
    enum { LOCAL, PROXY };
    unsigned char head[4] = {0};
    h->version = 2;
    memcpy(head, at + sizeof signature, n < FIXED ? n - sizeof signature : 4);
    if (n > 12 && head[0] >> 4 != 2) return bad(why, "its version is not 1 or 2");
    if (n > 12 && (head[0] & 15) > PROXY) return bad(why, "its command is unknown");
    if (n < FIXED) return PROXY_MORE;
    size_t whole = FIXED + sixteen(at + 14);
    if (whole > PROXY_HEADER_MAX) return bad(why, "it is longer than 4096 bytes");
    if (n < whole) return PROXY_MORE;
    *used = whole;
    h->local = (head[0] & 15) == LOCAL;
    /* Whatever follows, the family included, is to be ignored. */
    return h->local ? PROXY_DONE : read_block(span_of(at, whole), head[1], h, why);
}

/* ---- either ---- */

/* How the first bytes begin: 1 as all of start, 0 as far as they go, -1 not. */
static int begins(const char *at, size_t n, const char *start, size_t len) {
    size_t common = n < len ? n : len;
    return memcmp(at, start, common) != 0 ? -1 : common == len;
}

enum proxy_result proxy_read(const char *at, size_t n, struct proxy_header *h,
                             size_t *used, const char **why) {
    *h = (struct proxy_header){0};
    *used = 0;
    *why = "";
    if (!n) return PROXY_MORE;
    int one = begins(at, n, "PROXY ", 6), two = begins(at, n, signature, 12);
    if (one < 0 && two < 0) return bad(why, "what comes is no PROXY header");
    if (one > 0) return read_v1(at, n, h, used, why);
    return two > 0 ? read_v2(at, n, h, used, why) : PROXY_MORE;
}
