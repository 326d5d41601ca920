#include "isolate/alloc.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum {
    SMALL_MAX = ALLOC_CLASSES * ALLOC_STEP,
    CHUNK_MIN = 64 * 1024,
    CHUNK_MAX = 1024 * 1024,
};

/* At the start of its own mapping; what lies behind it is handed out. */
struct alloc_chunk {
    struct alloc_chunk *next;
    size_t size;
};

void alloc_init(struct alloc *a) {
    *a = (struct alloc){0};
}

void alloc_done(struct alloc *a) {
    while (a->chunks) {
        struct alloc_chunk *chunk = a->chunks;
        a->chunks = chunk->next;
        munmap(chunk, chunk->size);
    }
    alloc_init(a);
}

static inline unsigned class_of(size_t size) {
    return (unsigned)((size - 1) / ALLOC_STEP);
}

static inline void give(struct alloc *a, void *block, unsigned class) {
    *(void **)block = a->spare[class];
    a->spare[class] = block;
}

/* Mapped rather than taken from malloc: a mapping leaves nothing behind when it goes,
 * and pages that were never touched cost nothing. */
__attribute__((noinline)) static int grow(struct alloc *a) {
    size_t size = CHUNK_MIN;
    while (size < CHUNK_MAX && size < a->used / 4) size *= 2;
    struct alloc_chunk *chunk =
        mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (chunk == MAP_FAILED) return -1;
    /* the rest of the old chunk is one block of a smaller class */
    if (a->end - a->at >= ALLOC_STEP)
        give(a, a->at, class_of((size_t)(a->end - a->at)));
    chunk->next = a->chunks;
    chunk->size = size;
    a->chunks = chunk;
    a->at = (char *)(chunk + 1);
    a->end = (char *)chunk + size;
    return 0;
}

static inline void *take(struct alloc *a, size_t size) {
    if (ALLOC_PLAIN || size > SMALL_MAX) return malloc(size);
    unsigned class = class_of(size);
    void *block = a->spare[class];
    if (block) {
        a->spare[class] = *(void **)block;
        return block;
    }
    size_t whole = ((size_t) class + 1) * ALLOC_STEP;
    if ((size_t)(a->end - a->at) < whole && grow(a) < 0) return NULL;
    block = a->at;
    a->at += whole;
    return block;
}

static inline void put(struct alloc *a, void *block, size_t size) {
    if (ALLOC_PLAIN || size > SMALL_MAX)
        free(block);
    else
        give(a, block, class_of(size));
}

static void *resize(struct alloc *a, void *block, size_t old_size, size_t new_size) {
    if (ALLOC_PLAIN || (old_size > SMALL_MAX && new_size > SMALL_MAX))
        return realloc(block, new_size);
    if (old_size <= SMALL_MAX && new_size <= SMALL_MAX &&
        class_of(old_size) == class_of(new_size))
        return block;
    void *moved = take(a, new_size);
    if (!moved) return NULL;
    memcpy(moved, block, old_size < new_size ? old_size : new_size);
    put(a, block, old_size);
    return moved;
}

void *alloc_lua(void *data, void *block, size_t old_size, size_t new_size) {
    struct alloc *a = data;
    if (!block) old_size = 0; /* Lua passes the kind of the new object */
    if (new_size == 0) {
        if (old_size) put(a, block, old_size);
        a->used -= old_size;
        return NULL;
    }
    if (a->limit && new_size > old_size && a->used - old_size + new_size > a->limit)
        return NULL;
    void *result = old_size ? resize(a, block, old_size, new_size) : take(a, new_size);
    if (!result) return NULL;
    a->used += new_size - old_size;
    if (a->used > a->peak) a->peak = a->used;
    return result;
}
