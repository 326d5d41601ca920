#include "isolate/nursery.h"

#include "base/check.h"
#include "base/err.h"
#include "base/log.h"
#include "isolate/slice.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WORDS_MAX = 4096 }; /* kept ready for a text */

/* ---- the nursery ---- */

void nursery_init(struct nursery *n, struct loop *main,
                  void (*emptied)(struct nursery *n), void *user) {
    *n = (struct nursery){.main = main, .emptied = emptied, .user = user};
    pthread_mutex_init(&n->lock, NULL);
    list_init(&n->children);
}

void nursery_done(struct nursery *n) {
    CHECK(n->count == 0);
    pthread_mutex_destroy(&n->lock);
}

bool nursery_close(struct nursery *n) {
    pthread_mutex_lock(&n->lock);
    n->closed = true;
    bool empty = n->count == 0;
    for (struct link *l = n->children.next; l != &n->children; l = l->next)
        child_kill(LIST_OF(l, struct child, member));
    pthread_mutex_unlock(&n->lock);
    return empty;
}

/* ---- a child's end ---- */

struct child *child_ref(struct child *c) {
    atomic_fetch_add_explicit(&c->references, 1, memory_order_relaxed);
    return c;
}

static void free_child(struct child *c) {
    if (c->exit) port_unref(c->exit);
    if (c->inbox) port_unref(c->inbox);
    message_free(c->plan.argument);
    free(c->last_words);
    if (c->plan.done) c->plan.done(c->plan.data);
    pthread_mutex_destroy(&c->lock);
    free(c);
}

void child_unref(struct child *c) {
    if (atomic_fetch_sub_explicit(&c->references, 1, memory_order_acq_rel) == 1)
        free_child(c);
}

void child_over(struct child *c, struct message *words, struct span text) {
    struct message *m = c->last_words;
    if (!m) { /* it was over before */
        message_free(words);
        return;
    }
    c->last_words = NULL;
    /* Whoever hears of the end finds it closed, and what came back of what it was sent.
     */
    port_close(c->inbox);
    message_free(c->plan.argument);
    c->plan.argument = NULL;
    if (words) {
        free(m);
        m = words;
    } else {
        m->failed = true;
        m->len = text.len < WORDS_MAX ? text.len : WORDS_MAX;
        if (m->len) memcpy(m->bytes, text.at, m->len);
    }
    if (port_put_answer(c->exit, m) != 0) message_free(m);
    loop_stop(&c->isolate.loop);
}

/* On the main thread: the last post of a child's life. */
static void reap(struct post *p) {
    struct child *c = LIST_OF(p, struct child, funeral);
    struct nursery *n = c->nursery;
    pthread_mutex_lock(&c->lock);
    pthread_mutex_unlock(&c->lock);
    isolate_join(&c->isolate);
    pthread_mutex_lock(&c->lock);
    c->gone = true;
    pthread_mutex_unlock(&c->lock);
    loop_flush(&c->isolate.loop);
    isolate_done(&c->isolate);
    pthread_mutex_lock(&n->lock);
    list_unlink(&c->member);
    bool empty = --n->count == 0 && n->closed;
    pthread_mutex_unlock(&n->lock);
    child_unref(c);
    if (empty) n->emptied(n);
}

static void end(struct isolate *i) {
    struct child *c = i->user;
    struct nursery *n = c->nursery;
    if (n->slices) slices_unwatch(n->slices, i);
    child_over(c, NULL, SPAN("killed"));
    loop_post(n->main, &c->funeral);
}

/* ---- its beginning ---- */

static void begin(struct isolate *i) {
    struct child *c = i->user;
    struct nursery *n = c->nursery;
    struct buf problem;
    buf_init(&problem);
    if (n->slices && slices_watch(n->slices, i) != 0)
        log_warn("the watchdog cannot watch this isolate: not enough memory");
    struct generation *g = generation_new(&c->plan.state, 1, &problem);
    if (g) {
        isolate_adopt(i, g);
        isolate_switch(i);
        c->plan.begin(c, g);
    } else {
        child_over(c, NULL, buf_span(&problem));
    }
    buf_reset(&problem);
}

