#include "isolate/dict_store.h"

#include "base/err.h"

#include <malloc.h>
#include <stdlib.h>

enum {
    CHUNK = sizeof(size_t),     /* what malloc keeps with each piece */
    PLACE = 2 * sizeof(void *), /* an entry's share of the buckets, about */
    SWEPT_AT_ONCE = 2,          /* buckets */
    SLACK = 256,                /* bytes that a smaller value may leave unused */
};

/* ---- entries ---- */

size_t dict_size(void *piece) {
    return malloc_usable_size(piece) + CHUNK;
}

size_t dict_size_of_entry(struct entry *e) {
    return dict_size(e) + PLACE + (e->cell.kind == DICT_LIST ? items_of(e)->size : 0);
}

void dict_release_cell(struct cell *c) {
    if (atomic_fetch_sub_explicit(&c->references, 1, memory_order_acq_rel) != 1) return;
    free(c);
}

void dict_release_all(struct link *dead) {
    struct link *l;
    while ((l = list_first(dead))) {
        struct entry *e = LIST_OF(l, struct entry, used);
        list_unlink(l);
        struct link *i;
        while (e->cell.kind == DICT_LIST && (i = list_first(&items_of(e)->ring))) {
            list_unlink(i);
            dict_release_cell(&LIST_OF(i, struct item, link)->cell);
        }
        dict_release_cell(&e->cell);
    }
}

static struct span bytes_of_key(const struct dict_key *k) {
    return k->is_integer ? span_of((const char *)&k->integer, sizeof k->integer)
                         : k->text;
}

static void *allocate(const struct dict *d, size_t head, size_t len, size_t key) {
    if (len > dict_limit(d) || len > UINT32_MAX) return NULL;
    return malloc(head + len + key);
}

void dict_write_number(struct cell *c, const struct dict_value *v) {
    c->kind = (uint8_t)v->kind;
    if (v->kind == DICT_INTEGER)
        c->integer = v->integer;
    else if (v->kind == DICT_REAL)
        c->real = v->real;
}

static void fill(struct cell *c, const struct dict_value *v, size_t len) {
    *c = (struct cell){.len = (uint32_t)len};
    atomic_init(&c->references, 1);
    dict_write_number(c, v);
}

struct entry *dict_entry_new(const struct dict *d, const struct dict_key *k,
                             const struct dict_value *v, const char *at, size_t len) {
    struct span key = bytes_of_key(k);
    struct entry *e = allocate(d, sizeof *e, len, key.len);
    if (!e) return NULL;
    fill(&e->cell, v, len);
    e->cell.key_is_integer = k->is_integer;
    e->cell.key_len = (uint16_t)key.len;
    list_init(&e->used);
    if (at && len) memcpy(e->bytes, at, len);
    if (key.len) memcpy(e->bytes + len, key.at, key.len);
    return e;
}

struct item *dict_item_new(const struct dict *d, const struct dict_value *v) {
    struct span bytes = dict_bytes(v);
    struct item *i = allocate(d, sizeof *i, bytes.len, 0);
    if (!i) return NULL;
    fill(&i->cell, v, bytes.len);
    list_init(&i->link);
    if (bytes.len) memcpy(i->bytes, bytes.at, bytes.len);
    return i;
}

/* ---- visits ---- */

static void lock(struct visit *v, struct shard *s) {
    v->s = s;
    v->grown = false;
    list_init(&v->dead);
    pthread_mutex_lock(&s->lock);
}

static void unlock(struct visit *v) {
    struct shard *s = v->s;
    table_step(&s->table);
    int64_t oldest = INT64_MAX;
    if (!list_empty(&s->used))
        oldest = LIST_OF(s->used.prev, struct entry, used)->touched;
    atomic_store_explicit(&s->oldest, oldest, memory_order_relaxed);
    pthread_mutex_unlock(&s->lock);
    if (!list_empty(&v->dead)) dict_release_all(&v->dead);
}

void dict_resized(struct visit *v, size_t more, size_t less) {
    v->s->bytes += more - less;
    atomic_fetch_add_explicit(&v->d->used, more - less, memory_order_relaxed);
    if (more > less) v->grown = true;
}

static void attach(struct visit *v, struct entry *e) {
    table_insert(&v->s->table, &e->node);
    list_prepend(&v->s->used, &e->used);
    if (e->ends != DICT_NEVER) v->s->mortal++;
    dict_resized(v, dict_size_of_entry(e), 0);
}

void dict_detach(struct visit *v, struct entry *e) {
    table_remove(&v->s->table, &e->node);
    list_unlink(&e->used);
    list_append(&v->dead, &e->used);
    if (e->ends != DICT_NEVER) v->s->mortal--;
    dict_resized(v, 0, dict_size_of_entry(e));
}

static void expire(struct visit *v, struct entry *e) {
    dict_detach(v, e);
    v->s->expirations++;
}

void dict_sweep(struct visit *v) {
    struct shard *s = v->s;
    for (int i = 0; i < SWEPT_AT_ONCE && s->mortal; i++) {
        struct table_node *n = table_walk(&s->table, s->swept, &s->swept), *next;
        for (; n; n = next) {
            struct entry *e = LIST_OF(n, struct entry, node);
            next = n->next;
            if (e->ends <= v->now) expire(v, e);
        }
    }
}

size_t dict_limit(const struct dict *d) {
    return atomic_load_explicit(&d->limit, memory_order_relaxed);
}

