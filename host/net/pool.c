#include "net/pool.h"

#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>

enum { MAGIC = 0x706f6f6c };

/* Between two signals to those that still run when the pool ends. */
#define AGAIN (50 * CLOCK_MS)

enum state {
    JOB_NEW,
    JOB_WAITING, /* for room */
    JOB_INVITED, /* has room; the post that says so is under way */
    JOB_ENTERED, /* has room */
    JOB_QUEUED,  /* from here on the pool's threads may see it */
    JOB_RUNNING,
    JOB_RETURNING /* the post is under way */
};

struct worker_thread {
    struct pool *pool;
    pthread_t id;
    bool alive, joinable;
    struct pool_job *job;
    struct pool_place place;
    unsigned tidied;
};

struct pool {
    uint32_t magic;
    struct pool_plan plan;
    pthread_mutex_t lock; /* of all below, and of the jobs' states */
    pthread_cond_t work, ended;
    struct link queue, waiting;
    unsigned queued;  /* in the queue */
    unsigned room;    /* not taken: of plan.queue */
    unsigned waiters; /* in waiting */
    unsigned idle;    /* threads in pthread_cond_timedwait */
    unsigned alive;   /* threads */
    unsigned tidy;    /* how often pool_tidy was called */
    bool stopping;
    struct worker_thread threads[];
};

static void (*on_interrupt)(void);

void pool_on_interrupt(void (*call)(void)) {
    on_interrupt = call;
}

static void interrupted(int signal) {
    (void)signal;
    int saved = errno;
    if (on_interrupt) on_interrupt();
    errno = saved;
}

/* ---- jobs; the lock is held ---- */

static void arrived(struct post *post);

static void invited(struct post *post) {
    struct pool_job *j = LIST_OF(post, struct pool_job, post);
    if (atomic_load_explicit(&j->cancelled, memory_order_relaxed)) {
        j->drop(j);
        return;
    }
    pthread_mutex_lock(&j->pool->lock);
    j->state = JOB_ENTERED;
    pthread_mutex_unlock(&j->pool->lock);
    j->entered(j);
}

/* There is room for one more, or was, until now. */
static void give_room(struct pool *p) {
    struct link *first = list_first(&p->waiting);
    if (!first) {
        p->room++;
        return;
    }
    struct pool_job *j = LIST_OF(first, struct pool_job, link);
    list_unlink(first);
    p->waiters--;
    j->state = JOB_INVITED;
    j->post.run = invited;
    loop_post(j->loop, &j->post);
}

static void unqueue(struct pool *p, struct pool_job *j) {
    list_unlink(&j->link);
    p->queued--;
    give_room(p);
}

static void interrupt(struct pool *p) {
    for (unsigned i = 0; i < p->plan.threads; i++) {
        struct worker_thread *t = &p->threads[i];
        if (t->alive && t->job &&
            atomic_load_explicit(&t->job->cancelled, memory_order_relaxed))
            pthread_kill(t->id, POOL_SIGNAL);
    }
}

/* ---- a thread ---- */

/* On the loop's thread, as is pool_cancel. */
static void arrived(struct post *post) {
    struct pool_job *j = LIST_OF(post, struct pool_job, post);
    if (j->state == JOB_NEW)
        j->drop(j);
    else
        j->done(j);
}

/* The loop may go as soon as its owner has cancelled: it is posted to under the lock.
 */
static void run_first(struct pool *p, struct worker_thread *t) {
    struct pool_job *j = LIST_OF(list_first(&p->queue), struct pool_job, link);
    unqueue(p, j);
    j->state = JOB_RUNNING;
    t->job = j;
    pthread_mutex_unlock(&p->lock);
    j->run(j, &t->place);
    pthread_mutex_lock(&p->lock);
    t->job = NULL;
    if (j->state == JOB_RUNNING) {
        j->state = JOB_RETURNING;
        j->post.run = arrived;
        loop_post(j->loop, &j->post);
    } else {
        pthread_mutex_unlock(&p->lock);
        j->drop(j);
        pthread_mutex_lock(&p->lock);
    }
}