struct child *child_of(struct isolate *i) {
    return i->begin == begin ? i->user : NULL;
}

static void killed(struct post *p) {
    struct child *c = LIST_OF(p, struct child, kill);
    if (c->isolate.current) generation_kill(c->isolate.current);
    loop_stop(&c->isolate.loop);
}

static void paused(struct post *p) {
    struct child *c = LIST_OF(p, struct child, pause);
    pthread_mutex_lock(&c->lock);
    bool pause = c->paused;
    c->pause_posted = false;
    pthread_mutex_unlock(&c->lock);
    sched_pause(&c->isolate.sched, pause);
}

void child_kill(struct child *c) {
    pthread_mutex_lock(&c->lock);
    if (!c->gone && !c->kill_posted) {
        c->kill_posted = true;
        atomic_store_explicit(&c->isolate.killed, true, memory_order_relaxed);
        if (c->nursery->slices) slices_rouse_now(c->nursery->slices);
        loop_post(&c->isolate.loop, &c->kill);
    }
    pthread_mutex_unlock(&c->lock);
}

void child_pause(struct child *c, bool pause) {
    pthread_mutex_lock(&c->lock);
    c->paused = pause;
    if (!c->gone && !c->pause_posted) {
        c->pause_posted = true;
        loop_post(&c->isolate.loop, &c->pause);
    }
    pthread_mutex_unlock(&c->lock);
}

static void nothing_arrives(struct port *p) {
    (void)p;
}

/* In this order:
 *  1. memory, the last words among it
 *  2. the loop, without a thread
 *  3. the inbox, which is on that loop
 *  4. a place in the nursery, unless the host is stopping
 *  5. the thread, which builds the state */
struct child *child_start(struct nursery *n, const struct child_plan *plan,
                          unsigned inbox_capacity, struct port *exit_port, int *err) {
    struct child *c = calloc(1, sizeof *c);
    *err = -ENOMEM;
    if (!c) return NULL;
    pthread_mutex_init(&c->lock, NULL);
    atomic_init(&c->references, 2);
    atomic_init(&c->serving, 1);
    list_init(&c->member);
    c->nursery = n;
    c->kill.run = killed;
    c->pause.run = paused;
    c->funeral.run = reap;
    c->last_words = message_new(WORDS_MAX, 0);
    if (!c->last_words) goto fail;
    pthread_mutex_lock(&n->lock);
    unsigned number = ++n->made;
    pthread_mutex_unlock(&n->lock);
    if ((*err = isolate_init(&c->isolate, -(int)number, &c->serving)) != 0) goto fail;
    snprintf(c->isolate.name, sizeof c->isolate.name, "%s", plan->name);
    if (!plan->name[0])
        snprintf(c->isolate.name, sizeof c->isolate.name, "child %u", number);
    c->isolate.user = c;
    c->isolate.files = n->files;
    c->isolate.blocking = n->blocking;
    c->isolate.begin = begin;
    c->isolate.end = end;
    c->inbox = port_new(&c->isolate.loop, inbox_capacity, nothing_arrives, NULL);
    if (!c->inbox) {
        *err = -ENOMEM;
        goto fail_loop;
    }
    c->exit = port_ref(exit_port);
    pthread_mutex_lock(&n->lock);
    if (!n->closed) {
        n->count++;
        list_append(&n->children, &c->member);
        *err = 0;
    } else {
        *err = ERR_CANCELLED;
    }
    pthread_mutex_unlock(&n->lock);
    if (*err) goto fail_loop;
    c->plan = *plan;
    pthread_mutex_lock(&c->lock); /* it may be over before this knows of its thread */
    *err = isolate_start(&c->isolate);
    pthread_mutex_unlock(&c->lock);
    if (*err == 0) return c;
    c->plan = (struct child_plan){0};
    pthread_mutex_lock(&n->lock);
    n->count--;
    list_unlink(&c->member);
    pthread_mutex_unlock(&n->lock);
fail_loop:
    if (c->inbox) port_close(c->inbox);
    isolate_done(&c->isolate);
fail:
    free_child(c);
    return NULL;
}
