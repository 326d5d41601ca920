#include "isolate/port.h"

#include "base/check.h"
#include "base/err.h"

#include <stdlib.h>
#include <string.h>

/* ---- messages ---- */

struct message *message_new(size_t len, unsigned cargo_count) {
    struct message *m = malloc(sizeof *m + len);
    if (!m) return NULL;
    *m = (struct message){.len = len};
    if (cargo_count && !(m->cargo = calloc(cargo_count, sizeof *m->cargo))) {
        free(m);
        return NULL;
    }
    return m;
}

/* All but what moves, if that is to be kept. Whether anything is left. */
static bool drop_cargo(struct message *m, bool keep) {
    bool left = false;
    for (unsigned i = 0; i < m->cargo_count; i++) {
        struct cargo *c = &m->cargo[i];
        if (!c->core) continue;
        if (keep && cargo_moves(c->kind)) {
            left = true;
            continue;
        }
        c->kind->drop(c->core);
        c->core = NULL;
    }
    return left;
}

void message_discard(struct message *m) {
    if (!m) return;
    drop_cargo(m, false);
    if (m->reply) port_unref(m->reply);
    free(m->cargo);
    free(m);
}

void message_free(struct message *m) {
    if (!m) return;
    struct port *reply = m->reply;
    bool left = drop_cargo(m, reply != NULL);
    if (!reply || (!left && m->wants == WANTS_NOTHING)) {
        message_discard(m);
        return;
    }
    /* The message itself carries the news back, so that it needs no memory. */
    m->reply = NULL;
    m->failed = left || m->wants == WANTS_ANSWER;
    if (m->wants == WANTS_NOTHING) m->call = 0;
    m->wants = WANTS_NOTHING;
    m->len = 0;
    if (port_put_answer(reply, m) != 0) message_discard(m);
    port_unref(reply);
}

/* ---- the port ---- */

static void woken(struct post *post);

struct port *port_new(struct loop *receiver, unsigned capacity,
                      void (*arrived)(struct port *p), void *user) {
    struct port *p = malloc(sizeof *p);
    if (!p) return NULL;
    *p = (struct port){.capacity = capacity,
                       .loop = receiver,
                       .wake.run = woken,
                       .arrived = arrived,
                       .user = user};
    atomic_init(&p->references, 1);
    pthread_mutex_init(&p->lock, NULL);
    p->last = &p->first;
    list_init(&p->waiting);
    list_init(&p->named);
    return p;
}

struct port *port_ref(struct port *p) {
    atomic_fetch_add_explicit(&p->references, 1, memory_order_relaxed);
    return p;
}

void port_unref(struct port *p) {
    if (atomic_fetch_sub_explicit(&p->references, 1, memory_order_acq_rel) != 1) return;
    CHECK(!p->loop && !p->first && list_empty(&p->waiting) && list_empty(&p->named));
    pthread_mutex_destroy(&p->lock);
    free(p);
}

static void woken(struct post *post) {
    struct port *p = LIST_OF(post, struct port, wake);
    pthread_mutex_lock(&p->lock);
    p->woken = false;
    bool open = p->loop != NULL;
    pthread_mutex_unlock(&p->lock);
    if (open) p->arrived(p);
    port_unref(p);
}

/* Under the lock. A message that is alone may be of any size. */
static bool has_room(const struct port *p, size_t len) {
    unsigned count = p->count + p->promised;
    return count == 0 || (count < p->capacity &&
                          p->bytes + p->promised_bytes + len <= PORT_BYTES_MAX);
}

static void count_out(struct port *p, const struct message *m) {
    p->count--;
    p->bytes -= m->len;
}

struct posted {
    struct loop *loop; /* NULL: it knows already */
    bool wake;
};

static struct posted append(struct port *p, struct message *m) {
    m->next = NULL;
    *p->last = m;
    p->last = &m->next;
    p->count++;
    p->bytes += m->len;
    if (p->woken) return (struct posted){NULL, false};
    p->woken = true;
    port_ref(p);
    return (struct posted){p->loop, loop_put(p->loop, &p->wake)};
}

/* Not under the lock. */
static void tell_receiver(struct posted posted) {
    if (posted.loop) loop_put_done(posted.loop, posted.wake);
}

