#include "codec/http1_write.h"

#include "base/err.h"

#define REASONS(X)                                                                     \
    X(100, "Continue")                                                                 \
    X(101, "Switching Protocols")                                                      \
    X(103, "Early Hints")                                                              \
    X(200, "OK")                                                                       \
    X(201, "Created")                                                                  \
    X(202, "Accepted")                                                                 \
    X(203, "Non-Authoritative Information")                                            \
    X(204, "No Content")                                                               \
    X(205, "Reset Content")                                                            \
    X(206, "Partial Content")                                                          \
    X(207, "Multi-Status")                                                             \
    X(208, "Already Reported")                                                         \
    X(300, "Multiple Choices")                                                         \
    X(301, "Moved Permanently")                                                        \
    X(302, "Found")                                                                    \
    X(303, "See Other")                                                                \
    X(304, "Not Modified")                                                             \
    X(307, "Temporary Redirect")                                                       \
    X(308, "Permanent Redirect")                                                       \
    X(400, "Bad Request")                                                              \
    X(401, "Unauthorized")                                                             \
    X(402, "Payment Required")                                                         \
    X(403, "Forbidden")                                                                \
    X(404, "Not Found")                                                                \
    X(405, "Method Not Allowed")                                                       \
    X(406, "Not Acceptable")                                                           \
    X(407, "Proxy Authentication Required")                                            \
    X(408, "Request Timeout")                                                          \
    X(409, "Conflict")                                                                 \
    X(410, "Gone")                                                                     \
    X(411, "Length Required")                                                          \
    X(412, "Precondition Failed")                                                      \
    X(413, "Content Too Large")                                                        \
    X(414, "URI Too Long")                                                             \
    X(415, "Unsupported Media Type")                                                   \
    X(416, "Range Not Satisfiable")                                                    \
    X(417, "Expectation Failed")                                                       \
    X(418, "I'm a teapot")                                                             \
    X(421, "Misdirected Request")                                                      \
    X(422, "Unprocessable Content")                                                    \
    X(423, "Locked")                                                                   \
    X(424, "Failed Dependency")                                                        \
    X(425, "Too Early")                                                                \
    X(426, "Upgrade Required")                                                         \
    X(428, "Precondition Required")                                                    \
    X(429, "Too Many Requests")                                                        \
    X(431, "Request Header Fields Too Large")                                          \
    X(451, "Unavailable For Legal Reasons")                                            \
    X(500, "Internal Server Error")                                                    \
    X(501, "Not Implemented")                                                          \
    X(502, "Bad Gateway")                                                              \
    X(503, "Service Unavailable")                                                      \
    X(504, "Gateway Timeout")                                                          \
    X(505, "HTTP Version Not Supported")                                               \
    X(507, "Insufficient Storage")

struct span http1_reason(int status) {
    switch (status) {
#define REASON(number, text)                                                           \
    case number: return SPAN(text);
        REASONS(REASON)
#undef REASON
    }
    return SPAN("");
}

/* RFC 9110 5.6.2: tchar. */
static bool is_tchar(unsigned char c) {
    static const uint32_t table[8] = {0, 0x03ff6cfa, 0xc7fffffe, 0x57ffffff,
                                      0, 0,          0,          0};
    return table[c >> 5] >> (c & 31) & 1;
}

bool http1_is_token(struct span s) {
    for (size_t i = 0; i < s.len; i++)
        if (!is_tchar((unsigned char)s.at[i])) return false;
    return s.len > 0;
}

/* Whether one of eight bytes is less than a blank, or DEL. */
static bool has_control(uint64_t bytes) {
    const uint64_t ones = UINT64_MAX / 255, tops = ones * 0x80;
    uint64_t del = bytes ^ ones * 0x7f;
    return (((bytes - ones * 0x20) & ~bytes) | ((del - ones) & ~del)) & tops;
}

