/* Conditional requests (RFC 9110 13): whether what a client has, or expects, is what
 * there is.
 *
 * The caller knows the validators of what it would send with 200, and asks in the order
 * of 13.2.2: first condition_check, then, for a range, condition_range. Any thread. */
#ifndef CODEC_CONDITION_H
#define CODEC_CONDITION_H

#include "codec/head.h"

struct validators {
    struct span etag; /* with its quotes, and W/ if it is weak; empty: there is none */
    int64_t modified; /* seconds since 1970; negative: not known */
    int64_t now;      /* the Date that is sent */
};

enum condition {
    CONDITION_MET,          /* or there is none */
    CONDITION_NOT_MODIFIED, /* 304 */
    CONDITION_FAILED,       /* 412 */
};

/* For GET and HEAD, of something that exists. */
enum condition condition_check(const struct head *h, const struct validators *v);

/* Whether If-Range, if it is there, lets the Range count. */
bool condition_range(const struct head *h, const struct validators *v);

/* Whether the value of a field like If-None-Match is "*" or lists the tag, compared
 * weakly or strongly (8.8.3.2). */
bool condition_lists(struct span list, struct span etag, bool strong);

#endif
