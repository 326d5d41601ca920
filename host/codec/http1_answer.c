#include "codec/http1_answer.h"

#include "codec/http1_write.h"

enum state {
    STATUS_LINE,
    FIELDS,
    LENGTH,
    CHUNK_SIZE,
    CHUNK_LF, /* of the line of its size */
    CHUNK_DATA,
    DATA_CR, /* behind the data */
    DATA_LF,
    TRAILERS,
    UNTIL_CLOSE,
    ENDING, /* complete, ANSWER_END not yet said */
    DONE,
    BAD,
};

enum { SIZE_DIGITS_MAX = 16 };

static enum answer_event bad(struct answer_reader *r, const char *why) {
    r->state = BAD;
    r->why = why;
    return ANSWER_BAD;
}

static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

static bool is_blank(char c) {
    return c == ' ' || c == '\t';
}

static struct span trimmed(struct span s) {
    while (s.len && is_blank(s.at[0])) s.at++, s.len--;
    while (s.len && is_blank(s.at[s.len - 1])) s.len--;
    return s;
}

/* Takes the next element off a comma-separated list; false at the end. */
static bool list_next(struct span *rest, struct span *element) {
    if (!rest->at) return false;
    const char *comma = memchr(rest->at, ',', rest->len);
    size_t len = comma ? (size_t)(comma - rest->at) : rest->len;
    *element = trimmed(span_of(rest->at, len));
    *rest = comma ? span_of(comma + 1, rest->len - len - 1) : span_of(NULL, 0);
    return true;
}

/* ---- lines ---- */

/* The line at `from` without its CRLF, and *next behind it: 1; 0 when it is not whole;
 * -1 when its end is a bare LF. */
static int line_at(const char *at, size_t len, size_t from, struct span *line,
                   size_t *next) {
    const char *lf = memchr(at + from, '\n', len - from);
    if (!lf) return 0;
    size_t end = (size_t)(lf - at);
    if (end == from || at[end - 1] != '\r') return -1;
    *line = span_of(at + from, end - 1 - from);
    *next = end + 1;
    return 1;
}

static bool split(struct span line, struct span *name, struct span *value) {
    const char *colon = memchr(line.at, ':', line.len);
    if (!colon) return false;
    *name = span_of(line.at, (size_t)(colon - line.at));
    *value = trimmed(span_of(colon + 1, line.len - name->len - 1));
    return true;
}

bool answer_field(struct span *rest, struct span *name, struct span *value) {
    struct span line;
    size_t next;
    if (line_at(rest->at, rest->len, 0, &line, &next) != 1 || !split(line, name, value))
        return false;
    *rest = span_of(rest->at + next, rest->len - next);
    return true;
}

/* ---- the head ---- */

static bool status_line(struct answer_reader *r, struct span line, const char **why) {
    struct answer_head *h = &r->head;
    static const char version[] = "HTTP/1.";
    enum { PREFIX = sizeof version - 1, STATUS = PREFIX + 2, REASON = STATUS + 4 };
    *why = "malformed status line";
    if (line.len < REASON - 1 || memcmp(line.at, version, 5) != 0) return false;
    const char *s = line.at + STATUS;
    if (!is_digit(line.at[5]) || line.at[6] != '.' || !is_digit(line.at[PREFIX]) ||
        line.at[STATUS - 1] != ' ' || !is_digit(s[0]) || !is_digit(s[1]) ||
        !is_digit(s[2]))
        return false;
    if (line.at[5] != '1') {
        *why = "HTTP version not supported";
        return false;
    }
    h->minor = line.at[PREFIX] != '0';
    h->status = (uint16_t)((s[0] - '0') * 100 + (s[1] - '0') * 10 + (s[2] - '0'));
    if (h->status < 100) return false;
    h->reason = h->reason_len = 0;
    /* Servers without a reason often leave out the space before it. */
    if (line.len < REASON) return true;
    h->reason = REASON;
    h->reason_len = (uint32_t)(line.len - REASON);
    return s[3] == ' ' && http1_is_value(span_of(line.at + REASON, line.len - REASON));
}

