#include "isolate/names.h"

#include "base/err.h"
#include "base/siphash.h"
#include "base/table.h"
#include "isolate/alloc.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

struct names {
    pthread_mutex_t lock;
    struct table table;
    struct siphash_key seed;
    uint64_t swept; /* hashes up to here, in the present round */
};

struct entry {
    struct table_node node;
    struct port *port;         /* a reference */
    struct link of_port;       /* in its list */
    struct alloc_tally *tally; /* NULL: nobody pays */
    size_t len;
    char name[];
};

struct names *names_new(void) {
    struct names *all = calloc(1, sizeof *all);
    if (!all) return NULL;
    if (getrandom(&all->seed, sizeof all->seed, 0) == sizeof all->seed &&
        table_init(&all->table) == 0) {
        pthread_mutex_init(&all->lock, NULL);
        return all;
    }
    free(all);
    return NULL;
}

static void refund(struct alloc_tally *tally, size_t len) {
    if (tally) alloc_tally_discharge(tally, NAMES_COST + len);
}

static void entry_free(struct entry *e) {
    port_unref(e->port);
    refund(e->tally, e->len);
    free(e);
}

void names_free(struct names *all) {
    if (!all) return;
    uint64_t at = 0;
    do {
        uint64_t after;
        struct table_node *n = table_walk(&all->table, at, &after), *next;
        for (; n; n = next) {
            next = n->next;
            struct entry *e = LIST_OF(n, struct entry, node);
            table_remove(&all->table, n);
            list_unlink(&e->of_port);
            entry_free(e);
        }
        at = after;
    } while (at);
    table_done(&all->table);
    pthread_mutex_destroy(&all->lock);
    free(all);
}

enum {
    SWEPT_AT_ONCE = 2,      /* more than comes, so that what is left stays bounded */
    FORGOTTEN_AT_ONCE = 64, /* while others wait for the lock */
};

/* Under the lock. Takes e out and puts it in front of *dead, to be freed outside. */
static void take_out(struct names *all, struct entry *e, struct table_node **dead) {
    table_remove(&all->table, &e->node);
    list_unlink(&e->of_port);
    e->node.next = *dead;
    *dead = &e->node;
}

/* Under the lock: looks for closed ports a bit further on. */
static void sweep(struct names *all, struct table_node **dead) {
    struct table_node *next;
    for (int i = 0; i < SWEPT_AT_ONCE; i++) {
        struct table_node *n = table_walk(&all->table, all->swept, &all->swept);
        for (; n; n = next) {
            struct entry *e = LIST_OF(n, struct entry, node);
            next = n->next;
            if (port_is_closed(e->port)) take_out(all, e, dead);
        }
    }
}

/* Under the lock. The entry of that name; those of closed ports that are met go into
 * *dead, to be freed outside it. */
static struct entry *search(struct names *all, struct span name, uint64_t hash,
                            struct table_node **dead) {
    struct entry *found = NULL;
    struct table_node *next;
    for (struct table_node *n = *table_bucket(&all->table, hash); n; n = next) {
        struct entry *e = LIST_OF(n, struct entry, node);
        next = n->next;
        if (port_is_closed(e->port)) {
            take_out(all, e, dead);
        } else if (n->hash == hash && span_eq(span_of(e->name, e->len), name)) {
            found = e;
        }
    }
    return found;
}

static void bury(struct table_node *dead) {
    while (dead) {
        struct entry *e = LIST_OF(dead, struct entry, node);
        dead = dead->next;
        entry_free(e);
    }
}

int names_put(struct names *all, struct span name, struct port *p,
              struct alloc_tally *tally) {
    struct table_node *dead = NULL;
    struct entry *e = malloc(sizeof *e + name.len);
    if (!e) {
        refund(tally, name.len);
        return ERR_MEMORY;
    }
    *e = (struct entry){
        .node.hash = siphash(&all->seed, name), .len = name.len, .tally = tally};
    memcpy(e->name, name.at, name.len);
    list_init(&e->of_port);
    e->port = port_ref(p);
    int err = port_is_closed(p) ? ERR_CLOSED : 0;
    pthread_mutex_lock(&all->lock);
    struct entry *other = err ? NULL : search(all, name, e->node.hash, &dead);
    if (other && other->port != p) err = -EEXIST;
    if (!other && !err) {
        sweep(all, &dead);
        table_insert(&all->table, &e->node);
        list_append(&p->named, &e->of_port);
        e = NULL;
    }
    if (!err || dead) table_step(&all->table);
    pthread_mutex_unlock(&all->lock);
    if (e) entry_free(e);
    bury(dead);
    return err;
}

void names_forget(struct names *all, struct port *p) {
    bool more;
    do {
        struct table_node *dead = NULL;
        struct link *first = NULL;
        pthread_mutex_lock(&all->lock);
        for (int i = 0; i < FORGOTTEN_AT_ONCE && (first = list_first(&p->named)); i++) {
            take_out(all, LIST_OF(first, struct entry, of_port), &dead);
            table_step(&all->table);
        }
        more = !list_empty(&p->named);
        pthread_mutex_unlock(&all->lock);
        bury(dead);
    } while (more);
}

struct port *names_find(struct names *all, struct span name) {
    struct table_node *dead = NULL;
    uint64_t hash = siphash(&all->seed, name);
    pthread_mutex_lock(&all->lock);
    struct entry *e = search(all, name, hash, &dead);
    struct port *p = e ? port_ref(e->port) : NULL;
    if (dead) table_step(&all->table);
    pthread_mutex_unlock(&all->lock);
    bury(dead);
    return p;
}

void names_drop(struct names *all, struct span name) {
    struct table_node *dead = NULL;
    uint64_t hash = siphash(&all->seed, name);
    pthread_mutex_lock(&all->lock);
    struct entry *e = search(all, name, hash, &dead);
    if (e) take_out(all, e, &dead);
    if (dead) table_step(&all->table);
    pthread_mutex_unlock(&all->lock);
    bury(dead);
}
