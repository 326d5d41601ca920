#include "codec/coding.h"

enum { UNSAID = UINT16_MAX, FULL = 1000 };

static const struct span names[CODINGS] = {
    [CODING_IDENTITY] = SPAN("identity"),
    [CODING_GZIP] = SPAN("gzip"),
    [CODING_ZSTD] = SPAN("zstd"),
    [CODING_BR] = SPAN("br"),
};

struct span coding_name(enum coding c) {
    return c == CODING_IDENTITY ? SPAN("") : names[c];
}

static struct span trim(struct span s) {
    while (s.len && (*s.at == ' ' || *s.at == '\t')) s = span_of(s.at + 1, s.len - 1);
    while (s.len && (s.at[s.len - 1] == ' ' || s.at[s.len - 1] == '\t')) s.len--;
    return s;
}

/* Takes what stands before the separator off *rest. */
static struct span cut(struct span *rest, char separator) {
    const char *at = rest->len ? memchr(rest->at, separator, rest->len) : NULL;
    struct span head = *rest;
    if (at) {
        head.len = (size_t)(at - rest->at);
        *rest = span_of(at + 1, rest->len - head.len - 1);
    } else {
        *rest = span_of(rest->at + rest->len, 0);
    }
    return trim(head);
}

/* "0.5" in thousandths; -1 when it is no weight (12.4.2). */
static int weight(struct span s) {
    int value = 0, scale = FULL;
    if (s.len == 0 || s.len > 5 || (s.at[0] != '0' && s.at[0] != '1')) return -1;
    if (s.len > 1 && s.at[1] != '.') return -1;
    for (size_t i = 0; i < s.len; i++) {
        if (i == 1) continue;
        if (s.at[i] < '0' || s.at[i] > '9') return -1;
        value += (s.at[i] - '0') * scale;
        scale /= 10;
    }
    return value <= FULL ? value : -1;
}

/* One element: a coding and perhaps its weight. False: not well-formed. */
static bool element(struct span s, struct span *coding, int *value) {
    *coding = cut(&s, ';');
    *value = FULL;
    if (s.len == 0) return coding->len > 0;
    struct span parameter = trim(s);
    if (parameter.len < 2 || ascii_lower(parameter.at[0]) != 'q' ||
        parameter.at[1] != '=')
        return false;
    *value = weight(span_of(parameter.at + 2, parameter.len - 2));
    return coding->len > 0 && *value >= 0;
}

void coding_accepted(const struct head *h, struct coding_weights *w) {
    struct span list, coding;
    unsigned from = 0;
    int value, others = UNSAID;
    for (int i = 0; i < CODINGS; i++) w->at[i] = UNSAID;
    while (head_find(h, SPAN("Accept-Encoding"), &from, &list)) {
        while (list.len) {
            if (!element(cut(&list, ','), &coding, &value)) continue;
            if (span_eq(coding, SPAN("*"))) others = value;
            if (span_case_eq(coding, SPAN("x-gzip"))) coding = names[CODING_GZIP];
            for (int i = 0; i < CODINGS; i++)
                if (span_case_eq(coding, names[i])) w->at[i] = (uint16_t)value;
        }
    }
    for (int i = 0; i < CODINGS; i++) {
        if (w->at[i] != UNSAID) continue;
        if (others != UNSAID)
            w->at[i] = (uint16_t)others;
        else /* as it is may always be sent, but who lists others prefers them */
            w->at[i] = i == CODING_IDENTITY;
    }
}

enum coding coding_choose(const struct coding_weights *w, unsigned set) {
    enum coding best = CODING_IDENTITY;
    for (enum coding c = CODING_GZIP; c < CODINGS; c++)
        if (set & 1u << c && w->at[c] && w->at[c] >= w->at[best]) best = c;
    return best;
}
