#include "net/loop.h"

#include "base/check.h"
#include "base/err.h"
#include "base/fd.h"
#include "net/reserve.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

static void refresh(struct loop *l) {
    l->now = clock_ns();
}

static void run_inbox(struct loop *l) {
    if (!atomic_load_explicit(&l->inbox, memory_order_relaxed)) return;
    struct post *last = atomic_exchange_explicit(&l->inbox, NULL, memory_order_acquire);
    struct post *first = NULL;
    while (last) { /* the inbox is a stack; posts run in the order of posting */
        struct post *next = last->next;
        last->next = first;
        first = last;
        last = next;
    }
    while (first) {
        struct post *next = first->next;
        first->run(first);
        first = next;
    }
}

static void run_batch(struct link *deferred) {
    struct link batch;
    list_init(&batch);
    list_splice(&batch, deferred);
    struct link *first;
    while ((first = list_first(&batch))) {
        list_unlink(first);
        struct deferred *d = LIST_OF(first, struct deferred, link);
        d->run(d);
    }
}

static void free_graves(struct loop *l) {
    while (l->graves) {
        struct grave *g = l->graves;
        l->graves = g->next;
        if (!l->graves) l->graves_end = &l->graves;
        g->done(g);
    }
}

/* What has been posted is run at the end of the turn. */
static void woken(struct ev_loop *ev, ev_io *io, int events) {
    uint64_t count;
    if (events & EV_ERROR) loop_watch_again(ev, io);
    CHECK(read(io->fd, &count, sizeof count) > 0 || errno == EAGAIN || errno == EINTR);
}

/* Before libev sleeps. It would also sleep when it has something to tell: that
 * epoll_ctl has just failed. */
static void sleeping(struct ev_loop *ev) {
    struct loop *l = ev_userdata(ev);
    uint64_t one = 1;
    l->asked = clock_ns();
    if (ev_pending_count(ev)) CHECK(write(l->wake.fd, &one, sizeof one) > 0);
}

static void idling(struct ev_loop *ev, ev_idle *w, int events) {
    (void)ev;
    (void)events;
    (void)w;
}

/* After sleeping, before the events' callbacks. */
static void awake(struct ev_loop *ev, ev_check *w, int events) {
    (void)ev;
    (void)events;
    struct loop *l = w->data;
    refresh(l);
    atomic_store_explicit(&l->awake_since, l->now, memory_order_relaxed);
}

/* The end of a turn: all events have been handled, sleep comes next. */
static void settle(struct ev_loop *ev, ev_prepare *w, int events) {
    (void)events;
    struct loop *l = w->data;
    run_inbox(l);
    /* A thread that stood still, or was woken by a signal, finds due what was not when
       it asked the kernel, and may not have seen what came in time: it looks once more.
     */
    l->looks = !l->looks && timers_are_late(l);
    if (!l->looks) timers_run(l);
    run_batch(&l->deferred);
    run_batch(&l->last);
    free_graves(l);
    if (l->stopping) {
        ev_break(ev, EVBREAK_ALL);
        return;
    }
    bool sleep =
        list_empty(&l->deferred) && list_empty(&l->last) && !l->deaf && !l->looks;
    if (l->deaf) { /* nobody could wake it: the kernel has no memory just now */
        l->deaf = false;
        nanosleep(&(struct timespec){.tv_nsec = CLOCK_MS}, NULL);
    }
    if (sleep) {
        timers_arm(l);
        /* Who posts looks at awake_since after that; one of the two sees the other. */
        atomic_store(&l->awake_since, 0);
        sleep = !atomic_load(&l->inbox);
        if (!sleep)
            atomic_store_explicit(&l->awake_since, l->now, memory_order_relaxed);
    }
    if (!sleep && !ev_is_active(&l->idle)) ev_idle_start(ev, &l->idle);
    if (sleep && ev_is_active(&l->idle)) ev_idle_stop(ev, &l->idle);
}

/* libev does not tell which epoll descriptor is its own, and now and then makes itself
 * another one: a loop that embeds it is told. */
static int epoll_of(struct loop *l) {
    struct ev_embed curious;
    ev_embed_init(&curious, NULL, l->ev);
    ev_embed_start(l->ev, &curious);
    int fd = curious.io.fd;
    ev_embed_stop(l->ev, &curious);
    return fd;
}

int loop_init(struct loop *l) {
    *l = (struct loop){0};
    int err = reserve_init();
    if (err == 0) err = timers_init(&l->timers);
    if (err) return err;
    /* Not an ev_async: for want of descriptors that ends the program. */
    int wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (wake < 0) {
        err = -errno;
        goto fail;
    }
    errno = ENOMEM;
    l->scratch = malloc(LOOP_SCRATCH);
    if (l->scratch)
        l->ev = ev_loop_new(EVBACKEND_EPOLL | EVFLAG_NOENV | EVFLAG_NOSIGMASK);
    if (!l->ev) {
        err = -errno;
        goto fail;
    }
    list_init(&l->deferred);
    list_init(&l->last);
    list_init(&l->debts);
    list_init(&l->hungry);
    l->graves_end = &l->graves;
    timers_start(&l->timers, l);
    ev_io_init(&l->wake, woken, wake, EV_READ);
    ev_io_start(l->ev, &l->wake);
    ev_idle_init(&l->idle, idling);
    ev_prepare_init(&l->prepare, settle);
    l->prepare.data = l;
    ev_check_init(&l->check, awake);
    l->check.data = l;
    ev_set_priority(&l->check, EV_MAXPRI);
    ev_set_userdata(l->ev, l);
    epoll_of(l); /* needs memory the first time */
    /* Registers these two; later, `sleeping` could not wake a loop that has neither. */
    ev_run(l->ev, EVRUN_NOWAIT);
    ev_set_loop_release_cb(l->ev, sleeping, NULL);
    ev_prepare_start(l->ev, &l->prepare);
    ev_check_start(l->ev, &l->check);
    refresh(l);
    return 0;
fail:
    free(l->scratch);
    fd_close(&wake);
    timers_done(&l->timers);
    return err;
}

