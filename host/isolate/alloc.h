/* Memory of one Lua state: small blocks from free lists over chunks that belong to the
 * state alone, larger ones from malloc; an account of both. Closing the state gives all
 * chunks back at once, so that reloads leave no holes behind.
 *
 * Passed to lua_newstate as alloc_lua with the struct as its data. Builds with a
 * sanitizer use malloc for everything. The thread that the state is on. */
#ifndef ISOLATE_ALLOC_H
#define ISOLATE_ALLOC_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

enum { ALLOC_CLASSES = 32, ALLOC_STEP = 16 };

/* 1 in builds with a sanitizer. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define ALLOC_PLAIN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) ||             \
    __has_feature(memory_sanitizer)
#define ALLOC_PLAIN 1
#endif
#endif
#ifndef ALLOC_PLAIN
#define ALLOC_PLAIN 0
#endif

struct alloc_chunk;

/* Bytes of native memory that a state has made and that may outlive it; any thread
 * gives them back. */
struct alloc_tally {
    atomic_uint references; /* one for each piece, and the state's */
    atomic_size_t bytes;
};

struct alloc {
    size_t used;    /* bytes that Lua holds, and those of native memory */
    size_t native;  /* of these: see alloc_charge */
    size_t tallied; /* and these: tally->bytes, not long ago */
    size_t limit;   /* what used may not exceed; SIZE_MAX for none */
    size_t ceiling; /* limit, or 0 while each request is looked at */
    size_t refused; /* the bytes more that were wanted last in vain */
    unsigned fault; /* for specs: so many requests until the second that fails */
    void *spare[ALLOC_CLASSES];
    struct alloc_tally *tally; /* NULL: there never were any */
    struct alloc_chunk *chunks;
    char *at, *end;
    struct alloc_hold *holds; /* the innermost last */
    unsigned hold_count, hold_capacity;
    void *next; /* what the next request, of next_size, is given */
    size_t next_size;
};

void alloc_init(struct alloc *a);

/* After lua_close: frees every chunk. */
void alloc_done(struct alloc *a);

void alloc_limit(struct alloc *a, size_t limit);

/* Counts native memory that belongs to the state; more may be refused: false. */
bool alloc_charge(struct alloc *a, size_t size);
void alloc_discharge(struct alloc *a, size_t size);

/* Such memory, when any thread may give it back. NULL when it is refused, or without
 * memory. */
struct alloc_tally *alloc_charge_tally(struct alloc *a, size_t size);
void alloc_tally_discharge(struct alloc_tally *t, size_t size);

/* Looks how much others have given back. */
void alloc_sync(struct alloc *a);

/* For specs: the n-th request for more memory from now on fails, and so does the next,
 * which is Lua's second try. 0: none. */
void alloc_fail(struct alloc *a, unsigned n);
static inline bool alloc_has_failed(const struct alloc *a) {
    return a->fault <= 1;
}

/* Until alloc_release the block is not given away, even when Lua frees it: its owner
 * may want it back. frame is the caller's: holds of frames that Lua has jumped out of
 * are forgotten. 1; 0 when it is held already; ERR_MEMORY. */
int alloc_hold(struct alloc *a, void *block, const void *frame);
void alloc_release(struct alloc *a, void *block);

/* The next request gets the held block, which Lua has freed and which had that size. */
void alloc_give_back(struct alloc *a, void *block);

/* The next request, if it is for that size, gets this block of malloc's. Takes back
 * what it did not get: a block, or NULL. */
void alloc_offer(struct alloc *a, void *block, size_t size);
void *alloc_take_back(struct alloc *a);

void *alloc_lua(void *data, void *block, size_t old_size, size_t new_size);

#endif
