/* What readers have yet to read, and how many of them: bulletins begin..end-1, each at
 * its number modulo size. None of them has been read by all, so they go in order; who
 * is too far behind finds the oldest gone.
 *
 * A new one is all zero. Used by topic.c, under a board's lock. */
#ifndef ISOLATE_RING_H
#define ISOLATE_RING_H

#include "isolate/topic.h"

struct slot {
    struct bulletin *bulletin; /* a reference */
    unsigned left;             /* readers who have yet to read it */
};

struct ring {
    struct slot *slots;
    size_t size; /* a power of two, or 0 */
    uint64_t begin, end;
    size_t bytes;
    unsigned readers;
    unsigned capacity; /* the most that any of them wants */
};

/* It is empty. */
void ring_done(struct ring *r);

static inline size_t ring_count(const struct ring *r) {
    return (size_t)(r->end - r->begin);
}

static inline struct bulletin *ring_at(const struct ring *r, uint64_t number) {
    return r->slots[number & (r->size - 1)].bulletin;
}

/* To how many. Those that must go for it are added to *dead. */
unsigned ring_put(struct ring *r, struct bulletin *it, struct bulletin **dead);

/* The oldest goes: its reference is the caller's. */
struct bulletin *ring_pull(struct ring *r);

/* A reader is past it; true when all are. */
bool ring_pass(struct ring *r, uint64_t number);

/* Moves a reader, who reads *next next, past what is not there any more or too far
 * behind. How many it has missed. */
uint64_t ring_catch_up(struct ring *r, uint64_t *next, uint64_t behind,
                       struct bulletin **dead);

/* The slots of an empty ring that had been long, to be freed; else NULL. */
struct slot *ring_spare(struct ring *r);

#endif
