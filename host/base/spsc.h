/* A byte queue from one thread to one other without a lock: what is put is seen whole
 * or not at all, and a put that finds no room is refused at once. Its memory is
 * touched as it is used; both ends count bytes and never wrap.
 *
 * The putting is sequentially consistent, so that "put, then look whether the reader
 * sleeps" and "sleep, then look whether something was put" cannot miss each other.
 * Put by the producer, copy and drop by the consumer, used by any thread. */
#ifndef BASE_SPSC_H
#define BASE_SPSC_H

#include "base/span.h"

#include <stdatomic.h>

struct spsc {
    char *memory;
    size_t capacity;                  /* a power of two */
    _Alignas(64) _Atomic size_t head; /* bytes put so far */
    size_t tail_seen;                 /* the producer's last look at tail */
    _Alignas(64) _Atomic size_t tail; /* bytes taken so far */
};

/* capacity is a power of two, at least a page. 0 or -ENOMEM. */
int spsc_init(struct spsc *q, size_t capacity);
void spsc_done(struct spsc *q);

/* All of s, or nothing: false when there is no room. */
bool spsc_put(struct spsc *q, struct span s);

static inline size_t spsc_used(struct spsc *q) {
    /* Tail first: it never passes head, so the difference cannot be negative. */
    size_t tail = atomic_load(&q->tail);
    return atomic_load(&q->head) - tail;
}

/* Copies the first n bytes, which must be there, without taking them. */
void spsc_copy(struct spsc *q, char *out, size_t n);

/* Takes the first n bytes. */
static inline void spsc_drop(struct spsc *q, size_t n) {
    size_t tail = atomic_load_explicit(&q->tail, memory_order_relaxed);
    atomic_store_explicit(&q->tail, tail + n, memory_order_release);
}

#endif