void loop_done(struct loop *l) {
    while (atomic_load_explicit(&l->posting, memory_order_acquire)) sched_yield();
    run_inbox(l);
    while (!list_empty(&l->deferred)) run_batch(&l->deferred);
    for (struct link *first; (first = list_first(&l->debts));) {
        list_unlink(first);
        struct debt *d = LIST_OF(first, struct debt, link);
        d->give_up(d);
    }
    while (!list_empty(&l->last)) run_batch(&l->last);
    free_graves(l);
    ev_loop_destroy(l->ev);
    close(l->wake.fd);
    timers_done(&l->timers);
    free(l->scratch);
    free(l->landing);
    free(l->block);
}

void loop_flush(struct loop *l) {
    run_inbox(l);
}

void loop_run(struct loop *l) {
    refresh(l);
    ev_run(l->ev, 0);
    l->stopping = false;
}

void loop_stop(struct loop *l) {
    l->stopping = true;
}

bool loop_put(struct loop *l, struct post *p) {
    atomic_fetch_add_explicit(&l->posting, 1, memory_order_relaxed);
    struct post *head = atomic_load_explicit(&l->inbox, memory_order_relaxed);
    do p->next = head;
    while (!atomic_compare_exchange_weak_explicit(
        &l->inbox, &head, p, memory_order_seq_cst, memory_order_relaxed));
    return !head;
}

void loop_put_done(struct loop *l, bool wake) {
    static const uint64_t one = 1;
    if (wake && atomic_load(&l->awake_since) == 0)
        CHECK(write(l->wake.fd, &one, sizeof one) > 0);
    atomic_fetch_sub_explicit(&l->posting, 1, memory_order_release);
}

void loop_post(struct loop *l, struct post *p) {
    loop_put_done(l, loop_put(l, p));
}

void loop_defer(struct loop *l, struct deferred *d) {
    if (list_empty(&d->link)) list_append(&l->deferred, &d->link);
}

void loop_defer_last(struct loop *l, struct deferred *d) {
    if (list_empty(&d->link)) list_append(&l->last, &d->link);
}

void loop_hunger(struct loop *l, struct hungry *h) {
    if (list_empty(&h->link)) list_append(&l->hungry, &h->link);
}

void loop_feed_all(struct loop *l) {
    struct link all, *first;
    list_init(&all);
    list_splice(&all, &l->hungry);
    while ((first = list_first(&all))) {
        struct hungry *h = LIST_OF(first, struct hungry, link);
        list_unlink(first);
        h->fed(h);
    }
}

void loop_bury(struct loop *l, struct grave *g) {
    g->next = NULL;
    *l->graves_end = g;
    l->graves_end = &g->next;
}

struct span loop_date(struct loop *l) {
    return clock_date_at(&l->date, time(NULL));
}

char *loop_landing(struct loop *l) {
    /* One byte more, for a NUL at the end. */
    if (!l->landing) l->landing = malloc(LOOP_HEAD + LOOP_LANDING + 1);
    return l->landing ? l->landing + LOOP_HEAD : NULL;
}

void *loop_take_landing(struct loop *l) {
    void *block = l->landing;
    l->landing = NULL;
    return block;
}

void loop_forget(struct loop *l, ev_io *io) {
    ev_io_stop(l->ev, io);
    ev_io_set(io, io->fd, EV_NONE);
    epoll_ctl(epoll_of(l), EPOLL_CTL_DEL, io->fd, NULL); /* or it is not in there */
}

void loop_watch_again(struct ev_loop *ev, ev_io *io) {
    struct loop *l = ev_userdata(ev);
    l->deaf = true;
    /* Not set anew, libev would believe that the kernel knows of it. */
    ev_io_set(io, io->fd, io->events & (EV_READ | EV_WRITE));
    ev_io_start(ev, io);
}

int loop_exclusive(struct loop *l, int fd) {
    int epoll = epoll_of(l);
    /* libev keeps a generation beside the descriptor in the event's data and rebuilds
       everything when it is not the one it expects: read it back and keep it. libev has
       to have made its registration first, which it does when it next turns; an
       EVRUN_NOWAIT here would run callbacks, so the caller calls after a turn. */
    char path[64], line[256];
    snprintf(path, sizeof path, "/proc/self/fdinfo/%d", epoll);
    FILE *info = fopen(path, "re");
    if (!info) return -ENOTSUP;
    unsigned long long data = 0;
    bool found = false;
    while (!found && fgets(line, sizeof line, info)) {
        int listed;
        unsigned events;
        found = sscanf(line, "tfd: %d events: %x data: %llx", &listed, &events,
                       &data) == 3 &&
                listed == fd;
    }
    fclose(info);
    if (!found) return -EAGAIN;
    struct epoll_event event = {.events = EPOLLIN | EPOLLEXCLUSIVE, .data.u64 = data};
    if (epoll_ctl(epoll, EPOLL_CTL_DEL, fd, NULL) < 0) return -errno;
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) == 0) return 0;
    event.events = EPOLLIN;
    return epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) == 0 ? -ENOTSUP : -EBADF;
}
