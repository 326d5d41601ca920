/* A byte queue: bytes are committed at its end and consumed at its front. It owns its
 * memory, grows by doubling, and gives the memory back as soon as it is asked to
 * (buf_reset), so that an idle owner holds none.
 *
 * To write: buf_reserve, put bytes at the pointer, buf_commit; or buf_append. To read:
 * buf_data, buf_len, buf_consume. Pointers into it are valid until the next call that
 * may grow it. Running out of memory is reported, never fatal. One thread at a time. */
#ifndef BASE_BUF_H
#define BASE_BUF_H

#include "base/span.h"

#include <stdint.h>

struct buf {
    char *memory;
    uint32_t start, end, capacity; /* bytes; at most BUF_MAX */
};

#define BUF_MAX 0x7fffffffu

static inline void buf_init(struct buf *b) {
    *b = (struct buf){0};
}

static inline size_t buf_len(const struct buf *b) {
    return b->end - b->start;
}

static inline char *buf_data(const struct buf *b) {
    return b->memory + b->start;
}

static inline struct span buf_span(const struct buf *b) {
    return span_of(b->memory + b->start, b->end - b->start);
}

/* The slow way of buf_reserve: moves or grows. */
char *buf_grow(struct buf *b, size_t n);

/* At least n writable bytes at the end, or NULL when memory has run out or the queue
 * would exceed BUF_MAX; the content is then unchanged. */
static inline char *buf_reserve(struct buf *b, size_t n) {
    if (b->capacity - b->end >= n && b->memory) return b->memory + b->end;
    return buf_grow(b, n);
}

static inline size_t buf_room(const struct buf *b) {
    return b->capacity - b->end;
}

static inline void buf_commit(struct buf *b, size_t n) {
    b->end += (uint32_t)n;
}

static inline void buf_consume(struct buf *b, size_t n) {
    b->start += (uint32_t)n;
    if (b->start == b->end) b->start = b->end = 0;
}

/* 0, or ERR_MEMORY with the content unchanged. */
int buf_append(struct buf *b, const void *at, size_t n);

__attribute__((format(printf, 2, 3))) int buf_printf(struct buf *b, const char *format,
                                                     ...);

/* Empties the queue and frees its memory; it can be used again. */
void buf_reset(struct buf *b);

#endif
