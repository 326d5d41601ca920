/* A dictionary that threads share: bytes or integers to values, each with a time at
 * which it ends, in a bounded amount of memory. When that is used up, what has not been
 * touched for the longest time goes. Keys are spread over shards with a lock each; a
 * thread holds at most one, for a few hundred instructions at most, and never while it
 * frees or copies what is large.
 *
 * It knows no Lua. What is read is copied when it is small, else held by a reference
 * that the reader gives back. Every function is told the time, monotonic ns; what has
 * ended is there for nobody, and its memory is given back by later calls. Any thread.
 */
#ifndef ISOLATE_DICT_H
#define ISOLATE_DICT_H

#include "base/buf.h"
#include "base/siphash.h"

enum {
    DICT_KEY_MAX = 65535,
    DICT_SMALL = 512, /* values up to this size are copied */
    DICT_SHARDS = 32,
};

#define DICT_NEVER INT64_MAX /* as a time to end */
#define DICT_KEEP INT64_MIN  /* the one that the present entry has */

struct dict;

enum dict_kind {
    DICT_FALSE,
    DICT_TRUE,
    DICT_INTEGER,
    DICT_REAL,
    DICT_STRING,
    DICT_PACKED, /* bytes whose meaning the caller knows */
    DICT_LIST,
};

struct dict_key {
    bool is_integer;
    int64_t integer;
    struct span text; /* at most DICT_KEY_MAX */
};

struct dict_value {
    enum dict_kind kind;
    union {
        int64_t integer;
        double real;
        struct span bytes;
    };
};

/* A value that was read. Zeroed by the caller but for may_hold; bytes are valid until
 * dict_release. */
struct dict_copy {
    struct dict_value value;
    uint64_t version;
    bool may_hold; /* it will be released, so that large ones can be read */
    void *held;
    char small[DICT_SMALL];
};

/* limit: bytes of all entries, as dict_stats counts them. NULL without memory. */
struct dict *dict_new(size_t limit, const struct siphash_key *seed);
void dict_free(struct dict *d); /* nothing is held */

/* 0, -ENOENT, ERR_WRONG_TYPE for a list; ERR_TOO_LARGE: it must be held and may not. */
int dict_get(struct dict *d, const struct dict_key *k, int64_t now,
             struct dict_copy *out);
void dict_release(struct dict_copy *c);

enum dict_when { DICT_ALWAYS, DICT_IF_ABSENT, DICT_IF_PRESENT, DICT_IF_VERSION };

struct dict_condition {
    enum dict_when when;
    uint64_t version; /* of dict_get; 0: absent */
};

/* Puts a value in the place of whatever there was. 0; -EEXIST, -ENOENT or -ESTALE when
 * the condition does not hold; -ENOMEM when it is larger than the limit or memory has
 * run out. */
int dict_put(struct dict *d, const struct dict_key *k, int64_t now,
             const struct dict_value *v, struct dict_condition c, int64_t ends);

/* 0, or as above; -ENOENT when there was none and it need not be. */
int dict_delete(struct dict *d, const struct dict_key *k, int64_t now,
                struct dict_condition c);

/* Adds a number to a number, or to *initial (NULL: none), which then ends at that time.
 * 0; -ENOENT, ERR_WRONG_TYPE, -EOVERFLOW of integers, -ENOMEM. */
int dict_add(struct dict *d, const struct dict_key *k, int64_t now,
             const struct dict_value *by, const struct dict_value *initial,
             int64_t ends, struct dict_value *sum);

/* When it ends. 0 or -ENOENT. */
int dict_ends(struct dict *d, const struct dict_key *k, int64_t now, int64_t *ends);
int dict_end_at(struct dict *d, const struct dict_key *k, int64_t now, int64_t ends);

enum dict_side { DICT_LEFT, DICT_RIGHT };

/* Lists are made by the first push and gone with the last pop. 0; ERR_WRONG_TYPE,
 * -ENOMEM; of pop also -ENOENT, and ERR_TOO_LARGE as of dict_get. The length of none
 * is 0. */
int dict_push(struct dict *d, const struct dict_key *k, int64_t now,
              enum dict_side side, const struct dict_value *v, size_t *length);
int dict_pop(struct dict *d, const struct dict_key *k, int64_t now, enum dict_side side,
             struct dict_copy *out);
int dict_length(struct dict *d, const struct dict_key *k, int64_t now, size_t *length);

/* A walk over all keys. Those that stay meanwhile are met once. */
struct dict_cursor {
    unsigned shard;
    uint64_t hash;
};

/* Appends some of the keys as records, in which only dict_next_key can read; with a
 * prefix (not NULL) only texts that begin with it. 1, 0 when there are no more, or
 * ERR_MEMORY. */
int dict_keys(struct dict *d, struct dict_cursor *at, int64_t now,
              const struct span *prefix, struct buf *out);

/* Takes a record off the front; its text is borrowed. */
bool dict_next_key(struct span *records, struct dict_key *k);

/* Removes everything. 0 or ERR_MEMORY. */
int dict_flush(struct dict *d);

struct dict_stats {
    size_t used, limit, entries;
    uint64_t evictions;   /* entries that had to go for others */
    uint64_t expirations; /* entries that were removed when their time was over */
};

void dict_stats(struct dict *d, struct dict_stats *out);

/* Another limit; what is then too much goes at once. */
void dict_set_limit(struct dict *d, size_t limit, int64_t now);
size_t dict_limit(const struct dict *d);

#endif