int port_put(struct port *p, struct message *m, struct port_wait *w) {
    int err = 0;
    struct posted posted = {NULL, false};
    pthread_mutex_lock(&p->lock);
    if (w && !w->used) {
        w->used = true;
        p->promised--;
        p->promised_bytes -= w->len;
    }
    if (!p->loop)
        err = ERR_CLOSED;
    else if (!w && (!has_room(p, m->len) || !list_empty(&p->waiting)))
        err = -EAGAIN;
    else
        posted = append(p, m);
    pthread_mutex_unlock(&p->lock);
    tell_receiver(posted);
    return err;
}

int port_put_answer(struct port *p, struct message *m) {
    pthread_mutex_lock(&p->lock);
    int err = p->loop ? 0 : ERR_CLOSED;
    struct posted posted = {NULL, false};
    if (!err) posted = append(p, m);
    pthread_mutex_unlock(&p->lock);
    tell_receiver(posted);
    return err;
}

/* Under the lock: as many who wait are told as there is room. */
static void tell(struct port *p) {
    struct link *first;
    while ((first = list_first(&p->waiting))) {
        struct port_wait *w = LIST_OF(first, struct port_wait, link);
        if (p->loop && !has_room(p, w->len)) return;
        list_unlink(first);
        p->promised++;
        p->promised_bytes += w->len;
        loop_post(w->loop, &w->post);
    }
}

struct message *port_take(struct port *p) {
    pthread_mutex_lock(&p->lock);
    struct message *m = p->first;
    if (m) {
        p->first = m->next;
        if (!p->first) p->last = &p->first;
        count_out(p, m);
        tell(p);
    }
    pthread_mutex_unlock(&p->lock);
    return m;
}

struct message *port_withdraw(struct port *p, const struct port *reply, uint64_t call) {
    struct message **at, *m;
    pthread_mutex_lock(&p->lock);
    for (at = &p->first; (m = *at); at = &m->next)
        if (m->reply == reply && m->call == call) break;
    if (m) {
        *at = m->next;
        if (!m->next) p->last = at;
        count_out(p, m);
        tell(p);
    }
    pthread_mutex_unlock(&p->lock);
    return m;
}

void port_close(struct port *p) {
    pthread_mutex_lock(&p->lock);
    struct message *m = p->first;
    p->first = NULL;
    p->last = &p->first;
    p->count = 0;
    p->bytes = 0;
    p->loop = NULL;
    tell(p);
    pthread_mutex_unlock(&p->lock);
    while (m) {
        struct message *next = m->next;
        message_free(m);
        m = next;
    }
}

bool port_is_closed(struct port *p) {
    pthread_mutex_lock(&p->lock);
    bool closed = !p->loop;
    pthread_mutex_unlock(&p->lock);
    return closed;
}

unsigned port_count(struct port *p) {
    pthread_mutex_lock(&p->lock);
    unsigned count = p->count;
    pthread_mutex_unlock(&p->lock);
    return count;
}

/* ---- waiting for room ---- */

static void free_wait(struct port_wait *w) {
    port_unref(w->port);
    free(w);
}

/* Nobody wants the room any more: the next one may. */
static void give_back(struct port *p, const struct port_wait *w) {
    pthread_mutex_lock(&p->lock);
    p->promised--;
    p->promised_bytes -= w->len;
    tell(p);
    pthread_mutex_unlock(&p->lock);
}

static void told(struct post *post) {
    struct port_wait *w = LIST_OF(post, struct port_wait, post);
    if (w->room) {
        w->told = true;
        w->room(w);
        return;
    }
    give_back(w->port, w);
    free_wait(w);
}

struct port_wait *port_wait_for_room(struct port *p, size_t len, struct loop *l,
                                     void (*room)(struct port_wait *w), void *user) {
    struct port_wait *w = malloc(sizeof *w);
    if (!w) return NULL;
    *w = (struct port_wait){.post.run = told,
                            .port = port_ref(p),
                            .loop = l,
                            .len = len,
                            .room = room,
                            .user = user};
    list_init(&w->link);
    pthread_mutex_lock(&p->lock);
    list_append(&p->waiting, &w->link);
    tell(p); /* room may have come in between */
    pthread_mutex_unlock(&p->lock);
    return w;
}

void port_wait_end(struct port_wait *w) {
    struct port *p = w->port;
    if (w->told) {
        if (!w->used) give_back(p, w);
        free_wait(w);
        return;
    }
    pthread_mutex_lock(&p->lock);
    bool waits = !list_empty(&w->link);
    list_unlink(&w->link);
    pthread_mutex_unlock(&p->lock);
    if (waits)
        free_wait(w);
    else
        w->room = NULL; /* it is on its way: told frees it */
}
