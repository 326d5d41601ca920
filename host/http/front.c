#include "http/front.h"

#include "base/check.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "base/trim.h"
#include "http/admission.h"
#include "http/h1.h"
#include "http/loan.h"
#include "http/packing.h"
#include "http/shelf.h"

#include <stdlib.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    MAGIC = 0x66726e74,
    SPARE_MAX = 64,
    TRIM_AFTER = 2048 /* connections fewer than there were: a megabyte */
};

/* ns */
static const int64_t LOOK_AGAIN = 20 * 1000000; /* for a surplus */
static const int64_t VANISHED = 120 * INT64_C(1000000000);
static const int64_t LOOK_FOR_ROOM = 50 * 1000000; /* that others have made */
static const int64_t PROMPT = 1000000; /* awake for less: it will soon look around */

static const int64_t TELL_AGAIN = 10000000000; /* the same trouble */

/* A connection that was accepted by one front for another. */
struct handover {
    struct post post;
    struct front *to;
    int fd;
    struct sockaddr_storage peer;
    struct guest *guest;
    bool proxy;
};

static void take_over(struct post *p) {
    struct handover *h = (struct handover *)(void *)p;
    if (h->to->over) { /* no code is left to answer it */
        close(h->fd);
        guest_leave(h->guest);
        front_closed(h->to);
    } else {
        h1_open(h->to, h->fd, &h->peer, h->guest, h->proxy);
    }
    free(h);
}

static unsigned load_of(const struct front *f) {
    return atomic_load_explicit(&f->load, memory_order_relaxed);
}

/* Asleep, or awake for less than patience ns: not in a handler that goes on and on. */
static bool is_free(struct loop *l, int64_t patience) {
    int64_t since = atomic_load_explicit(&l->awake_since, memory_order_relaxed);
    return !since || (patience && clock_ns() - since < patience);
}

/* The front of the crew with the fewest connections that has at least lead fewer than f
 * and that sleeps, or has been awake for less than patience ns; or NULL. With lead 0
 * any other one. */
static struct front *lighter(struct front *f, unsigned lead, int64_t patience) {
    struct crew *crew = f->crew;
    unsigned count = atomic_load_explicit(&crew->count, memory_order_acquire);
    unsigned least = lead ? load_of(f) : ~0u;
    struct front *best = NULL;
    if (lead && least < lead) return NULL;
    for (unsigned i = 0; i < count; i++) {
        struct front *other =
            atomic_load_explicit(&crew->fronts[i], memory_order_acquire);
        if (!other || other == f) continue;
        unsigned load = load_of(other);
        if (lead ? load + lead > load_of(f) || load >= least : load >= least) continue;
        if (lead && !is_free(other->loop, patience)) continue;
        best = other;
        least = load;
    }
    return best;
}

unsigned front_expected(const struct front *f) {
    return atomic_load_explicit(&f->expected, memory_order_relaxed);
}

bool front_is_prompt(struct front *f, int64_t patience) {
    return is_free(f->loop, patience);
}

struct front *front_lightest(struct crew *crew, int64_t patience) {
    unsigned count = atomic_load_explicit(&crew->count, memory_order_acquire);
    struct front *best = NULL;
    unsigned least = 0;
    bool best_prompt = false;
    for (unsigned i = 0; i < count; i++) {
        struct front *f = atomic_load_explicit(&crew->fronts[i], memory_order_acquire);
        if (!f) continue;
        unsigned busy = load_of(f) + front_expected(f);
        bool prompt = is_free(f->loop, patience);
        if (best && (best_prompt > prompt || (best_prompt == prompt && busy >= least)))
            continue;
        best = f;
        least = busy;
        best_prompt = prompt;
    }
    return best;
}