static bool full(struct dict *d) {
    return atomic_load_explicit(&d->used, memory_order_relaxed) > dict_limit(d);
}

/* The shard with the entry that was not touched for the longest time; NULL: all are
 * empty. */
static struct shard *oldest_shard(struct dict *d) {
    struct shard *found = NULL;
    int64_t oldest = INT64_MAX;
    for (int i = 0; i < DICT_SHARDS; i++) {
        struct shard *s = &d->shards[i];
        int64_t its = atomic_load_explicit(&s->oldest, memory_order_relaxed);
        if (its >= oldest) continue;
        oldest = its;
        found = s;
    }
    return found;
}

/* What has ended goes first, if some is found at once. */
void dict_make_room(struct dict *d, int64_t now) {
    struct shard *s;
    while (full(d) && (s = oldest_shard(d))) {
        struct visit v = {.d = d, .now = now};
        lock(&v, s);
        dict_sweep(&v);
        if (list_empty(&v.dead) && !list_empty(&s->used)) {
            dict_detach(&v, LIST_OF(s->used.prev, struct entry, used));
            s->evictions++;
        }
        unlock(&v);
    }
}

struct entry *dict_enter(struct visit *v, struct dict *d, const struct dict_key *k,
                         int64_t now) {
    struct span key = bytes_of_key(k);
    uint64_t hash = siphash(&d->seed, key);
    v->d = d;
    v->hash = hash;
    v->now = now;
    /* Buckets go by the high bits. */
    lock(v, &d->shards[hash % DICT_SHARDS]);
    struct shard *s = v->s;
    for (struct table_node *n = *table_bucket(&s->table, hash); n; n = n->next) {
        struct entry *e = LIST_OF(n, struct entry, node);
        if (n->hash != hash || e->cell.key_is_integer != k->is_integer ||
            !span_eq(dict_key_of(e), key))
            continue;
        if (e->ends <= now) {
            expire(v, e);
            return NULL;
        }
        e->touched = now;
        if (s->used.next != &e->used) {
            list_unlink(&e->used);
            list_prepend(&s->used, &e->used);
        }
        return e;
    }
    return NULL;
}

void dict_leave(struct visit *v) {
    unlock(v);
    if (v->grown && full(v->d)) dict_make_room(v->d, v->now);
}

void dict_changed(struct visit *v, struct entry *e) {
    e->version = ++v->s->version;
}

bool dict_overwrite(struct visit *v, struct entry *e, const struct dict_value *value) {
    struct cell *c = &e->cell;
    struct span bytes = dict_bytes(value);
    size_t room = malloc_usable_size(e) - sizeof *e, needed = bytes.len + c->key_len;
    if (c->kind == DICT_LIST || bytes.len > DICT_SMALL || needed > room ||
        needed + SLACK < room)
        return false;
    /* A reference is taken under the lock: there will be no other. What was read before
       it was given back was read before this. */
    if (atomic_load_explicit(&c->references, memory_order_acquire) != 1) return false;
    if (bytes.len != c->len)
        memmove(e->bytes + bytes.len, e->bytes + c->len, c->key_len);
    if (bytes.len) memcpy(e->bytes, bytes.at, bytes.len);
    c->len = (uint32_t)bytes.len;
    dict_write_number(c, value);
    dict_changed(v, e);
    return true;
}

int dict_meets(const struct entry *e, struct dict_condition c) {
    switch (c.when) {
    case DICT_ALWAYS: return 0;
    case DICT_IF_ABSENT: return e ? -EEXIST : 0;
    case DICT_IF_PRESENT: return e ? 0 : -ENOENT;
    case DICT_IF_VERSION: return (e ? e->version : 0) == c.version ? 0 : -ESTALE;
    }
    return 0;
}

int dict_insert(struct dict *d, const struct dict_key *k, int64_t now, struct entry *e,
                struct dict_condition c, int64_t ends) {
    if (dict_size_of_entry(e) > dict_limit(d)) return -ENOMEM;
    struct visit v;
    struct entry *was = dict_enter(&v, d, k, now);
    int err = dict_meets(was, c);
    if (err == 0) {
        if (ends == DICT_KEEP) ends = was ? was->ends : DICT_NEVER;
        if (was) dict_detach(&v, was);
        e->node.hash = v.hash;
        e->ends = ends;
        e->touched = now;
        dict_changed(&v, e);
        attach(&v, e);
        dict_sweep(&v);
    }
    dict_leave(&v);
    return err;
}

int dict_read(struct cell *c, const char *bytes, struct dict_copy *out) {
    struct dict_value *v = &out->value;
    v->kind = (enum dict_kind)c->kind;
    switch (v->kind) {
    case DICT_FALSE:
    case DICT_TRUE: return 0;
    case DICT_INTEGER: v->integer = c->integer; return 0;
    case DICT_REAL: v->real = c->real; return 0;
    case DICT_LIST: return ERR_WRONG_TYPE;
    case DICT_STRING:
    case DICT_PACKED: break;
    }
    if (c->len <= DICT_SMALL) {
        memcpy(out->small, bytes, c->len);
        bytes = out->small;
    } else if (out->may_hold) {
        atomic_fetch_add_explicit(&c->references, 1, memory_order_relaxed);
        out->held = c;
    } else {
        return ERR_TOO_LARGE;
    }
    v->bytes = span_of(bytes, c->len);
    return 0;
}
