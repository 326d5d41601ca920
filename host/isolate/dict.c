#include "isolate/dict.h"

#include "base/err.h"
#include "isolate/dict_store.h"

#include <stdlib.h>

/* By one step of a walk over the keys. */
enum { WALKED_AT_ONCE = 128, BYTES_AT_ONCE = 8192 };

struct dict *dict_new(size_t limit, const struct siphash_key *seed) {
    struct dict *d = aligned_alloc(alignof(struct dict), sizeof *d);
    if (!d) return NULL;
    memset(d, 0, sizeof *d);
    d->seed = *seed;
    atomic_init(&d->limit, limit);
    for (int i = 0; i < DICT_SHARDS; i++) {
        struct shard *s = &d->shards[i];
        list_init(&s->used);
        atomic_init(&s->oldest, INT64_MAX);
        if (pthread_mutex_init(&s->lock, NULL) == 0) {
            if (table_init(&s->table) == 0) continue;
            pthread_mutex_destroy(&s->lock);
        }
        while (i-- > 0) {
            table_done(&d->shards[i].table);
            pthread_mutex_destroy(&d->shards[i].lock);
        }
        free(d);
        return NULL;
    }
    return d;
}

void dict_free(struct dict *d) {
    for (int i = 0; i < DICT_SHARDS; i++) {
        struct shard *s = &d->shards[i];
        dict_release_all(&s->used);
        table_done(&s->table);
        pthread_mutex_destroy(&s->lock);
    }
    free(d);
}

/* ---- values ---- */

int dict_get(struct dict *d, const struct dict_key *k, int64_t now,
             struct dict_copy *out) {
    struct visit v;
    struct entry *e = dict_enter(&v, d, k, now);
    int err = e ? dict_read(&e->cell, e->bytes, out) : -ENOENT;
    out->version = e ? e->version : 0;
    dict_leave(&v);
    return err;
}

void dict_release(struct dict_copy *c) {
    if (c->held) dict_release_cell(c->held);
    c->held = NULL;
}

static void set_end(struct visit *v, struct entry *e, int64_t ends) {
    if (ends == DICT_KEEP) return;
    if (e->ends != DICT_NEVER) v->s->mortal--;
    if (ends != DICT_NEVER) v->s->mortal++;
    e->ends = ends;
}

int dict_put(struct dict *d, const struct dict_key *k, int64_t now,
             const struct dict_value *value, struct dict_condition c, int64_t ends) {
    struct visit v;
    struct entry *was = dict_enter(&v, d, k, now);
    int err = dict_meets(was, c);
    bool fits = err == 0 && was && dict_overwrite(&v, was, value);
    if (fits) set_end(&v, was, ends);
    dict_sweep(&v);
    dict_leave(&v);
    if (err || fits) return err;
    struct span bytes = dict_bytes(value);
    struct entry *e = dict_entry_new(d, k, value, bytes.at, bytes.len);
    if (!e) return -ENOMEM;
    err = dict_insert(d, k, now, e, c, ends);
    if (err) dict_release_cell(&e->cell);
    return err;
}

int dict_delete(struct dict *d, const struct dict_key *k, int64_t now,
                struct dict_condition c) {
    struct visit v;
    struct entry *e = dict_enter(&v, d, k, now);
    int err = dict_meets(e, c);
    if (err == 0 && !e) err = -ENOENT;
    if (err == 0) dict_detach(&v, e);
    dict_sweep(&v);
    dict_leave(&v);
    return err;
}

static double real_of(const struct dict_value *v) {
    return v->kind == DICT_REAL ? v->real : (double)v->integer;
}

static bool is_number(enum dict_kind kind) {
    return kind == DICT_INTEGER || kind == DICT_REAL;
}

static int plus(const struct dict_value *a, const struct dict_value *b,
                struct dict_value *sum) {
    struct dict_value s = {.kind = DICT_REAL};
    if (!is_number(a->kind) || !is_number(b->kind)) return ERR_WRONG_TYPE;
    if (a->kind == DICT_REAL || b->kind == DICT_REAL)
        s.real = real_of(a) + real_of(b);
    else if (__builtin_add_overflow(a->integer, b->integer, &s.integer))
        return -EOVERFLOW;
    else
        s.kind = DICT_INTEGER;
    *sum = s;
    return 0;
}

static int add_to(struct visit *v, struct entry *e, const struct dict_value *by,
                  struct dict_value *sum) {
    struct dict_value is = {.kind = (enum dict_kind)e->cell.kind};
    if (is.kind == DICT_INTEGER)
        is.integer = e->cell.integer;
    else if (is.kind == DICT_REAL)
        is.real = e->cell.real;
    int err = plus(&is, by, sum);
    if (err) return err;
    dict_write_number(&e->cell, sum);
    dict_changed(v, e);
    return 0;
}

