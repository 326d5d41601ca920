/* A hash table of nodes that live inside its members. It owns only its buckets, and
 * their number follows that of the members a few buckets at a time: no call takes time
 * that grows with the table. Buckets are in the order of the hashes, so a walk from one
 * hash to the next meets each member that stays exactly once, whatever else comes, goes
 * or is moved between two of its steps.
 *
 * Members with a hash are looked for in the chain of *table_bucket; after every insert
 * or remove comes a table_step, when no chain is being walked. One thread at a time, or
 * under the owner's lock. */
#ifndef BASE_TABLE_H
#define BASE_TABLE_H

#include <stddef.h>
#include <stdint.h>

struct table_node {
    struct table_node *next;
    uint64_t hash;
};

struct table {
    struct table_node **buckets, **old; /* old: NULL unless some are yet to be moved */
    unsigned bits, old_bits;            /* of the numbers of buckets */
    size_t moved;                       /* buckets of old */
    size_t count;
};

/* 0 or ERR_MEMORY. */
int table_init(struct table *t);
void table_done(struct table *t);

/* The head of the chain that members with this hash are in. */
static inline struct table_node **table_bucket(const struct table *t, uint64_t hash) {
    if (t->old) {
        size_t index = (size_t)(hash >> (64 - t->old_bits));
        if (index >= t->moved) return &t->old[index];
    }
    return &t->buckets[hash >> (64 - t->bits)];
}

/* One step of a walk in the order of the hashes: the chain that has, perhaps among
 * others, all members with hashes from `from` up to *after, which is 0 at the end. */
struct table_node *table_walk(const struct table *t, uint64_t from, uint64_t *after);

static inline void table_insert(struct table *t, struct table_node *n) {
    struct table_node **head = table_bucket(t, n->hash);
    n->next = *head;
    *head = n;
    t->count++;
}

/* n is a member. */
void table_remove(struct table *t, struct table_node *n);

/* The slow way of table_step. */
void table_resize(struct table *t);

enum { TABLE_BITS_LEAST = 4, TABLE_BITS_MOST = 40, TABLE_SPARSE = 4 };

/* Moves some buckets on, or begins to when there are too few or too many. */
static inline void table_step(struct table *t) {
    size_t size = (size_t)1 << t->bits;
    if (t->old || t->count > size ||
        (t->bits > TABLE_BITS_LEAST && t->count < size / TABLE_SPARSE))
        table_resize(t);
}

#endif
