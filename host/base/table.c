#include "base/table.h"

#include "base/err.h"

#include <stdlib.h>

/* With two a table that grows is done before it has to grow again. One that shrinks
 * must move its buckets while half of its few members go. */
enum { MOVED_AT_ONCE = 2 * TABLE_SPARSE };

int table_init(struct table *t) {
    *t = (struct table){.bits = TABLE_BITS_LEAST};
    t->buckets = calloc((size_t)1 << t->bits, sizeof(struct table_node *));
    return t->buckets ? 0 : ERR_MEMORY;
}

void table_done(struct table *t) {
    free(t->buckets);
    free(t->old);
    *t = (struct table){0};
}

struct table_node *table_walk(const struct table *t, uint64_t from, uint64_t *after) {
    unsigned bits = t->bits;
    uint64_t edge = 0; /* the first hash that is still in old, if it is not from */
    if (t->old) {
        if (from >> (64 - t->old_bits) >= t->moved)
            bits = t->old_bits;
        else
            edge = (uint64_t)t->moved << (64 - t->old_bits);
    }
    uint64_t end = ((from >> (64 - bits)) + 1) << (64 - bits);
    /* Of a bucket that is being put together from two, the second may be in old. */
    if (edge && (end == 0 || end > edge)) end = edge;
    *after = end;
    return *table_bucket(t, from);
}

void table_remove(struct table *t, struct table_node *n) {
    struct table_node **at = table_bucket(t, n->hash);
    while (*at != n) at = &(*at)->next;
    *at = n->next;
    n->next = NULL;
    t->count--;
}

static void begin(struct table *t, unsigned bits) {
    struct table_node **fresh = calloc((size_t)1 << bits, sizeof *fresh);
    if (!fresh) return; /* longer chains until there is memory */
    t->old = t->buckets;
    t->old_bits = t->bits;
    t->buckets = fresh;
    t->bits = bits;
    t->moved = 0;
}

void table_resize(struct table *t) {
    if (!t->old) {
        if (t->count > (size_t)1 << t->bits && t->bits < TABLE_BITS_MOST)
            begin(t, t->bits + 1);
        else if (t->bits > TABLE_BITS_LEAST &&
                 t->count < ((size_t)1 << t->bits) / TABLE_SPARSE)
            begin(t, t->bits - 1);
        if (!t->old) return;
    }
    size_t size = (size_t)1 << t->old_bits;
    for (int i = 0; i < MOVED_AT_ONCE && t->moved < size; i++) {
        struct table_node *n = t->old[t->moved], *next;
        for (; n; n = next) {
            struct table_node **head = &t->buckets[n->hash >> (64 - t->bits)];
            next = n->next;
            n->next = *head;
            *head = n;
        }
        t->moved++;
    }
    if (t->moved < size) return;
    free(t->old);
    t->old = NULL;
}
