#include "codec/http1_read.h"

#include "base/check.h"
#include "codec/head_check.h"

enum state {
    IDLE,       /* between requests */
    HEAD,       /* llhttp reads a head */
    METHOD,     /* it refused the method; the rest of the line decides on the status */
    LENGTH,     /* a body of known length, counted here */
    CHUNK_LINE, /* llhttp reads the end of a chunk and the size of the next */
    CHUNK_DATA,
    TRAILERS,
    ENDING, /* the body is complete, HTTP1_END not yet said */
    BAD,
};

enum { FIRST = 1, EXTENDED = 2 }; /* detail of CHUNK_LINE, bits */

/* detail of TRAILERS: what the next byte belongs to */
enum { AT_LINE, IN_LINE, AFTER_CR, AFTER_LAST_CR };

enum {
    EMPTY_LINES_MAX = 4,       /* before a request, RFC 9112 2.2 */
    CHUNK_LINE_FREE = 20,      /* CRLF, a size of 64 bits, CRLF */
    CHUNK_EXTRA_MAX = 4 << 10, /* extensions of a whole body */
};

static enum http1_event bad(struct http1_reader *r, unsigned status,
                            const char *reason) {
    r->state = BAD;
    r->status = (uint16_t)status;
    r->reason = reason;
    return HTTP1_BAD;
}

/* -- callbacks: they record offsets, and stop llhttp where an event is due -- */

static struct http1_reader *reader_of(llhttp_t *p) {
    return (struct http1_reader *)p;
}

/* Parts come in pieces when bytes do. A piece that does not continue the one before is
 * ignored: the part then does not fill its place, and head_check refuses the head. */
static int on_url(llhttp_t *p, const char *at, size_t len) {
    struct head *h = p->data;
    uint32_t offset = (uint32_t)(at - h->base);
    if (h->target == 0) h->target = offset;
    if (h->target + h->target_len == offset) h->target_len += (uint32_t)len;
    return 0;
}

static int on_complete(llhttp_t *p) {
    p->upgrade = 0; /* a body is read as one, whatever protocol was offered */
    return HPE_PAUSED;
}

static int on_pause(llhttp_t *p) {
    (void)p;
    return HPE_PAUSED;
}

/* Reads on without recording, when there are more fields than may be. */
static const llhttp_settings_t surplus_settings = {
    .on_headers_complete = on_complete,
};

static int surplus(llhttp_t *p) {
    reader_of(p)->extra = 1;
    p->settings = (void *)&surplus_settings;
    return 0;
}

static int on_name(llhttp_t *p, const char *at, size_t len) {
    struct head *h = p->data;
    uint32_t offset = (uint32_t)(at - h->base);
    struct head_field *f = h->fields + h->field_count - 1;
    if (h->field_count == 0 || f->value > 0) {
        if (h->field_count == h->field_capacity ||
            h->field_count >= reader_of(p)->limits->header_count_max)
            return surplus(p);
        h->field_count++;
        *++f = (struct head_field){.name = offset};
    }
    if (len > (size_t)UINT16_MAX - f->name_len) return surplus(p);
    if (f->name + f->name_len == offset) f->name_len += (uint16_t)len;
    return 0;
}

static int on_value(llhttp_t *p, const char *at, size_t len) {
    struct head *h = p->data;
    uint32_t offset = (uint32_t)(at - h->base);
    struct head_field *f = h->fields + h->field_count - 1;
    if (f->value == 0) f->value = offset;
    if (f->value + f->value_len == offset) f->value_len += (uint32_t)len;
    return 0;
}

static const llhttp_settings_t head_settings = {
    .on_url = on_url,
    .on_header_field = on_name,
    .on_header_value = on_value,
    .on_headers_complete = on_complete,
};

/* No on_body: data are counted, and llhttp is given just as many. */
static const llhttp_settings_t chunked_settings = {
    .on_chunk_header = on_pause,
    .on_message_complete = on_pause,
};

/* The same parser, compiled to skip 16 bytes at once. */
#ifdef ATOLL_LLHTTP_TWICE
int llhttp_sse42_execute(llhttp_t *p, const char *at, const char *end);
#endif