/* False when the thread has been idle for long enough. */
static bool sleep_until(struct pool *p, int64_t at) {
    struct timespec t = {at / CLOCK_SECOND, at % CLOCK_SECOND};
    p->idle++;
    int err = pthread_cond_timedwait(&p->work, &p->lock, &t);
    p->idle--;
    return err != ETIMEDOUT;
}

static void serve(struct pool *p, struct worker_thread *t) {
    int64_t at = clock_ns() + p->plan.idle;
    for (;;) {
        if (!list_empty(&p->queue)) {
            run_first(p, t);
            at = clock_ns() + p->plan.idle;
        } else if (p->stopping) {
            return;
        } else if (t->tidied != p->tidy) {
            t->tidied = p->tidy;
            if (!p->plan.tidy) continue;
            pthread_mutex_unlock(&p->lock);
            p->plan.tidy(&t->place);
            pthread_mutex_lock(&p->lock);
        } else if (!sleep_until(p, at) && list_empty(&p->queue)) {
            return;
        }
    }
}

static void *live(void *data) {
    struct worker_thread *t = data;
    struct pool *p = t->pool;
    pthread_setname_np(pthread_self(), p->plan.name);
    log_set_thread_name(p->plan.name);
    if (p->plan.begin) p->plan.begin(&t->place);
    pthread_mutex_lock(&p->lock);
    do {
        serve(p, t);
        pthread_mutex_unlock(&p->lock);
        if (p->plan.end) p->plan.end(&t->place);
        t->place.local = NULL;
        pthread_mutex_lock(&p->lock);
    } while (!list_empty(&p->queue));
    t->alive = false;
    p->alive--;
    pthread_cond_signal(&p->ended);
    pthread_mutex_unlock(&p->lock);
    return NULL;
}

static int start_thread(struct pool *p) {
    struct worker_thread *t = p->threads;
    while (t->alive) t++;
    if (t->joinable) pthread_join(t->id, NULL); /* it has nothing left to do */
    *t = (struct worker_thread){.pool = p, .tidied = p->tidy};
    pthread_attr_t attributes;
    int err = pthread_attr_init(&attributes);
    if (err) return -err;
    if (p->plan.stack) pthread_attr_setstacksize(&attributes, p->plan.stack);
    sigset_t block, before;
    sigfillset(&block);
    const int through[] = {POOL_SIGNAL, SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};
    for (size_t i = 0; i < sizeof through / sizeof *through; i++)
        sigdelset(&block, through[i]);
    pthread_sigmask(SIG_SETMASK, &block, &before);
    t->alive = t->joinable = true;
    err = pthread_create(&t->id, &attributes, live, t);
    if (err) t->alive = t->joinable = false;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    if (err == 0) p->alive++;
    return -err;
}

/* ---- for the owners ---- */

bool pool_enter(struct pool *p, struct loop *l, struct pool_job *j) {
    MAGIC_CHECK(p, MAGIC);
    j->pool = p;
    j->loop = l;
    atomic_store_explicit(&j->cancelled, false, memory_order_relaxed);
    list_init(&j->link);
    pthread_mutex_lock(&p->lock);
    bool room = p->room > 0;
    if (room) {
        p->room--;
        j->state = JOB_ENTERED;
    } else {
        list_append(&p->waiting, &j->link);
        p->waiters++;
        j->state = JOB_WAITING;
    }
    pthread_mutex_unlock(&p->lock);
    return room;
}

int pool_start(struct pool_job *j) {
    struct pool *p = j->pool;
    int err = 0;
    pthread_mutex_lock(&p->lock);
    CHECK(j->state == JOB_ENTERED && !p->stopping);
    if (p->queued >= p->idle && p->alive < p->plan.threads) {
        err = start_thread(p);
        if (p->alive) err = 0; /* the others have to do */
    } else if (p->queued >= p->idle) {
        interrupt(p); /* one whose job was cancelled may have missed it */
    }
    if (err) {
        j->state = JOB_NEW;
        give_room(p);
    } else {
        j->state = JOB_QUEUED;
        list_append(&p->queue, &j->link);
        p->queued++;
        pthread_cond_signal(&p->work);
    }
    pthread_mutex_unlock(&p->lock);
    return err;
}

