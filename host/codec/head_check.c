#include "codec/head_check.h"

#include "codec/authority.h"

#include <stdint.h>

/* tchar of RFC 9110 5.6.2 */
static const bool token_chars[256] = {
    ['!'] = 1, ['#' ... '\''] = 1, ['*'] = 1,         ['+'] = 1,
    ['-'] = 1, ['.'] = 1,          ['0' ... '9'] = 1, ['^' ... 'z'] = 1,
    ['|'] = 1, ['~'] = 1,          ['A' ... 'Z'] = 1,
};

static bool is_token(char c) {
    return token_chars[(unsigned char)c];
}

static bool is_ows(char c) {
    return c == ' ' || c == '\t';
}

static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

/* at has the length, 4 or more, of the lower-case letters and hyphens in lower, which
 * is a literal: both are compared by words, the last of which overlaps the one before.
 */
static inline bool named(const char *at, const char *lower, size_t len) {
    uint32_t a, b;
    for (size_t i = 0; i < len; i += 4) {
        size_t from = i + 4 <= len ? i : len - 4;
        memcpy(&a, at + from, 4);
        memcpy(&b, lower + from, 4);
        if ((a | 0x20202020) != b) return false;
    }
    return true;
}

/* The same for values. CR would pass for a hyphen, but no value holds one. */
static bool is_word(struct span s, const char *lower, size_t len) {
    return s.len == len && named(s.at, lower, len);
}

#define IS_WORD(s, literal) is_word((s), (literal), sizeof(literal) - 1)
#define NAMED(at, literal) named((at), (literal), sizeof(literal) - 1)

static int refuse(int status, const char *reason, const char **why) {
    *why = reason;
    return status;
}

enum { VERSION_LEN = 10 }; /* "HTTP/1.1" CRLF */

int head_check_line(struct head *h, uint32_t line, const char **why) {
    const char *at = h->base;
    uint32_t end = h->target + h->target_len;
    if (h->target < 2 || h->target_len == 0 || end + 1 + VERSION_LEN != line ||
        at[h->target - 1] != ' ' || at[h->target - 2] == ' ' || at[end] != ' ')
        return refuse(400, "malformed request line", why);
    const char *version = at + end + 1;
    h->method_len = h->target - 1;
    h->minor = 1;
    if (memcmp(version, "HTTP/1.1", 8) == 0 && version[8] == '\r') return 0;
    if (memcmp(version, "HTTP/", 5) != 0 || !is_digit(version[5]) ||
        version[6] != '.' || !is_digit(version[7]) || version[8] != '\r')
        return refuse(400, "malformed request line", why);
    if (version[5] != '1') return refuse(505, "HTTP version not supported", why);
    h->minor = version[7] != '0';
    return 0;
}

int head_judge_line(const char *at, size_t len, const char **why) {
    static const char pattern[VERSION_LEN + 1] = "HTTP/0.0\r\n";
    const char *reason = "malformed request line";
    size_t i = 0, start;
    while (i < len && is_token(at[i])) i++;
    if (i == len) return -1;
    if (i == 0 || at[i] != ' ') return refuse(400, reason, why);
    for (start = ++i; i < len && at[i] > ' ' && at[i] < 0x7f; i++) {
    }
    if (i == len) return -1;
    if (i == start || at[i] != ' ') return refuse(400, reason, why);
    for (start = ++i; i < len && i - start < VERSION_LEN; i++) {
        char want = pattern[i - start];
        if (want == '0' ? !is_digit(at[i]) : at[i] != want)
            return refuse(400, reason, why);
    }
    if (i - start < VERSION_LEN) return -1;
    if (at[start + 5] != '1') return refuse(505, "HTTP version not supported", why);
    return refuse(501, "unknown method", why);
}

/* Takes the next element off a comma-separated list, without white space around it;
 * false at the end. Empty elements come as empty spans. */
static bool list_next(struct span *rest, struct span *element) {
    if (!rest->at) return false;
    const char *end = rest->at + rest->len;
    const char *comma = memchr(rest->at, ',', rest->len);
    const char *from = rest->at, *to = comma ? comma : end;
    while (from < to && is_ows(*from)) from++;
    while (to > from && is_ows(to[-1])) to--;
    *element = span_of(from, (size_t)(to - from));
    *rest = comma ? span_of(comma + 1, (size_t)(end - comma - 1)) : span_of(NULL, 0);
    return true;
}

/* What the fields say, gathered in one pass. */
struct gathered {
    struct span encoding, length;
    uint32_t encodings, lengths, hosts;
    bool close, keep, bad_host;
};

static void take_connection(struct gathered *g, struct span value) {
    struct span element;
    while (list_next(&value, &element)) {
        if (IS_WORD(element, "close")) g->close = true;
        if (IS_WORD(element, "keep-alive")) g->keep = true;
    }
}

static void take_expect(struct head *h, struct span value) {
    struct span element;
    if (h->minor == 0) return; /* RFC 9110 10.1.1: ignored */
    while (list_next(&value, &element)) {
        if (element.len == 0) continue;
        if (span_case_eq(element, SPAN("100-continue")))
            h->expect_continue = true;
        else
            h->expect_unknown = true;
    }
}