static llhttp_errno_t execute(llhttp_t *p, const char *at, size_t len) {
#ifdef ATOLL_LLHTTP_TWICE
    if (__builtin_cpu_supports("sse4.2")) return llhttp_sse42_execute(p, at, at + len);
#endif
    return llhttp_execute(p, at, len);
}

/* -- the head -- */

/* Length of the empty lines at the front, or -1 when there is something wrong with
 * them. */
static int empty_lines(struct http1_reader *r, const char *at, size_t len) {
    size_t n = 0;
    while (n < len && (at[n] == '\r' || at[n] == '\n')) {
        if (at[n] == '\n' || r->detail == EMPTY_LINES_MAX) return -1;
        if (n + 1 == len) break;
        if (at[n + 1] != '\n') return -1;
        n += 2;
        r->detail++;
    }
    return (int)n;
}

static enum http1_event read_method(struct http1_reader *r, const char *at,
                                    size_t len) {
    size_t max = (size_t)r->limits->request_line_max + 2;
    const char *reason = NULL;
    int status = head_judge_line(at, len < max ? len : max, &reason);
    if (status > 0) return bad(r, (unsigned)status, reason);
    if (len >= max) return bad(r, 414, "request line too long");
    r->state = METHOD;
    return HTTP1_MORE;
}

static enum http1_event head_complete(struct http1_reader *r, size_t *used) {
    struct head *h = r->parser.data;
    const char *reason = NULL;
    struct head_framing framing = {
        .content_length = r->parser.content_length,
        .has_length = r->parser.flags & F_CONTENT_LENGTH,
        .chunked = r->parser.flags & F_CHUNKED,
    };
    if (r->extra) return bad(r, 431, "too many header fields");
    int status = head_check_fields(h, r->line, &framing, &reason);
    if (status) return bad(r, (unsigned)status, reason);
    h->method = r->parser.method;
    if (h->method == HTTP_CONNECT)
        h->has_body = h->chunked = false, h->content_length = 0;
    if (h->memo && !framing.has_length && !h->expect_continue && !h->expect_unknown)
        head_memo_learn(h->memo, &r->habit, h, r->line);
    *used += h->len;
    r->parser.data = NULL;
    r->parser.content_length = h->content_length;
    r->state = h->has_body ? LENGTH : IDLE;
    if (h->chunked) {
        r->state = CHUNK_LINE;
        r->parser.settings = (void *)&chunked_settings;
        r->parsed = 0;
        r->detail = FIRST;
    }
    return HTTP1_HEAD;
}

/* Afresh, since after `Connection: close` llhttp takes nothing more. Versions are
 * looked at by head_check, which lets HTTP/1.2 be read as 1.1. */
static void start_parser(struct http1_reader *r) {
    void *head = r->parser.data;
    llhttp_init(&r->parser, HTTP_REQUEST, &head_settings);
    r->parser.lenient_flags = LENIENT_VERSION;
    r->parser.data = head;
}

/* llhttp is never given more than the limits allow, so that whether a limit or an error
 * is met first does not depend on how the bytes come. */
