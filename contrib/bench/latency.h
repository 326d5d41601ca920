/* A histogram of durations: 32 buckets to each doubling, so that a percentile is right
 * to 3 %, in memory that does not grow with the number of samples.
 *
 * For the load client; one thread. */
#ifndef BENCH_LATENCY_H
#define BENCH_LATENCY_H

#include <stdint.h>

enum { LATENCY_STEPS = 32, LATENCY_BUCKETS = 64 * LATENCY_STEPS };

struct latency {
    uint64_t count, max; /* max in nanoseconds */
    uint64_t buckets[LATENCY_BUCKETS];
};

static inline void latency_add(struct latency *l, uint64_t ns) {
    int shift = ns < LATENCY_STEPS ? 0 : 63 - 5 - __builtin_clzll(ns);
    l->buckets[(uint64_t)shift * LATENCY_STEPS + (ns >> shift)]++;
    l->count++;
    if (ns > l->max) l->max = ns;
}

/* The upper edge of the bucket in which the share q of all samples is reached, or the
 * longest of all if that is less, in microseconds; 0 without samples. */
static inline double latency_at(const struct latency *l, double q) {
    uint64_t seen = 0;
    for (uint64_t i = 0; i < LATENCY_BUCKETS; i++) {
        seen += l->buckets[i];
        if (l->count && (double)seen >= q * (double)l->count) {
            uint64_t shift = i < 2 * LATENCY_STEPS ? 0 : i / LATENCY_STEPS - 1;
            uint64_t edge = (i - shift * LATENCY_STEPS + 1) << shift;
            return (double)(edge < l->max ? edge : l->max) / 1e3;
        }
    }
    return 0;
}

#endif
