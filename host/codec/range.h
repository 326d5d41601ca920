/* The Range field (RFC 9110 14): which bytes of something that has so many are asked
 * for.
 *
 * Ranges come out in the order in which they were asked for; those that overlap, or lie
 * so near to each other that a part of its own would cost more than the bytes between
 * them, become one. So they are disjoint and never more bytes than there are, whatever
 * a client asks for. Any thread. */
#ifndef CODEC_RANGE_H
#define CODEC_RANGE_H

#include "base/span.h"

#include <stdint.h>

struct range {
    uint64_t first, len; /* bytes; len is not 0 */
};

enum { RANGES_MAX = 16 }; /* who asks for more gets the whole */

enum range_result {
    RANGE_WHOLE, /* send all: another unit, not well-formed, or too many (14.2) */
    RANGE_PARTS, /* *count of them, from 1 on */
    RANGE_NONE,  /* none of them is there: 416 */
};

/* value is that of the field; out has room for RANGES_MAX. */
enum range_result range_parse(struct span value, uint64_t size, struct range *out,
                              unsigned *count);

#endif