static enum http1_event read_head(struct http1_reader *r, const char *at, size_t len,
                                  size_t *used) {
    struct head *h = r->parser.data;
    const char *reason = NULL;
    bool line_ends = false;
    if (r->parsed == 0) {
        int n = empty_lines(r, at, len);
        if (n < 0) return bad(r, 400, "malformed request line");
        *used = (size_t)n;
        at += n;
        len -= (size_t)n;
        if (len == 0 || at[0] == '\r') return HTTP1_MORE;
    }
    size_t max = (size_t)r->limits->request_line_max + 2;
    if (r->line == 0) {
        size_t end = len < max ? len : max;
        const char *lf = memchr(at + r->parsed, '\n', end - r->parsed);
        if (lf) r->line = (uint32_t)(lf - at) + 1, line_ends = true;
    }
    if (r->line > 0) max = (size_t)r->line + r->limits->header_bytes_max + 2;
    size_t end = len < max ? len : max;
    if (end == r->parsed) return HTTP1_MORE;

    h->base = at;
    if (r->parsed == 0 && h->memo && r->line > 0 &&
        head_memo_recall(h->memo, &r->habit, h, r->line, end,
                         r->limits->header_count_max, r->limits->header_bytes_max)) {
        *used += h->len;
        r->parser.data = NULL;
        r->state = IDLE;
        return HTTP1_HEAD;
    }
    if (r->parsed == 0) start_parser(r);
    llhttp_errno_t err = execute(&r->parser, at + r->parsed, end - r->parsed);
    if (err != HPE_OK) end = (size_t)(llhttp_get_error_pos(&r->parser) - at);
    if (line_ends && end >= r->line) {
        int status = head_check_line(h, r->line, &reason);
        if (status) return bad(r, (unsigned)status, reason);
        if (r->parser.method > HTTP_SOURCE) return bad(r, 501, "unknown method");
    }
    if (err == HPE_PAUSED) {
        h->len = (uint32_t)end;
        return head_complete(r, used);
    }
    if (err == HPE_INVALID_METHOD || err == HPE_INVALID_CONSTANT)
        return read_method(r, at, len);
    if (err != HPE_OK) return bad(r, 400, llhttp_get_error_reason(&r->parser));
    r->parsed = (uint32_t)end;
    if (end < max) return HTTP1_MORE;
    if (r->line == 0) return bad(r, 414, "request line too long");
    return bad(r, 431, "header fields too large");
}

/* -- the body -- */

static enum http1_event read_length(struct http1_reader *r, const char *at, size_t len,
                                    size_t *used, struct span *body) {
    uint64_t *left = &r->parser.content_length;
    size_t n = len < *left ? len : (size_t)*left;
    if (n == 0) return HTTP1_MORE;
    *left -= n;
    if (*left == 0) r->state = ENDING;
    *used = n;
    *body = span_of(at, n);
    return HTTP1_BODY;
}

/* What a chunk line of that size takes when nothing is superfluous. */
static uint32_t plain_line(uint64_t size, bool first) {
    uint32_t n = first ? 2 : 4; /* CRLF of the data before, and its own */
    do n++;
    while (size >>= 4);
    return n;
}

static enum http1_event read_chunk_line(struct http1_reader *r, const char *at,
                                        size_t len, size_t *used) {
    size_t max = CHUNK_LINE_FREE + CHUNK_EXTRA_MAX - r->extra;
    size_t end = len < max - r->parsed ? len : max - r->parsed;
    if (end == 0) return HTTP1_MORE;
    llhttp_resume(&r->parser);
    llhttp_errno_t err = execute(&r->parser, at, end);
    if (err != HPE_OK && err != HPE_PAUSED)
        return bad(r, 400, llhttp_get_error_reason(&r->parser));
    if (err == HPE_PAUSED) end = (size_t)(llhttp_get_error_pos(&r->parser) - at);
    if (memchr(at, ';', end)) r->detail |= EXTENDED;
    r->parsed += (uint32_t)end;
    *used = end;
    if (err == HPE_OK)
        return r->parsed < max ? HTTP1_MORE : bad(r, 400, "chunk line too long");

    uint64_t size = r->parser.content_length;
    /* Zeros before the size are free as long as the line is short. */
    if (r->parsed > CHUNK_LINE_FREE || (r->detail & EXTENDED))
        r->extra += r->parsed - plain_line(size, r->detail & FIRST);
    if (r->extra > CHUNK_EXTRA_MAX) return bad(r, 400, "chunk extensions too long");
    r->state = size > 0 ? CHUNK_DATA : TRAILERS;
    r->parsed = r->detail = 0;
    if (r->state == TRAILERS) r->extra = 0;
    return HTTP1_MORE;
}

static enum http1_event read_chunk_data(struct http1_reader *r, const char *at,
                                        size_t len, size_t *used, struct span *body) {
    uint64_t left = r->parser.content_length;
    size_t n = len < left ? len : (size_t)left;
    if (n == 0) return HTTP1_MORE;
    llhttp_resume(&r->parser);
    if (execute(&r->parser, at, n) != HPE_OK) return bad(r, 400, "malformed chunk");
    if (n == left) r->state = CHUNK_LINE; /* else llhttp has counted */
    *used = n;
    *body = span_of(at, n);
    return HTTP1_BODY;
}

