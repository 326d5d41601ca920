#include "isolate/ring.h"

#include "base/check.h"

#include <stdlib.h>

enum { RING_LEAST = 8, RING_KEPT = 64 };

void ring_done(struct ring *r) {
    CHECK(!r->readers && !ring_count(r));
    free(r->slots);
}

static struct slot *slot_at(const struct ring *r, uint64_t number) {
    return &r->slots[number & (r->size - 1)];
}

struct bulletin *ring_pull(struct ring *r) {
    struct bulletin *it = slot_at(r, r->begin++)->bulletin;
    r->bytes -= it->len;
    return it;
}

bool ring_pass(struct ring *r, uint64_t number) {
    bool all = --slot_at(r, number)->left == 0;
    CHECK(!all || number == r->begin);
    return all;
}

static bool grow(struct ring *r) {
    size_t size = r->size ? 2 * r->size : RING_LEAST;
    struct slot *slots = malloc(size * sizeof *slots);
    if (!slots) return false;
    for (uint64_t i = r->begin; i != r->end; i++)
        slots[i & (size - 1)] = *slot_at(r, i);
    free(r->slots);
    r->slots = slots;
    r->size = size;
    return true;
}

unsigned ring_put(struct ring *r, struct bulletin *it, struct bulletin **dead) {
    if (!r->readers) return 0;
    while (ring_count(r) &&
           (ring_count(r) >= r->capacity || r->bytes + it->len > TOPIC_BYTES_MAX))
        bulletin_drop(ring_pull(r), dead);
    if (ring_count(r) == r->size && !grow(r)) {
        if (!r->size) { /* as one that had to go */
            r->begin = ++r->end;
            return 0;
        }
        bulletin_drop(ring_pull(r), dead);
    }
    bulletin_ref(it);
    *slot_at(r, r->end++) = (struct slot){it, r->readers};
    r->bytes += it->len;
    return r->readers;
}

uint64_t ring_catch_up(struct ring *r, uint64_t *next, uint64_t behind,
                       struct bulletin **dead) {
    uint64_t missed = 0;
    if (*next < r->begin) {
        missed = r->begin - *next;
        *next = r->begin;
    }
    for (; r->end - *next > behind; missed++, ++*next)
        if (ring_pass(r, *next)) bulletin_drop(ring_pull(r), dead);
    return missed;
}

struct slot *ring_spare(struct ring *r) {
    struct slot *slots = r->slots;
    if (ring_count(r) || r->size <= RING_KEPT) return NULL;
    r->slots = NULL;
    r->size = 0;
    return slots;
}