static const char *take_length(struct answer_reader *r, struct span value) {
    if (r->lengths) return "repeated Content-Length";
    r->lengths = 1;
    r->length = 0;
    if (!value.len) return "malformed Content-Length";
    for (size_t i = 0; i < value.len; i++) {
        if (!is_digit(value.at[i])) return "malformed Content-Length";
        uint64_t digit = (uint64_t)(value.at[i] - '0');
        if (r->length > (INT64_MAX - digit) / 10) return "Content-Length too large";
        r->length = r->length * 10 + digit;
    }
    return NULL;
}

static const char *take_encoding(struct answer_reader *r, struct span value) {
    if (r->encodings) return "repeated Transfer-Encoding";
    r->encodings = 1;
    return span_case_eq(value, SPAN("chunked")) ? NULL
                                                : "transfer coding not implemented";
}

static void take_connection(struct answer_reader *r, struct span value) {
    struct span element;
    while (list_next(&value, &element)) {
        if (span_case_eq(element, SPAN("close"))) r->close = true;
        if (span_case_eq(element, SPAN("keep-alive"))) r->keep = true;
    }
}

static void take_coding(struct answer_head *h, struct span value) {
    struct span element;
    while (list_next(&value, &element)) {
        if (!element.len || span_case_eq(element, SPAN("identity"))) continue;
        if (h->coding != ANSWER_IDENTITY)
            h->coding = ANSWER_UNKNOWN; /* several */
        else if (span_case_eq(element, SPAN("gzip")) ||
                 span_case_eq(element, SPAN("x-gzip")))
            h->coding = ANSWER_GZIP;
        else if (span_case_eq(element, SPAN("deflate")))
            h->coding = ANSWER_DEFLATE;
        else
            h->coding = ANSWER_UNKNOWN;
    }
}

/* NULL, or what is wrong. */
static const char *field(struct answer_reader *r, struct span line, bool trailer) {
    struct span name, value;
    if (!split(line, &name, &value) || !http1_is_token(name) || !http1_is_value(value))
        return trailer ? "malformed trailers" : "malformed header";
    if (++r->field_count > ANSWER_FIELDS_MAX) return "too many header fields";
    if (trailer) return NULL;
    switch (name.len) {
    case 10:
        if (span_case_eq(name, SPAN("connection"))) take_connection(r, value);
        break;
    case 14:
        if (span_case_eq(name, SPAN("content-length"))) return take_length(r, value);
        break;
    case 16:
        if (span_case_eq(name, SPAN("content-encoding"))) take_coding(&r->head, value);
        break;
    case 17:
        if (span_case_eq(name, SPAN("transfer-encoding")))
            return take_encoding(r, value);
        break;
    }
    return NULL;
}

/* RFC 9112 6.3 */
static const char *frame(struct answer_reader *r) {
    struct answer_head *h = &r->head;
    if (r->encodings && r->lengths) return "Content-Length beside Transfer-Encoding";
    if (r->encodings && h->minor == 0) return "Transfer-Encoding in HTTP/1.0";
    h->keep_alive = !r->close && (h->minor > 0 || r->keep);
    h->length = 0;
    if ((r->to == ANSWER_TO_CONNECT && h->status / 100 == 2) ||
        (r->to == ANSWER_TO_UPGRADE && h->status == 101)) {
        h->framing = ANSWER_TUNNEL;
        h->keep_alive = false;
    } else if (r->to == ANSWER_TO_HEAD || http1_bodiless(h->status)) {
        h->framing = ANSWER_NO_BODY;
        /* There should be no body; whether the server knows that is in doubt. */
        if (r->to != ANSWER_TO_HEAD && h->status == 204 && (r->encodings || r->length))
            h->keep_alive = false;
    } else if (r->encodings) {
        h->framing = ANSWER_CHUNKED;
    } else if (r->lengths) {
        h->framing = r->length ? ANSWER_LENGTH : ANSWER_NO_BODY;
        h->length = r->length;
    } else {
        h->framing = ANSWER_UNTIL_CLOSE;
        h->keep_alive = false;
    }
    return NULL;
}

