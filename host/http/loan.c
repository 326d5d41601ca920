#include "http/loan.h"

#include "base/log.h"
#include "http/h1.h"

#include <pthread.h>
#include <stdlib.h>

/* Where a front can be found as long as it is there; counted. */
struct lender {
    atomic_uint references;
    pthread_mutex_t lock;
    struct front *front; /* NULL: it takes nobody back */
    atomic_bool drains;
    unsigned out; /* connections that are not even on their way back */
};

static void unref(struct lender *l) {
    if (atomic_fetch_sub_explicit(&l->references, 1, memory_order_acq_rel) != 1) return;
    pthread_mutex_destroy(&l->lock);
    free(l);
}

static bool make_lender(struct front *f) {
    if (f->lender) return true;
    struct lender *l = f->lender = calloc(1, sizeof *l);
    if (!l) return false;
    atomic_init(&l->references, 1);
    pthread_mutex_init(&l->lock, NULL);
    atomic_init(&l->drains, f->draining);
    l->front = f;
    return true;
}

static void count(struct lender *l, int change) {
    pthread_mutex_lock(&l->lock);
    l->out += (unsigned)change;
    pthread_mutex_unlock(&l->lock);
}

/* ---- leaving and entering ---- */

/* What a message may outlive is copied. */
static int keep_route(struct exchange *x) {
    if (!x->route.len && !x->param_count) return 0;
    struct span route = arena_copy(&x->arena, x->route);
    if (!route.at) return ERR_MEMORY;
    x->route = route;
    for (unsigned i = 0; i < x->param_count; i++) {
        struct span name = arena_copy(&x->arena, x->params[i].name);
        if (!name.at) return ERR_MEMORY;
        x->params[i].name = name;
    }
    return 0;
}

int loan_prepare(struct exchange *x, size_t size, void (*back)(void *user)) {
    struct h1 *c = x->conn;
    if (!c) return ERR_CLOSED;
    if (x->phase != X_HEAD) return -EALREADY;
    if (stream_fd(&c->stream) < 0) return -ENOTSUP;
    if (!loan_is_out(c->loan) && !make_lender(c->front)) return ERR_MEMORY;
    if (!c->loan) {
        c->loan = calloc(1, sizeof *c->loan + size);
        if (!c->loan) return ERR_MEMORY;
        atomic_init(&c->loan->references, 1);
        c->loan->back = back;
    }
    int err = keep_route(x);
    return err ? err : exchange_own(x);
}

struct loan *loan_fresh(const struct exchange *x) {
    const struct h1 *c = x->conn;
    return c->loan->out ? NULL : c->loan;
}

struct loan *loan_ref(struct loan *n) {
    atomic_fetch_add_explicit(&n->references, 1, memory_order_relaxed);
    return n;
}

void loan_unref(struct loan *n) {
    if (n && atomic_fetch_sub_explicit(&n->references, 1, memory_order_acq_rel) == 1)
        free(n);
}

bool loan_is_early(const struct exchange *x) {
    const struct h1 *c = x->conn;
    return c && c->feeding;
}

void loan_silence(struct h1 *c) {
    stream_detach(&c->stream);
    c->stream.reading = false;
}

static void set_out(struct h1 *c) {
    h1_unlink(c);
    loan_silence(c);
}

static void settle_in(struct h1 *c, struct front *f) {
    c->front = f;
    c->reader.limits = &f->limits.head;
    if (loan_is_out(c->loan) && c->loan->home == f->lender)
        stream_come_back(&c->stream, f->loop);
    else
        stream_attach(&c->stream, f->loop);
    list_append(&f->conns, &c->member);
    c->since = f->loop->now;
    if (f->over) c->aborted = H1_CUT;
}

void loan_leave(struct exchange *x) {
    struct h1 *c = x->conn;
    struct front *f = c->front;
    struct span protocol;
    unsigned from = 0;
    if (c->loan->out) {
        set_out(c);
        front_closed(f);
    } else {
        h1_unlink(c);
        /* What becomes a WebSocket does not come back. */
        if (head_find(&x->head, SPAN("Upgrade"), &from, &protocol))
            loan_silence(c);
        else
            stream_lend(&c->stream);
        c->loan->out = true;
        c->loan->home = f->lender;
        atomic_fetch_add_explicit(&f->lender->references, 1, memory_order_relaxed);
        count(f->lender, 1);
    }
    f->exchanges--;
    c->front = x->front = NULL;
    x->handle = NULL;
}

