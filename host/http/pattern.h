/* A route's pattern taken apart: `/users/:id/files/` and `*path` as last segment.
 * Literal segments are any bytes that codec/target can leave in a path; `:name` and
 * `*name` are whole segments, names are those of Lua variables, and a lone `*` is named
 * "*".
 *
 * pattern_parse judges and splits; the spans point into the pattern. Any thread. */
#ifndef HTTP_PATTERN_H
#define HTTP_PATTERN_H

#include "base/span.h"

enum {
    PATTERN_MAX = 2048,        /* bytes */
    PATTERN_SEGMENTS_MAX = 64, /* the rest included */
    PATTERN_PARAMS_MAX = 16,   /* the rest included */
};

struct pattern {
    struct span segments[PATTERN_SEGMENTS_MAX]; /* with their ":" and "*" */
    struct span names[PATTERN_PARAMS_MAX];
    unsigned segment_count, param_count;
    bool has_rest;
};

/* NULL, or what is wrong, as a static sentence. */
const char *pattern_parse(struct span pattern, struct pattern *out);

#endif
