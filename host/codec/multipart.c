#include "codec/multipart.h"

#include "base/err.h"

enum { PREAMBLE, AFTER, DASH, PADDING, CR, HEAD, BODY, EPILOGUE, BROKEN };

int multipart_init(struct multipart *m, struct span content_type,
                   const struct multipart_limits *limits) {
    struct span rest = content_type;
    struct param p;
    *m = (struct multipart){.limits = *limits, .state = BROKEN};
    if (!span_case_eq(params_begin(&rest), SPAN("multipart/form-data")))
        return ERR_WRONG_TYPE;
    if (params_find(content_type, SPAN("boundary"), &p) != 1) return ERR_SYNTAX;
    struct span b = p.value;
    if (b.len == 0 || b.len > MULTIPART_BOUNDARY_MAX || b.at[b.len - 1] == ' ')
        return ERR_SYNTAX;
    for (size_t i = 0; i < b.len; i++)
        if (b.at[i] < ' ' || b.at[i] > '~' || b.at[i] == '\\') return ERR_SYNTAX;
    memcpy(m->delimiter, "\r\n--", 4);
    memcpy(m->delimiter + 4, b.at, b.len);
    m->length = (uint8_t)(4 + b.len);
    m->delimiter[m->length] = '-';
    m->state = PREAMBLE;
    m->matched = m->unsaid = 2; /* the first may stand at the very beginning */
    return 0;
}

void multipart_done(struct multipart *m) {
    buf_reset(&m->head);
    m->state = BROKEN;
}

static enum multipart_event refuse(struct multipart *m, int status,
                                   const char *reason) {
    m->state = BROKEN;
    m->status = (uint16_t)status;
    m->reason = reason;
    return MULTIPART_BAD;
}

/* ---- the header of a part ---- */

bool multipart_field(const struct multipart *m, size_t *from, struct span *name,
                     struct span *value) {
    const char *at = buf_data(&m->head) + *from;
    size_t left = buf_len(&m->head) - *from;
    const char *end = left > 2 ? memchr(at, '\r', left) : NULL;
    if (!end || end == at) return false;
    const char *colon = memchr(at, ':', (size_t)(end - at));
    *name = span_of(at, (size_t)(colon - at));
    at = colon + 1;
    *from = (size_t)(end + 2 - buf_data(&m->head));
    while (at < end && (*at == ' ' || *at == '\t')) at++;
    while (at < end && (end[-1] == ' ' || end[-1] == '\t')) end--;
    *value = span_of(at, (size_t)(end - at));
    return true;
}

/* How many fields have that name, and the value of the first. */
static unsigned count(const struct multipart *m, struct span name, struct span *value) {
    size_t from = 0;
    unsigned n = 0;
    struct span each, text;
    while (multipart_field(m, &from, &each, &text))
        if (span_case_eq(each, name) && n++ == 0) *value = text;
    return n;
}

struct span multipart_value(const struct multipart *m, struct span name) {
    struct span value = span_of("", 0);
    count(m, name, &value);
    return value;
}

static struct span disposition(const struct multipart *m) {
    return multipart_value(m, SPAN("content-disposition"));
}

void multipart_name(const struct multipart *m, struct param *p) {
    params_find(disposition(m), SPAN("name"), p);
}

bool multipart_file_name(const struct multipart *m, struct param *p, bool *extended) {
    *extended = false;
    if (params_find(disposition(m), SPAN("filename"), p) == 1) return true;
    *extended = true;
    return params_find(disposition(m), SPAN("filename*"), p) == 1;
}

/* Every line is `name ":" value`, without control bytes and not folded. */
static bool lines_are_fields(const struct multipart *m) {
    const char *at = buf_data(&m->head), *end = at + buf_len(&m->head) - 2;
    while (at < end) {
        const char *start = at;
        while (*at > ' ' && *at < 0x7f && *at != ':') at++;
        if (at == start || *at != ':') return false;
        for (; *at != '\r'; at++)
            if (((unsigned char)*at < ' ' && *at != '\t') || *at == 0x7f) return false;
        if (at[1] != '\n') return false;
        at += 2;
    }
    return true;
}

static bool plain_encoding(struct span value) {
    return span_case_eq(value, SPAN("7bit")) || span_case_eq(value, SPAN("8bit")) ||
           span_case_eq(value, SPAN("binary"));
}

static enum multipart_event head_done(struct multipart *m) {
    struct span value = span_of("", 0), rest;
    struct param p;
    if (!lines_are_fields(m)) return refuse(m, 400, "a malformed header");
    if (count(m, SPAN("content-disposition"), &value) != 1)
        return refuse(m, 400, "a part without one Content-Disposition");
    rest = value;
    if (!span_case_eq(params_begin(&rest), SPAN("form-data")) ||
        params_find(value, SPAN("filename"), &p) < 0)
        return refuse(m, 400, "a malformed Content-Disposition");
    if (params_find(value, SPAN("name"), &p) != 1)
        return refuse(m, 400, "a part without one name");
    if (p.value.len > m->limits.name_max) return refuse(m, 413, "a name too long");
    int extended = params_find(value, SPAN("filename*"), &p);
    char text[1024];
    size_t n;
    if (extended < 0) return refuse(m, 400, "a malformed file name");
    if (extended && p.value.len > sizeof text)
        return refuse(m, 413, "a file name too long");
    if (extended && !params_decode_extended(&p, text, &n))
        return refuse(m, 400, "a malformed file name");
    if (count(m, SPAN("content-type"), &value) > 1)
        return refuse(m, 400, "a part of two types");
    /* RFC 7578 4.7 */
    unsigned encodings = count(m, SPAN("content-transfer-encoding"), &value);
    if (encodings > 1 || (encodings && !plain_encoding(value)))
        return refuse(m, 415, "an encoded part");
    m->parts++;
    m->in_part = true;
    m->state = BODY;
    m->matched = m->unsaid = 2; /* the empty line's end may be the delimiter's too */
    return MULTIPART_PART;
}

