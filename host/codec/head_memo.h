/* What a client says again in the same words is not parsed again. A memo keeps some
 * blocks of header fields that were read before, each byte up to the empty line and
 * what came of it; a GET that ends in one of them needs only its request line to be
 * read. Kept alive, most clients send the same block with each request.
 *
 * Only blocks that say nothing about a body are kept, and only when a connection has
 * sent one twice in a row, so that clients who never say the same thing cost nothing.
 * What is recalled is what the parser would have said, in all. One thread at a time. */
#ifndef CODEC_HEAD_MEMO_H
#define CODEC_HEAD_MEMO_H

#include "codec/head.h"

#include <stdbool.h>

enum { HEAD_MEMO_SLOTS = 32, HEAD_MEMO_BYTES = 2048, HEAD_MEMO_FIELDS = 48 };

struct head_memo {
    struct head_block *blocks[HEAD_MEMO_SLOTS]; /* NULL is none */
    uint8_t last; /* the slot that was last of use, for those who are new */
};

/* Of a connection; begins as zeros. */
struct head_habit {
    uint32_t hash; /* of the last block */
    uint8_t slot;  /* where it was, if `known` */
    bool known;
};

/* *m begins as zeros. */
void head_memo_done(struct head_memo *m);

/* True when the len bytes at h->base begin with a GET whose request line has `line`
 * bytes and whose fields are known and no more than fields_max in bytes_max bytes
 * without the empty line: then h is as the parser would have left it. Else h is
 * untouched. */
bool head_memo_recall(struct head_memo *m, struct head_habit *habit, struct head *h,
                      uint32_t line, size_t len, uint32_t fields_max,
                      uint32_t bytes_max);

/* h has been read and found good, without a body and without expectations. */
void head_memo_learn(struct head_memo *m, struct head_habit *habit,
                     const struct head *h, uint32_t line);

#endif