static void begin_head(struct answer_reader *r) {
    r->state = STATUS_LINE;
    r->line = 0;
    r->field_count = 0;
    r->lengths = r->encodings = 0;
    r->length = 0;
    r->close = r->keep = false;
    r->head = (struct answer_head){0};
}

static enum answer_event head_complete(struct answer_reader *r, size_t *used) {
    struct answer_head *h = &r->head;
    const char *why = frame(r);
    if (why) return bad(r, why);
    h->len = r->line;
    *used = h->len;
    r->heads += h->len;
    if (h->status == 101 && r->to != ANSWER_TO_UPGRADE)
        return bad(r, "an upgrade that nobody asked for");
    if (h->status < 200 && h->framing != ANSWER_TUNNEL) {
        if (++r->interim > ANSWER_INTERIM_MAX) return bad(r, "too many 1xx answers");
        uint16_t status = h->status;
        begin_head(r);
        h->status = status;
        return ANSWER_INTERIM;
    }
    r->left = h->length;
    r->line = 0;
    switch (h->framing) {
    case ANSWER_NO_BODY: r->state = ENDING; break;
    case ANSWER_LENGTH: r->state = LENGTH; break;
    case ANSWER_CHUNKED:
        r->state = CHUNK_SIZE;
        r->digits = 0;
        r->in_extension = false;
        break;
    case ANSWER_UNTIL_CLOSE: r->state = UNTIL_CLOSE; break;
    case ANSWER_TUNNEL: r->state = ENDING; break;
    }
    return ANSWER_HEAD;
}

/* Lines of a head or of trailers, each judged once. True at the empty line, with
 * r->line behind it. */
static bool lines(struct answer_reader *r, const char *at, size_t len,
                  enum answer_event *event) {
    size_t max = ANSWER_HEAD_MAX - r->heads, room = len < max ? len : max, next;
    struct span line;
    *event = ANSWER_MORE;
    for (;;) {
        int found = line_at(at, room, r->line, &line, &next);
        if (found == 0) {
            if (room == max) *event = bad(r, "header fields too large");
            return false;
        }
        if (found < 0) {
            *event = bad(r, "a line does not end with CRLF");
            return false;
        }
        const char *why = NULL;
        if (r->state == STATUS_LINE) {
            if (!status_line(r, line, &why)) {
                *event = bad(r, why);
                return false;
            }
            r->state = FIELDS;
            r->head.fields = (uint32_t)next;
        } else if (line.len == 0) {
            r->line = (uint32_t)next;
            return true;
        } else if ((why = field(r, line, r->state == TRAILERS))) {
            *event = bad(r, why);
            return false;
        }
        r->line = (uint32_t)next;
    }
}

static enum answer_event read_head(struct answer_reader *r, const char *at, size_t len,
                                   size_t *used) {
    static const char start[] = "HTTP/";
    enum answer_event event;
    if (r->state == STATUS_LINE) {
        size_t n = len < sizeof start - 1 ? len : sizeof start - 1;
        /* What is no HTTP at all may have no lines. */
        if (memcmp(at, start, n) != 0) return bad(r, "malformed status line");
    }
    return lines(r, at, len, &event) ? head_complete(r, used) : event;
}

/* ---- the body ---- */

static enum answer_event read_data(struct answer_reader *r, const char *at, size_t len,
                                   size_t *used, struct span *body, int after) {
    size_t n = len < r->left ? len : (size_t)r->left;
    if (n == 0) return ANSWER_MORE;
    r->left -= n;
    if (r->left == 0) r->state = (uint8_t)after;
    *used += n;
    *body = span_of(at, n);
    return ANSWER_BODY;
}