static void welcome(struct front *f, int fd, const struct sockaddr_storage *peer,
                    struct guest *guest, bool proxy) {
    struct front *to = lighter(f, HAND_OVER_LEAD, 0);
    struct handover *h = to ? malloc(sizeof *h) : NULL;
    if (h) {
        *h = (struct handover){.post.run = take_over,
                               .to = to,
                               .fd = fd,
                               .peer = *peer,
                               .guest = guest,
                               .proxy = proxy};
        atomic_fetch_add_explicit(&to->load, 1, memory_order_relaxed);
        loop_post(to->loop, &h->post);
        return;
    }
    atomic_fetch_add_explicit(&f->load, 1, memory_order_relaxed);
    h1_open(f, fd, peer, guest, proxy);
}

static bool full(struct front *f) {
    if (!f->limits.connections_max) return false;
    unsigned total = 0, count = atomic_load(&f->crew->count);
    for (unsigned i = 0; i < count; i++) {
        struct front *other = atomic_load(&f->crew->fronts[i]);
        if (other) total += load_of(other);
    }
    return total >= f->limits.connections_max;
}

static void mark_backlog(struct crew *crew, unsigned value) {
    if (atomic_load_explicit(&crew->backlog, memory_order_relaxed) != value)
        atomic_store_explicit(&crew->backlog, value, memory_order_relaxed);
}

static void acceptable(struct acceptor *l) {
    struct front *f = l->user;
    bool alone = atomic_load_explicit(&f->crew->count, memory_order_relaxed) == 1;
    for (int i = 0; i < ACCEPT_BATCH && f->accepting; i++) {
        if (full(f)) {
            if (f->loop->now >= f->full_told) {
                f->full_told = f->loop->now + TELL_AGAIN;
                log_warn("connections_max is reached: further clients wait");
            }
            f->full = true;
            acceptor_pause(l, LOOK_FOR_ROOM);
            return;
        }
        struct sockaddr_storage peer;
        int fd = acceptor_accept(l, &peer);
        if (fd < 0) {
            if (!alone && fd == -EAGAIN) mark_backlog(f->crew, 0);
            return;
        }
        /* While this one is served others may be waiting: whoever is about to sleep
           looks for itself. */
        if (!alone) mark_backlog(f->crew, 1);
        struct guest *guest = NULL;
        if (admission_ask(f, l, fd, &peer, &guest))
            welcome(f, fd, &peer, guest, l->proxy);
    }
}

/* How many of f's connections would be elsewhere if all fronts had the same number. */
static unsigned surplus(const struct front *f) {
    unsigned load = load_of(f), total = 0, fronts = 0;
    unsigned count = atomic_load_explicit(&f->crew->count, memory_order_acquire);
    for (unsigned i = 0; i < count; i++) {
        struct front *other =
            atomic_load_explicit(&f->crew->fronts[i], memory_order_acquire);
        if (!other) continue;
        total += load_of(other);
        fronts++;
    }
    if (!fronts) return 0;
    unsigned fair = total / fronts;
    return load >= fair + MOVE_LEAD + fair / 64 ? load - fair : 0;
}

static void before_sleep(struct ev_loop *ev, ev_prepare *w, int events) {
    (void)ev;
    (void)events;
    struct front *f = w->data;
    if (f->freed >= TRIM_AFTER) {
        f->freed = 0;
        trim_soon();
    }
    if (!f->accepting) return;
    if (f->loop->now >= f->look_again && load_of(f) >= MOVE_LEAD) {
        f->look_again = f->loop->now + LOOK_AGAIN;
        f->surplus = surplus(f);
    }
    if (!atomic_load_explicit(&f->crew->backlog, memory_order_relaxed)) return;
    for (unsigned i = 0; i < f->listener_count; i++)
        if (!f->listeners[i].paused) acceptable(&f->listeners[i]);
}

