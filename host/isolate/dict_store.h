/* Where a dictionary keeps its entries: shards with a lock, a table and an order of use
 * each, under one limit of memory. A visit is one call's stay in one shard: between
 * dict_enter and dict_leave its lock is held, and entries that are detached meanwhile
 * are freed when it is not any more.
 *
 * For dict and dict_list alone. Any thread. */
#ifndef ISOLATE_DICT_STORE_H
#define ISOLATE_DICT_STORE_H

#include "base/list.h"
#include "base/table.h"
#include "isolate/dict.h"

#include <pthread.h>
#include <stdalign.h>
#include <stdatomic.h>

enum { DICT_LINE = 64 }; /* of the cache */

/* What entries and the items of a list begin with: their value. Bytes do not change;
 * who holds a reference may read them without the lock. */
struct cell {
    atomic_uint references;
    uint32_t len; /* of its bytes */
    union {
        int64_t integer;
        double real;
    };
    uint8_t kind;
    bool key_is_integer;
    uint16_t key_len;
};

struct item {
    struct cell cell;
    struct link link;
    char bytes[];
};

struct items {
    struct link ring;
    size_t count, size;
};

struct entry {
    struct cell cell;
    struct table_node node;
    struct link used; /* of the shard's, or of those to be freed */
    int64_t ends, touched;
    uint64_t version;
    char bytes[]; /* the value's (a struct items of a list), then the key's */
};

struct shard {
    alignas(DICT_LINE) pthread_mutex_t lock;
    struct table table;
    struct link used;     /* the entry touched last comes first */
    size_t bytes, mortal; /* of the entries; how many of them will end */
    uint64_t version;     /* of the last change */
    uint64_t swept;       /* up to this hash */
    uint64_t evictions, expirations;
    /* When the last of used was touched, read without the lock; INT64_MAX: never. */
    _Atomic int64_t oldest;
};

struct dict {
    struct siphash_key seed;
    atomic_size_t limit;
    alignas(DICT_LINE) atomic_size_t used; /* bytes */
    struct shard shards[DICT_SHARDS];
};

/* One call's stay in a shard. */
struct visit {
    struct dict *d;
    struct shard *s;
    uint64_t hash;
    int64_t now;
    bool grown;
    struct link dead; /* freed when the lock is */
};

static inline struct items *items_of(struct entry *e) {
    return (struct items *)(void *)e->bytes;
}

static inline struct span dict_key_of(const struct entry *e) {
    return span_of(e->bytes + e->cell.len, e->cell.key_len);
}

/* Bytes of a piece of memory, with what malloc keeps beside it. */
size_t dict_size(void *piece);

/* Of all that an entry counts for. */
size_t dict_size_of_entry(struct entry *e);

/* Gives up a reference. */
void dict_release_cell(struct cell *c);

/* NULL when it cannot be: more than the limit, or no memory. Of an entry, at is NULL
 * where len bytes are to be filled in by the caller. */
struct entry *dict_entry_new(const struct dict *d, const struct dict_key *k,
                             const struct dict_value *v, const char *at, size_t len);
struct item *dict_item_new(const struct dict *d, const struct dict_value *v);

/* Gives up the entries in a ring of their links `used`. */
void dict_release_all(struct link *dead);

/* Locks the shard of the key; its entry, which counts as touched, or NULL. */
struct entry *dict_enter(struct visit *v, struct dict *d, const struct dict_key *k,
                         int64_t now);
void dict_leave(struct visit *v);

/* Outside of any visit: removes what was not used for the longest time until the rest
 * is within the limit. */
void dict_make_room(struct dict *d, int64_t now);

/* In a visit. */
void dict_detach(struct visit *v, struct entry *e);
/* The entry has taken so much more memory, and so much less. */
void dict_resized(struct visit *v, size_t more, size_t less);
/* A new version. */
void dict_changed(struct visit *v, struct entry *e);

/* In a visit: a small value in the place of another, if nobody reads that and the
 * memory is of about the right size; else false. */
bool dict_overwrite(struct visit *v, struct entry *e, const struct dict_value *value);

/* In a visit that changes something: removes what has ended from a few buckets, from
 * where the last one stopped. */
void dict_sweep(struct visit *v);

/* A visit of its own: puts e into the place of what is there, and takes it; but not
 * when it fails, with what dict_put says. */
int dict_insert(struct dict *d, const struct dict_key *k, int64_t now, struct entry *e,
                struct dict_condition c, int64_t ends);

/* 0 or what dict_put says. */
int dict_meets(const struct entry *e, struct dict_condition c);

/* In a visit; the kind may become another number's. */
void dict_write_number(struct cell *c, const struct dict_value *v);

/* A value to *out, by copy or by reference; as dict_get. */
int dict_read(struct cell *c, const char *bytes, struct dict_copy *out);

static inline struct span dict_bytes(const struct dict_value *v) {
    bool has = v->kind == DICT_STRING || v->kind == DICT_PACKED;
    return has ? v->bytes : span_of("", 0);
}

#endif
