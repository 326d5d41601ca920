#include "isolate/topic.h"

#include "base/check.h"
#include "base/err.h"
#include "base/siphash.h"
#include "base/table.h"
#include "isolate/past.h"
#include "isolate/ring.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

enum { TOLD_MAX = 500 };

struct topics {
    pthread_mutex_t lock;
    struct table table;
    struct siphash_key seed;
    atomic_ullong published;
    uint32_t epoch;
    struct link kept; /* topics, each a reference */
};

/* A topic's lock is taken before that of its boards. */
struct topic {
    struct table_node node; /* under the lock of all, as references */
    size_t references;
    struct topics *all;
    pthread_mutex_t lock;
    struct link boards;
    struct past *past; /* NULL: nothing is kept */
    struct link kept;
    uint64_t published;
    size_t len;
    char name[];
};

/* What is yet to be read on one thread. Only its own thread adds and removes
 * subscribers, who are the ring's readers. One that is between two threads has a board
 * for itself, without a loop. */
struct board {
    struct link member;  /* of the topic's; under its lock */
    struct topic *topic; /* a reference */
    struct loop *loop;   /* or NULL */
    pthread_mutex_t lock;
    struct ring ring;
    bool wanted; /* some are idle */
    bool woken;  /* the wake-up is on its way */
    struct post wake;
    struct link idle; /* subscribers; its thread's, as telling */
    bool telling;
};

/* ---- topics by name ---- */

struct topics *topics_new(void) {
    struct topics *all = calloc(1, sizeof *all);
    if (!all) return NULL;
    if (getrandom(&all->seed, sizeof all->seed, 0) == sizeof all->seed &&
        getrandom(&all->epoch, sizeof all->epoch, 0) == sizeof all->epoch &&
        table_init(&all->table) == 0) {
        list_init(&all->kept);
        pthread_mutex_init(&all->lock, NULL);
        return all;
    }
    free(all);
    return NULL;
}

void topics_free(struct topics *all) {
    struct link *first;
    if (!all) return;
    while ((first = list_first(&all->kept))) {
        list_unlink(first);
        topic_unref(LIST_OF(first, struct topic, kept));
    }
    CHECK(all->table.count == 0);
    table_done(&all->table);
    pthread_mutex_destroy(&all->lock);
    free(all);
}

/* Under the lock. */
static struct topic *find(struct topics *all, struct span name, uint64_t hash) {
    for (struct table_node *n = *table_bucket(&all->table, hash); n; n = n->next) {
        struct topic *t = LIST_OF(n, struct topic, node);
        if (n->hash != hash || !span_eq(topic_name(t), name)) continue;
        t->references++;
        return t;
    }
    return NULL;
}

static struct topic *topic_new(struct topics *all, struct span name, uint64_t hash) {
    struct topic *t = calloc(1, sizeof *t + name.len);
    if (!t) return NULL;
    t->node.hash = hash;
    t->references = 1;
    t->all = all;
    t->len = name.len;
    if (name.len) memcpy(t->name, name.at, name.len);
    pthread_mutex_init(&t->lock, NULL);
    list_init(&t->boards);
    list_init(&t->kept);
    return t;
}

static void topic_free(struct topic *t) {
    past_free(t->past);
    pthread_mutex_destroy(&t->lock);
    free(t);
}

struct topic *topic_open(struct topics *all, struct span name) {
    uint64_t hash = siphash(&all->seed, name);
    pthread_mutex_lock(&all->lock);
    struct topic *found = find(all, name, hash);
    pthread_mutex_unlock(&all->lock);
    if (found) return found;
    struct topic *t = topic_new(all, name, hash);
    if (!t) return NULL;
    pthread_mutex_lock(&all->lock);
    found = find(all, name, hash); /* somebody may have been faster */
    if (!found) {
        table_insert(&all->table, &t->node);
        table_step(&all->table);
    }
    pthread_mutex_unlock(&all->lock);
    if (!found) return t;
    topic_free(t);
    return found;
}