int dict_add(struct dict *d, const struct dict_key *k, int64_t now,
             const struct dict_value *by, const struct dict_value *initial,
             int64_t ends, struct dict_value *sum) {
    for (;;) {
        struct visit v;
        struct entry *e = dict_enter(&v, d, k, now);
        int err = e ? add_to(&v, e, by, sum) : -ENOENT;
        dict_sweep(&v);
        dict_leave(&v);
        if (err != -ENOENT || !initial) return err;
        err = plus(initial, by, sum);
        if (err) return err;
        err =
            dict_put(d, k, now, sum, (struct dict_condition){DICT_IF_ABSENT, 0}, ends);
        if (err != -EEXIST) return err;
    }
}

int dict_ends(struct dict *d, const struct dict_key *k, int64_t now, int64_t *ends) {
    struct visit v;
    struct entry *e = dict_enter(&v, d, k, now);
    if (e) *ends = e->ends;
    dict_leave(&v);
    return e ? 0 : -ENOENT;
}

int dict_end_at(struct dict *d, const struct dict_key *k, int64_t now, int64_t ends) {
    struct visit v;
    struct entry *e = dict_enter(&v, d, k, now);
    if (e) set_end(&v, e, ends);
    dict_sweep(&v);
    dict_leave(&v);
    return e ? 0 : -ENOENT;
}

/* ---- all of it ---- */

/* A record of dict_keys: this, then the bytes of the key. */
struct record {
    uint16_t len;
    bool is_integer;
};

static bool begins_with(const struct entry *e, const struct span *prefix) {
    struct span key = dict_key_of(e);
    return !e->cell.key_is_integer && key.len >= prefix->len &&
           span_eq(span_of(key.at, prefix->len), *prefix);
}

static int append_key(struct buf *out, const struct entry *e) {
    struct span key = dict_key_of(e);
    struct record r = {(uint16_t)key.len, e->cell.key_is_integer};
    if (!buf_reserve(out, sizeof r + key.len)) return ERR_MEMORY;
    int err = buf_append(out, &r, sizeof r);
    return err ? err : buf_append(out, key.at, key.len);
}

int dict_keys(struct dict *d, struct dict_cursor *at, int64_t now,
              const struct span *prefix, struct buf *out) {
    if (at->shard >= DICT_SHARDS) return 0;
    struct shard *s = &d->shards[at->shard];
    int err = 0;
    pthread_mutex_lock(&s->lock);
    for (int i = 0; i < WALKED_AT_ONCE && buf_len(out) < BYTES_AT_ONCE; i++) {
        uint64_t from = at->hash;
        struct table_node *n = table_walk(&s->table, from, &at->hash);
        for (; n && err == 0; n = n->next) {
            struct entry *e = LIST_OF(n, struct entry, node);
            /* One chain may have the hashes of two steps. */
            if (n->hash < from || (at->hash && n->hash >= at->hash)) continue;
            if (e->ends <= now || (prefix && !begins_with(e, prefix))) continue;
            err = append_key(out, e);
        }
        if (err || at->hash == 0) break;
    }
    pthread_mutex_unlock(&s->lock);
    if (err) return err;
    if (at->hash == 0) at->shard++;
    return at->shard < DICT_SHARDS;
}

bool dict_next_key(struct span *records, struct dict_key *k) {
    struct record r;
    if (!records->len) return false;
    memcpy(&r, records->at, sizeof r);
    const char *bytes = records->at + sizeof r;
    *k = (struct dict_key){.is_integer = r.is_integer};
    if (r.is_integer)
        memcpy(&k->integer, bytes, sizeof k->integer);
    else
        k->text = span_of(bytes, r.len);
    *records = span_of(bytes + r.len, records->len - sizeof r - r.len);
    return true;
}

int dict_flush(struct dict *d) {
    for (int i = 0; i < DICT_SHARDS; i++) {
        struct shard *s = &d->shards[i];
        struct table fresh, stale;
        struct link dead;
        int err = table_init(&fresh);
        if (err) return err;
        list_init(&dead);
        pthread_mutex_lock(&s->lock);
        stale = s->table;
        s->table = fresh;
        list_splice(&dead, &s->used);
        atomic_fetch_sub_explicit(&d->used, s->bytes, memory_order_relaxed);
        s->bytes = s->mortal = 0;
        s->swept = 0;
        atomic_store_explicit(&s->oldest, INT64_MAX, memory_order_relaxed);
        pthread_mutex_unlock(&s->lock);
        table_done(&stale);
        dict_release_all(&dead);
    }
    return 0;
}

void dict_stats(struct dict *d, struct dict_stats *out) {
    *out = (struct dict_stats){.limit = dict_limit(d)};
    for (int i = 0; i < DICT_SHARDS; i++) {
        struct shard *s = &d->shards[i];
        pthread_mutex_lock(&s->lock);
        out->used += s->bytes;
        out->entries += s->table.count;
        out->evictions += s->evictions;
        out->expirations += s->expirations;
        pthread_mutex_unlock(&s->lock);
    }
}

void dict_set_limit(struct dict *d, size_t limit, int64_t now) {
    atomic_store_explicit(&d->limit, limit, memory_order_relaxed);
    dict_make_room(d, now);
}
