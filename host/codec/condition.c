#include "codec/condition.h"

#include "codec/httpdate.h"

static bool is_weak(struct span tag) {
    return tag.len >= 2 && tag.at[0] == 'W' && tag.at[1] == '/';
}

static struct span opaque(struct span tag) {
    return is_weak(tag) ? span_of(tag.at + 2, tag.len - 2) : tag;
}

static bool same(struct span a, struct span b, bool strong) {
    if (strong && (is_weak(a) || is_weak(b))) return false;
    return span_eq(opaque(a), opaque(b));
}

/* Takes the next tag off the list; false at its end, and where it is malformed. */
static bool next_tag(struct span *list, struct span *tag) {
    const char *at = list->at, *end = at + list->len;
    while (at < end && (*at == ' ' || *at == '\t' || *at == ',')) at++;
    const char *from = at;
    if (end - at >= 2 && at[0] == 'W' && at[1] == '/') at += 2;
    if (at == end || *at != '"') return false;
    for (at++; at < end && *at != '"'; at++)
        if (*at <= ' ' || *at == 0x7f) return false;
    if (at == end) return false;
    at++;
    *tag = span_of(from, (size_t)(at - from));
    *list = span_of(at, (size_t)(end - at));
    return true;
}

bool condition_lists(struct span list, struct span etag, bool strong) {
    struct span tag;
    if (span_eq(list, SPAN("*"))) return true;
    while (next_tag(&list, &tag))
        if (etag.len && same(tag, etag, strong)) return true;
    return false;
}

/* Several fields are one list. *present says whether there is any. */
static bool lists(const struct head *h, struct span name, struct span etag, bool strong,
                  bool *present) {
    struct span value;
    unsigned from = 0;
    *present = false;
    while (head_find(h, name, &from, &value)) {
        *present = true;
        if (condition_lists(value, etag, strong)) return true;
    }
    return false;
}

/* A field with a date; one that is not well-formed counts as absent. */
static bool date(const struct head *h, struct span name, int64_t now,
                 int64_t *seconds) {
    struct span value;
    unsigned from = 0;
    return head_find(h, name, &from, &value) && httpdate_parse(value, now, seconds);
}

enum condition condition_check(const struct head *h, const struct validators *v) {
    int64_t at;
    bool present;
    bool listed = lists(h, SPAN("If-Match"), v->etag, true, &present);
    if (present) {
        if (!listed) return CONDITION_FAILED;
    } else if (v->modified >= 0 && date(h, SPAN("If-Unmodified-Since"), v->now, &at)) {
        if (v->modified > at) return CONDITION_FAILED;
    }
    listed = lists(h, SPAN("If-None-Match"), v->etag, false, &present);
    if (present) return listed ? CONDITION_NOT_MODIFIED : CONDITION_MET;
    if (v->modified >= 0 && date(h, SPAN("If-Modified-Since"), v->now, &at) &&
        v->modified <= at)
        return CONDITION_NOT_MODIFIED;
    return CONDITION_MET;
}

bool condition_range(const struct head *h, const struct validators *v) {
    struct span value, tag;
    unsigned from = 0;
    int64_t at;
    if (!head_find(h, SPAN("If-Range"), &from, &value)) return true;
    struct span rest = value;
    if (next_tag(&rest, &tag))
        return rest.len == 0 && v->etag.len && same(tag, v->etag, true);
    /* A date is a strong validator only when what it dates could not have changed again
       within its second: 8.8.2.2. */
    return v->modified >= 0 && httpdate_parse(value, v->now, &at) &&
           at == v->modified && v->modified < v->now;
}