struct topic *topic_ref(struct topic *t) {
    pthread_mutex_lock(&t->all->lock);
    t->references++;
    pthread_mutex_unlock(&t->all->lock);
    return t;
}

void topic_unref(struct topic *t) {
    struct topics *all = t->all;
    pthread_mutex_lock(&all->lock);
    bool last = --t->references == 0;
    if (last) {
        table_remove(&all->table, &t->node);
        table_step(&all->table);
    }
    pthread_mutex_unlock(&all->lock);
    if (last) topic_free(t);
}

struct span topic_name(const struct topic *t) {
    return span_of(t->name, t->len);
}

uint32_t topic_epoch(const struct topic *t) {
    return t->all->epoch;
}

bool topic_keeps(struct topic *t) {
    pthread_mutex_lock(&t->lock);
    bool keeps = t->past != NULL;
    pthread_mutex_unlock(&t->lock);
    return keeps;
}

int topic_keep(struct topic *t, unsigned count) {
    pthread_mutex_lock(&t->lock);
    struct past *old = t->past, *p = past_grow(old, count);
    if (p) t->past = p;
    pthread_mutex_unlock(&t->lock);
    if (!p) return -ENOMEM;
    if (old) return 0;
    pthread_mutex_lock(&t->all->lock);
    t->references++;
    list_append(&t->all->kept, &t->kept);
    pthread_mutex_unlock(&t->all->lock);
    return 0;
}

/* ---- publishing ---- */

size_t topic_publish(struct topic *t, struct bulletin *it) {
    size_t count = 0;
    struct bulletin *dead = NULL;
    pthread_mutex_lock(&t->lock);
    it->number =
        atomic_fetch_add_explicit(&t->all->published, 1, memory_order_relaxed) + 1;
    it->place = ++t->published;
    if (t->past) past_put(t->past, it, &dead);
    for (struct link *l = t->boards.next; l != &t->boards; l = l->next) {
        struct board *b = LIST_OF(l, struct board, member);
        pthread_mutex_lock(&b->lock);
        count += ring_put(&b->ring, it, &dead);
        bool wake = b->wanted && !b->woken;
        if (wake) b->woken = true;
        pthread_mutex_unlock(&b->lock);
        /* The loop cannot have ended: the board has to leave the topic first. */
        if (wake) loop_post(b->loop, &b->wake);
    }
    pthread_mutex_unlock(&t->lock);
    bulletin_free_all(dead);
    return count;
}

size_t topic_count(struct topic *t) {
    size_t count = 0;
    pthread_mutex_lock(&t->lock);
    for (struct link *l = t->boards.next; l != &t->boards; l = l->next) {
        struct board *b = LIST_OF(l, struct board, member);
        pthread_mutex_lock(&b->lock);
        count += b->ring.readers;
        pthread_mutex_unlock(&b->lock);
    }
    pthread_mutex_unlock(&t->lock);
    return count;
}

/* ---- subscribers ---- */

static void board_free(struct board *b) {
    ring_done(&b->ring);
    pthread_mutex_destroy(&b->lock);
    topic_unref(b->topic);
    free(b);
}

/* Those who are idle and have something to read now; so many in one turn, that others
 * get theirs. */
static void woken(struct post *post) {
    struct board *b = LIST_OF(post, struct board, wake);
    struct link told, *first;
    list_init(&told);
    pthread_mutex_lock(&b->lock);
    b->woken = b->wanted = false;
    uint64_t end = b->ring.end;
    pthread_mutex_unlock(&b->lock);
    b->telling = true;
    list_splice(&told, &b->idle);
    bool some = false;
    unsigned count = 0;
    while (count < TOLD_MAX && (first = list_first(&told))) {
        struct subscriber *s = LIST_OF(first, struct subscriber, idle);
        list_unlink(first);
        if (s->next != end) {
            s->arrived(s);
            count++;
        } else {
            list_append(&b->idle, first);
            some = true;
        }
    }
    b->telling = false;
    bool more = !list_empty(&told);
    list_splice(&b->idle, &told);
    pthread_mutex_lock(&b->lock);
    b->wanted = b->wanted || some || more;
    /* What came meanwhile found nobody who wanted it. */
    bool again = (more || (some && b->ring.end != end)) && !b->woken;
    if (again) b->woken = true;
    bool over = !b->ring.readers && !b->woken;
    pthread_mutex_unlock(&b->lock);
    if (again) loop_post(b->loop, &b->wake);
    if (over) board_free(b);
}