int front_init(struct front *f, struct loop *l, struct crew *crew,
               const struct front_limits *limits, const struct http_app *app,
               void *app_data) {
    *f = (struct front){.magic = MAGIC,
                        .loop = l,
                        .crew = crew,
                        .limits = *limits,
                        .app = app,
                        .app_data = app_data};
    list_init(&f->conns);
    list_init(&f->sockets);
    if (getrandom(&f->id_base, sizeof f->id_base, 0) < 0) f->id_base = (uint64_t)l->now;
    f->place = CREW_MAX;
    if (!crew) return 0;
    for (unsigned i = 0; i < CREW_MAX; i++) {
        if (crew->taken[i]) continue;
        crew->taken[i] = true;
        f->place = i;
        if (atomic_load(&crew->count) <= i) atomic_store(&crew->count, i + 1);
        return 0;
    }
    return -EAGAIN;
}

/* Who has vanished and is sent to is given up by the kernel, which with the little of
 * an event stream would try for a quarter of an hour. Later than write_timeout says it
 * of those who are only slow, and than keepalive of those who are not sent to. */
static void be_patient(struct front *f) {
    int64_t ns = f->limits.write_timeout;
    if (ns && ns < VANISHED) ns = VANISHED;
    for (unsigned i = 0; i < f->listener_count; i++)
        acceptor_patience(&f->listeners[i], ns);
}

int front_listen(struct front *f, const struct front_door *doors, unsigned count) {
    f->listeners = calloc(count ? count : 1, sizeof *f->listeners);
    if (!f->listeners) return -ENOMEM;
    for (unsigned i = 0; i < count; i++) {
        struct acceptor *l = &f->listeners[i];
        int err = acceptor_init(l, f->loop, doors[i].fd, acceptable, f);
        if (err) return err;
        f->listener_count++;
        l->proxy = doors[i].proxy;
        if (!f->tls) l->farewell = SPAN(FRONT_FAREWELL);
    }
    be_patient(f);
    return 0;
}

void front_protect(struct front *f, struct tls_ctx *tls) {
    f->tls = tls_ctx_ref(tls);
}

void front_start(struct front *f) {
    f->accepting = true;
    atomic_store_explicit(&f->crew->fronts[f->place], f, memory_order_release);
    for (unsigned i = 0; i < f->listener_count; i++)
        acceptor_start(&f->listeners[i], f->crew->exclusive);
    ev_prepare_init(&f->before_sleep, before_sleep);
    ev_set_priority(&f->before_sleep, EV_MAXPRI);
    f->before_sleep.data = f;
    ev_prepare_start(f->loop->ev, &f->before_sleep);
}

static void stop_listening(struct front *f) {
    f->accepting = false;
    for (unsigned i = 0; i < f->listener_count; i++) acceptor_done(&f->listeners[i]);
    f->listener_count = 0;
}

void front_end_sockets(struct front *f) {
    for (struct link *l = f->sockets.next; l != &f->sockets; l = l->next)
        websocket_drain(LIST_OF(l, struct websocket, debt.link));
}

static void recheck_all(struct front *f) {
    struct link *next;
    for (struct link *l = f->conns.next; l != &f->conns; l = next) {
        next = l->next;
        h1_recheck(LIST_OF(l, struct h1, member));
    }
}

void front_drain(struct front *f, int64_t grace) {
    if (f->draining) return;
    f->draining = true;
    if (!f->leaving) f->surplus = 0;
    atomic_store(&f->crew->fronts[f->place], NULL); /* nobody hands over to it */
    f->drain_since = f->loop->now;
    f->drain_grace = grace;
    loan_drain(f);
    /* What the kernel has queued would be reset when the last clone is closed. */
    for (unsigned i = 0; i < f->listener_count; i++) {
        struct acceptor *l = &f->listeners[i];
        struct sockaddr_storage peer;
        int fd;
        while ((fd = acceptor_accept(l, &peer)) >= 0) {
            if (l->proxy && !admission_ask(f, l, fd, &peer, NULL)) continue;
            atomic_fetch_add_explicit(&f->load, 1, memory_order_relaxed);
            h1_open(f, fd, &peer, NULL, l->proxy);
        }
    }
    stop_listening(f);
    recheck_all(f);
    front_end_sockets(f);
}

