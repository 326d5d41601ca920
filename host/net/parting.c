#include "net/parting.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

enum { READS = 4 }; /* at once */

static const int64_t PATIENCE = 5 * CLOCK_SECOND;

struct parting {
    struct loop *loop;
    ev_io io;
    struct timer timer;
    struct debt debt;
    struct grave grave;
};

static void bury(struct grave *g) {
    free(LIST_OF(g, struct parting, grave));
}

static void end(struct parting *p) {
    ev_io_stop(p->loop->ev, &p->io);
    timer_clear(p->loop, &p->timer);
    list_unlink(&p->debt.link);
    close(p->io.fd);
    p->grave.done = bury;
    loop_bury(p->loop, &p->grave);
}

static void late(struct timer *t) {
    end(LIST_OF(t, struct parting, timer));
}

static void give_up(struct debt *d) {
    end(LIST_OF(d, struct parting, debt));
}

static void drop(struct ev_loop *ev, ev_io *io, int events) {
    struct parting *p = LIST_OF(io, struct parting, io);
    ssize_t n = 1;
    (void)ev;
    for (int i = 0; i < READS && n > 0; i++)
        n = read(io->fd, p->loop->scratch, LOOP_SCRATCH);
    bool over = n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR);
    if (over || events & EV_ERROR) end(p);
}

void parting_start(struct loop *l, int fd) {
    struct parting *p = malloc(sizeof *p);
    if (!p) {
        close(fd);
        return;
    }
    p->loop = l;
    ev_io_init(&p->io, drop, fd, EV_READ);
    timer_init(&p->timer, late);
    p->debt.give_up = give_up;
    list_append(&l->debts, &p->debt.link);
    ev_io_start(l->ev, &p->io);
    if (timer_set(l, &p->timer, l->now + PATIENCE) != 0) end(p);
}
