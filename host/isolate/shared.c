#include "isolate/shared.h"

#include "base/err.h"
#include "base/list.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/random.h>

struct named {
    struct link member;
    struct dict *dict;
    size_t refused; /* the limit that was asked for in vain */
    size_t len;
    char name[];
};

struct shared {
    pthread_mutex_t lock;
    struct link all;
    size_t count, limit;
    struct siphash_key seed;
};

struct shared *shared_new(size_t limit) {
    struct shared *s = calloc(1, sizeof *s);
    if (!s) return NULL;
    if (getrandom(&s->seed, sizeof s->seed, 0) != sizeof s->seed ||
        pthread_mutex_init(&s->lock, NULL) != 0) {
        free(s);
        return NULL;
    }
    list_init(&s->all);
    s->limit = limit;
    return s;
}

static void named_free(struct named *n) {
    if (n->dict) dict_free(n->dict);
    free(n);
}

void shared_free(struct shared *s) {
    if (!s) return;
    struct link *l;
    while ((l = list_first(&s->all))) {
        list_unlink(l);
        named_free(LIST_OF(l, struct named, member));
    }
    pthread_mutex_destroy(&s->lock);
    free(s);
}

static struct named *find(struct shared *s, struct span name) {
    for (struct link *l = s->all.next; l != &s->all; l = l->next) {
        struct named *n = LIST_OF(l, struct named, member);
        if (span_eq(span_of(n->name, n->len), name)) return n;
    }
    return NULL;
}

static int make(struct shared *s, struct span name, size_t limit, struct named **out) {
    if (s->count >= SHARED_MAX) return ERR_TOO_LARGE;
    struct named *n = calloc(1, sizeof *n + name.len);
    if (!n) return ERR_MEMORY;
    n->len = name.len;
    if (name.len) memcpy(n->name, name.at, name.len);
    n->dict = dict_new(limit ? limit : s->limit, &s->seed);
    if (!n->dict) {
        named_free(n);
        return ERR_MEMORY;
    }
    list_append(&s->all, &n->member);
    s->count++;
    *out = n;
    return 0;
}

int shared_open(struct shared *s, struct span name, size_t limit, struct dict **out,
                bool *kept) {
    int err = 0;
    *kept = false;
    pthread_mutex_lock(&s->lock);
    struct named *n = find(s, name);
    if (!n) {
        err = make(s, name, limit, &n);
    } else if (limit && limit != dict_limit(n->dict) && limit != n->refused) {
        n->refused = limit;
        *kept = true;
    }
    if (err == 0) *out = n->dict;
    pthread_mutex_unlock(&s->lock);
    return err;
}
