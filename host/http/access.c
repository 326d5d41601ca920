#include "http/access.h"

#include "base/clock.h"
#include "base/escape.h"

/* How long a field may be once it is escaped; with what stands between the fields they
 * make ACCESS_LINE_MAX at most. */
enum {
    REMOTE_MAX = 64,
    METHOD_MAX = 32,
    TARGET_MAX = 2048,
    REFERER_MAX = 768,
    USER_AGENT_MAX = 512,
    REQUEST_ID_MAX = 64,
    BETWEEN_MAX = 512,
};
_Static_assert(REMOTE_MAX + METHOD_MAX + TARGET_MAX + REFERER_MAX + USER_AGENT_MAX +
                       REQUEST_ID_MAX + BETWEEN_MAX <=
                   ACCESS_LINE_MAX,
               "a line may be longer than its room");

#define PUT(out, literal)                                                              \
    ((char *)memcpy((out), (literal), sizeof(literal) - 1) + sizeof(literal) - 1)

static const char pairs[] = "00010203040506070809101112131415161718192021222324"
                            "25262728293031323334353637383940414243444546474849"
                            "50515253545556575859606162636465666768697071727374"
                            "75767778798081828384858687888990919293949596979899";

static inline char *put_number(char *out, uint64_t n) {
    char digits[20];
    char *at = digits + sizeof digits;
    while (n >= 100) {
        at -= 2;
        memcpy(at, pairs + n % 100 * 2, 2);
        n /= 100;
    }
    if (n >= 10) {
        at -= 2;
        memcpy(at, pairs + n * 2, 2);
    } else {
        *--at = (char)('0' + n);
    }
    size_t len = (size_t)(digits + sizeof digits - at);
    memcpy(out, at, len);
    return out + len;
}

static inline char *put_three(char *out, unsigned n) {
    *out = (char)('0' + n / 100);
    memcpy(out + 1, pairs + n % 100 * 2, 2);
    return out + 3;
}

static inline char *put_field(char *out, struct span s, size_t max,
                              enum escape_mode mode) {
    size_t taken;
    out += escape(out, max - 3, s, mode, &taken);
    if (__builtin_expect(taken < s.len, 0)) out = PUT(out, "...");
    return out;
}

/* For the combined format, where nothing is a dash. */
static inline char *put_or_dash(char *out, struct span s, size_t max) {
    if (s.len) return put_field(out, s, max, ESCAPE_QUOTED);
    *out = '-';
    return out + 1;
}

static inline uint64_t microseconds(int64_t ns) {
    return ns > 0 ? (uint64_t)ns / 1000 : 0;
}

static char *put_combined(struct access *a, const struct access_entry *e, char *out) {
    int64_t second = e->wall_ns / CLOCK_SECOND;
    if (a->second != second) {
        clock_apache(a->time_text, second);
        a->second = second;
    }
    out = put_or_dash(out, e->remote, REMOTE_MAX);
    out = PUT(out, " - - ");
    memcpy(out, a->time_text, CLOCK_APACHE_LEN);
    out = PUT(out + CLOCK_APACHE_LEN, " \"");
    if (e->method.len) {
        out = put_field(out, e->method, METHOD_MAX, ESCAPE_QUOTED);
        *out++ = ' ';
        out = put_field(out, e->target, TARGET_MAX, ESCAPE_QUOTED);
        out = PUT(out, " HTTP/");
        *out++ = (char)('0' + e->major % 10);
        *out++ = '.';
        *out++ = (char)('0' + e->minor % 10);
    } else {
        *out++ = '-'; /* what came was no request */
    }
    out = PUT(out, "\" ");
    out = put_three(out, e->status % 1000);
    *out++ = ' ';
    if (e->bytes_out)
        out = put_number(out, e->bytes_out);
    else
        *out++ = '-'; /* Apache's %b */
    out = PUT(out, " \"");
    out = put_or_dash(out, e->referer, REFERER_MAX);
    out = PUT(out, "\" \"");
    out = put_or_dash(out, e->user_agent, USER_AGENT_MAX);
    out = PUT(out, "\" ");
    out = put_or_dash(out, e->request_id, REQUEST_ID_MAX);
    *out++ = ' ';
    uint64_t us = microseconds(e->duration_ns);
    unsigned rest = (unsigned)(us % 1000000);
    out = put_number(out, us / 1000000);
    *out++ = '.';
    out = put_three(out, rest / 1000);
    out = put_three(out, rest % 1000);
    *out++ = '\n';
    return out;
}

