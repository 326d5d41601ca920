#include "base/spsc.h"

#include "base/check.h"

#include <errno.h>
#include <sys/mman.h>

int spsc_init(struct spsc *q, size_t capacity) {
    CHECK(capacity >= 4096 && (capacity & (capacity - 1)) == 0);
    void *memory = mmap(NULL, capacity, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) return -ENOMEM;
    q->memory = memory;
    q->capacity = capacity;
    atomic_init(&q->head, 0);
    atomic_init(&q->tail, 0);
    q->tail_seen = 0;
    return 0;
}

void spsc_done(struct spsc *q) {
    munmap(q->memory, q->capacity);
    q->memory = NULL;
}

bool spsc_put(struct spsc *q, struct span s) {
    size_t head = atomic_load_explicit(&q->head, memory_order_relaxed);
    if (q->capacity - (head - q->tail_seen) < s.len) {
        q->tail_seen = atomic_load_explicit(&q->tail, memory_order_acquire);
        if (q->capacity - (head - q->tail_seen) < s.len) return false;
    }
    size_t at = head & (q->capacity - 1);
    size_t first = q->capacity - at;
    if (__builtin_expect(first >= s.len, 1)) {
        memcpy(q->memory + at, s.at, s.len);
    } else {
        memcpy(q->memory + at, s.at, first);
        memcpy(q->memory, s.at + first, s.len - first);
    }
    atomic_store(&q->head, head + s.len);
    return true;
}

void spsc_copy(struct spsc *q, char *out, size_t n) {
    size_t at =
        atomic_load_explicit(&q->tail, memory_order_relaxed) & (q->capacity - 1);
    size_t first = q->capacity - at;
    if (first > n) first = n;
    memcpy(out, q->memory + at, first);
    memcpy(out + first, q->memory, n - first);
}