/* Goes along the lines of the trailers, which llhttp would also take with folds or
 * without a name, and counts. Returns how many bytes are well formed and within the
 * limits; when the byte after those is not, *status and *why say so. *last is set at
 * the end of the section.
 */
static size_t trailer_lines(struct http1_reader *r, const char *at, size_t len,
                            bool *last, unsigned *status, const char **why) {
    size_t max = (size_t)r->limits->header_bytes_max + 2 - r->parsed, i;
    for (i = 0; i < len && !*last; i++) {
        char c = at[i];
        bool right = c != '\n';
        bool starts = r->detail == AT_LINE && c != '\r';
        if (i == max || (starts && r->extra == r->limits->header_count_max)) {
            *status = 431, *why = "trailers too large";
            break;
        }
        switch (r->detail) {
        case AT_LINE:
            if (c == ' ' || c == '\t' || c == ':') right = false; /* fold, no name */
            if (starts) r->extra++;
            r->detail = starts ? IN_LINE : AFTER_LAST_CR;
            break;
        case IN_LINE:
            if (c == '\r') r->detail = AFTER_CR;
            break;
        case AFTER_CR:
            right = c == '\n';
            r->detail = AT_LINE;
            break;
        default: right = *last = c == '\n';
        }
        if (!right) {
            *status = 400, *why = "malformed trailers";
            break;
        }
    }
    r->parsed += (uint32_t)i;
    return i;
}

static enum http1_event read_trailers(struct http1_reader *r, const char *at,
                                      size_t len, size_t *used, struct span *trailers) {
    unsigned status = 0;
    const char *reason = NULL;
    bool last = false;
    size_t end = trailer_lines(r, at, len, &last, &status, &reason);
    if (end > 0) {
        llhttp_resume(&r->parser);
        llhttp_errno_t err = execute(&r->parser, at, end);
        if (err != (last ? HPE_PAUSED : HPE_OK))
            return bad(r, 400, "malformed trailers");
    }
    if (status) return bad(r, status, reason);
    *used = end;
    *trailers = span_of(at, end);
    if (last) r->state = r->extra ? ENDING : IDLE;
    if (r->extra && end) return HTTP1_TRAILERS;
    return last ? HTTP1_END : HTTP1_MORE;
}

static enum http1_event read_chunked(struct http1_reader *r, const char *at, size_t len,
                                     size_t *used, struct span *body) {
    size_t line = 0;
    enum http1_event event = HTTP1_MORE;
    if (r->state == CHUNK_LINE) event = read_chunk_line(r, at, len, &line);
    if (r->state == CHUNK_DATA)
        event = read_chunk_data(r, at + line, len - line, used, body);
    else if (r->state == TRAILERS)
        event = read_trailers(r, at + line, len - line, used, body);
    *used += line;
    return event;
}

/* -- the room's door -- */

void http1_reader_init(struct http1_reader *r, const struct http1_limits *limits) {
    CHECK(limits->request_line_max >= 64);
    CHECK((uint64_t)limits->request_line_max + limits->header_bytes_max < INT32_MAX);
    memset(r, 0, sizeof(*r));
    r->limits = limits;
    r->state = IDLE;
}

void http1_read_begin(struct http1_reader *r, struct head *head) {
    if (r->state == BAD) return;
    CHECK(r->state == IDLE);
    memset(head, 0, offsetof(struct head, fields));
    r->parser.data = head;
    r->parsed = r->line = r->extra = 0;
    r->detail = 0;
    r->state = HEAD;
}

enum http1_event http1_read(struct http1_reader *r, const char *at, size_t len,
                            size_t *used, struct span *body) {
    enum http1_event event = HTTP1_MORE;
    *used = 0;
    switch ((enum state)r->state) {
    case IDLE: break;
    case HEAD: event = read_head(r, at, len, used); break;
    case METHOD: event = read_method(r, at, len); break;
    case LENGTH: return read_length(r, at, len, used, body);
    case CHUNK_LINE:
    case CHUNK_DATA:
    case TRAILERS: event = read_chunked(r, at, len, used, body); break;
    case ENDING: r->state = IDLE; return HTTP1_END;
    case BAD: event = HTTP1_BAD; break;
    }
    if (event == HTTP1_BAD) *used = 0;
    return event;
}