#define PUT_JSON(out, name, value, max)                                                \
    ((value).len ? PUT(put_field(PUT((out), name), (value), (max), ESCAPE_JSON), "\"") \
                 : (out))

static char *put_json(struct access *a, const struct access_entry *e, char *out) {
    enum { TO_SECONDS = CLOCK_RFC3339_LEN - 4 }; /* with the point behind them */
    int64_t wall_ns = e->wall_ns > 0 ? e->wall_ns : 0;
    int64_t second = wall_ns / CLOCK_SECOND;
    if (a->second != second) {
        clock_rfc3339(a->time_text, wall_ns);
        a->second = second;
    }
    out = PUT(out, "{\"time\":\"");
    memcpy(out, a->time_text, TO_SECONDS);
    out = put_three(out + TO_SECONDS, (unsigned)(wall_ns % CLOCK_SECOND / CLOCK_MS));
    out = PUT(out, "Z\",\"level\":\"info\",\"msg\":\"request\",\"isolate\":");
    out = put_number(out, a->isolate);
    out = PUT_JSON(out, ",\"request_id\":\"", e->request_id, REQUEST_ID_MAX);
    out = PUT_JSON(out, ",\"remote\":\"", e->remote, REMOTE_MAX);
    if (e->method.len) {
        const char *mark = memchr(e->target.at, '?', e->target.len);
        struct span path = e->target, query = {0};
        if (mark) {
            path.len = (size_t)(mark - path.at);
            query = span_of(mark + 1, e->target.len - path.len - 1);
        }
        out = PUT_JSON(out, ",\"method\":\"", e->method, METHOD_MAX);
        out = PUT_JSON(out, ",\"path\":\"", path, TARGET_MAX / 2);
        out = PUT_JSON(out, ",\"query\":\"", query, TARGET_MAX / 2);
        out = PUT(out, ",\"protocol\":\"HTTP/");
        *out++ = (char)('0' + e->major % 10);
        *out++ = '.';
        *out++ = (char)('0' + e->minor % 10);
        *out++ = '"';
    }
    out = PUT(out, ",\"status\":");
    out = put_number(out, e->status % 1000u); /* JSON has no leading zeros */
    out = PUT(out, ",\"bytes_out\":");
    out = put_number(out, e->bytes_out);
    out = PUT(out, ",\"bytes_in\":");
    out = put_number(out, e->bytes_in);
    out = PUT(out, ",\"duration_ms\":");
    uint64_t us = microseconds(e->duration_ns);
    out = put_number(out, us / 1000);
    *out++ = '.';
    out = put_three(out, (unsigned)(us % 1000));
    out = PUT_JSON(out, ",\"referer\":\"", e->referer, REFERER_MAX);
    out = PUT_JSON(out, ",\"user_agent\":\"", e->user_agent, USER_AGENT_MAX);
    return PUT(out, "}\n");
}

void access_init(struct access *a, enum access_format format, unsigned isolate) {
    *a = (struct access){
        .feed = log_access_feed(), .format = format, .isolate = isolate, .second = -1};
}

void access_done(struct access *a) {
    if (a->feed) log_feed_close(a->feed);
    a->feed = NULL;
}

size_t access_line(struct access *a, const struct access_entry *e, char *out) {
    char *end =
        a->format == ACCESS_JSON ? put_json(a, e, out) : put_combined(a, e, out);
    return (size_t)(end - out);
}

void access_write(struct access *a, const struct access_entry *e) {
    char line[ACCESS_LINE_MAX];
    if (!a->feed) return;
    log_feed_put(a->feed, span_of(line, access_line(a, e, line)));
}
