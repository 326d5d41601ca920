#include "base/arena.h"

#include <stdalign.h>
#include <stdint.h>
#include <stdlib.h>

enum { BLOCK = 4096 };

struct arena_block {
    struct arena_block *next;
    alignas(max_align_t) char memory[];
};

void arena_init(struct arena *a, void *lent, size_t size) {
    *a = (struct arena){.at = lent, .lent = lent, .lent_size = size};
    a->end = lent ? a->at + size : NULL;
}

void *arena_alloc(struct arena *a, size_t n) {
    size_t rounded = (n + alignof(max_align_t) - 1) & ~(alignof(max_align_t) - 1);
    if (rounded < n) return NULL;
    if ((size_t)(a->end - a->at) < rounded || !a->at) {
        size_t size = rounded > BLOCK / 4 ? rounded : BLOCK;
        if (size > SIZE_MAX - sizeof(struct arena_block)) return NULL;
        struct arena_block *block = malloc(sizeof *block + size);
        if (!block) return NULL;
        block->next = a->blocks;
        a->blocks = block;
        /* A block made for one large piece leaves the current one in use. */
        if (size == rounded) return block->memory;
        a->at = block->memory;
        a->end = block->memory + size;
    }
    void *piece = a->at;
    a->at += rounded;
    return piece;
}

struct span arena_copy(struct arena *a, struct span s) {
    char *copy = arena_alloc(a, s.len + 1);
    if (!copy) return (struct span){NULL, 0};
    if (s.len) memcpy(copy, s.at, s.len);
    copy[s.len] = 0;
    return span_of(copy, s.len);
}

void arena_reset(struct arena *a) {
    while (a->blocks) {
        struct arena_block *next = a->blocks->next;
        free(a->blocks);
        a->blocks = next;
    }
    a->at = a->lent;
    a->end = a->lent ? a->lent + a->lent_size : NULL;
}