static struct board *board_new(struct topic *t, struct loop *l) {
    struct board *b = calloc(1, sizeof *b);
    if (!b) return NULL;
    b->topic = topic_ref(t);
    b->loop = l;
    b->wake.run = woken;
    pthread_mutex_init(&b->lock, NULL);
    list_init(&b->member);
    list_init(&b->idle);
    return b;
}

static struct board *board_of(struct topic *t, struct loop *loop) {
    struct board *found = NULL;
    pthread_mutex_lock(&t->lock);
    for (struct link *l = t->boards.next; l != &t->boards && !found; l = l->next) {
        struct board *b = LIST_OF(l, struct board, member);
        if (b->loop == loop) found = b;
    }
    pthread_mutex_unlock(&t->lock);
    return found;
}

static void join(struct board *b, struct subscriber *s) {
    s->board = b;
    list_init(&s->idle);
    pthread_mutex_lock(&b->lock);
    s->next = b->ring.end;
    b->ring.readers++;
    if (s->capacity > b->ring.capacity) b->ring.capacity = s->capacity;
    pthread_mutex_unlock(&b->lock);
}

int topic_subscribe(struct topic *t, struct loop *l, unsigned capacity,
                    struct subscriber *s) {
    struct board *b = board_of(t, l), *fresh = NULL;
    if (!b && !(b = fresh = board_new(t, l))) return -ENOMEM;
    s->capacity = capacity;
    s->before = NULL;
    s->lost = 0;
    join(b, s);
    if (!fresh) return 0;
    pthread_mutex_lock(&t->lock);
    list_append(&t->boards, &b->member);
    pthread_mutex_unlock(&t->lock);
    return 0;
}

int topic_resume(struct topic *t, struct loop *l, unsigned capacity, uint64_t place,
                 struct subscriber *s) {
    struct board *b = board_of(t, l), *fresh = NULL, *own = board_new(t, NULL);
    struct bulletin *dead = NULL;
    if (!own) return -ENOMEM;
    if (!b && !(b = fresh = board_new(t, l))) {
        board_free(own);
        return -ENOMEM;
    }
    s->capacity = capacity;
    own->ring.readers = 1;
    own->ring.capacity = -1u;
    /* Nobody publishes between what was kept and what comes. */
    pthread_mutex_lock(&t->lock);
    s->lost = past_missed(t->past, place);
    for (unsigned i = past_behind(t->past, place); i < past_count(t->past); i++)
        ring_put(&own->ring, past_at(t->past, i), &dead);
    join(b, s);
    if (fresh) list_append(&t->boards, &b->member);
    pthread_mutex_unlock(&t->lock);
    own->ring.readers = 0;
    s->next_before = 0;
    s->before = own;
    bulletin_free_all(dead);
    return 0;
}

static struct bulletin *take_before(struct subscriber *s) {
    struct board *b = s->before;
    s->lost += b->ring.begin - s->next_before;
    s->next_before = b->ring.begin;
    if (!ring_count(&b->ring)) {
        s->before = NULL;
        board_free(b);
        return NULL;
    }
    s->next_before++;
    return ring_pull(&b->ring);
}

