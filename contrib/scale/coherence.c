/* Counts what threads cost each other: how often one takes a line of memory that
 * another had, as caches would, and how locks go. Linked into a build of the program in
 * which the compiler announces every access (-fsanitize=thread, of which only the calls
 * are used, not the library). Nothing here depends on time or on how many CPUs there
 * are.
 *
 * The model is MSI without a capacity: a line is owned by who wrote it last and shared
 * by who has read it since. A write to a line that others have, or a read of a line
 * that another wrote, is a transfer. Lua, libev and libc are not compiled so: their
 * memory is each thread's own but for the allocator's, and is not seen. At the end a
 * report is written to the file that COHERENCE names. Any thread. */
#include <dlfcn.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { LINES = 1 << 20, SITES = 1 << 12, THREADS = 256, LINE_BITS = 6 };

struct line {
    atomic_flag busy;
    uint8_t owner;
    uintptr_t tag;
    uint64_t readers[THREADS / 64];
};

struct site {
    _Atomic(void *) pc;
    atomic_ullong transfers;
};

static struct line lines[LINES];
static struct site sites[SITES];
static atomic_ullong write_transfers, read_transfers, locks, contended, wakes;
static atomic_int threads;
static _Thread_local int me;
static _Thread_local volatile bool inside;

static int number(void) {
    if (me == 0) me = 1 + atomic_fetch_add(&threads, 1) % (THREADS - 1);
    return me;
}

static void blame(void *pc) {
    unsigned i = (unsigned)(((uintptr_t)pc * UINT64_C(0x9e3779b97f4a7c15)) >> 52);
    for (unsigned n = 0; n < SITES; n++, i = (i + 1) % SITES) {
        void *none = NULL;
        if (atomic_load_explicit(&sites[i].pc, memory_order_relaxed) == pc ||
            atomic_compare_exchange_strong(&sites[i].pc, &none, pc) || none == pc) {
            atomic_fetch_add_explicit(&sites[i].transfers, 1, memory_order_relaxed);
            return;
        }
    }
}

static void touch_line(uintptr_t tag, bool write, void *pc) {
    int t = number();
    struct line *l = &lines[(tag * UINT64_C(0x9e3779b97f4a7c15)) >> 44];
    uint64_t bit = UINT64_C(1) << (t & 63);
    bool moved = false;
    while (atomic_flag_test_and_set_explicit(&l->busy, memory_order_acquire)) continue;
    if (l->tag != tag) {
        l->tag = tag;
        l->owner = 0;
        memset(l->readers, 0, sizeof l->readers);
    }
    bool mine = l->readers[t >> 6] & bit;
    if (write) {
        for (int i = 0; i < THREADS / 64; i++)
            moved |= (l->readers[i] & ~(i == t >> 6 ? bit : 0)) != 0;
        if (moved || !mine) memset(l->readers, 0, sizeof l->readers);
        l->owner = (uint8_t)t;
    } else {
        moved = !mine && l->owner && l->owner != t;
    }
    l->readers[t >> 6] |= bit;
    atomic_flag_clear_explicit(&l->busy, memory_order_release);
    if (!moved) return;
    atomic_fetch_add_explicit(write ? &write_transfers : &read_transfers, 1,
                              memory_order_relaxed);
    blame(pc);
}

static void touch(const volatile void *at, size_t n, bool write, void *pc) {
    if (inside) return; /* a signal's handler: what it interrupted may hold the line */
    inside = true;
    uintptr_t first = (uintptr_t)at >> LINE_BITS;
    uintptr_t last = ((uintptr_t)at + (n ? n - 1 : 0)) >> LINE_BITS;
    for (; first <= last; first++) touch_line(first, write, pc);
    inside = false;
}

/* ---- what the compiler calls ---- */

#define PC __builtin_return_address(0)
#define PLAIN(n)                                                                       \
    void __tsan_read##n(void *at) {                                                    \
        touch(at, n, false, PC);                                                       \
    }                                                                                  \
    void __tsan_write##n(void *at) {                                                   \
        touch(at, n, true, PC);                                                        \
    }                                                                                  \
    void __tsan_unaligned_read##n(void *at) {                                          \
        touch(at, n, false, PC);                                                       \
    }                                                                                  \
    void __tsan_unaligned_write##n(void *at) {                                         \
        touch(at, n, true, PC);                                                        \
    }                                                                                  \
    void __tsan_volatile_read##n(void *at) {                                           \
        touch(at, n, false, PC);                                                       \
    }                                                                                  \
    void __tsan_volatile_write##n(void *at) {                                          \
        touch(at, n, true, PC);                                                        \
    }
PLAIN(1)
PLAIN(2)
PLAIN(4)
PLAIN(8)
PLAIN(16)