/* Takes up to the end of the header. */
static enum multipart_event read_head(struct multipart *m, const char *at, size_t len,
                                      size_t *used) {
    if (m->parts == m->limits.parts_max) return refuse(m, 413, "too many parts");
    for (size_t i = 0; i < len;) {
        const char *newline = memchr(at + i, '\n', len - i);
        size_t n = newline ? (size_t)(newline + 1 - at) - i : len - i;
        if (n > m->limits.head_max - buf_len(&m->head))
            return refuse(m, 413, "a header too long");
        if (buf_append(&m->head, at + i, n) != 0)
            return refuse(m, 503, "not enough memory");
        *used = i += n;
        const char *head = buf_data(&m->head);
        size_t have = buf_len(&m->head);
        if (have >= 2 && memcmp(head + have - 2, "\r\n", 2) == 0 &&
            (have == 2 || (have >= 4 && memcmp(head + have - 4, "\r\n", 2) == 0)))
            return head_done(m);
    }
    return MULTIPART_MORE;
}

/* ---- boundaries ---- */

/* The place of the first delimiter in the bytes, or of the beginning of one that they
 * end in; len when there is none. A CR stands only at its beginning, so none begins
 * inside of another's. */
static size_t find_delimiter(const struct multipart *m, const char *at, size_t len) {
    for (size_t i = 0; i < len; i++) {
        const char *cr = memchr(at + i, '\r', len - i);
        if (!cr) return len;
        i = (size_t)(cr - at);
        size_t n = len - i < m->length ? len - i : m->length;
        if (memcmp(cr, m->delimiter, n) == 0) return i;
    }
    return len;
}

/* What had looked like a delimiter is the part's, in front of what comes now. */
static enum multipart_event give_back(struct multipart *m, size_t length,
                                      struct span *data) {
    size_t from = m->unsaid;
    m->matched = m->unsaid = 0;
    m->state = m->in_part ? BODY : PREAMBLE;
    if (!m->in_part || from == length) return MULTIPART_MORE;
    *data = span_of(m->delimiter + from, length - from);
    return MULTIPART_DATA;
}

/* Looks for the delimiter. MULTIPART_MORE with bytes left: go on with the state. */
static enum multipart_event scan(struct multipart *m, const char *at, size_t len,
                                 size_t *used, struct span *data) {
    if (m->matched == 0) {
        size_t n = *used = find_delimiter(m, at, len);
        if (n < len) {
            m->matched = 1;
            *used = n + 1;
        }
        if (n == 0 || !m->in_part) return MULTIPART_MORE;
        *data = span_of(at, n);
        return MULTIPART_DATA;
    }
    size_t i = 0;
    while (i < len && m->matched < m->length && at[i] == m->delimiter[m->matched])
        i++, m->matched++;
    *used = i;
    if (m->matched == m->length)
        m->state = AFTER;
    else if (i < len)
        return give_back(m, m->matched, data);
    return MULTIPART_MORE;
}

/* The byte behind a delimiter; false: it is not the line's. */
static enum multipart_event after(struct multipart *m, char c, size_t *used,
                                  struct span *data) {
    *used = 1;
    switch (c) {
    case '-': m->state = DASH; return MULTIPART_MORE;
    case ' ':
    case '\t': m->state = PADDING; return MULTIPART_MORE;
    case '\r': m->state = CR; return MULTIPART_MORE;
    }
    *used = 0; /* a longer word: no boundary of this form's */
    return give_back(m, m->length, data);
}

static enum multipart_event part_over(struct multipart *m, int state) {
    bool was = m->in_part;
    m->in_part = false;
    m->matched = m->unsaid = 0;
    m->state = (uint8_t)state;
    buf_reset(&m->head);
    return was ? MULTIPART_OVER : MULTIPART_MORE;
}

enum multipart_event multipart_read(struct multipart *m, const char *at, size_t len,
                                    size_t *used, struct span *data) {
    size_t done = 0, n;
    enum multipart_event event = MULTIPART_MORE;
    while (event == MULTIPART_MORE && done < len) {
        const char *p = at + done;
        n = 1;
        switch (m->state) {
        case PREAMBLE:
        case BODY: event = scan(m, p, len - done, &n, data); break;
        case AFTER: event = after(m, *p, &n, data); break;
        case DASH:
            n = 0;
            if (*p != '-') {
                event = give_back(m, m->length + 1u, data);
            } else if (part_over(m, DASH) == MULTIPART_OVER) {
                event = MULTIPART_OVER; /* and then looks at the second dash again */
            } else {
                n = 1;
                m->state = EPILOGUE;
                event = MULTIPART_END;
            }
            break;
        case PADDING:
            if (*p == '\r')
                m->state = CR;
            else if (*p != ' ' && *p != '\t')
                event = refuse(m, 400, "a malformed boundary");
            break;
        case CR:
            event = *p == '\n' ? part_over(m, HEAD)
                               : refuse(m, 400, "a malformed boundary");
            break;
        case HEAD: event = read_head(m, p, len - done, &n); break;
        case EPILOGUE: n = len - done; break;
        default: event = MULTIPART_BAD; break;
        }
        done += n;
    }
    *used = done;
    return event;
}

bool multipart_complete(const struct multipart *m) {
    return m->state == EPILOGUE;
}