bool http1_is_value(struct span s) {
    size_t i = 0;
    for (uint64_t word; i + sizeof word <= s.len; i += sizeof word) {
        memcpy(&word, s.at + i, sizeof word);
        if (has_control(word)) break;
    }
    for (; i < s.len; i++) {
        unsigned char c = (unsigned char)s.at[i];
        if ((c < 0x20 && c != '\t') || c == 0x7f) return false;
    }
    return true;
}

static char *put(char *to, struct span s) {
    memcpy(to, s.at, s.len);
    return to + s.len;
}

#define PUT(to, literal) put(to, SPAN(literal))

int http1_field(struct buf *out, struct span name, struct span value) {
    if (!http1_is_token(name) || !http1_is_value(value)) return ERR_SYNTAX;
    size_t n = name.len + value.len + 4;
    char *to = buf_reserve(out, n);
    if (!to) return ERR_MEMORY;
    to = PUT(put(to, name), ": ");
    PUT(put(to, value), "\r\n");
    buf_commit(out, n);
    return 0;
}

bool http1_may_trail(struct span name) {
    static const char *const forbidden[] = {
        "age",
        "authorization",
        "cache-control",
        "connection",
        "cookie",
        "date",
        "expect",
        "expires",
        "host",
        "keep-alive",
        "location",
        "max-forwards",
        "pragma",
        "range",
        "retry-after",
        "set-cookie",
        "te",
        "trailer",
        "upgrade",
        "vary",
        "warning",
        "content-type",
        "content-length",
        "content-range",
        "transfer-encoding",
        "content-encoding",
        "www-authenticate",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "authentication-info",
        "proxy-authentication-info",
    };
    for (size_t i = 0; i < sizeof forbidden / sizeof *forbidden; i++)
        if (span_case_eq(name, span_str(forbidden[i]))) return false;
    return name.len < 3 || !span_case_eq(span_of(name.at, 3), SPAN("if-"));
}

size_t http1_decimal(char *to, uint64_t n) {
    size_t count = 1;
    for (uint64_t power = 10; n >= power && count < 20; power *= 10) count++;
    for (size_t i = count; i > 0; n /= 10) to[--i] = (char)('0' + n % 10);
    return count;
}

enum { DATE = 29 }; /* bytes of an IMF-fixdate */

size_t http1_head(char *to, const struct http1_answer *a) {
    char *at = to;
    if (a->status == 200) {
        at = PUT(at, "HTTP/1.1 200 OK\r\nDate: ");
    } else {
        at = PUT(at, "HTTP/1.1 ");
        at += http1_decimal(at, (uint64_t)a->status);
        *at++ = ' ';
        at = PUT(put(at, http1_reason(a->status)), "\r\nDate: ");
    }
    if (a->date.len == DATE) /* as it always is: a copy without a call */
        at = PUT(put(at, span_of(a->date.at, DATE)), "\r\n");
    else
        at = PUT(put(at, a->date), "\r\n");
    if (a->type.len) {
        at = PUT(at, "Content-Type: ");
        at = PUT(put(at, a->type), "\r\n");
    }
    if (a->framing == HTTP1_LENGTH) {
        at = PUT(at, "Content-Length: ");
        at += http1_decimal(at, a->length);
        at = PUT(at, "\r\n");
    } else if (a->framing == HTTP1_CHUNKED) {
        at = PUT(at, "Transfer-Encoding: chunked\r\n");
    }
    if (a->close)
        at = PUT(at, "Connection: close\r\n");
    else if (a->persist)
        at = PUT(at, "Connection: keep-alive\r\n");
    return (size_t)(at - to);
}

size_t http1_chunk_head(char *to, uint64_t n) {
    static const char hex[] = "0123456789ABCDEF";
    int shift = 60;
    char *at = to;
    while (shift > 0 && !(n >> shift)) shift -= 4;
    for (; shift >= 0; shift -= 4) *at++ = hex[n >> shift & 15];
    return (size_t)(PUT(at, "\r\n") - to);
}