/* On the home's thread, of which it is one again. */
static void end(struct loan *n) {
    unref(n->home);
    n->home = NULL;
    n->out = false;
    n->back(n->user);
}

void loan_enter(struct exchange *x, struct front *f) {
    struct h1 *c = x->conn;
    x->front = f;
    f->exchanges++;
    settle_in(c, f);
    if (c->loan->home == f->lender) {
        count(f->lender, -1);
        end(c->loan);
    } else {
        atomic_fetch_add_explicit(&f->load, 1, memory_order_relaxed);
    }
    h1_recheck(c);
}

/* ---- the way home ---- */

static void arrive(struct post *p) {
    struct h1 *c = LIST_OF(p, struct h1, last.post);
    settle_in(c, c->front);
    if (loan_is_out(c->loan)) end(c->loan);
    /* Who was quick has sent the next request already, so it is looked for before the
       kernel is asked to tell. */
    if (c->phase == H1_IDLE && !c->eof && !c->closing && !c->aborted &&
        buf_len(&c->in) == 0)
        h1_poke(c);
    else
        h1_run(c);
}

static void arrive_closed(struct post *p) {
    struct h1 *c = LIST_OF(p, struct h1, last.post);
    stream_done(&c->stream);
    end(c->loan);
    front_closed(c->front);
    front_keep_spare(c->front, c);
}

/* Takes it out of its front, if there is a home to go to. */
static bool go_home(struct h1 *c, void (*run)(struct post *p)) {
    struct lender *l = c->loan->home;
    bool wake = false;
    struct loop *loop = NULL;
    pthread_mutex_lock(&l->lock);
    struct front *home = l->front;
    if (home) {
        if (c->phase != H1_CLOSED) {
            front_closed(c->front);
            set_out(c);
        }
        c->front = home;
        c->last.post.run = run;
        l->out--;
        loop = home->loop;
        wake = loop_put(loop, &c->last.post);
    }
    pthread_mutex_unlock(&l->lock);
    if (loop) loop_put_done(loop, wake);
    return loop;
}

bool loan_return(struct h1 *c) {
    if (go_home(c, arrive)) return true;
    unref(c->loan->home);
    loan_unref(c->loan);
    c->loan = NULL;
    return false;
}

bool loan_bury(struct h1 *c) {
    if (go_home(c, arrive_closed)) return true;
    unref(c->loan->home);
    stream_done(&c->stream);
    return false;
}

bool loan_move(struct h1 *c) {
    struct front *to = front_elsewhere(c->front);
    if (!to || stream_fd(&c->stream) < 0) return false;
    set_out(c);
    atomic_fetch_add_explicit(&to->load, 1, memory_order_relaxed);
    front_closed(c->front);
    c->front = to;
    c->last.post.run = arrive;
    loop_post(to->loop, &c->last.post);
    return true;
}

void loan_close(struct front *f) {
    if (!f->lender) return;
    pthread_mutex_lock(&f->lender->lock);
    if (f->lender->front) /* they will never be back */
        atomic_fetch_sub_explicit(&f->load, f->lender->out, memory_order_relaxed);
    f->lender->front = NULL;
    pthread_mutex_unlock(&f->lender->lock);
}

void loan_drain(struct front *f) {
    if (f->lender)
        atomic_store_explicit(&f->lender->drains, true, memory_order_relaxed);
}

bool loan_home_drains(const struct loan *n) {
    return loan_is_out(n) &&
           atomic_load_explicit(&n->home->drains, memory_order_relaxed);
}

void loan_done(struct front *f) {
    if (f->lender) unref(f->lender);
    f->lender = NULL;
}

/* ---- nobody takes it ---- */

void loan_drop(struct exchange *x) {
    static const char sorry[] = "HTTP/1.1 503 Service Unavailable\r\n"
                                "Connection: close\r\nRetry-After: 1\r\n"
                                "Content-Length: 0\r\n\r\n";
    struct h1 *c = x->conn;
    struct span method = head_method(&x->head), target = head_target(&x->head);
    log_warn("%.*s %.*s: who it was transferred to has gone: 503", (int)method.len,
             method.at, (int)target.len, target.at);
    char *to = stream_reserve(&c->stream, sizeof sorry - 1);
    if (to) {
        memcpy(to, sorry, sizeof sorry - 1);
        stream_commit(&c->stream, sizeof sorry - 1);
        stream_flush(&c->stream);
    }
    stream_farewell(&c->stream);
    buf_reset(&c->in);
    exchange_free(x);
    c->phase = H1_CLOSED;
    if (loan_bury(c)) return;
    loan_unref(c->loan);
    free(c);
}
