#include "isolate/alloc.h"

#include "base/check.h"
#include "base/err.h"

#include <stdint.h>
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

struct alloc_hold {
    void *block;
    const void *frame;
    size_t freed; /* its size when Lua has freed it */
};

void alloc_init(struct alloc *a) {
    *a = (struct alloc){.limit = SIZE_MAX, .ceiling = SIZE_MAX};
}

static void unref(struct alloc_tally *t) {
    if (atomic_fetch_sub_explicit(&t->references, 1, memory_order_acq_rel) == 1)
        free(t);
}

void alloc_done(struct alloc *a) {
    while (a->hold_count) alloc_release(a, a->holds[a->hold_count - 1].block);
    free(a->holds);
    if (a->tally) unref(a->tally);
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

static struct alloc_hold *find_hold(struct alloc *a, const void *block) {
    for (unsigned i = a->hold_count; i > 0; i--)
        if (a->holds[i - 1].block == block) return &a->holds[i - 1];
    return NULL;
}

void alloc_release(struct alloc *a, void *block) {
    struct alloc_hold *hold = find_hold(a, block);
    if (!hold) return;
    size_t freed = hold->freed;
    *hold = a->holds[--a->hold_count];
    if (freed) put(a, block, freed);
}

int alloc_hold(struct alloc *a, void *block, const void *frame) {
    for (unsigned i = a->hold_count; i > 0; i--) /* the stack grows downwards */
        if ((const char *)a->holds[i - 1].frame <= (const char *)frame)
            alloc_release(a, a->holds[i - 1].block);
    if (find_hold(a, block)) return 0;
    if (a->hold_count == a->hold_capacity) {
        unsigned capacity = a->hold_capacity ? a->hold_capacity * 2 : 8;
        struct alloc_hold *holds = realloc(a->holds, capacity * sizeof *holds);
        if (!holds) return ERR_MEMORY;
        a->holds = holds;
        a->hold_capacity = capacity;
    }
    a->holds[a->hold_count++] = (struct alloc_hold){.block = block, .frame = frame};
    return 1;
}

void alloc_give_back(struct alloc *a, void *block) {
    struct alloc_hold *hold = find_hold(a, block);
    CHECK(hold && hold->freed);
    a->next = block;
    a->next_size = hold->freed;
    hold->freed = 0;
}

void alloc_offer(struct alloc *a, void *block, size_t size) {
    CHECK(!a->next && size > SMALL_MAX);
    a->next = block;
    a->next_size = size;
}

void *alloc_take_back(struct alloc *a) {
    void *block = a->next;
    a->next = NULL;
    return block;
}

void alloc_limit(struct alloc *a, size_t limit) {
    a->limit = limit;
    a->ceiling = a->fault ? 0 : limit;
}

void alloc_fail(struct alloc *a, unsigned n) {
    a->fault = n ? n + 1 : 0;
    alloc_limit(a, a->limit);
}

void alloc_sync(struct alloc *a) {
    if (!a->tally) return;
    size_t now = atomic_load_explicit(&a->tally->bytes, memory_order_relaxed);
    a->used += now - a->tallied;
    a->tallied = now;
}

/* Above the ceiling. */
__attribute__((noinline)) static bool refuses(struct alloc *a, size_t more) {
    alloc_sync(a);
    bool over = a->used + more > a->limit;
    if (a->fault) {
        if (--a->fault <= 1) over = true;
        alloc_limit(a, a->limit);
    }
    if (over) a->refused = more;
    return over;
}

bool alloc_charge(struct alloc *a, size_t size) {
    if (a->used + size > a->ceiling && refuses(a, size)) return false;
    a->used += size;
    a->native += size;
    return true;
}

void alloc_discharge(struct alloc *a, size_t size) {
    CHECK(size <= a->native);
    a->used -= size;
    a->native -= size;
}

struct alloc_tally *alloc_charge_tally(struct alloc *a, size_t size) {
    if (!a->tally) {
        a->tally = malloc(sizeof *a->tally);
        if (!a->tally) return NULL;
        atomic_init(&a->tally->references, 1);
        atomic_init(&a->tally->bytes, 0);
    }
    if (a->used + size > a->ceiling && refuses(a, size)) return NULL;
    atomic_fetch_add_explicit(&a->tally->references, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&a->tally->bytes, size, memory_order_relaxed);
    alloc_sync(a);
    return a->tally;
}

void alloc_tally_discharge(struct alloc_tally *t, size_t size) {
    atomic_fetch_sub_explicit(&t->bytes, size, memory_order_relaxed);
    unref(t);
}

static void release(struct alloc *a, void *block, size_t size) {
    struct alloc_hold *hold = a->hold_count ? find_hold(a, block) : NULL;
    if (__builtin_expect(hold != NULL, 0))
        hold->freed = size;
    else
        put(a, block, size);
}

void *alloc_lua(void *data, void *block, size_t old_size, size_t new_size) {
    struct alloc *a = data;
    if (!block) old_size = 0; /* Lua passes the kind of the new object */
    if (new_size == 0) {
        if (old_size) release(a, block, old_size);
        a->used -= old_size;
        return NULL;
    }
    if (__builtin_expect(a->next != NULL, 0) && !block && a->next_size == new_size) {
        block = a->next;
        a->next = NULL;
        a->used += new_size;
        return block;
    }
    if (__builtin_expect(a->used - old_size + new_size > a->ceiling, 0) &&
        new_size > old_size && refuses(a, new_size - old_size))
        return NULL;
    void *result = old_size ? resize(a, block, old_size, new_size) : take(a, new_size);
    if (!result) {
        a->refused = new_size - old_size;
        return NULL;
    }
    a->used += new_size - old_size;
    return result;
}
