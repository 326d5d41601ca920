#include "codec/json_out.h"

#include "base/err.h"
#include "codec/utf8.h"

/* Eight bytes are looked at at once: a byte in each of them. */
#define EACH(byte) (UINT64_C(0x0101010101010101) * (uint64_t)(byte))

static bool fault(struct json_out *w, int fault) {
    w->fault = fault;
    return false;
}

static bool bad_string(struct json_out *w, size_t byte) {
    w->bad = byte + 1;
    return fault(w, ERR_SYNTAX);
}

bool json_out_start(struct json_out *w, struct buf *buf, size_t size, bool slashes) {
    *w = (struct json_out){.buf = buf,
                           .before = buf_len(buf),
                           .size = size,
                           .slashes = EACH(slashes ? '/' : '"')};
    w->at = buf_reserve(buf, 1);
    if (!w->at) return fault(w, ERR_MEMORY);
    w->end = w->at + buf_room(buf);
    return true;
}

bool json_out_grow(struct json_out *w, size_t n) {
    struct buf *buf = w->buf;
    buf->end = (uint32_t)(w->at - buf->memory);
    if (buf_len(buf) - w->before > w->size) return fault(w, ERR_TOO_LARGE);
    if (n > BUF_MAX || !buf_reserve(buf, n)) return fault(w, ERR_MEMORY);
    w->at = buf->memory + buf->end;
    w->end = w->at + buf_room(buf);
    return true;
}

bool json_out_finish(struct json_out *w) {
    w->buf->end = (uint32_t)(w->at - w->buf->memory);
    if (buf_len(w->buf) - w->before <= w->size) return true;
    return fault(w, ERR_TOO_LARGE);
}

void json_out_undo(struct json_out *w) {
    w->buf->end = w->buf->start + (uint32_t)w->before;
}

static inline uint64_t zero_byte(uint64_t word) {
    return (word - EACH(1)) & ~word;
}

/* Whether one of the eight bytes is not to be copied as it is. */
static inline bool special(uint64_t word, uint64_t slashes) {
    uint64_t control = (word - EACH(0x20)) & ~word;
    return ((control | word | zero_byte(word ^ EACH('"')) |
             zero_byte(word ^ EACH('\\')) | zero_byte(word ^ slashes)) &
            EACH(0x80)) != 0;
}

static char *escape(char *to, char c) {
    static const char hex[] = "0123456789abcdef";
    static const char letters[] = "btn?fr"; /* from 8 */
    *to++ = '\\';
    if (c == '"' || c == '\\' || c == '/') {
        *to++ = c;
    } else if (c >= 8 && c <= 13 && c != 11) {
        *to++ = letters[c - 8];
    } else {
        memcpy(to, "u00", 3);
        to[3] = hex[c >> 4];
        to[4] = hex[c & 15];
        to += 5;
    }
    return to;
}

/* The string from s on, to at; start is where it began. For all but plain ASCII. */
static bool put_rest(struct json_out *w, const char *s, char *at, const char *start,
                     const char *end) {
    char slash = (char)w->slashes;
    uint64_t word;
    while (s < end) {
        if (end - s >= 8) {
            memcpy(&word, s, 8);
            if (!special(word, w->slashes)) {
                memcpy(at, &word, 8);
                s += 8;
                at += 8;
                continue;
            }
        }
        for (; s < end; s++) {
            if (*s & 0x80) {
                size_t len = utf8_sequence(s, end);
                if (len == 0) return bad_string(w, (size_t)(s - start));
                memcpy(at, s, len);
                at += len;
                s += len - 1;
            } else if (*s < 0x20 || *s == '"' || *s == '\\' || *s == slash) {
                w->at = at;
                if (!json_out_room(w, (size_t)(end - s) + 16)) return false;
                at = escape(w->at, *s++);
                break;
            } else {
                *at++ = *s;
            }
        }
    }
    *at++ = '"';
    w->at = at;
    return true;
}

/* In quotes; leaves room for two bytes more. */
bool json_out_string(struct json_out *w, const char *s, size_t n) {
    if (!json_out_room(w, n + 16)) return false;
    const char *start = s, *end = s + n;
    char *at = w->at;
    uint64_t slashes = w->slashes, word;
    *at++ = '"';
    for (; end - s >= 8; s += 8, at += 8) {
        memcpy(&word, s, 8);
        if (special(word, slashes)) return put_rest(w, s, at, start, end);
        memcpy(at, &word, 8);
    }
    n = (size_t)(end - s);
    if (n >= 4) { /* two halves that overlap */
        uint32_t half, other;
        memcpy(&half, s, 4);
        memcpy(&other, end - 4, 4);
        if (special((uint64_t)half << 32 | other, slashes))
            return put_rest(w, s, at, start, end);
        memcpy(at, &half, 4);
        memcpy(at + n - 4, &other, 4);
        at += n;
    } else {
        for (; s < end; s++) {
            if ((unsigned char)(*s - 0x20) >= 0x60 || *s == '"' || *s == '\\' ||
                *s == (char)slashes)
                return put_rest(w, s, at, start, end);
            *at++ = *s;
        }
    }
    *at++ = '"';
    w->at = at;
    return true;
}
