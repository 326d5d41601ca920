/* Content codings, and which of them a client takes (RFC 9110 12.5.3).
 *
 * coding_accepted reads the request's Accept-Encoding; coding_choose picks from those
 * that could be sent. Any thread. */
#ifndef CODEC_CODING_H
#define CODEC_CODING_H

#include "codec/head.h"

/* The later, the better, where the client has no preference. */
enum coding { CODING_IDENTITY, CODING_GZIP, CODING_ZSTD, CODING_BR, CODINGS };

/* The weight of each, 0 to 1000; 0 must not be sent. */
struct coding_weights {
    uint16_t at[CODINGS];
};

void coding_accepted(const struct head *h, struct coding_weights *w);

/* The one of the set, bits of 1 << coding, that the client likes best; of those that it
 * likes as much the best. Identity when it takes none. */
enum coding coding_choose(const struct coding_weights *w, unsigned set);

/* "gzip"; "" for identity. */
struct span coding_name(enum coding c);

#endif
