#include "codec/range.h"

enum { NEAR = 80 }; /* about what the head of a part takes */

struct reader {
    const char *at, *end;
};

static void skip_blanks(struct reader *r) {
    while (r->at < r->end && (*r->at == ' ' || *r->at == '\t')) r->at++;
}

/* A number, the largest one when it is larger still; false when there is none. */
static bool number(struct reader *r, uint64_t *n) {
    const char *begin = r->at;
    *n = 0;
    for (; r->at < r->end && *r->at >= '0' && *r->at <= '9'; r->at++) {
        uint64_t digit = (uint64_t)(*r->at - '0');
        *n = *n > (UINT64_MAX - digit) / 10 ? UINT64_MAX : *n * 10 + digit;
    }
    return r->at > begin;
}

/* One range-spec; out->len is 0 when there is no such byte. False: malformed. */
static bool spec(struct reader *r, uint64_t size, struct range *out) {
    uint64_t first, last;
    *out = (struct range){0, 0};
    bool from = number(r, &first);
    if (r->at == r->end || *r->at != '-') return false;
    r->at++;
    bool to = number(r, &last);
    if (!from) {
        if (!to) return false;
        out->len = last < size ? last : size;
        out->first = size - out->len;
        return true;
    }
    if (to && last < first) return false;
    if (first >= size) return true;
    if (!to || last >= size) last = size - 1;
    *out = (struct range){first, last - first + 1};
    return true;
}

static bool meet(struct range a, struct range b) {
    if (a.first > b.first) return meet(b, a);
    uint64_t end = a.first + a.len;
    return b.first <= end || b.first - end < NEAR;
}

static struct range join(struct range a, struct range b) {
    uint64_t first = a.first < b.first ? a.first : b.first;
    uint64_t a_end = a.first + a.len, b_end = b.first + b.len;
    return (struct range){first, (a_end > b_end ? a_end : b_end) - first};
}

/* In the place of the first that it meets, or behind them all. */
static void add(struct range *out, unsigned *count, struct range r) {
    unsigned n = *count, place = n;
    for (unsigned i = 0; i < n;) {
        if (!meet(out[i], r)) {
            i++;
            continue;
        }
        r = join(out[i], r);
        if (i < place) place = i;
        memmove(out + i, out + i + 1, (--n - i) * sizeof *out);
        i = 0; /* it has grown, and may meet others now */
    }
    if (place > n) place = n;
    memmove(out + place + 1, out + place, (n - place) * sizeof *out);
    out[place] = r;
    *count = n + 1;
}

enum range_result range_parse(struct span value, uint64_t size, struct range *out,
                              unsigned *count) {
    static const struct span unit = {"bytes=", 6};
    struct reader r = {value.at, value.at + value.len};
    unsigned asked = 0;
    *count = 0;
    if (value.len < unit.len || !span_case_eq(span_of(value.at, unit.len), unit))
        return RANGE_WHOLE;
    r.at += unit.len;
    for (;;) {
        struct range one;
        skip_blanks(&r);
        if (r.at == r.end) break;
        if (*r.at == ',') { /* an empty element is none: 5.6.1.2 */
            r.at++;
            continue;
        }
        if (asked++ == RANGES_MAX || !spec(&r, size, &one)) return RANGE_WHOLE;
        skip_blanks(&r);
        if (r.at < r.end && *r.at != ',') return RANGE_WHOLE;
        if (one.len) add(out, count, one);
    }
    if (!asked) return RANGE_WHOLE;
    return *count ? RANGE_PARTS : RANGE_NONE;
}