static void take_host(struct head *h, struct gathered *g, const struct head_field *f) {
    struct span value = head_value(h, f), host, port;
    g->hosts++;
    h->authority = f->value;
    h->authority_len = f->value_len;
    /* An empty one is valid: RFC 9112 3.2, "authority component is empty". */
    if (value.len == h->known_len && memcmp(value.at, h->known_host, value.len) == 0)
        return;
    if (!authority_parse(value, &host, &port)) {
        g->bad_host = true;
    } else if (value.len <= HEAD_KNOWN_HOST) {
        memcpy(h->known_host, value.at, value.len);
        h->known_len = (uint8_t)value.len;
    }
}

static void take(struct head *h, struct gathered *g, const struct head_field *f) {
    const char *name = h->base + f->name;
    switch (f->name_len) {
    case 4:
        if (NAMED(name, "host")) take_host(h, g, f);
        break;
    case 6:
        if (NAMED(name, "expect")) take_expect(h, head_value(h, f));
        break;
    case 10:
        if (NAMED(name, "connection")) take_connection(g, head_value(h, f));
        break;
    case 14:
        if (NAMED(name, "content-length")) g->lengths++, g->length = head_value(h, f);
        break;
    case 17:
        if (NAMED(name, "transfer-encoding"))
            g->encodings++, g->encoding = head_value(h, f);
        break;
    }
}

/* A list of transfer codings other than chunked, or ending in it, is well formed but
 * not implemented (501); all else is malformed. Parameters of codings count as
 * malformed: no coding that has any is in use. */
static int check_encoding(struct span value, const char **why) {
    struct span coding;
    bool chunked = false;
    if (span_case_eq(value, SPAN("chunked"))) return 0;
    while (list_next(&value, &coding)) {
        if (coding.len == 0 || chunked) goto fail;
        for (size_t i = 0; i < coding.len; i++)
            if (!is_token(coding.at[i])) goto fail;
        chunked = span_case_eq(coding, SPAN("chunked"));
    }
    return refuse(501, "transfer coding not implemented", why);
fail:
    return refuse(400, "malformed Transfer-Encoding", why);
}

static int check_framing(struct head *h, const struct gathered *g,
                         const struct head_framing *framing, const char **why) {
    if (g->encodings > 0) {
        if (h->minor == 0)
            return refuse(400, "Transfer-Encoding in an HTTP/1.0 request", why);
        if (g->encodings > 1) return refuse(400, "repeated Transfer-Encoding", why);
        if (g->lengths > 0)
            return refuse(400, "Content-Length beside Transfer-Encoding", why);
        int status = check_encoding(g->encoding, why);
        if (status) return status;
    }
    if (g->lengths > 0) {
        if (g->lengths > 1) return refuse(400, "repeated Content-Length", why);
        if (g->length.len == 0) return refuse(400, "malformed Content-Length", why);
        for (size_t i = 0; i < g->length.len; i++)
            if (!is_digit(g->length.at[i]))
                return refuse(400, "malformed Content-Length", why);
    }
    /* Two readings of the same bytes have to be one. */
    if (framing->chunked != (g->encodings > 0) ||
        framing->has_length != (g->lengths > 0))
        return refuse(400, "ambiguous framing", why);
    h->chunked = framing->chunked;
    h->content_length = framing->has_length ? framing->content_length : 0;
    h->has_body = h->chunked || h->content_length > 0;
    return 0;
}

/* Lengths of the names that take knows. */
enum { KNOWN = 1 << 4 | 1 << 6 | 1 << 10 | 1 << 14 | 1 << 17 };

/* The seams between what the callbacks recorded, byte for byte. The last byte of the
 * head is LF, so no loop over white space leaves it. */
static bool well_formed(struct head *h, uint32_t line, struct gathered *g) {
    const char *base = h->base, *at = base + line;
    struct head_field *f = h->fields, *end = f + h->field_count;
    for (; f < end; f++) {
        if (at != base + f->name || f->name_len == 0) return false;
        at += f->name_len;
        if (*at++ != ':') return false;
        while (is_ows(*at)) at++;
        if (f->value_len > 0) {
            if (at != base + f->value) return false;
            at += f->value_len;
            while (is_ows(*at)) at++;
            while (is_ows(base[f->value + f->value_len - 1])) f->value_len--;
        } else {
            f->value = (uint32_t)(at - base); /* llhttp reports it behind the line */
        }
        if (at[0] != '\r' || at[1] != '\n') return false;
        at += 2;
        if (f->name_len <= 17 && (KNOWN >> f->name_len & 1)) take(h, g, f);
    }
    return at + 2 == base + h->len && at[0] == '\r' && at[1] == '\n';
}

int head_check_fields(struct head *h, uint32_t line, const struct head_framing *framing,
                      const char **why) {
    struct gathered g = {0};
    if (!well_formed(h, line, &g)) return refuse(400, "malformed header", why);
    if (g.hosts > 1) return refuse(400, "repeated Host", why);
    if (g.hosts == 0 && h->minor > 0) return refuse(400, "missing Host", why);
    if (g.bad_host) return refuse(400, "invalid Host", why);
    h->keep_alive = !g.close && (h->minor > 0 || g.keep);
    if (g.encodings == 0 && g.lengths == 0 && !framing->chunked && !framing->has_length)
        return 0;
    return check_framing(h, &g, framing, why);
}
