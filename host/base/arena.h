/* Bump memory for things that die together, such as all that belongs to one exchange.
 * The first bytes come from a block that the owner lends, so that a small user never
 * calls malloc; later blocks are allocated and freed as one.
 *
 * Nothing is freed singly; arena_reset frees everything. One thread at a time. */
#ifndef BASE_ARENA_H
#define BASE_ARENA_H

#include "base/span.h"

struct arena_block;

struct arena {
    char *at, *end;
    struct arena_block *blocks;
    char *lent;
    size_t lent_size;
};

/* Starts with the lent block of size bytes (NULL and 0 for none), which must be
 * aligned for any type and outlive the arena. */
void arena_init(struct arena *a, void *lent, size_t size);

/* n bytes, aligned for any type, uninitialised; NULL when memory has run out. */
void *arena_alloc(struct arena *a, size_t n);

/* A copy of s with a NUL behind it; .at is NULL when memory has run out. */
struct span arena_copy(struct arena *a, struct span s);

/* Frees all; the arena starts anew with its lent block. */
void arena_reset(struct arena *a);

#endif