void front_leave(struct front *f) {
    if (f->leaving) return;
    f->leaving = true;
    f->surplus = ~0u;
    atomic_store(&f->crew->fronts[f->place], NULL);
    stop_listening(f);
    recheck_all(f);
    front_end_sockets(f);
}

/* It leaves, and there is no other front to go to: the host is stopping. */
static void stay(struct front *f) {
    if (f->draining) return;
    f->draining = true;
    f->drain_since = f->loop->now;
    f->drain_grace = 0;
}

struct front *front_elsewhere(struct front *f) {
    struct front *to = f->leaving ? lighter(f, 0, 0) : lighter(f, MOVE_LEAD, PROMPT);
    if (!to && f->leaving) stay(f);
    if (!f->leaving) f->surplus = to ? f->surplus - 1 : 0;
    return to;
}

void front_cut(struct front *f) {
    struct link *first;
    f->over = true;
    loan_close(f);
    if (f->place < CREW_MAX) atomic_store(&f->crew->fronts[f->place], NULL);
    stop_listening(f);
    if (ev_is_active(&f->before_sleep)) ev_prepare_stop(f->loop->ev, &f->before_sleep);
    shelf_free(f->shelf);
    f->shelf = NULL;
    while ((first = list_first(&f->conns))) h1_cut(LIST_OF(first, struct h1, member));
    while ((first = list_first(&f->sockets)))
        websocket_cut(LIST_OF(first, struct websocket, debt.link));
}

static void empty_pool(struct front *f) {
    while (f->pool) {
        struct exchange *x = f->pool;
        f->pool = x->handle;
        free(x);
    }
    f->pool_count = 0;
}

void front_limit(struct front *f, const struct front_limits *limits) {
    /* Pooled exchanges have room for so many fields and no more. */
    if (limits->head.header_count_max != f->limits.head.header_count_max) empty_pool(f);
    f->limits = *limits;
    be_patient(f);
    if (f->shelf) shelf_bound(f->shelf, limits->open_files);
}

void front_done(struct front *f) {
    if (f->place < CREW_MAX) f->crew->taken[f->place] = false;
    loan_done(f);
    empty_pool(f);
    head_memo_done(&f->memo);
    ws_frames_done(&f->frames);
    ws_pool_drain(&f->windows);
    while (f->spare) {
        struct h1 *c = f->spare;
        f->spare = c->last.spare;
        free(c);
    }
    packing_kit_free(f->packing);
    free(f->listeners);
    tls_ctx_unref(f->tls);
    f->magic = 0;
}

void front_closed(struct front *f) {
    atomic_fetch_sub_explicit(&f->load, 1, memory_order_relaxed);
    if (!f->full) return;
    f->full = false;
    for (unsigned i = 0; i < f->listener_count; i++) acceptor_resume(&f->listeners[i]);
}

void front_starved(struct front *f) {
    f->starved++;
    if (f->loop->now < f->starved_told) return;
    f->starved_told = f->loop->now + TELL_AGAIN;
    log_warn("not enough memory for a client: its connection is closed, or its answer "
             "503 (%u since this was last said)",
             f->starved);
    f->starved = 0;
}

struct h1 *front_take_spare(struct front *f) {
    struct h1 *c = f->spare;
    if (!c) {
        if (f->freed) f->freed--;
        c = malloc(sizeof *c);
        if (!c) front_starved(f);
        return c;
    }
    f->spare = c->last.spare;
    f->spare_count--;
    return c;
}

void front_keep_spare(struct front *f, struct h1 *c) {
    c->magic = 0;
    loan_unref(c->loan);
    if (f->spare_count >= SPARE_MAX) {
        f->freed++;
        free(c);
        return;
    }
    c->last.spare = f->spare;
    f->spare = c;
    f->spare_count++;
}