void __tsan_init(void) {
}
void __tsan_func_entry(void *pc) {
    (void)pc;
}
void __tsan_func_exit(void) {
}
void __tsan_read_range(void *at, size_t n) {
    touch(at, n, false, PC);
}
void __tsan_write_range(void *at, size_t n) {
    touch(at, n, true, PC);
}

#define FETCH(bits, type, name, builtin)                                               \
    type __tsan_atomic##bits##_fetch_##name(volatile type *at, type v, int order) {    \
        (void)order;                                                                   \
        touch(at, sizeof v, true, PC);                                                 \
        return builtin(at, v, __ATOMIC_SEQ_CST);                                       \
    }
#define EXCHANGE(bits, type, name)                                                     \
    int __tsan_atomic##bits##_compare_exchange_##name(volatile type *at, type *old,    \
                                                      type v, int yes, int no) {       \
        (void)yes, (void)no;                                                           \
        touch(at, sizeof v, true, PC);                                                 \
        return __atomic_compare_exchange_n(at, old, v, 0, __ATOMIC_SEQ_CST,            \
                                           __ATOMIC_SEQ_CST);                          \
    }
#define ATOMIC(bits, type)                                                             \
    type __tsan_atomic##bits##_load(const volatile type *at, int order) {              \
        (void)order;                                                                   \
        touch(at, sizeof *at, false, PC);                                              \
        return __atomic_load_n(at, __ATOMIC_SEQ_CST);                                  \
    }                                                                                  \
    void __tsan_atomic##bits##_store(volatile type *at, type v, int order) {           \
        (void)order;                                                                   \
        touch(at, sizeof v, true, PC);                                                 \
        __atomic_store_n(at, v, __ATOMIC_SEQ_CST);                                     \
    }                                                                                  \
    type __tsan_atomic##bits##_exchange(volatile type *at, type v, int order) {        \
        (void)order;                                                                   \
        touch(at, sizeof v, true, PC);                                                 \
        return __atomic_exchange_n(at, v, __ATOMIC_SEQ_CST);                           \
    }                                                                                  \
    FETCH(bits, type, add, __atomic_fetch_add)                                         \
    FETCH(bits, type, sub, __atomic_fetch_sub)                                         \
    FETCH(bits, type, and, __atomic_fetch_and)                                         \
    FETCH(bits, type, or, __atomic_fetch_or)                                           \
    FETCH(bits, type, xor, __atomic_fetch_xor)                                         \
    EXCHANGE(bits, type, strong)                                                       \
    EXCHANGE(bits, type, weak)
ATOMIC(8, uint8_t)
ATOMIC(16, uint16_t)
ATOMIC(32, uint32_t)
ATOMIC(64, uint64_t)

void __tsan_atomic_thread_fence(int order) {
    (void)order;
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
}
void __tsan_atomic_signal_fence(int order) {
    (void)order;
}

/* ---- locks and wake-ups ---- */

int pthread_mutex_lock(pthread_mutex_t *m) {
    static int (*real)(pthread_mutex_t *);
    if (!real) *(void **)&real = dlsym(RTLD_NEXT, "pthread_mutex_lock");
    atomic_fetch_add_explicit(&locks, 1, memory_order_relaxed);
    touch(m, sizeof *m, true, PC);
    if (pthread_mutex_trylock(m) == 0) return 0;
    atomic_fetch_add_explicit(&contended, 1, memory_order_relaxed);
    return real(m);
}

/* Eight bytes wake another thread's loop: ev_async writes so to its eventfd. */
ssize_t write(int fd, const void *from, size_t n) {
    static ssize_t (*real)(int, const void *, size_t);
    if (!real) *(void **)&real = dlsym(RTLD_NEXT, "write");
    if (n == 8) atomic_fetch_add_explicit(&wakes, 1, memory_order_relaxed);
    return real(fd, from, n);
}

/* ---- the report ---- */

__attribute__((destructor)) static void report(void) {
    const char *path = getenv("COHERENCE");
    char name[512];
    if (!path) return;
    snprintf(name, sizeof name, "%s.%d", path, (int)getpid());
    FILE *f = fopen(name, "w");
    if (!f) return;
    Dl_info self;
    uintptr_t base = dladdr((void *)report, &self) ? (uintptr_t)self.dli_fbase : 0;
    fprintf(f, "writes %llu\nreads %llu\nlocks %llu\ncontended %llu\nwakes %llu\n",
            (unsigned long long)write_transfers, (unsigned long long)read_transfers,
            (unsigned long long)locks, (unsigned long long)contended,
            (unsigned long long)wakes);
    for (unsigned i = 0; i < SITES; i++)
        if (sites[i].pc)
            fprintf(f, "site %#lx %llu\n", (uintptr_t)sites[i].pc - base - 1,
                    (unsigned long long)sites[i].transfers);
    fclose(f);
}