struct bulletin *subscriber_take(struct subscriber *s, uint64_t *missed, bool *last) {
    struct board *b = s->board;
    struct bulletin *it = NULL, *dead = NULL;
    struct slot *slots = NULL;
    *last = false;
    if (s->before && (it = take_before(s))) {
        *missed = s->lost;
        s->lost = 0;
        return it;
    }
    pthread_mutex_lock(&b->lock);
    s->lost += ring_catch_up(&b->ring, &s->next, s->capacity, &dead);
    if (s->next == b->ring.end) {
        b->wanted = true;
    } else {
        it = ring_at(&b->ring, s->next);
        *last = ring_pass(&b->ring, s->next++);
        if (*last)
            ring_pull(&b->ring); /* the reference is passed on */
        else
            bulletin_ref(it);
        slots = ring_spare(&b->ring);
    }
    pthread_mutex_unlock(&b->lock);
    if (!it) {
        list_unlink(&s->idle);
        list_append(&b->idle, &s->idle);
    }
    *missed = s->lost;
    s->lost = 0;
    free(slots);
    bulletin_free_all(dead);
    return it;
}

size_t subscriber_count(struct subscriber *s) {
    struct board *b = s->board;
    if (!b) return 0;
    pthread_mutex_lock(&b->lock);
    uint64_t from = s->next < b->ring.begin ? b->ring.begin : s->next;
    uint64_t count = b->ring.end - from;
    pthread_mutex_unlock(&b->lock);
    if (s->before) count += ring_count(&s->before->ring);
    return (size_t)(count < s->capacity ? count : s->capacity);
}

/* It has no subscriber any more; one whose wake-up is on its way is freed by that. */
static void close_board(struct board *b) {
    pthread_mutex_lock(&b->topic->lock);
    list_unlink(&b->member);
    pthread_mutex_unlock(&b->topic->lock);
    if (!b->woken && !b->telling) board_free(b);
}

void subscriber_end(struct subscriber *s) {
    struct board *b = s->board;
    struct bulletin *dead = NULL;
    if (!b) return;
    s->board = NULL;
    list_unlink(&s->idle);
    while (s->before) bulletin_unref(take_before(s));
    pthread_mutex_lock(&b->lock);
    ring_catch_up(&b->ring, &s->next, 0, &dead);
    bool last = --b->ring.readers == 0;
    pthread_mutex_unlock(&b->lock);
    bulletin_free_all(dead);
    if (last) close_board(b);
}

/* All that it has yet to read goes to the board of its own. */
static void take_along(struct subscriber *s, struct board *own,
                       struct bulletin **dead) {
    struct board *b = s->board;
    struct bulletin *it;
    while (s->before && (it = take_before(s))) {
        ring_put(&own->ring, it, dead);
        bulletin_drop(it, dead);
    }
    s->lost += ring_catch_up(&b->ring, &s->next, s->capacity, dead);
    for (; s->next != b->ring.end; s->next++) {
        ring_put(&own->ring, ring_at(&b->ring, s->next), dead);
        if (ring_pass(&b->ring, s->next)) bulletin_drop(ring_pull(&b->ring), dead);
    }
}

int subscriber_leave(struct subscriber *s) {
    struct board *b = s->board;
    struct topic *t = b->topic;
    struct bulletin *dead = NULL;
    struct board *own = board_new(t, NULL);
    if (!own) return -ENOMEM;
    own->ring.readers = 1;
    own->ring.capacity = s->capacity;
    list_unlink(&s->idle);
    /* Nobody publishes between the one board and the other. */
    pthread_mutex_lock(&t->lock);
    pthread_mutex_lock(&b->lock);
    take_along(s, own, &dead);
    bool last = --b->ring.readers == 0;
    pthread_mutex_unlock(&b->lock);
    list_append(&t->boards, &own->member);
    pthread_mutex_unlock(&t->lock);
    s->board = own;
    s->next = 0;
    bulletin_free_all(dead);
    if (last) close_board(b);
    return 0;
}

int subscriber_enter(struct subscriber *s, struct loop *l) {
    struct board *own = s->board, *fresh = NULL;
    struct topic *t = own->topic;
    struct board *b = board_of(t, l);
    if (!b && !(b = fresh = board_new(t, l))) return -ENOMEM;
    s->next_before = s->next;
    pthread_mutex_lock(&t->lock);
    if (fresh) list_append(&t->boards, &b->member);
    join(b, s);
    list_unlink(&own->member);
    pthread_mutex_unlock(&t->lock);
    own->ring.readers = 0;
    s->before = own;
    return 0;
}