/* Out of the pool. True when nobody but the owner knows of the job any more. */
static bool withdraw(struct pool *p, struct pool_job *j) {
    enum state state = (enum state)j->state;
    j->state = JOB_NEW;
    atomic_store_explicit(&j->cancelled, true, memory_order_relaxed);
    switch (state) {
    case JOB_NEW: return true;
    case JOB_WAITING:
        list_unlink(&j->link);
        p->waiters--;
        return true;
    case JOB_ENTERED: give_room(p); return true;
    case JOB_QUEUED: unqueue(p, j); return true;
    case JOB_INVITED: give_room(p); return false;
    case JOB_RUNNING: interrupt(p); return false;
    case JOB_RETURNING: return false;
    }
    return false;
}

void pool_cancel(struct pool_job *j) {
    struct pool *p = j->pool;
    pthread_mutex_lock(&p->lock);
    bool whole = withdraw(p, j);
    pthread_mutex_unlock(&p->lock);
    if (whole) j->drop(j);
}

bool pool_hasten(struct pool_job *j) {
    struct pool *p = j->pool;
    pthread_mutex_lock(&p->lock);
    bool begun = j->state == JOB_RUNNING || j->state == JOB_RETURNING;
    bool whole = false;
    if (begun) {
        atomic_store_explicit(&j->cancelled, true, memory_order_relaxed);
        interrupt(p);
    } else {
        whole = withdraw(p, j);
    }
    pthread_mutex_unlock(&p->lock);
    if (whole) j->drop(j);
    return !begun;
}

/* ---- the pool ---- */

void pool_tidy(struct pool *p) {
    pthread_mutex_lock(&p->lock);
    p->tidy++;
    pthread_cond_broadcast(&p->work);
    pthread_mutex_unlock(&p->lock);
}

struct pool_counts pool_counts(struct pool *p) {
    pthread_mutex_lock(&p->lock);
    struct pool_counts c = {
        .queued = p->queued, .waiting = p->waiters, .threads = p->alive};
    for (unsigned i = 0; i < p->plan.threads; i++)
        c.running += p->threads[i].alive && p->threads[i].job;
    pthread_mutex_unlock(&p->lock);
    return c;
}

static void init_condition(pthread_cond_t *condition) {
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(condition, &attributes);
    pthread_condattr_destroy(&attributes);
}

struct pool *pool_new(const struct pool_plan *plan) {
    struct pool *p = calloc(1, sizeof *p + plan->threads * sizeof *p->threads);
    if (!p) return NULL;
    p->magic = MAGIC;
    p->plan = *plan;
    p->room = plan->queue;
    list_init(&p->queue);
    list_init(&p->waiting);
    pthread_mutex_init(&p->lock, NULL);
    init_condition(&p->work);
    init_condition(&p->ended);
    struct sigaction action = {.sa_handler = interrupted}; /* without SA_RESTART */
    sigemptyset(&action.sa_mask);
    sigaction(POOL_SIGNAL, &action, NULL);
    return p;
}

void pool_stop(struct pool *p) {
    pthread_mutex_lock(&p->lock);
    p->stopping = true;
    pthread_cond_broadcast(&p->work);
    pthread_mutex_unlock(&p->lock);
}

unsigned pool_free(struct pool *p, int64_t deadline) {
    MAGIC_CHECK(p, MAGIC);
    pool_stop(p);
    pthread_mutex_lock(&p->lock);
    CHECK(list_empty(&p->waiting));
    for (int64_t now; p->alive && (now = clock_ns()) < deadline;) {
        interrupt(p);
        int64_t at = now + AGAIN < deadline ? now + AGAIN : deadline;
        struct timespec t = {at / CLOCK_SECOND, at % CLOCK_SECOND};
        pthread_cond_timedwait(&p->ended, &p->lock, &t);
    }
    unsigned left = p->alive;
    for (unsigned i = 0; i < p->plan.threads; i++) {
        struct worker_thread *t = &p->threads[i];
        if (t->alive || !t->joinable) continue;
        pthread_join(t->id, NULL);
        t->joinable = false;
    }
    pthread_mutex_unlock(&p->lock);
    if (left) return left;
    pthread_cond_destroy(&p->work);
    pthread_cond_destroy(&p->ended);
    pthread_mutex_destroy(&p->lock);
    p->magic = 0;
    free(p);
    return 0;
}