static int hex(char c) {
    if (is_digit(c)) return c - '0';
    c = ascii_lower(c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* One byte of the line that gives a chunk's size. NULL, or what is wrong. */
static const char *size_byte(struct answer_reader *r, char c) {
    int digit = r->in_extension ? -1 : hex(c);
    if (digit >= 0) {
        if (r->digits == 0) r->left = 0;
        if (++r->digits > SIZE_DIGITS_MAX || r->left > (uint64_t)INT64_MAX >> 4)
            return "chunk too large";
        r->left = r->left << 4 | (uint64_t)digit;
        return NULL;
    }
    if (!r->digits) return "malformed chunk size";
    if (c == '\r') {
        r->state = CHUNK_LF;
        return NULL;
    }
    if (!r->in_extension && c != ';') return "malformed chunk size";
    r->in_extension = true;
    if (!http1_is_value(span_of(&c, 1))) return "malformed chunk extension";
    if (++r->extension > ANSWER_EXTENSION_MAX) return "chunk extensions too long";
    return NULL;
}

static enum answer_event read_chunked(struct answer_reader *r, const char *at,
                                      size_t len, size_t *used, struct span *body) {
    const char *why = NULL;
    for (size_t i = 0; i < len;) {
        char c = at[i];
        switch (r->state) {
        case CHUNK_SIZE: why = size_byte(r, c); break;
        case CHUNK_LF:
            if (c != '\n') why = "malformed chunk size";
            r->state = r->left ? CHUNK_DATA : TRAILERS;
            r->digits = 0;
            r->in_extension = false;
            break;
        case CHUNK_DATA:
            *used = i;
            return read_data(r, at + i, len - i, used, body, DATA_CR);
        case DATA_CR:
            if (c != '\r') why = "a chunk is longer than its size";
            r->state = DATA_LF;
            break;
        case DATA_LF:
            if (c != '\n') why = "a chunk is longer than its size";
            r->state = CHUNK_SIZE;
            break;
        }
        if (why) return bad(r, why);
        i++;
        *used = i;
        if (r->state == TRAILERS) {
            r->line = 0;
            r->field_count = 0;
            return ANSWER_MORE;
        }
    }
    return ANSWER_MORE;
}

static enum answer_event read_trailers(struct answer_reader *r, const char *at,
                                       size_t len, size_t *used, struct span *body) {
    enum answer_event event;
    if (!lines(r, at, len, &event)) return event;
    *used = r->line;
    *body = span_of(at, r->line - 2);
    r->heads += r->line;
    r->state = ENDING;
    return body->len ? ANSWER_TRAILERS : ANSWER_MORE;
}

static enum answer_event step(struct answer_reader *r, const char *at, size_t len,
                              size_t *used, struct span *body) {
    switch ((enum state)r->state) {
    case STATUS_LINE:
    case FIELDS: return read_head(r, at, len, used);
    case LENGTH: return read_data(r, at, len, used, body, ENDING);
    case CHUNK_SIZE:
    case CHUNK_LF:
    case CHUNK_DATA:
    case DATA_CR:
    case DATA_LF: return read_chunked(r, at, len, used, body);
    case TRAILERS: return read_trailers(r, at, len, used, body);
    case UNTIL_CLOSE:
        *used = len;
        *body = span_of(at, len);
        return len ? ANSWER_BODY : ANSWER_MORE;
    case ENDING: r->state = DONE; return ANSWER_END;
    case DONE: return ANSWER_MORE;
    case BAD: break;
    }
    return ANSWER_BAD;
}

/* ---- the room's door ---- */

void answer_begin(struct answer_reader *r, enum answer_to to) {
    *r = (struct answer_reader){.to = (uint8_t)to};
    begin_head(r);
}

enum answer_event answer_read(struct answer_reader *r, const char *at, size_t len,
                              size_t *used, struct span *body) {
    *used = 0;
    for (;;) {
        size_t n = 0;
        uint8_t before = r->state;
        enum answer_event event = step(r, at + *used, len - *used, &n, body);
        *used += n;
        /* From the last chunk on to the trailers, and from them to the end. */
        if (event == ANSWER_MORE && r->state != before &&
            (r->state == TRAILERS || r->state == ENDING))
            continue;
        return event;
    }
}

enum answer_event answer_end(struct answer_reader *r) {
    switch ((enum state)r->state) {
    case UNTIL_CLOSE:
    case ENDING: r->state = DONE; return ANSWER_END;
    case STATUS_LINE:
    case FIELDS: return bad(r, "closed before the head was complete");
    case BAD: return ANSWER_BAD;
    case DONE: return ANSWER_MORE;
    default: return bad(r, "closed in the middle of the body");
    }
}
